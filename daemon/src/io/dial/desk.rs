//! The dialer's side: questions of workers, answered by connecting.
//!
//! Whoever asks may be a worker that was taken over. It can have its own callers' sockets connected, which a caller could do
//! itself, and look names up, for the users that it may speak for. It cannot have a socket made, but to a cache that the
//! operator has named; a descriptor that is no socket at rest is refused before anything is done to it, and closed.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use tlsify_protocol::{Blame, Code, MAX_NETS};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Destination, Dial, Family, Unconnected, is_same_socket, unconnected_tcp};
use crate::config::CachePlace;
use crate::io::Itself;
use crate::io::between::{Asked, ChannelError, Desk, Reply};
use crate::io::outside::{CacheAnswer, DialNews, DialQuestion, Told};
use crate::tls::Failure;

/// The most that one question can bring: what is read from a desk has to find room.
const MOST: usize = 256;

/// The longest that connecting may take, whatever is asked: a day is more than anybody says as a handshake's limit.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How long a connection to a cache may take. Who asks waits no longer.
const CACHE_PATIENCE: Duration = Duration::from_secs(2);

/// A name has at most 253 characters; getaddrinfo(3) is given no more of what a worker says.
const MAX_NAME: usize = 255;

/// Connects for workers. It lives on one thread, in a [`tokio::task::LocalSet`].
pub struct Dialer {
    itself: Itself,
    caches: RefCell<Vec<CachePlace>>,
    /// Descriptors that questions may hold, of all desks.
    room: usize,
    desks: Cell<usize>,
    /// Whether this process is the caller's own, and serves nobody else.
    private: bool,
    /// A question is answered, or a desk is gone.
    less: Notify,
}

impl Dialer {
    /// One that knows no caches yet. Half of this process's descriptors are for questions, the others for look-ups.
    #[must_use]
    pub fn new(private: bool) -> Rc<Self> {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(1024);
        let room = usize::try_from(limit / 2).unwrap_or(usize::MAX).max(MOST);
        Rc::new(Self {
            itself: Itself::default(),
            caches: RefCell::default(),
            room,
            desks: Cell::default(),
            private,
            less: Notify::new(),
        })
    }

    /// From now on these caches may be connected to, and no others.
    pub fn set_caches(&self, caches: Vec<CachePlace>) {
        *self.caches.borrow_mut() = caches;
    }

    /// Answers until nobody asks any more. `only`: the one user whose look-ups this asker speaks for.
    pub async fn serve(self: Rc<Self>, desk: Desk, only: Option<u32>) {
        self.desks.set(self.desks.get() + 1);
        let held = Rc::new(Cell::new(0));
        loop {
            // A share each: one asker's questions leave the others room for theirs.
            while held.get() + MOST > (self.room / self.desks.get()).max(MOST) {
                self.less.notified().await;
            }
            match desk.next::<DialQuestion>().await {
                Ok(asked) => {
                    let holds = asked.fds.len() + 1;
                    held.set(held.get() + holds);
                    let (dialer, held) = (Rc::clone(&self), Rc::clone(&held));
                    tokio::task::spawn_local(async move {
                        let _given_back = GivenBack { dialer: &dialer, held: &held, holds };
                        dialer.answer(asked, only).await;
                    });
                }
                Err(ChannelError::Gone) => break,
                Err(error) => {
                    tracing::error!(
                        "a worker asks the dialer for what cannot be: {error}; it gets no more answers"
                    );
                    break;
                }
            }
        }
        self.desks.set(self.desks.get() - 1);
        self.less.notify_waiters();
    }

