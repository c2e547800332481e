//! Each end is told as what it was, and the peer sees close_notify only where nothing is broken.

use rustls::AlertDescription;

use super::super::*;
use super::rig::*;
use crate::tls::{Code, Failure};

const MUCH: usize = 4 << 20;

#[test]
fn a_bare_fin_is_truncated_and_the_data_before_it_arrives() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_writes(b"half of");
    rig.peer_shuts();
    rig.flow();
    assert_eq!(rig.how(), How::Truncated);
    assert_eq!(rig.program_reads(), (b"half of".to_vec(), true));
    assert!(rig.peer_at_end && !rig.peer.closed, "the peer saw a clean end");
}

#[test]
fn a_bad_record_is_answered_with_an_alert_that_no_reset_overtakes() {
    let mut rig = Rig::on(tcp_pair(), sockets(), TIMEOUTS).opened();
    rig.peer_sends_raw(BAD_RECORD);
    // More than is read at once, and a FIN behind it: closing with this unread would reset.
    rig.peer_sends_raw(&vec![0; 1_000_000]);
    rig.work();
    rig.flow();
    rig.peer_shuts();
    rig.flow();
    assert_eq!(rig.how(), How::Alert);
    assert_eq!(rig.peer.failure, Some(rustls::Error::AlertReceived(AlertDescription::BadRecordMac)));
    assert!(rig.gone && rig.peer_at_end, "the peer did not see FIN");
}

#[test]
fn the_peers_alert_is_told_and_not_answered() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer.hear(BAD_RECORD);
    rig.flow();
    let Some(Outcome::Ended(How::Alert, Some(failure))) = &rig.outcome else { panic!("{:?}", rig.outcome) };
    assert_eq!(failure.code, Code::AlertReceived);
    assert!(!rig.peer.closed);
}

#[test]
fn a_reset_is_a_reset() {
    let mut rig = Rig::on(tcp_pair(), sockets(), TIMEOUTS).opened();
    reset(rig.wire.take().expect("open"));
    rig.work();
    assert_eq!(rig.how(), How::Reset);
    assert!(rig.gone, "nobody is there to linger for");
}

/// A reset found by writing is a reset too, and the program's unread data is still its own.
#[test]
fn a_reset_while_we_send_is_a_reset() {
    let mut rig = Rig::on(tcp_pair(), sockets(), TIMEOUTS).opened();
    rig.program_writes(&vec![1; 100_000]);
    reset(rig.wire.take().expect("open"));
    rig.work();
    assert_eq!(rig.how(), How::Reset);
}

#[test]
fn a_program_that_closes_with_bytes_unread_aborts_and_the_peer_sees_no_clean_end() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_writes(b"never read");
    rig.flow();
    rig.program_writes(b"half an answ");
    rig.program = None;
    rig.flow();
    assert_eq!(rig.how(), How::Caller);
    assert_eq!(rig.peer.received, b"half an answ");
    assert!(rig.peer_at_end && !rig.peer.closed, "the peer saw a clean end");
}

/// The same with bytes that we still hold for it.
#[test]
fn a_program_that_closes_while_we_hold_bytes_for_it_aborts() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_writes(&vec![7; MUCH]);
    rig.flow();
    rig.program = None;
    rig.flow();
    assert_eq!(rig.how(), How::Caller);
    assert!(!rig.peer.closed, "the peer saw a clean end");
}

/// A back end's reset is told once, to whichever call comes first; here that is our write.
#[test]
fn a_back_ends_reset_never_looks_like_its_clean_end() {
    let mut rig = Rig::on(sockets(), tcp_pair(), TIMEOUTS).opened();
    rig.program_writes(b"half an answ");
    rig.flow();
    rig.peer_writes(&vec![7; MUCH]);
    rig.flow();
    reset(rig.program.take().expect("open"));
    rig.flow();
    assert_eq!(rig.how(), How::Caller);
    assert!(!rig.peer.closed, "the peer saw a clean end");
}

#[test]
fn a_program_that_closes_at_its_end_says_goodbye_to_the_peer() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.program_writes(b"all of it");
    rig.program = None;
    rig.flow();
    assert!(rig.peer.closed && rig.peer.received == b"all of it");
    assert!(rig.outcome.is_none(), "the peer may still say goodbye: {:?}", rig.outcome);
    rig.peer.end();
    rig.flow();
    assert_eq!(rig.how(), How::CloseNotify);
}

