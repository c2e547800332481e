//! Connecting a socket that a caller made: look the name up, race its addresses, keep the one that connects.
//!
//! ```text
//!  to=HOST:PORT ── Resolver (a thread) ──▶ addresses ── Race (pure) ──▶ begin, withdraw ── socket (connect) ──▶ Net
//!                  lookup.rs                            race.rs                            socket.rs
//! ```
//!
//! Nothing here makes a socket: namespace, owner, mark and bound address are the caller's and stay so. Who may connect
//! where is not decided here either: the caller could have connected its socket itself.
//!
//! A worker asks for this ([`crate::io::Outside`]): all of it happens in another process, the dialer, except where there is
//! one process for everything.

mod desk;
mod lookup;
mod lost;
mod race;
mod socket;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::getpeername;
use serde::{Deserialize, Serialize};
use tlsify_protocol::{Address, Code, Socket, Target};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::time::{Instant as LoopInstant, sleep_until, timeout_at};

use super::handoff::{Ends, Net, local_address, take_net};
use crate::sys::watch_shared;
use crate::tls::Failure;
pub use desk::Dialer;
pub(super) use lookup::Resolver;
pub(super) use lost::connect_code;
pub use race::Family;
use race::{Race, Step};
pub use socket::{Unconnected, is_same_socket, unconnected_tcp};

/// Where to, and with what.
#[derive(Debug)]
pub struct Dial {
    /// Where to.
    pub to: Destination,
    /// The caller's sockets.
    pub sockets: Unconnected,
    /// When to give up.
    pub deadline: Instant,
    /// Whether this process is the caller's own, and serves nobody else: then connect(2) needs no thread.
    pub private: bool,
}

/// A socket that was connected.
#[derive(Debug)]
pub struct Dialed {
    /// The socket, and between whom.
    pub net: Net,
    /// With Fast Open: its SYN goes out with the first bytes, and whether somebody is there shows then.
    pub deferred: bool,
}

/// Which of the sockets has won.
#[derive(Debug)]
pub(in crate::io) struct Won {
    /// Its place among those that were given.
    pub(in crate::io) socket: usize,
    pub(in crate::io) fd: OwnedFd,
    /// Where it leads to.
    pub(in crate::io) to: SocketAddr,
}

impl Dialed {
    /// A socket that was connected to this address, or will be with its first bytes.
    pub(in crate::io) fn of(fd: OwnedFd, to: SocketAddr) -> Result<Self, Failure> {
        let local = local_address(&fd).map_err(|error| {
            let text =
                format!("asking for the address of the connected socket: {}", std::io::Error::from(error));
            Failure::new(Code::NetworkError, text)
        })?;
        // With Fast Open it has no peer before its first bytes, so it is not asked who that is. (Its caller may have
        // switched that on by itself.)
        let deferred = getpeername(&fd).is_err();
        Ok(Self { net: take_net(fd, Ends { peer: Address::Inet(to), local }), deferred })
    }
}

/// Where a socket is to be connected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Destination {
    /// This address.
    Address(SocketAddr),
    /// One of the addresses of this name, at this port.
    Name(String, u16),
}

