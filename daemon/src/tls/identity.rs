//! A certificate chain, its private key and perhaps an OCSP response: who we are. Or the key alone.

use core::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use tlsify_protocol::Code;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use super::away::signing_key;
use super::digest::{self, sha256};
use super::pem::{self, PemError};
use super::presented::{PresentedIds, Seconds, unix_time};
use super::private_key::{PrivateKey, PublicKey};
use super::sequences;

/// An identity. A clone shares chain and key.
#[derive(Clone)]
pub struct Identity {
    /// Of a raw public key, the "certificate" is its SubjectPublicKeyInfo: rustls sends it as it is (RFC 7250).
    certified: Arc<CertifiedKey>,
    raw: bool,
    key: PrivateKey,
    names: Arc<[String]>,
    not_before: Seconds,
    not_after: Seconds,
    spki_sha256: [u8; 32],
}

/// Why certificate, key and OCSP response do not make an identity. The texts never hold key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The PEM text of the chain is broken.
    #[error("cannot read the certificate: {0}")]
    CertificatePem(PemError),
    /// No section is a certificate.
    #[error("there is no certificate{}", pem::what_instead(.0))]
    NoCertificate(Vec<String>),
    /// A certificate is not X.509 version 3.
    #[error("certificate {0} of the chain is not a valid X.509 certificate")]
    BadCertificate(usize),
    /// The PEM text of the key is broken.
    #[error("cannot read the private key: {0}")]
    KeyPem(PemError),
    /// No section is a private key.
    #[error("there is no private key{}", pem::what_instead(.0))]
    NoKey(Vec<String>),
    /// The key is locked with a passphrase.
    #[error(
        "the private key is encrypted, and there is nobody here to ask for its passphrase, decrypt it first"
    )]
    EncryptedKey,
    /// More than one key.
    #[error("there is more than one private key, give exactly one")]
    SeveralKeys,
    /// Damaged, or of a kind that is not supported.
    #[error(
        "the private key is damaged or not RSA (2048 bits or more), ECDSA (P-256, P-384, P-521) or Ed25519"
    )]
    UnusableKey,
    /// The key is for another certificate.
    #[error("the private key does not belong to the certificate")]
    Mismatch,
    /// The key is for a later certificate of the chain.
    #[error(
        "the private key belongs to certificate {0} of the chain, the certificate of the key comes first"
    )]
    Order(usize),
    /// No section has a public key.
    #[error("there is no certificate and no key{}", pem::what_instead(.0))]
    NothingToPin(Vec<String>),
    /// A `PUBLIC KEY` section with something else in it.
    #[error("the public key is damaged")]
    BadPublicKey,
    /// Not an OCSP response, or not a successful one.
    #[error("the OCSP response {0}")]
    Ocsp(&'static str),
}

impl IdentityError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        match self {
            Self::CertificatePem(_)
            | Self::NoCertificate(_)
            | Self::BadCertificate(_)
            | Self::NothingToPin(_) => Code::CertificateInvalid,
            Self::KeyPem(_)
            | Self::NoKey(_)
            | Self::EncryptedKey
            | Self::SeveralKeys
            | Self::UnusableKey
            | Self::BadPublicKey => Code::KeyInvalid,
            Self::Mismatch | Self::Order(_) => Code::KeyMismatch,
            Self::Ocsp(_) => Code::OcspInvalid,
        }
    }

    /// The protocol's name of the descriptor with the bad content.
    pub fn about(&self) -> &'static str {
        match self.code() {
            Code::CertificateInvalid => "certificate",
            Code::OcspInvalid => "ocsp",
            _ => "key",
        }
    }
}

impl Identity {
    /// Reads a PEM chain (end-entity certificate first) for `key` and, if given, an OCSP response (DER, or PEM labelled
    /// `OCSP RESPONSE`) to be stapled as it is.
    ///
    /// # Errors
    /// [`IdentityError`] with what is wrong. Dates are not looked at: there is no clock here, see
    /// [`Identity::not_after`].
    pub fn new(chain: &[u8], key: PrivateKey, ocsp: Option<&[u8]>) -> Result<Self, IdentityError> {
        Self::with(chain, || Ok(key), ocsp)
    }

