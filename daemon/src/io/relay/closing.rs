//! Closing what is complete, one half and one descriptor at a time.
//!
//! ```text
//!  peer's close_notify, all delivered ─▶ end of file to the program (a pump first says that it is done)
//!  program's end, told and all sent ─▶ FIN to the peer
//!  both ─▶ the session is over ─▶ report ─▶ close_plain ─▶ linger ─▶ close_net
//! ```

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::net::Shutdown;
use tlsify_protocol::How;

use super::super::end::{End, Plain};
use super::super::handoff::close_without_waiting;
use super::super::poller::Poller;
use super::{Arm, Inbound, Outcome, Relay};
use crate::session::SessionState;

impl Relay {
    /// Closes what is complete.
    pub(super) fn settle(&mut self, poller: &Poller) -> Arm {
        if self.to_program.is_empty()
            && let Some(outcome) = self.pending.take()
        {
            return Err(*outcome);
        }
        let state = self.session.state();
        if state.peer_closed() && self.inbound == Inbound::Open && self.to_program.is_empty() {
            self.finish_inbound(poller);
        }
        if self.inbound_ready.hung_up {
            self.pump_ended()?;
        }
        if self.outbound_ended && !self.end_held && self.to_peer.is_empty() && !self.net_finished {
            // ENOTCONN: the peer is gone, which arm 4 finds out.
            let _ = rustix::net::shutdown(&self.net, Shutdown::Write);
            self.net_finished = true;
        }
        let delivered = matches!(self.inbound, Inbound::Finished | Inbound::Dropped);
        if state == SessionState::Closed && delivered && self.to_peer.is_empty() {
            if self.net_broken {
                // Both were to be told goodbye, and the peer could not be: it may have missed more.
                return Err(self.net_failed(Errno::CONNRESET));
            }
            // Clean for the peer; but only what arrived whole is called so.
            let how = if self.lost { How::Caller } else { How::CloseNotify };
            return Err(Outcome::Ended(how, None));
        }
        Ok(())
    }

    /// The program's pump is gone, if it has one: with everything delivered, or with bytes that are lost.
    pub(super) fn pump_ended(&mut self) -> Arm {
        let Some(end) = self.plain.as_ref().and_then(Plain::inbound).filter(|end| end.is_pumped()) else {
            return Ok(());
        };
        match self.inbound {
            Inbound::Flushing if matches!(end.read(&mut [0]), Ok((1, _))) => self.inbound = Inbound::Finished,
            Inbound::Open | Inbound::Flushing => return self.program_stopped_reading(Errno::PIPE),
            Inbound::Finished | Inbound::Dropped => {}
        }
        Ok(())
    }

    pub(super) fn finish_inbound(&mut self, poller: &Poller) {
        let Some(plain) = &mut self.plain else { return };
        if let Some(end) = plain.finish_inbound() {
            poller.remove(end.as_fd());
        }
        let pumped = plain.inbound().is_some_and(End::is_pumped);
        self.inbound = if pumped { Inbound::Flushing } else { Inbound::Finished };
    }

    /// Deregisters and gives up the program's side. Comes after the report.
    pub fn close_plain(&mut self, poller: &Poller) {
        if let Some(plain) = self.plain.take() {
            for end in plain.ends().filter(|end| !end.is_ours_alone()) {
                poller.remove(end.as_fd());
                if end.is_socket() {
                    // Closing is nothing to somebody who holds a copy; this reaches every holder.
                    let _ = rustix::net::shutdown(end.as_fd(), Shutdown::Both);
                    close_without_waiting(end.as_fd());
                }
            }
        }
    }

    /// Shuts the network side down and deregisters it. Comes last.
    pub fn close_net(&self, poller: &Poller) {
        poller.remove(&self.net);
        let _ = rustix::net::shutdown(&self.net, Shutdown::Both);
        close_without_waiting(&self.net);
    }
}
