//! The four arms of a turn: each moves bytes from one side as far as the other takes them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};
use tlsify_protocol::How;

use super::super::end::{End, Plain};
use super::super::scratch::{MAX_READ, READ, Scratch};
use super::{Arm, Inbound, Outcome, Relay};
use crate::session::Fill;
use crate::tls::Failure;

impl Relay {
    /// Arm 1: what the program refused before.
    pub(super) fn plain_out(&mut self) -> Arm {
        if self.to_program.is_empty() || !self.inbound_ready.writable {
            return Ok(());
        }
        let Some(end) = self.plain.as_ref().and_then(Plain::inbound) else { return Ok(()) };
        match self.to_program.drain(|bytes| end.write(bytes)) {
            Ok((count, open)) => {
                self.delivered(count);
                self.inbound_ready.writable = open;
                Ok(())
            }
            Err(error) => self.program_stopped_reading(error),
        }
    }

    /// Arm 2: records that the network refused before.
    pub(super) fn net_out(&mut self) -> Arm {
        if !self.to_peer.is_empty() && self.net_ready.writable {
            let net = &self.net;
            match self.to_peer.drain(|bytes| send(net, bytes, SendFlags::empty())) {
                Ok((count, open)) => {
                    self.net_ready.writable = open;
                    if count > 0 {
                        self.progress = self.now;
                    }
                }
                Err(error) => self.net_broke(error),
            }
        }
        Ok(())
    }

    /// Arm 3: what the program wrote.
    pub(super) fn plain_in(&mut self, scratch: &mut Scratch) -> Arm {
        if !self.may_send() || !self.outbound_ready.readable {
            return Ok(());
        }
        scratch.plain.clear();
        scratch.net_out.clear();
        let Some(end) = self.plain.as_ref().and_then(Plain::outbound) else {
            return self.program_ended(scratch);
        };
        let mut heard = hear(end, &mut scratch.plain);
        self.outbound_ready.readable = !matches!(heard, Heard::Nothing | Heard::All);
        if matches!(heard, Heard::All) && self.outbound_ready.ended {
            // The end is there too: last bytes, close_notify and FIN leave as one segment.
            heard = hear(end, &mut scratch.plain);
            self.outbound_ready.readable = true;
        }
        if !scratch.plain.is_empty() {
            self.bytes_out += scratch.plain.len() as u64;
            self.progress = self.now;
            self.session
                .handle_plain(scratch.plain.filled(), self.now, &mut scratch.net_out)
                .map_err(|failure| self.broken(failure))?;
        }
        if matches!(heard, Heard::End) {
            return self.program_ended(scratch);
        }
        self.send_records(scratch);
        // The program went away with bytes of the peer unread, or its own connection broke: as in TCP,
        // that aborts. Its stream may be cut short, so no close_notify.
        if matches!(heard, Heard::Broken) { Err(Outcome::Ended(How::Caller, None)) } else { Ok(()) }
    }

