//! What all connections share: the table, the lock, and the signers that are somebody else's.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::connection::{Refused, Who};
use super::foreign::{Foreign, NotSigned};
use super::lock::{Lock, Sealed};
use super::memory::Memory;
use super::table::{DoorId, Gone, New, Origin, Table};
use crate::io::agent::wire::Reason;

pub(super) struct Shared {
    table: Mutex<Table>,
    /// Told when an end may have come nearer.
    changed: Condvar,
    /// Apart from the table: an attempt to unlock takes its time, and handshakes are refused meanwhile, not kept waiting.
    lock: Mutex<Lock>,
    foreign: Option<Foreign>,
    memory: Memory,
    /// Told of each change of the lock.
    locking: OnceLock<Locking>,
}

/// Who is told what the keyholder is locked with, or that it is not.
pub(super) type Locking = Box<dyn Fn(Option<Sealed>) + Send + Sync>;

impl Shared {
    pub(super) fn new(foreign: Option<Foreign>, memory: Memory) -> Arc<Self> {
        let (table, changed, lock) = (Mutex::default(), Condvar::new(), Mutex::default());
        Arc::new(Self { table, changed, lock, foreign, memory, locking: OnceLock::new() })
    }

    /// Locked from the start, if the keyholder before was, and tells of each change.
    pub(super) fn begin_locking(&self, before: Option<Sealed>, locking: Locking) {
        if let Some(sealed) = before {
            self.lock().restore(sealed);
            self.table().set_locked(true);
        }
        let _ = self.locking.set(locking);
    }

    /// The lock has changed.
    pub(super) fn locking(&self, lock: &Lock) {
        let sealed = lock.sealed();
        self.table().set_locked(sealed.is_some());
        if let Some(locking) = self.locking.get() {
            locking(sealed);
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds it panics half way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Lock> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, new: New) -> Option<u64> {
        let handle = self.table().add(new, Instant::now());
        self.memory.keep();
        self.changed.notify_one();
        handle
    }

    pub(super) fn expire(&self) {
        let gone = self.table().expire(Instant::now());
        log_expired(&gone);
    }

    /// Forgets what comes to its end, for ever.
    pub(super) fn keep_time(&self) -> ! {
        let mut table = self.table();
        loop {
            let gone = table.expire(Instant::now());
            log_expired(&gone);
            table = match table.next_end() {
                None => self.changed.wait(table).unwrap_or_else(PoisonError::into_inner),
                Some(end) => {
                    let left = end.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// A worker's door was closed.
    pub(super) fn close_door(&self, who: &Who, door: DoorId) {
        let gone = self.table().close_door(door);
        log_gone(who, "key forgotten with its worker", &gone);
    }

    /// Learns of a key that somebody else has.
    pub(super) fn expect_foreign(&self, signer: &str, blob: &[u8]) -> Result<(), Refused> {
        let foreign = self.foreign.as_ref().ok_or_else(|| nobody(signer))?;
        foreign.expect(signer, blob).map_err(|not| refused(signer, not))
    }

    /// Has somebody else sign; takes its deadline at most.
    pub(super) fn sign_foreign(
        &self,
        signer: &str,
        blob: &[u8],
        scheme: u16,
        message: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let foreign = self.foreign.as_ref().ok_or_else(|| nobody(signer))?;
        foreign.sign(signer, blob, scheme, message).map_err(|not| refused(signer, not))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

fn refused(signer: &str, NotSigned { reason, text }: NotSigned) -> Refused {
    Refused { reason, signer: signer.to_owned(), text }
}

fn nobody(signer: &str) -> Refused {
    let text = "no signer is configured".to_owned();
    Refused { reason: Reason::SignerAway, signer: signer.to_owned(), text }
}

fn log_expired(gone: &[Gone]) {
    for gone in gone {
        tracing::info!(key = %pin_text(&gone.pin), label = gone.label, "key expired");
    }
}

pub(super) fn log_gone(who: &Who, what: &str, gone: &[Gone]) {
    for gone in gone {
        let (key, label) = (pin_text(&gone.pin), &gone.label);
        // The configuration's come and go with each load, by the supervisor's word or on its behalf.
        if matches!(gone.origin, Origin::Caller(_)) || matches!(who, Who::Supervisor) {
            tracing::debug!(%who, %key, label, "{what}");
        } else {
            tracing::info!(%who, %key, label, "{what}");
        }
    }
}

/// As pins are written.
pub(super) fn pin_text(pin: &[u8; 32]) -> String {
    format!("spki-sha256:{}", tlsify_protocol::Sha256(*pin))
}
