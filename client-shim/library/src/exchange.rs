//! Many threads on one control connection: who reads, and how an answer finds its thread.
//!
//! There is no background thread. Of the threads that wait for an answer one is the *reader*: it receives packets
//! and puts each into the slot of its id. When its own answer has come it leaves, and wakes one of the others to
//! be the next reader.
//!
//! ```text
//!  thread 1  wait(17) ── reader: receive ─▶ 18 ─▶ 17 ─┐ leaves, wakes one that waits
//!  thread 2  wait(18) ── sleeps on slot 18 ───▶ takes it, leaves
//!  thread 3  wait(19) ── sleeps on slot 19 ───────────┴─▶ reader: receive ─▶ …
//! ```
//!
//! A slot lives from its request until nobody can ask for it any more; an answer without a slot is discarded and
//! its descriptors are closed, so nothing grows with what callers forget.

use std::collections::HashMap;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tlsify_protocol::Code;

use crate::answer::{Answer, Ended, First};
use crate::error::{Error, Refused};
use crate::fdpass::{self, MAX_PACKET};

/// The control connection with everything that waits on it.
pub(crate) struct Exchange {
    socket: OwnedFd,
    state: Mutex<State>,
    /// Where packets are received: only the reader holds it.
    buffer: Mutex<Box<[u8]>>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    slots: HashMap<u64, Slot>,
    /// Ids that threads sleep on, once for each thread: where the next reader is found.
    sleeping: Vec<u64>,
    /// Somebody receives right now.
    reading: bool,
    broken: Option<Broken>,
}

/// What has come for one id and was not fetched yet.
#[derive(Default)]
struct Slot {
    first: Option<First>,
    ended: Option<Ended>,
    /// `established` came, so that a `refused` can only answer a `cancel` that was too late.
    established: bool,
    wake: Arc<Condvar>,
}

/// Why the connection is of no use any more: what each later call is told.
#[derive(Clone)]
enum Broken {
    Gone,
    Refused(Refused),
    Protocol(String),
}

