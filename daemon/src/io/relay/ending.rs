//! How a session ends, told truthfully.
//!
//! ```text
//!  program: end of its stream ─▶ close_notify   the other half stays open
//!           closed with bytes unread, broken ─▶ caller
//!  peer:    close_notify from both ─▶ close-notify   bare FIN ─▶ truncated   RST ─▶ reset   alert ─▶ alert
//!  us:      a deadline ─▶ timeout   cancel ─▶ cancelled   drain ─▶ drained
//! ```
//!
//! close_notify is said only where nothing is broken: at the end of the program's stream, and by a
//! drained session. With `outbound-end=hold` the end of the program's stream waits:
//!
//! ```text
//!  program's end ─▶ held ──┬── peer's close_notify, or its bare FIN ──▶ close_notify
//!                          ├── the program is gone, nobody reads ─────▶ close_notify
//!                          └── drained ───────────────────────────────▶ close_notify
//! ```

use std::os::fd::AsFd;
use std::time::Instant;

use rustix::io::{Errno, ioctl_fionread};
use tlsify_protocol::{Blame, Code, How, OutboundEnd, Party};

use super::super::dial::connect_code;
use super::super::end::Plain;
use super::super::linger::Linger;
use super::super::scratch::Scratch;
use super::{Arm, Inbound, Relay, Turn};
use crate::tls::Failure;

/// Reads of the program at a drained session's end: one is more than a socket holds by default, and
/// a program that writes on and on does not keep the daemon.
const LAST_READS: usize = 4;

/// How a session came to its end.
#[derive(Debug)]
pub enum Outcome {
    /// It was never established.
    Failed(Failure),
    /// It was, and this is how it ended. The failure says more when there was one.
    Ended(How, Option<Failure>),
}

impl Relay {
    /// The program's stream ended without an error, behind what is in `scratch.net_out`: close_notify, and the other half stays open. If the
    /// end is held, this comes again whenever the poller speaks of the program, and finds the same end.
    pub(super) fn program_ended(&mut self, scratch: &mut Scratch) -> Arm {
        self.outbound_ready.readable = false;
        self.outbound_ended = true;
        if self.outbound_end == OutboundEnd::Hold {
            self.end_held = true;
            self.send_records(scratch);
        } else {
            self.append_end(scratch)?;
            self.send_last_records(scratch);
        }
        if matches!(self.plain, Some(Plain::Socket(_))) && self.outbound_ready.hung_up {
            self.drop_inbound();
        }
        Ok(())
    }

    /// Says the held end once there is nothing to hold it for: the peer has ended its own stream, or
    /// the program is gone, so that no answer of the peer has a reader.
    pub(super) fn tell_held_end(&mut self, scratch: &mut Scratch) -> Arm {
        if self.end_held && (self.session.state().peer_closed() || self.program_is_gone()) {
            self.say_end(scratch)?;
        }
        Ok(())
    }

    fn say_end(&mut self, scratch: &mut Scratch) -> Arm {
        scratch.net_out.clear();
        self.append_end(scratch)?;
        self.send_records(scratch);
        Ok(())
    }

    fn append_end(&mut self, scratch: &mut Scratch) -> Arm {
        self.end_held = false;
        self.outbound_end = OutboundEnd::Notify;
        self.session.handle_plain_end(&mut scratch.net_out).map_err(|failure| self.broken(failure))
    }

    /// Writing to the program failed: it closed its end, or broke.
    pub(super) fn program_stopped_reading(&mut self, error: Errno) -> Arm {
        // A filter whose reader is gone ends, as SIGPIPE would have it. Any error but EPIPE says that
        // the program's own connection broke (a back end's reset), and it says so once: the next read
        // would find an end that looks clean, and the peer would be told so.
        if matches!(self.plain, Some(Plain::Split { .. })) || error != Errno::PIPE {
            return Err(Outcome::Ended(How::Caller, None));
        }
        self.drop_inbound();
        Ok(())
    }

    pub(super) fn drop_inbound(&mut self) {
        self.lost |= !self.to_program.is_empty();
        self.to_program.clear();
        if self.inbound == Inbound::Open {
            self.inbound = Inbound::Dropped;
        }
    }

    pub(super) fn net_broke(&mut self, error: Errno) {
        self.syn_error = self.syn_error.or(self.deferred.then_some(error));
        self.net_broken = true;
        self.to_peer.clear();
        // What the peer said before it went, an alert perhaps, explains more than EPIPE.
        self.net_ready.readable = true;
    }

    /// The peer's FIN came without close_notify.
    pub(super) fn peer_ended(&mut self, scratch: &mut Scratch) -> Outcome {
        if self.net_broken {
            return self.net_failed(Errno::CONNRESET);
        }
        self.net_at_end = true;
        // The program's stream is whole, whatever the peer's is; and it may still read.
        if self.end_held
            && let Err(outcome) = self.say_end(scratch)
        {
            return outcome;
        }
        if self.is_handshaking() {
            let text = "the peer closed the connection before the handshake was done";
            return Outcome::Failed(Failure::new(Code::ClosedByPeer, text.to_owned()));
        }
        // RFC 9846 §6.1: a FIN without close_notify may be an attacker's. With the program gone,
        // nobody misses what did not come.
        let how = if self.program_is_gone() { How::Caller } else { How::Truncated };
        Outcome::Ended(how, None)
    }

