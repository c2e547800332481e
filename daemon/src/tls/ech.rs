//! Encrypted Client Hello as a client (RFC 9849): what a session sends of it, and what a rejection means.
//!
//! ```text
//!  ECHConfigList ──▶ Ech ──▶ outer ClientHello: the public name, and the inner one sealed: the name that is meant
//!                                │
//!        accepted ◀──────────────┴──────────────▶ rejected
//!        the server is checked                    the server is checked for the public name alone: only then is what it
//!        as always                                says worth anything, and its word is a newer list, or that it has none
//! ```
//!
//! A rejected session never opens, and nothing is sent again in another way: the caller decides. rustls speaks TLS 1.3 alone
//! with either kind.

use std::sync::OnceLock;

use rustls::client::{EchConfig, EchGreaseConfig, EchMode};
use rustls::crypto::aws_lc_rs::hpke::{ALL_SUPPORTED_SUITES, DH_KEM_X25519_HKDF_SHA256_AES_128};
use rustls::crypto::hpke::{Hpke, HpkePublicKey};
use rustls::internal::msgs::codec::Codec;
use rustls::internal::msgs::handshake::EchConfigPayload;
use tlsify_protocol::{Code, MAX_ECH_CONFIG, Party};

use super::failure::Failure;
use super::names::alert_code;
use super::witness::Witness;

/// The version of configurations that there is (RFC 9849 section 4).
const VERSION: u16 = 0xfe0d;

/// What a session sends of Encrypted Client Hello.
#[derive(Clone, Debug)]
pub struct Ech(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Hidden(Box<EchConfig>),
    Grease(EchGreaseConfig),
}

/// Why a list of configurations cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EchError {
    /// Lengths that do not add up.
    #[error("\"ech-config\" is no ECHConfigList (RFC 9849 section 4), is it whole?")]
    Malformed,
    /// Each configuration is of another version, for an algorithm that is not here, or wrong in itself.
    #[error("none of the {0} ECH configurations can be used: {1}")]
    Unusable(usize, &'static str),
    /// The cryptography provider failed.
    #[error("no key for something that looks like Encrypted Client Hello: {0}")]
    Provider(String),
}

impl EchError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        match self {
            Self::Malformed => Code::BadValue,
            Self::Unusable(..) => Code::EchUnusable,
            Self::Provider(_) => Code::Internal,
        }
    }

    /// The protocol's key with the value.
    pub fn about(&self) -> &'static str {
        match self {
            Self::Malformed | Self::Unusable(..) => "ech-config",
            Self::Provider(_) => "ech",
        }
    }
}

impl Ech {
    /// The first usable configuration of an ECHConfigList: what cannot be used is passed over, as RFC 9849 section 4 wants it.
    ///
    /// # Errors
    /// [`EchError`] when it is no list, or none can be used.
    pub fn from_list(list: &[u8]) -> Result<Self, EchError> {
        let configs = split(list).filter(|configs| !configs.is_empty()).ok_or(EchError::Malformed)?;
        let mut why = "they are of other versions of the protocol";
        for config in &configs {
            match usable(config) {
                Ok(config) => return Ok(Self(Kind::Hidden(Box::new(config)))),
                Err(Some(reason)) => why = reason,
                Err(None) => {}
            }
        }
        Err(EchError::Unusable(configs.len(), why))
    }

    /// Something that looks like it and says nothing (RFC 9849 section 6.2).
    ///
    /// # Errors
    /// [`EchError::Provider`].
    pub fn grease() -> Result<Self, EchError> {
        // Of the public key nothing is sent; what is sent is fresh in each session.
        static KEY: OnceLock<HpkePublicKey> = OnceLock::new();
        // The suite of those that there are.
        let suite = DH_KEM_X25519_HKDF_SHA256_AES_128;
        let key = match KEY.get() {
            Some(key) => key,
            None => {
                let (key, _) =
                    suite.generate_key_pair().map_err(|error| EchError::Provider(error.to_string()))?;
                KEY.get_or_init(|| key)
            }
        };
        Ok(Self(Kind::Grease(EchGreaseConfig::new(suite, HpkePublicKey(key.0.clone())))))
    }

    /// Whether the server_name is encrypted.
    pub fn hides(&self) -> bool {
        matches!(self.0, Kind::Hidden(_))
    }

    /// The protocol's key that asks for it.
    pub fn key(&self) -> &'static str {
        if self.hides() { "ech-config" } else { "ech" }
    }

    pub(super) fn mode(&self) -> EchMode {
        match &self.0 {
            Kind::Hidden(config) => EchMode::Enable((**config).clone()),
            Kind::Grease(config) => EchMode::Grease(config.clone()),
        }
    }
}

