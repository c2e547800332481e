//! Sessions that are kept in a cache of the operator's: what is said to it, and what is believed of it.
//!
//! ```text
//!  ClientHello ─▶ Sought ─▶ Cached::names ──▶ (cache) ──▶ Cached::found ─▶ rustls' StoresServerSessions: get, take
//!                                             (cache) ◀── Cached::take_puts ◀─ put
//! ```
//!
//! rustls asks a store in the middle of a handshake and waits for it; a cache is asked before the handshake begins, and
//! this is the store of that one session: it holds what was found, and collects what is to be put away.
//!
//! What the cache sees of an entry:
//! - its name: HMAC-SHA256, with a key that comes of the store's, of the session's id, its version and the profile. Nobody
//!   who has not this store's keys can make it, and nobody who sees ids on the network can find it;
//! - its value: sealed as a ticket is, with the same three as associated data. A value that is another session's, another
//!   version's, another profile's, or somebody else's does not open;
//! - when it was put there and about how long it is; and when it is taken.
//!
//! Keys rotate, so an entry has the name of one of three keys: all that still open are asked for.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::server::StoresServerSessions;
use rustls::time_provider::TimeProvider;
use zeroize::Zeroizing;

use super::super::tickets::Fingerprint;
use super::KeyStore;
use super::ring::{LIFE, LIFETIME, Ring};
use crate::tls::{ClientHello, Version};

/// Both ids that rustls makes, session ids of TLS 1.2 and tickets of TLS 1.3, have so many bytes: what is longer or
/// shorter was never ours, and no cache is asked for it.
const ID: usize = 32;
/// RFC 9846 section 4.2.1.
const TLS13: u16 = 0x0304;

/// What a ClientHello asks to resume, as far as a cache could have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// The version that the session will have, by what the client and the profile say.
    version: Version,
    id: Option<[u8; ID]>,
}

/// What one session finds in a cache, and leaves there.
pub struct Cached {
    ring: Arc<Ring>,
    print: [u8; 32],
    time: Arc<dyn TimeProvider>,
    sought: Sought,
    /// The state of the session that was sought, until it is taken.
    found: Mutex<Option<Zeroizing<Vec<u8>>>>,
    /// When the client last did a full handshake, in seconds since 1970; 0: in this session.
    since: AtomicU64,
    puts: Mutex<Vec<CacheEntry>>,
}

/// A value on its way to a cache.
#[derive(Clone, PartialEq, Eq)]
pub struct CacheEntry {
    /// 71 bytes of `a` to `z`, `0` to `9` and `:`.
    pub name: String,
    /// Sealed.
    pub value: Vec<u8>,
    /// For how many seconds it is good.
    pub life: u32,
}

/// What became of look-ups and of what was put away, for `status`.
#[derive(Debug, Default)]
pub struct CacheFigures {
    hits: AtomicU64,
    misses: AtomicU64,
    timeouts: AtomicU64,
    errors: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    kept: AtomicU64,
    dropped: AtomicU64,
}

/// What became of one look-up, or one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheEvent {
    /// It was there, and is good.
    Hit,
    /// It was not there.
    Miss,
    /// No answer before the deadline.
    Timeout,
    /// The cache refused, broke off, or could not be reached.
    Error,
    /// It was not asked: it is away, or does not answer.
    Skipped,
    /// What it gave is not what was put there, or too old.
    Refused,
    /// An entry is there.
    Kept,
    /// An entry is not.
    Dropped,
}

impl Sought {
    /// What a client that says this would resume with a server whose least and greatest versions these are.
    #[must_use]
    pub fn new(hello: &ClientHello, least: Version, greatest: Version) -> Self {
        // A server takes TLS 1.3 whenever the client knows it; the session id says nothing then (RFC 9846 section
        // 4.1.2), and a ticket of TLS 1.2 comes instead of one (RFC 5077 section 3.4).
        let offered = hello.versions.contains(&TLS13);
        let thirteen = offered && greatest == Version::Tls13 || least == Version::Tls13;
        let has_ticket = hello.session_ticket.as_ref().is_some_and(|ticket| !ticket.is_empty());
        let (version, id) = if thirteen {
            // Each would be used up by asking. The first that could be ours is the one that clients mean.
            (
                Version::Tls13,
                hello.psk_identities.iter().find_map(|identity| identity.as_slice().try_into().ok()),
            )
        } else {
            (Version::Tls12, hello.session_id.as_slice().try_into().ok().filter(|_| !has_ticket))
        };
        Self { version, id }
    }
}

impl Cached {
    /// For one session of this profile, with the keys of this store.
    pub(in crate::tls) fn new(
        store: &KeyStore,
        print: [u8; 32],
        time: Arc<dyn TimeProvider>,
        sought: Sought,
    ) -> Self {
        let ring = Arc::clone(&store.0);
        let since = AtomicU64::new(0);
        Self { ring, print, time, sought, found: Mutex::default(), since, puts: Mutex::default() }
    }

