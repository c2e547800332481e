//! The pool as the supervisor has it: for others to use.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::error::{Cause, PoolError};
use super::kept::{Content, Kept};
use super::place::PoolPlace;
use super::{FRESH, packed, roots};
use crate::io::sealed_memfd;
use crate::tls::sha256;

/// Reads the files when it is asked, and keeps what they held in a memory file. All workers share its pages.
#[derive(Debug)]
pub struct PublishedPool(Kept<Published>);

/// One content of the pool.
#[derive(Debug)]
pub struct Published {
    generation: u64,
    /// Of what is in the file.
    hash: [u8; 32],
    file: OwnedFd,
    figures: (usize, usize),
}

impl PublishedPool {
    /// The pool of this system; nothing is read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::at(PoolPlace::probe())
    }

    /// A pool from somewhere else.
    #[must_use]
    pub fn at(place: PoolPlace) -> Self {
        Self(Kept::at(place, FRESH))
    }

    /// What the pool is, if it is another than the generation `have`: looked at now, unless that was done within the last
    /// 5 s. Reads files, so only for threads that may wait.
    ///
    /// # Errors
    /// There never was a pool, and there is none now; one that cannot be read any more stays as it was.
    pub fn newer_than(&self, have: Option<u64>) -> Result<Option<Arc<Published>>, PoolError> {
        self.0.get().map(|pool| Some(pool).filter(|pool| have != Some(pool.generation)))
    }

    #[cfg(test)]
    pub(super) fn eager(place: PoolPlace) -> Self {
        Self(Kept::at(place, std::time::Duration::ZERO))
    }
}

impl Published {
    /// Its number: another one for each content, from 1.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

impl Default for PublishedPool {
    fn default() -> Self {
        Self::new()
    }
}

impl AsFd for Published {
    /// A sealed memory file with the certificates, for [`super::AskedPool`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Content for Published {
    fn make(certificates: Vec<Vec<u8>>, before: Option<&Arc<Self>>) -> Result<Arc<Self>, Cause> {
        // What nobody could use is no new pool; whoever asks keeps the old one then, as for one process.
        let figures = {
            let roots = roots(&certificates)?;
            (roots.count(), roots.skipped())
        };
        let packed = packed::pack(&certificates);
        let hash = sha256(&packed);
        // Files that were written anew with what they held: no worker has to do anything, or to map it once more.
        if let Some(before) = before.filter(|before| before.hash == hash) {
            return Ok(Arc::clone(before));
        }
        let file =
            sealed_memfd("tlsifyd-cas", &packed).map_err(|e| Cause::System(crate::process::reason(&e)))?;
        let generation = before.map_or(0, |before| before.generation) + 1;
        Ok(Arc::new(Self { generation, hash, file, figures }))
    }

    fn figures(&self) -> (usize, usize) {
        self.figures
    }
}
