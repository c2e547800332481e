//! Deadlines, with a clock that is turned by hand.

use std::time::Duration;

use tlsify_protocol::{Code, How};

use super::super::{Outcome, Timeouts};
use super::bench::{Bench, HANDSHAKE, IDLE, LINGER, TIMEOUTS};

const IDLY: Timeouts = Timeouts { idle: Some(IDLE), ..TIMEOUTS };
const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_peer_that_trickles_gets_no_more_time_than_one_that_is_silent() {
    let mut bench = Bench::new(TIMEOUTS);
    for _ in 0..9 {
        bench.pass(HANDSHAKE / 10);
        bench.peer_sends_raw(&[]);
        assert!(bench.outcome.is_none());
    }
    bench.pass(HANDSHAKE / 10 - MOMENT);
    assert!(bench.outcome.is_none());
    bench.pass(MOMENT);
    let Some(Outcome::Failed(failure)) = &bench.outcome else { panic!("{:?}", bench.outcome) };
    assert_eq!(failure.code, Code::HandshakeTimeout);
    bench.pass(LINGER);
    assert!(bench.gone);
}

#[test]
fn a_handshakes_deadline_does_not_reach_an_open_session() {
    let mut bench = Bench::open(TIMEOUTS);
    assert_eq!(bench.relay.deadline_change().1, None, "an open session without idle timeout waits for ever");
    bench.pass(HANDSHAKE * 1000);
    assert!(bench.outcome.is_none());
}

#[test]
fn each_byte_in_either_direction_puts_the_idle_end_off() {
    let mut bench = Bench::open(IDLY);
    for _ in 0..5 {
        bench.pass(IDLE - MOMENT);
        bench.peer_writes(b"x");
        bench.settle();
        bench.pass(IDLE - MOMENT);
        bench.program_writes(b"y");
        bench.settle();
    }
    assert!(bench.outcome.is_none(), "{:?}", bench.outcome);
    bench.pass(IDLE);
    assert_eq!(bench.how(), How::Timeout);
    bench.settle();
    assert!(bench.peer_at_end && !bench.theirs.closed, "the peer saw a clean end");
}

#[test]
fn a_deadline_that_moved_does_not_fire_at_its_old_time() {
    let mut bench = Bench::open(IDLY);
    let old = bench.relay.deadline_change().1.expect("a deadline");
    bench.now = old - MOMENT;
    bench.peer_writes(b"x");
    bench.settle();
    bench.now = old;
    assert!(matches!(bench.relay.expire(old), super::super::Turn::Wait));
    assert_eq!(bench.relay.deadline_change().1, Some(old - MOMENT + IDLE));
}

/// Half a record is no sign of life: a peer could keep a session for ever with one byte a minute.
#[test]
fn half_a_record_is_no_sign_of_life() {
    let mut bench = Bench::open(IDLY);
    bench.peer_sends_raw(&[23, 3, 3, 1, 0]);
    for _ in 0..2 {
        bench.pass(IDLE / 2);
        bench.peer_sends_raw(b"x");
    }
    assert_eq!(bench.how(), How::Timeout);
}

#[test]
fn a_program_that_left_waits_for_the_peers_end_for_a_moment_only() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.program = None;
    bench.settle();
    assert!(bench.theirs.closed && bench.outcome.is_none());
    bench.pass(LINGER);
    assert_eq!(bench.how(), How::Caller);
    bench.pass(Duration::ZERO);
    assert!(bench.gone, "it waited already");
}

/// The last bytes of a program that is gone get longer than an idle goodbye, as long as something of them moves.
#[test]
fn the_last_bytes_of_a_program_that_left_reach_a_slow_peer() {
    let mut bench = Bench::open(TIMEOUTS);
    let mut written = 0;
    for _ in 0..20 {
        written += bench.program_writes(&vec![3; 100_000]);
        bench.turns();
    }
    bench.program = None;
    bench.turns();
    assert!(!bench.relay.to_peer.is_empty(), "the network took everything");
    while !bench.relay.to_peer.is_empty() {
        bench.pass(Duration::from_secs(29));
        assert!(bench.outcome.is_none(), "{:?}", bench.outcome);
        assert!(bench.peer_reads(usize::MAX) > 0, "nothing moves");
        bench.turns();
    }
    bench.settle();
    let got = crate::session::tests::pair::End::got(&bench.theirs).len();
    assert_eq!((got, bench.theirs.closed), (written, true));
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_the_bytes_of_a_program_that_left() {
    let mut bench = Bench::open(TIMEOUTS);
    for _ in 0..20 {
        bench.program_writes(&vec![3; 100_000]);
        bench.turns();
    }
    bench.program = None;
    bench.turns();
    bench.pass(Duration::from_secs(30));
    assert_eq!(bench.how(), How::Caller);
    bench.pass(LINGER);
    assert!(bench.gone);
}

#[test]
fn a_peer_that_does_not_close_is_not_waited_for_after_an_alert() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.peer_sends_raw(b"\x17\x03\x03\x00\x20no record of this session at all");
    bench.turns();
    assert_eq!(bench.how(), How::Alert);
    assert!(!bench.gone, "the peer has to read the alert");
    bench.pass(LINGER - MOMENT);
    assert!(!bench.gone);
    bench.pass(MOMENT);
    assert!(bench.gone);
}
