//! What all workers share, none of it on the data path.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use moka::sync::Cache;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use super::aside::Asides;
use super::command::Command;
use super::dispatch::Load;
use super::keys::Keys;
use super::operator::{Operator, SystemPool};
use super::overview::Others;
use super::register::Register;
use crate::io::Outside;
use crate::policy::Ledger;
use crate::tls::{Crls, Roots, TicketKeys, Tickets};

/// Parsed bundles of callers, by content, in bytes. A bundle like the system's is about half a
/// mebibyte; more would let callers fill memory with certificates nobody uses.
const BUNDLE_BYTES: u64 = 64 * 1024 * 1024;
/// A small bundle counts as this much, which bounds their number to 1024.
const BUNDLE_LEAST: u32 = 64 * 1024;
/// Unused for this long, a bundle is forgotten.
const BUNDLE_IDLE: std::time::Duration = std::time::Duration::from_secs(3600);

/// What all workers share.
pub(super) struct Shared {
    /// Replaced at a reload; a request looks once.
    pub(super) operator: ArcSwap<Operator>,
    pub(super) ledger: Ledger,
    pub(super) system: Arc<dyn SystemPool>,
    pub(super) keys: Arc<dyn Keys>,
    /// By SHA-256 of what the files contain. None in a private daemon: the cache is not made for one session.
    pub(super) bundles: Option<Cache<[u8; 32], Roots>>,
    /// Lists of revoked certificates, likewise.
    pub(super) lists: Option<Cache<[u8; 32], Crls>>,
    /// Who does what this process cannot.
    pub(super) outside: Arc<Outside>,
    /// Client tickets of callers that asked for it; gone with the daemon, and not made before somebody asks.
    pub(super) tickets: LazyLock<Tickets>,
    /// The keys of server tickets, likewise. A reload does not change them.
    pub(super) ticket_keys: LazyLock<TicketKeys>,
    /// Handshakes that wait for somebody else's signer.
    pub(super) asides: Asides,
    /// What the supervisor is told of; none where this process is its own.
    pub(super) register: Option<Arc<Register>>,
    /// Who is asked what is served beside this process; none where this is all.
    pub(super) others: Option<Others>,
    /// Callers that were given to us and are not let in yet.
    pub(super) arriving: AtomicUsize,
    /// No new callers and sessions.
    pub(super) draining: watch::Sender<bool>,
    pub(super) workers: Vec<Seat>,
    /// There is one caller, and this process is its own.
    pub(super) private: bool,
}

impl Shared {
    /// Lets nobody in any more; each worker ends with its last session.
    pub(super) fn drain(&self) {
        self.draining.send_replace(true);
        self.tell_all(|| Command::Drain);
    }

    /// Says the same to every worker.
    pub(super) fn tell_all(&self, command: impl Fn() -> Command) {
        for seat in &self.workers {
            // A worker that has ended needs no telling.
            let _ = seat.commands.send(command());
        }
    }
}

/// A worker, as the others see it.
pub(super) struct Seat {
    pub(super) commands: UnboundedSender<Command>,
    pub(super) load: Load,
}

pub(super) fn bundle_cache() -> Cache<[u8; 32], Roots> {
    Cache::builder()
        .max_capacity(BUNDLE_BYTES)
        .weigher(|_, roots: &Roots| roots.weight().max(BUNDLE_LEAST))
        .time_to_idle(BUNDLE_IDLE)
        .build()
}

pub(super) fn list_cache() -> Cache<[u8; 32], Crls> {
    Cache::builder()
        .max_capacity(BUNDLE_BYTES)
        .weigher(|_, crls: &Crls| crls.weight().max(BUNDLE_LEAST))
        .time_to_idle(BUNDLE_IDLE)
        .build()
}
