//! The doors and the connections: threads, and how many.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{Connection, Who};
use super::foreign::Foreign;
use super::keys_socket;
use super::lock::Sealed;
use super::memory::Memory;
use super::shared::Shared;
use super::table::DoorId;
use crate::io::agent::wire::Knock;
use crate::io::agent::{Stream, StreamError};
use crate::io::between::{Asker, Channel, ChannelError};
use crate::io::read_regular;

/// Connections of our own processes at most: 64 workers' threads, each with its own and a few more for foreign signers.
const MAX_INSIDE: usize = 1024;
/// Of them through the door of one user's worker at most: a connection for each of 64 threads, and as many for foreign
/// signers. More, and a few users who have taken their workers over could keep all others out.
const MAX_OF_ONE: usize = 128;
/// Bytes of a list of permitted keys at most: all that a table holds.
const MAX_PERMITTED: usize = 32 * 16_384;
/// Connections from keys.sock at most: people, and a few programs.
const MAX_OUTSIDE: usize = 64;
/// Workers at most: one per caller's uid, where they are apart.
const MAX_DOORS: usize = 4096;

/// A message that has begun has to be complete by then.
const PACE: Duration = Duration::from_secs(5);
/// A user's connection that asks nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(300);
/// Who does not take an answer.
const TAKES: Duration = Duration::from_secs(5);

/// Enough for a signature; the default of 2 MiB, locked, would be most of the memory here.
const STACK: usize = 512 * 1024;

/// All keys, and who may come in.
pub struct Holder {
    house: House,
    users: Arc<RwLock<Vec<u32>>>,
}

impl Holder {
    /// No keys and no doors yet; starts a thread, so privileges are dropped before. `supervisor` is asked for connections to
    /// somebody else's agents and tokens; `None`: there are none.
    ///
    /// # Errors
    /// The system's: no thread can be started.
    pub fn new(supervisor: Option<Asker>, memory: Memory) -> io::Result<Self> {
        let foreign = supervisor.map(|asker| Foreign::new(Arc::new(asker)));
        let shared = Shared::new(foreign, memory);
        let clock = shared.clone();
        spawn("keys clock", move || clock.keep_time())?;
        let house = House { shared, inside: Arc::default(), doors: Arc::default(), numbered: Arc::default() };
        Ok(Self { house, users: Arc::default() })
    }

    /// Begins locked with what the keyholder before was locked with, if it was, and tells of each change of the lock. To be
    /// called once, before anybody comes in.
    pub fn lock_as(&self, before: Option<Sealed>, tell: impl Fn(Option<Sealed>) + Send + Sync + 'static) {
        self.house.shared.begin_locking(before, Box::new(tell));
    }

    /// Keeps the supervisor's door until it closes: then there is nobody to hold keys for.
    pub fn keep(&self, door: &Channel) {
        self.house.keep(door, &Who::Supervisor, None);
    }

    /// Serves users on `keys.sock`, a listening AF_UNIX stream socket, on threads of its own.
    ///
    /// # Errors
    /// The system's: no thread can be started.
    pub fn listen(&self, socket: OwnedFd) -> io::Result<()> {
        let (shared, users) = (self.house.shared.clone(), self.users.clone());
        spawn("keys.sock", move || {
            let open = Arc::new(AtomicUsize::new(0));
            keys_socket::accept(&socket, &users, |socket, who| {
                talk(&shared, &open, MAX_OUTSIDE, socket, who, Some(IDLE), None);
            });
        })
    }

    /// Who may use `keys.sock` from now on, beside root and our own user. Open connections stay.
    pub fn let_in(&self, users: Vec<u32>) {
        *self.users.write().unwrap_or_else(PoisonError::into_inner) = users;
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").finish_non_exhaustive()
    }
}

/// What all doors share.
#[derive(Clone)]
struct House {
    shared: Arc<Shared>,
    inside: Arc<AtomicUsize>,
    doors: Arc<AtomicUsize>,
    /// The doors that are for one user.
    numbered: Arc<Mutex<HashMap<u64, DoorId>>>,
}

