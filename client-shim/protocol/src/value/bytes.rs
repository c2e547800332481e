//! Bytes in text: base64, hashes, ALPN names.

use core::fmt;

use super::Value;
use crate::base64;
use crate::limits::MAX_ALPN_NAME;
use crate::write::{Fault, Out};

/// Bytes: base64 in a packet, or what the writer was given.
///
/// Debug shows the length only: it can be an exporter value, which is a secret.
#[derive(Clone, Copy)]
pub struct Bytes<'a>(Held<'a>);

#[derive(Clone, Copy)]
enum Held<'a> {
    Raw(&'a [u8]),
    /// Canonical base64.
    Text(&'a str),
}

impl<'a> Bytes<'a> {
    /// The bytes to write.
    #[must_use]
    pub const fn from_slice(bytes: &'a [u8]) -> Self {
        Self(Held::Raw(bytes))
    }

    /// Canonical base64 (RFC 4648 section 4); `None` when the text is not.
    #[must_use]
    pub fn from_base64(text: &'a str) -> Option<Self> {
        base64::check(text.as_bytes()).map(|_| Self(Held::Text(text)))
    }

    /// How many bytes, decoded.
    #[must_use]
    pub fn len(&self) -> usize {
        match self.0 {
            Held::Raw(bytes) => bytes.len(),
            Held::Text(text) => {
                let padding = text.bytes().rev().take_while(|&byte| byte == b'=').count();
                text.len() / 4 * 3 - padding
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, one by one.
    pub fn iter(&self) -> impl Iterator<Item = u8> + Clone + 'a {
        let (raw, text): (&[u8], &[u8]) = match self.0 {
            Held::Raw(bytes) => (bytes, &[]),
            Held::Text(text) => (&[], text.as_bytes()),
        };
        raw.iter().copied().chain(base64::decode(text))
    }

    /// The bytes, copied to the front of `into`; `None` when it is shorter than [`Bytes::len`].
    pub fn decode<'b>(&self, into: &'b mut [u8]) -> Option<&'b [u8]> {
        let into = into.get_mut(..self.len())?;
        for (to, byte) in into.iter_mut().zip(self.iter()) {
            *to = byte;
        }
        Some(into)
    }
}

impl PartialEq for Bytes<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Bytes<'_> {}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len())
    }
}

impl<'a> Value<'a> for Bytes<'a> {
    const EXPECTED: &'static str = "padded canonical base64 (RFC 4648 section 4) of at least one byte";

    fn read(text: &'a str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from_base64(text))?
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self.0 {
            Held::Raw(bytes) => out.base64(bytes),
            Held::Text(text) => out.push(text.as_bytes()),
        }
    }
}

/// A SHA-256 hash (32 bytes), base64 in a packet.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The hash of 44 characters of canonical base64.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        let mut hash = [0; 32];
        let bytes = Bytes::from_base64(text).filter(|bytes| bytes.len() == hash.len())?;
        bytes.decode(&mut hash)?;
        Some(Self(hash))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for group in self.0.chunks(3) {
            f.write_str(core::str::from_utf8(&base64::encode_group(group)).unwrap_or_default())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Value<'_> for Sha256 {
    const EXPECTED: &'static str = "a SHA-256 hash in base64 (44 characters)";

    fn read(text: &str) -> Option<Self> {
        Self::from_base64(text)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.base64(&self.0)
    }
}

/// An ALPN protocol name (RFC 7301 section 3.1): 1 to 255 bytes of any value, `%XX` in a packet for those that are
/// not visible ASCII, and for `%`.
#[derive(Clone, Copy)]
pub struct Alpn<'a>(Name<'a>);

#[derive(Clone, Copy)]
enum Name<'a> {
    Raw(&'a [u8]),
    /// Escaped, in the one way that is allowed.
    Text(&'a str),
}

impl<'a> Alpn<'a> {
    /// The name to write; `None` unless it has 1 to 255 bytes.
    #[must_use]
    pub const fn from_bytes(name: &'a [u8]) -> Option<Self> {
        if name.is_empty() || name.len() > MAX_ALPN_NAME { None } else { Some(Self(Name::Raw(name))) }
    }

    /// How many bytes, decoded: 1 to 255.
    #[expect(clippy::len_without_is_empty, reason = "a name is never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// The bytes, one by one.
    pub fn iter(&self) -> impl Iterator<Item = u8> + Clone + 'a {
        let (raw, text): (&[u8], &[u8]) = match self.0 {
            Name::Raw(bytes) => (bytes, &[]),
            Name::Text(text) => (&[], text.as_bytes()),
        };
        raw.iter().copied().chain(Unescape(text))
    }

    /// The bytes, copied to the front of `into`.
    pub fn decode<'b>(&self, into: &'b mut [u8; MAX_ALPN_NAME]) -> &'b [u8] {
        let mut len = 0;
        for (to, byte) in into.iter_mut().zip(self.iter()) {
            *to = byte;
            len += 1;
        }
        into.get(..len).unwrap_or_default()
    }
}

