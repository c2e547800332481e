//! The pool as a worker has it: of the supervisor, in memory that all workers share.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;

use super::kept::Looked;
use super::{FRESH, packed};
use crate::engine;
use crate::sys;
use crate::tls::Roots;

/// Contents of the pool that are mapped in one process at most. A mapping stays until the process ends, because the
/// anchors in sessions' configurations point into it: each costs as much as the pool, some 200 KiB. A system that replaces
/// its CAs every week takes a year to get here; what comes after that is copied, and freed when it is replaced.
const MOST_MAPPED: usize = 64;

/// The largest pool that is copied.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Who has the pool.
pub trait PoolSource: Send + Sync {
    /// The number of the pool's content, and the content as [`super::Published`] has it, if it is another than `have`. May
    /// wait for the disk.
    ///
    /// # Errors
    /// A sentence for the operator.
    fn newer_than(&self, have: Option<u64>) -> Result<Option<(u64, OwnedFd)>, String>;
}

/// Asks for the pool when a session needs it, 5 s after the last time at the earliest.
pub struct AskedPool {
    source: Box<dyn PoolSource>,
    fresh: Duration,
    held: ArcSwapOption<Held>,
    /// Held while asking, so that one thread does it for all.
    turn: Mutex<()>,
    mapped: AtomicUsize,
}

struct Held {
    roots: Roots,
    generation: u64,
    looked: Looked,
}

impl AskedPool {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(source: Box<dyn PoolSource>) -> Self {
        Self {
            source,
            fresh: FRESH,
            held: ArcSwapOption::empty(),
            turn: Mutex::new(()),
            mapped: AtomicUsize::new(0),
        }
    }

    #[cfg(test)]
    pub(super) fn eager(source: Box<dyn PoolSource>) -> Self {
        Self { fresh: Duration::ZERO, ..Self::new(source) }
    }

    #[cfg(test)]
    pub(super) fn generation(&self) -> Option<u64> {
        self.held.load().as_ref().map(|held| held.generation)
    }

    fn take(&self, generation: u64, file: OwnedFd) -> Result<Held, String> {
        let wrong =
            |why: &str| format!("cannot use the system's CA certificates that the supervisor has: {why}");
        let system = |error: std::io::Error| wrong(&crate::process::reason(&error));
        let nonsense = || wrong("they make no sense");
        let roots = if self.mapped.fetch_add(1, Ordering::Relaxed) < MOST_MAPPED {
            let bytes = sys::map_sealed(&file).map_err(system)?;
            Roots::from_static(packed::unpack(bytes).ok_or_else(nonsense)?)
        } else {
            let mut bytes = Vec::new();
            File::from(file).take(LARGEST).read_to_end(&mut bytes).map_err(system)?;
            let all = packed::unpack(&bytes).ok_or_else(nonsense)?;
            Roots::from_ders(all.into_iter().map(Into::into))
        };
        let roots = roots.map_err(|error| wrong(&error.to_string()))?;
        Ok(Held { roots, generation, looked: Looked::now() })
    }
}

impl engine::SystemPool for AskedPool {
    fn fresh(&self) -> Option<Roots> {
        let held = self.held.load();
        held.as_ref().filter(|held| held.looked.is_within(self.fresh)).map(|held| held.roots.clone())
    }

    fn load(&self) -> Result<Roots, String> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = self.fresh() {
            return Ok(roots);
        }
        let before = self.held.load_full();
        let news = self.source.newer_than(before.as_ref().map(|before| before.generation));
        let taken =
            news.and_then(|news| news.map(|(generation, file)| self.take(generation, file)).transpose());
        match (taken, before) {
            (Ok(Some(held)), _) => {
                let roots = held.roots.clone();
                self.held.store(Some(Arc::new(held)));
                Ok(roots)
            }
            (Ok(None), Some(before)) => {
                before.looked.again_later();
                Ok(before.roots.clone())
            }
            (Err(error), Some(before)) => {
                tracing::warn!("{error}; the ones from before stay in use");
                before.looked.again_later();
                Ok(before.roots.clone())
            }
            (Ok(None), None) => Err("the supervisor has no CA certificates of the system's".to_owned()),
            (Err(error), None) => Err(error),
        }
    }
}

impl fmt::Debug for AskedPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.held.load().as_ref().map(|held| held.roots.count());
        f.debug_struct("AskedPool").field("certificates", &count).finish_non_exhaustive()
    }
}