impl House {
    /// Opens to everybody who knocks, until the door is closed, or its other end says what makes no sense.
    /// `few`: how many connections it has, where these are bounded.
    fn keep(&self, door: &Channel, who: &Who, few: Option<&Arc<AtomicUsize>>) {
        loop {
            let (knock, mut fds) = match door.receive_by::<Knock>(None) {
                Ok(message) => message,
                Err(ChannelError::Gone) => return,
                Err(error) => return tracing::error!(%who, %error, "closing its door"),
            };
            let (Some(fd), true) = (fds.pop(), fds.is_empty()) else {
                return tracing::error!(%who, "closing its door: what it sent has no descriptor, or several");
            };
            match (knock, who) {
                (Knock::Connect, _) => match few.map(|few| Place::take(few, MAX_OF_ONE)) {
                    // Not for everybody to see: who asks without end is not to fill the log.
                    Some(None) => {
                        tracing::debug!(%who, "closing its connection: it has {MAX_OF_ONE} already")
                    }
                    own => {
                        let own = own.flatten();
                        talk(&self.shared, &self.inside, MAX_INSIDE, fd, who.clone(), None, own);
                    }
                },
                (Knock::Door { name, number }, Who::Supervisor) => self.worker(fd, &name, number),
                (Knock::Permit(number), Who::Supervisor) => self.permit(number, &fd),
                (Knock::Door { .. } | Knock::Permit(_), _) => {
                    return tracing::error!(%who, "closing its door: it is not for it to make others");
                }
            }
        }
    }

    fn numbered(&self) -> MutexGuard<'_, HashMap<u64, DoorId>> {
        // Nothing under this lock can panic halfway.
        self.numbered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is no list permits nothing.
    fn permit(&self, number: u64, list: &OwnedFd) {
        let Some(door) = self.numbered().get(&number).copied() else { return };
        let pins = match read_regular(list, MAX_PERMITTED) {
            Ok(bytes) => bytes.as_chunks::<32>().0.iter().copied().collect(),
            Err(error) => {
                tracing::error!(%error, "a worker may use none of the operator's keys: the list of them cannot be read");
                HashSet::new()
            }
        };
        self.shared.table().permit(door, pins);
    }

    fn worker(&self, fd: OwnedFd, name: &str, number: Option<u64>) {
        let Some(place) = Place::take(&self.doors, MAX_DOORS) else {
            return tracing::error!("there are more than {MAX_DOORS} workers");
        };
        let id = {
            let mut table = self.shared.table();
            let id = table.open_door();
            if number.is_some() {
                table.permit(id, HashSet::new());
            }
            id
        };
        if let Some(number) = number {
            self.numbered().insert(number, id);
        }
        let few = number.map(|_| Arc::default());
        let (house, who) = (self.clone(), Who::Worker(name.into(), id));
        let kept = Channel::new(fd).and_then(|door| {
            spawn("keys door", move || {
                house.keep(&door, &who, few.as_ref());
                house.shared.close_door(&who, id);
                if let Some(number) = number {
                    house.numbered().remove(&number);
                }
                drop(place);
            })
        });
        if let Err(error) = kept {
            tracing::error!(%error, "a worker's door cannot be kept");
        }
    }
}

/// Whether it was said that there are too many connections.
static FULL: AtomicBool = AtomicBool::new(false);

/// Starts a thread that answers on this connection, if there are not too many.
fn talk(
    shared: &Arc<Shared>,
    open: &Arc<AtomicUsize>,
    most: usize,
    socket: OwnedFd,
    who: Who,
    idle: Option<Duration>,
    own: Option<Place>,
) {
    let Some(place) = Place::take(open, most) else {
        // Once for each time that they are too many: who asks without end is not to fill the log.
        if !FULL.swap(true, Ordering::Relaxed) {
            tracing::warn!(%who, "closing its connection: there are {most} already");
        }
        return;
    };
    FULL.store(false, Ordering::Relaxed);
    let mut stream = Stream::new(socket);
    let mut connection = Connection::new(shared.clone(), who.clone());
    let started = spawn("keys talk", move || {
        match answers(&mut stream, &mut connection, idle) {
            StreamError::Gone => {}
            error => tracing::debug!(who = %who, %error, "connection closed"),
        }
        drop((place, own));
    });
    if let Err(error) = started {
        tracing::error!(%error, "a connection cannot be served");
    }
}

/// Until it ends, one way or the other.
fn answers(stream: &mut Stream, connection: &mut Connection, idle: Option<Duration>) -> StreamError {
    loop {
        let deadline = idle.map(|idle| Instant::now() + idle);
        let (body, fds) = match stream.receive(deadline, PACE) {
            Ok(message) => message,
            Err(error) => return error,
        };
        let answer = connection.answer(&body, fds);
        drop(body);
        if let Err(error) = stream.send(&answer, &[], Some(Instant::now() + TAKES)) {
            return error;
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run).map(drop)
}

/// One of a bounded number; given back when dropped, also by a panic.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let more = |count| (count < most).then_some(count + 1);
        taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
