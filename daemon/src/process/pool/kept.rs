//! What was made of the files, until they change.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use super::error::{Cause, PoolError};
use super::place::{Fingerprint, PoolPlace};

/// What is made of the certificates.
pub(super) trait Content: Sized {
    /// Makes it of certificates in DER; `before` is what was made of the last ones.
    fn make(certificates: Vec<Vec<u8>>, before: Option<&Arc<Self>>) -> Result<Arc<Self>, Cause>;

    /// How many of them can be trust anchors, and how many cannot.
    fn figures(&self) -> (usize, usize);
}

/// Made when it is first asked for, and again when the files have changed.
pub(super) struct Kept<T> {
    place: PoolPlace,
    fresh: Duration,
    pub(super) loaded: ArcSwapOption<Loaded<T>>,
    /// Held while looking and reading, so that one thread does it for all.
    turn: Mutex<()>,
}

pub(super) struct Loaded<T> {
    pub(super) content: Arc<T>,
    pub(super) unreadable: usize,
    fingerprint: Fingerprint,
    looked: Looked,
}

/// When it was looked last.
#[derive(Debug)]
pub(super) struct Looked(Mutex<Instant>);

impl Looked {
    pub(super) fn now() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(super) fn is_within(&self, time: Duration) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < time
    }

    pub(super) fn again_later(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl<T: Content> Kept<T> {
    /// Nothing is read yet; an answer may be as old as `fresh`.
    pub(super) fn at(place: PoolPlace, fresh: Duration) -> Self {
        Self { place, fresh, loaded: ArcSwapOption::empty(), turn: Mutex::new(()) }
    }

    pub(super) fn fresh(&self) -> Option<Arc<T>> {
        let loaded = self.loaded.load();
        let fresh = loaded.as_ref().filter(|loaded| loaded.looked.is_within(self.fresh));
        fresh.map(|loaded| Arc::clone(&loaded.content))
    }

    pub(super) fn get(&self) -> Result<Arc<T>, PoolError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(content) = self.fresh() {
            return Ok(content);
        }
        let before = self.loaded.load_full();
        if let Some(before) = &before
            && before.fingerprint == self.place.fingerprint()
        {
            before.looked.again_later();
            return Ok(Arc::clone(&before.content));
        }
        match (self.load(before.as_ref().map(|before| &before.content)), before) {
            (Ok(loaded), _) => {
                let (certificates, unusable) = loaded.content.figures();
                tracing::info!(
                    certificates,
                    unusable,
                    unreadable = loaded.unreadable,
                    "loaded the system's CA certificates"
                );
                let content = Arc::clone(&loaded.content);
                self.loaded.store(Some(Arc::new(loaded)));
                Ok(content)
            }
            (Err(error), Some(before)) => {
                tracing::warn!("{error}; the ones loaded before stay in use");
                before.looked.again_later();
                Ok(Arc::clone(&before.content))
            }
            (Err(error), None) => Err(error),
        }
    }

    fn load(&self, before: Option<&Arc<T>>) -> Result<Loaded<T>, PoolError> {
        // Before reading: a change while we read is seen at the next look.
        let fingerprint = self.place.fingerprint();
        let (certificates, unreadable) = self.place.read();
        let content =
            T::make(certificates, before).map_err(|cause| PoolError { place: self.place.clone(), cause })?;
        Ok(Loaded { content, unreadable, fingerprint, looked: Looked::now() })
    }
}

impl<T: Content> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.loaded.load().as_ref().map(|loaded| loaded.content.figures().0);
        f.debug_struct("Kept")
            .field("place", &self.place)
            .field("certificates", &count)
            .finish_non_exhaustive()
    }
}
