//! Sessions of a profile with a cache: it is looked into before the session starts, and given what the session leaves.
//!
//! ```text
//!  ClientHello is whole ─▶ look_into_cache ─▶ dispatch ─▶ adopt ─▶ … ─▶ Established ─▶ leave_in_cache
//!                             │ at most its deadline                        │ sent off, and nobody waits
//!                             ▼                                             ▼
//!                          CacheClient of this worker  ────────────────  CacheClient of that one
//! ```
//!
//! Whatever the cache does, the session goes on: with what was found, or with a full handshake.

use std::cell::RefCell;
use std::sync::Arc;

use super::handoff::{Opening, Store};
use super::operator::Profile;
use super::worker::Worker;
use crate::io::{Cache, CacheClient, CachePut, Found};
use crate::tls::{CacheEvent, Cached, ClientHello};

/// A worker's clients, one for each cache that it has met.
#[derive(Default)]
pub(super) struct Caches(RefCell<Vec<CacheClient>>);

impl Caches {
    fn client(&self, cache: &Arc<Cache>, worker: &Worker) -> CacheClient {
        let clients = &mut *self.0.borrow_mut();
        if let Some(known) = clients.iter().find(|client| Arc::ptr_eq(client.cache(), cache)) {
            return known.clone();
        }
        // Those of before a reload, among others: one at rest is made again if it is wanted.
        clients.retain(|client| !client.is_at_rest());
        let client = CacheClient::new(Arc::clone(cache), Arc::clone(&worker.shared.resolver));
        clients.push(client.clone());
        client
    }
}

impl Worker {
    /// Looks for what this client would resume, for a session whose profile has a cache.
    pub(super) async fn look_into_cache(&self, opening: &mut Opening, hello: &ClientHello) {
        let (Some(cache), Profile::Server(profile), Some(Store::Keys(store))) =
            (&opening.cache, &opening.profile, &opening.resume)
        else {
            return;
        };
        let Some(cached) = profile.cached(store, hello) else { return };
        let names = cached.names();
        if !names.is_empty() {
            let found = self.caches.client(cache, self).look_up(names, cached.once()).await;
            let event = match found {
                // It counts for itself.
                Found::Value(value) => {
                    cached.found(&value);
                    None
                }
                Found::Absent => Some(CacheEvent::Miss),
                Found::Late => Some(CacheEvent::Timeout),
                Found::Broken => Some(CacheEvent::Error),
                Found::Skipped => Some(CacheEvent::Skipped),
            };
            event.into_iter().for_each(|event| cached.figures().count(event));
        }
        opening.cached = Some(cached);
    }

    /// Sends off what a session leaves that has just opened.
    pub(super) fn leave_in_cache(&self, (cache, cached): (Arc<Cache>, Arc<Cached>)) {
        let entries = cached.take_puts();
        if entries.is_empty() {
            return;
        }
        let client = self.caches.client(&cache, self);
        for entry in entries {
            client.put(CachePut { entry, figures: Arc::clone(cached.figures()) });
        }
    }
}

impl Opening {
    /// Where the session leaves something, if it does.
    pub(super) fn leaves(&self) -> Option<(Arc<Cache>, Arc<Cached>)> {
        self.cache.clone().zip(self.cached.clone())
    }
}
