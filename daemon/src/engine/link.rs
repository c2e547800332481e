//! Our end of one control connection, as everybody who has to tell the caller something holds it.
//!
//! A session is born on one worker and its caller's connection may live on another, so this is the
//! one thing of a caller that is shared: the socket (a packet is sent whole or not at all), what it
//! refused so far, and which sessions there are. Sessions outlive the caller: the socket is closed
//! when the caller leaves, and what they then have to say is dropped.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tlsify_protocol::{Answer, MAX_DESCRIPTORS, MAX_PACKET};
use tokio::sync::Notify;
use zeroize::{Zeroize, Zeroizing};

use super::register::Register;
use crate::io::{ControlSocket, SendError, Token, UNTOUCHED};
use crate::policy::CallerCred;

/// Answers that wait for a caller who does not read. Requests stop being read before this, so only what
/// sessions have to say that were accepted can add to it, a question and an end each: it is bounded by their quota.
pub(super) const MAX_BACKLOG: usize = 256;

/// The number of a worker, as short as a core's is: there is a [`Place`] for each session.
type Core = u32;

/// Where one of the caller's sessions is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Its socket is being connected, on this worker, under this number.
    Dialing(Core, u64),
    /// Its ClientHello, or what the caller makes of it, is waited for, on this worker, under this number.
    Waiting(Core, u64),
    /// On its way to a worker.
    Coming(Core),
    /// On a worker, at this place.
    At(Core, Token),
}

impl Place {
    pub(super) fn worker(self) -> usize {
        match self {
            Self::Dialing(worker, _)
            | Self::Waiting(worker, _)
            | Self::Coming(worker)
            | Self::At(worker, _) => worker as usize,
        }
    }

    /// Where on this worker it is.
    pub(super) fn on(self, worker: usize) -> Option<Token> {
        match self {
            Self::At(_, token) if self.worker() == worker => Some(token),
            _ => None,
        }
    }
}

/// There are no more cores than this.
fn core(worker: usize) -> Core {
    Core::try_from(worker).unwrap_or(Core::MAX)
}

/// A caller, seen from the daemon.
pub(super) struct Link {
    pub(super) cred: CallerCred,
    outbox: Mutex<Outbox>,
    /// Wakes the caller's task: the outbox is not empty any more.
    pub(super) wake: Notify,
    sessions: Mutex<HashMap<u64, Place>>,
    /// The caller takes several answers in one packet.
    batch: AtomicBool,
    /// What tells the supervisor of it; none where this process is its own.
    register: Option<Arc<Register>>,
    /// Its number there.
    pub(super) number: u32,
    /// Whether the supervisor has a copy of the socket, or will.
    shown: AtomicBool,
}

/// What goes to the caller.
struct Outbox {
    /// None when the caller is gone: a session that lives on keeps the link, and must not keep a
    /// descriptor that nobody speaks on.
    socket: Option<Arc<ControlSocket>>,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    bytes: Zeroizing<Vec<u8>>,
    fds: Vec<OwnedFd>,
}

impl Link {
    pub(super) fn new(socket: ControlSocket, cred: CallerCred, register: Option<Arc<Register>>) -> Self {
        Self {
            cred,
            outbox: Mutex::new(Outbox { socket: Some(Arc::new(socket)), waiting: VecDeque::new() }),
            wake: Notify::new(),
            sessions: Mutex::default(),
            batch: AtomicBool::new(false),
            number: register.as_ref().map_or(0, |register| register.number()),
            register,
            shown: AtomicBool::new(false),
        }
    }

    /// The connection, for the supervisor to have, too; none when the caller is gone.
    pub(super) fn show(&self) -> Option<Arc<ControlSocket>> {
        let outbox = lock(&self.outbox);
        self.shown.store(true, Ordering::Relaxed);
        outbox.socket.clone()
    }

    /// From now on, answers that are ready at the same time go in one packet.
    pub(super) fn take_batches(&self) {
        self.batch.store(true, Ordering::Relaxed);
    }

    /// The connection, for whoever receives from it; none when the caller is gone.
    pub(super) fn socket(&self) -> Option<Arc<ControlSocket>> {
        lock(&self.outbox).socket.clone()
    }

    /// Sends `answer`, or keeps it until the caller reads. The descriptors are closed here when
    /// they are sent, and when nobody will have them.
    pub(super) fn send(&self, answer: &Answer<'_>, fds: Vec<OwnedFd>) {
        self.queue(answer, fds);
        self.deliver();
    }

    /// Keeps `answer` until [`Link::deliver`], which whoever calls this owes: a caller that is woken for each of many
    /// answers takes the core each time.
    pub(super) fn queue(&self, answer: &Answer<'_>, fds: Vec<OwnedFd>) {
        thread_local! {
            static PACKET: RefCell<Vec<u8>> = RefCell::new(vec![0; UNTOUCHED]);
        }
        PACKET.with_borrow_mut(|packet| match answer.write(&mut packet[..MAX_PACKET]) {
            Ok(length) => {
                let bytes = packet[..length].to_vec().into();
                if matches!(answer, Answer::Established(_)) {
                    // It may hold exporter values, which are the caller's secrets.
                    packet[..length].zeroize();
                }
                let mut outbox = lock(&self.outbox);
                if outbox.socket.is_some() {
                    outbox.waiting.push_back(Waiting { bytes, fds });
                }
            }
            // Every text that goes into an answer is made to fit, so this is a bug of ours. The caller must
            // not wait for an answer that never comes: its connection is closed.
            Err(error) => {
                tracing::error!(%error, "an answer could not be written; this is a bug in tlsifyd");
                self.leave();
            }
        });
    }

