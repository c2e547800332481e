//! Sessions of a profile with a cache: it is looked into before the session starts, and given what the session leaves.
//!
//! ```text
//!  ClientHello is whole (before) ─▶ look_into_cache ─▶ dispatch ─▶ adopt ─▶ … ─▶ Established ─▶ leave_in_cache
//!                                        │ at most its deadline                                    │ nobody waits
//!                                        ▼                                                         ▼
//!                                   CacheClient of this worker                        CacheClient of that one
//! ```
//!
//! Whatever the cache does, the session goes on: with what was found, or with a full handshake.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

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
        let client = CacheClient::new(Arc::clone(cache), Arc::clone(&worker.shared.outside));
        clients.push(client.clone());
        client
    }
}

impl Worker {
    /// Looks for what this client would resume, within `limit`. `None` for a session that cannot.
    pub(super) async fn look_into_cache(
        &self,
        cache: &Arc<Cache>,
        profile: &Profile,
        resume: Option<&Store>,
        hello: &ClientHello,
        limit: Duration,
    ) -> Option<Arc<Cached>> {
        let (Profile::Server(profile), Some(Store::Keys(store))) = (profile, resume) else { return None };
        let cached = profile.cached(store, hello)?;
        let names = cached.names();
        if names.is_empty() {
            return Some(cached);
        }
        let event = match self.caches.client(cache, self).look_up(names, cached.once(), limit).await {
            Found::Value(value) => {
                // It counts for itself.
                cached.found(&value);
                return Some(cached);
            }
            Found::Absent => CacheEvent::Miss,
            Found::Late => CacheEvent::Timeout,
            Found::Broken => CacheEvent::Error,
            Found::Skipped => CacheEvent::Skipped,
        };
        cached.figures().count(event);
        Some(cached)
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
