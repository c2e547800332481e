//! One user's stores: bounded, the least recently used goes first.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;

use super::anchor::Anchor;

/// Seconds from a full handshake to the end of every ticket that comes of it, also of those that resumed sessions
/// brought (RFC 9846 section 4.6.1: 7 days for one ticket, and a limit on the whole is recommended).
pub(super) const LIFE: u64 = 7 * 24 * 60 * 60;
/// Bytes of one user. An ordinary ticket has about a kibibyte, its chain three: room for some 500.
pub(super) const OF_A_USER: usize = 2 * 1024 * 1024;
/// Bytes of one store: one program that meets everybody leaves the user's others three quarters.
const OF_A_STORE: usize = OF_A_USER / 4;
/// Tickets of one slot. A server sends two to four with each session, and a browser's worth of connections at once
/// uses six; older ones are the first that the server forgets.
const IN_A_SLOT: usize = 8;
/// What a slot costs without a ticket: its keys, its anchor, its places in maps. It bounds their number, too:
/// 4,096 of a user.
const SLOT: usize = 512;
/// Between two looks at every ticket for those that are past their time, in seconds.
const SWEEP: u64 = 60 * 60;

/// Where a ticket lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The caller's name for the store.
    pub(super) store: Box<str>,
    /// What is checked.
    pub(super) print: [u8; 32],
    /// What rustls compares.
    pub(super) anchor: Arc<Anchor>,
    /// The store's.
    pub(super) figures: Arc<Figures>,
}

/// What became of a store's tickets, counted.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) offered: AtomicU64,
    pub(super) accepted: AtomicU64,
}

/// A ticket and what belongs to it.
pub(super) struct Kept<V> {
    pub(super) value: V,
    /// The certificates of the peer that it came from.
    pub(super) chain: Arc<[CertificateDer<'static>]>,
    /// When that peer was last met in a full handshake, in seconds since 1970.
    pub(super) since: u64,
    /// Bytes that it takes, about.
    pub(super) weight: usize,
}

/// All stores of one user.
pub(super) struct Shelf<V> {
    stores: Mutex<Stores<V>>,
    weight: AtomicU32,
}

struct Stores<V> {
    by_name: HashMap<Box<str>, Store<V>>,
    weight: usize,
    /// Counts the uses, to tell earlier from later.
    uses: u64,
    swept: u64,
}

struct Store<V> {
    slots: HashMap<[u8; 32], Slot<V>>,
    weight: usize,
    figures: Arc<Figures>,
}

struct Slot<V> {
    anchor: Arc<Anchor>,
    used: u64,
    kept: VecDeque<Kept<V>>,
    weight: usize,
}

impl<V> Shelf<V> {
    /// Bytes, about; for bounded stores of shelves.
    pub(super) fn weight(&self) -> u32 {
        self.weight.load(Ordering::Relaxed)
    }

    /// The place for sessions that check the same: all of them get the same anchor, so that each can use the
    /// others' tickets.
    pub(super) fn place(&self, store: &str, print: [u8; 32], now: u64) -> Place {
        let mut stores = self.lock();
        stores.sweep(now);
        stores.uses += 1;
        let used = stores.uses;
        let by_name = &mut stores.by_name;
        if !by_name.contains_key(store) {
            by_name.insert(store.into(), Store { slots: HashMap::new(), weight: 0, figures: Arc::default() });
        }
        let Some(named) = by_name.get_mut(store) else { unreachable!("it was inserted") };
        let mut grown = 0;
        let slot = named.slots.entry(print).or_insert_with(|| {
            grown = SLOT;
            Slot { anchor: Arc::new(Anchor), used, kept: VecDeque::new(), weight: SLOT }
        });
        slot.used = used;
        let (anchor, figures) = (Arc::clone(&slot.anchor), Arc::clone(&named.figures));
        named.weight += grown;
        stores.weight += grown;
        stores.shrink(store);
        self.note(&stores);
        Place { store: store.into(), print, anchor, figures }
    }

    /// Forgets all tickets of this store; sessions that are open have nowhere to put new ones. Whether it was there.
    pub(super) fn forget(&self, store: &str) -> bool {
        let mut stores = self.lock();
        let forgotten = stores.by_name.remove(store);
        stores.weight -= forgotten.as_ref().map_or(0, |store| store.weight);
        self.note(&stores);
        forgotten.is_some()
    }

