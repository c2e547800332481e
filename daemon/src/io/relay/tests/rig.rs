//! A relay between two socket pairs, turned by hand, with a clock that is turned by hand.

use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType, socketpair};
pub(super) use tlsify_protocol::How;

use super::super::super::end::End;
use super::super::arms::{recv, send};
use super::super::*;
pub(super) use crate::session::tests::cases::{BAD_RECORD, Role, Talk};
use crate::session::tests::cases::{NAME, Setup, Theirs};
use crate::tls::Version;
use crate::tls::pair::only;

const TOKEN: Token = Token { slot: 0, life: 1 };
/// No work here needs so many turns: a relay that takes more is spinning.
const MANY: usize = 10_000;

pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
pub(super) const IDLE: Duration = Duration::from_secs(60);
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const TIMEOUTS: Timeouts = Timeouts { handshake: HANDSHAKE, idle: None, linger: LINGER };
pub(super) const IDLY: Timeouts = Timeouts { idle: Some(IDLE), ..TIMEOUTS };

/// One read of a side, as records.
pub(super) const ONE_READ: usize = READ + READ / 64 + 1024;

pub(super) struct Rig {
    pub(super) relay: Relay,
    pub(super) poller: Poller,
    pub(super) scratch: Scratch,
    pub(super) now: Instant,
    /// What the program's side is once the session is open.
    pub(super) plain: Option<Plain>,
    /// The peer: its TLS, and its end of the network.
    pub(super) peer: Theirs,
    pub(super) wire: Option<OwnedFd>,
    /// What of the peer's records its socket did not take yet.
    unsent: Vec<u8>,
    /// The peer saw FIN.
    pub(super) peer_at_end: bool,
    /// The program's end, when the program's side is a socket.
    pub(super) program: Option<OwnedFd>,
    pub(super) outcome: Option<Outcome>,
    pub(super) gone: bool,
    /// What another thread is to do.
    pub(super) aside: Option<Box<Step>>,
    pub(super) turns: usize,
    due: bool,
}

