//! One relay, the program on one side, a plain TLS connection on the other.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, socketpair};
use tlsify_protocol::{How, Version};

use super::super::super::end::{End, Plain};
use super::super::super::poller::{Poller, Token};
use super::super::super::scratch::Scratch;
use super::super::{Outcome, Relay, Start, Timeouts, Turn};
use crate::session::tests::pair::{self, Case, End as _, Far, Shape, Theirs};

const TOKEN: Token = Token { slot: 0, life: 0 };
/// No work here needs so many turns: a relay that takes more is spinning.
const MANY: usize = 10_000;

pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);
pub(super) const IDLE: Duration = Duration::from_secs(60);
pub(super) const LINGER: Duration = Duration::from_secs(2);
pub(super) const TIMEOUTS: Timeouts = Timeouts { handshake: HANDSHAKE, idle: None, linger: LINGER };

pub(super) struct Bench {
    pub(super) relay: Relay,
    poller: Poller,
    scratch: Scratch,
    pub(super) now: Instant,
    /// The peer's end of the network, and its TLS.
    pub(super) net: Option<OwnedFd>,
    pub(super) theirs: Theirs,
    /// What of the peer's records its socket did not take yet.
    unsent: Vec<u8>,
    /// The peer saw FIN.
    pub(super) peer_at_end: bool,
    /// The program's end.
    pub(super) program: Option<OwnedFd>,
    ours: Option<Plain>,
    pub(super) outcome: Option<Outcome>,
    pub(super) gone: bool,
}

impl Bench {
    /// A server's relay, before the first byte.
    pub(super) fn new(timeouts: Timeouts) -> Self {
        let (near, far) = pair();
        Self::on(near, far, pair(), timeouts)
    }

    /// The same on other sockets: the network's two ends, and the program's.
    pub(super) fn on(near: OwnedFd, far: OwnedFd, plain: (OwnedFd, OwnedFd), timeouts: Timeouts) -> Self {
        let case = Case { server: true, version: Version::Tls13, shape: Shape::Unbuffered };
        let now = Instant::now();
        let poller = Poller::new().expect("epoll");
        let start = Start { session: pair::session(case), net: near, timeouts };
        let relay = Relay::new(start, now);
        poller.add(relay.net(), TOKEN, super::super::Which::Net).expect("add");
        let mut theirs = Far::new().connect(case);
        let unsent = theirs.send();
        let mut bench = Self {
            relay,
            poller,
            scratch: Scratch::new(),
            now,
            net: Some(far),
            theirs,
            unsent,
            peer_at_end: false,
            program: Some(plain.1),
            ours: Some(Plain::Socket(End::socket(plain.0))),
            outcome: None,
            gone: false,
        };
        let turn = bench.relay.begin(&[], &mut bench.scratch);
        bench.after(turn);
        bench
    }

    /// An open session.
    pub(super) fn open(timeouts: Timeouts) -> Self {
        let mut bench = Self::new(timeouts);
        bench.settle();
        assert!(bench.is_open(), "{:?}", bench.outcome);
        bench
    }

    pub(super) fn is_open(&self) -> bool {
        self.ours.is_none() && self.outcome.is_none() && self.theirs.is_open()
    }

    /// Turns until the relay waits, and nothing that it waits for has come.
    pub(super) fn turns(&mut self) {
        for _ in 0..MANY {
            let mut events = Vec::new();
            let mut seen = false;
            let relay = &mut self.relay;
            self.poller
                .poll(&mut events, |_, which, readiness| {
                    seen = true;
                    relay.ready(which, readiness);
                })
                .expect("poll");
            if self.gone {
                return;
            }
            let turn = self.relay.turn(&mut self.scratch, &self.poller, self.now);
            let waits = matches!(turn, Turn::Wait);
            self.after(turn);
            if waits && !seen {
                return;
            }
        }
        panic!("the relay is spinning");
    }

    /// The relay hears what the poller has, and gets no turn yet.
    pub(super) fn notice(&mut self) {
        let mut events = Vec::new();
        let relay = &mut self.relay;
        self.poller.poll(&mut events, |_, which, readiness| relay.ready(which, readiness)).expect("poll");
    }

    /// The program writes until nobody takes more; the peer does not read.
    pub(super) fn fill(&mut self) -> usize {
        let mut written = 0;
        loop {
            let count = self.program_writes(&[3; 100_000]);
            written += count;
            self.turns();
            if count == 0 {
                return written;
            }
        }
    }

    /// The peer reads and answers everything, the relay too, until nothing moves.
    pub(super) fn settle(&mut self) {
        loop {
            self.turns();
            let moved = self.peer_reads(usize::MAX) + self.peer_sends();
            if moved == 0 {
                return;
            }
        }
    }