    async fn answer(&self, asked: Asked<DialQuestion>, only: Option<u32>) {
        let Asked { question, fds, reply } = asked;
        let user = |uid: u32| only.unwrap_or(uid);
        match question {
            DialQuestion::Connect { to, fast_open, within, uid } => {
                let news = self.connect(to, fast_open, within, user(uid), fds, &reply).await;
                // Given up: it has been told, or does not want to know.
                let _ = reply.answer(&news, &[]);
            }
            DialQuestion::Cache { place, uid } => {
                // Not before it is closed.
                drop(fds);
                let (answer, socket) = match self.connect_cache(&place, user(uid), &reply).await {
                    Ok(socket) => (CacheAnswer::Ok(()), Some(socket)),
                    Err(text) => (CacheAnswer::Err(text), None),
                };
                let sockets: Vec<_> = socket.iter().map(std::os::fd::AsFd::as_fd).collect();
                let _ = reply.answer(&answer, &sockets);
            }
        }
    }

    /// All our copies of the sockets are closed when this is done, or are closed by the thread that is connecting one.
    async fn connect(
        &self,
        to: Destination,
        fast_open: bool,
        within: Duration,
        uid: u32,
        fds: Vec<OwnedFd>,
        reply: &Reply,
    ) -> DialNews {
        let failed = |failure: &Failure| DialNews::Failed(Told::new(failure));
        let sockets = match check(&to, fds) {
            Ok(sockets) => Unconnected::new(sockets, fast_open),
            Err(failure) => return failed(&failure),
        };
        let named = matches!(to, Destination::Name(..));
        let deadline = Instant::now() + within.min(LONGEST);
        let dial = Dial { to, sockets, deadline, private: self.private };
        let begun = || match named {
            // Not told: not begun.
            true => reply.tell(&DialNews::Begun, &[]).map_err(|error| Failure::internal(error.to_string())),
            false => Ok(()),
        };
        tokio::select! {
            biased;
            () = reply.given_up() => DialNews::Stopped,
            won = dial.win(self.itself.resolver(), uid, begun) => match won {
                Ok(won) => {
                    let socket = u8::try_from(won.socket).unwrap_or(u8::MAX);
                    DialNews::Connected { socket, to: won.to }
                }
                Err(failure) => failed(&failure),
            },
        }
    }

    async fn connect_cache(&self, place: &CachePlace, uid: u32, reply: &Reply) -> Result<OwnedFd, String> {
        if !self.caches.borrow().contains(place) {
            return Err("the operator has named no such cache".to_owned());
        }
        let connect = timeout(CACHE_PATIENCE, self.itself.connect_cache(place, uid));
        tokio::select! {
            biased;
            () = reply.given_up() => Err("nobody waits for it any more".to_owned()),
            connected = connect => connected.unwrap_or_else(|_| Err("it does not answer".to_owned())),
        }
    }
}

/// What a question held is counted as closed when its task ends, however it does.
struct GivenBack<'a> {
    dialer: &'a Dialer,
    held: &'a Cell<usize>,
    holds: usize,
}

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.holds);
        self.dialer.less.notify_waiters();
    }
}

/// What the worker has looked at is looked at again.
fn check(to: &Destination, fds: Vec<OwnedFd>) -> Result<Vec<(OwnedFd, Family)>, Failure> {
    let internal = |text| Err(Failure::internal(text));
    if let Destination::Name(name, _) = to
        && (name.is_empty() || name.len() > MAX_NAME || name.contains('\0'))
    {
        return internal(format!("a name of {} bytes cannot be looked up", name.len()));
    }
    if fds.is_empty() || fds.len() > MAX_NETS {
        return internal(format!("{} sockets came, 1 to {MAX_NETS} can be connected", fds.len()));
    }
    let mut sockets: Vec<(OwnedFd, Family)> = Vec::with_capacity(fds.len());
    for fd in fds {
        let family = unconnected_tcp(&fd).map_err(|error| {
            // It was one: its caller used its copy meanwhile.
            let text = format!("cannot connect to {to}: the socket {error}");
            Failure { blame: Blame::Caller, ..Failure::new(Code::NetworkError, text) }
        })?;
        if sockets.iter().any(|(other, _)| is_same_socket(other, &fd)) {
            return internal("one socket came twice".to_owned());
        }
        sockets.push((fd, family));
    }
    Ok(sockets)
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