    /// The same with a key that is got only once the chain is one.
    ///
    /// # Errors
    /// As [`Identity::new`], and what getting the key fails with.
    pub fn with<E: From<IdentityError>>(
        chain: &[u8],
        key: impl FnOnce() -> Result<PrivateKey, E>,
        ocsp: Option<&[u8]>,
    ) -> Result<Self, E> {
        let chain = read_chain(chain)?;
        Ok(Self::assemble(chain, key()?, ocsp)?)
    }

    /// The same with a PEM key (PKCS#8, SEC1 or PKCS#1), which stays in this process. Chain and key may be in one text.
    ///
    /// The key's DER is wiped after parsing; wiping `key` itself is up to who owns it.
    ///
    /// # Errors
    /// As [`Identity::new`] and [`PrivateKey::from_pem`].
    pub fn from_pem(chain: &[u8], key: &[u8], ocsp: Option<&[u8]>) -> Result<Self, IdentityError> {
        Self::with(chain, || PrivateKey::from_pem(key), ocsp)
    }

    fn assemble(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
        ocsp: Option<&[u8]>,
    ) -> Result<Self, IdentityError> {
        let ids = PresentedIds::read(&chain[0]).ok_or(IdentityError::BadCertificate(1))?;
        let spki_sha256 = digest::spki_sha256(&chain[0]).ok_or(IdentityError::BadCertificate(1))?;
        check_match(&chain, key.public()?.spki_sha256, spki_sha256)?;
        let mut certified = CertifiedKey::new(chain, signing_key(&key));
        certified.ocsp = ocsp.map(read_ocsp).transpose()?;
        Ok(Self {
            certified: Arc::new(certified),
            raw: false,
            key,
            names: ids.server_names().into(),
            not_before: ids.not_before,
            not_after: ids.not_after,
            spki_sha256,
        })
    }

    /// An identity without a certificate, names or dates: the public half of `key` is shown as it is (RFC 7250).
    ///
    /// # Errors
    /// [`IdentityError::UnusableKey`].
    pub fn raw(key: PrivateKey) -> Result<Self, IdentityError> {
        let public = key.public()?;
        let shown = vec![CertificateDer::from(public.spki_der.to_vec())];
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(shown, signing_key(&key))),
            raw: true,
            key,
            names: Arc::new([]),
            not_before: 0,
            not_after: Seconds::MAX,
            spki_sha256: public.spki_sha256,
        })
    }

    /// The same with a PEM key, as in [`Identity::from_pem`].
    ///
    /// # Errors
    /// [`IdentityError`] with what is wrong with the key.
    pub fn from_key(key: &[u8]) -> Result<Self, IdentityError> {
        Self::raw(PrivateKey::from_pem(key)?)
    }

    /// The signer that its handshakes may have to wait for, if that is anybody; see [`PrivateKey::waits_for`].
    pub fn waits_for(&self) -> Option<&str> {
        self.key.waits_for()
    }

    /// How many bytes of certificates and OCSP response it holds.
    pub fn weight(&self) -> u64 {
        let chain: usize = self.certified.cert.iter().map(|certificate| certificate.len()).sum();
        (chain + self.certified.ocsp.as_ref().map_or(0, Vec::len)) as u64
    }

    /// Whether it is a raw public key (RFC 7250) and no certificate.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// The names that a server chooses this identity by: the certificate's DNS names (lower case, perhaps
    /// `*.suffix`) and addresses, unless replaced.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The same identity, chosen by these names instead of the certificate's own.
    #[must_use]
    pub fn with_names(self, names: Vec<String>) -> Self {
        let names = names.into_iter().map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
        Self { names, ..self }
    }

    /// When the end-entity certificate becomes valid.
    pub fn not_before(&self) -> UnixTime {
        unix_time(self.not_before)
    }

    /// When the end-entity certificate expires; a raw public key never does.
    pub fn not_after(&self) -> UnixTime {
        unix_time(self.not_after)
    }

    /// SHA-256 of our public key: what a peer pins.
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// The certificates as they are sent, end-entity first; of a raw public key, its SubjectPublicKeyInfo.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("names", &self.names).finish_non_exhaustive()
    }
}

