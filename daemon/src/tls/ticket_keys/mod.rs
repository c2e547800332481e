//! Server tickets, for callers that ask for it (`resume=NAME`), and for nobody else.
//!
//! ```text
//!  TicketKeys ── by uid ──▶ Bunch ── by store name ──▶ Ring: the newest key seals, the two before it open
//!      │                                                ▲
//!      └─ KeyStore ──▶ Issuer (one session) ── rustls' ProducesTickets
//!                        └─ adds what the session checks, and since when
//! ```
//!
//! A ticket is the session's state, sealed, and the client keeps it: the daemon remembers nothing of a session, only
//! the keys. A key is one store's, so a ticket opens in no other store of this or another user. What the profile
//! is made of goes in as associated data: identities with their names, versions, suites, groups, schemes, ALPN. A
//! profile that differs in any of them cannot open the ticket, and one that says the same can, as after a reload.
//! Whatever does not open costs the client a full handshake and never its session.
//!
//! A store can be a file of the caller's ([`KeyFile`]), for keys that outlive the daemon or belong to several machines.
//!
//! Where clients are asked for certificates, what they are checked against is part of what is bound, and the ticket says
//! until when the certificates are good that were shown: past that time it does not open. What a ticket brings is checked
//! again all the same, before the session opens ([`Returning`]): rustls asks nobody.
//!
//! With a cache of the operator's, the client holds a short id and the cache the state, sealed with the same keys:
//! [`Cached`].
//!
//! What this folder does not do: it reads and writes no file, it asks no cache, and early data stays off.

mod bunch;
mod cached;
mod file;
mod issuer;
mod returning;
mod ring;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use bunch::Bunch;
pub use cached::{CacheEntry, CacheEvent, CacheFigures, Cached, Sought};
pub use file::{KeyFile, KeyFileError, MAX_KEY_FILE};
pub(super) use issuer::Issuer;
pub use returning::Returning;
pub use ring::Stamp;
use ring::{ACCEPTED, Ring};

/// Stores of all users. One takes about 2 KiB, so these take 16 MiB; 128 users with as many as one may have.
const TOTAL: u64 = 128 * bunch::OF_A_USER as u64;
/// Whoever has not come by for so long has no ticket out there that still opens. moka counts this by a clock of its own:
/// nothing depends on it but memory.
const IDLE: Duration = Duration::from_secs(ACCEPTED);

/// The ticket keys of all users' stores. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct TicketKeys(Cache<u32, Arc<Bunch>>);

/// The keys of one store of one user. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct KeyStore(Arc<Ring>);

impl TicketKeys {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(TOTAL)
            .weigher(|_, bunch: &Arc<Bunch>| bunch.count())
            // Who came last stays, as with client tickets.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE);
        Self(cache.build())
    }

    /// The store of this name that belongs to this user. `uid` is the kernel's word, never a caller's. Its keys are
    /// made when a session first needs one. A store that is a file or directory has a name with colons, which no caller
    /// can say.
    #[must_use]
    pub fn store(&self, uid: u32, name: &str) -> KeyStore {
        let bunch = self.0.get_with(uid, || Arc::new(Bunch::default()));
        let before = bunch.count();
        let ring = bunch.ring(name);
        if bunch.count() != before {
            // Weighed again.
            self.0.insert(uid, bunch);
        }
        KeyStore(ring)
    }
}

impl TicketKeys {
    /// Forgets the keys of this store: its tickets open no more. Whether there were any.
    pub fn forget(&self, uid: u32, name: &str) -> bool {
        let Some(bunch) = self.0.get(&uid) else { return false };
        let was_there = bunch.forget(name);
        self.0.insert(uid, bunch);
        was_there
    }

    /// A line for each store, of one user or of all.
    #[must_use]
    pub fn inventory(&self, uid: Option<u32>) -> String {
        let users = self.0.iter().filter(|(owner, _)| uid.is_none_or(|uid| uid == **owner));
        let lines = users.flat_map(|(owner, bunch)| {
            let line = move |(name, ring): (Box<str>, Arc<Ring>)| {
                format!("uid={owner} role=server store={name} {}\n", ring.summary())
            };
            bunch.list().into_iter().map(line)
        });
        lines.collect()
    }
}

impl KeyStore {
    /// A session resumed with one of its tickets.
    pub fn note_accepted(&self) {
        self.0.accepted();
    }

    /// Whether its keys are those of a file that was read.
    #[must_use]
    pub fn is_loaded(&self) -> bool {
        self.0.is_loaded()
    }

    /// Whether the file that was seen as `stamp` need not be read now; `now` in seconds since 1970.
    #[must_use]
    pub fn is_current(&self, stamp: Stamp, now: u64, writable: bool) -> bool {
        self.0.is_current(stamp, now, writable)
    }

    /// One at a time reads and writes the file of a store.
    pub fn loading(&self) -> MutexGuard<'_, ()> {
        self.0.loading()
    }

    /// Goes on with the keys of a file, which was seen as `stamp` after they were read or written.
    pub fn adopt(&self, file: &KeyFile, stamp: Stamp) {
        self.0.adopt(file, stamp);
    }
}

/// What a server's session resumes with.
#[derive(Clone, Debug)]
pub enum ServerResumption {
    /// Tickets that its clients hold.
    Tickets(KeyStore),
    /// What a cache holds.
    Cached(Arc<Cached>),
}

impl ServerResumption {
    /// A session resumed with it.
    pub fn note_accepted(&self) {
        match self {
            Self::Tickets(store) => store.note_accepted(),
            Self::Cached(cached) => cached.note_accepted(),
        }
    }
}

impl Default for TicketKeys {
    fn default() -> Self {
        Self::new()
    }
}
