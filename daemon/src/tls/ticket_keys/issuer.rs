//! One session's tickets: those that its client shows, and those that it gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use super::KeyStore;
use super::ring::{LIFE, LIFETIME, Ring};

/// Opens and seals for one session.
pub(in crate::tls) struct Issuer {
    ring: Arc<Ring>,
    /// What the session checks and shows, as one hash.
    print: [u8; 32],
    time: Arc<dyn TimeProvider>,
    /// When the client last did a full handshake, in seconds since 1970; 0: in this session, so far as it is known. A
    /// ticket that opens may still not be used by rustls (another server_name, another suite): then the new ones end
    /// sooner than they need to.
    since: AtomicU64,
}

impl Issuer {
    /// For one session with this fingerprint.
    pub(in crate::tls) fn new(store: &KeyStore, print: [u8; 32], time: Arc<dyn TimeProvider>) -> Self {
        Self { ring: Arc::clone(&store.0), print, time, since: AtomicU64::new(0) }
    }

    fn now(&self) -> Option<u64> {
        self.time.current_time().map(|now| now.as_secs())
    }
}

impl ProducesTickets for Issuer {
    fn enabled(&self) -> bool {
        true
    }

    /// Seconds; less where the full handshake that it comes of is long ago.
    fn lifetime(&self) -> u32 {
        let left = match (self.since.load(Ordering::Relaxed), self.now()) {
            (0, _) | (_, None) => LIFE,
            (since, Some(now)) => since.saturating_add(LIFE).saturating_sub(now),
        };
        u32::try_from(left.min(LIFETIME)).unwrap_or(0)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        let since = match self.since.load(Ordering::Relaxed) {
            0 => now,
            since => since,
        };
        self.ring.seal(&self.print, now, since, plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let opened = self.ring.open(&self.print, self.now()?, cipher)?;
        self.since.store(opened.since, Ordering::Relaxed);
        Some(opened.state)
    }
}

/// No ticket, no key.
impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").finish_non_exhaustive()
    }
}