    /// Arm 4: what the peer sent.
    pub(super) fn net_in(&mut self, scratch: &mut Scratch) -> Arm {
        if !self.may_receive() || !self.net_ready.readable {
            return Ok(());
        }
        if self.session.state().peer_closed() {
            return self.net_in_after_close(scratch);
        }
        scratch.net_in.clear();
        scratch.net_in.extend(self.session.rest());
        let room = self.room();
        match recv(&self.net, &mut scratch.net_in.spare(room)[..room]) {
            Ok(0) => Err(self.peer_ended(scratch)),
            Ok(count) => {
                self.net_ready.readable = count == room || self.net_ready.ended;
                self.deferred = false;
                scratch.net_in.advance(count);
                let processed = self.process(scratch);
                self.suit_room(count);
                processed
            }
            Err(Errno::AGAIN) => {
                self.net_ready.readable = false;
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(error) => Err(self.net_failed(error)),
        }
    }

    /// A peer that fills a read sends in bulk: the next one is larger, and so is what the program's pair takes. Behind a
    /// program that does not keep up they get small again, because what it does not take is held.
    fn suit_room(&mut self, count: usize) {
        if !self.to_program.is_empty() {
            self.doubled = self.doubled.saturating_sub(1);
        } else if count == self.room() && count < MAX_READ {
            if self.doubled == 0
                && let Some(end) = self.plain.as_ref().and_then(Plain::inbound)
            {
                end.widen();
            }
            self.doubled += 1;
        }
    }

    /// How much is read from the network at once.
    fn room(&self) -> usize {
        READ << self.doubled
    }

    /// RFC 9846 §6.1: what comes after close_notify is ignored. Reading on shows a reset, which
    /// tells the program that its own bytes have no reader.
    fn net_in_after_close(&mut self, scratch: &mut Scratch) -> Arm {
        scratch.net_in.clear();
        match recv(&self.net, &mut scratch.net_in.spare(READ)[..READ]) {
            Ok(0) => {
                self.net_at_end = true;
                self.net_ready.readable = false;
            }
            Err(Errno::AGAIN) => self.net_ready.readable = false,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(self.net_failed(error)),
        }
        if self.net_broken { Err(self.net_failed(Errno::CONNRESET)) } else { Ok(()) }
    }

    /// Hands `scratch.net_in` to the session, and moves what comes out of it.
    pub(super) fn process(&mut self, scratch: &mut Scratch) -> Arm {
        if self.step_aside(scratch) {
            return Ok(());
        }
        scratch.plain.clear();
        scratch.net_out.clear();
        let result =
            self.session.handle_net(scratch.net_in.filled_mut(), &mut scratch.plain, &mut scratch.net_out);
        self.conclude(result, scratch)
    }

    /// Moves what came out of the session.
    pub(super) fn conclude(&mut self, result: Result<(), Failure>, scratch: &mut Scratch) -> Arm {
        self.send_records(scratch);
        self.deliver(scratch)?;
        match result.map_err(|failure| self.broken(failure)) {
            Err(outcome) if self.plain.is_some() && !self.to_program.is_empty() => {
                self.pending = Some(Box::new(outcome));
                Ok(())
            }
            other => other,
        }
    }

    pub(super) fn send_records(&mut self, scratch: &Scratch) {
        self.send_flagged(scratch, SendFlags::empty());
    }

    /// Records behind which the FIN follows in this turn: it then leaves with them (MSG_MORE).
    pub(super) fn send_last_records(&mut self, scratch: &Scratch) {
        self.send_flagged(scratch, SendFlags::MORE);
    }

    fn send_flagged(&mut self, scratch: &Scratch, flags: SendFlags) {
        if scratch.net_out.is_empty() || self.net_broken {
            return;
        }
        let net = &self.net;
        match self.to_peer.push(scratch.net_out.filled(), |bytes| send(net, bytes, flags)) {
            // What the poller said in the meantime must not be forgotten: it says it once.
            Ok((_, open)) => self.net_ready.writable &= open,
            Err(error) => self.net_broke(error),
        }
    }

    fn deliver(&mut self, scratch: &Scratch) -> Arm {
        if scratch.plain.is_empty() {
            return Ok(());
        }
        if self.inbound == Inbound::Dropped {
            self.lost = true;
            return Ok(());
        }
        let bytes = scratch.plain.filled();
        let pushed = match self.plain.as_ref() {
            // Data may come with the handshake's last flight, before the program's side is open.
            None => self.to_program.push(bytes, |_| Err(Errno::AGAIN)),
            Some(plain) => match plain.inbound() {
                Some(end) => self.to_program.push(bytes, |bytes| end.write(bytes)),
                // The caller wants nothing of what the peer says.
                None => return Ok(()),
            },
        };
        match pushed {
            Ok((count, open)) => {
                self.delivered(count);
                self.inbound_ready.writable &= open;
                Ok(())
            }
            Err(error) => self.program_stopped_reading(error),
        }
    }

    fn delivered(&mut self, count: usize) {
        if count > 0 {
            self.bytes_in += count as u64;
            self.progress = self.now;
        }
    }
}

/// What one look at the program's stream gave, beside the bytes.
enum Heard {
    Nothing,
    /// Bytes, and no more behind them.
    All,
    /// Bytes, and perhaps more.
    Some,
    End,
    Broken,
}

/// Reads what the program wrote, up to one read altogether.
fn hear(end: &End, into: &mut Fill) -> Heard {
    let room = READ - into.len();
    match end.read(&mut into.spare(room)[..room]) {
        Ok((0, _)) => Heard::End,
        Ok((count, drained)) => {
            into.advance(count);
            if drained { Heard::All } else { Heard::Some }
        }
        Err(Errno::AGAIN) => Heard::Nothing,
        Err(Errno::INTR) => Heard::Some,
        Err(_) => Heard::Broken,
    }
}

pub(super) fn send(net: &OwnedFd, bytes: &[u8], flags: SendFlags) -> Result<usize, Errno> {
    match rustix::net::send(net.as_fd(), bytes, flags | SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
        // Fast Open after all without a cookie: the SYN has gone out alone.
        Err(Errno::INPROGRESS) => Err(Errno::AGAIN),
        sent => sent,
    }
}

pub(super) fn recv(net: &OwnedFd, into: &mut [u8]) -> Result<usize, Errno> {
    rustix::net::recv(net.as_fd(), into, RecvFlags::DONTWAIT).map(|(count, _)| count)
}
