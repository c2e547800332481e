//! Waiting for a descriptor that is borrowed, in the runtime.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::BorrowedFd;

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
