//! What outlives this process: the supervisor knows its control connections and their sessions, so that callers hear of
//! the end of their sessions also when the worker can say nothing any more.
//!
//! ```text
//!  caller comes ─▶ fresh ──half a second──▶ still there? ─▶ Noted::Came + descriptors ──▶ supervisor keeps a copy
//!  caller goes  ─▶ (its copy is shut down) ───────────────▶ Noted::Left ────────────────▶ supervisor closes it
//!  sessions     ─▶ rows of the Registry, in shared memory
//! ```
//!
//! A connection that is gone sooner, as that of most commands, costs nothing here. One that breaks off before the
//! supervisor knows it is closed without a word, which says the same: what had no end has none.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tlsify_protocol::MAX_DESCRIPTORS;
use tokio::sync::Notify;

use super::link::Link;
use super::worker::Worker;
use crate::io::Registry;
use crate::io::between::{Channel, ChannelError};

/// How long a connection may be ours alone. Most are gone by then, and those that stay are told of in one packet.
const FRESH: Duration = Duration::from_millis(500);

/// What the supervisor is told, on a channel of its own.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noted {
    /// These connections have stayed; their descriptors come along, in this order.
    Came(Vec<u32>),
    /// These are gone.
    Left(Vec<u32>),
}

/// How many connections one message tells of at most: as many as descriptors fit.
pub const MAX_NOTED: usize = MAX_DESCRIPTORS;

/// The connections, shared by all workers.
pub(super) struct Register {
    pub(super) registry: Registry,
    channel: Channel,
    serial: AtomicU32,
    changes: Mutex<Changes>,
    changed: Notify,
}

#[derive(Default)]
struct Changes {
    fresh: Vec<Weak<Link>>,
    left: Vec<u32>,
}

impl Register {
    pub(super) fn new(registry: Registry, channel: Channel) -> Self {
        let (serial, changes, changed) = (AtomicU32::new(1), Mutex::default(), Notify::new());
        Self { registry, channel, serial, changes, changed }
    }

    /// The number of a new connection: none that is still open has it, unless four thousand millions came and went beside it.
    pub(super) fn number(&self) -> u32 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// A caller was let in.
    pub(super) fn came(&self, link: &Arc<Link>) {
        self.changes().fresh.push(Arc::downgrade(link));
        self.changed.notify_one();
    }

    /// A connection that the supervisor knows is closed.
    pub(super) fn left(&self, number: u32) {
        self.changes().left.push(number);
        self.changed.notify_one();
    }

    /// Nothing that can panic runs under this lock, so a poisoned one is whole.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the supervisor what has changed, as far as there is room. Whether that was all.
    fn tell(&self) -> Result<bool, ChannelError> {
        loop {
            let (fresh, left) = {
                let mut changes = self.changes();
                (take(&mut changes.fresh), take(&mut changes.left))
            };
            if fresh.is_empty() && left.is_empty() {
                return Ok(true);
            }
            let left = Noted::Left(left);
            let told = self.say_left(&left).and_then(|()| self.say_came(&fresh));
            match told {
                Ok(()) => {}
                Err(ChannelError::Late) => {
                    let mut changes = self.changes();
                    changes.fresh.extend(fresh);
                    // Perhaps they were told of already: that one is gone is no news the second time.
                    let Noted::Left(left) = left else { return Ok(false) };
                    changes.left.extend(left);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn say_left(&self, left: &Noted) -> Result<(), ChannelError> {
        if *left == Noted::Left(Vec::new()) { Ok(()) } else { self.channel.send(left, &[]) }
    }

    fn say_came(&self, fresh: &[Weak<Link>]) -> Result<(), ChannelError> {
        // Marked before they are told of: one that leaves from now on says so.
        let shown = |link: Arc<Link>| link.show().map(|socket| (link.number, socket));
        let stayed: Vec<_> = fresh.iter().filter_map(Weak::upgrade).filter_map(shown).collect();
        if stayed.is_empty() {
            return Ok(());
        }
        let numbers = stayed.iter().map(|(number, _)| *number).collect();
        let fds: Vec<BorrowedFd<'_>> = stayed.iter().map(|(_, socket)| (**socket).as_fd()).collect();
        self.channel.send(&Noted::Came(numbers), &fds)
    }
}

/// The first few: as many as one message tells of.
fn take<T>(all: &mut Vec<T>) -> Vec<T> {
    let most = all.len().min(MAX_NOTED);
    all.drain(..most).collect()
}

/// Keeps the supervisor told, on this worker.
pub(super) fn spawn(worker: &Rc<Worker>) {
    let Some(register) = worker.shared.register.clone() else { return };
    tokio::task::spawn_local(async move {
        loop {
            register.changed.notified().await;
            loop {
                tokio::time::sleep(FRESH).await;
                match register.tell() {
                    Ok(true) => break,
                    Ok(false) => {}
                    // The supervisor is gone, and this process with it.
                    Err(_) => return,
                }
            }
        }
    });
}
