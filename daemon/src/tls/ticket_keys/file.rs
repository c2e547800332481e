//! A store's keys as the bytes of a file: for stores that outlive the daemon, or belong to several.
//!
//! ```text
//!  0 ┌ half 0 ───────────┐ 512 ┌ half 1 ───────────┐ 1024      the valid half with the greater sequence counts,
//!    └───────────────────┘     └───────────────────┘           and the other is written next
//!
//!  in a half   0  "tlsify tickets 1"
//!             16  sequence number; it is even in half 0 and odd in half 1
//!             24  three keys, newest first, 48 bytes each:
//!                 when it began, seconds since 1970 (0: there is none) 8, which it is 8, the key 32
//!            168  zeros
//!            480  SHA-256 of the 480 bytes in front of it
//! ```
//!
//! Numbers are big-endian. A write that is cut short leaves the half that counted. The hash is against accidents: whoever
//! can write the file chooses the keys.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use super::ring::{ID, OLDER, opens, seals};

/// Bytes of a file of ticket keys, at most.
pub const MAX_KEY_FILE: usize = 2 * HALF;

const HALF: usize = 512;
const HASHED: usize = HALF - 32;
const MAGIC: &[u8; 16] = b"tlsify tickets 1";
const KEYS: usize = 24;
const KEY: usize = 48;

/// The keys of a file.
pub struct KeyFile {
    sequence: u64,
    /// Newest first, three at most.
    pub(super) keys: Vec<FileKey>,
}

/// A key as it lies in the file.
#[derive(Clone)]
pub(super) struct FileKey {
    pub(super) began: u64,
    pub(super) id: [u8; ID],
    pub(super) secret: Zeroizing<[u8; 32]>,
}

/// Why bytes are no file of ticket keys. It is not written over then: it may be something else that somebody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It does not begin as one does.
    #[error("it is not a file of ticket keys, give an empty one to begin with new keys")]
    Other,
    /// It was one.
    #[error("it is damaged, its checksum is wrong, give an empty one to begin with new keys")]
    Damaged,
    /// The system has no random bytes.
    #[error("there is no randomness for a new key")]
    NoRandomness,
}

impl KeyFile {
    /// Reads a file; `None` when it is empty.
    ///
    /// # Errors
    /// [`KeyFileError`] when neither half is good.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, KeyFileError> {
        if bytes.is_empty() {
            return Ok(None);
        }
        let halves = bytes.chunks(HALF).take(2);
        let good = halves.clone().zip(0..).filter_map(|(half, at)| read_half(half, at));
        match good.max_by_key(|file| file.sequence) {
            Some(file) => Ok(Some(file)),
            None if halves.clone().any(|half| half.starts_with(MAGIC)) => Err(KeyFileError::Damaged),
            None => Err(KeyFileError::Other),
        }
    }

    /// Whether its newest key is the one to seal with at the time `now`, in seconds since 1970.
    #[must_use]
    pub fn is_current(&self, now: u64) -> bool {
        self.keys.first().is_some_and(|key| seals(key.began, now))
    }

    /// What follows on `before` at the time `now`: a new key, and those of before that are still of use.
    ///
    /// # Errors
    /// [`KeyFileError::NoRandomness`].
    pub fn next(before: Option<&Self>, now: u64) -> Result<Self, KeyFileError> {
        let fresh = FileKey::new(now).ok_or(KeyFileError::NoRandomness)?;
        let older = before.into_iter().flat_map(|file| &file.keys).filter(|key| opens(key.began, now));
        let keys = std::iter::once(fresh).chain(older.take(OLDER).cloned()).collect();
        Ok(Self { sequence: before.map_or(0, |file| file.sequence.wrapping_add(1)), keys })
    }

    /// What follows on `before` at the time `now` without any of its keys: both are to be written, one after the other,
    /// so that neither half has an old key.
    ///
    /// # Errors
    /// [`KeyFileError::NoRandomness`].
    pub fn afresh(before: &Self, now: u64) -> Result<[Self; 2], KeyFileError> {
        let keys = vec![FileKey::new(now).ok_or(KeyFileError::NoRandomness)?];
        let after = |count| before.sequence.wrapping_add(count);
        Ok([Self { sequence: after(1), keys: keys.clone() }, Self { sequence: after(2), keys }])
    }

    /// What to write, and where in the file.
    #[must_use]
    pub fn to_bytes(&self) -> (u64, Zeroizing<Vec<u8>>) {
        let mut half = Zeroizing::new(Vec::with_capacity(HALF));
        half.extend_from_slice(MAGIC);
        half.extend_from_slice(&self.sequence.to_be_bytes());
        for key in self.keys.iter().take(1 + OLDER) {
            half.extend_from_slice(&key.began.to_be_bytes());
            half.extend_from_slice(&key.id);
            half.extend_from_slice(&*key.secret);
        }
        half.resize(HASHED, 0);
        let hash = digest(&SHA256, &half);
        half.extend_from_slice(hash.as_ref());
        (self.sequence % 2 * HALF as u64, half)
    }
}

impl FileKey {
    pub(super) fn new(began: u64) -> Option<Self> {
        let mut key = Self { began, id: [0; ID], secret: Zeroizing::new([0; 32]) };
        aws_lc_rs::rand::fill(&mut key.id).ok()?;
        aws_lc_rs::rand::fill(&mut *key.secret).ok()?;
        Some(key)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (began, rest) = bytes.split_first_chunk::<8>()?;
        let (id, secret) = rest.split_first_chunk::<ID>()?;
        let mut key = Self { began: u64::from_be_bytes(*began), id: *id, secret: Zeroizing::new([0; 32]) };
        key.secret.copy_from_slice(secret.get(..32)?);
        (key.began != 0).then_some(key)
    }
}

