//! What a token says of its keys and signatures, as SSH writes it.

use super::key::{ED25519, RSA};
use super::parts::Put;
use super::{Curve, WireError};

/// The public key of this point, uncompressed.
///
/// # Errors
/// [`WireError::Nonsense`]: it is no such point.
pub fn blob_of_point(curve: Curve, point: &[u8]) -> Result<Vec<u8>, WireError> {
    let point = curve.point(point)?;
    written(|blob| {
        blob.string(curve.algorithm().as_bytes())?;
        blob.string(curve.name().as_bytes())?;
        blob.string(point)
    })
}

/// The Ed25519 key of these 32 bytes.
///
/// # Errors
/// [`WireError::Nonsense`]: they are not 32.
pub fn blob_of_ed25519(public: &[u8]) -> Result<Vec<u8>, WireError> {
    if public.len() != 32 {
        return Err(WireError::Nonsense("an Ed25519 key"));
    }
    written(|blob| {
        blob.string(ED25519)?;
        blob.string(public)
    })
}

/// The RSA key of this modulus and exponent, the highest byte first.
///
/// # Errors
/// [`WireError`]: they are too long for a message.
pub fn blob_of_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Vec<u8>, WireError> {
    written(|blob| {
        blob.string(RSA)?;
        blob.mpint(exponent)?;
        blob.mpint(modulus)
    })
}

/// A signature of ECDSA from its two numbers, one behind the other and equally long, as PKCS #11 has them.
///
/// # Errors
/// [`WireError::Nonsense`]: they are longer than numbers on the curve.
pub fn signature_of_halves(curve: Curve, halves: &[u8]) -> Result<Vec<u8>, WireError> {
    if !halves.len().is_multiple_of(2) || halves.is_empty() || halves.len() > 2 * curve.bytes() {
        return Err(WireError::Nonsense("the length of a signature"));
    }
    let (r, s) = halves.split_at(halves.len() / 2);
    let numbers = written(|inner| {
        inner.mpint(r)?;
        inner.mpint(s)
    })?;
    written(|signature| {
        signature.string(curve.algorithm().as_bytes())?;
        signature.string(&numbers)
    })
}

/// A signature of another kind, from its bytes.
///
/// # Errors
/// [`WireError`]: it is too long for a message.
pub fn signature_of_bytes(name: &str, bytes: &[u8]) -> Result<Vec<u8>, WireError> {
    written(|signature| {
        signature.string(name.as_bytes())?;
        signature.string(bytes)
    })
}

fn written(write: impl FnOnce(&mut Vec<u8>) -> ssh_encoding::Result<()>) -> Result<Vec<u8>, WireError> {
    let mut bytes = Vec::new();
    write(&mut bytes).map_err(|_| WireError::Length(u64::MAX))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SigningKey as _};

    use super::*;
    use crate::io::agent::wire::{blob_of_spki, signature_of_tls, signature_to_tls};

    #[test]
    fn a_tokens_public_half_is_the_same_key_as_x509s() {
        let ecdsa = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let spki = blob_of_spki(&ecdsa.subject_public_key_info()).unwrap();
        assert_eq!(blob_of_point(Curve::P256, ecdsa.der_bytes()).unwrap(), spki);
        let edwards = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let spki = blob_of_spki(&edwards.subject_public_key_info()).unwrap();
        assert_eq!(blob_of_ed25519(edwards.der_bytes()).unwrap(), spki);
        assert!(blob_of_point(Curve::P384, ecdsa.der_bytes()).is_err());
        assert!(blob_of_ed25519(&[0; 31]).is_err());
    }

    #[test]
    fn halves_with_zeros_in_front_are_the_numbers_that_they_are() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let blob = blob_of_spki(&key.subject_public_key_info()).unwrap();
        let tls = key.sign(b"message").unwrap();
        let ssh = signature_of_tls(0x0403, &tls).unwrap();
        // string name, string of (mpint r, mpint s)
        let numbers = &ssh[4 + 19 + 4..];
        let r_length = usize::from(numbers[3]);
        let (r, s) = (&numbers[4..4 + r_length], &numbers[4 + r_length + 4..]);
        let half = |number: &[u8]| {
            let mut half = [0; 64];
            let number = number.strip_prefix(&[0]).unwrap_or(number);
            half[64 - number.len()..].copy_from_slice(number);
            half[32..].to_vec()
        };
        let halves = [half(r), half(s)].concat();
        let again = signature_of_halves(Curve::P256, &halves).unwrap();
        assert_eq!(signature_to_tls(0x0403, &blob, &again).unwrap(), tls);
        for wrong in [&halves[..63], b"", &[1; 66]] {
            assert!(signature_of_halves(Curve::P256, wrong).is_err());
        }
    }
}
