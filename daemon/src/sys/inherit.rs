//! Taking ownership of a descriptor that the process was started with.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Why an inherited descriptor could not be taken.
#[derive(Debug, PartialEq, Eq)]
pub enum Inherited {
    /// The number is not an open descriptor of this process.
    NotOpen(RawFd),
    /// Standard input, output and error stay where they are.
    Standard(RawFd),
    /// Somebody took this number before.
    Taken(RawFd),
}

impl fmt::Display for Inherited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOpen(fd) => write!(f, "descriptor {fd} is not open in this process"),
            Self::Standard(fd) => write!(f, "descriptor {fd} is a standard stream; pass a number from 3 on"),
            Self::Taken(fd) => write!(f, "descriptor {fd} was taken already"),
        }
    }
}

impl std::error::Error for Inherited {}

/// The numbers handed out so far. Two owners of one number would close each other's descriptor.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes descriptor `fd`, which the parent left open for us, sets close-on-exec on it, and owns it
/// from now on. To be called at start, before the process opens descriptors of its own.
///
/// # Errors
/// [`Inherited`], when the number cannot be ours to take.
pub fn inherit_descriptor(fd: RawFd) -> Result<OwnedFd, Inherited> {
    if (0..=2).contains(&fd) {
        return Err(Inherited::Standard(fd));
    }
    // SAFETY: F_GETFD reads a flag of a number and touches no memory; a wrong number gives EBADF.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    if flags < 0 {
        return Err(Inherited::NotOpen(fd));
    }
    if !TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(fd) {
        return Err(Inherited::Taken(fd));
    }
    // SAFETY: `fd` is open (checked above), and `TAKEN` lets only one owner per number come out of
    // here; `process` calls this at start, before any descriptor of our own exists.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: F_SETFD changes a flag of a descriptor we own.
    unsafe { libc::fcntl(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC) };
    Ok(owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::IntoRawFd;

    #[test]
    fn a_number_has_one_owner() {
        let (fd, _other) = rustix::pipe::pipe().expect("pipe");
        let raw = fd.into_raw_fd();
        let first = inherit_descriptor(raw).expect("first");
        assert_eq!(inherit_descriptor(raw).err(), Some(Inherited::Taken(raw)));
        drop(first);
    }

    #[test]
    fn closed_and_standard_numbers_are_refused() {
        assert_eq!(inherit_descriptor(19_999).err(), Some(Inherited::NotOpen(19_999)));
        assert_eq!(inherit_descriptor(1).err(), Some(Inherited::Standard(1)));
    }
}