fn read_half(half: &[u8], at: u64) -> Option<KeyFile> {
    let (hashed, hash) = half.split_at_checked(HASHED)?;
    if digest(&SHA256, hashed).as_ref() != hash || !hashed.starts_with(MAGIC) {
        return None;
    }
    let sequence = u64::from_be_bytes(hashed.get(MAGIC.len()..KEYS)?.try_into().ok()?);
    let keys = hashed[KEYS..].chunks(KEY).take(1 + OLDER).filter_map(FileKey::read).collect();
    (sequence % 2 == at).then_some(KeyFile { sequence, keys })
}

/// Numbers: no key.
impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys.len();
        f.debug_struct("KeyFile").field("sequence", &self.sequence).field("keys", &keys).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ring::{ACCEPTED, SEALS};
    use super::*;

    const START: u64 = 1_000_000;

    /// What the file holds after each of these was written.
    fn written(bytes: &mut Vec<u8>, file: &KeyFile) {
        let (offset, half) = file.to_bytes();
        let begins = usize::try_from(offset).unwrap();
        bytes.resize(bytes.len().max(begins + half.len()), 0);
        bytes[begins..begins + half.len()].copy_from_slice(&half);
    }

    fn ids(file: &KeyFile) -> Vec<[u8; ID]> {
        file.keys.iter().map(|key| key.id).collect()
    }

    #[test]
    fn what_was_written_is_read_and_the_newest_three_keys_are_kept() {
        let mut bytes = Vec::new();
        assert!(KeyFile::parse(&bytes).unwrap().is_none());
        let mut all = Vec::new();
        for round in 0..5 {
            let now = START + round * SEALS;
            let before = KeyFile::parse(&bytes).unwrap();
            assert!(!before.as_ref().is_some_and(|file| file.is_current(now)));
            let next = KeyFile::next(before.as_ref(), now).unwrap();
            written(&mut bytes, &next);
            let read = KeyFile::parse(&bytes).unwrap().unwrap();
            assert!(read.is_current(now) && !read.is_current(now + SEALS));
            assert_eq!((read.sequence, ids(&read)), (round, ids(&next)));
            assert!(read.keys.iter().zip(&next.keys).all(|(one, other)| *one.secret == *other.secret));
            all.insert(0, read.keys[0].id);
            assert_eq!(ids(&read), all[..all.len().min(3)]);
        }
        assert_eq!(bytes.len(), MAX_KEY_FILE);
        // Nobody came by for long: what is of no use is not kept.
        let old = KeyFile::parse(&bytes).unwrap();
        let next = KeyFile::next(old.as_ref(), START + 4 * SEALS + ACCEPTED).unwrap();
        assert_eq!(next.keys.len(), 1);
    }

    #[test]
    fn a_write_that_was_cut_short_leaves_the_keys_of_before() {
        let first = KeyFile::next(None, START).unwrap();
        let second = KeyFile::next(Some(&first), START + SEALS).unwrap();
        let third = KeyFile::next(Some(&second), START + 2 * SEALS).unwrap();
        let mut good = Vec::new();
        written(&mut good, &first);
        written(&mut good, &second);
        let (offset, half) = third.to_bytes();
        assert_eq!(offset, 0);
        for cut in 0..half.len() - 1 {
            let mut torn = good.clone();
            torn[..cut].copy_from_slice(&half[..cut]);
            assert_eq!(ids(&KeyFile::parse(&torn).unwrap().unwrap()), ids(&second), "after {cut} bytes");
        }
    }

    #[test]
    fn what_is_damaged_or_something_else_is_told_apart_and_not_taken() {
        let mut bytes = Vec::new();
        written(&mut bytes, &KeyFile::next(None, START).unwrap());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            let error = if at < MAGIC.len() { KeyFileError::Other } else { KeyFileError::Damaged };
            assert_eq!(KeyFile::parse(&damaged).unwrap_err(), error, "byte {at}");
        }
        assert_eq!(KeyFile::parse(&bytes[..511]).unwrap_err(), KeyFileError::Damaged);
        assert_eq!(KeyFile::parse(b"-----BEGIN PRIVATE KEY-----").unwrap_err(), KeyFileError::Other);
        assert_eq!(KeyFile::parse(&[0; 1024]).unwrap_err(), KeyFileError::Other);
    }

    #[test]
    fn afresh_nothing_of_the_old_keys_is_left_in_the_file_and_one_new_key_counts() {
        let first = KeyFile::next(None, START).unwrap();
        let second = KeyFile::next(Some(&first), START + SEALS).unwrap();
        let mut bytes = Vec::new();
        written(&mut bytes, &first);
        written(&mut bytes, &second);
        let before = KeyFile::parse(&bytes).unwrap().unwrap();
        for (half, good) in KeyFile::afresh(&before, START + SEALS + 1).unwrap().iter().zip([1, 2]) {
            written(&mut bytes, half);
            let read = KeyFile::parse(&bytes).unwrap().unwrap();
            assert_eq!((read.keys.len(), read.sequence), (1, before.sequence + good));
        }
        for key in &second.keys {
            assert!(!bytes.windows(32).any(|part| part == *key.secret), "an old key is there");
        }
    }

    #[test]
    fn no_key_is_in_what_is_printed() {
        let file = KeyFile::next(None, START).unwrap();
        assert_eq!(format!("{file:?}"), "KeyFile { sequence: 0, keys: 1 }");
    }
}
