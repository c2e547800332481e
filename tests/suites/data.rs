//! The data path with the real daemon: every byte arrives, in both directions, at the pace of whoever reads.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tlsify_client::How;
use tlsifyd_tests::figures::show;
use tlsifyd_tests::handover::{self, Open};
use tlsifyd_tests::outgoing::both_roles;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, Running, TestDaemon, running};

/// What a stopped session may add to the daemon: two reads, two copies of what was refused, and the allocator's taste.
const STOPPED_KIB: u64 = 4096;
/// More than all sockets on the way can hold.
const MUCH: usize = 64 << 20;

/// Bytes that repeat only after more than any buffer's size, so that a piece in the wrong place shows.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

#[test]
fn a_program_that_has_said_everything_still_hears() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.plain.write_all(b"the question").unwrap();
        open.plain.shutdown(Shutdown::Write).unwrap();
        assert_eq!(open.peer.read_to_end().unwrap(), (b"the question".to_vec(), End::CloseNotify));
        open.peer.write_all(b"a long answer").unwrap();
        open.peer.half_close().unwrap();
        let mut answer = Vec::new();
        open.plain.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"a long answer");
        let ended = open.established.session.ended().unwrap();
        assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::CloseNotify, 13, 12));
    }
}

#[test]
fn a_peer_that_has_said_everything_still_hears() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.peer.write_all(b"the question").unwrap();
        open.peer.half_close().unwrap();
        let mut question = Vec::new();
        open.plain.read_to_end(&mut question).unwrap();
        assert_eq!(question, b"the question");
        open.plain.write_all(b"a long answer").unwrap();
        open.plain.shutdown(Shutdown::Write).unwrap();
        assert_eq!(open.peer.read_to_end().unwrap(), (b"a long answer".to_vec(), End::CloseNotify));
        let ended = open.established.session.ended().unwrap();
        assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::CloseNotify, 12, 13));
    }
}

#[test]
fn two_full_directions_at_once_arrive_byte_for_byte() {
    let daemon = TestDaemon::start();
    for open in both_roles(&daemon.client()) {
        let Open { established, plain, mut peer } = open;
        let (to_peer, to_program) = (Arc::new(noise(MUCH, 7)), noise(MUCH, 11));
        let expected = [digest(&SHA256, &to_peer), digest(&SHA256, &to_program)];
        let far = running("peer", move || peer.both_ways(&to_program, MUCH).map(|got| (peer, got)).unwrap());
        let mut writer = plain.try_clone().unwrap();
        let writing = running("program writes", move || writer.write_all(&to_peer).unwrap());
        let got = read_exactly(&plain, MUCH);
        writing.join_within(4 * LIMIT);
        let (_peer, theirs) = far.join_within(4 * LIMIT);
        assert_eq!(digest(&SHA256, &theirs).as_ref(), expected[0].as_ref(), "to the peer");
        assert_eq!(digest(&SHA256, &got).as_ref(), expected[1].as_ref(), "to the program");
        drop(established);
    }
}

/// Sessions with exporter values run on rustls' other interface.
#[test]
fn a_session_with_exporters_moves_the_same_bytes() {
    const COUNT: usize = 8 << 20;
    let daemon = TestDaemon::start();
    let open = handover::open_bound(&daemon.client(), |accept| accept.channel_binding());
    let Open { established, plain, mut peer } = open;
    assert!(established.facts.channel_binding.is_some());
    let (to_peer, to_program) = (noise(COUNT, 7), noise(COUNT, 11));
    let expected = (to_peer.clone(), to_program.clone());
    let far = running("peer", move || peer.both_ways(&to_program, COUNT).map(|got| (peer, got)).unwrap());
    let mut writer = plain.try_clone().unwrap();
    let writing = running("program writes", move || writer.write_all(&to_peer).unwrap());
    let got = read_exactly(&plain, COUNT);
    writing.join();
    let (_peer, theirs) = far.join();
    assert!(theirs == expected.0 && got == expected.1);
}

fn read_exactly(mut plain: &UnixStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    plain.read_exact(&mut bytes).expect("everything arrives");
    bytes
}

#[test]
fn ten_thousand_writes_of_one_byte_arrive_in_order() {
    const COUNT: usize = 10_000;
    let daemon = TestDaemon::start();
    let Open { established, mut plain, mut peer } = handover::open(&daemon.client());
    let sent = noise(COUNT, 3);
    let expected = sent.clone();
    let far = running("peer", move || {
        let got = peer.read_exact(COUNT).unwrap();
        for byte in &got {
            peer.write_all(&[*byte]).unwrap();
        }
        got
    });
    for byte in &sent {
        plain.write_all(&[*byte]).unwrap();
    }
    assert!(read_exactly(&plain, COUNT) == expected, "back at the program");
    assert!(far.join() == expected, "at the peer");
    drop(established);
}

