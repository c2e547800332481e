//! Public keys: as SSH writes them (RFC 4253 section 6.6, RFC 5656, RFC 8709) and as X.509 does (RFC 5280 section 4.1.2.7).

use der::asn1::{AnyRef, BitStringRef, UintRef};
use der::{Decode, Encode, Tag};

use super::WireError;
use super::parts::{Put, Rest, without_zeros};

pub(super) const ED25519: &[u8] = b"ssh-ed25519";
pub(super) const RSA: &[u8] = b"ssh-rsa";

/// A curve of NIST that TLS and SSH both sign with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// P-256
    P256,
    /// P-384
    P384,
    /// P-521
    P521,
}

/// What kind of key it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on this curve.
    Ecdsa(Curve),
    /// Ed25519.
    Ed25519,
    /// RSA of any size.
    Rsa,
}

/// A SubjectPublicKeyInfo up to its point: SEQUENCE { SEQUENCE { id-ecPublicKey, curve }, BIT STRING with no unused bits }.
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const P384_SPKI: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
const P521_SPKI: &[u8] = &[
    0x30, 0x81, 0x9b, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b,
    0x81, 0x04, 0x00, 0x23, 0x03, 0x81, 0x86, 0x00,
];
const ED25519_SPKI: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
/// AlgorithmIdentifier of rsaEncryption, with its NULL.
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its name in SSH.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    /// The name of its keys and signatures in SSH.
    #[must_use]
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::P384 => "ecdsa-sha2-nistp384",
            Self::P521 => "ecdsa-sha2-nistp521",
        }
    }

    /// Bytes of a number on it.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    pub(super) fn of_algorithm(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.algorithm().as_bytes() == name)
    }

    fn spki(self) -> &'static [u8] {
        match self {
            Self::P256 => P256_SPKI,
            Self::P384 => P384_SPKI,
            Self::P521 => P521_SPKI,
        }
    }

    /// An uncompressed point: TLS has no other (RFC 8422 section 5.4.1). Whether it is on the curve is for the provider.
    pub(super) fn point(self, point: &[u8]) -> Result<&[u8], WireError> {
        match point {
            [4, numbers @ ..] if numbers.len() == 2 * self.bytes() => Ok(point),
            _ => Err(WireError::Nonsense("the point of a key")),
        }
    }
}

/// What kind of key a blob is.
///
/// # Errors
/// [`WireError::Kind`] for those that TLS has no use for, others for what is no key.
pub fn kind_of_blob(blob: &[u8]) -> Result<KeyKind, WireError> {
    let name = Rest::new(blob, "a public key").string()?;
    match (Curve::of_algorithm(name), name) {
        (Some(curve), _) => Ok(KeyKind::Ecdsa(curve)),
        (None, ED25519) => Ok(KeyKind::Ed25519),
        (None, RSA) => Ok(KeyKind::Rsa),
        _ => Err(WireError::Kind),
    }
}

/// The SubjectPublicKeyInfo, in DER, of a public key that SSH wrote.
///
/// # Errors
/// [`WireError`]: another kind of key, or none.
pub fn spki_of_blob(blob: &[u8]) -> Result<Vec<u8>, WireError> {
    let kind = kind_of_blob(blob)?;
    let mut rest = Rest::new(blob, "a public key");
    rest.string()?;
    let spki = match kind {
        KeyKind::Ecdsa(curve) => {
            if rest.string()? != curve.name().as_bytes() {
                return Err(WireError::Nonsense("the curve of a key"));
            }
            [curve.spki(), curve.point(rest.string()?)?].concat()
        }
        KeyKind::Ed25519 => {
            let public = rest.string()?;
            if public.len() != 32 {
                return Err(WireError::Nonsense("an Ed25519 key"));
            }
            [ED25519_SPKI, public].concat()
        }
        KeyKind::Rsa => {
            let (e, n) = (rest.mpint()?, rest.mpint()?);
            rsa_spki(n, e).map_err(|_| WireError::Nonsense("an RSA key"))?
        }
    };
    rest.end()?;
    Ok(spki)
}

/// A public key as SSH writes it, from its SubjectPublicKeyInfo in DER.
///
/// # Errors
/// [`WireError::Kind`] for what is none of the five kinds in their usual form.
pub fn blob_of_spki(spki: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut blob = Vec::with_capacity(spki.len() + 32);
    let written = if let Some((curve, point)) = curve_of_spki(spki) {
        let parts = [curve.algorithm().as_bytes(), curve.name().as_bytes(), point];
        parts.into_iter().try_for_each(|part| blob.string(part))
    } else if let Some(public) = spki.strip_prefix(ED25519_SPKI).filter(|public| public.len() == 32) {
        blob.string(ED25519).and_then(|()| blob.string(public))
    } else {
        let content = rsa_of_spki(spki).ok_or(WireError::Kind)?;
        let (n, e) = rsa_numbers(content).ok_or(WireError::Kind)?;
        blob.string(RSA).and_then(|()| blob.mpint(e)).and_then(|()| blob.mpint(n))
    };
    written.map_err(|_| WireError::Kind)?;
    Ok(blob)
}

fn curve_of_spki(spki: &[u8]) -> Option<(Curve, &[u8])> {
    Curve::ALL.into_iter().find_map(|curve| {
        let point = spki.strip_prefix(curve.spki())?;
        curve.point(point).ok().map(|point| (curve, point))
    })
}

fn rsa_spki(n: &[u8], e: &[u8]) -> der::Result<Vec<u8>> {
    let numbers = [UintRef::new(n)?.to_der()?, UintRef::new(e)?.to_der()?].concat();
    let key = sequence(&numbers)?;
    let bits = BitStringRef::from_bytes(&key)?.to_der()?;
    sequence(&[RSA_ALGORITHM, &bits].concat())
}

pub(super) fn sequence(content: &[u8]) -> der::Result<Vec<u8>> {
    AnyRef::new(Tag::Sequence, content)?.to_der()
}

pub(super) fn content_of_sequence(bytes: &[u8]) -> Option<&[u8]> {
    let any = AnyRef::from_der(bytes).ok()?;
    (der::Tagged::tag(&any) == Tag::Sequence).then(|| any.value())
}

/// The bits of an RSA key's SubjectPublicKeyInfo.
fn rsa_of_spki(spki: &[u8]) -> Option<&[u8]> {
    let bits = content_of_sequence(spki)?.strip_prefix(RSA_ALGORITHM)?;
    BitStringRef::from_der(bits).ok()?.as_bytes()
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa_numbers(key: &[u8]) -> Option<(&[u8], &[u8])> {
    two_numbers(content_of_sequence(key)?)
}

/// Two INTEGERs that are above zero, and nothing else.
pub(super) fn two_numbers(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = der::SliceReader::new(content).ok()?;
    let first = UintRef::decode(&mut reader).ok()?;
    let second = UintRef::decode(&mut reader).ok()?;
    let both = (without_zeros(first.as_bytes()), without_zeros(second.as_bytes()));
    let whole = der::Reader::is_finished(&reader) && !both.0.is_empty() && !both.1.is_empty();
    whole.then_some(both)
}

/// Bytes of the modulus of an RSA key that SSH wrote.
pub(super) fn modulus_length(blob: &[u8]) -> Option<usize> {
    let mut rest = Rest::new(blob, "a public key");
    (rest.string().ok()? == RSA).then_some(())?;
    rest.mpint().ok()?;
    Some(rest.mpint().ok()?.len())
}
