//! The numbers that ssh-add hands over, as the DER that the provider reads.
//!
//! All buffers are made in their final size and wiped. RSA's exponents modulo p - 1 and q - 1, which ssh-add leaves to the
//! agent, are computed in constant time but for the sizes of the numbers, which the modulus tells anyway.

use crypto_bigint::{Encoding, U8192};
use zeroize::{Zeroize, Zeroizing};

use crate::io::agent::wire::{Curve, SecretKey};
use crate::tls::KeyDer;

/// Bytes of a modulus at most: what the provider signs with.
const MAX_RSA: usize = 1024;
/// Bytes of a modulus at least, 2048 bits: what TLS signs with.
const MIN_RSA: usize = 256;

/// The key in DER; `None` when it is of no use to TLS: another kind, or RSA of less than 2048 bits or more than 8192.
/// Whether the numbers belong together is for the provider to see.
pub(super) fn der_of(key: &SecretKey<'_>) -> Option<KeyDer> {
    match key {
        SecretKey::Ecdsa { curve, point, scalar } => {
            Some(KeyDer::Sec1(ec_private_key(*curve, point, scalar)?))
        }
        SecretKey::Ed25519 { seed, .. } => Some(KeyDer::Pkcs8(ed25519_pkcs8(seed))),
        SecretKey::Rsa { n, e, d, iqmp, p, q } => {
            if !(MIN_RSA..=MAX_RSA).contains(&n.len()) || n.len() == MIN_RSA && n[0] & 0x80 == 0 {
                return None;
            }
            let (dp, dq) = (less_one_remainder(d, p)?, less_one_remainder(d, q)?);
            let numbers: [&[u8]; 9] = [&[0], n, e, d, p, q, &dp, &dq, iqmp];
            let length = numbers.iter().map(|number| integer_length(number)).sum();
            let mut out = Der::new(length);
            numbers.iter().for_each(|number| out.integer(number));
            Some(KeyDer::Pkcs1(out.0))
        }
        SecretKey::Other => None,
    }
}

/// ECPrivateKey (RFC 5915 section 3).
fn ec_private_key(curve: Curve, point: &[u8], scalar: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let oid: &[u8] = match curve {
        Curve::P256 => &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
        Curve::P384 => &[6, 5, 0x2b, 0x81, 4, 0, 0x22],
        Curve::P521 => &[6, 5, 0x2b, 0x81, 4, 0, 0x23],
    };
    let missing = curve.bytes().checked_sub(scalar.len())?;
    let bits = element_length(point.len() + 1);
    let length = 3 + element_length(curve.bytes()) + element_length(oid.len()) + element_length(bits);
    let mut out = Der::new(length);
    out.raw(&[2, 1, 1]);
    out.header(4, curve.bytes());
    out.raw(&[0; 66][..missing]);
    out.raw(scalar);
    out.header(0xa0, oid.len());
    out.raw(oid);
    out.header(0xa1, bits);
    out.header(3, point.len() + 1);
    out.raw(&[0]);
    out.raw(point);
    Some(out.0)
}

/// OneAsymmetricKey of version 1 (RFC 8410 section 7).
fn ed25519_pkcs8(seed: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    let mut out = Der::new(46);
    out.raw(&[2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20]);
    out.raw(seed);
    out.0
}

/// `d` modulo `prime - 1`, its highest byte first.
fn less_one_remainder(d: &[u8], prime: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (d, prime) = (number(d)?, number(prime)?);
    let less = Zeroizing::new(prime.wrapping_sub(&U8192::ONE));
    if *less == U8192::ZERO {
        return None;
    }
    let remainder = Zeroizing::new(d.const_rem(&less).0);
    let mut bytes = remainder.to_be_bytes();
    let out = Zeroizing::new(bytes.to_vec());
    bytes.zeroize();
    Some(out)
}

fn number(bytes: &[u8]) -> Option<Zeroizing<U8192>> {
    let mut padded = Zeroizing::new([0; MAX_RSA]);
    let missing = MAX_RSA.checked_sub(bytes.len())?;
    padded[missing..].copy_from_slice(bytes);
    Some(Zeroizing::new(U8192::from_be_slice(&*padded)))
}

/// A SEQUENCE that is written in order into a buffer of its final size.
struct Der(Zeroizing<Vec<u8>>);

impl Der {
    /// With this many bytes of content to come.
    fn new(length: usize) -> Self {
        let mut out = Self(Zeroizing::new(Vec::with_capacity(element_length(length))));
        out.header(0x30, length);
        out
    }