    /// A line for people about each store, in the order of names.
    pub(super) fn summaries(&self) -> Vec<String> {
        let stores = self.lock();
        let line = |name: &str, store: &Store<V>| {
            let tickets: usize = store.slots.values().map(|slot| slot.kept.len()).sum();
            let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
            let (offered, accepted) = (of(&store.figures.offered), of(&store.figures.accepted));
            let bytes = store.weight;
            format!("store={name} tickets={tickets} bytes={bytes} offered={offered} accepted={accepted}")
        };
        let mut lines: Vec<String> = stores.by_name.iter().map(|(name, store)| line(name, store)).collect();
        lines.sort_unstable();
        lines
    }

    /// Lets `edit` change the tickets of a place, oldest first; `None` when it was pushed out in the meantime.
    pub(super) fn edit<T>(&self, place: &Place, edit: impl FnOnce(&mut VecDeque<Kept<V>>) -> T) -> Option<T> {
        let mut stores = self.lock();
        stores.uses += 1;
        let used = stores.uses;
        let store = stores.by_name.get_mut(&place.store)?;
        let slot =
            store.slots.get_mut(&place.print).filter(|slot| Arc::ptr_eq(&slot.anchor, &place.anchor))?;
        slot.used = used;
        let done = edit(&mut slot.kept);
        while slot.kept.len() > IN_A_SLOT {
            slot.kept.pop_front();
        }
        let (before, after) = (slot.weight, slot.weigh());
        slot.weight = after;
        store.weight = store.weight - before + after;
        stores.weight = stores.weight - before + after;
        stores.shrink(&place.store);
        self.note(&stores);
        Some(done)
    }

    fn note(&self, stores: &Stores<V>) {
        self.weight.store(u32::try_from(stores.weight).unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Stores<V>> {
        // A panic while it was held can only have left weights wrong, which are about right at best.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<V> Stores<V> {
    /// Makes room: in the store first that has too much, then wherever nothing was used for longest. What was
    /// used last always fits, since a slot is at most 8 tickets.
    fn shrink(&mut self, name: &str) {
        while self.by_name.get(name).is_some_and(|store| store.weight > OF_A_STORE) {
            let Some(store) = self.by_name.get(name) else { return };
            let Some(print) = store.oldest().map(|(_, print)| print) else { return };
            self.remove(name, print);
        }
        while self.weight > OF_A_USER {
            let oldest = self
                .by_name
                .iter()
                .filter_map(|(name, store)| store.oldest().map(|(used, print)| (used, name, print)));
            let Some((_, name, print)) = oldest.min_by_key(|(used, ..)| *used) else { return };
            let name = name.clone();
            self.remove(&name, print);
        }
    }

    fn remove(&mut self, name: &str, print: [u8; 32]) {
        let Some(store) = self.by_name.get_mut(name) else { return };
        let Some(slot) = store.slots.remove(&print) else { return };
        store.weight -= slot.weight;
        self.weight -= slot.weight;
        if store.slots.is_empty() {
            self.by_name.remove(name);
        }
    }

    /// Forgets what is past its time, so that no secret waits for somebody to come by.
    fn sweep(&mut self, now: u64) {
        // A clock that was set back does not stop the looking.
        if (self.swept..self.swept.saturating_add(SWEEP)).contains(&now) {
            return;
        }
        self.swept = now;
        self.weight = 0;
        for store in self.by_name.values_mut() {
            store.weight = 0;
            for slot in store.slots.values_mut() {
                slot.kept.retain(|kept| is_good(kept.since, now));
                slot.weight = slot.weigh();
            }
            store.slots.retain(|_, slot| !slot.kept.is_empty());
            store.weight = store.slots.values().map(|slot| slot.weight).sum();
            self.weight += store.weight;
        }
        self.by_name.retain(|_, store| !store.slots.is_empty());
    }
}

impl<V> Store<V> {
    fn oldest(&self) -> Option<(u64, [u8; 32])> {
        self.slots.iter().map(|(print, slot)| (slot.used, *print)).min()
    }
}

impl<V> Slot<V> {
    fn weigh(&self) -> usize {
        SLOT + self.kept.iter().map(|kept| kept.weight).sum::<usize>()
    }
}

/// Whether tickets of this full handshake may still be used.
pub(super) fn is_good(since: u64, now: u64) -> bool {
    // A clock that was set back makes a ticket look new: its issuer counts for itself.
    now < since.saturating_add(LIFE)
}

impl<V> Default for Shelf<V> {
    fn default() -> Self {
        let stores = Stores { by_name: HashMap::new(), weight: 0, uses: 0, swept: 0 };
        Self { stores: Mutex::new(stores), weight: AtomicU32::new(0) }
    }
}

/// Names and numbers: no ticket.
impl<V> std::fmt::Debug for Shelf<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shelf").field("weight", &self.weight()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
