//! `outbound-end=hold`: the peer hears of the program's end only behind its own.

use super::super::*;
use super::rig::*;

fn held() -> Rig {
    let mut rig = Rig::open(Role::Client, TIMEOUTS).holding();
    rig.program_writes(b"question");
    rig.program_finishes();
    rig.flow();
    assert_eq!(rig.peer.received, b"question");
    assert!(!rig.peer.closed && !rig.peer_at_end && rig.outcome.is_none(), "the peer was told");
    rig
}

#[test]
fn a_held_end_is_told_behind_the_peers_and_what_came_before_arrives() {
    let mut rig = held();
    rig.peer_writes(b"answer");
    rig.flow();
    assert_eq!(rig.program_reads(), (b"answer".to_vec(), false));
    assert!(!rig.peer.closed, "an answer is no end");
    rig.peer.end();
    rig.flow();
    assert_eq!((rig.how(), rig.peer.closed, rig.peer_at_end), (How::CloseNotify, true, true));
}

#[test]
fn a_peer_that_ends_first_does_not_end_a_program_that_still_writes() {
    let mut rig = Rig::open(Role::Client, TIMEOUTS).holding();
    rig.peer.end();
    rig.flow();
    assert!(rig.outcome.is_none() && !rig.peer.closed, "the program has not ended");
    rig.program_writes(b"still here");
    rig.program_finishes();
    rig.flow();
    assert_eq!((rig.how(), &rig.peer.received[..]), (How::CloseNotify, &b"still here"[..]));
    assert!(rig.peer.closed);
}

/// The peer's stream may be cut; the program's is whole, and the peer may still read.
#[test]
fn a_bare_fin_ends_the_holding_and_is_truncated_all_the_same() {
    let mut rig = held();
    rig.peer_shuts();
    rig.flow();
    assert_eq!((rig.how(), rig.peer.closed, rig.peer_at_end), (How::Truncated, true, true));
}

#[test]
fn a_program_that_closes_altogether_holds_nothing() {
    // At once, and after it has shut its own half.
    for shut_first in [false, true] {
        let mut rig = Rig::open(Role::Client, TIMEOUTS).holding();
        rig.program_writes(b"all of it");
        if shut_first {
            rig.program_finishes();
            rig.flow();
            assert!(!rig.peer.closed);
        }
        rig.program = None;
        rig.flow();
        assert!(rig.peer.closed && rig.peer.received == b"all of it", "shut first: {shut_first}");
        rig.sleep(LINGER);
        assert_eq!(rig.how(), How::Caller);
        rig.sleep(Duration::ZERO);
        assert!(rig.gone);
    }
}

#[test]
fn a_program_that_leaves_an_answer_unread_says_no_goodbye() {
    let mut rig = held();
    rig.peer_writes(b"answer");
    rig.flow();
    rig.program = None;
    rig.flow();
    assert_eq!((rig.how(), rig.peer.closed, rig.peer_at_end), (How::Caller, false, true));
}

/// As without holding: only an idle timeout or the peer ends it.
#[test]
fn a_peer_that_never_ends_is_waited_for_as_long_as_idle_allows() {
    let mut rig = held();
    assert_eq!(rig.relay.deadline_change().1, None);
    rig.sleep(HANDSHAKE * 1000);
    assert!(rig.outcome.is_none());

    let mut rig = Rig::open(Role::Client, IDLY).holding();
    rig.program_finishes();
    rig.flow();
    rig.sleep(IDLE);
    rig.flow();
    assert_eq!((rig.how(), rig.peer.closed, rig.peer_at_end), (How::Timeout, false, true));
}

#[test]
fn a_held_end_is_told_by_a_drained_session_and_not_by_a_cancelled_one() {
    for (how, goodbye) in [(How::Drained, true), (How::Cancelled, false)] {
        let mut rig = held();
        rig.abort(Outcome::Ended(how, None));
        rig.flow();
        assert_eq!((rig.how(), rig.peer.closed, rig.peer_at_end), (how, goodbye, true));
    }
}

#[test]
fn a_reset_while_an_end_is_held_is_a_reset() {
    let mut rig = Rig::on(tcp_pair(), sockets(), TIMEOUTS).opened().holding();
    rig.program_finishes();
    rig.work();
    reset(rig.wire.take().expect("open"));
    rig.work();
    assert_eq!(rig.how(), How::Reset);
}