    /// What to ask the cache for: nothing, or the names that the entry may have, the likeliest first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let (Some(id), Some(now)) = (&self.sought.id, self.now()) else { return Vec::new() };
        let names: Vec<String> = self.ring.names(now, &self.bound_to(id)).into_iter().map(spell).collect();
        if !names.is_empty() {
            self.ring.offered();
        }
        names
    }

    /// Whether the entry is for one session, and has to be deleted in the cache before it is believed.
    #[must_use]
    pub fn once(&self) -> bool {
        self.sought.version == Version::Tls13
    }

    /// What the cache gave. Whether it is good.
    pub fn found(&self, value: &[u8]) -> bool {
        let (Some(id), Some(now)) = (&self.sought.id, self.now()) else { return false };
        let Some(opened) = self.ring.open_entry(&self.bound_to(id), now, value) else { return false };
        self.since.store(opened.since, Ordering::Relaxed);
        *lock(&self.found) = Some(Zeroizing::new(opened.state));
        true
    }

    /// What is to be put away now.
    pub fn take_puts(&self) -> Vec<CacheEntry> {
        std::mem::take(&mut lock(&self.puts))
    }

    /// Where to count what becomes of it.
    #[must_use]
    pub fn figures(&self) -> &Arc<CacheFigures> {
        self.ring.cache()
    }

    /// A session resumed with what was found.
    pub fn note_accepted(&self) {
        self.ring.accepted();
    }

    fn entry(&self, id: &[u8], state: &[u8]) -> Option<CacheEntry> {
        let now = self.now()?;
        let since = match self.since.load(Ordering::Relaxed) {
            0 => now,
            since => since,
        };
        let life = since.saturating_add(LIFE).saturating_sub(now).min(LIFETIME);
        let bound_to = self.bound_to(id);
        let value = self.ring.seal(&bound_to, now, since, state)?;
        // The key that has just sealed.
        let name = spell(*self.ring.names(now, &bound_to).first()?);
        let life = u32::try_from(life).ok().filter(|life| *life > 0)?;
        Some(CacheEntry { name, value, life })
    }

    /// What an entry is bound to, beside the store's key.
    fn bound_to(&self, id: &[u8]) -> [u8; 32] {
        let mut print = Fingerprint::new();
        let version = match self.sought.version {
            Version::Tls12 => b"1.2",
            Version::Tls13 => b"1.3",
        };
        print.field(b"tlsify cache entry 1").field(version).field(&self.print).field(id);
        print.finish()
    }

    fn now(&self) -> Option<u64> {
        self.time.current_time().map(|now| now.as_secs())
    }

    fn look(&self, id: &[u8], take: bool) -> Option<Vec<u8>> {
        if self.sought.id.as_ref().is_none_or(|sought| sought != id) {
            return None;
        }
        let mut found = lock(&self.found);
        let state = found.as_ref().map(|state| state.to_vec());
        if take {
            *found = None;
        }
        state
    }
}

impl StoresServerSessions for Cached {
    fn put(&self, id: Vec<u8>, state: Vec<u8>) -> bool {
        let state = Zeroizing::new(state);
        let Some(entry) = self.entry(&id, &state) else { return false };
        lock(&self.puts).push(entry);
        true
    }

    fn get(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.look(id, false)
    }

    fn take(&self, id: &[u8]) -> Option<Vec<u8>> {
        self.look(id, true)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

impl CacheFigures {
    /// Counts one.
    pub fn count(&self, event: CacheEvent) {
        self.figure(event).fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    #[cfg(test)]
    pub(crate) fn count_of(&self, event: CacheEvent) -> u64 {
        self.figure(event).load(Ordering::Relaxed)
    }

    fn figure(&self, event: CacheEvent) -> &AtomicU64 {
        match event {
            CacheEvent::Hit => &self.hits,
            CacheEvent::Miss => &self.misses,
            CacheEvent::Timeout => &self.timeouts,
            CacheEvent::Error => &self.errors,
            CacheEvent::Skipped => &self.skipped,
            CacheEvent::Refused => &self.refused,
            CacheEvent::Kept => &self.kept,
            CacheEvent::Dropped => &self.dropped,
        }
    }

    /// For people; empty for a store that no cache has been used for.
    pub(super) fn summary(&self) -> String {
        let figures = [
            ("hits", &self.hits),
            ("misses", &self.misses),
            ("timeouts", &self.timeouts),
            ("errors", &self.errors),
            ("skipped", &self.skipped),
            ("refused", &self.refused),
            ("kept", &self.kept),
            ("dropped", &self.dropped),
        ]
        .map(|(name, figure)| (name, figure.load(Ordering::Relaxed)));
        if figures.iter().all(|(_, count)| *count == 0) {
            return String::new();
        }
        figures.iter().map(|(name, count)| format!(" cache-{name}={count}")).collect()
    }
}

/// A name that any cache takes, and that tells people whose it is.
fn spell(name: [u8; 32]) -> String {
    name.iter().fold(String::from("tlsify:"), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
        }
        text
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while it was held leaves whole values.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No state, no key, no id.
impl fmt::Debug for Cached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("version", &self.sought.version).finish_non_exhaustive()
    }
}

/// A length.
impl fmt::Debug for CacheEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.value.len();
        f.debug_struct("CacheEntry")
            .field("length", &length)
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "cached_tests.rs"]
mod tests;
