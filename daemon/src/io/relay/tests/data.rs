//! Bytes both ways: none lost, none held without bound.

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tlsify_protocol::How;

use super::super::MAX_ANSWERS;
use super::bench::{Bench, TIMEOUTS};
use crate::io::scratch::READ;
use crate::session::tests::pair::End as _;

/// More than all sockets and buffers on the way can hold.
const MUCH: usize = 8 << 20;
/// One read of each side, with what records add to it.
const HELD: usize = READ + READ / 32;

fn data(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

#[test]
fn a_program_that_does_not_read_stops_the_peer_and_loses_nothing() {
    let mut bench = Bench::open(TIMEOUTS);
    let sent = data(MUCH);
    bench.peer_writes(&sent);
    bench.settle();
    assert!(bench.relay.to_program.len() <= HELD, "{} bytes are held", bench.relay.to_program.len());
    assert!(!bench.relay.to_program.is_empty(), "the program's socket took {MUCH} bytes");
    bench.peer_finishes();
    let mut got = Vec::new();
    loop {
        let (some, end) = bench.program_reads();
        got.extend(some);
        bench.settle();
        if end {
            break;
        }
    }
    assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
    bench.program_shuts();
    bench.settle();
    assert_eq!((bench.how(), bench.relay.bytes()), (How::CloseNotify, (MUCH as u64, 0)));
    assert!(bench.gone);
}

#[test]
fn a_peer_that_does_not_read_stops_the_program_and_loses_nothing() {
    let mut bench = Bench::open(TIMEOUTS);
    let sent = data(MUCH);
    let mut written = 0;
    loop {
        let count = bench.program_writes(&sent[written..]);
        written += count;
        bench.turns();
        if count == 0 {
            break;
        }
    }
    assert!(written < MUCH, "everything was taken");
    assert!(bench.relay.to_peer.len() <= HELD, "{} bytes are held", bench.relay.to_peer.len());
    while written < MUCH {
        bench.settle();
        written += bench.program_writes(&sent[written..]);
    }
    bench.program_shuts();
    bench.settle();
    assert!(bench.theirs.got() == sent, "{} of {} bytes", bench.theirs.got().len(), sent.len());
    assert!(bench.theirs.closed);
}

#[test]
fn both_directions_stopped_at_once_go_on_by_themselves() {
    let mut bench = Bench::open(TIMEOUTS);
    let sent = data(MUCH);
    bench.peer_writes(&sent);
    let mut written = 0;
    loop {
        let count = bench.program_writes(&sent[written..]);
        written += count;
        bench.turns();
        if count == 0 {
            break;
        }
    }
    let mut got = Vec::new();
    while got.len() < MUCH || bench.theirs.got().len() < MUCH {
        bench.settle();
        got.extend(bench.program_reads().0);
        written += bench.program_writes(&sent[written..]);
    }
    assert!(got == sent && bench.theirs.got() == sent);
}

/// A read stops behind bytes that came with a descriptor; what is behind them must not wait for more to come.
#[test]
fn a_program_that_sends_descriptors_along_loses_them_and_no_byte() {
    let mut bench = Bench::open(TIMEOUTS);
    let program = bench.program.as_ref().expect("open").try_clone().expect("dup");
    for text in [b"one ", b"two "] {
        let fds = [std::os::fd::AsFd::as_fd(&program)];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        sendmsg(&program, &[std::io::IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)
            .expect("sendmsg");
    }
    bench.program_writes(b"three");
    bench.settle();
    assert_eq!(bench.theirs.got(), b"one two three");
}

#[test]
fn a_session_at_rest_holds_nothing() {
    let mut bench = Bench::open(TIMEOUTS);
    bench.peer_writes(&data(100_000));
    bench.program_writes(&data(100_000));
    bench.settle();
    bench.program_reads();
    bench.settle();
    assert_eq!((bench.relay.to_program.len(), bench.relay.to_peer.len()), (0, 0));
    assert!(bench.relay.session.rest().is_empty());
}

/// TLS 1.3 lets a peer ask for new keys again and again; answers to a peer that reads nothing must not pile up.
#[test]
fn a_peer_that_asks_and_never_reads_fills_no_memory() {
    let mut bench = Bench::open(TIMEOUTS);
    for _ in 0..5_000 {
        if bench.outcome.is_some() || bench.theirs.tls.refresh_traffic_keys().is_err() {
            break;
        }
        bench.peer_writes(b"x");
        bench.turns();
        assert!(bench.relay.to_peer.len() <= MAX_ANSWERS + HELD);
        // The program reads and answers, so that the answers' keys are due.
        bench.program_reads();
        bench.program_writes(b"y");
        bench.turns();
    }
    assert!(bench.outcome.is_none() || bench.how() == How::Alert, "{:?}", bench.outcome);
}
