//! The load: clients in one thread, on one core, as many at once as a scenario asks for, and every operation checked.
//!
//! ```text
//!  scenario ── fresh(), open(), ask(), flood() ──▶ Load ── epoll ──▶ Connection (socket, TLS, one request) ──▶ a site
//!                         Sample ◀── how many, how long in all, how long each ──┘
//! ```
//!
//! What it does not do: it verifies no certificate, knows no site, and reads no CPU time but its own wall clock. An
//! operation that fails in any way (another status, a byte too few, an end without close_notify, a full handshake
//! where a resumed one was meant) fails the whole sample.

pub(crate) mod config;
mod connection;
mod http;
pub(crate) mod tls;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rustls::{ClientConfig, HandshakeKind};

pub(crate) use connection::Plan;
use connection::{Connection, Event, Scratch};
pub(crate) use http::Ask;

/// No operation takes so long; one that does hangs.
const PATIENCE: u16 = 20_000;
/// How many sockets are looked at at once.
const BATCH: usize = 64;
/// Clients that open sessions at the same time, where the scenario is not about that.
const OPENING: usize = 16;
/// Where the sessions that go first are found among all the others.
const URGENT: u64 = u64::MAX;

/// What a piece of load came to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// How long it took from the first to the last.
    pub(crate) wall: Duration,
    /// How long each operation took, in no order.
    pub(crate) each: Vec<Duration>,
}

impl Sample {
    /// What so many thousandths of the operations took at most.
    pub(crate) fn permille(&self, permille: usize) -> Duration {
        let mut each = self.each.clone();
        each.sort_unstable();
        let last = each.len().saturating_sub(1);
        each.get((each.len() * permille / 1000).min(last)).copied().unwrap_or_default()
    }
}

/// Clients of one site.
pub(crate) struct Load {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    clients: Vec<Option<Client>>,
    free: Vec<usize>,
    all: Epoll,
    /// Sessions that are looked at before each step of any other: what a client does for others must not be measured.
    urgent: Epoll,
    urgent_count: usize,
    ready: VecDeque<usize>,
    scratch: Scratch,
}

struct Client {
    connection: Connection,
    urgent: bool,
    /// What the kernel was told.
    wants_room: bool,
}

impl Load {
    /// Without any session yet.
    pub(crate) fn new(address: SocketAddr, config: Arc<ClientConfig>) -> Self {
        let [all, urgent] =
            [(); 2].map(|()| Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("a descriptor is free"));
        all.add(&urgent.0, EpollEvent::new(EpollFlags::EPOLLIN, URGENT)).expect("an epoll can be watched");
        Self {
            address,
            config,
            clients: Vec::new(),
            free: Vec::new(),
            all,
            urgent,
            urgent_count: 0,
            ready: VecDeque::new(),
            scratch: Scratch::new(),
        }
    }

    /// `count` sessions, `at_once` at a time, each from its connection to its end on both sides.
    ///
    /// # Errors
    /// The first operation that failed; the load is of no use any more.
    pub(crate) fn fresh(
        &mut self,
        count: usize,
        at_once: usize,
        plan: Plan,
        kind: HandshakeKind,
    ) -> Result<Sample, String> {
        let (began, mut begun) = (Instant::now(), 0);
        let mut sample = Sample { each: Vec::with_capacity(count), ..Sample::default() };
        while sample.each.len() < count {
            while begun < count && begun - sample.each.len() < at_once {
                self.begin(plan, kind)?;
                begun += 1;
            }
            let (index, event) = self.next()?;
            if let Event::Ended { took } = event {
                self.remove(index);
                sample.each.push(took);
            }
        }
        sample.wall = began.elapsed();
        Ok(sample)
    }

    /// Opens `count` more sessions that stay; each has had one request.
    ///
    /// # Errors
    /// As [`Load::fresh`].
    pub(crate) fn open(&mut self, count: usize) -> Result<(), String> {
        let (mut begun, mut done) = (0, 0);
        while done < count {
            while begun < count && begun - done < OPENING {
                self.begin(Plan::Stay, HandshakeKind::Full)?;
                begun += 1;
            }
            if self.next()?.1 == Event::Answered {
                done += 1;
            }
        }
        Ok(())
    }

    /// `count` requests on the sessions that are open, one after the other on each, and on all at the same time.
    ///
    /// # Errors
    /// As [`Load::fresh`].
    pub(crate) fn ask(&mut self, ask: Ask, count: usize) -> Result<Sample, String> {
        let (began, mut begun) = (Instant::now(), 0);
        let mut sample = Sample { each: Vec::with_capacity(count), ..Sample::default() };
        for index in self.idle().into_iter().take(count) {
            self.send(index, ask)?;
            begun += 1;
        }
        while sample.each.len() < count {
            let (index, event) = self.next()?;
            if event == Event::Answered {
                sample.each.push(self.connection(index).began.elapsed());
                if begun < count {
                    self.send(index, ask)?;
                    begun += 1;
                }
            }
        }
        sample.wall = began.elapsed();
        Ok(sample)
    }

