//! Stores that are a file or a directory of the caller's: known by which it is, whoever of the same user opens it. A file is
//! also where a server's keys are kept: read when it is new here or has changed, written when its newest key has done
//! its time.

use std::os::fd::OwnedFd;
use std::time::{SystemTime, UNIX_EPOCH};

use tlsify_protocol::Role;

use super::refusal::Refusal;
use super::shared::Shared;
use crate::io::{DescriptorError, OwnFile, OwnPlace, locked, read_regular, write_at};
use crate::tls::{KeyFile, KeyFileError, KeyStore, MAX_KEY_FILE, Stamp, TicketKeys};

/// The descriptor's name.
const NAME: &str = "tickets";

/// Which store it is, if it belongs to `uid`. May block.
///
/// # Errors
/// It is something else, another's or open to others.
pub(super) fn place(fd: &OwnedFd, uid: u32) -> Result<OwnPlace, Refusal> {
    Ok(OwnPlace::look(fd, uid)?)
}

/// The keys of the store that is this file or directory. May block.
///
/// # Errors
/// It is something else, another's, open to others, damaged, or cannot be read or written.
pub(super) fn keys(keys: &TicketKeys, uid: u32, fd: &OwnedFd) -> Result<KeyStore, Refusal> {
    let place = place(fd, uid)?;
    let store = keys.store(uid, &place.to_string());
    if !place.is_directory {
        load(&store, uid, fd)?;
    }
    Ok(store)
}

/// Brings the keys of a store that is a file up to date. May block.
///
/// # Errors
/// As of [`keys`].
pub(super) fn load(store: &KeyStore, uid: u32, fd: &OwnedFd) -> Result<(), Refusal> {
    let now = now();
    let known = |file: OwnFile| store.is_current(stamp(file), now, file.writable);
    if known(OwnFile::look(fd, uid)?) {
        return Ok(());
    }
    let _one = store.loading();
    // Somebody may have been here while we waited.
    let seen = OwnFile::look(fd, uid)?;
    if known(seen) {
        return Ok(());
    }
    // Its state is of the lock's time, or of before it is read: a key that another process adds meanwhile is a change,
    // and not a part of what was seen.
    let (file, seen) = if seen.writable {
        locked(fd, || Ok::<_, Refusal>((renew(fd, now)?, OwnFile::look(fd, uid)?)))?
    } else {
        (read(fd)?, seen)
    };
    store.adopt(&file, stamp(seen));
    Ok(())
}

/// Empties the caller's stores that are this file or directory, of one role or of both. How many there were. May block.
///
/// # Errors
/// As of [`keys`]; a file with keys has to be open for writing, too.
pub(super) fn forget(shared: &Shared, uid: u32, role: Option<Role>, fd: &OwnedFd) -> Result<u64, Refusal> {
    let place = place(fd, uid)?;
    let name = place.to_string();
    // What can be refused comes first: then nothing has happened.
    let keys = match role {
        Some(Role::Client) => false,
        _ if place.is_directory => shared.ticket_keys.forget(uid, &name),
        _ => replace(&shared.ticket_keys, uid, &name, role, fd)?,
    };
    let tickets = role != Some(Role::Server) && shared.tickets.forget(uid, &name);
    Ok(u64::from(keys) + u64::from(tickets))
}

/// Puts one new key into a file, in the place of all that are there. Whether there were any.
fn replace(
    keys: &TicketKeys,
    uid: u32,
    name: &str,
    role: Option<Role>,
    fd: &OwnedFd,
) -> Result<bool, Refusal> {
    let file = read_regular(fd, MAX_KEY_FILE).map_err(Refusal::from).and_then(|bytes| {
        let file = KeyFile::parse(&bytes)?;
        Ok(file)
    });
    let has_keys = match (file, role) {
        (Ok(file), _) => file.is_some(),
        // Whoever means a store of any role may mean a file that never was one of keys.
        (Err(_), None) => false,
        (Err(refusal), Some(_)) => return Err(refusal),
    };
    if !has_keys {
        // What was remembered of a file that was emptied.
        return Ok(keys.forget(uid, name));
    }
    if !OwnFile::look(fd, uid)?.writable {
        let (is, wanted) = ("open for reading only", "open for writing, too, to get a new key");
        return Err(DescriptorError::Kind { is, wanted }.into());
    }
    let store = keys.store(uid, name);
    let _one = store.loading();
    let file = locked(fd, || {
        // Read again: it was not locked before.
        let Some(before) = KeyFile::parse(&read_regular(fd, MAX_KEY_FILE)?)? else {
            return Ok::<_, Refusal>(None);
        };
        let [first, second] = KeyFile::afresh(&before, now())?;
        for half in [&first, &second] {
            let (offset, bytes) = half.to_bytes();
            write_at(fd, offset, &bytes)?;
        }
        Ok(Some((second, OwnFile::look(fd, uid)?)))
    })?;
    if let Some((file, seen)) = &file {
        store.adopt(file, stamp(*seen));
    }
    Ok(file.is_some())
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

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
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
