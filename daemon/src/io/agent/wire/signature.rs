//! Signatures: as SSH writes them (RFC 4253 section 6.6, RFC 5656 section 3.1.2, RFC 8332, RFC 8709) and as TLS does.

use der::Encode;
use der::asn1::UintRef;

use super::key::{self, ED25519};
use super::parts::{Put, Rest};
use super::{Curve, KeyKind, RSA_SHA2_256, RSA_SHA2_512, WireError, kind_of_blob};

const RSA_SHA256: &[u8] = b"rsa-sha2-256";
const RSA_SHA512: &[u8] = b"rsa-sha2-512";

/// How a signature by one of IANA's schemes is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// With SSH_AGENTC_SIGN_REQUEST and these flags.
    Request {
        /// [`RSA_SHA2_256`], [`RSA_SHA2_512`], or 0.
        flags: u32,
    },
    /// With the extension: only our own keyholder knows it.
    RsaPss,
}

/// How `scheme` is asked for; `None` for one that SSH's agents cannot do, as PKCS#1 with SHA-384.
#[must_use]
pub fn how(scheme: u16) -> Option<How> {
    match scheme {
        // ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384, ecdsa_secp521r1_sha512, ed25519
        0x0403 | 0x0503 | 0x0603 | 0x0807 => Some(How::Request { flags: 0 }),
        // rsa_pkcs1_sha256, rsa_pkcs1_sha512
        0x0401 => Some(How::Request { flags: RSA_SHA2_256 }),
        0x0601 => Some(How::Request { flags: RSA_SHA2_512 }),
        // rsa_pss_rsae_sha256, _sha384, _sha512
        0x0804..=0x0806 => Some(How::RsaPss),
        _ => None,
    }
}

/// The kind of signature of SSH that `scheme` is, and the kind of key that makes it.
fn of_scheme(scheme: u16) -> Option<(KeyKind, &'static [u8])> {
    Some(match scheme {
        0x0403 => (KeyKind::Ecdsa(Curve::P256), Curve::P256.algorithm().as_bytes()),
        0x0503 => (KeyKind::Ecdsa(Curve::P384), Curve::P384.algorithm().as_bytes()),
        0x0603 => (KeyKind::Ecdsa(Curve::P521), Curve::P521.algorithm().as_bytes()),
        0x0807 => (KeyKind::Ed25519, ED25519),
        0x0401 => (KeyKind::Rsa, RSA_SHA256),
        0x0601 => (KeyKind::Rsa, RSA_SHA512),
        _ => return None,
    })
}

/// A signature that an agent made with the key `blob`, as TLS sends it for `scheme`.
///
/// # Errors
/// [`WireError`]: it is of another kind than was asked for, or none.
pub fn signature_to_tls(scheme: u16, blob: &[u8], signature: &[u8]) -> Result<Vec<u8>, WireError> {
    let (kind, name) = of_scheme(scheme).ok_or(WireError::Kind)?;
    let mut rest = Rest::new(signature, "a signature");
    if kind_of_blob(blob)? != kind || rest.string()? != name {
        return Err(WireError::Nonsense("the kind of a signature"));
    }
    let inner = rest.string()?;
    rest.end()?;
    match kind {
        KeyKind::Ecdsa(curve) => {
            let mut rest = Rest::new(inner, "a signature");
            let (r, s) = (rest.mpint()?, rest.mpint()?);
            rest.end()?;
            if r.len().max(s.len()) > curve.bytes() {
                return Err(WireError::Nonsense("a number of a signature"));
            }
            ecdsa_der(r, s).map_err(|_| WireError::Nonsense("a number of a signature"))
        }
        KeyKind::Ed25519 if inner.len() == 64 => Ok(inner.to_vec()),
        KeyKind::Ed25519 => Err(WireError::Nonsense("the length of a signature")),
        KeyKind::Rsa => {
            // RFC 8332 section 3 and RFC 8017 section 8.2: as long as the modulus. Some agents leave zeros away in front.
            let length = key::modulus_length(blob).ok_or(WireError::Kind)?;
            let missing = length.checked_sub(inner.len()).filter(|missing| *missing < 16);
            let missing = missing.ok_or(WireError::Nonsense("the length of a signature"))?;
            Ok([&vec![0; missing], inner].concat())
        }
    }
}

/// A signature by `scheme`, made as TLS has it, as SSH writes it.
///
/// # Errors
/// [`WireError`]: SSH has no name for it, or it is none.
pub fn signature_of_tls(scheme: u16, signature: &[u8]) -> Result<Vec<u8>, WireError> {
    let (kind, name) = of_scheme(scheme).ok_or(WireError::Kind)?;
    let nonsense = WireError::Nonsense("a signature");
    let inner = match kind {
        KeyKind::Ecdsa(_) => {
            let content = key::content_of_sequence(signature).ok_or(nonsense)?;
            let (r, s) = key::two_numbers(content).ok_or(nonsense)?;
            let mut inner = Vec::with_capacity(r.len() + s.len() + 10);
            inner.mpint(r).and_then(|()| inner.mpint(s)).map_err(|_| nonsense)?;
            inner
        }
        KeyKind::Ed25519 | KeyKind::Rsa => signature.to_vec(),
    };
    let mut out = Vec::with_capacity(name.len() + inner.len() + 8);
    out.string(name).and_then(|()| out.string(&inner)).map_err(|_| nonsense)?;
    Ok(out)
}

/// Ecdsa-Sig-Value (RFC 3279 section 2.2.3).
fn ecdsa_der(r: &[u8], s: &[u8]) -> der::Result<Vec<u8>> {
    key::sequence(&[UintRef::new(r)?.to_der()?, UintRef::new(s)?.to_der()?].concat())
}
