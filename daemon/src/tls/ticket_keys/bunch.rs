//! One user's stores: bounded, the least recently used goes first.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::ring::Ring;

/// Stores of one user. A store is for a service, not for a session: who has more services than this pushes out the one
/// that was used least recently, whose clients then get full handshakes.
pub(super) const OF_A_USER: usize = 64;

/// All stores of one user. Sessions read, and only a name that is new writes.
#[derive(Default)]
pub(super) struct Bunch {
    stores: RwLock<HashMap<Box<str>, Store>>,
    /// Counts the uses, to tell earlier from later.
    uses: AtomicU64,
}

struct Store {
    ring: Arc<Ring>,
    used: AtomicU64,
}

impl Bunch {
    /// The keys of this name.
    pub(super) fn ring(&self, name: &str) -> Arc<Ring> {
        let now = self.uses.fetch_add(1, Ordering::Relaxed);
        // A panic while it was held leaves whole entries.
        let stores = self.stores.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = stores.get(name) {
            store.used.store(now, Ordering::Relaxed);
            return Arc::clone(&store.ring);
        }
        drop(stores);
        let mut stores = self.stores.write().unwrap_or_else(PoisonError::into_inner);
        if !stores.contains_key(name) && stores.len() >= OF_A_USER {
            let oldest = stores.iter().min_by_key(|(_, store)| store.used.load(Ordering::Relaxed));
            let oldest = oldest.map(|(name, _)| name.clone());
            oldest.and_then(|name| stores.remove(&name));
        }
        let fresh = || Store { ring: Arc::default(), used: AtomicU64::new(now) };
        Arc::clone(&stores.entry(name.into()).or_insert_with(fresh).ring)
    }

    /// Forgets this one: sessions that have its keys in hand keep them. Whether it was there.
    pub(super) fn forget(&self, name: &str) -> bool {
        self.stores.write().unwrap_or_else(PoisonError::into_inner).remove(name).is_some()
    }

    /// Each by its name, in the order of names.
    pub(super) fn list(&self) -> Vec<(Box<str>, Arc<Ring>)> {
        let stores = self.stores.read().unwrap_or_else(PoisonError::into_inner);
        let mut list: Vec<_> =
            stores.iter().map(|(name, store)| (name.clone(), Arc::clone(&store.ring))).collect();
        list.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        list
    }

    /// How many there are, and at least one: a user counts, too.
    pub(super) fn count(&self) -> u32 {
        let count = self.stores.read().unwrap_or_else(PoisonError::into_inner).len();
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }
}

/// A number: no key.
impl fmt::Debug for Bunch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bunch").field("stores", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_names_are_as_many_as_one_may_have_and_the_one_in_use_stays() {
        let bunch = Bunch::default();
        let (busy, quiet) = (bunch.ring("busy"), bunch.ring("quiet"));
        for number in 0..1000 {
            bunch.ring(&format!("store-{number}"));
            assert!(Arc::ptr_eq(&busy, &bunch.ring("busy")), "at {number}");
        }
        assert_eq!(bunch.count() as usize, OF_A_USER);
        assert!(Arc::ptr_eq(&bunch.ring("store-999"), &bunch.ring("store-999")));
        assert!(!Arc::ptr_eq(&quiet, &bunch.ring("quiet")), "it was pushed out");
    }
}
