//! How long a session waits for what: one deadline at a time.

use std::time::{Duration, Instant};

use rustix::net::getpeername;
use tlsify_protocol::{Code, How};

use super::super::end::Plain;
use super::{Inbound, Outcome, Relay, Timeouts, Turn};
use crate::tls::Failure;

/// With the program gone, its last bytes may wait this long for a peer that takes none of them.
/// Shorter would cut off slow mobile peers; longer only keeps a dead peer's memory.
const STALL: Duration = Duration::from_secs(30);

/// [`Timeouts`] as each session keeps them: in milliseconds, up to 49 days.
pub(super) struct Waits {
    handshake: u32,
    /// 0 waits for ever.
    idle: u32,
    linger: u32,
}

impl Waits {
    pub(super) fn new(timeouts: &Timeouts) -> Self {
        let short = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Self {
            handshake: short(timeouts.handshake),
            idle: timeouts.idle.map_or(0, |idle| short(idle).max(1)),
            linger: short(timeouts.linger),
        }
    }

    fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake.into())
    }

    fn idle(&self) -> Option<Duration> {
        (self.idle > 0).then(|| Duration::from_millis(self.idle.into()))
    }

    pub(super) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger.into())
    }
}

impl Relay {
    /// A deadline has passed.
    pub fn expire(&mut self, now: Instant) -> Turn {
        if self.deadline_now().is_none_or(|at| at > now) {
            return Turn::Wait;
        }
        if self.linger.is_some() {
            return Turn::Gone;
        }
        self.now = now;
        let outcome = if self.deferred && getpeername(&self.net).is_err() {
            let text = "no answer to the SYN that went out with the first bytes";
            Outcome::Failed(Failure::new(Code::ConnectTimeout, text.to_owned()))
        } else if self.is_handshaking() {
            let text = format!("the handshake took longer than {} ms", self.waits.handshake().as_millis());
            Outcome::Failed(Failure::new(Code::HandshakeTimeout, text))
        } else if self.program_is_gone() {
            Outcome::Ended(How::Caller, None)
        } else {
            Outcome::Ended(How::Timeout, None)
        };
        self.over(outcome)
    }

    /// The deadline that is registered, and the one that should be.
    pub fn deadline_change(&mut self) -> (Option<Instant>, Option<Instant>) {
        let old = self.deadline;
        self.deadline = self.deadline_now();
        (old, self.deadline)
    }

    /// The deadline that is registered.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The registered deadline has fired: it is registered no more.
    pub fn deadline_taken(&mut self) {
        self.deadline = None;
    }

    pub(super) fn deadline_now(&self) -> Option<Instant> {
        if let Some(linger) = &self.linger {
            return Some(linger.until());
        }
        if self.is_handshaking() {
            return Some(self.started + self.waits.handshake());
        }
        let gone = self.program_is_gone().then(|| {
            self.progress
                + if self.to_peer.is_empty() { self.waits.linger() } else { STALL.max(self.waits.linger()) }
        });
        let idle = self.waits.idle().map(|idle| self.progress + idle);
        [gone, idle].into_iter().flatten().min()
    }

    /// Whether the program closed its side altogether, as far as can be seen.
    pub(super) fn program_is_gone(&self) -> bool {
        let closed = match self.plain {
            Some(Plain::Socket(_)) => self.inbound_ready.hung_up,
            // Nobody reads, which a pipe shows before anything is written, and nobody writes.
            Some(Plain::Split { .. }) => {
                self.inbound_ready.hung_up && self.inbound == Inbound::Open && self.outbound_ended
            }
            None => false,
        };
        closed || (self.outbound_ended && self.inbound == Inbound::Dropped)
    }
}