/// Only what arrived whole is called so: bytes that the program did not wait for were lost.
#[test]
fn bytes_for_a_program_that_left_are_no_clean_end() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.program = None;
    rig.flow();
    rig.peer_writes(b"you forgot this");
    rig.peer.end();
    rig.flow();
    assert_eq!((rig.how(), rig.relay.bytes().0), (How::Caller, 0));
}

#[test]
fn only_a_drained_session_says_goodbye_for_the_program() {
    for (how, goodbye) in [(How::Drained, true), (How::Cancelled, false), (How::Caller, false)] {
        let mut rig = Rig::open(Role::Server, TIMEOUTS);
        rig.abort(Outcome::Ended(how, None));
        assert_eq!(rig.program_reads(), (Vec::new(), true));
        rig.flow();
        assert_eq!((rig.how(), rig.peer.closed), (how, goodbye));
        assert!(rig.peer_at_end, "{how:?}: no FIN");
    }
}

#[test]
fn a_bug_of_ours_is_an_error_without_goodbye() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    let turn = rig.relay.broken_by_us(Failure::internal("a test".to_owned()));
    rig.after(turn);
    rig.flow();
    assert!(matches!(rig.outcome, Some(Outcome::Ended(How::Error, Some(_)))), "{:?}", rig.outcome);
    assert!(rig.peer_at_end && !rig.peer.closed);
    rig.sleep(LINGER);
}

#[test]
fn a_handshake_that_ends_before_its_time_is_a_failure_with_its_reason() {
    let mut rig = Rig::new(TIMEOUTS);
    rig.work();
    rig.peer_shuts();
    rig.work();
    let Some(Outcome::Failed(failure)) = &rig.outcome else { panic!("{:?}", rig.outcome) };
    assert_eq!(failure.code, Code::ClosedByPeer);

    let mut rig = Rig::on(tcp_pair(), sockets(), TIMEOUTS);
    reset(rig.wire.take().expect("open"));
    rig.work();
    let Some(Outcome::Failed(failure)) = &rig.outcome else { panic!("{:?}", rig.outcome) };
    assert_eq!(failure.code, Code::ResetByPeer);
}

/// What the program has written by then belongs to its stream.
#[test]
fn a_drained_session_says_goodbye_behind_everything_that_was_written() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.program_writes(b"written just now");
    rig.abort(Outcome::Ended(How::Drained, None));
    rig.flow();
    assert_eq!((&rig.peer.received[..], rig.peer.closed), (&b"written just now"[..], true));
}

/// Bytes of the program that will never be sent: its stream is cut, and must not look whole.
#[test]
fn a_drained_session_that_loses_bytes_says_no_goodbye() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    let written = rig.fill();
    rig.abort(Outcome::Ended(How::Drained, None));
    rig.flow();
    assert!(rig.peer.received.len() < written, "nothing was lost");
    assert!(rig.peer_at_end && !rig.peer.closed, "the peer saw a clean end");
}

/// The poller says once that a socket takes more; hearing it just before the end must not be forgotten.
#[test]
fn the_last_words_go_out_although_the_socket_was_full_a_moment_ago() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    while rig.relay.to_peer.is_empty() {
        rig.program_writes(&[3; 50_000]);
        rig.work();
    }
    rig.peer_reads(usize::MAX);
    rig.poll();
    rig.abort(Outcome::Ended(How::Drained, None));
    rig.work();
    assert!(rig.relay.to_peer.is_empty(), "{} bytes wait for nothing", rig.relay.to_peer.len());
    rig.flow();
    assert!(rig.peer.closed, "no goodbye");
}

/// A peer that has said everything may still read: the alert behind other bytes is for it.
#[test]
fn last_words_reach_a_peer_that_has_sent_its_fin() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.fill();
    rig.peer_sends_raw(BAD_RECORD);
    rig.peer_shuts();
    rig.work();
    assert_eq!(rig.how(), How::Alert);
    assert!(!rig.gone, "the alert is not out yet");
    rig.flow();
    assert_eq!(rig.peer.failure, Some(rustls::Error::AlertReceived(AlertDescription::BadRecordMac)));
    assert!(rig.gone);
}