/// SHA-256 of the public key (SubjectPublicKeyInfo in DER) that a PEM text has: of its first certificate, else of its
/// private key, else of a `PUBLIC KEY`. What a peer pins of its owner; dates are not looked at.
///
/// # Errors
/// [`IdentityError`] with what is wrong: never with key material in it.
pub fn pin_of_pem(text: &[u8]) -> Result<[u8; 32], IdentityError> {
    let labels = pem::labels(text);
    let has = |end: &str| labels.iter().any(|label| label.ends_with(end));
    if has("CERTIFICATE") {
        return digest::spki_sha256(&read_chain(text)?[0]).ok_or(IdentityError::BadCertificate(1));
    }
    if has("PRIVATE KEY") {
        return Ok(PrivateKey::from_pem(text)?.public()?.spki_sha256);
    }
    let section = pem::section(text, "PUBLIC KEY").ok_or(IdentityError::NothingToPin(labels))?;
    let der = section.map_err(IdentityError::KeyPem)?;
    match SubjectPublicKeyInfo::from_der(&der) {
        Ok((b"", _)) => Ok(sha256(&der)),
        _ => Err(IdentityError::BadPublicKey),
    }
}

/// The public key of a PEM chain's end-entity certificate: the key that goes with it. With a hash, that of its
/// SubjectPublicKeyInfo, it has to be that one.
///
/// # Errors
/// [`IdentityError`]: there is no chain, or its key is another.
pub fn public_of_chain(chain: &[u8], hash: Option<[u8; 32]>) -> Result<PublicKey, IdentityError> {
    let chain = read_chain(chain)?;
    let (_, first) =
        x509_parser::parse_x509_certificate(&chain[0]).map_err(|_| IdentityError::BadCertificate(1))?;
    let public = PublicKey::from_spki_der(first.public_key().raw)?;
    check_match(&chain, hash.unwrap_or(public.spki_sha256), public.spki_sha256)?;
    Ok(public)
}

fn read_chain(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain = pem::certificates(text).map_err(IdentityError::CertificatePem)?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate(pem::labels(text)));
    }
    match chain.iter().position(|certificate| PresentedIds::read(certificate).is_none()) {
        Some(bad) => Err(IdentityError::BadCertificate(bad + 1)),
        None => Ok(chain),
    }
}

fn check_match(
    chain: &[CertificateDer<'static>],
    ours: [u8; 32],
    end_entity: [u8; 32],
) -> Result<(), IdentityError> {
    if ours == end_entity {
        return Ok(());
    }
    match chain.iter().position(|certificate| digest::spki_sha256(certificate) == Some(ours)) {
        Some(index) => Err(IdentityError::Order(index + 1)),
        None => Err(IdentityError::Mismatch),
    }
}

/// Ten times what responders send. With the chain it has to fit into a handshake message, of which peers take about
/// 64 KiB; above 65,527 bytes TLS 1.3 has no room for it, and rustls writes a broken message.
const LARGEST_OCSP: usize = 32 * 1024;

/// Looks at the outermost layer of an OCSP response (RFC 6960 section 4.2.1); the rest is for the client.
fn read_ocsp(bytes: &[u8]) -> Result<Vec<u8>, IdentityError> {
    let der = match pem::section(bytes, "OCSP RESPONSE") {
        Some(der) => der.map_err(|_| IdentityError::Ocsp("is broken PEM"))?,
        None => bytes.to_vec(),
    };
    if der.len() > LARGEST_OCSP {
        return Err(IdentityError::Ocsp("is larger than peers take"));
    }
    let content = sequences::content(&der).ok_or(IdentityError::Ocsp("is not DER, or is cut off"))?;
    match content {
        // ENUMERATED, one byte, successful (0), then the response bytes.
        [0x0a, 0x01, 0x00, 0xa0, ..] => Ok(der),
        [0x0a, 0x01, 0x00, ..] => Err(IdentityError::Ocsp("is empty")),
        [0x0a, 0x01, ..] => Err(IdentityError::Ocsp("is an error of the responder, not a status")),
        _ => Err(IdentityError::Ocsp("is something else in DER")),
    }
}