    fn raw(&mut self, bytes: &[u8]) {
        debug_assert!(self.0.len() + bytes.len() <= self.0.capacity(), "a buffer that grows leaves copies");
        self.0.extend_from_slice(bytes);
    }

    fn header(&mut self, tag: u8, length: usize) {
        let [.., a, b] = length.to_be_bytes();
        match length {
            0..=0x7f => self.raw(&[tag, b]),
            0x80..=0xff => self.raw(&[tag, 0x81, b]),
            // No key has 64 KiB.
            _ => self.raw(&[tag, 0x82, a, b]),
        }
    }

    fn integer(&mut self, number: &[u8]) {
        let number = least(number);
        let sign = usize::from(needs_sign(number));
        self.header(2, number.len() + sign);
        self.raw(&[0; 1][..sign]);
        self.raw(number);
    }
}

fn element_length(content: usize) -> usize {
    content
        + match content {
            0..=0x7f => 2,
            0x80..=0xff => 3,
            _ => 4,
        }
}

fn integer_length(number: &[u8]) -> usize {
    let number = least(number);
    element_length(number.len() + usize::from(needs_sign(number)))
}

fn needs_sign(number: &[u8]) -> bool {
    number.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Without the zeros in front, but for the last.
fn least(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros.min(number.len().saturating_sub(1))..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::agent::wire::{Request, blob_of_spki};
    use crate::tls::HolderKey;

    const OPENSSH: &str = include_str!("../io/agent/wire/fixtures/openssh-9.2.txt");

    fn added() -> Vec<Vec<u8>> {
        let lines = OPENSSH.lines().filter_map(|line| line.strip_prefix("> "));
        lines.filter(|line| line.starts_with("11") || line.starts_with("19")).map(unhex).collect()
    }

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("a byte")).collect()
    }

    #[test]
    fn what_ssh_add_hands_over_becomes_a_key_with_the_same_public_half() {
        let mut kinds = Vec::new();
        for body in added() {
            let Ok(Request::Add { key, .. }) = Request::parse(&body) else { panic!("an added key") };
            let der = der_of(&key).expect("of use to TLS");
            let loaded = HolderKey::from_der(&der).expect("the numbers belong together");
            let blob = blob_of_spki(loaded.spki_der()).expect("a kind that SSH has");
            // The public numbers stand in the message as they stand in the blob.
            let public = &blob[blob.len() - 32..];
            assert!(body.windows(32).any(|window| window == public), "{key:?}");
            kinds.push(format!("{:?}", key.kind()));
        }
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds.len(), 5, "{kinds:?}");
    }

    #[test]
    fn numbers_that_do_not_belong_together_are_no_key() {
        for body in added() {
            let mut body = body.clone();
            let Ok(Request::Add { key, .. }) = Request::parse(&body) else { panic!("an added key") };
            // A byte of the secret: the seed has no public half to be held against but the one that we compute.
            let secret: &[u8] = match key {
                SecretKey::Ecdsa { scalar, .. } => scalar,
                SecretKey::Rsa { p, .. } => p,
                _ => continue,
            };
            let at = body.windows(secret.len()).position(|window| window == secret).expect("it is in there");
            let last = at + secret.len() - 1;
            body[last] ^= 2;
            let Ok(Request::Add { key, .. }) = Request::parse(&body) else { panic!("an added key") };
            let loaded = der_of(&key).map(|der| HolderKey::from_der(&der).is_ok());
            assert_eq!(loaded, Some(false), "{key:?}");
        }
    }

    #[test]
    fn small_and_huge_rsa_keys_are_refused_and_nothing_panics() {
        let rsa = |n: &[u8], p: &[u8]| {
            let key = SecretKey::Rsa { n, e: &[1, 0, 1], d: &[9; 256], iqmp: &[9], p, q: &[9; 128] };
            der_of(&key).is_some()
        };
        assert!(!rsa(&[0xff; 128], &[9; 64]), "1024 bits");
        assert!(!rsa(&[0x7f; 256], &[9; 128]), "2047 bits");
        assert!(!rsa(&[0xff; 1025], &[9; 128]), "more than 8192 bits");
        assert!(!rsa(&[0xff; 256], &[9; 1025]), "a prime of more than that");
        assert!(!rsa(&[0xff; 256], &[1]), "a prime of one");
        assert!(rsa(&[0xff; 256], &[9; 128]));
    }

    #[test]
    fn remainders_are_right() {
        assert_eq!(least(&less_one_remainder(&[1, 0], &[8]).expect("small")), [4], "256 modulo 7");
        assert_eq!(least(&less_one_remainder(&[6], &[7]).expect("small")), [0]);
        assert!(less_one_remainder(&[6], &[1]).is_none(), "modulo zero");
    }
}