/// The server says that it cannot decrypt the ClientHello. Its list of configurations, if it gave one, is kept in `witness`.
pub(super) fn rejected(retry: Option<&[EchConfigPayload]>, witness: &Witness) -> Failure {
    let mut seen = witness.seen();
    let alert = Some((alert_code(rustls::AlertDescription::EncryptedClientHelloRequired), Party::Us));
    let Some(public) = seen.proven.clone() else {
        // Only a ticket gets so far without a certificate, and none is offered for the public name.
        let text = "the peer rejected the encrypted ClientHello without proving who it is".to_owned();
        return Failure { alert, ..Failure::new(Code::ProtocolViolation, text) };
    };
    // Empty, or longer than a request may have it, it is of no use.
    let retry = retry.filter(|configs| !configs.is_empty()).map(list);
    seen.ech_retry = retry.filter(|list| list.len() <= MAX_ECH_CONFIG);
    let text = match seen.ech_retry {
        Some(_) => format!(
            "{public} cannot decrypt the ClientHello, and gave a newer ECH configuration for another try"
        ),
        None => {
            format!("{public} cannot decrypt the ClientHello, and gave no ECH configuration for another try")
        }
    };
    Failure { alert, ..Failure::new(Code::EchRejected, text) }
}

/// As it goes over the wire: the length in front.
fn list(configs: &[EchConfigPayload]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    for config in configs {
        config.encode(&mut bytes);
    }
    // It came in a message of this form, so the length fits.
    let length = u16::try_from(bytes.len() - 2).unwrap_or(0).to_be_bytes();
    bytes[..2].copy_from_slice(&length);
    bytes
}

/// The configurations of a list, each with its version and length.
fn split(list: &[u8]) -> Option<Vec<&[u8]>> {
    let mut all = Cursor(list);
    let mut rest = Cursor(all.block()?);
    all.is_empty().then_some(())?;
    let mut configs = Vec::new();
    while !rest.is_empty() {
        let whole = rest.0;
        rest.u16()?;
        rest.block()?;
        configs.push(&whole[..whole.len() - rest.0.len()]);
    }
    Some(configs)
}

/// One configuration for rustls, or why not; `Err(None)`: it is of another version.
fn usable(config: &[u8]) -> Result<EchConfig, Option<&'static str>> {
    let malformed = Some("one is malformed");
    let mut cursor = Cursor(config);
    if cursor.u16() != Some(VERSION) {
        return Err(None);
    }
    let mut contents = Cursor(cursor.block().ok_or(malformed)?);
    let (kem, key) = contents.key().ok_or(malformed)?;
    let mut alone = u16::try_from(config.len()).map_err(|_| malformed)?.to_be_bytes().to_vec();
    alone.extend_from_slice(config);
    let usable =
        EchConfig::new(alone.as_slice().into(), ALL_SUPPORTED_SUITES).map_err(|error| match error {
            rustls::Error::InvalidEncryptedClientHello(
                rustls::EncryptedClientHelloError::InvalidConfigList,
            ) => malformed,
            _ => Some("their algorithms or mandatory extensions are not known here"),
        })?;
    // A key that is none would come up when the first byte is to be sent.
    let same = |suite: &&&dyn Hpke| u16::from(suite.suite().kem) == kem;
    let opens = |suite: &dyn Hpke| suite.setup_sealer(b"", &HpkePublicKey(key.to_vec())).is_ok();
    match ALL_SUPPORTED_SUITES.iter().find(same) {
        Some(suite) if opens(*suite) => Ok(usable),
        _ => Err(Some("the public key of one is no key")),
    }
}

