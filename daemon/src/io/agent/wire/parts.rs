//! The pieces that messages are made of (RFC 4251 section 5), read without a copy and written into a buffer of known size.

use ssh_encoding::{Decode, Writer};
use zeroize::Zeroizing;

use super::{MAX_MESSAGE, WireError};

/// The length of the message behind these four bytes.
///
/// # Errors
/// [`WireError::Length`].
pub fn frame_length(header: [u8; 4]) -> Result<usize, WireError> {
    let length = u32::from_be_bytes(header);
    match usize::try_from(length) {
        Ok(length @ 1..=MAX_MESSAGE) => Ok(length),
        _ => Err(WireError::Length(length.into())),
    }
}

/// What `write` writes, behind its length. The buffer is made in its final size: one that grows leaves copies behind.
///
/// # Errors
/// [`WireError::Length`] when it is too long to be sent.
pub fn framed(
    write: impl Fn(&mut dyn Put) -> ssh_encoding::Result<()>,
) -> Result<Zeroizing<Vec<u8>>, WireError> {
    let mut counted = Count(0);
    write(&mut counted).map_err(|_| WireError::Length(u64::MAX))?;
    let length = counted.0;
    let header = u32::try_from(length).ok().filter(|_| (1..=MAX_MESSAGE).contains(&length));
    let header = header.ok_or(WireError::Length(length as u64))?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(length + 4));
    bytes.extend_from_slice(&header.to_be_bytes());
    write(&mut *bytes).map_err(|_| WireError::Length(length as u64))?;
    debug_assert_eq!(bytes.len(), length + 4, "counted and written are the same");
    Ok(bytes)
}

/// Where fields go.
pub trait Put {
    /// These bytes as they are.
    ///
    /// # Errors
    /// That of the encoding: there is no room for it.
    fn raw(&mut self, bytes: &[u8]) -> ssh_encoding::Result<()>;

    /// A `byte`.
    ///
    /// # Errors
    /// As [`Put::raw`].
    fn byte(&mut self, byte: u8) -> ssh_encoding::Result<()> {
        self.raw(&[byte])
    }

    /// A `uint32`.
    ///
    /// # Errors
    /// As [`Put::raw`].
    fn number(&mut self, number: u32) -> ssh_encoding::Result<()> {
        self.raw(&number.to_be_bytes())
    }

    /// A `uint64`.
    ///
    /// # Errors
    /// As [`Put::raw`].
    fn long(&mut self, number: u64) -> ssh_encoding::Result<()> {
        self.raw(&number.to_be_bytes())
    }

    /// A `string`.
    ///
    /// # Errors
    /// As [`Put::raw`].
    fn string(&mut self, bytes: &[u8]) -> ssh_encoding::Result<()> {
        self.number(u32::try_from(bytes.len()).map_err(|_| ssh_encoding::Error::Length)?)?;
        self.raw(bytes)
    }

    /// An `mpint` that is not negative, from its bytes, the highest first.
    ///
    /// # Errors
    /// As [`Put::raw`].
    fn mpint(&mut self, bytes: &[u8]) -> ssh_encoding::Result<()> {
        let bytes = without_zeros(bytes);
        let sign: &[u8] = if bytes.first().is_some_and(|byte| byte & 0x80 != 0) { &[0] } else { &[] };
        let length = u32::try_from(sign.len() + bytes.len()).map_err(|_| ssh_encoding::Error::Length)?;
        self.number(length)?;
        self.raw(sign)?;
        self.raw(bytes)
    }
}

impl Put for Vec<u8> {
    fn raw(&mut self, bytes: &[u8]) -> ssh_encoding::Result<()> {
        self.write(bytes)
    }
}

struct Count(usize);

impl Put for Count {
    fn raw(&mut self, bytes: &[u8]) -> ssh_encoding::Result<()> {
        self.0 = self.0.checked_add(bytes.len()).ok_or(ssh_encoding::Error::Length)?;
        Ok(())
    }
}

/// What is left of a message to read. `what` it is stands in errors.
#[derive(Clone, Copy)]
pub(super) struct Rest<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Rest<'a> {
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn byte(&mut self) -> Result<u8, WireError> {
        u8::decode(&mut self.bytes).map_err(|_| WireError::CutOff(self.what))
    }

    pub(super) fn short(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    pub(super) fn number(&mut self) -> Result<u32, WireError> {
        u32::decode(&mut self.bytes).map_err(|_| WireError::CutOff(self.what))
    }

    pub(super) fn long(&mut self) -> Result<u64, WireError> {
        u64::decode(&mut self.bytes).map_err(|_| WireError::CutOff(self.what))
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], WireError> {
        let cut = WireError::CutOff(self.what);
        let length = usize::try_from(self.number()?).map_err(|_| cut)?;
        let (string, rest) = self.bytes.split_at_checked(length).ok_or(cut)?;
        self.bytes = rest;
        Ok(string)
    }

    /// A `string` that is UTF-8 and at most `most` bytes.
    pub(super) fn text(&mut self, most: usize) -> Result<&'a str, WireError> {
        let bytes = self.string()?;
        std::str::from_utf8(bytes)
            .ok()
            .filter(|text| text.len() <= most)
            .ok_or(WireError::Nonsense("a text in a message"))
    }

    /// An `mpint` that is above zero, without its leading zeros. One zero more than needed is taken: some write it so.
    pub(super) fn mpint(&mut self) -> Result<&'a [u8], WireError> {
        let bytes = self.string()?;
        let plain = without_zeros(bytes);
        if bytes.first().is_some_and(|byte| byte & 0x80 != 0) || plain.is_empty() || plain.len() > MAX_NUMBER
        {
            return Err(WireError::Nonsense("a number"));
        }
        Ok(plain)
    }

    pub(super) fn end(self) -> Result<(), WireError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.what)) }
    }
}

/// Bytes of a number at most: RSA of 16,384 bits, twice what the provider signs with.
const MAX_NUMBER: usize = 2048;

pub(super) fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}
