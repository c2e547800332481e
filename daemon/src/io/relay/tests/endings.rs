//! Each end is told as what it was, and the peer sees close_notify only where nothing is broken.

use rustls::AlertDescription;
use tlsify_protocol::{Code, How};

use super::super::Outcome;
use super::bench::{Bench, LINGER, TIMEOUTS, pair, reset, tcp_pair};
use crate::session::tests::pair::End as _;
use crate::tls::Failure;

const BAD_RECORD: &[u8] = b"\x17\x03\x03\x00\x20no record of this session at all";
const MUCH: usize = 4 << 20;

#[test]
fn a_bare_fin_is_truncated_and_the_data_before_it_arrives() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.peer_writes(b"half of");
    bench.peer_shuts();
    bench.settle();
    assert_eq!(bench.how(), How::Truncated);
    assert_eq!(bench.program_reads(), (b"half of".to_vec(), true));
    assert!(bench.peer_at_end && !bench.theirs.closed, "the peer saw a clean end");
}

#[test]
fn a_failure_waits_until_the_program_has_what_came_before_it() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.peer_writes(&vec![7; MUCH]);
    bench.peer_sends_raw(BAD_RECORD);
    bench.settle();
    assert!(bench.outcome.is_none(), "{:?} before the program has its data", bench.outcome);
    let mut got = 0;
    while bench.outcome.is_none() {
        got += bench.program_reads().0.len();
        bench.settle();
    }
    got += bench.program_reads().0.len();
    assert_eq!((got, bench.how()), (MUCH, How::Alert));
    assert_eq!(bench.theirs.error, Some(rustls::Error::AlertReceived(AlertDescription::BadRecordMac)));
}

/// The alert has been said by then: the end that came first is the one that is told.
#[test]
fn a_failure_that_waits_is_not_forgotten_for_a_later_end() {
    for later in [How::Cancelled, How::Drained] {
        let mut bench = Bench::open(TIMEOUTS);
        bench.peer_writes(&vec![7; 600_000]);
        bench.turns();
        bench.peer_sends_raw(BAD_RECORD);
        bench.turns();
        // Until the record is looked at, with bytes of the last read still held.
        let mut reads = 0;
        while bench.relay.pending.is_none() && bench.outcome.is_none() {
            let program = bench.program.as_ref().expect("open");
            let mut some = [0; 1024];
            let _ = rustix::net::recv(program, &mut some[..], rustix::net::RecvFlags::DONTWAIT);
            bench.settle();
            reads += 1;
            assert!(reads < 10_000);
        }
        assert!(bench.relay.pending.is_some(), "nothing waits: {:?}", bench.outcome);
        bench.abort(Outcome::Ended(later, None));
        assert_eq!(bench.how(), How::Alert);
        bench.settle();
        assert!(!bench.theirs.closed, "close_notify after an error");
    }
}

#[test]
fn a_bad_record_is_answered_with_an_alert_that_no_reset_overtakes() {
    let (near, far) = tcp_pair();
    let mut bench = Bench::on(near, far, pair(), TIMEOUTS);
    bench.settle();
    bench.peer_sends_raw(BAD_RECORD);
    // More than is read at once, and a FIN behind it: closing with this unread would reset.
    bench.peer_sends_raw(&vec![0; 1_000_000]);
    bench.turns();
    bench.settle();
    bench.peer_shuts();
    bench.settle();
    assert_eq!(bench.how(), How::Alert);
    assert_eq!(bench.theirs.error, Some(rustls::Error::AlertReceived(AlertDescription::BadRecordMac)));
    assert!(bench.gone && bench.peer_at_end, "the peer did not see FIN");
}

#[test]
fn the_peers_alert_is_told_and_not_answered() {
    let mut bench = Bench::open(TIMEOUTS);
    let alert = bench.theirs.receive(BAD_RECORD);
    bench.peer_sends_raw(&alert);
    bench.settle();
    let Some(Outcome::Ended(How::Alert, Some(failure))) = &bench.outcome else {
        panic!("{:?}", bench.outcome)
    };
    assert_eq!(failure.code, Code::AlertReceived);
    assert!(!bench.theirs.closed);
}

#[test]
fn a_reset_is_a_reset() {
    let (near, far) = tcp_pair();
    let mut bench = Bench::on(near, far, pair(), TIMEOUTS);
    bench.settle();
    reset(bench.net.take().expect("open"));
    bench.turns();
    assert_eq!(bench.how(), How::Reset);
    assert!(bench.gone, "nobody is there to linger for");
}

/// A reset found by writing is a reset too, and the program's unread data is still its own.
#[test]
fn a_reset_while_we_send_is_a_reset() {
    let (near, far) = tcp_pair();
    let mut bench = Bench::on(near, far, pair(), TIMEOUTS);
    bench.settle();
    bench.program_writes(&vec![1; 100_000]);
    reset(bench.net.take().expect("open"));
    bench.turns();
    assert_eq!(bench.how(), How::Reset);
}

#[test]
fn a_program_that_closes_with_bytes_unread_aborts_and_the_peer_sees_no_clean_end() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.peer_writes(b"never read");
    bench.settle();
    bench.program_writes(b"half an answ");
    bench.program = None;
    bench.settle();
    assert_eq!(bench.how(), How::Caller);
    assert_eq!(bench.theirs.got(), b"half an answ");
    assert!(bench.peer_at_end && !bench.theirs.closed, "the peer saw a clean end");
}

/// The same with bytes that we still hold for it.
#[test]
fn a_program_that_closes_while_we_hold_bytes_for_it_aborts() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.peer_writes(&vec![7; MUCH]);
    bench.settle();
    bench.program = None;
    bench.settle();
    assert_eq!(bench.how(), How::Caller);
    assert!(!bench.theirs.closed, "the peer saw a clean end");
}

