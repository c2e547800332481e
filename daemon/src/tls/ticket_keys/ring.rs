//! The keys of one store: one seals, two older ones still open.
//!
//! ```text
//!  time        0 h      6 h      12 h     18 h     24 h
//!  key A       seals    opens    opens    gone
//!  key B                seals    opens    opens    gone
//!  a ticket             |issued ──── 12 h ──▶ refused
//! ```
//!
//! A ticket, in bytes: which key (8), nonce (12), sealed (the session's state, when the ticket was issued (8), when the
//! client last did a full handshake (8)), tag (16). AES-256-GCM-SIV (RFC 8452) with random nonces: should a nonce ever
//! come twice, it tells whether two tickets are the same and nothing else, so no count of tickets bounds a key.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use zeroize::Zeroize;

use super::cached::{CacheEvent, CacheFigures};
use super::file::{FileKey, KeyFile};

/// Seconds that a key seals.
pub(super) const SEALS: u64 = 6 * 60 * 60;
/// Keys that still open when another seals.
pub(super) const OLDER: usize = 2;
/// Seconds that a clock may be behind the one that began a key: of another machine, or our own after it was set.
const SKEW: u64 = 5 * 60;
/// Seconds from a key's beginning to its end.
pub(super) const ACCEPTED: u64 = SEALS * (1 + OLDER as u64);
/// Seconds that a ticket is good for: as long as every ticket's key is there, those that were sealed last, too.
pub(super) const LIFETIME: u64 = SEALS * OLDER as u64;
/// Seconds from a full handshake to the end of every ticket that comes of it, also of those that resumed sessions got
/// (RFC 9846 section 4.6.1 recommends a limit on the whole): as long as a client's of ours.
pub(super) const LIFE: u64 = 7 * 24 * 60 * 60;

pub(super) const ID: usize = 8;
const NONCE: usize = 12;
const TAG: usize = 16;
/// Behind the session's state: two times.
const TIMES: usize = 16;

/// The keys of one store. Those in memory are made and replaced when somebody comes by and it is time; those of a file
/// when a request brings it. No session waits for either.
pub(super) struct Ring {
    keys: ArcSwap<Keys>,
    /// Held while a file is read and written: requests of one open file description cannot lock each other out of it.
    loading: Mutex<()>,
    figures: Figures,
    /// Shared with what is on its way to a cache.
    cache: Arc<CacheFigures>,
}

/// What became of tickets, counted.
#[derive(Default)]
struct Figures {
    issued: AtomicU64,
    offered: AtomicU64,
    accepted: AtomicU64,
    unknown_key: AtomicU64,
    other_profile: AtomicU64,
    too_old: AtomicU64,
}

#[derive(Default)]
struct Keys {
    /// Newest first.
    list: Vec<Arc<Key>>,
    /// As which the file was seen last, for keys that are a file's.
    stamp: Option<Stamp>,
}

/// A state of a file: as long as it stays, so does what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub changed: i128,
}

struct Key {
    /// Random, and in the clear: it says nothing but which tickets were sealed with the same key.
    id: [u8; ID],
    aead: RandomizedNonceKey,
    /// Makes the names of entries in a cache.
    names: hmac::Key,
    /// In seconds since 1970.
    began: u64,
}

/// What was in a ticket.
pub(super) struct Opened {
    /// The session's, for rustls.
    pub(super) state: Vec<u8>,
    /// When the client last did a full handshake, in seconds since 1970.
    pub(super) since: u64,
}

/// Why something does not open.
enum Shut {
    Short,
    UnknownKey,
    /// Another profile's, or damaged.
    Other,
    TooOld,
}

