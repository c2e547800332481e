//! Requests as builders. A builder owns its descriptors until it is dropped: the daemon gets copies of them, so a
//! request can be sent again, and dropping the builder is what closes this program's copies.
//!
//! Nothing is checked here that the daemon checks: it refuses by name, and one place decides.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tlsify_protocol as wire;
use wire::{
    AlpnMismatch, AskDefault, Bind, CertificateType, ClientCertificate, CrlCheck, CrlStale, CrlUnknown,
    ExtendedMasterSecret, FdName, Level, OutboundEnd, Pin, Role, StapledOcsp, UnknownName, Version,
};

use crate::asked::{Asking, Choice, ClientHello};

/// Where the certificates come from that may vouch for the peer.
#[derive(Debug)]
pub enum Trust {
    /// The system's CAs: what a client gets that says nothing.
    System,
    /// The CAs of the caller: an open PEM bundle, or an open directory of plain `.pem` files.
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

/// Parameters that repeat, defined once on a control connection and named in requests: they go when it closes.
#[derive(Debug)]
#[must_use]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) resume: Option<String>,
    pub(crate) tickets: Option<OwnedFd>,
    pub(crate) tls: Tls,
}

/// A request to be the TLS server on a connected socket.
#[derive(Debug)]
#[must_use]
pub struct Accept {
    pub(crate) start: Start,
    pub(crate) ask: Option<Asking>,
    pub(crate) tls: Tls,
}

/// A request to be the TLS client on a connected socket, or on one that the daemon connects.
#[derive(Debug)]
#[must_use]
pub struct Connect {
    pub(crate) start: Start,
    pub(crate) names: Vec<String>,
    pub(crate) server_name: Option<Option<String>>,
    pub(crate) ech_config: Option<Vec<u8>>,
    pub(crate) ech_grease: bool,
    pub(crate) to: Option<String>,
    pub(crate) fast_open: bool,
    pub(crate) tls: Tls,
}

impl Profile {
    /// A profile for [`Accept`]. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn server(name: impl Into<String>) -> Self {
        Self::new(name.into(), Role::Server)
    }

    /// A profile for [`Connect`]. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn client(name: impl Into<String>) -> Self {
        Self::new(name.into(), Role::Client)
    }

    fn new(name: String, role: Role) -> Self {
        Self { name, role, resume: None, tickets: None, tls: Tls::default() }
    }

    /// Lets the profile's sessions resume in this store, unless a request names another: [`Accept::resume`],
    /// [`Connect::resume`].
    pub fn resume(mut self, store: impl Into<String>) -> Self {
        self.resume = Some(store.into());
        self
    }

    /// The same with a store that is a file or directory: [`Accept::resume_file`], [`Connect::resume_file`]. The daemon
    /// keeps a copy of the descriptor of a server's file for as long as it has the profile, and looks at the file once a
    /// minute.
    pub fn resume_file(mut self, store: impl Into<OwnedFd>) -> Self {
        self.tickets = Some(store.into());
        self
    }
}

impl Accept {
    /// Hands over this connected stream socket. Keep no other copy of it: the session's traffic is the daemon's.
    pub fn new(net: impl Into<OwnedFd>) -> Self {
        Self { start: Start::new(vec![net.into()]), ask: None, tls: Tls::default() }
    }

    /// Decides about the peer when its ClientHello has come and before it is answered: by its server name, its
    /// fingerprint, or because it is not TLS at all. `choose` runs on the thread that waits for this session, and only
    /// while one waits; it should take no longer than the daemon waits, which is 2 s where nothing else is said.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let client = tlsify_client::Client::connect()?;
    /// # let socket = std::net::TcpListener::bind("[::]:8443")?.accept()?.0;
    /// use tlsify_client::{Accept, Choice, Code, Error, RefusalAlert};
    ///
    /// let request = Accept::new(socket).profile("shop").ask(|peer| match peer.server_name.as_deref() {
    ///     _ if !peer.tls => Choice::GiveBack,
    ///     Some("shop.example") => Choice::Own,
    ///     Some("mail.example") => Choice::Profile("mail".to_owned()),
    ///     _ => Choice::Refuse(RefusalAlert::UnrecognizedName),
    /// });
    /// match client.accept(&request) {
    ///     Ok(open) => println!("TLS, {}", open.facts.protocol),
    ///     Err(Error::Failed(failed)) if failed.code == Code::GivenBack => {
    ///         println!("another protocol, on {:?}", request.into_nets());
    ///     }
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn ask(mut self, choose: impl Fn(&ClientHello) -> Choice + Send + Sync + 'static) -> Self {
        self.ask = Some(Asking { handler: Arc::new(choose), timeout: None, default: None });
        self
    }

