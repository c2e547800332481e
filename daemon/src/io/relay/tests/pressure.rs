//! Back-pressure and its bound, in both directions; nothing spins, nothing is lost.

use super::super::arms::recv;
use super::super::*;
use super::rig::*;
use crate::tls::{Code, Party};

const MUCH: usize = 8 * 1024 * 1024;
#[test]
fn a_program_that_does_not_read_stops_the_peer() {
    let mut rig = Rig::open(Role::Client, TIMEOUTS);
    let all = text(MUCH);
    rig.peer.write(&all);
    rig.peer.end();
    rig.flow();
    assert!(rig.peer_unsent() > MUCH / 2, "the network is full, and so is the peer");
    assert!(rig.relay.to_program.len() <= ONE_READ, "{} bytes are held", rig.relay.to_program.len());
    let turns = rig.turns;
    rig.flow();
    assert_eq!(rig.turns, turns, "nobody takes turns while nothing can move");
    let mut received = Vec::new();
    while received.len() < all.len() {
        let before = received.len();
        received.extend(rig.program_reads().0);
        assert!(rig.relay.to_program.len() <= ONE_READ);
        rig.flow();
        assert!(received.len() > before || !rig.relay.to_program.is_empty() || rig.peer_unsent() > 0);
    }
    assert!(received == all, "every byte arrives once and in order");
    assert!(rig.relay.to_program.is_empty() && rig.outcome.is_none());
    rig.program_finishes();
    rig.flow();
    assert_eq!((rig.how(), rig.relay.bytes(), rig.gone), (How::CloseNotify, (MUCH as u64, 0), true));
}

#[test]
fn a_peer_that_does_not_read_stops_the_program() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    let all = text(MUCH);
    let mut written = 0;
    loop {
        let count = rig.program_writes(&all[written..]);
        written += count;
        rig.work();
        assert!(rig.relay.to_peer.len() <= ONE_READ, "{} bytes are held", rig.relay.to_peer.len());
        if count == 0 {
            break;
        }
    }
    assert!(written < MUCH / 2, "the program is stopped after {written} bytes");
    let turns = rig.turns;
    rig.work();
    assert_eq!(rig.turns, turns, "nobody takes turns while nothing can move");
    // The other direction is not stopped with it.
    rig.peer_writes(b"meanwhile");
    rig.work();
    assert_eq!(rig.program_reads().0, b"meanwhile");
    while written < all.len() {
        rig.peer_reads(100_000);
        rig.work();
        written += rig.program_writes(&all[written..]);
        rig.work();
    }
    rig.program_finishes();
    rig.flow();
    assert!(rig.peer.received == all && rig.peer.closed, "every byte arrives, then the goodbye");
}

#[test]
fn both_directions_full_at_once_come_loose_again() {
    let mut rig = Rig::open(Role::Client, TIMEOUTS);
    let all = text(2 * 1024 * 1024);
    rig.peer.write(&all);
    let mut written = 0;
    for _ in 0..100 {
        written += rig.program_writes(&all[written..]);
        rig.peer_sends();
        rig.work();
    }
    assert!(!rig.relay.to_program.is_empty() && !rig.relay.to_peer.is_empty());
    let mut received = Vec::new();
    while received.len() < all.len() || rig.peer.received.len() < all.len() {
        let before = received.len() + rig.peer.received.len();
        received.extend(rig.program_reads().0);
        rig.flow();
        written += rig.program_writes(&all[written..]);
        rig.flow();
        received.extend(rig.program_reads().0);
        assert!(received.len() + rig.peer.received.len() > before, "stuck");
    }
    assert!(received == all && rig.peer.received == all);
}

#[test]
fn one_turn_moves_one_read_of_each_side() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_writes(&text(MUCH));
    rig.program_writes(&text(MUCH));
    rig.poll();
    let before = rig.relay.bytes();
    let turn = rig.relay.turn(&mut rig.scratch, &rig.poller, rig.now);
    let after = rig.relay.bytes();
    assert!(after.0 - before.0 <= READ as u64 && after.1 - before.1 <= READ as u64, "{after:?}");
    rig.after(turn);
}

