//! The time after the report: the peer is to read our last words before the socket goes.
//!
//! A socket closed with unread bytes sends a reset, and a reset makes the other side throw away
//! what it has not read: the alert that explains. So we say FIN, and read on until the peer has
//! closed or the time is up.

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};

use super::held::Held;
use super::poller::Readiness;
use super::relay::Turn;
use super::scratch::{READ, Scratch};

/// What a peer may still send us to throw away. A peer that goes on for longer is not listening.
const MAX_DISCARDED: usize = 4 * 1024 * 1024;

pub(super) struct Linger {
    until: Instant,
    finished: bool,
    /// The peer's FIN was read.
    peer_at_end: bool,
    discarded: usize,
}

impl Linger {
    /// `wanted` is false when nobody is there to read: the next turn then ends it.
    pub(super) fn new(wanted: bool, until: Instant) -> Self {
        let discarded = if wanted { 0 } else { MAX_DISCARDED + 1 };
        Self { until, finished: false, peer_at_end: false, discarded }
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn turn(
        &mut self,
        net: &OwnedFd,
        ready: &mut Readiness,
        to_peer: &mut Held,
        scratch: &mut Scratch,
    ) -> Turn {
        if self.discarded > MAX_DISCARDED {
            return Turn::Gone;
        }
        if !to_peer.is_empty() && ready.writable {
            let write =
                |bytes: &[u8]| rustix::net::send(net, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            match to_peer.drain(write) {
                Ok((_, open)) => ready.writable = open,
                Err(_) => return Turn::Gone,
            }
        }
        if to_peer.is_empty() && !self.finished {
            if rustix::net::shutdown(net, Shutdown::Write).is_err() {
                return Turn::Gone;
            }
            self.finished = true;
        }
        if self.finished && self.peer_at_end {
            return Turn::Gone;
        }
        if !ready.readable {
            return Turn::Wait;
        }
        scratch.net_in.clear();
        match rustix::net::recv(net, &mut scratch.net_in.spare(READ)[..READ], RecvFlags::DONTWAIT) {
            // It may have said everything and still read: what waits for it has until the deadline.
            Ok((0, _)) if !to_peer.is_empty() => {
                self.peer_at_end = true;
                ready.readable = false;
                Turn::Wait
            }
            Ok((0, _)) => Turn::Gone,
            Ok((count, _)) => {
                self.discarded += count;
                Turn::Again
            }
            Err(Errno::INTR) => Turn::Again,
            Err(Errno::AGAIN) => {
                ready.readable = false;
                Turn::Wait
            }
            Err(_) => Turn::Gone,
        }
    }
}
