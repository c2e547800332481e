//! Waiting for a descriptor that is borrowed or shared, in the runtime.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers `fd` with this thread's runtime. To be called on a runtime's thread.
///
/// # Errors
/// The system's, for instance `EPERM` for what cannot be polled.
pub fn watch(fd: BorrowedFd<'_>, interest: Interest) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    // SAFETY: a BorrowedFd is open and the same number for its whole lifetime, and the registration
    // cannot outlive it; its owner is whoever lends it here.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// As [`watch`], for a descriptor that others hold too: the registration keeps it open.
///
/// # Errors
/// As [`watch`].
pub fn watch_shared(fd: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: nobody can take an OwnedFd out of an Arc that is shared, so it stays open and the same number
    // until the registration drops its own.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
