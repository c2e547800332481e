//! Where a session stands. One machine, one enum, this drawing:
//!
//! ```text
//!  Handshaking ──done──▶ Established ──one half closed──▶ Closing(which) ──the other──▶ Closed
//!       └──────────────────────┴──────────────────────────────┴── anything wrong ──▶ Failed(blame)
//! ```
//!
//! Half-close is in the type: after [`Half::Inbound`] the peer has said close_notify and we may
//! still send (RFC 9846 §6.1, formerly RFC 8446 §6.1); after [`Half::Outbound`] we have said it and
//! still listen. There is no way from `Failed` to `Closed`: a broken stream never looks clean.

use tlsify_protocol::Blame;

/// One of the two directions, named as seen from the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// From the peer to the program.
    Inbound,
    /// From the program to the peer.
    Outbound,
}

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    /// The handshake runs; no application data can flow.
    Handshaking,
    /// Verified and open in both directions.
    Established,
    /// This half is closed cleanly, the other is open.
    Closing(Half),
    /// Both halves are closed cleanly.
    Closed,
    /// Something went wrong, and who has to act on it. Final.
    Failed(Blame),
}

impl SessionState {
    /// Whether the handshake still runs.
    #[must_use]
    pub fn is_handshaking(self) -> bool {
        self == Self::Handshaking
    }

    /// Whether the program's bytes may go to the peer.
    #[must_use]
    pub fn may_send(self) -> bool {
        matches!(self, Self::Established | Self::Closing(Half::Inbound))
    }

    /// Whether bytes of the peer may still arrive.
    #[must_use]
    pub fn may_receive(self) -> bool {
        matches!(self, Self::Established | Self::Closing(Half::Outbound))
    }

    /// Whether the peer has said close_notify: nothing more of it counts.
    #[must_use]
    pub fn peer_closed(self) -> bool {
        matches!(self, Self::Closing(Half::Inbound) | Self::Closed)
    }

    /// Whether nothing can happen any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Failed(_))
    }

    /// The handshake is done.
    pub(super) fn on_established(&mut self) {
        debug_assert_eq!(*self, Self::Handshaking);
        *self = Self::Established;
    }

    /// `half` was closed with close_notify.
    pub(super) fn on_closed(&mut self, half: Half) {
        *self = match *self {
            Self::Established => Self::Closing(half),
            Self::Closing(other) if other != half => Self::Closed,
            same => same,
        };
    }

    /// Something went wrong. The first failure stays.
    pub(super) fn on_failed(&mut self, blame: Blame) {
        if !self.is_over() {
            *self = Self::Failed(blame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_close_in_either_order() {
        for (first, second) in [(Half::Inbound, Half::Outbound), (Half::Outbound, Half::Inbound)] {
            let mut state = SessionState::Established;
            state.on_closed(first);
            assert_eq!(state, SessionState::Closing(first));
            state.on_closed(first);
            assert_eq!(state, SessionState::Closing(first), "closing a half twice changes nothing");
            state.on_closed(second);
            assert_eq!(state, SessionState::Closed);
        }
    }

    #[test]
    fn a_failure_is_final_and_never_turns_into_a_clean_end() {
        let mut state = SessionState::Handshaking;
        state.on_failed(Blame::Peer);
        state.on_closed(Half::Inbound);
        state.on_closed(Half::Outbound);
        state.on_failed(Blame::Daemon);
        assert_eq!(state, SessionState::Failed(Blame::Peer));
        assert!(!state.may_send() && !state.may_receive());
    }

    #[test]
    fn a_handshake_cannot_be_half_closed() {
        let mut state = SessionState::Handshaking;
        state.on_closed(Half::Inbound);
        assert_eq!(state, SessionState::Handshaking);
    }
}
