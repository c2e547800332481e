//! Reading TLS's presentation language (RFC 9846 section 3): every length is checked, nothing is left over.

use super::Flaw;

/// The rest of some bytes, taken from the front.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left.
    pub(super) fn end(&self) -> Result<(), Flaw> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Flaw::decode("a part of it is longer than what it holds"))
        }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (front, rest) =
            self.0.split_at_checked(count).ok_or(Flaw::decode("a part of it is longer than the message"))?;
        self.0 = rest;
        Ok(front)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Flaw> {
        self.take(1).map(|bytes| bytes.iter().fold(0, |_, &byte| byte))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Flaw> {
        self.take(2).map(|bytes| bytes.iter().fold(0, |number, &byte| number << 8 | u16::from(byte)))
    }

    /// What stands behind a length of one byte.
    pub(super) fn vector8(&mut self) -> Result<Self, Flaw> {
        let count = self.u8()?;
        self.take(count.into()).map(Self)
    }

    /// What stands behind a length of two bytes.
    pub(super) fn vector16(&mut self) -> Result<Self, Flaw> {
        let count = self.u16()?;
        self.take(count.into()).map(Self)
    }

    /// Numbers of two bytes up to the end, at least one.
    pub(super) fn numbers(mut self) -> Result<Vec<u16>, Flaw> {
        let mut numbers = Vec::with_capacity(self.0.len() / 2);
        loop {
            numbers.push(self.u16()?);
            if self.is_empty() {
                return Ok(numbers);
            }
        }
    }
}
