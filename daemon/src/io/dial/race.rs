//! Which address is tried when, and on which socket: RFC 8305 as a machine without sockets and clocks.
//!
//! ```text
//!  waiting: [::1] 127.0.0.1 [::2] …          free ──begin──▶ trying ──failed, or 2 s and somebody waits──▶ free
//!           families alternate, IPv6 first    one of these for each socket; the first that connects ends the race
//! ```
//!
//! It says what to do ([`Race::poll`]) and is told what happened ([`Race::failed`], [`Race::is_free`]). Who connected
//! has won: the race is then thrown away.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::lost::{Lost, Tried};

/// RFC 8305 section 5: the next attempt begins this long after the last. Less would make two connections of nearly
/// every one; with more, a person feels each address that is dead.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// What has got nowhere for this long gives its socket to the next address of its family. A SYN that is lost is sent
/// again after 1 s, so two of them have gone unanswered by then.
const PATIENCE: Duration = Duration::from_secs(2);

/// Addresses of one name that are tried at most, IPv4 and IPv6 together: no service has more, and a name of thousands
/// would make the daemon knock at thousands of doors.
const MAX_ADDRESSES: usize = 32;

/// A family of addresses that a socket can be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// AF_INET6.
    V6,
    /// AF_INET.
    V4,
}

impl Family {
    /// The family of an address.
    pub fn of(address: &SocketAddr) -> Self {
        if address.is_ipv6() { Self::V6 } else { Self::V4 }
    }
}

/// What is to be done now. Sockets are meant by their place in the list that the race began with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Connect this socket to this address.
    Begin { socket: usize, to: SocketAddr },
    /// Take this socket from its attempt. [`Race::is_free`] says when it can be used again.
    Withdraw { socket: usize },
    /// Nothing, before this time or before something happens.
    Wait(Instant),
    /// It came to nothing.
    Over(Lost),
}

/// The attempts of one session.
#[derive(Debug)]
pub(super) struct Race {
    waiting: VecDeque<SocketAddr>,
    sockets: Vec<Seat>,
    /// When the next attempt may begin.
    next: Instant,
    deadline: Instant,
    tried: Vec<Tried>,
}

#[derive(Debug)]
struct Seat {
    family: Family,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Free,
    Trying {
        to: SocketAddr,
        since: Instant,
    },
    /// Taken from its attempt, and not put back yet.
    Withdrawn,
}

impl Race {
    /// A race to these addresses, as the resolver sorted them; `families` are those of the sockets. Addresses of
    /// other families are left out.
    pub(super) fn new(
        addresses: &[SocketAddr],
        families: &[Family],
        now: Instant,
        deadline: Instant,
    ) -> Self {
        Self {
            waiting: order(addresses, families),
            sockets: families.iter().map(|family| Seat { family: *family, state: State::Free }).collect(),
            next: now,
            deadline,
            tried: Vec::new(),
        }
    }

    /// What to do now. To be asked again after each step but [`Step::Wait`], and when something happened.
    pub(super) fn poll(&mut self, now: Instant) -> Step {
        if now >= self.deadline {
            return self.over(true);
        }
        if self.waiting.is_empty() {
            let trying = self.sockets.iter().any(|seat| matches!(seat.state, State::Trying { .. }));
            return if trying { Step::Wait(self.deadline) } else { self.over(false) };
        }
        if now < self.next {
            return Step::Wait(self.next.min(self.deadline));
        }
        if let Some((at, socket)) = self.runnable() {
            let Some(to) = self.waiting.remove(at) else { return self.over(false) };
            self.sockets[socket].state = State::Trying { to, since: now };
            self.next = now + ATTEMPT_DELAY;
            return Step::Begin { socket, to };
        }
        // Every socket of every family that waits is in use: the attempt that is oldest makes room.
        let Some((socket, to, since)) = self.oldest() else { return Step::Wait(self.deadline) };
        if now < since + PATIENCE {
            return Step::Wait((since + PATIENCE).min(self.deadline));
        }
        self.tried.push(Tried::silent(to));
        self.sockets[socket].state = State::Withdrawn;
        Step::Withdraw { socket }
    }

    /// The attempt on this socket failed. [`Race::is_free`] says when the socket can be used again.
    pub(super) fn failed(&mut self, socket: usize, error: Errno, now: Instant) {
        if let State::Trying { to, .. } = self.sockets[socket].state {
            self.tried.push(Tried::failed(to, error));
            self.next = now;
        }
        self.sockets[socket].state = State::Withdrawn;
    }

    /// A socket that failed or was withdrawn is as it was before its attempt.
    pub(super) fn is_free(&mut self, socket: usize) {
        self.sockets[socket].state = State::Free;
    }

    /// The first address that waits and has a free socket.
    fn runnable(&self) -> Option<(usize, usize)> {
        self.waiting.iter().enumerate().find_map(|(at, address)| {
            let family = Family::of(address);
            let free = |seat: &Seat| seat.family == family && matches!(seat.state, State::Free);
            Some((at, self.sockets.iter().position(free)?))
        })
    }

    /// The oldest attempt whose family an address waits for.
    fn oldest(&self) -> Option<(usize, SocketAddr, Instant)> {
        let wanted = |family| self.waiting.iter().any(|address| Family::of(address) == family);
        let trying = self.sockets.iter().enumerate().filter_map(|(socket, seat)| match seat.state {
            State::Trying { to, since } if wanted(seat.family) => Some((socket, to, since)),
            _ => None,
        });
        trying.min_by_key(|(_, _, since)| *since)
    }

    fn over(&mut self, late: bool) -> Step {
        let mut tried = std::mem::take(&mut self.tried);
        tried.extend(self.sockets.iter().filter_map(|seat| match seat.state {
            State::Trying { to, .. } => Some(Tried::silent(to)),
            _ => None,
        }));
        Step::Over(Lost { tried, late })
    }
}

/// RFC 8305 section 4: families alternate, IPv6 first; within a family the resolver's order stays. The same address
/// twice is tried once.
fn order(addresses: &[SocketAddr], families: &[Family]) -> VecDeque<SocketAddr> {
    let mut seen = Vec::new();
    let mut of = |family| -> VecDeque<SocketAddr> {
        let mut found = VecDeque::new();
        for address in addresses.iter().filter(|address| Family::of(address) == family) {
            if families.contains(&family) && !seen.contains(address) {
                seen.push(*address);
                found.push_back(*address);
            }
        }
        found
    };
    let (mut six, mut four) = (of(Family::V6), of(Family::V4));
    let mut ordered = VecDeque::new();
    while ordered.len() < MAX_ADDRESSES && !(six.is_empty() && four.is_empty()) {
        ordered.extend(six.pop_front());
        ordered.extend(four.pop_front());
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

#[cfg(test)]
#[path = "race_tests.rs"]
mod tests;