impl Exchange {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        let buffer = vec![0; MAX_PACKET].into_boxed_slice();
        Self { socket, state: Mutex::default(), buffer: Mutex::new(buffer) }
    }

    pub(crate) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The packet that the daemon speaks first with.
    pub(crate) fn hello(&self, limit: Duration) -> Result<crate::Hello, Error> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if !fdpass::wait(&self.socket, true, false, Some(left))? {
                if left.is_zero() {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "no greeting in time").into());
                }
                continue;
            }
            match self.receive() {
                Ok(Some(Answer::Hello(hello))) => return Ok(hello),
                Ok(Some(Answer::Refused { refused, .. })) => return Err(refused.into()),
                Ok(Some(_)) => return Err(Error::Protocol("an answer before the greeting".into())),
                Ok(None) => {}
                Err(broken) => return Err(broken.error()),
            }
        }
    }

    /// Takes an id and makes its slot. [`Exchange::forget`] gives both back.
    pub(crate) fn open(&self) -> u64 {
        let mut state = self.lock();
        state.last_id += 1;
        let id = state.last_id;
        state.slots.insert(id, Slot::default());
        id
    }

    /// Nobody will ask for this id any more. What came for it is dropped, and its descriptors are closed.
    pub(crate) fn forget(&self, id: u64) {
        let dropped = self.lock().slots.remove(&id);
        // Descriptors are closed after the lock is free.
        drop(dropped);
    }

    /// Sends one packet. Waits while the daemon does not read, and reads what it wants to tell us meanwhile:
    /// otherwise both sides could wait for each other.
    pub(crate) fn send(&self, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Error> {
        loop {
            if let Some(broken) = &self.lock().broken {
                return Err(broken.clone().error());
            }
            match fdpass::send(&self.socket, text, fds) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.make_room()?,
                Err(error) => return Err(self.why_not_sent(error)),
            }
        }
    }

    /// Waits for the first answer to a request: `None` when the time is over.
    pub(crate) fn first(&self, id: u64, limit: Option<Duration>) -> Result<Option<First>, Error> {
        self.wait(id, limit, |slot| slot.first.take())
    }

    /// Waits for a session's end: `None` when the time is over. May be asked again and by several threads.
    pub(crate) fn ended(&self, id: u64, limit: Option<Duration>) -> Result<Option<Ended>, Error> {
        self.wait(id, limit, |slot| slot.ended.clone())
    }

    fn wait<T>(
        &self,
        id: u64,
        limit: Option<Duration>,
        take: impl Fn(&mut Slot) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut state = self.lock();
        // A wait of no time still looks at the socket once.
        let mut looked = false;
        loop {
            let Some(slot) = state.slots.get_mut(&id) else {
                return Err(Error::Protocol("waited for a request that was given up".into()));
            };
            let taken = take(slot);
            let wake = Arc::clone(&slot.wake);
            if taken.is_some() {
                state.hand_over();
                return Ok(taken);
            }
            if let Some(broken) = &state.broken {
                return Err(broken.clone().error());
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) && (looked || state.reading) {
                state.hand_over();
                return Ok(None);
            }
            if state.reading {
                state.sleeping.push(id);
                state = match left {
                    Some(left) => wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                };
                let place = state.sleeping.iter().position(|sleeper| *sleeper == id);
                place.map(|place| state.sleeping.swap_remove(place));
            } else {
                state.reading = true;
                drop(state);
                let step = self.read_one(left);
                state = self.lock();
                state.reading = false;
                looked = true;
                if let Err(broken) = step {
                    state.fail(broken);
                }
            }
        }
    }

    /// Waits for one packet and puts it where it belongs. Only the reader calls this.
    fn read_one(&self, limit: Option<Duration>) -> Result<(), Broken> {
        match fdpass::wait(&self.socket, true, false, limit) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            Err(error) => {
                return Err(Broken::Protocol(format!("cannot wait for an answer: {error}")));
            }
        }
        if let Some(answer) = self.receive()? {
            let unwanted = self.lock().deliver(answer)?;
            drop(unwanted);
        }
        Ok(())
    }

    /// One packet as an answer; `None` when there was none after all.
    fn receive(&self) -> Result<Option<Answer>, Broken> {
        let mut buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        match fdpass::receive(&self.socket, &mut buffer) {
            Ok(Some(packet)) => Answer::read(packet).map(Some).map_err(Broken::Protocol),
            Ok(None) => Err(Broken::Gone),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(Broken::Protocol(format!("cannot receive an answer: {error}"))),
        }
    }

    /// Waits until a packet may fit, and reads one if the daemon has something to say and nobody else reads.
    fn make_room(&self) -> Result<(), Error> {
        // How long to trust that another thread is reading: it may have left with its answer meanwhile.
        const ANOTHER_READS: Duration = Duration::from_millis(50);
        let mut state = self.lock();
        if state.reading {
            drop(state);
            fdpass::wait(&self.socket, false, true, Some(ANOTHER_READS))?;
            return Ok(());
        }
        state.reading = true;
        drop(state);
        let step = match fdpass::wait(&self.socket, true, true, None) {
            Ok(_) => self.read_one(Some(Duration::ZERO)),
            Err(error) => Err(Broken::Protocol(format!("cannot wait for room: {error}"))),
        };
        let mut state = self.lock();
        state.reading = false;
        if let Err(broken) = step {
            state.fail(broken);
        }
        state.hand_over();
        Ok(())
    }

    /// A send that failed because the daemon is gone: the daemon's last word, if it left one, says more.
    fn why_not_sent(&self, error: io::Error) -> Error {
        if !matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
            return Error::Io(error);
        }
        let mut state = self.lock();
        if !state.reading {
            state.reading = true;
            drop(state);
            let last = loop {
                match fdpass::wait(&self.socket, true, false, Some(Duration::ZERO)) {
                    Ok(true) => match self.read_one(Some(Duration::ZERO)) {
                        Ok(()) => {}
                        Err(broken) => break broken,
                    },
                    _ => break Broken::Gone,
                }
            };
            state = self.lock();
            state.reading = false;
            state.fail(last);
        }
        state.broken.clone().unwrap_or(Broken::Gone).error()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code of a caller runs under the lock, so a panic there cannot have left half a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Puts an answer into its slot. Gives back what nobody wants, to be dropped outside the lock.
    fn deliver(&mut self, answer: Answer) -> Result<Option<First>, Broken> {
        match answer {
            Answer::First { id, first } => {
                let Some(slot) = self.slots.get_mut(&id) else {
                    return Ok(Some(first));
                };
                slot.established |= matches!(first, First::Established { .. });
                let before = slot.first.replace(first);
                slot.wake.notify_all();
                Ok(before)
            }
            Answer::Ended { id, ended } => {
                if let Some(slot) = self.slots.get_mut(&id) {
                    slot.ended = Some(ended);
                    slot.wake.notify_all();
                }
                Ok(None)
            }
            // The answer to a cancel or a choice that came too late, never to what opens a session: that one's own
            // answer is there or still comes.
            Answer::Refused { id: Some(_), refused } if refused.code == Code::UnknownId => Ok(None),
            Answer::Refused { id: Some(id), refused } => {
                match self.slots.get_mut(&id) {
                    // The answer to a cancel that crossed the session's end.
                    Some(slot) if slot.established => {}
                    Some(slot) => {
                        slot.first = Some(First::Refused(refused));
                        slot.wake.notify_all();
                    }
                    None => {}
                }
                Ok(None)
            }
            // Which of our requests is meant is unknown, so all of them are told.
            Answer::Refused { id: None, refused } => Err(Broken::Refused(refused)),
            Answer::Hello(_) => Err(Broken::Protocol("a second greeting".into())),
        }
    }

    /// The connection is of no use any more: everybody wakes.
    fn fail(&mut self, broken: Broken) {
        self.broken.get_or_insert(broken);
        for slot in self.slots.values() {
            slot.wake.notify_all();
        }
    }

    /// The calling thread leaves: if nobody reads now, one of the sleeping threads has to.
    fn hand_over(&mut self) {
        if self.reading {
            return;
        }
        let next = self.sleeping.iter().find_map(|id| self.slots.get(id));
        if let Some(slot) = next {
            slot.wake.notify_one();
        }
    }
}

impl Broken {
    fn error(self) -> Error {
        match self {
            Self::Gone => Error::Gone,
            Self::Refused(refused) => refused.into(),
            Self::Protocol(what) => Error::Protocol(what),
        }
    }
}