#[test]
fn a_program_that_stops_reading_stops_the_peer_and_not_the_daemon() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    handover::open(&client).assert_alive();
    let Open { established, plain, mut peer } = handover::open(&client);
    let before = private_at_rest(&daemon);
    let data = noise(MUCH, 5);
    let expected = digest(&SHA256, &data);
    let far = running("peer", move || peer.write_all(&data).map(|()| peer).unwrap());
    assert_stopped(&daemon, before, &far, "program");
    assert_eq!(digest(&SHA256, &read_exactly(&plain, MUCH)).as_ref(), expected.as_ref());
    let _peer = far.join();
    drop(established);
}

#[test]
fn a_peer_that_stops_reading_stops_the_program_and_not_the_daemon() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    handover::open(&client).assert_alive();
    let Open { established, plain, mut peer } = handover::open(&client);
    let before = private_at_rest(&daemon);
    let data = noise(MUCH, 5);
    let expected = digest(&SHA256, &data);
    let mut writer = plain.try_clone().unwrap();
    let writing = running("program writes", move || writer.write_all(&data).unwrap());
    assert_stopped(&daemon, before, &writing, "peer");
    assert_eq!(digest(&SHA256, &peer.read_exact(MUCH).unwrap()).as_ref(), expected.as_ref());
    writing.join();
    drop(established);
}

/// All comes to rest before everything has moved, because this side does not read, and the daemon has not grown much.
#[track_caller]
fn assert_stopped<T>(daemon: &TestDaemon, before: u64, moving: &Running<T>, side: &str) {
    let grown = private_at_rest(daemon).saturating_sub(before);
    assert!(!moving.is_done(), "somebody took all of it");
    show(&format!("a session whose {side} does not read costs {grown} KiB of private memory"));
    assert!(grown < STOPPED_KIB, "{grown} KiB for one session");
}

/// Its private memory once it no longer changes: everything that could be sent has been.
fn private_at_rest(daemon: &TestDaemon) -> u64 {
    let mut last = 0;
    until(LIMIT, || {
        thread::sleep(Duration::from_millis(300));
        let before = std::mem::replace(&mut last, daemon.private_kib());
        (before == last).then_some(last)
    })
    .expect("the daemon comes to rest")
}

/// On one core: a session that always has more to move waits behind the others after each turn.
#[test]
fn a_session_that_moves_much_does_not_stop_the_others() {
    let daemon = TestDaemon::with_config("workers = 1\n");
    let client = daemon.client();
    let stop = Arc::new(AtomicBool::new(false));
    let mut busy = Vec::new();
    for _ in 0..2 {
        let Open { established, mut plain, mut peer } = handover::open(&client);
        let stop = Arc::clone(&stop);
        busy.push(running("bulk peer", move || {
            let chunk = vec![1; 256 * 1024];
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                peer.write_all(&chunk).unwrap();
                sent += chunk.len() as u64;
            }
            peer.half_close().unwrap();
            sent
        }));
        busy.push(running("bulk program", move || {
            let mut got = 0;
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match plain.read(&mut buffer).unwrap() {
                    0 => break,
                    count => got += count as u64,
                }
            }
            drop(established);
            got
        }));
    }
    for _ in 0..50 {
        handover::open(&client).assert_alive();
    }
    stop.store(true, Ordering::Relaxed);
    let moved: Vec<u64> = busy.into_iter().map(Running::join).collect();
    assert!(moved[0] > 0 && moved[0] == moved[1] && moved[2] == moved[3], "{moved:?}");
}

/// A short-lived command hands over and leaves; for each that did, a descriptor would stay as long as its session.
#[test]
fn a_session_outlives_the_control_connection_that_asked_for_it_and_keeps_two_descriptors_and_no_third() {
    let daemon = TestDaemon::start();
    let before = daemon.baseline();
    let client = daemon.client();
    let open = both_roles(&client);
    drop(client);
    let left = open.map(|Open { established, plain, peer }| {
        drop(established);
        (plain, peer)
    });
    let gone = until(LIMIT, || {
        let status = daemon.client().status(tlsify_client::Scope::Own, false).unwrap();
        (status.callers <= 1).then_some(status.sessions)
    });
    assert_eq!(gone, Some(2), "the control connection is gone and the sessions are not");
    let held = before.count() + 2 * left.len();
    until(LIMIT, || (daemon.fds().count() == held).then_some(())).expect("the control connections close");
    for (mut plain, mut peer) in left {
        plain.write_all(b"still open").unwrap();
        assert_eq!(peer.read_exact(10).unwrap(), b"still open");
        plain.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    }
    daemon.settled_fds(&before);
}
