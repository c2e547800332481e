//! Our keys: the public half, which is always here, and who signs with the private one.
//!
//! ```text
//!  PrivateKey ─┬─ Here ── the key itself, in this process: single-process, tests, `tlsifyd check`
//!              └─ Away ── PublicKey + Signatory ─▶ the keyholder, or somebody else's signer through it
//! ```

use core::fmt;
use std::sync::Arc;

use rustls::sign::SigningKey;
use rustls::{SignatureAlgorithm, SignatureScheme};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};
use x509_parser::public_key::PublicKey as Parsed;
use zeroize::Zeroize;

use super::digest::sha256;
use super::identity::IdentityError;
use super::params::provider;
use super::pem;
use super::unsigned::Unsigned;

/// Lengths of an RSA modulus, in bits, that the cryptography provider signs and verifies with.
const RSA_BITS: core::ops::RangeInclusive<usize> = 2048..=8192;

/// Who signs with an identity's key. A clone is the same key.
#[derive(Clone)]
pub enum PrivateKey {
    /// This process does.
    Here(Arc<dyn SigningKey>),
    /// Somebody else does.
    Away {
        /// Whose private half it is.
        public: PublicKey,
        /// Who is asked. Its drop is the word that nobody will ask any more: identities and profiles hold it, and open
        /// sessions do not.
        signatory: Arc<dyn Signatory>,
    },
}

/// Somebody who signs for us with a key that is not in this process.
pub trait Signatory: Send + Sync + fmt::Debug {
    /// Signs `message`, not its hash, with `scheme`, a number of the IANA registry "TLS SignatureScheme" that is in
    /// [`PublicKey::schemes`]. The result is as TLS wants it: of ECDSA in DER. May block this thread, where
    /// [`Signatory::may_wait`] for as long as its own deadline, otherwise for a round trip on this machine.
    ///
    /// # Errors
    /// [`Unsigned`] with the reason.
    fn sign(&self, public: &PublicKey, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned>;

    /// Whether somebody else's software or hardware decides how long it takes. Nobody's loop may wait then: handshakes
    /// run beside it, and what comes back is verified before it goes out.
    fn may_wait(&self) -> bool;

    /// For sentences: the signer's name in the configuration.
    fn name(&self) -> &str {
        "keyholder"
    }

    /// Whether it signs with this scheme at all: not every agent does RSA-PSS.
    fn knows(&self, scheme: u16) -> bool {
        let _ = scheme;
        true
    }
}

/// A public key that TLS signatures can be verified with. A clone shares it.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// SubjectPublicKeyInfo (RFC 5280 section 4.1).
    pub spki_der: Arc<[u8]>,
    /// What a peer pins.
    pub spki_sha256: [u8; 32],
    kind: Kind,
}

/// What a key may sign. Bits: 1 TLS 1.3 as server, 2 TLS 1.3 as client, 4 TLS 1.2 as server, 8 TLS 1.2 as client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uses(u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    P521,
    Ed25519,
    Rsa,
}

impl PrivateKey {
    /// Reads a PEM key (PKCS#8, SEC1 or PKCS#1), to stay in this process. Its DER is wiped after parsing; wiping `text` is
    /// up to who owns it.
    ///
    /// # Errors
    /// [`IdentityError`] with what is wrong with the key, without anything of it.
    pub fn from_pem(text: &[u8]) -> Result<Self, IdentityError> {
        read_key(text).map(Self::Here)
    }

    /// The public half.
    ///
    /// # Errors
    /// [`IdentityError::UnusableKey`]: it is of a kind that peers do not verify.
    pub fn public(&self) -> Result<PublicKey, IdentityError> {
        match self {
            // All kinds of keys that the provider loads know their public half.
            Self::Here(key) => PublicKey::from_spki_der(&key.public_key().ok_or(IdentityError::UnusableKey)?),
            Self::Away { public, .. } => Ok(public.clone()),
        }
    }

