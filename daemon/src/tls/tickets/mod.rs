//! Client tickets, remembered for callers that ask for it (`resume=NAME`, or a file or directory that stands for a store),
//! and for nobody else.
//!
//! ```text
//!  Tickets ── by uid ──▶ Shelf ── by store name ──▶ by fingerprint ──▶ Slot: anchor, tickets
//!     │                    ▲                        (all that is checked)      │
//!     └─ TicketStore ──▶ Resuming ── rustls' ClientSessionStore ───────────────┘
//!                          └─ checks a remembered chain before it is offered, and again what rustls resumed
//! ```
//!
//! A ticket stands for checks that were done once, so it is found only by a session that would do the same
//! ones: names, server_name, trust by content, pins, our own certificate, versions, suites, groups, schemes,
//! ALPN. That alone would let a certificate outlive its dates. So the chain that came with a ticket is
//! checked again, as in a full handshake, before the ticket is offered: if it does not pass any more, the
//! ticket is forgotten, and the handshake is a full one, which says what is wrong with the certificate of
//! today or finds that it was renewed.
//!
//! What this folder does not do: it keeps nothing on disk (rustls 0.23 has no form of a ticket that could be
//! written), it remembers no key-exchange group (an attacker could set it before the handshake is verified),
//! and early data stays off.

mod anchor;
mod fingerprint;
mod resuming;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use moka::policy::EvictionPolicy;
use moka::sync::Cache;

pub(super) use fingerprint::Fingerprint;
pub use resuming::Resuming;
use resuming::Value;
use shelf::Shelf;

/// Tickets of all users, in bytes: 32 users with as much as one may have. More would let users fill the
/// daemon's memory with tickets; with less, users would push each other's out.
const TOTAL: u64 = 32 * shelf::OF_A_USER as u64;
/// A user counts for at least this much, which bounds their number to 16,384.
const USER: u32 = 4 * 1024;
/// A user who has not come by for so long has no ticket that is still good. moka counts this by a clock of its own:
/// nothing depends on it but memory, and whether a ticket is good is asked of rustls' time provider.
const IDLE: Duration = Duration::from_secs(shelf::LIFE);

/// The tickets of all users. Cheap to clone; clones are the same.
#[derive(Clone, Debug)]
pub struct Tickets(Cache<u32, Arc<Shelf<Value>>>);

/// One user's store of a name, which need not have anything in it yet.
#[derive(Clone, Debug)]
pub struct TicketStore {
    tickets: Tickets,
    uid: u32,
    name: Box<str>,
}

impl Tickets {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        let cache = Cache::builder()
            .max_capacity(TOTAL)
            .weigher(|_, shelf: &Arc<Shelf<Value>>| shelf.weight().max(USER))
            // Who came last stays: how often somebody came by says nothing about a ticket.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_idle(IDLE);
        Self(cache.build())
    }

    /// The store of this name that belongs to this user. `uid` is the kernel's word, never a caller's.
    #[must_use]
    pub fn store(&self, uid: u32, name: &str) -> TicketStore {
        TicketStore { tickets: self.clone(), uid, name: name.into() }
    }

    /// Forgets the tickets of this store. Whether there was one.
    pub fn forget(&self, uid: u32, name: &str) -> bool {
        let Some(shelf) = self.0.get(&uid) else { return false };
        let was_there = shelf.forget(name);
        self.weigh(uid, &shelf);
        was_there
    }

    /// A line for each store, of one user or of all.
    #[must_use]
    pub fn inventory(&self, uid: Option<u32>) -> String {
        let users = self.0.iter().filter(|(owner, _)| uid.is_none_or(|uid| uid == **owner));
        let lines = users.flat_map(|(owner, shelf)| {
            shelf.summaries().into_iter().map(move |line| format!("uid={owner} role=client {line}\n"))
        });
        lines.collect()
    }

    fn shelf(&self, uid: u32) -> Arc<Shelf<Value>> {
        self.0.get_with(uid, || Arc::new(Shelf::default()))
    }

    /// Weighs a shelf that has changed, unless it was pushed out in the meantime.
    fn weigh(&self, uid: u32, shelf: &Arc<Shelf<Value>>) {
        if self.0.get(&uid).is_some_and(|known| Arc::ptr_eq(&known, shelf)) {
            self.0.insert(uid, Arc::clone(shelf));
        }
    }
}

impl Default for Tickets {
    fn default() -> Self {
        Self::new()
    }
}
