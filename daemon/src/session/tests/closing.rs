//! Ends in every order.

use tlsify_protocol::Version;

use super::pair::{Case, End, Pair};
use crate::session::{Half, SessionState};

#[test]
fn both_halves_close_in_either_order_and_data_still_flows_in_the_other() {
    for case in Case::all() {
        for we_first in [true, false] {
            let mut pair = Pair::open(case);
            if we_first {
                pair.we_finish();
            } else {
                pair.they_finish();
            }
            pair.settle();
            let half = if we_first { Half::Outbound } else { Half::Inbound };
            assert_eq!(pair.ours.session.state(), SessionState::Closing(half), "{case:?}");
            if we_first {
                pair.they_write(b"still here");
                pair.they_finish();
            } else {
                pair.we_write(b"still here");
                pair.we_finish();
            }
            pair.settle_in(|_| 1);
            let got = if we_first { pair.ours.got() } else { pair.theirs.got() };
            assert_eq!(got, b"still here", "{case:?}");
            assert_eq!(pair.ours.session.state(), SessionState::Closed, "{case:?}");
            assert!(pair.theirs.closed && pair.theirs.error.is_none(), "{case:?}");
        }
    }
}

#[test]
fn both_may_say_goodbye_at_once() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        pair.they_finish();
        pair.we_finish();
        pair.settle();
        assert_eq!(pair.ours.session.state(), SessionState::Closed, "{case:?}");
        assert!(pair.theirs.closed, "{case:?}");
    }
}

/// A goodbye that comes in two pieces must not leave its first piece behind.
#[test]
fn a_closed_half_keeps_no_bytes() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        pair.they_finish();
        pair.settle_in(|_| 3);
        assert_eq!(pair.ours.session.state(), SessionState::Closing(Half::Inbound), "{case:?}");
        assert!(pair.ours.session.rest().is_empty(), "{case:?}");
        pair.we_write(b"and we go on");
        pair.settle();
        assert_eq!(pair.theirs.got(), b"and we go on", "{case:?}");
    }
}

#[test]
fn close_notify_is_said_once() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        assert!(!pair.ours.finish().is_empty(), "{case:?}");
        assert!(pair.ours.finish().is_empty(), "{case:?}");
    }
}

/// RFC 9846 section 6.1: what comes after close_notify is ignored.
#[test]
fn what_comes_after_the_peers_goodbye_is_nothing() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        pair.they_write(b"the last words");
        pair.they_finish();
        pair.to_us.extend(b"\x17\x03\x03\x00\x10sixteen bytes or");
        pair.settle();
        assert_eq!(pair.ours.got(), b"the last words", "{case:?}");
        assert_eq!(pair.ours.session.state(), SessionState::Closing(Half::Inbound), "{case:?}");
        pair.we_write(b"an answer");
        pair.settle();
        assert_eq!(pair.theirs.got(), b"an answer", "{case:?}");
    }
}

/// After a failure nothing can be sent, least of all a close_notify.
#[test]
fn a_failed_session_says_no_goodbye() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        pair.to_us.extend(b"\x17\x03\x03\x00\x20no record of this session at all");
        pair.settle();
        assert!(pair.ours.failure.is_some(), "{case:?}");
        assert!(!pair.ours.session.state().may_send(), "{case:?}");
        assert_eq!(pair.ours.finish(), b"", "{case:?}");
        assert!(!pair.theirs.closed, "{case:?}: the peer saw a clean end");
    }
}

#[test]
fn new_keys_of_the_peer_are_followed_and_answered() {
    for case in Case::all().into_iter().filter(|case| case.version == Version::Tls13) {
        let mut pair = Pair::open(case);
        for round in 0..5_u8 {
            pair.theirs.tls.refresh_traffic_keys().unwrap();
            pair.they_write(&[round; 100]);
            pair.settle_in(|_| 1);
            pair.we_write(&[round; 100]);
            pair.settle();
        }
        let expected: Vec<u8> = (0..5).flat_map(|round| [round; 100]).collect();
        assert_eq!(pair.ours.got(), expected, "{case:?}");
        assert_eq!(pair.theirs.got(), expected, "{case:?}");
        assert!(pair.ours.session.rest().is_empty());
    }
}