impl Ring {
    /// Makes a ticket at the time `now` for sessions that check what `print` stands for. `None` without randomness.
    pub(super) fn seal(&self, print: &[u8; 32], now: u64, since: u64, state: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys(now);
        let key = keys.list.first().filter(|key| key.seals(now))?;
        let mut ticket = Vec::with_capacity(ID + NONCE + state.len() + TIMES + TAG);
        ticket.extend_from_slice(&key.id);
        ticket.extend_from_slice(&[0; NONCE]);
        ticket.extend_from_slice(state);
        ticket.extend_from_slice(&now.to_be_bytes());
        ticket.extend_from_slice(&since.to_be_bytes());
        let sealed = key.aead.seal_in_place_separate_tag(Aad::from(print), &mut ticket[ID + NONCE..]);
        let Ok((nonce, tag)) = sealed else {
            ticket.zeroize();
            return None;
        };
        ticket[ID..ID + NONCE].copy_from_slice(nonce.as_ref());
        ticket.extend_from_slice(tag.as_ref());
        count(&self.figures.issued);
        Some(ticket)
    }

    /// Opens a ticket that was sealed here, for the same print, and is still good at the time `now`.
    pub(super) fn open(&self, print: &[u8; 32], now: u64, ticket: &[u8]) -> Option<Opened> {
        count(&self.figures.offered);
        match self.unseal(print, now, ticket) {
            Ok(opened) => Some(opened),
            Err(why) => {
                match why {
                    Shut::Short => {}
                    Shut::UnknownKey => count(&self.figures.unknown_key),
                    Shut::Other => count(&self.figures.other_profile),
                    Shut::TooOld => count(&self.figures.too_old),
                }
                None
            }
        }
    }

    /// The same for an entry of a cache.
    pub(super) fn open_entry(&self, print: &[u8; 32], now: u64, entry: &[u8]) -> Option<Opened> {
        let opened = self.unseal(print, now, entry).ok();
        self.cache.count(if opened.is_some() { CacheEvent::Hit } else { CacheEvent::Refused });
        opened
    }

    fn unseal(&self, print: &[u8; 32], now: u64, sealed: &[u8]) -> Result<Opened, Shut> {
        let (id, rest) = sealed.split_first_chunk::<ID>().ok_or(Shut::Short)?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(Shut::Short)?;
        let keys = self.keys(now);
        let key = keys.list.iter().find(|key| key.id == *id && key.opens(now)).ok_or(Shut::UnknownKey)?;
        let mut state = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = key.aead.open_in_place(nonce, Aad::from(print), &mut state).map_err(|_| Shut::Other)?;
        let length = plain.len();
        state.truncate(length);
        let times = state.split_off(length.checked_sub(TIMES).ok_or(Shut::Short)?);
        let (issued, since) = times.split_first_chunk::<8>().ok_or(Shut::Short)?;
        let issued = u64::from_be_bytes(*issued);
        let since = u64::from_be_bytes(since.try_into().map_err(|_| Shut::Short)?);
        // A clock that was set back makes a ticket look new: its key counts for itself.
        let good = now < issued.saturating_add(LIFETIME) && now < since.saturating_add(LIFE);
        if good { Ok(Opened { state, since }) } else { Err(Shut::TooOld) }
    }

    /// The names that the entry for this print has in a cache, one for each key that may have sealed it, the newest
    /// first. Without the key, a name says nothing and cannot be made.
    pub(super) fn names(&self, now: u64, print: &[u8; 32]) -> Vec<[u8; 32]> {
        let name = |key: &Arc<Key>| {
            let mut name = [0; 32];
            name.copy_from_slice(hmac::sign(&key.names, print).as_ref());
            name
        };
        self.keys(now).list.iter().filter(|key| key.opens(now)).map(name).collect()
    }

