//! The TLS keys: in the order of `tlsify_protocol::keys::TLS_KEYS`, and a method for each.

use std::os::fd::OwnedFd;
use std::time::Duration;

use tlsify_protocol::{
    AlpnMismatch, CertificateType, ClientCertificate, CrlCheck, CrlDoubt, ExtendedMasterSecret, FdName,
    Level, Pin, StapledOcsp, UnknownName, Version,
};

use super::{Accept, Connect, Profile};

/// Where the certificates come from that may vouch for the peer.
#[derive(Debug)]
pub enum Trust {
    /// The system's CAs: what a client gets that says nothing.
    System,
    /// The CAs of the caller: an open PEM bundle, or an open directory, of which the `*.pem` and `*.crt` files count.
    Descriptor(OwnedFd),
    /// A store of the operator, by its name in the configuration.
    Store(String),
    /// None: the pins stand instead of a chain.
    Pins,
}

impl Trust {
    /// [`Trust::Descriptor`] from anything that owns a descriptor: a `File`, or what [`pem_fd`](crate::pem_fd) made.
    pub fn ca(ca: impl Into<OwnedFd>) -> Self {
        Self::Descriptor(ca.into())
    }
}

/// An access rule: what a client certificate has to be or to name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// The certificate or its key.
    Pin(Pin),
    /// A DNS name in it.
    Dns(String),
    /// A URI in it, such as a SPIFFE id.
    Uri(String),
    /// A mail address in it.
    Mail(String),
}

/// The TLS keys, as said: nothing here is a default.
#[derive(Debug, Default)]
pub(crate) struct Tls {
    /// Certificates, keys and OCSP responses in the order they were given.
    pub(crate) identities: Vec<(FdName, OwnedFd)>,
    pub(crate) min: Option<Version>,
    pub(crate) max: Option<Version>,
    pub(crate) level: Option<Level>,
    pub(crate) ciphers: Option<Vec<String>>,
    pub(crate) groups: Option<Vec<String>>,
    pub(crate) signature_schemes: Option<Vec<String>>,
    pub(crate) alpn: Option<Vec<Vec<u8>>>,
    pub(crate) alpn_mismatch: Option<AlpnMismatch>,
    pub(crate) max_fragment: Option<u16>,
    pub(crate) extended_master_secret: Option<ExtendedMasterSecret>,
    pub(crate) trust: Option<Trust>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) client_certificate: Option<ClientCertificate>,
    pub(crate) allow: Vec<AccessRule>,
    pub(crate) unknown_name: Option<UnknownName>,
    pub(crate) certificate_type: Option<CertificateType>,
    pub(crate) key_update_bytes: Option<u64>,
    pub(crate) key_update_interval: Option<Duration>,
    pub(crate) crl: Option<OwnedFd>,
    pub(crate) crl_check: Option<CrlCheck>,
    pub(crate) crl_unknown: Option<CrlDoubt>,
    pub(crate) crl_stale: Option<CrlDoubt>,
    pub(crate) stapled_ocsp: Option<StapledOcsp>,
}