    /// The same, with how long the daemon waits for the ClientHello, and then as long for the choice, in whole
    /// milliseconds; and what it does without one.
    pub fn ask_within(
        mut self,
        limit: Duration,
        otherwise: AskDefault,
        choose: impl Fn(&ClientHello) -> Choice + Send + Sync + 'static,
    ) -> Self {
        self.ask = Some(Asking { handler: Arc::new(choose), timeout: Some(limit), default: Some(otherwise) });
        self
    }

    /// Lets clients resume: the daemon gives them tickets and takes those that it gave, under keys of this store, which
    /// all processes of this user that name it share. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`. A ticket is good for
    /// 12 hours, for the same profile only, and no longer than the client's certificate if there is one: that is checked
    /// again each time. Without it there are no tickets.
    pub fn resume(mut self, store: impl Into<String>) -> Self {
        self.start.resume = Some(store.into());
        self
    }

    /// The same with the keys in this file, so that they outlive the daemon: a regular file of this user's, open for
    /// reading and writing, which only this user may open (mode 0600), empty at first. Several daemons may have it. Open
    /// for reading only, its keys are used and not replaced. A directory (of this user's, mode 0700) stands for a store
    /// in the daemon's memory, known by whoever can open it: nothing is written into it.
    pub fn resume_file(mut self, keys: impl Into<OwnedFd>) -> Self {
        self.start.tickets = Some(keys.into());
        self
    }
}

impl Connect {
    /// Hands over this connected stream socket. Keep no other copy of it: the session's traffic is the daemon's.
    pub fn new(net: impl Into<OwnedFd>) -> Self {
        Self::on(vec![net.into()], None)
    }