    /// The sessions that are open ask for small things, one request after the other on each, while `at_once` clients do
    /// nothing but handshakes, for this time. Says how long the requests took, and the handshakes.
    ///
    /// # Errors
    /// As [`Load::fresh`].
    pub(crate) fn flood(&mut self, at_once: usize, time: Duration) -> Result<(Sample, Sample), String> {
        let began = Instant::now();
        let (mut requests, mut handshakes) = (Sample::default(), Sample::default());
        for index in self.idle() {
            self.hurry(index)?;
            self.send(index, Ask::Small)?;
        }
        for _ in 0..at_once {
            self.begin(Plan::Handshake, HandshakeKind::Full)?;
        }
        let mut running = at_once + self.urgent_count;
        while running > 0 {
            let (index, event) = self.next()?;
            let goes_on = began.elapsed() < time;
            match event {
                Event::Nothing => continue,
                Event::Answered => {
                    requests.each.push(self.connection(index).began.elapsed());
                    if goes_on {
                        self.send(index, Ask::Small)?;
                    }
                }
                Event::Ended { took } => {
                    self.remove(index);
                    handshakes.each.push(took);
                    if goes_on {
                        self.begin(Plan::Handshake, HandshakeKind::Full)?;
                    }
                }
            }
            running -= usize::from(!goes_on);
        }
        requests.wall = began.elapsed();
        handshakes.wall = requests.wall;
        Ok((requests, handshakes))
    }

    /// Ends the sessions that are open, with close_notify from this side.
    ///
    /// # Errors
    /// One that was open no more.
    pub(crate) fn close(&mut self) -> Result<(), String> {
        for index in self.idle() {
            let client = self.remove(index);
            client.connection.leave(&mut self.scratch)?;
        }
        Ok(())
    }

    /// Drops every session as it is, after a failure.
    pub(crate) fn forget(&mut self) {
        for index in 0..self.clients.len() {
            if self.clients[index].is_some() {
                self.remove(index);
            }
        }
    }

    /// The sessions that are open, with nothing on its way.
    fn idle(&self) -> Vec<usize> {
        let clients = self.clients.iter().enumerate();
        clients
            .filter(|(_, client)| client.as_ref().is_some_and(|client| client.connection.idle()))
            .map(|(index, _)| index)
            .collect()
    }

    fn begin(&mut self, plan: Plan, kind: HandshakeKind) -> Result<(), String> {
        let connection = Connection::begin(self.address, &self.config, plan, kind)?;
        let client = Client { connection, urgent: false, wants_room: true };
        let index = self.free.pop().unwrap_or_else(|| {
            self.clients.push(None);
            self.clients.len() - 1
        });
        self.all.add(client.connection.socket(), interest(true, index)).map_err(said)?;
        self.clients[index] = Some(client);
        Ok(())
    }

    /// From now on, this one goes first.
    fn hurry(&mut self, index: usize) -> Result<(), String> {
        let client = self.clients[index].as_mut().expect("an open session");
        if !client.urgent {
            self.all.delete(client.connection.socket()).map_err(said)?;
            self.urgent.add(client.connection.socket(), interest(client.wants_room, index)).map_err(said)?;
            client.urgent = true;
            self.urgent_count += 1;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, ask: Ask) -> Result<(), String> {
        let client = self.clients[index].as_mut().expect("an open session");
        client.connection.ask(ask, &mut self.scratch)?;
        self.watch(index)
    }

    /// One turn of one client that has something to do.
    fn next(&mut self) -> Result<(usize, Event), String> {
        loop {
            let index = self.ready()?;
            // One of the same batch may have ended another.
            let Some(client) = self.clients[index].as_mut() else { continue };
            let event = client.connection.turn(&mut self.scratch)?;
            if !matches!(event, Event::Ended { .. }) {
                self.watch(index)?;
            }
            return Ok((index, event));
        }
    }

    /// A client whose socket is ready.
    fn ready(&mut self) -> Result<usize, String> {
        let mut events = [EpollEvent::empty(); BATCH];
        if self.urgent_count > 0 {
            let one = &mut events[..1];
            if self.urgent.wait(one, EpollTimeout::ZERO).map_err(said)? == 1 {
                return Ok(position(one[0]));
            }
        }
        while self.ready.is_empty() {
            let count = match self.all.wait(&mut events, PATIENCE) {
                Ok(0) => return Err(format!("nothing from {} for {PATIENCE} ms", self.address)),
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(said(error)),
            };
            if events[..count].iter().any(|event| event.data() == URGENT) {
                let others = events[..count].iter().filter(|event| event.data() != URGENT);
                self.ready.extend(others.map(|event| position(*event)));
                return self.ready();
            }
            self.ready.extend(events[..count].iter().map(|event| position(*event)));
        }
        Ok(self.ready.pop_front().expect("one is ready"))
    }

    /// Tells the kernel what a client waits for, when that has changed.
    fn watch(&mut self, index: usize) -> Result<(), String> {
        let client = self.clients[index].as_mut().expect("it is there");
        let wants_room = client.connection.wants_room();
        if wants_room != client.wants_room {
            client.wants_room = wants_room;
            let epoll = if client.urgent { &self.urgent } else { &self.all };
            epoll.modify(client.connection.socket(), &mut interest(wants_room, index)).map_err(said)?;
        }
        Ok(())
    }

    fn connection(&self, index: usize) -> &Connection {
        &self.clients[index].as_ref().expect("it is there").connection
    }

    /// Its socket is closed when what this gives is dropped, and leaves the epoll by that.
    fn remove(&mut self, index: usize) -> Client {
        let client = self.clients[index].take().expect("it is there");
        self.urgent_count -= usize::from(client.urgent);
        self.ready.retain(|ready| *ready != index);
        self.free.push(index);
        client
    }
}

fn interest(wants_room: bool, index: usize) -> EpollEvent {
    let room = if wants_room { EpollFlags::EPOLLOUT } else { EpollFlags::empty() };
    EpollEvent::new(EpollFlags::EPOLLIN | room, index as u64)
}

fn position(event: EpollEvent) -> usize {
    usize::try_from(event.data()).expect("it was a position")
}

fn said(error: nix::errno::Errno) -> String {
    format!("epoll: {error}")
}