    fn after(&mut self, turn: Turn) {
        match turn {
            Turn::Wait | Turn::Again => {}
            Turn::Established => {
                if let Some(plain) = self.ours.take() {
                    self.relay.open(plain, &self.poller, TOKEN).expect("open");
                }
            }
            Turn::Over(outcome) => {
                assert!(self.outcome.is_none(), "two ends: {:?} and {outcome:?}", self.outcome);
                self.outcome = Some(outcome);
                self.relay.close_plain(&self.poller);
            }
            Turn::Gone => {
                assert!(self.outcome.is_some(), "gone without a word");
                self.relay.close_plain(&self.poller);
                self.relay.close_net(&self.poller);
                self.gone = true;
            }
        }
    }

    /// The clock goes on, and what is due happens.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        let (_, due) = self.relay.deadline_change();
        if !self.gone && due.is_some_and(|at| at <= self.now) {
            self.relay.deadline_taken();
            let turn = self.relay.expire(self.now);
            self.after(turn);
        }
        self.turns();
    }

    pub(super) fn abort(&mut self, outcome: Outcome) {
        let turn = self.relay.abort(outcome, &mut self.scratch, self.now);
        self.after(turn);
    }

    /// The peer writes; as much as its socket takes goes out.
    pub(super) fn peer_writes(&mut self, data: &[u8]) {
        let records = self.theirs.write(data);
        self.unsent.extend(records);
        self.peer_sends();
    }

    pub(super) fn peer_finishes(&mut self) {
        let records = self.theirs.finish();
        self.unsent.extend(records);
        self.peer_sends();
    }

    /// Bytes that are no TLS of this session's.
    pub(super) fn peer_sends_raw(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
        self.peer_sends();
    }

    pub(super) fn peer_shuts(&mut self) {
        rustix::net::shutdown(self.net.as_ref().expect("open"), Shutdown::Write).expect("shutdown");
    }

    /// The peer reads at most `limit` bytes of records.
    pub(super) fn peer_reads(&mut self, limit: usize) -> usize {
        let mut total = 0;
        let mut buffer = vec![0; 64 * 1024];
        while let Some(net) = &self.net
            && total < limit
        {
            let room = buffer.len().min(limit - total);
            match rustix::net::recv(net, &mut buffer[..room], RecvFlags::DONTWAIT) {
                Ok((0, _)) => {
                    self.peer_at_end = true;
                    return total;
                }
                Ok((count, _)) => {
                    total += count;
                    let answer = self.theirs.receive(&buffer[..count]);
                    self.unsent.extend(answer);
                }
                Err(Errno::AGAIN) => return total,
                Err(error) => panic!("the peer cannot read: {error}"),
            }
        }
        total
    }

    fn peer_sends(&mut self) -> usize {
        let mut total = 0;
        while let Some(net) = &self.net
            && !self.unsent.is_empty()
        {
            match rustix::net::send(net, &self.unsent, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => {
                    self.unsent.drain(..count);
                    total += count;
                }
                Err(Errno::AGAIN) => return total,
                // The relay has closed: nobody takes it.
                Err(_) => self.unsent.clear(),
            }
        }
        total
    }

    /// The program writes what its socket takes.
    pub(super) fn program_writes(&mut self, data: &[u8]) -> usize {
        let program = self.program.as_ref().expect("open");
        let mut sent = 0;
        while sent < data.len() {
            match rustix::net::send(program, &data[sent..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => break,
                Err(error) => panic!("the program cannot write: {error}"),
            }
        }
        sent
    }

    pub(super) fn program_shuts(&mut self) {
        rustix::net::shutdown(self.program.as_ref().expect("open"), Shutdown::Write).expect("shutdown");
    }

    /// What the program can read now, and whether its end came.
    pub(super) fn program_reads(&mut self) -> (Vec<u8>, bool) {
        let program = self.program.as_ref().expect("open");
        let mut all = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match rustix::net::recv(program.as_fd(), &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return (all, true),
                Ok((count, _)) => all.extend_from_slice(&buffer[..count]),
                Err(Errno::AGAIN) => return (all, false),
                Err(error) => panic!("the program cannot read: {error}"),
            }
        }
    }

    /// How the session ended.
    #[track_caller]
    pub(super) fn how(&self) -> How {
        match &self.outcome {
            Some(Outcome::Ended(how, _)) => *how,
            other => panic!("no end of an open session: {other:?}"),
        }
    }
}

pub(super) fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).expect("socketpair")
}

/// A pair that can be reset, as (ours, theirs).
pub(super) fn tcp_pair() -> (OwnedFd, OwnedFd) {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind");
    let near = std::net::TcpStream::connect(listener.local_addr().expect("address")).expect("connect");
    let (far, _) = listener.accept().expect("accept");
    (near.into(), far.into())
}

/// Closes with RST.
pub(super) fn reset(socket: OwnedFd) {
    rustix::net::sockopt::set_socket_linger(&socket, Some(Duration::ZERO)).expect("a TCP socket");
    drop(socket);
}
