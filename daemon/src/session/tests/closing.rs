//! Ends in every order.

use super::cases::*;
use crate::session::{Half, SessionState};

#[test]
fn both_halves_close_in_either_order_and_data_still_flows_in_the_other() {
    for case in cases() {
        for we_first in [true, false] {
            let mut pair = case.open();
            if we_first {
                pair.ours.end();
            } else {
                pair.peer.end();
            }
            pair.run();
            let half = if we_first { Half::Outbound } else { Half::Inbound };
            assert_eq!(pair.ours.session.state(), SessionState::Closing(half), "{case:?}");
            if we_first {
                pair.peer.write(b"still here");
                pair.peer.end();
            } else {
                pair.ours.write(b"still here");
                pair.ours.end();
            }
            pair.run_in(|| 1);
            let received = if we_first { &pair.ours.received } else { &pair.peer.received };
            assert_eq!(received, b"still here", "{case:?}");
            assert_eq!(pair.ours.session.state(), SessionState::Closed, "{case:?}");
            assert!(pair.peer.closed && pair.peer.failure.is_none(), "{case:?}");
        }
    }
}

#[test]
fn both_may_say_goodbye_at_once() {
    for case in cases() {
        let mut pair = case.open();
        pair.peer.end();
        pair.ours.end();
        pair.run();
        assert_eq!(pair.ours.session.state(), SessionState::Closed, "{case:?}");
        assert!(pair.peer.closed, "{case:?}");
    }
}

/// A goodbye that comes in two pieces must not leave its first piece behind.
#[test]
fn a_closed_half_keeps_no_bytes() {
    for case in cases() {
        let mut pair = case.open();
        pair.peer.end();
        pair.run_in(|| 3);
        assert_eq!(pair.ours.session.state(), SessionState::Closing(Half::Inbound), "{case:?}");
        assert_eq!(pair.ours.session.rest(), b"", "{case:?}");
        pair.ours.write(b"and we go on");
        pair.run();
        assert_eq!(pair.peer.received, b"and we go on", "{case:?}");
    }
}

#[test]
fn close_notify_is_said_once() {
    for case in cases() {
        let mut pair = case.open();
        pair.ours.end();
        assert!(!pair.ours.said().is_empty(), "{case:?}");
        pair.ours.end();
        assert!(pair.ours.said().is_empty(), "{case:?}");
    }
}

/// RFC 9846 section 6.1: what comes after close_notify is ignored.
#[test]
fn what_comes_after_the_peers_goodbye_is_nothing() {
    for case in cases() {
        let mut pair = case.open();
        pair.peer.write(b"the last words");
        pair.peer.end();
        let mut said = pair.peer.said();
        said.extend(b"\x17\x03\x03\x00\x10sixteen bytes or");
        pair.ours.hear(&said);
        assert_eq!(pair.ours.received, b"the last words", "{case:?}");
        assert_eq!(pair.ours.session.state(), SessionState::Closing(Half::Inbound), "{case:?}");
        pair.ours.write(b"an answer");
        pair.run();
        assert_eq!(pair.peer.received, b"an answer", "{case:?}");
    }
}

/// After a failure nothing can be sent, least of all a close_notify.
#[test]
fn a_failed_session_says_no_goodbye() {
    for case in cases() {
        let mut pair = case.open();
        pair.ours.hear(BAD_RECORD);
        pair.run();
        assert!(pair.ours.failure.is_some(), "{case:?}");
        assert!(!pair.ours.session.state().may_send(), "{case:?}");
        pair.ours.end();
        assert_eq!(pair.ours.said(), b"", "{case:?}");
        assert!(!pair.peer.closed, "{case:?}: the peer saw a clean end");
    }
}