    /// The signer that handshakes may have to wait for, if that is anybody; see [`Signatory::may_wait`].
    pub fn waits_for(&self) -> Option<&str> {
        match self {
            Self::Away { signatory, .. } if signatory.may_wait() => Some(signatory.name()),
            _ => None,
        }
    }
}

/// The one private key of a PEM text.
pub(super) fn read_key(text: &[u8]) -> Result<Arc<dyn SigningKey>, IdentityError> {
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

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here"),
            Self::Away { public, signatory } => {
                f.debug_struct("Away").field("public", public).field("signatory", signatory).finish()
            }
        }
    }
}

impl PublicKey {
    /// Takes a SubjectPublicKeyInfo in DER: of ECDSA on P-256, P-384 or P-521, Ed25519, or RSA of 2048 to 8192 bits.
    ///
    /// # Errors
    /// [`IdentityError::UnusableKey`]: it is none of them, or damaged.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, IdentityError> {
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| IdentityError::UnusableKey)?;
        let kind = Kind::of(&spki).filter(|_| rest.is_empty()).ok_or(IdentityError::UnusableKey)?;
        Ok(Self { spki_der: der.into(), spki_sha256: sha256(der), kind })
    }

    /// The schemes of its kind, best first: numbers of the IANA registry "TLS SignatureScheme".
    pub fn schemes(&self) -> Vec<u16> {
        self.kind.schemes().iter().copied().map(u16::from).collect()
    }

    /// Whether `signature` is one of `message` by this key.
    pub fn verifies(&self, scheme: u16, message: &[u8], signature: &[u8]) -> bool {
        let scheme = SignatureScheme::from(scheme);
        let spki = (&*self.spki_der).into();
        let Ok(key) = webpki::RawPublicKeyEntity::try_from(&spki) else { return false };
        let known = provider().signature_verification_algorithms.mapping;
        let algorithms = known.iter().find(|(known, _)| *known == scheme).map_or(&[][..], |found| found.1);
        algorithms.iter().any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    }

    pub(super) fn preferred(&self) -> &'static [SignatureScheme] {
        self.kind.schemes()
    }

    pub(super) fn algorithm(&self) -> SignatureAlgorithm {
        match self.kind {
            Kind::P256 | Kind::P384 | Kind::P521 => SignatureAlgorithm::ECDSA,
            Kind::Ed25519 => SignatureAlgorithm::ED25519,
            Kind::Rsa => SignatureAlgorithm::RSA,
        }
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, ", self.kind)?;
        self.spki_sha256[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("…)")
    }
}

impl Kind {
    fn of(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let algorithm = &spki.algorithm;
        let key = &spki.subject_public_key.data;
        if algorithm.algorithm == OID_SIG_ED25519 {
            return (key.len() == 32 && algorithm.parameters.is_none()).then_some(Self::Ed25519);
        }
        if algorithm.algorithm == OID_PKCS1_RSAENCRYPTION {
            let Ok(Parsed::RSA(rsa)) = spki.parsed() else { return None };
            return RSA_BITS.contains(&bits(rsa.modulus)).then_some(Self::Rsa);
        }
        if algorithm.algorithm != OID_KEY_TYPE_EC_PUBLIC_KEY {
            return None;
        }
        let curve = algorithm.parameters.as_ref()?.as_oid().ok()?;
        let (kind, coordinate) = match curve {
            curve if curve == OID_EC_P256 => (Self::P256, 32),
            curve if curve == OID_NIST_EC_P384 => (Self::P384, 48),
            curve if curve == OID_NIST_EC_P521 => (Self::P521, 66),
            _ => return None,
        };
        // Uncompressed, the only form that TLS has (RFC 8422 section 5.4.1).
        (key.first() == Some(&4) && key.len() == 1 + 2 * coordinate).then_some(kind)
    }