/// The methods that set [`Tls`], for each builder that has one.
macro_rules! tls_options {
    ($builder:ty) => {
        impl $builder {
            /// Adds an identity: its certificate chain, PEM, end-entity certificate first. [`Self::key`] follows.
            /// A server may have several, chosen by server name; a client has one.
            pub fn certificate(mut self, chain: impl Into<OwnedFd>) -> Self {
                self.tls.identities.push((FdName::Certificate, chain.into()));
                self
            }

            /// The private key of the certificate before: PEM with PKCS#8, SEC 1 or PKCS#1. Without a certificate before
            /// it, its public half is what is shown: a raw public key (RFC 7250), which takes TLS 1.3.
            pub fn key(mut self, key: impl Into<OwnedFd>) -> Self {
                self.tls.identities.push((FdName::Key, key.into()));
                self
            }

            /// An OCSP response (DER) to staple to the certificate before (RFC 6066 section 8).
            pub fn ocsp(mut self, response: impl Into<OwnedFd>) -> Self {
                self.tls.identities.push((FdName::Ocsp, response.into()));
                self
            }

            /// The lowest TLS version to use. The host's floor may be higher.
            pub fn min_version(mut self, version: Version) -> Self {
                self.tls.min = Some(version);
                self
            }

            /// The highest TLS version to use.
            pub fn max_version(mut self, version: Version) -> Self {
                self.tls.max = Some(version);
                self
            }

            /// A security level by its name: versions, suites and groups at once. What else is said may narrow it and not
            /// go below it. The host's level may be higher.
            pub fn level(mut self, level: Level) -> Self {
                self.tls.level = Some(level);
                self
            }

            /// Only these cipher suites, by their IANA names.
            pub fn ciphers<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
                self.tls.ciphers = Some(names.into_iter().map(Into::into).collect());
                self
            }

            /// Only these key-exchange groups, by their IANA names, the preferred one first.
            pub fn groups<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
                self.tls.groups = Some(names.into_iter().map(Into::into).collect());
                self
            }

            /// Only these signature schemes, by their IANA names.
            pub fn signature_schemes<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
                self.tls.signature_schemes = Some(names.into_iter().map(Into::into).collect());
                self
            }

            /// Application protocols in order of preference (RFC 7301), each of 1 to 255 bytes.
            pub fn alpn<B: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = B>) -> Self {
                self.tls.alpn = Some(protocols.into_iter().map(|name| name.as_ref().to_vec()).collect());
                self
            }

            /// What happens when both sides name application protocols and share none. A server that says nothing
            /// refuses the handshake, a client goes on.
            pub fn alpn_mismatch(mut self, choice: AlpnMismatch) -> Self {
                self.tls.alpn_mismatch = Some(choice);
                self
            }

            /// The most bytes of plaintext in a record that we send: 512 to 16384.
            pub fn max_fragment(mut self, bytes: u16) -> Self {
                self.tls.max_fragment = Some(bytes);
                self
            }

            /// Whether TLS 1.2 needs the extended master secret (RFC 7627).
            pub fn extended_master_secret(mut self, choice: ExtendedMasterSecret) -> Self {
                self.tls.extended_master_secret = Some(choice);
                self
            }

            /// Who may vouch for the peer. A client that says nothing trusts the system's CAs.
            pub fn trust(mut self, trust: Trust) -> Self {
                self.tls.trust = Some(trust);
                self
            }

            /// Adds a pin: one of them must be the peer's end-entity certificate, besides the chain or, with
            /// [`Trust::Pins`], instead of it.
            pub fn pin(mut self, pin: Pin) -> Self {
                self.tls.pins.push(pin);
                self
            }

            /// Server: whether clients show a certificate. Anything but `None` needs [`Self::trust`].
            pub fn client_certificate(mut self, choice: ClientCertificate) -> Self {
                self.tls.client_certificate = Some(choice);
                self
            }

            /// Server: adds an access rule; a client certificate must satisfy one of them.
            pub fn allow(mut self, rule: AccessRule) -> Self {
                self.tls.allow.push(rule);
                self
            }

            /// Server: what a client gets that asks for a server name without an identity.
            pub fn unknown_name(mut self, choice: UnknownName) -> Self {
                self.tls.unknown_name = Some(choice);
                self
            }

            /// What the peer shows. With `RawPublicKey` (RFC 7250) it takes [`Trust::Pins`], pins of keys, no names, and
            /// on a server [`Self::client_certificate`].
            pub fn certificate_type(mut self, choice: CertificateType) -> Self {
                self.tls.certificate_type = Some(choice);
                self
            }

            /// A new key when so many bytes of plaintext have been sent under one: 65,536 to 2^36, which is what counts
            /// if nothing is said. TLS 1.3 only.
            pub fn key_update_bytes(mut self, bytes: u64) -> Self {
                self.tls.key_update_bytes = Some(bytes);
                self
            }

            /// A new key before one that is older is used again: a minute at least. TLS 1.3 only.
            pub fn key_update_interval(mut self, age: Duration) -> Self {
                self.tls.key_update_interval = Some(age);
                self
            }

            /// Lists of revoked certificates (RFC 5280 section 5) to ask about the peer's chain: a file with PEM, or with
            /// one list in DER, of at most 8 MiB, or a directory of them (`*.pem`, `*.crl`).
            pub fn crl(mut self, lists: impl Into<OwnedFd>) -> Self {
                self.tls.crl = Some(lists.into());
                self
            }

            /// Which certificates of the chain have to be in no list. Takes [`Self::crl`].
            pub fn crl_check(mut self, choice: CrlCheck) -> Self {
                self.tls.crl_check = Some(choice);
                self
            }

            /// What a certificate gets that no list covers. Takes [`Self::crl`].
            pub fn crl_unknown(mut self, choice: CrlDoubt) -> Self {
                self.tls.crl_unknown = Some(choice);
                self
            }

            /// What a certificate gets whose list is past its next update. Takes [`Self::crl`].
            pub fn crl_stale(mut self, choice: CrlDoubt) -> Self {
                self.tls.crl_stale = Some(choice);
                self
            }

            /// Client: whether the server has to staple a good OCSP response (RFC 6960) whatever its certificate says.
            pub fn stapled_ocsp(mut self, choice: StapledOcsp) -> Self {
                self.tls.stapled_ocsp = Some(choice);
                self
            }
        }
    };
}

tls_options!(Profile);
tls_options!(Accept);
tls_options!(Connect);
