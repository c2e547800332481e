//! One session's tickets: those that its client shows, and those that it gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use zeroize::Zeroizing;

use super::KeyStore;
use super::returning::end;
use super::ring::{LIFE, LIFETIME, Ring};
use crate::tls::witness::Witness;

/// Bytes of a ticket at most. It has the client's certificates in it, which can be as long as the client likes: what is
/// longer would make a ClientHello that boxes in the middle do not let through, and above 65,535 no message can hold it.
/// Such a client gets none.
const LONGEST: usize = 16 * 1024;

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
    /// For a session that asks for client certificates.
    clients: Option<Clients>,
}

/// How long a ticket may stand for the certificates of its client.
struct Clients {
    /// Where the verifier keeps the certificates that it was shown.
    witness: Arc<Witness>,
    /// Whether their dates count.
    dated: bool,
    /// When the first of those ends that the ticket stands for which was shown, in seconds since 1970.
    until: AtomicU64,
}

impl Issuer {
    /// For one session with this fingerprint.
    pub(in crate::tls) fn new(store: &KeyStore, print: [u8; 32], time: Arc<dyn TimeProvider>) -> Self {
        Self { ring: Arc::clone(&store.0), print, time, since: AtomicU64::new(0), clients: None }
    }

    /// The same for a session that asks for client certificates and keeps them in `witness`; `dated` says whether their
    /// dates count.
    pub(in crate::tls) fn asking(self, witness: &Arc<Witness>, dated: bool) -> Self {
        let clients = Clients { witness: Arc::clone(witness), dated, until: AtomicU64::new(u64::MAX) };
        Self { clients: Some(clients), ..self }
    }

    fn now(&self) -> Option<u64> {
        self.time.current_time().map(|now| now.as_secs())
    }
}

impl Clients {
    /// Until when a ticket that is given now may be used. In a full handshake the certificates were shown; in a resumed one
    /// they are those of the ticket.
    fn until(&self) -> u64 {
        let seen = self.witness.seen();
        match (&seen.chain[..], self.dated) {
            (_, false) => u64::MAX,
            ([], true) => self.until.load(Ordering::Relaxed),
            (chain, true) => end(chain),
        }
    }
}

impl ProducesTickets for Issuer {
    fn enabled(&self) -> bool {
        true
    }

    /// Seconds; less where the full handshake that it comes of is long ago, or a certificate ends.
    fn lifetime(&self) -> u32 {
        let Some(now) = self.now() else { return 0 };
        let since = match self.since.load(Ordering::Relaxed) {
            0 => now,
            since => since,
        };
        let until = self.clients.as_ref().map_or(u64::MAX, Clients::until);
        let left = until.min(since.saturating_add(LIFE)).saturating_sub(now);
        u32::try_from(left.min(LIFETIME)).unwrap_or(0)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        let since = match self.since.load(Ordering::Relaxed) {
            0 => now,
            since => since,
        };
        let ticket = match &self.clients {
            None => self.ring.seal(&self.print, now, since, plain)?,
            Some(_) if plain.len() > LONGEST => return None,
            Some(clients) => {
                let until = clients.until();
                // Something among what was shown has ended, which the chain did not need: no ticket would open.
                if now > until {
                    return None;
                }
                // Behind the state, inside the seal.
                let state = Zeroizing::new([plain, &until.to_be_bytes()].concat());
                self.ring.seal(&self.print, now, since, &state)?
            }
        };
        (ticket.len() <= LONGEST).then_some(ticket)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        let mut opened = self.ring.open(&self.print, now, cipher)?;
        if let Some(clients) = &self.clients {
            let until = opened.state.split_off(opened.state.len().checked_sub(8)?);
            let until = u64::from_be_bytes(until.try_into().ok()?);
            // The last second is still the certificate's (RFC 5280 section 4.1.2.5).
            if now > until {
                self.ring.outlived();
                return None;
            }
            clients.until.store(until, Ordering::Relaxed);
        }
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