/// The bytes of an escaped name; ends at the first fault.
#[derive(Clone)]
struct Unescape<'a>(&'a [u8]);

impl Iterator for Unescape<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.0 {
            [b'%', high, low, rest @ ..] => (hex(*high)? << 4 | hex(*low)?, rest),
            [b'%', ..] | [] => return None,
            [byte, rest @ ..] => (*byte, rest),
        };
        self.0 = rest;
        Some(byte)
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Whether an ALPN byte stands for itself.
fn is_bare(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'%'
}

impl PartialEq for Alpn<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Alpn<'_> {}

/// Escaped, as in a packet.
impl fmt::Display for Alpn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.iter() {
            if is_bare(byte) { write!(f, "{}", char::from(byte))? } else { write!(f, "%{byte:02X}")? }
        }
        Ok(())
    }
}

impl fmt::Debug for Alpn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Alpn({self})")
    }
}

impl<'a> Value<'a> for Alpn<'a> {
    const EXPECTED: &'static str = "ALPN names, other bytes than 0x21-0x7e and % as %XX";

    fn read(text: &'a str) -> Option<Self> {
        let mut left = Unescape(text.as_bytes());
        let mut len = 0;
        loop {
            let before = left.0;
            let Some(byte) = left.next() else { break };
            // One spelling per name: what can stand for itself does, what cannot is escaped.
            if is_bare(byte) == (before.first() == Some(&b'%')) {
                return None;
            }
            len += 1;
        }
        (left.0.is_empty() && (1..=MAX_ALPN_NAME).contains(&len)).then_some(Self(Name::Text(text)))
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        const HEX: [u8; 16] = *b"0123456789ABCDEF";
        let digit = |bits: u8| HEX.get(usize::from(bits & 15)).copied().unwrap_or(b'0');
        for byte in self.iter() {
            if is_bare(byte) { out.push(&[byte])? } else { out.push(&[b'%', digit(byte >> 4), digit(byte)])? }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn an_alpn_name_has_one_spelling() {
        let mut into = [0; 255];
        assert_eq!(Alpn::read("h2").unwrap().decode(&mut into), b"h2");
        assert_eq!(Alpn::read("a%20%25%FF").unwrap().decode(&mut into), b"a %\xff");
        for bad in ["", "%", "%2", "%ff", "%41", "a%", "é", "a b"] {
            assert!(Alpn::read(bad).is_none(), "{bad}");
        }
        assert_eq!(Alpn::from_bytes(b"a %\xff"), Alpn::read("a%20%25%FF"));
        assert_eq!(format!("{}", Alpn::from_bytes(b"a %\xff").unwrap()), "a%20%25%FF");
        assert!(Alpn::from_bytes(&[b'a'; 256]).is_none() && Alpn::from_bytes(b"").is_none());
    }

    #[test]
    fn debug_does_not_show_an_exporter_value() {
        assert_eq!(format!("{:?}", Bytes::from_slice(b"secret")), "Bytes(6 bytes)");
        assert_eq!(format!("{:?}", Bytes::from_base64("c2VjcmV0").unwrap()), "Bytes(6 bytes)");
    }

    #[test]
    fn a_buffer_too_small_gets_nothing() {
        assert_eq!(Bytes::from_base64("c2VjcmV0").unwrap().decode(&mut [0; 5]), None);
        assert_eq!(Bytes::from_base64("c2VjcmV0").unwrap().decode(&mut [0; 8]), Some(&b"secret"[..]));
    }

    #[test]
    fn a_hash_has_32_bytes() {
        let text = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        assert_eq!(format!("{}", Sha256::from_base64(text).unwrap()), text);
        assert!(Sha256::from_base64("AAAA").is_none());
    }
}