/// Bytes that are read from the front.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn u16(&mut self) -> Option<u16> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*number))
    }

    /// What stands behind its length of two bytes.
    fn block(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        let (block, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(block)
    }

    /// Behind the number of the configuration: key encapsulation and public key.
    fn key(&mut self) -> Option<(u16, &'a [u8])> {
        self.0 = self.0.get(1..)?;
        Some((self.u16()?, self.block()?))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A configuration with this version, KEM, public key and public name.
    pub(crate) fn config(version: u16, kem: u16, key: &[u8], name: &str, extensions: &[u8]) -> Vec<u8> {
        let word = |length: usize| u16::try_from(length).unwrap().to_be_bytes();
        let mut contents = vec![7];
        contents.extend(kem.to_be_bytes());
        contents.extend(word(key.len()));
        contents.extend_from_slice(key);
        // HKDF-SHA256 with AES-128-GCM.
        contents.extend([0, 4, 0, 1, 0, 1, 64, u8::try_from(name.len()).unwrap()]);
        contents.extend_from_slice(name.as_bytes());
        contents.extend(word(extensions.len()));
        contents.extend_from_slice(extensions);
        let mut config = version.to_be_bytes().to_vec();
        config.extend(word(contents.len()));
        config.extend(contents);
        config
    }

    /// A list of these.
    pub(crate) fn of(configs: &[Vec<u8>]) -> Vec<u8> {
        let configs = configs.concat();
        let mut list = u16::try_from(configs.len()).unwrap().to_be_bytes().to_vec();
        list.extend(configs);
        list
    }

    pub(crate) const X25519: u16 = 0x20;

    pub(crate) fn key() -> Vec<u8> {
        DH_KEM_X25519_HKDF_SHA256_AES_128.generate_key_pair().unwrap().0.0
    }

    fn good() -> Vec<u8> {
        config(VERSION, X25519, &key(), "public.example", &[])
    }

    #[test]
    fn what_cannot_be_used_is_passed_over() {
        let draft = config(0xfe09, X25519, &key(), "public.example", &[]);
        let kyber = config(VERSION, 0x30, &[1; 1216], "public.example", &[]);
        let mandatory = config(VERSION, X25519, &key(), "public.example", &[0xfa, 0xce, 0, 0]);
        let address = config(VERSION, X25519, &key(), "192.0.2.1", &[]);
        for passed in [&draft, &kyber, &mandatory, &address] {
            assert!(Ech::from_list(&of(&[passed.clone(), good()])).unwrap().hides());
            let error = Ech::from_list(&of(std::slice::from_ref(passed))).unwrap_err();
            assert_eq!((error.code(), error.about()), (Code::EchUnusable, "ech-config"), "{error}");
        }
        let error = Ech::from_list(&of(&[draft, kyber])).unwrap_err().to_string();
        assert_eq!(
            error,
            "none of the 2 ECH configurations can be used: their algorithms or mandatory extensions are not known here"
        );
    }

    #[test]
    fn every_algorithm_that_is_here_can_be_used() {
        for suite in ALL_SUPPORTED_SUITES {
            let (key, _) = suite.generate_key_pair().unwrap();
            let suite = suite.suite();
            let mut config = config(VERSION, suite.kem.into(), &key.0, "public.example", &[]);
            // Behind version, lengths, number, KEM and key.
            let at = 4 + 1 + 2 + 2 + key.0.len() + 2;
            config[at..at + 2].copy_from_slice(&u16::from(suite.sym.kdf_id).to_be_bytes());
            config[at + 2..at + 4].copy_from_slice(&u16::from(suite.sym.aead_id).to_be_bytes());
            assert!(Ech::from_list(&of(&[config])).unwrap().hides(), "{suite:?}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_noticed_before_anything_is_sent() {
        // P-256: a point that is not on the curve. X25519: a key that is too short.
        let off_curve = [&[4][..], &[7; 64]].concat();
        for (kem, key) in [(0x10, &off_curve[..]), (X25519, &[9; 31])] {
            let error = Ech::from_list(&of(&[config(VERSION, kem, key, "public.example", &[])])).unwrap_err();
            assert_eq!(error, EchError::Unusable(1, "the public key of one is no key"));
        }
    }

    #[test]
    fn a_list_that_is_cut_or_longer_is_no_list() {
        let list = of(&[good(), good()]);
        for cut in 0..list.len() {
            assert_eq!(Ech::from_list(&list[..cut]).unwrap_err(), EchError::Malformed, "{cut}");
        }
        let longer = [&list[..], &[0]].concat();
        assert_eq!(Ech::from_list(&longer).unwrap_err(), EchError::Malformed);
        assert_eq!(Ech::from_list(&[0, 0]).unwrap_err().code(), Code::BadValue);
    }

    #[test]
    fn any_bytes_are_a_list_or_an_error() {
        let list = of(&[good(), good()]);
        for at in 0..list.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bent = list.clone();
                bent[at] = byte;
                let _ = Ech::from_list(&bent);
            }
        }
    }

    #[test]
    fn a_rejection_is_believed_only_from_who_has_proven_to_be_the_public_server() {
        let retry = [Codec::read_bytes(&good()).unwrap()];
        let witness = Witness::default();
        let failure = rejected(Some(&retry), &witness);
        assert_eq!(failure.code, Code::ProtocolViolation);
        assert_eq!(witness.seen().ech_retry, None);
        witness.seen().proven = Some("public.example".into());
        let failure = rejected(Some(&retry), &witness);
        assert_eq!((failure.code, failure.alert), (Code::EchRejected, Some((121, Party::Us))));
        let list = witness.seen().ech_retry.clone().unwrap();
        assert!(Ech::from_list(&list).unwrap().hides(), "what is given back can be given again");
        rejected(Some(&[]), &witness);
        assert_eq!(witness.seen().ech_retry, None, "an empty list is none");
    }
}
