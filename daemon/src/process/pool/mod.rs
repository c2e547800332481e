//! The system's CA certificates: read once, shared by every session, read again when they have changed.
//!
//! ```text
//!  one process:  SystemPool ── files ─▶ Roots
//!
//!  supervisor:   PublishedPool ── files ─▶ generation, sealed memory file ─┐
//!  worker:       AskedPool ◀── if newer than what it has ──────────────────┘ mapped: the pages are everybody's
//!
//!  any worker:   fresh() ──▶ Some(roots)         no system call, no lock that is ever held for long
//!                  └─ None ─▶ hand over to a thread that may wait
//!  waiting:      get() ──▶ one thread looks and, when something changed, reads; the others wait for it
//! ```
//!
//! The place is the one that OpenSSL uses on this system, or what SSL_CERT_FILE and SSL_CERT_DIR say in the daemon's
//! own environment.

mod asked;
mod error;
mod kept;
mod packed;
mod place;
mod published;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::engine;
use crate::tls::{Roots, RootsError};
use kept::{Content, Kept};

pub use asked::{AskedPool, PoolSource};
pub use error::PoolError;
pub use place::PoolPlace;
pub use published::{Published, PublishedPool};

/// How old an answer may be. Administrators expect a new CA to count at once, and 300 stats cost half a millisecond.
const FRESH: Duration = Duration::from_secs(5);

/// The pool of a process that reads the files itself, loaded when it is first asked for. Shared by reference; all threads
/// see the same one.
#[derive(Debug)]
pub struct SystemPool(Kept<Roots>);

impl SystemPool {
    /// The pool of this system; nothing is read yet.
    pub fn new() -> SystemPool {
        SystemPool::at(PoolPlace::probe())
    }

    /// A pool from somewhere else, as a demonstration and tests need it.
    pub fn at(place: PoolPlace) -> SystemPool {
        SystemPool(Kept::at(place, FRESH))
    }

    /// The pool if it is loaded and was looked at within the last 5 s. Never waits.
    pub fn fresh(&self) -> Option<Roots> {
        self.0.fresh().map(|roots| roots.as_ref().clone())
    }

    /// The pool, read now if it never was or has changed. Reads files, so only for threads that may wait.
    ///
    /// When a changed pool cannot be read (it may be halfway through an upgrade) the old one stays, with a warning in
    /// the log, and the next look tries again.
    ///
    /// # Errors
    /// There never was a pool, and there is none now.
    pub fn get(&self) -> Result<Roots, PoolError> {
        self.0.get().map(|roots| roots.as_ref().clone())
    }
}

impl Content for Roots {
    fn make(certificates: Vec<Vec<u8>>, _before: Option<&Arc<Self>>) -> Result<Arc<Self>, error::Cause> {
        Ok(Arc::new(roots(&certificates)?))
    }

    fn figures(&self) -> (usize, usize) {
        (self.count(), self.skipped())
    }
}

fn roots(certificates: &[Vec<u8>]) -> Result<Roots, RootsError> {
    Roots::from_ders(certificates.iter().map(|certificate| certificate.as_slice().into()))
}

impl engine::SystemPool for SystemPool {
    fn fresh(&self) -> Option<Roots> {
        SystemPool::fresh(self)
    }

    fn load(&self) -> Result<Roots, String> {
        self.get().map_err(|error| error.to_string())
    }
}

impl Default for SystemPool {
    fn default() -> Self {
        SystemPool::new()
    }
}