    /// Has the daemon look up and connect: `HOST:PORT`, or `[ADDRESS]:PORT` for IPv6. The sockets are made here, one of
    /// each address family that this host has, so they are of this process's network namespace and this user's; nothing
    /// of the network is waited for. Which names the certificate may have is for [`Self::name`] to say, as always.
    ///
    /// # Errors
    /// The system's, when it has no socket of either family.
    pub fn to(target: impl Into<String>) -> io::Result<Self> {
        let socket =
            |family| socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP));
        let sockets = match (socket(AddressFamily::INET6), socket(AddressFamily::INET)) {
            (Err(_), Err(error)) => return Err(error.into()),
            (six, four) => six.into_iter().chain(four),
        };
        Ok(Self::to_with(target, sockets))
    }

    /// The same with sockets of the caller's: TCP, neither connected nor listening, at most 8. What was set on them (a
    /// bound address, a mark, a device, a namespace) stays. One of each family lets both be tried at once; more of a
    /// family let its addresses race. Those that are not used are put back and closed by the daemon.
    pub fn to_with<S: Into<OwnedFd>>(
        target: impl Into<String>,
        sockets: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::on(sockets.into_iter().map(Into::into).collect(), Some(target.into()))
    }

    fn on(nets: Vec<OwnedFd>, to: Option<String>) -> Self {
        let (names, server_name, ech_config, ech_grease, fast_open, tls) = Default::default();
        Self { start: Start::new(nets), names, server_name, ech_config, ech_grease, to, fast_open, tls }
    }

    /// Lets the first bytes travel with the SYN (TCP Fast Open, RFC 7413), where kernel and peer know each other from
    /// an earlier connection: a round trip less. Only with [`Self::to`] or [`Self::to_with`].
    pub fn fast_open(mut self) -> Self {
        self.fast_open = true;
        self
    }

    /// Resumes from this store of tickets, which all processes of this user that name it share, and keeps new ones in
    /// it. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`. Without it nothing is remembered.
    pub fn resume(mut self, store: impl Into<String>) -> Self {
        self.start.resume = Some(store.into());
        self
    }

    /// The same with a store that is known by this file or directory instead of a name: of this user's, which only this
    /// user may open (mode 0600, 0700). Nothing is read from it or written to it: tickets stay in the daemon's memory.
    pub fn resume_file(mut self, store: impl Into<OwnedFd>) -> Self {
        self.start.tickets = Some(store.into());
        self
    }

    /// Adds a reference identifier (RFC 9525): a DNS name in its ASCII form or an IP address. The peer's
    /// certificate must be valid for at least one of them.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Sends this server name (RFC 6066 section 3) instead of the first DNS name.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(Some(name.into()));
        self
    }

    /// Encrypts the ClientHello (RFC 9849), and with it the server name, to this ECHConfigList: what the DNS has in the
    /// `ech` parameter of the server's HTTPS record, or what a server that rejected an older one gave
    /// ([`Failed::ech_retry`](crate::Failed::ech_retry)). TLS 1.3 only. It is public data, 8,192 bytes at most.
    pub fn ech_config(mut self, list: impl Into<Vec<u8>>) -> Self {
        self.ech_config = Some(list.into());
        self
    }

    /// Sends something that looks like an encrypted ClientHello and says nothing (RFC 9849 section 6.2), so that the real
    /// ones do not stand out. The server name is in the clear. TLS 1.3 only.
    pub fn ech_grease(mut self) -> Self {
        self.ech_grease = true;
        self
    }

    /// Sends no server name.
    pub fn no_server_name(mut self) -> Self {
        self.server_name = Some(None);
        self
    }
}

/// What `accept` and `connect` share.
pub(crate) struct Start {
    /// One, or with `to` as many as there are.
    pub(crate) nets: Vec<OwnedFd>,
    pub(crate) plain: Vec<(FdName, OwnedFd)>,
    pub(crate) profile: Option<String>,
    pub(crate) resume: Option<String>,
    pub(crate) tickets: Option<OwnedFd>,
    pub(crate) bind: Bind,
    pub(crate) handshake_timeout: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) chain: bool,
    pub(crate) exports: Vec<(String, Option<Vec<u8>>, u8)>,
    pub(crate) channel_binding: bool,
    pub(crate) received: Option<Vec<u8>>,
    pub(crate) outbound_end: OutboundEnd,
}

impl Start {
    fn new(nets: Vec<OwnedFd>) -> Self {
        Self {
            nets,
            plain: Vec::new(),
            profile: None,
            resume: None,
            tickets: None,
            bind: Bind::Descriptors,
            handshake_timeout: None,
            idle_timeout: None,
            chain: false,
            exports: Vec::new(),
            channel_binding: false,
            received: None,
            outbound_end: OutboundEnd::default(),
        }
    }
}

/// Bytes already received are the conversation's, not a log's.
impl fmt::Debug for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Start")
            .field("nets", &self.nets)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
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
    pub(crate) crl_unknown: Option<CrlUnknown>,
    pub(crate) crl_stale: Option<CrlStale>,
    pub(crate) stapled_ocsp: Option<StapledOcsp>,
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

            /// Certificate revocation lists, in a file (PEM or DER) or a directory of such files (`.crl`, `.pem`). What they
            /// do not cover, and what is only in lists that are too old, is refused, unless the next methods say otherwise.
            pub fn crl(mut self, lists: impl Into<OwnedFd>) -> Self {
                self.tls.crl = Some(lists.into());
                self
            }

            /// Which certificates of the chain the lists have to cover; all of them, when nothing is said.
            pub fn crl_check(mut self, choice: CrlCheck) -> Self {
                self.tls.crl_check = Some(choice);
                self
            }

            /// What becomes of a certificate that no list covers.
            pub fn crl_unknown(mut self, choice: CrlUnknown) -> Self {
                self.tls.crl_unknown = Some(choice);
                self
            }

            /// What becomes of a certificate whose list is past its next update.
            pub fn crl_stale(mut self, choice: CrlStale) -> Self {
                self.tls.crl_stale = Some(choice);
                self
            }

            /// A client: whether the server has to staple an OCSP response (RFC 6066 section 8). One that comes is judged in
            /// any case, and a certificate that promises one (RFC 7633) requires it.
            pub fn stapled_ocsp(mut self, choice: StapledOcsp) -> Self {
                self.tls.stapled_ocsp = Some(choice);
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
        }
    };
}