    /// Sends what waits. What the caller has to read first for waits on, and its task sees to it.
    pub(super) fn deliver(&self) {
        if self.flush() {
            self.wake.notify_one();
        }
    }

    /// Sends what waits. Returns whether the caller has to read first.
    pub(super) fn flush(&self) -> bool {
        let mut outbox = lock(&self.outbox);
        let Outbox { socket: Some(socket), waiting } = &mut *outbox else { return false };
        while !waiting.is_empty() {
            let count = if self.batch.load(Ordering::Relaxed) { batch(waiting) } else { 1 };
            match send(socket, waiting, count) {
                Ok(()) => drop(waiting.drain(..count)),
                Err(SendError::Again) => return true,
                Err(SendError::Gone) => {
                    self.leave_locked(&mut outbox);
                    return false;
                }
            }
        }
        false
    }

    /// Answers that wait.
    pub(super) fn backlog(&self) -> usize {
        lock(&self.outbox).waiting.len()
    }

    /// The caller is gone: nothing is sent any more, and the connection is closed once nobody
    /// receives from it.
    pub(super) fn leave(&self) {
        self.leave_locked(&mut lock(&self.outbox));
    }

    pub(super) fn is_gone(&self) -> bool {
        lock(&self.outbox).socket.is_none()
    }

    fn leave_locked(&self, outbox: &mut Outbox) {
        if let (Some(socket), Some(register)) = (outbox.socket.take(), &self.register)
            && self.shown.load(Ordering::Relaxed)
        {
            // The supervisor's copy would keep it open until it is told.
            let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
            register.left(self.number);
        }
        outbox.waiting.clear();
        self.wake.notify_one();
    }

    /// Enters a session whose socket is to be connected, under an id that [`Link::place`] found free.
    pub(super) fn dials(&self, id: u64, worker: usize, serial: u64) {
        lock(&self.sessions).insert(id, Place::Dialing(core(worker), serial));
    }

    /// Enters a session that waits for its ClientHello, under an id that [`Link::place`] found free.
    pub(super) fn waits(&self, id: u64, worker: usize, serial: u64) {
        lock(&self.sessions).insert(id, Place::Waiting(core(worker), serial));
    }

    /// Enters a session that is on its way to `worker`, under an id that [`Link::place`] found free or that was
    /// dialing or waiting.
    pub(super) fn enter(&self, id: u64, worker: usize) {
        lock(&self.sessions).insert(id, Place::Coming(core(worker)));
    }

    /// The session has its place.
    pub(super) fn arrived(&self, id: u64, worker: usize, token: Token) {
        lock(&self.sessions).insert(id, Place::At(core(worker), token));
    }

    /// Says the last word about a session, and frees its id. Who hears it may use the id again at once,
    /// on whichever core that is read: it is free before it is said.
    pub(super) fn send_last(&self, id: u64, answer: &Answer<'_>, fds: Vec<OwnedFd>) {
        self.queue_last(id, answer, fds);
        self.deliver();
    }

    /// The same, and owes [`Link::deliver`].
    pub(super) fn queue_last(&self, id: u64, answer: &Answer<'_>, fds: Vec<OwnedFd>) {
        let mut sessions = lock(&self.sessions);
        self.queue(answer, fds);
        sessions.remove(&id);
    }

    pub(super) fn place(&self, id: u64) -> Option<Place> {
        lock(&self.sessions).get(&id).copied()
    }

    /// All sessions of this connection.
    pub(super) fn places(&self) -> Vec<(u64, Place)> {
        lock(&self.sessions).iter().map(|(id, place)| (*id, *place)).collect()
    }
}

/// Nothing that can panic runs under these locks, so a poisoned one is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many of the answers that wait go in the next packet: what a caller has room for, and not so many that the first
/// waits for the last.
fn batch(waiting: &VecDeque<Waiting>) -> usize {
    const MOST: usize = 32;
    let (mut bytes, mut fds) = (0, 0);
    let fit = waiting.iter().take(MOST).take_while(|one| {
        bytes += one.bytes.len();
        fds += one.fds.len();
        bytes <= MAX_PACKET && fds <= MAX_DESCRIPTORS
    });
    fit.count().max(1)
}

/// Sends the first `count` as one packet.
fn send(socket: &ControlSocket, waiting: &VecDeque<Waiting>, count: usize) -> Result<(), SendError> {
    let first = || waiting.iter().take(count);
    let messages: Vec<IoSlice<'_>> = first().map(|one| IoSlice::new(&one.bytes)).collect();
    let fds: Vec<BorrowedFd<'_>> = first().flat_map(|one| &one.fds).map(AsFd::as_fd).collect();
    socket.send(&messages, &fds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_holds_no_more_than_a_caller_takes() {
        let answer = |length, fds: usize| Waiting {
            bytes: vec![b'x'; length].into(),
            fds: (0..fds).map(|_| rustix::pipe::pipe().expect("pipe").0).collect(),
        };
        let count = |answers: Vec<Waiting>| batch(&answers.into());
        assert_eq!(count((0..100).map(|_| answer(100, 0)).collect()), 32);
        assert_eq!(count(vec![answer(MAX_PACKET, 0), answer(1, 0)]), 1);
        assert_eq!(count(vec![answer(MAX_PACKET - 1, 0), answer(1, 0), answer(1, 0)]), 2);
        assert_eq!(count((0..40).map(|_| answer(100, 3)).collect()), MAX_DESCRIPTORS / 3);
    }
}