    /// In the order of preference that the provider has for its own keys.
    fn schemes(self) -> &'static [SignatureScheme] {
        use SignatureScheme as S;
        match self {
            Self::P256 => &[S::ECDSA_NISTP256_SHA256],
            Self::P384 => &[S::ECDSA_NISTP384_SHA384],
            Self::P521 => &[S::ECDSA_NISTP521_SHA512],
            Self::Ed25519 => &[S::ED25519],
            Self::Rsa => &[
                S::RSA_PSS_SHA512,
                S::RSA_PSS_SHA384,
                S::RSA_PSS_SHA256,
                S::RSA_PKCS1_SHA512,
                S::RSA_PKCS1_SHA384,
                S::RSA_PKCS1_SHA256,
            ],
        }
    }
}

/// Significant bits of a big-endian number, which DER may write with a zero in front.
fn bits(number: &[u8]) -> usize {
    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

impl Uses {
    /// CertificateVerify of a server, TLS 1.3 (RFC 9846 section 4.5.2).
    pub const TLS13_SERVER: Self = Self(1);
    /// CertificateVerify of a client, TLS 1.3.
    pub const TLS13_CLIENT: Self = Self(2);
    /// ServerKeyExchange, TLS 1.2 (RFC 5246 section 7.4.3).
    pub const TLS12_SERVER: Self = Self(4);
    /// CertificateVerify of a client, TLS 1.2 (RFC 5246 section 7.4.8).
    pub const TLS12_CLIENT: Self = Self(8);
    /// What a server signs.
    pub const SERVER: Self = Self(1 | 4);
    /// What a client signs.
    pub const CLIENT: Self = Self(2 | 8);
    /// All of it.
    pub const ALL: Self = Self(15);

    /// From its byte; `None` with bits that mean nothing, or without any.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits == 0 || bits > 15 { None } else { Some(Self(bits)) }
    }

    /// Its byte.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all of `other` is allowed.
    #[must_use]
    pub const fn allows(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};

    use super::*;

    #[test]
    fn the_public_half_alone_says_what_can_be_signed_with() {
        let cases = [
            (&PKCS_ECDSA_P256_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256),
            (&PKCS_ECDSA_P384_SHA384, SignatureScheme::ECDSA_NISTP384_SHA384),
            (&PKCS_ED25519, SignatureScheme::ED25519),
        ];
        for (algorithm, scheme) in cases {
            let key = KeyPair::generate_for(algorithm).unwrap();
            let public = PublicKey::from_spki_der(&key.subject_public_key_info()).unwrap();
            assert_eq!(public.schemes(), [u16::from(scheme)]);
            let message = b"message";
            let signature = rcgen::SigningKey::sign(&key, message).unwrap();
            assert!(public.verifies(scheme.into(), message, &signature));
            assert!(!public.verifies(scheme.into(), b"another", &signature));
            assert!(!public.verifies(SignatureScheme::RSA_PSS_SHA256.into(), message, &signature));
        }
    }

    #[test]
    fn what_peers_would_not_verify_is_no_key() {
        let key = KeyPair::generate().unwrap().subject_public_key_info();
        assert!(PublicKey::from_spki_der(&key).is_ok());
        let mut longer = key.clone();
        longer.push(0);
        let mut compressed = key.clone();
        compressed[key.len() - 65] = 2;
        let mut other_curve = key.clone();
        // The last byte of prime256v1 (1.2.840.10045.3.1.7).
        other_curve[22] = 1;
        for wrong in [&longer[..], &compressed, &other_curve, &key[..key.len() - 1], b"", b"\x30\x00"] {
            assert_eq!(PublicKey::from_spki_der(wrong), Err(IdentityError::UnusableKey), "{wrong:02x?}");
        }
    }

    #[test]
    fn a_modulus_counts_from_its_first_bit() {
        assert_eq!((bits(&[0, 0x80, 0]), bits(&[1]), bits(&[0, 0]), bits(&[])), (16, 1, 0, 0));
        assert!(!RSA_BITS.contains(&bits(&[0x7f; 256])) && RSA_BITS.contains(&bits(&[0xff; 256])));
    }
}