#[test]
fn a_failure_waits_until_the_program_has_what_came_before_it() {
    for garbage in [BAD_RECORD, &[21, 3, 3, 0, 2, 2, 40]] {
        let mut rig = Rig::open(Role::Client, TIMEOUTS);
        let all = text(MUCH);
        rig.peer.write(&all);
        rig.flow();
        // The rest of the data, then garbage, while the program reads late.
        let mut received = Vec::new();
        let mut said = false;
        while rig.outcome.is_none() {
            let (some, end) = rig.program_reads();
            received.extend(some);
            assert!(!end, "the program's end came before its data");
            rig.flow();
            if rig.peer_unsent() == 0 && !said {
                said = true;
                rig.peer_sends_raw(garbage);
                rig.work();
                if !rig.relay.to_program.is_empty() {
                    assert!(rig.outcome.is_none(), "what came before it is not delivered yet");
                }
            }
        }
        received.extend(rig.program_reads().0);
        assert!(received == all, "{} of {} bytes came before the failure", received.len(), all.len());
        assert_eq!(rig.how(), How::Alert);
    }
}

#[test]
fn a_failure_that_waits_is_what_is_told_when_the_time_is_up() {
    let mut rig = Rig::open(Role::Client, IDLY);
    fill_with_garbage_behind(&mut rig);
    rig.sleep(IDLE);
    let Some(Outcome::Ended(how, Some(failure))) = &rig.outcome else { panic!("{:?}", rig.outcome) };
    assert_eq!((*how, failure.code), (How::Alert, Code::ProtocolViolation));
    assert_eq!(failure.alert, Some((20, Party::Us)));
}

#[test]
fn a_failure_that_waits_is_told_when_the_program_goes() {
    let mut rig = Rig::open(Role::Client, TIMEOUTS);
    fill_with_garbage_behind(&mut rig);
    rig.program = None;
    rig.work();
    assert_eq!(rig.how(), How::Alert);
}

/// The alert has been said by then: the end that came first is the one that is told.
#[test]
fn a_failure_that_waits_is_not_forgotten_for_a_later_end() {
    for later in [How::Cancelled, How::Drained] {
        let mut rig = Rig::open(Role::Server, TIMEOUTS);
        fill_with_garbage_behind(&mut rig);
        rig.abort(Outcome::Ended(later, None));
        assert_eq!(rig.how(), How::Alert);
        rig.flow();
        assert!(!rig.peer.closed, "close_notify after an error");
    }
}

#[test]
fn a_goodbye_followed_by_a_reset_does_not_end_cleanly_for_what_was_not_read() {
    for role in [Role::Client, Role::Server] {
        let mut rig = Rig::open(role, TIMEOUTS);
        rig.program_writes(b"an upload");
        rig.work();
        rig.peer.end();
        rig.peer_sends();
        // Closed with the upload unread.
        rig.wire = None;
        rig.program_finishes();
        rig.work();
        assert_eq!((rig.how(), rig.gone), (How::Reset, true), "{role:?}");
    }
}

#[test]
fn records_without_a_byte_do_not_keep_a_session() {
    let mut rig = Rig::open(Role::Server, IDLY);
    for _ in 0..5 {
        rig.sleep(IDLE / 6);
        rig.peer.connection.refresh_traffic_keys().unwrap();
        rig.flow();
    }
    rig.sleep(IDLE / 6);
    assert_eq!(rig.how(), How::Timeout);
}

/// The program's socket is full, more is held, and a failure waits behind it.
fn fill_with_garbage_behind(rig: &mut Rig) {
    let end = rig.relay.plain.as_ref().and_then(Plain::inbound).unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(end, 8192).unwrap();
    while rig.relay.to_program.is_empty() {
        rig.peer.write(&text(16384));
        rig.flow();
    }
    // The relay reads no more now. One later read brings data, more than a program takes, and garbage.
    rig.peer_writes(&text(100_000));
    assert_eq!(rig.peer_unsent(), 0, "the network holds it");
    rig.peer_sends_raw(BAD_RECORD);
    rig.work();
    assert!(
        rig.relay.pending.is_none() && rig.outcome.is_none(),
        "nothing is read while the program is full"
    );
    let mut buffer = [0; 4096];
    while rig.relay.pending.is_none() {
        recv(rig.program.as_ref().unwrap(), &mut buffer).expect("the program has something to read");
        rig.work();
        assert!(rig.outcome.is_none(), "the failure came before the data: {:?}", rig.outcome);
    }
}