    /// The network side broke: the peer reset it, or the kernel gave it up (no route, no answer).
    pub(super) fn net_failed(&mut self, error: Errno) -> Outcome {
        self.net_broken = true;
        let error = self.syn_error.unwrap_or(error);
        let reset = matches!(error, Errno::CONNRESET | Errno::PIPE);
        if self.deferred && !reset {
            let text =
                format!("connecting with the first bytes came to nothing: {}", std::io::Error::from(error));
            return Outcome::Failed(Failure::new(connect_code(error), text));
        }
        let failure = |code| {
            let text = match code {
                Code::ResetByPeer => "the peer reset the connection before the handshake was done".to_owned(),
                _ => format!("the network socket failed: {}", std::io::Error::from(error)),
            };
            Failure::new(code, text)
        };
        match (self.is_handshaking(), reset) {
            (true, true) => Outcome::Failed(failure(Code::ResetByPeer)),
            (true, false) => Outcome::Failed(failure(Code::NetworkError)),
            // With the program gone, nobody misses what did not come.
            (false, _) if self.program_is_gone() => Outcome::Ended(How::Caller, None),
            (false, true) => Outcome::Ended(How::Reset, None),
            (false, false) => Outcome::Ended(How::Error, Some(failure(Code::NetworkError))),
        }
    }

    /// TLS failed: before `established` that is `failed`, after it an alert or an error.
    pub(super) fn broken(&self, failure: Failure) -> Outcome {
        if self.plain.is_none() {
            Outcome::Failed(failure)
        } else if failure.alert.is_some() {
            Outcome::Ended(How::Alert, Some(failure))
        } else {
            Outcome::Ended(How::Error, Some(failure))
        }
    }

    /// Ends the session from our side: cancelled, drained, the control connection gone. Only a
    /// drained session says close_notify, because only there nothing is broken; and only behind
    /// everything that the program has written.
    pub fn abort(&mut self, outcome: Outcome, scratch: &mut Scratch, now: Instant) -> Turn {
        self.now = now;
        if matches!(outcome, Outcome::Ended(How::Drained, _))
            && let Err(earlier) = self.say_goodbye(scratch)
        {
            return self.over(earlier);
        }
        self.over(outcome)
    }

    fn say_goodbye(&mut self, scratch: &mut Scratch) -> Arm {
        self.outbound_ready.readable = true;
        for _ in 0..LAST_READS {
            if !self.may_send() || !self.outbound_ready.readable {
                break;
            }
            self.plain_in(scratch)?;
        }
        let end = self.plain.as_ref().and_then(Plain::outbound);
        let waiting = end.map_or(Ok(0), |end| ioctl_fionread(end.as_fd()));
        if waiting.is_ok_and(|count| count > 0) {
            return Ok(());
        }
        // Said before, it is not said again; broken, nothing is.
        let _ = self.say_end(scratch);
        Ok(())
    }

    /// The session fails before its first byte: the peer gets the failure's alert, if there is one of ours. Instead of
    /// [`Relay::begin`].
    pub fn refuse(&mut self, failure: Failure, scratch: &mut Scratch) -> Turn {
        if let Some((alert, Party::Us)) = failure.alert {
            scratch.net_out.clear();
            scratch.net_out.extend(&plain_alert(alert));
            self.send_records(scratch);
        }
        self.over(Outcome::Failed(failure))
    }

    /// The session cannot go on because of us.
    pub fn broken_by_us(&mut self, failure: Failure) -> Turn {
        let outcome = self.broken(failure);
        self.over(outcome)
    }

    pub(super) fn over(&mut self, outcome: Outcome) -> Turn {
        // What ended the session first is how it ended, although the program is still reading.
        let outcome = self.pending.take().map_or(outcome, |first| *first);
        let blame = match &outcome {
            Outcome::Failed(failure) | Outcome::Ended(_, Some(failure)) => failure.blame,
            Outcome::Ended(..) => Blame::Caller,
        };
        self.session.handle_failure(blame);
        self.to_program.clear();
        self.step = None;
        let until = self.now + self.waits.linger();
        self.linger = Some(Box::new(Linger::new(self.has_last_words(&outcome), until)));
        Turn::Over(outcome)
    }

    /// Whether the peer is to be given time to read what we said last.
    pub(super) fn has_last_words(&self, outcome: &Outcome) -> bool {
        // A FIN that waits behind bytes we have not read is not enough: closing then sends a reset.
        let heard_all = self.net_broken || (self.net_at_end && self.to_peer.is_empty());
        let nothing_said = match outcome {
            // Both have said close_notify: the peer reads on by itself.
            Outcome::Ended(how, _) => {
                matches!(how, How::CloseNotify | How::Cancelled | How::Truncated | How::Reset)
            }
            Outcome::Failed(failure) => matches!(failure.code, Code::Cancelled | Code::CallerGone),
        };
        let waited = matches!(outcome, Outcome::Ended(How::Caller, _))
            && self.deadline_now().is_some_and(|at| at <= self.now);
        !heard_all && !nothing_said && !waited
    }
}

/// A fatal alert in a record of its own, not encrypted (RFC 9846 sections 5.1 and 6).
fn plain_alert(alert: u8) -> [u8; 7] {
    [21, 3, 3, 0, 2, 2, alert]
}
