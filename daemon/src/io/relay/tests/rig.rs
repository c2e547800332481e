//! A relay between two socket pairs, turned by hand, with a clock that is turned by hand.

use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};

use super::super::super::end::End;
use super::super::*;
use crate::session::tests::cases::{NAME, Role, Setup, Talk, Theirs};
use crate::tls::Version;
use crate::tls::pair::only;

pub(super) const TOKEN: Token = Token { slot: 0, life: 1 };
pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    idle: Some(Duration::from_secs(600)),
    linger: Duration::from_secs(5),
};

/// How a stream stands after everything that was there has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    Open,
    End,
    Reset,
}

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
    unsent: Vec<u8>,
    /// The program's end, when the program's side is a socket.
    pub(super) program: Option<OwnedFd>,
    pub(super) outcome: Option<Outcome>,
    pub(super) gone: bool,
    pub(super) turns: usize,
    due: bool,
}

pub(super) fn sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap()
}

impl Rig {
    /// A relay of ours in this role that has begun; nothing has moved.
    pub(super) fn new(role: Role, plain: Plain, timeouts: Timeouts) -> Self {
        let setup = Setup::new(only(Version::Tls13));
        let (ours, peer) = match role {
            Role::Client => (setup.our_client_session(false), setup.their_server()),
            Role::Server => (setup.our_server(false).session, setup.their_client(NAME)),
        };
        let (net, wire) = sockets();
        let poller = Poller::new().unwrap();
        poller.add(&net, TOKEN, Which::Net).unwrap();
        let now = Instant::now();
        let mut rig = Self {
            relay: Relay::new(Start { session: ours, net, timeouts }, now),
            poller,
            scratch: Scratch::new(),
            now,
            plain: Some(plain),
            peer,
            wire: Some(wire),
            unsent: Vec::new(),
            program: None,
            outcome: None,
            gone: false,
            turns: 0,
            due: false,
        };
        let turn = rig.relay.begin(&[], &mut rig.scratch);
        rig.after(turn);
        rig
    }

    /// The same after the handshake, with a program at the other end of a socket pair.
    pub(super) fn open(role: Role, timeouts: Timeouts) -> Self {
        let (plain, program) = sockets();
        let mut rig = Self::new(role, Plain::Socket(End::socket(plain)), timeouts);
        rig.program = Some(program);
        rig.flow();
        assert_eq!(rig.relay.session.state(), SessionState::Established);
        rig
    }

    /// The same with a program behind two descriptors.
    pub(super) fn split(inbound: Option<End>, outbound: Option<End>) -> Self {
        let mut rig = Self::new(Role::Server, Plain::Split { inbound, outbound }, TIMEOUTS);
        rig.flow();
        assert!(!rig.relay.is_handshaking());
        rig
    }

    /// Turns until the relay waits. The peer and the program do nothing.
    pub(super) fn work(&mut self) {
        let mut idle = 0;
        loop {
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
            Turn::Established => {
                let plain = self.plain.take().expect("established once");
                self.relay.open(plain, &self.poller, TOKEN).unwrap();
                self.due = true;
            }
            Turn::Over(outcome) => {
                assert!(self.outcome.is_none(), "over twice");
                self.outcome = Some(outcome);
                self.relay.close_plain(&self.poller);
                self.due = true;
            }
            Turn::Gone => {
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
                Ok(0) | Err(_) => break,
                Ok(count) => {
                    self.peer.hear(&buffer[..count]);
                    heard += count;
                }
            }
        }
        heard
    }

    /// The peer sends what it has to say. Whether anything went.
    pub(super) fn peer_sends(&mut self) -> bool {
        self.unsent.extend(self.peer.said());
        let Some(wire) = &self.wire else { return false };
        let mut sent = 0;
        while sent < self.unsent.len() {
            match send(wire, &self.unsent[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        self.unsent.drain(..sent);
        sent > 0
    }

    /// Bytes of the peer that the network has refused.
    pub(super) fn peer_unsent(&self) -> usize {
        self.unsent.len()
    }

    /// The clock goes on; a deadline that has passed fires, as the worker would have it.
    pub(super) fn sleep(&mut self, time: Duration) {
        self.now += time;
        self.relay.deadline_change();
        if self.relay.deadline().is_some_and(|at| at <= self.now) {
            self.relay.deadline_taken();
            let turn = self.relay.expire(self.now);
            self.after(turn);
        }
        self.work();
    }

    /// What the program writes that its socket takes.
    pub(super) fn program_writes(&mut self, bytes: &[u8]) -> usize {
        let program = self.program.as_ref().expect("the program is there");
        let mut sent = 0;
        while sent < bytes.len() {
            match send(program, &bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    /// Everything that the program can read now, and how the stream stands behind it.
    pub(super) fn program_reads(&mut self) -> (Vec<u8>, Tail) {
        read_all(self.program.as_ref().expect("the program is there"))
    }

    pub(super) fn program_finishes(&mut self) {
        rustix::net::shutdown(self.program.as_ref().expect("there"), Shutdown::Write).unwrap();
    }

    /// What the outcome is, without its failure.
    pub(super) fn how(&self) -> How {
        match self.outcome.as_ref().expect("the session is over") {
            Outcome::Ended(how, _) => *how,
            Outcome::Failed(failure) => panic!("failed: {failure}"),
        }
    }
}

pub(super) fn read_all(fd: &OwnedFd) -> (Vec<u8>, Tail) {
    let mut all = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match recv(fd, &mut buffer) {
            Ok(0) => return (all, Tail::End),
            Ok(count) => all.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN) => return (all, Tail::Open),
            Err(_) => return (all, Tail::Reset),
        }
    }
}

pub(super) fn text(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 253) as u8).collect()
}
