//! A reusable buffer that is filled from the front: initialised once, cleared without touching memory.

use std::io;

/// Bytes with a fill mark. One per purpose and thread; sessions borrow it for a turn.
#[derive(Debug, Default)]
pub struct Fill {
    bytes: Vec<u8>,
    filled: usize,
}

impl Fill {
    /// A buffer that holds `capacity` bytes before it has to grow.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity], filled: 0 }
    }

    /// What was filled in so far.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// The same, for decrypting in place and for putting one byte right.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// Bytes filled in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.filled
    }

    /// Whether nothing is filled in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filled == 0
    }

    /// Forgets what was filled in behind the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.filled = self.filled.min(len);
    }

    /// Forgets what is filled in; the memory stays.
    pub fn clear(&mut self) {
        self.filled = 0;
    }

    /// The room behind the mark, at least `least` bytes of it.
    pub fn spare(&mut self, least: usize) -> &mut [u8] {
        if self.bytes.len() - self.filled < least {
            self.bytes.resize(self.filled + least, 0);
        }
        &mut self.bytes[self.filled..]
    }

    /// Moves the mark over `count` bytes that were written into [`Fill::spare`].
    pub fn advance(&mut self, count: usize) {
        self.filled += count;
        debug_assert!(self.filled <= self.bytes.len(), "advanced past the room that was given");
    }

    /// Appends a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }
}

impl io::Write for Fill {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_only_when_the_room_is_too_small() {
        let mut fill = Fill::with_capacity(4);
        fill.extend(b"abcd");
        assert_eq!(fill.filled(), b"abcd");
        assert!(fill.spare(10).len() >= 10);
        fill.extend(b"efgh");
        assert_eq!(fill.filled(), b"abcdefgh");
        fill.clear();
        assert!(fill.is_empty());
    }
}