impl Rig {
    /// A server's relay that has begun, with a program at the other end of a socket pair; nothing has moved.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        Self::on(sockets(), sockets(), timeouts)
    }

    /// The same on other sockets, (ours, theirs): the network's and the program's.
    pub(super) fn on(net: (OwnedFd, OwnedFd), program: (OwnedFd, OwnedFd), timeouts: Timeouts) -> Self {
        Self::socket(Role::Server, net, program, timeouts)
    }

    fn socket(role: Role, net: (OwnedFd, OwnedFd), program: (OwnedFd, OwnedFd), timeouts: Timeouts) -> Self {
        let plain = Plain::Socket(End::socket(program.0));
        Self { program: Some(program.1), ..Self::begin(role, net, plain, timeouts) }
    }

    fn begin(role: Role, net: (OwnedFd, OwnedFd), plain: Plain, timeouts: Timeouts) -> Self {
        Self::begin_at(role, net, plain, timeouts, false)
    }

    /// A relay in this role whose handshake is done elsewhere, as one whose signer may be slow.
    pub(super) fn elsewhere(role: Role) -> Self {
        let program = sockets();
        let plain = Plain::Socket(End::socket(program.0));
        Self { program: Some(program.1), ..Self::begin_at(role, sockets(), plain, TIMEOUTS, true) }
    }

    fn begin_at(
        role: Role,
        (net, wire): (OwnedFd, OwnedFd),
        plain: Plain,
        timeouts: Timeouts,
        waits_for_signer: bool,
    ) -> Self {
        let setup = Setup::new(only(Version::Tls13));
        let (ours, peer) = match role {
            Role::Client => (setup.our_client_session(false), setup.their_server()),
            Role::Server => (setup.our_server(false).session, setup.their_client(NAME)),
        };
        let poller = Poller::new().unwrap();
        let now = Instant::now();
        let mut rig = Self {
            relay: Relay::new(
                Start {
                    session: ours,
                    net,
                    timeouts,
                    deferred: false,
                    outbound_end: OutboundEnd::Notify,
                    waits_for_signer,
                },
                now,
            ),
            poller,
            scratch: Scratch::new(),
            now,
            plain: Some(plain),
            peer,
            wire: Some(wire),
            unsent: Vec::new(),
            peer_at_end: false,
            program: None,
            outcome: None,
            gone: false,
            aside: None,
            turns: 0,
            due: false,
        };
        rig.relay.watch(&rig.poller, TOKEN).unwrap();
        let turn = rig.relay.begin(&[], &mut rig.scratch);
        rig.after(turn);
        rig
    }

    /// A relay in this role after the handshake.
    pub(super) fn open(role: Role, timeouts: Timeouts) -> Self {
        Self::socket(role, sockets(), sockets(), timeouts).opened()
    }

    /// The same as a server, with a program behind two descriptors.
    pub(super) fn split(inbound: Option<End>, outbound: Option<End>) -> Self {
        Self::begin(Role::Server, sockets(), Plain::Split { inbound, outbound }, TIMEOUTS).opened()
    }

    /// After the handshake.
    pub(super) fn opened(mut self) -> Self {
        self.flow();
        assert!(self.plain.is_none() && self.outcome.is_none(), "{:?}", self.outcome);
        self
    }

    /// The end of the program's stream waits for the peer's.
    pub(super) fn holding(mut self) -> Self {
        self.relay.outbound_end = OutboundEnd::Hold;
        self
    }

    /// Turns until the relay waits. The peer and the program do nothing.
    pub(super) fn work(&mut self) {
        let mut idle = 0;
        for _ in 0..MANY {
            self.poll();
            if !self.due || self.gone {
                return;
            }
            let before = self.moved();
            self.due = false;
            self.turns += 1;
            let turn = self.relay.turn(&mut self.scratch, &self.poller, self.now);
            idle = if matches!(turn, Turn::Again) && self.moved() == before { idle + 1 } else { 0 };
            // Reading on after an end moves nothing that is counted here, and is bounded.
            assert!(idle <= 20, "the relay spins");
            self.after(turn);
        }
        panic!("the relay spins");
    }

    /// Takes what the poller has, without a turn.
    pub(super) fn poll(&mut self) {
        let (relay, due) = (&mut self.relay, &mut self.due);
        let mut events = Vec::new();
        self.poller
            .poll(&mut events, |_, which, seen| {
                relay.ready(which, seen);
                *due = true;
            })
            .unwrap();
    }

    fn moved(&self) -> impl PartialEq + use<> {
        let relay = &self.relay;
        let ready = (relay.net_ready, relay.inbound_ready, relay.outbound_ready);
        let held = (relay.to_peer.len(), relay.to_program.len(), relay.session.rest().len());
        (relay.bytes(), held, ready, relay.session.state(), relay.is_lingering())
    }

    pub(super) fn after(&mut self, turn: Turn) {
        match turn {
            Turn::Wait => {}
            Turn::Again => self.due = true,
            Turn::Aside(step) => {
                assert!(self.aside.is_none(), "aside twice");
                self.aside = Some(step);
            }
            Turn::Established => {
                let plain = self.plain.take().expect("established once");
                self.relay.open(plain, &self.poller).unwrap();
                self.due = true;
            }
            Turn::Over(outcome) => {
                assert!(self.outcome.is_none(), "over twice");
                self.outcome = Some(outcome);
                self.relay.close_plain(&self.poller);
                self.due = true;
            }
            Turn::Gone => {
                assert!(self.outcome.is_some(), "gone without a word");
                self.relay.close_plain(&self.poller);
                self.relay.close_net(&self.poller);
                self.gone = true;
            }
        }
    }

    /// Moves everything until relay and peer are quiet. The program does nothing.
    pub(super) fn flow(&mut self) {
        loop {
            self.work();
            if !self.peer_moves() {
                return;
            }
        }
    }

    /// The peer reads and writes what its socket gives and takes. Whether anything moved.
    pub(super) fn peer_moves(&mut self) -> bool {
        let heard = self.peer_reads(usize::MAX);
        self.peer_sends() || heard > 0
    }

    /// The peer reads at most this much of the network.
    pub(super) fn peer_reads(&mut self, most: usize) -> usize {
        let Some(wire) = &self.wire else { return 0 };
        let mut heard = 0;
        let mut buffer = vec![0; 64 * 1024];
        while heard < most {
            let room = (most - heard).min(buffer.len());
            match recv(wire, &mut buffer[..room]) {
                Ok(0) => {
                    self.peer_at_end = true;
                    break;
                }
                Ok(count) => {
                    self.peer.hear(&buffer[..count]);
                    heard += count;
                }
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("the peer cannot read: {error}"),
            }
        }
        heard
    }

    /// The peer sends what it has to say. Whether anything went.
    pub(super) fn peer_sends(&mut self) -> bool {
        self.unsent.extend(self.peer.said());
        let Some(wire) = &self.wire else { return false };
        let sent = send_all(wire, &self.unsent);
        self.unsent.drain(..sent);
        sent > 0
    }

    pub(super) fn peer_writes(&mut self, data: &[u8]) {
        self.peer.write(data);
        self.peer_sends();
    }

    /// The peer sends bytes that its TLS does not know of.
    pub(super) fn peer_sends_raw(&mut self, bytes: &[u8]) {
        self.unsent.extend(self.peer.said());
        self.unsent.extend_from_slice(bytes);
        self.peer_sends();
    }

    /// FIN, whatever TLS says.
    pub(super) fn peer_shuts(&mut self) {
        rustix::net::shutdown(self.wire.as_ref().expect("there"), Shutdown::Write).unwrap();
    }

    /// Bytes of the peer that the network has refused.
    pub(super) fn peer_unsent(&self) -> usize {
        self.unsent.len()
    }

    /// The clock goes on; a deadline that has passed fires, as the worker would have it.
    pub(super) fn sleep(&mut self, time: Duration) {
        self.now += time;
        let (_, due) = self.relay.deadline_change();
        if !self.gone && due.is_some_and(|at| at <= self.now) {
            self.relay.deadline_taken();
            let turn = self.relay.expire(self.now);
            self.after(turn);
        }
        self.work();
    }

    pub(super) fn abort(&mut self, outcome: Outcome) {
        let turn = self.relay.abort(outcome, &mut self.scratch, self.now);
        self.after(turn);
    }

    /// What the program writes that its socket takes.
    pub(super) fn program_writes(&mut self, bytes: &[u8]) -> usize {
        send_all(self.program.as_ref().expect("the program is there"), bytes)
    }

    /// The program writes until nobody takes more; the peer does not read.
    pub(super) fn fill(&mut self) -> usize {
        let mut written = 0;
        loop {
            let count = self.program_writes(&[3; 100_000]);
            written += count;
            self.work();
            if count == 0 {
                return written;
            }
        }
    }

    /// Everything that the program can read now, and whether its end came.
    pub(super) fn program_reads(&mut self) -> (Vec<u8>, bool) {
        let program = self.program.as_ref().expect("the program is there");
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match recv(program, &mut buffer) {
                Ok(0) => return (all, true),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => return (all, false),
                Err(error) => panic!("the program cannot read: {error}"),
            }
        }
    }

    pub(super) fn program_finishes(&mut self) {
        rustix::net::shutdown(self.program.as_ref().expect("there"), Shutdown::Write).unwrap();
    }

    /// What the outcome is, without its failure.
    #[track_caller]
    pub(super) fn how(&self) -> How {
        match self.outcome.as_ref().expect("the session is over") {
            Outcome::Ended(how, _) => *how,
            Outcome::Failed(failure) => panic!("failed: {failure}"),
        }
    }
}

fn send_all(socket: &OwnedFd, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while sent < bytes.len() {
        match send(socket, &bytes[sent..], SendFlags::empty()) {
            Ok(count) => sent += count,
            // Full, or nobody is there who takes it.
            Err(_) => break,
        }
    }
    sent
}

pub(super) fn sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

/// A pair that can be reset, as (ours, theirs).
pub(super) fn tcp_pair() -> (OwnedFd, OwnedFd) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let near = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (near.into(), far.into())
}

/// Closes with RST.
pub(super) fn reset(socket: OwnedFd) {
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).unwrap();
    drop(socket);
}

pub(super) fn text(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 253) as u8).collect()
}