/// A back end's reset is told once, to whichever call comes first; here that is our write.
#[test]
fn a_back_ends_reset_never_looks_like_its_clean_end() {
    let (near, far) = pair();
    let mut bench = Bench::on(near, far, tcp_pair(), TIMEOUTS);
    bench.settle();
    bench.program_writes(b"half an answ");
    bench.settle();
    bench.peer_writes(&vec![7; MUCH]);
    bench.settle();
    reset(bench.program.take().expect("open"));
    bench.settle();
    assert_eq!(bench.how(), How::Caller);
    assert!(!bench.theirs.closed, "the peer saw a clean end");
}

#[test]
fn a_program_that_closes_at_its_end_says_goodbye_to_the_peer() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.program_writes(b"all of it");
    bench.program = None;
    bench.settle();
    assert!(bench.theirs.closed && bench.theirs.got() == b"all of it");
    assert!(bench.outcome.is_none(), "the peer may still say goodbye: {:?}", bench.outcome);
    bench.peer_finishes();
    bench.settle();
    assert_eq!(bench.how(), How::CloseNotify);
}

/// Only what arrived whole is called so: bytes that the program did not wait for were lost.
#[test]
fn bytes_for_a_program_that_left_are_no_clean_end() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.program = None;
    bench.settle();
    bench.peer_writes(b"you forgot this");
    bench.peer_finishes();
    bench.settle();
    assert_eq!((bench.how(), bench.relay.bytes().0), (How::Caller, 0));
}

#[test]
fn only_a_drained_session_says_goodbye_for_the_program() {
    for (how, goodbye) in [(How::Drained, true), (How::Cancelled, false), (How::Caller, false)] {
        let mut bench = Bench::open(TIMEOUTS);
        bench.abort(Outcome::Ended(how, None));
        assert_eq!(bench.program_reads(), (Vec::new(), true));
        bench.settle();
        assert_eq!((bench.how(), bench.theirs.closed), (how, goodbye));
        assert!(bench.peer_at_end, "{how:?}: no FIN");
    }
}

#[test]
fn a_bug_of_ours_is_an_error_without_goodbye() {
    let mut bench = Bench::open(TIMEOUTS);
    let turn = bench.relay.broken_by_us(Failure::internal("a test".to_owned()));
    assert!(matches!(turn, super::super::Turn::Over(Outcome::Ended(How::Error, Some(_)))));
    bench.outcome = Some(Outcome::Ended(How::Error, None));
    bench.settle();
    assert!(bench.peer_at_end && !bench.theirs.closed);
    bench.pass(LINGER);
}

#[test]
fn a_handshake_that_ends_before_its_time_is_a_failure_with_its_reason() {
    let mut bench = Bench::new(TIMEOUTS);
    bench.turns();
    bench.peer_shuts();
    bench.turns();
    let Some(Outcome::Failed(failure)) = &bench.outcome else { panic!("{:?}", bench.outcome) };
    assert_eq!(failure.code, Code::ClosedByPeer);

    let (near, far) = tcp_pair();
    let mut bench = Bench::on(near, far, pair(), TIMEOUTS);
    reset(bench.net.take().expect("open"));
    bench.turns();
    let Some(Outcome::Failed(failure)) = &bench.outcome else { panic!("{:?}", bench.outcome) };
    assert_eq!(failure.code, Code::ResetByPeer);
}

/// What the program has written by then belongs to its stream.
#[test]
fn a_drained_session_says_goodbye_behind_everything_that_was_written() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.program_writes(b"written just now");
    bench.abort(Outcome::Ended(How::Drained, None));
    bench.settle();
    assert_eq!((bench.theirs.got(), bench.theirs.closed), (&b"written just now"[..], true));
}

/// Bytes of the program that will never be sent: its stream is cut, and must not look whole.
#[test]
fn a_drained_session_that_loses_bytes_says_no_goodbye() {
    let mut bench = Bench::open(TIMEOUTS);
    let written = bench.fill();
    bench.abort(Outcome::Ended(How::Drained, None));
    bench.settle();
    assert!(bench.theirs.got().len() < written, "nothing was lost");
    assert!(bench.peer_at_end && !bench.theirs.closed, "the peer saw a clean end");
}

/// The poller says once that a socket takes more; hearing it just before the end must not be forgotten.
#[test]
fn the_last_words_go_out_although_the_socket_was_full_a_moment_ago() {
    let mut bench = Bench::open(TIMEOUTS);
    while bench.relay.to_peer.is_empty() {
        bench.program_writes(&[3; 50_000]);
        bench.turns();
    }
    bench.peer_reads(usize::MAX);
    bench.notice();
    bench.abort(Outcome::Ended(How::Drained, None));
    bench.turns();
    assert!(bench.relay.to_peer.is_empty(), "{} bytes wait for nothing", bench.relay.to_peer.len());
    bench.settle();
    assert!(bench.theirs.closed, "no goodbye");
}

/// A peer that has said everything may still read: the alert behind other bytes is for it.
#[test]
fn last_words_reach_a_peer_that_has_sent_its_fin() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.fill();
    bench.peer_sends_raw(BAD_RECORD);
    bench.peer_shuts();
    bench.turns();
    assert_eq!(bench.how(), How::Alert);
    assert!(!bench.gone, "the alert is not out yet");
    bench.settle();
    assert_eq!(bench.theirs.error, Some(rustls::Error::AlertReceived(AlertDescription::BadRecordMac)));
    assert!(bench.gone);
}
