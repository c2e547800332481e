//! Deadlines, with a clock that is turned by hand.

use super::super::*;
use super::rig::*;
use crate::tls::Code;

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn a_peer_that_trickles_gets_no_more_time_than_one_that_is_silent() {
    let mut rig = Rig::new(TIMEOUTS);
    let hello = rig.peer.said();
    for byte in &hello[..9] {
        rig.sleep(HANDSHAKE / 10);
        rig.peer_sends_raw(&[*byte]);
        assert!(rig.outcome.is_none());
    }
    rig.sleep(HANDSHAKE / 10 - MOMENT);
    assert!(rig.outcome.is_none());
    rig.sleep(MOMENT);
    let Some(Outcome::Failed(failure)) = &rig.outcome else { panic!("{:?}", rig.outcome) };
    assert_eq!(failure.code, Code::HandshakeTimeout);
    rig.sleep(LINGER);
    assert!(rig.gone);
}

#[test]
fn a_handshakes_deadline_does_not_reach_an_open_session() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    assert_eq!(rig.relay.deadline_change().1, None, "an open session without idle timeout waits for ever");
    rig.sleep(HANDSHAKE * 1000);
    assert!(rig.outcome.is_none());
}

#[test]
fn each_byte_in_either_direction_puts_the_idle_end_off() {
    let mut rig = Rig::open(Role::Server, IDLY);
    for _ in 0..5 {
        rig.sleep(IDLE - MOMENT);
        rig.peer_writes(b"x");
        rig.flow();
        rig.sleep(IDLE - MOMENT);
        rig.program_writes(b"y");
        rig.flow();
    }
    assert!(rig.outcome.is_none(), "{:?}", rig.outcome);
    rig.sleep(IDLE);
    assert_eq!(rig.how(), How::Timeout);
    rig.flow();
    assert!(rig.peer_at_end && !rig.peer.closed, "the peer saw a clean end");
}

#[test]
fn a_deadline_that_moved_does_not_fire_at_its_old_time() {
    let mut rig = Rig::open(Role::Server, IDLY);
    let old = rig.relay.deadline_change().1.expect("a deadline");
    rig.now = old - MOMENT;
    rig.peer_writes(b"x");
    rig.flow();
    rig.now = old;
    assert!(matches!(rig.relay.expire(old), Turn::Wait));
    assert_eq!(rig.relay.deadline_change().1, Some(old - MOMENT + IDLE));
}

/// Half a record is no sign of life: a peer could keep a session for ever with one byte a minute.
#[test]
fn half_a_record_is_no_sign_of_life() {
    let mut rig = Rig::open(Role::Server, IDLY);
    rig.peer_sends_raw(&[23, 3, 3, 1, 0]);
    for _ in 0..2 {
        rig.sleep(IDLE / 2);
        rig.peer_sends_raw(b"x");
    }
    assert_eq!(rig.how(), How::Timeout);
}

#[test]
fn a_program_that_left_waits_for_the_peers_end_for_a_moment_only() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.program = None;
    rig.flow();
    assert!(rig.peer.closed && rig.outcome.is_none());
    rig.sleep(LINGER);
    assert_eq!(rig.how(), How::Caller);
    rig.sleep(Duration::ZERO);
    assert!(rig.gone, "it waited already");
}

/// The last bytes of a program that is gone get longer than an idle goodbye, as long as something of them moves.
#[test]
fn the_last_bytes_of_a_program_that_left_reach_a_slow_peer() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    let written = rig.fill();
    rig.program = None;
    rig.work();
    assert!(!rig.relay.to_peer.is_empty(), "the network took everything");
    while !rig.relay.to_peer.is_empty() {
        rig.sleep(Duration::from_secs(29));
        assert!(rig.outcome.is_none(), "{:?}", rig.outcome);
        assert!(rig.peer_reads(usize::MAX) > 0, "nothing moves");
        rig.work();
    }
    rig.flow();
    assert_eq!((rig.peer.received.len(), rig.peer.closed), (written, true));
}

#[test]
fn a_peer_that_takes_nothing_does_not_keep_the_bytes_of_a_program_that_left() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.fill();
    rig.program = None;
    rig.work();
    rig.sleep(Duration::from_secs(30));
    assert_eq!(rig.how(), How::Caller);
    rig.sleep(LINGER);
    assert!(rig.gone);
}

#[test]
fn a_peer_that_does_not_close_is_not_waited_for_after_an_alert() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_sends_raw(BAD_RECORD);
    rig.work();
    assert_eq!(rig.how(), How::Alert);
    assert!(!rig.gone, "the peer has to read the alert");
    rig.sleep(LINGER - MOMENT);
    assert!(!rig.gone);
    rig.sleep(MOMENT);
    assert!(rig.gone);
}