    /// The keys as they are at the time `now`. Without randomness those of before stay.
    fn keys(&self, now: u64) -> arc_swap::Guard<Arc<Keys>> {
        let keys = self.keys.load();
        // What is a file's is not made up here.
        if keys.stamp.is_some() || keys.list.first().is_some_and(|key| key.seals(now)) {
            return keys;
        }
        let Some(fresh) = FileKey::new(now).and_then(|key| Key::new(&key)) else { return keys };
        let older = keys.list.iter().filter(|key| key.opens(now)).take(OLDER).cloned();
        let list = std::iter::once(Arc::new(fresh)).chain(older).collect();
        // Of several that come by at once, one key is everybody's.
        drop(self.keys.compare_and_swap(&keys, Arc::new(Keys { list, stamp: None })));
        self.keys.load()
    }

    /// Whether the file that was seen as `stamp` need not be read now: it is the one that is known, and there is a key
    /// to seal with, or none can be written.
    pub(super) fn is_current(&self, stamp: Stamp, now: u64, writable: bool) -> bool {
        let keys = self.keys.load();
        let seals = || keys.list.first().is_some_and(|key| key.seals(now));
        keys.stamp == Some(stamp) && (!writable || seals())
    }

    /// Goes on with the keys of a file.
    pub(super) fn adopt(&self, file: &KeyFile, stamp: Stamp) {
        let list = file.keys.iter().filter_map(Key::new).map(Arc::new).collect();
        self.keys.store(Arc::new(Keys { list, stamp: Some(stamp) }));
    }

    /// A cache is asked for a session.
    pub(super) fn offered(&self) {
        count(&self.figures.offered);
    }

    /// What became of entries in a cache.
    pub(super) fn cache(&self) -> &Arc<CacheFigures> {
        &self.cache
    }

    /// A session resumed.
    pub(super) fn accepted(&self) {
        count(&self.figures.accepted);
    }

    /// For people: what is here, and what became of tickets.
    pub(super) fn summary(&self) -> String {
        let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
        let figures = &self.figures;
        format!(
            "keys={} issued={} offered={} accepted={} unknown-key={} other-profile={} too-old={}{}",
            self.keys.load().list.len(),
            of(&figures.issued),
            of(&figures.offered),
            of(&figures.accepted),
            of(&figures.unknown_key),
            of(&figures.other_profile),
            of(&figures.too_old),
            self.cache.summary(),
        )
    }

    pub(super) fn loading(&self) -> MutexGuard<'_, ()> {
        self.loading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the keys are a file's.
    pub(super) fn is_loaded(&self) -> bool {
        self.keys.load().stamp.is_some()
    }

    /// A ticket opened, and a certificate that it stands for is past its end.
    pub(super) fn outlived(&self) {
        count(&self.figures.too_old);
    }
}

impl Key {
    fn new(key: &FileKey) -> Option<Self> {
        // AWS-LC wipes its own copy when the key goes.
        let aead = RandomizedNonceKey::new(&AES_256_GCM_SIV, &*key.secret).ok()?;
        // A key for one purpose: this one is for names, whatever the other does.
        let names = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*key.secret), b"tlsify cache names 1");
        let names = hmac::Key::new(hmac::HMAC_SHA256, names.as_ref());
        Some(Self { id: key.id, aead, names, began: key.began })
    }

    fn seals(&self, now: u64) -> bool {
        seals(self.began, now)
    }

    fn opens(&self, now: u64) -> bool {
        opens(self.began, now)
    }
}

fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

/// Whether it is a key's time. A clock that was set back by more than a little gets a new key: none seals for longer
/// than it should.
pub(super) fn seals(began: u64, now: u64) -> bool {
    (began.saturating_sub(SKEW)..began.saturating_add(SEALS)).contains(&now)
}

pub(super) fn opens(began: u64, now: u64) -> bool {
    now < began.saturating_add(ACCEPTED)
}

impl Default for Ring {
    fn default() -> Self {
        let keys = ArcSwap::from_pointee(Keys::default());
        Self { keys, loading: Mutex::new(()), figures: Figures::default(), cache: Arc::default() }
    }
}

/// A number: no key.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("keys", &self.keys.load().list.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;
