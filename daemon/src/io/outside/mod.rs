//! What a worker has others do, because it has no files, makes no sockets and connects none.
//!
//! ```text
//!  worker ── Outside ─┬─ Itself                                     one process for everything: done here
//!                     └─ Asking ──▶ supervisor: a caller's folder, the CA pool, a caller's executable, caches at paths
//!                               └─▶ dialer:     names, connect(2) of callers' sockets, connections to other caches
//! ```
//!
//! What a caller has opened may be read, written and looked at by a worker: it came as a descriptor. What is opened by a name
//! is opened here, by a process that knows better than to believe a worker: one that was taken over asks what it likes.

mod answering;
mod asking;
mod folder;
mod itself;
mod questions;
mod turns;

use std::future::Future;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::dial::{Dial, Dialed, State};
use super::handoff::DescriptorError;
use crate::config::CachePlace;
use crate::policy::CallerCred;
use crate::tls::Failure;
pub use answering::{Host, answer, answer_beside};
pub use asking::Asking;
pub use folder::Suffixes;
pub use itself::{Itself, connect_cache_at};
pub(super) use questions::{CacheAnswer, DialNews, DialQuestion, Told};

/// Who does what a worker cannot. One for all workers of a process.
#[derive(Debug)]
pub enum Outside {
    /// This process does everything.
    Itself(Itself),
    /// Others are asked.
    Asking(Asking),
}

/// The system's CA pool as it is handed on.
#[derive(Debug)]
pub struct Pool {
    /// Another number for other contents.
    pub generation: u64,
    /// A sealed memory file. What is in it is agreed on by who makes and who reads it.
    pub ders: OwnedFd,
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
        control: Option<BorrowedFd<'_>>,
    ) -> Result<Vec<Vec<u8>>, DescriptorError> {
        match self {
            Self::Itself(_) => folder::read(folder, which, cred),
            Self::Asking(asking) => match control {
                Some(control) => asking.folder(folder, which, control),
                // Its caller is gone, and nobody hears it.
                None => Err(rustix::io::Errno::NOTCONN.into()),
            },
        }
    }

    /// The system's CA pool, if it is not of this generation any more. Waits: for threads that may.
    ///
    /// # Errors
    /// A sentence: there is none. Also where this process has to read it itself, which is not done here.
    pub fn system_pool(&self, have: Option<u64>) -> Result<Option<Pool>, String> {
        match self {
            Self::Itself(_) => Err("this process reads the system's CA certificates itself".to_owned()),
            Self::Asking(asking) => asking.system_pool(have),
        }
    }

    /// The path of the program that the process runs which this pidfd means. Waits: for threads that may.
    ///
    /// # Errors
    /// The system's: it has ended, or may not be looked at.
    pub fn executable(&self, process: BorrowedFd<'_>) -> std::io::Result<PathBuf> {
        match self {
            Self::Itself(_) => itself::executable(process),
            Self::Asking(asking) => asking.executable(process),
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
            Self::Asking(asking) => asking.dial(dial, uid, state, stop).await,
        }
    }

    /// A connection to a cache of the operator's, for this uid's turn to look names up: a stream socket that does not block.
    ///
    /// # Errors
    /// A sentence.
    pub async fn connect_cache(&self, place: &CachePlace, uid: u32) -> Result<OwnedFd, String> {
        match self {
            Self::Itself(itself) => itself.connect_cache(place, uid).await,
            Self::Asking(asking) => asking.connect_cache(place, uid).await,
        }
    }
}

impl Default for Outside {
    fn default() -> Self {
        Self::Itself(Itself::default())
    }
}