/// The methods that set [`Start`].
macro_rules! start_options {
    ($builder:ty) => {
        impl $builder {
            /// Uses this profile: one defined on this control connection, or else one of the operator's. TLS options
            /// beside a profile are refused.
            pub fn profile(mut self, name: impl Into<String>) -> Self {
                self.start.profile = Some(name.into());
                self
            }

            /// The program's side: a connected stream socket that carries both directions. Without it (and without
            /// [`Self::inbound`] and [`Self::outbound`]) the daemon makes a socketpair.
            pub fn plain(mut self, socket: impl Into<OwnedFd>) -> Self {
                self.start.plain.push((FdName::Plain, socket.into()));
                self
            }

            /// Where plaintext from the peer is written: a pipe, a file, a terminal, a socket.
            pub fn inbound(mut self, to: impl Into<OwnedFd>) -> Self {
                self.start.plain.push((FdName::Inbound, to.into()));
                self
            }

            /// Where plaintext for the peer is read: a pipe, a file, a terminal, a socket.
            pub fn outbound(mut self, from: impl Into<OwnedFd>) -> Self {
                self.start.plain.push((FdName::Outbound, from.into()));
                self
            }

            /// How long the session lives: as long as its descriptors, which is the default, or at most as long as
            /// this control connection.
            pub fn bind(mut self, bind: Bind) -> Self {
                self.start.bind = bind;
                self
            }

            /// How long the handshake may take, in whole milliseconds.
            pub fn handshake_timeout(mut self, limit: Duration) -> Self {
                self.start.handshake_timeout = Some(limit);
                self
            }

            /// Ends the session when no byte moved for so long. Without it an idle session stays.
            pub fn idle_timeout(mut self, limit: Duration) -> Self {
                self.start.idle_timeout = Some(limit);
                self
            }

            /// Asks for the peer's certificate chain with the answer.
            pub fn chain(mut self) -> Self {
                self.start.chain = true;
                self
            }

            /// Asks for an exporter value (RFC 8446 section 7.5) of 1 to 255 bytes.
            pub fn export(mut self, label: impl Into<String>, context: Option<&[u8]>, length: u8) -> Self {
                self.start.exports.push((label.into(), context.map(<[u8]>::to_vec), length));
                self
            }

            /// Asks for the `tls-exporter` channel binding (RFC 9266).
            pub fn channel_binding(mut self) -> Self {
                self.start.channel_binding = true;
                self
            }

            /// Bytes that were already read from the network socket and belong to TLS: at most 16,384.
            pub fn received(mut self, bytes: impl Into<Vec<u8>>) -> Self {
                self.start.received = Some(bytes.into());
                self
            }

            /// Says close_notify only after the peer has, for peers that take ours as the end of both directions:
            /// without it the peer hears at once that the program has ended its stream.
            pub fn hold(mut self) -> Self {
                self.start.outbound_end = OutboundEnd::Hold;
                self
            }

            /// The network sockets back, for a program that goes on with them after a refusal: one, or those that
            /// were to be connected.
            pub fn into_nets(self) -> Vec<OwnedFd> {
                self.start.nets
            }
        }
    };
}

tls_options!(Profile);
tls_options!(Accept);
tls_options!(Connect);
start_options!(Accept);
start_options!(Connect);
