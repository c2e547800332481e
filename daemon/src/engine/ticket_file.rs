//! A store of ticket keys that is a file of the caller's: read when it is new here or has changed, written when its newest
//! key has done its time.

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use super::refusal::Refusal;
use crate::io::{DescriptorError, OwnFile, locked, read_regular, write_at};
use crate::tls::{KeyFile, KeyFileError, KeyStore, MAX_KEY_FILE, Stamp, TicketKeys};

/// The descriptor's name.
const NAME: &str = "tickets";

/// The store of a file that belongs to `uid`. May block.
///
/// # Errors
/// The file is something else, another's, open to others, damaged, or cannot be read or written.
pub(super) fn store(keys: &TicketKeys, uid: u32, fd: &OwnedFd) -> Result<KeyStore, Refusal> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let known = |file: OwnFile, store: &KeyStore| store.is_current(stamp(file), now, file.writable);
    let seen = OwnFile::look(fd, uid)?;
    let store = keys.file(uid, seen.device, seen.inode);
    if known(seen, &store) {
        return Ok(store);
    }
    let one = store.loading();
    // Somebody may have been here while we waited.
    if known(OwnFile::look(fd, uid)?, &store) {
        drop(one);
        return Ok(store);
    }
    let file = if seen.writable { locked(fd, || renew(fd, now)) } else { read(fd) }?;
    store.adopt(&file, stamp(OwnFile::look(fd, uid)?));
    drop(one);
    Ok(store)
}

/// What is in the file, after a new key was added to it if it is time.
fn renew(fd: &OwnedFd, now: u64) -> Result<KeyFile, Refusal> {
    let before = KeyFile::parse(&read_regular(fd, MAX_KEY_FILE)?)?;
    match before {
        Some(file) if file.is_current(now) => Ok(file),
        before => {
            let next = KeyFile::next(before.as_ref(), now)?;
            let (offset, bytes) = next.to_bytes();
            write_at(fd, offset, &bytes)?;
            Ok(next)
        }
    }
}

fn read(fd: &OwnedFd) -> Result<KeyFile, Refusal> {
    let file = KeyFile::parse(&read_regular(fd, MAX_KEY_FILE)?)?;
    file.ok_or_else(|| {
        let error =
            std::io::Error::other("it is empty, and open for reading only: no key can be put into it");
        DescriptorError::Unusable(error).into()
    })
}

fn stamp(file: OwnFile) -> Stamp {
    Stamp { size: file.size, changed: file.changed }
}

impl From<DescriptorError> for Refusal {
    fn from(error: DescriptorError) -> Self {
        Self::descriptor(NAME, &error)
    }
}

impl From<KeyFileError> for Refusal {
    fn from(error: KeyFileError) -> Self {
        match error {
            KeyFileError::NoRandomness => Self::internal(error.to_string()),
            error => DescriptorError::Unusable(std::io::Error::other(error)).into(),
        }
    }
}
