//! A private key in the keyholder: signs by IANA's scheme, knows nothing of handshakes.

use core::fmt;
use std::sync::Arc;

use rustls::SignatureScheme;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use rustls::sign::SigningKey;
use zeroize::Zeroizing;

use super::IdentityError;
use super::digest::sha256;
use super::private_key::read_key;

/// A private key. A clone shares it; the provider wipes it with the last. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct HolderKey {
    key: Arc<dyn SigningKey>,
    spki: Arc<[u8]>,
}

/// A private key in DER, wiped when dropped.
pub enum KeyDer {
    /// PKCS#8 (RFC 5958).
    Pkcs8(Zeroizing<Vec<u8>>),
    /// ECPrivateKey (RFC 5915).
    Sec1(Zeroizing<Vec<u8>>),
    /// RSAPrivateKey (RFC 8017 appendix A.1.2).
    Pkcs1(Zeroizing<Vec<u8>>),
}

impl HolderKey {
    /// Reads a PEM text with exactly one private key (PKCS#8, SEC1 or PKCS#1); other sections are passed over. Wiping `text`
    /// is up to who owns it.
    ///
    /// # Errors
    /// [`IdentityError`] with what is wrong with the key: never with a byte of it.
    pub fn from_pem(text: &[u8]) -> Result<Self, IdentityError> {
        read_key(text).and_then(Self::new)
    }

    /// Reads a key in DER.
    ///
    /// # Errors
    /// [`IdentityError::UnusableKey`]: its numbers do not belong together, or it is too short.
    pub fn from_der(der: &KeyDer) -> Result<Self, IdentityError> {
        // Borrowed: the only copy is ours, and wiped by its owner.
        let der: PrivateKeyDer<'_> = match der {
            KeyDer::Pkcs8(der) => PrivatePkcs8KeyDer::from(der.as_slice()).into(),
            KeyDer::Sec1(der) => PrivateSec1KeyDer::from(der.as_slice()).into(),
            KeyDer::Pkcs1(der) => PrivatePkcs1KeyDer::from(der.as_slice()).into(),
        };
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&der);
        key.map_err(|_| IdentityError::UnusableKey).and_then(Self::new)
    }

    fn new(key: Arc<dyn SigningKey>) -> Result<Self, IdentityError> {
        // All kinds of keys that the provider loads know their public half.
        let spki: Arc<[u8]> = match key.public_key() {
            Some(spki) => spki.as_ref().into(),
            None => return Err(IdentityError::UnusableKey),
        };
        Ok(Self { key, spki })
    }

    /// The SubjectPublicKeyInfo.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// SHA-256 of [`HolderKey::spki_der`]: the pin.
    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// Signs by IANA's number of the scheme; `None` when this key does not sign so, or the provider fails.
    pub fn sign(&self, scheme: u16, message: &[u8]) -> Option<Vec<u8>> {
        self.key.choose_scheme(&[SignatureScheme::from(scheme)])?.sign(message).ok()
    }
}

impl fmt::Debug for HolderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HolderKey").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_signs_with_its_own_schemes_and_with_no_other() {
        let pair = rcgen::KeyPair::generate().expect("a P-256 key");
        let key = HolderKey::from_pem(pair.serialize_pem().as_bytes()).expect("a key");
        assert_eq!(key.spki_sha256(), sha256(key.spki_der()));
        assert!(key.sign(0x0403, b"message").is_some());
        for other in [0, 0x0401, 0x0503, 0x0804, 0x0807, 0x0203, 0xffff] {
            assert!(key.sign(other, b"message").is_none(), "{other:x}");
        }
        let der = KeyDer::Pkcs8(Zeroizing::new(pair.serialize_der()));
        assert_eq!(HolderKey::from_der(&der).expect("the same").spki_der(), key.spki_der());
        assert!(HolderKey::from_der(&KeyDer::Sec1(Zeroizing::new(vec![0x30, 0]))).is_err());
        assert!(!format!("{key:?}").contains(char::is_numeric));
    }
}