impl From<Target<'_>> for Destination {
    fn from(target: Target<'_>) -> Self {
        match target {
            Target::Address(address) => Self::Address(address),
            Target::Name(name, port) => Self::Name(name.to_owned(), port),
        }
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl Dial {
    /// Connects in this process, for a caller of this uid. Dropping the future gives everything up; `state` says at any time
    /// what has become of the sockets. The others are closed.
    ///
    /// # Errors
    /// The codes from [`Code::HostNotFound`] to [`Code::ConnectTimeout`], [`Code::NetworkError`], and
    /// [`Code::Internal`] when the machine is out of something.
    pub async fn connect(self, resolver: &Resolver, uid: u32, state: &State) -> Result<Dialed, Failure> {
        let begun = || {
            state.begun();
            Ok(())
        };
        let won = self.win(resolver, uid, begun).await?;
        Dialed::of(won.fd, won.to)
    }

    /// The same as far as the socket goes that has connected: nothing is set on it. `begun` is called before anything is done
    /// to a socket, and can refuse.
    ///
    /// # Errors
    /// As of [`Dial::connect`], and what `begun` says.
    pub(in crate::io) async fn win(
        mut self,
        resolver: &Resolver,
        uid: u32,
        begun: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<Won, Failure> {
        let addresses = self.addresses(resolver, uid).await?;
        begun()?;
        let families = self.sockets.families();
        let mut race = Race::new(&addresses, &families, Instant::now(), self.deadline);
        let mut attempts: Vec<Attempt> = families.iter().map(|_| Attempt::None).collect();
        let (socket, to) = self.race(&mut race, &mut attempts).await?;
        drop(attempts);
        let lost = || Failure::internal("the socket that was connected is still in use".to_owned());
        let fd = self.sockets.take(socket).ok_or_else(lost)?;
        Ok(Won { socket, fd, to })
    }

    /// Whether there is nothing to look up, and a socket for what is wanted: the first attempt then begins as soon as it can.
    pub(in crate::io) fn begins_at_once(&self) -> bool {
        match &self.to {
            Destination::Address(address) => self.sockets.families().contains(&Family::of(address)),
            Destination::Name(..) => false,
        }
    }

    async fn addresses(&self, resolver: &Resolver, uid: u32) -> Result<Vec<SocketAddr>, Failure> {
        let families = self.sockets.families();
        let (mut found, host) = match &self.to {
            Destination::Address(address) => (vec![*address], address.ip().to_string()),
            Destination::Name(name, port) => {
                let answer = resolver.look_up(uid, name, *port, &families);
                let Ok(found) = timeout_at(LoopInstant::from_std(self.deadline), answer).await else {
                    let text = format!("cannot look up \"{name}\": the resolver took too long");
                    return Err(Failure::new(Code::NameLookupFailed, text));
                };
                (found?, name.clone())
            }
        };
        found.retain(|address| families.contains(&Family::of(address)));
        if found.is_empty() {
            let why = match &self.to {
                Destination::Address(_) => "the request brought no socket of its family",
                Destination::Name(..) => lookup::no_address_of(&families),
            };
            return Err(Failure::new(Code::HostNotFound, format!("cannot connect to \"{host}\": {why}")));
        }
        Ok(found)
    }

    /// Does what the race says until somebody has won. Which socket, and where it leads to.
    async fn race(&self, race: &mut Race, attempts: &mut [Attempt]) -> Result<(usize, SocketAddr), Failure> {
        loop {
            let wake = match race.poll(Instant::now()) {
                Step::Begin { socket, to } => {
                    let begun = self.sockets.begin(socket, to, self.private);
                    let answer = begun.map_err(|error| {
                        Failure::internal(format!("starting a thread to connect on: {error}"))
                    })?;
                    attempts[socket] = Attempt::Starting { to, answer, withdrawn: false };
                    continue;
                }
                Step::Withdraw { socket } => {
                    self.withdraw(race, attempts, socket);
                    continue;
                }
                Step::Wait(until) => until,
                Step::Over(lost) => return Err(lost.failure(&self.to.to_string())),
            };
            let event = tokio::select! {
                event = std::future::poll_fn(|cx| self.poll(attempts, cx)) => event,
                () = sleep_until(LoopInstant::from_std(wake)) => continue,
            };
            match event {
                (socket, Event::Connected(to)) => return Ok((socket, to)),
                (socket, Event::Failed(error)) => {
                    race.failed(socket, error, Instant::now());
                    self.sockets.put_back(socket);
                    race.is_free(socket);
                }
                (socket, Event::Withdrawn) => {
                    self.sockets.put_back(socket);
                    race.is_free(socket);
                }
            }
        }
    }

    fn withdraw(&self, race: &mut Race, attempts: &mut [Attempt], socket: usize) {
        match &mut attempts[socket] {
            // Its thread is in connect: the socket is put back when that is over.
            Attempt::Starting { withdrawn, .. } => *withdrawn = true,
            attempt => {
                *attempt = Attempt::None;
                self.sockets.put_back(socket);
                race.is_free(socket);
            }
        }
    }

    /// The next thing that happened to one of the sockets.
    fn poll(&self, attempts: &mut [Attempt], cx: &mut Context<'_>) -> Poll<(usize, Event)> {
        for (socket, attempt) in attempts.iter_mut().enumerate() {
            if let Poll::Ready(event) = attempt.poll(self.sockets.at(socket), cx) {
                *attempt = Attempt::None;
                return Poll::Ready((socket, event));
            }
        }
        Poll::Pending
    }
}

/// What has become of the sockets so far, for who gives up.
#[derive(Debug)]
pub struct State(std::cell::Cell<Socket>);

impl Default for State {
    fn default() -> Self {
        Self(std::cell::Cell::new(Socket::Untouched))
    }
}

impl State {
    /// Untouched before the first attempt, used from then on.
    #[must_use]
    pub fn socket(&self) -> Socket {
        self.0.get()
    }

    /// From now on something may have been done to them.
    pub(in crate::io) fn begun(&self) {
        self.0.set(Socket::Used);
    }
}

/// One attempt on one socket.
enum Attempt {
    None,
    /// A thread calls connect.
    Starting {
        to: SocketAddr,
        answer: oneshot::Receiver<Result<bool, Errno>>,
        withdrawn: bool,
    },
    /// The SYN is on its way. Each attempt is registered anew: a socket at rest has hung up, and that is remembered.
    UnderWay {
        to: SocketAddr,
        watched: AsyncFd<Arc<OwnedFd>>,
    },
}

enum Event {
    Connected(SocketAddr),
    Failed(Errno),
    Withdrawn,
}

impl Attempt {
    fn poll(&mut self, socket: &Arc<OwnedFd>, cx: &mut Context<'_>) -> Poll<Event> {
        if let Self::Starting { to, answer, withdrawn } = self {
            let begun = std::task::ready!(std::pin::Pin::new(answer).poll(cx));
            let event = match begun {
                _ if *withdrawn => Event::Withdrawn,
                Ok(Ok(true)) => Event::Connected(*to),
                Ok(Err(error)) => Event::Failed(error),
                // The thread broke: as when the connection did.
                Err(_) => Event::Failed(Errno::CONNABORTED),
                Ok(Ok(false)) => match watch_shared(Arc::clone(socket), Interest::WRITABLE) {
                    Ok(watched) => {
                        *self = Self::UnderWay { to: *to, watched };
                        return self.poll(socket, cx);
                    }
                    Err(error) => Event::Failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
                },
            };
            return Poll::Ready(event);
        }
        let Self::UnderWay { to, watched } = self else { return Poll::Pending };
        loop {
            let Ok(mut ready) = std::task::ready!(watched.poll_write_ready(cx)) else {
                return Poll::Ready(Event::Failed(Errno::CONNABORTED));
            };
            match socket::outcome(socket) {
                Ok(true) => return Poll::Ready(Event::Connected(*to)),
                Err(error) => return Poll::Ready(Event::Failed(error)),
                Ok(false) => ready.clear_ready(),
            }
        }
    }
}
