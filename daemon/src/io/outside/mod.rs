//! What a worker has others do, because it has no files, makes no sockets and connects none.
//!
//! ```text
//!  worker ── Outside ─┬─ Itself                                     one process for everything: done here
//!                     └─ Asking ──▶ supervisor: a caller's folder, the CA pool, a caller's executable
//!                               └─▶ dialer:     names, connect(2) of callers' sockets, connections to caches
//! ```
//!
//! What a caller has opened may be read, written and looked at by a worker: it came as a descriptor. What is opened by a name
//! is opened here, by a process that knows better than to believe a worker: one that was taken over asks what it likes.

mod folder;
mod itself;

use std::future::Future;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::dial::{Dial, Dialed, State};
use super::handoff::DescriptorError;
use crate::config::CachePlace;
use crate::policy::CallerCred;
use crate::tls::Failure;
pub use folder::Suffixes;
pub use itself::Itself;

/// Who does what a worker cannot. One for all workers of a process.
#[derive(Debug)]
pub enum Outside {
    /// This process does everything.
    Itself(Itself),
}

impl Outside {
    /// What the files of a caller's folder contain that count and that this caller could have read itself, in the order of
    /// their names. `control`: the caller's connection, whose word about it is the kernel's. Waits: for threads that may.
    ///
    /// # Errors
    /// [`DescriptorError`].
    pub fn folder(
        &self,
        folder: &OwnedFd,
        which: Suffixes,
        cred: &CallerCred,
        _control: Option<BorrowedFd<'_>>,
    ) -> Result<Vec<Vec<u8>>, DescriptorError> {
        match self {
            Self::Itself(_) => folder::read(folder, which, cred),
        }
    }

    /// The path of the program that the process runs which this pidfd means. Waits: for threads that may.
    ///
    /// # Errors
    /// The system's: it has ended, or may not be looked at.
    pub fn executable(&self, process: BorrowedFd<'_>) -> std::io::Result<PathBuf> {
        match self {
            Self::Itself(_) => itself::executable(process),
        }
    }

    /// Connects a caller's socket, for a caller of this uid, unless `stop` comes first: that is `Err`, and when it is there the
    /// sockets are the caller's again. `state` says what has become of them, then and in every failure.
    ///
    /// # Errors
    /// The inner one is as of [`Dial::connect`].
    pub async fn dial<S>(
        &self,
        dial: Dial,
        uid: u32,
        state: &State,
        stop: impl Future<Output = S>,
    ) -> Result<Result<Dialed, Failure>, S> {
        match self {
            Self::Itself(itself) => itself.dial(dial, uid, state, stop).await,
        }
    }

    /// A connection to a cache of the operator's, for this uid's turn to look names up: a stream socket that does not block.
    ///
    /// # Errors
    /// A sentence.
    pub async fn connect_cache(&self, place: &CachePlace, uid: u32) -> Result<OwnedFd, String> {
        match self {
            Self::Itself(itself) => itself.connect_cache(place, uid).await,
        }
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self::Itself(Itself::default())
    }
}
