//! A certificate chain, its private key and perhaps an OCSP response: who we are. Or the key alone.

use core::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::sign::SigningKey;
use tlsify_protocol::Code;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use zeroize::Zeroize;

use super::digest::{self, sha256};
use super::params::provider;
use super::pem::{self, PemError};
use super::presented::{PresentedIds, Seconds, unix_time};
use super::sequences;

/// An identity. A clone shares chain and key.
#[derive(Clone)]
pub struct Identity {
    /// Of a raw public key, the "certificate" is its SubjectPublicKeyInfo: rustls sends it as it is (RFC 7250).
    certified: Arc<CertifiedKey>,
    raw: bool,
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
    /// Reads a PEM chain (end-entity certificate first), a PEM key (PKCS#8, SEC1 or PKCS#1) and, if given, an
    /// OCSP response (DER, or PEM labelled `OCSP RESPONSE`) to be stapled as it is.
    ///
    /// The key's DER is wiped after parsing; wiping `key` itself is up to who owns it. Chain and key may be in
    /// one text.
    ///
    /// # Errors
    /// [`IdentityError`] with what is wrong. Dates are not looked at: there is no clock here, see
    /// [`Identity::not_after`].
    pub fn from_pem(chain: &[u8], key: &[u8], ocsp: Option<&[u8]>) -> Result<Self, IdentityError> {
        let chain = read_chain(chain)?;
        let ids = PresentedIds::read(&chain[0]).ok_or(IdentityError::BadCertificate(1))?;
        let spki_sha256 = digest::spki_sha256(&chain[0]).ok_or(IdentityError::BadCertificate(1))?;
        let key = read_key(key)?;
        check_match(&chain, &*key, spki_sha256)?;
        let mut certified = CertifiedKey::new(chain, key);
        certified.ocsp = ocsp.map(read_ocsp).transpose()?;
        Ok(Self {
            certified: Arc::new(certified),
            raw: false,
            names: ids.server_names().into(),
            not_before: ids.not_before,
            not_after: ids.not_after,
            spki_sha256,
        })
    }

    /// Reads a PEM key as in [`Identity::from_pem`]: its public half is shown as it is (RFC 7250), without a certificate,
    /// names or dates.
    ///
    /// # Errors
    /// [`IdentityError`] with what is wrong with the key.
    pub fn from_key(key: &[u8]) -> Result<Self, IdentityError> {
        let key = read_key(key)?;
        // All kinds of keys that the provider loads know their public half.
        let spki = key.public_key().map(SubjectPublicKeyInfoDer::into_owned);
        let spki = spki.ok_or(IdentityError::UnusableKey)?;
        let spki_sha256 = sha256(&spki);
        let shown = vec![CertificateDer::from(spki.to_vec())];
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(shown, key)),
            raw: true,
            names: Arc::new([]),
            not_before: 0,
            not_after: Seconds::MAX,
            spki_sha256,
        })
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
        let key = read_key(text)?;
        return key.public_key().map(|spki| sha256(&spki)).ok_or(IdentityError::UnusableKey);
    }
    let section = pem::section(text, "PUBLIC KEY").ok_or(IdentityError::NothingToPin(labels))?;
    let der = section.map_err(IdentityError::KeyPem)?;
    match SubjectPublicKeyInfo::from_der(&der) {
        Ok((b"", _)) => Ok(sha256(&der)),
        _ => Err(IdentityError::BadPublicKey),
    }
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

fn read_key(text: &[u8]) -> Result<Arc<dyn SigningKey>, IdentityError> {
    if pem::is_encrypted(text) {
        return Err(IdentityError::EncryptedKey);
    }
    let mut keys = pem::keys(text).map_err(IdentityError::KeyPem)?;
    if keys.len() > 1 {
        keys.iter_mut().for_each(Zeroize::zeroize);
        return Err(IdentityError::SeveralKeys);
    }
    let key = keys.pop().ok_or_else(|| IdentityError::NoKey(pem::labels(text)))?;
    // The provider wipes the DER when it has taken the key out of it.
    provider().key_provider.load_private_key(key).map_err(|_| IdentityError::UnusableKey)
}

fn check_match(
    chain: &[CertificateDer<'static>],
    key: &dyn SigningKey,
    end_entity: [u8; 32],
) -> Result<(), IdentityError> {
    // All kinds of keys that the provider loads know their public half.
    let ours = key.public_key().map(|spki| sha256(&spki)).ok_or(IdentityError::UnusableKey)?;
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
