//! Bytes both ways: none lost, and none held that has somewhere to go.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::super::*;
use super::rig::*;

/// A read stops behind bytes that came with a descriptor; what is behind them must not wait for more to come.
#[test]
fn a_program_that_sends_descriptors_along_loses_them_and_no_byte() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    let program = rig.program.as_ref().expect("open").try_clone().expect("dup");
    for text in [b"one ", b"two "] {
        let fds = [program.as_fd()];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&program, &[std::io::IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)
            .expect("sendmsg");
    }
    rig.program_writes(b"three");
    rig.flow();
    assert_eq!(rig.peer.received, b"one two three");
}

#[test]
fn a_session_at_rest_holds_nothing() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_writes(&text(100_000));
    rig.program_writes(&text(100_000));
    rig.flow();
    rig.program_reads();
    rig.flow();
    assert_eq!((rig.relay.to_program.len(), rig.relay.to_peer.len()), (0, 0));
    assert!(rig.relay.session.rest().is_empty());
}

/// TLS 1.3 lets a peer ask for new keys again and again; answers to a peer that reads nothing must not pile up.
#[test]
fn a_peer_that_asks_and_never_reads_fills_no_memory() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    for _ in 0..5_000 {
        if rig.outcome.is_some() || rig.peer.connection.refresh_traffic_keys().is_err() {
            break;
        }
        rig.peer_writes(b"x");
        rig.work();
        assert!(rig.relay.to_peer.len() <= MAX_ANSWERS + ONE_READ);
        // The program reads and answers, so that the answers' keys are due.
        rig.program_reads();
        rig.program_writes(b"y");
        rig.work();
    }
    assert!(rig.outcome.is_none() || rig.how() == How::Alert, "{:?}", rig.outcome);
}

#[test]
fn a_program_that_reads_wakes_nobody_unless_something_waits_for_its_room() {
    let mut rig = Rig::open(Role::Server, TIMEOUTS);
    rig.peer_writes(b"request");
    rig.flow();
    let before = rig.turns;
    assert_eq!(rig.program_reads().0, b"request");
    rig.work();
    assert_eq!(rig.turns, before, "a turn for nothing");
    // More than its socket takes: now each piece that it reads lets the rest come.
    let much = text(2_000_000);
    rig.peer_writes(&much);
    rig.flow();
    let mut read = Vec::new();
    while read.len() < much.len() {
        let (bytes, _) = rig.program_reads();
        assert!(!bytes.is_empty(), "the program waits, {} bytes behind", much.len() - read.len());
        read.extend(bytes);
        rig.flow();
    }
    assert!(read == much);
    let before = rig.turns;
    rig.peer_writes(b"again");
    rig.flow();
    rig.program_reads();
    rig.work();
    assert_eq!(rig.turns, before + 1, "room is still told of");
}

#[test]
fn an_answer_and_the_end_behind_it_leave_in_one_turn() {
    let mut rig = Rig::on(tcp_pair(), sockets(), TIMEOUTS).opened();
    let before = rig.turns;
    rig.program_writes(b"answer");
    rig.program = None;
    rig.work();
    assert_eq!(rig.turns, before + 1);
    rig.flow();
    assert_eq!(rig.peer.received, b"answer");
    assert!(rig.peer.closed && rig.peer_at_end, "close_notify or FIN is missing");
    // Held back until both are gone, and no longer: the peer's own end is heard after it.
    rig.peer_shuts();
    rig.flow();
    assert_eq!(rig.how(), How::Caller);
}
