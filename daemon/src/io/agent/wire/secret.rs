//! A private key as ssh-add hands it over: the numbers, not a file.

use std::fmt;

use super::key::{Curve, ED25519, RSA};
use super::parts::{Put, Rest};
use super::{KeyKind, WireError};

/// A private key, borrowed from the message. Numbers are without leading zeros. Whether they belong together is for the
/// provider to see. `Debug` has the kind alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SecretKey<'a> {
    /// ECDSA.
    Ecdsa {
        /// The curve.
        curve: Curve,
        /// The public point, uncompressed.
        point: &'a [u8],
        /// The secret number.
        scalar: &'a [u8],
    },
    /// Ed25519.
    Ed25519 {
        /// The public half.
        public: &'a [u8; 32],
        /// The seed.
        seed: &'a [u8; 32],
    },
    /// RSA with two primes.
    Rsa {
        /// The modulus.
        n: &'a [u8],
        /// The public exponent.
        e: &'a [u8],
        /// The secret exponent.
        d: &'a [u8],
        /// The inverse of q modulo p.
        iqmp: &'a [u8],
        /// A prime.
        p: &'a [u8],
        /// The other.
        q: &'a [u8],
    },
    /// A kind that TLS has no use for: DSA, keys on a token, certificates of SSH.
    Other,
}

impl<'a> SecretKey<'a> {
    pub(super) fn parse(rest: &mut Rest<'a>) -> Result<Self, WireError> {
        let name = rest.string()?;
        if let Some(curve) = Curve::of_algorithm(name) {
            if rest.string()? != curve.name().as_bytes() {
                return Err(WireError::Nonsense("the curve of a key"));
            }
            let point = curve.point(rest.string()?)?;
            let scalar = rest.mpint()?;
            if scalar.len() > curve.bytes() {
                return Err(WireError::Nonsense("the secret number of a key"));
            }
            return Ok(Self::Ecdsa { curve, point, scalar });
        }
        match name {
            ED25519 => {
                let public = rest.string()?.try_into().map_err(|_| WireError::Nonsense("an Ed25519 key"))?;
                let both = rest.string()?;
                // The seed, and the public half once more.
                match both.split_first_chunk() {
                    Some((seed, again)) if again == public => Ok(Self::Ed25519 { public, seed }),
                    _ => Err(WireError::Nonsense("an Ed25519 key")),
                }
            }
            RSA => Ok(Self::Rsa {
                n: rest.mpint()?,
                e: rest.mpint()?,
                d: rest.mpint()?,
                iqmp: rest.mpint()?,
                p: rest.mpint()?,
                q: rest.mpint()?,
            }),
            _ => Ok(Self::Other),
        }
    }

    pub(super) fn put(&self, out: &mut dyn Put) -> ssh_encoding::Result<()> {
        match self {
            Self::Ecdsa { curve, point, scalar } => {
                out.string(curve.algorithm().as_bytes())?;
                out.string(curve.name().as_bytes())?;
                out.string(point)?;
                out.mpint(scalar)
            }
            Self::Ed25519 { public, seed } => {
                out.string(ED25519)?;
                out.string(*public)?;
                out.number(64)?;
                out.raw(*seed)?;
                out.raw(*public)
            }
            Self::Rsa { n, e, d, iqmp, p, q } => {
                out.string(RSA)?;
                [n, e, d, iqmp, p, q].into_iter().try_for_each(|number| out.mpint(number))
            }
            // Of which nothing is known but that it is none of these.
            Self::Other => out.string(b"ssh-dss"),
        }
    }

    /// Which kind of key it is; `None` for those that TLS has no use for.
    #[must_use]
    pub fn kind(&self) -> Option<KeyKind> {
        match self {
            Self::Ecdsa { curve, .. } => Some(KeyKind::Ecdsa(*curve)),
            Self::Ed25519 { .. } => Some(KeyKind::Ed25519),
            Self::Rsa { .. } => Some(KeyKind::Rsa),
            Self::Other => None,
        }
    }
}

impl fmt::Debug for SecretKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.kind())
    }
}
