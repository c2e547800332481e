//! The data path: every byte arrives, in order, in bounded memory, and a session that moves much does not stop the
//! others.
#![expect(clippy::print_stdout, reason = "figures, for whoever runs the suite with --nocapture")]

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tlsify_client::{Client, How, Version};
use tlsifyd_tests::handover::{Open, open, open_bound, open_connected};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Running, TestDaemon, running};

const MIB: usize = 1 << 20;

/// More than all queues of the system on the way take, many times over.
const MUCH: usize = 64 * MIB;

/// What the daemon may keep of one session's data: one read of each side, and what the allocator rounds up.
const MAX_GROWTH_KIB: u64 = 4096;

/// Time for work that is long: bulk data through a build without optimisation, beside other suites.
const LONG: Duration = Duration::from_secs(120);

/// Bytes that look random and do not repeat within a test: one that is lost, doubled or moved is seen.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

/// A session of each role and version, with what it is called.
fn each_kind(client: &Client) -> [(&'static str, Open); 4] {
    let server = |version| open_bound(client, |request| request.min_version(version).max_version(version));
    let connected =
        |version| open_connected(client, |request| request.min_version(version).max_version(version));
    [
        ("server, TLS 1.2", server(Version::Tls12)),
        ("server, TLS 1.3", server(Version::Tls13)),
        ("client, TLS 1.2", connected(Version::Tls12)),
        ("client, TLS 1.3", connected(Version::Tls13)),
    ]
}

/// Says goodbye on both sides, and checks the count of bytes.
fn finish(mut open: Open, bytes: (usize, usize)) {
    open.plain.shutdown(Shutdown::Write).expect("the session is open");
    open.peer.half_close().expect("the session is open");
    let ended = open.established.session.ended_within(LIMIT).expect("the control connection is open");
    let ended = ended.expect("it ends");
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    assert_eq!((ended.bytes_in, ended.bytes_out), (bytes.0 as u64, bytes.1 as u64), "{ended:?}");
}

#[test]
fn much_in_both_directions_at_once_arrives_byte_for_byte() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for (kind, open) in each_kind(&client) {
        let Open { established, plain, mut peer } = open;
        let begun = Instant::now();
        let far = running("peer", move || {
            let got = peer.both_ways(&noise(1, MUCH), MUCH).expect("the session is open");
            (peer, got)
        });
        let mut writer = plain.try_clone().expect("a descriptor is free");
        let sent = running("program", move || writer.write_all(&noise(2, MUCH)));
        let mut got = vec![0; MUCH];
        (&plain).read_exact(&mut got).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(got == noise(1, MUCH), "{kind}: the program gets something else than the peer sent");
        sent.join_within(LONG).expect("the session is open");
        let (peer, got) = far.join_within(LONG);
        assert!(got == noise(2, MUCH), "{kind}: the peer gets something else than the program sent");
        println!("{kind}: {} MiB each way in {:?}", MUCH / MIB, begun.elapsed());
        finish(Open { established, plain, peer }, (MUCH, MUCH));
    }
}

#[test]
fn ten_thousand_bytes_one_by_one_stay_in_order() {
    const COUNT: usize = 10_000;
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for (kind, open) in each_kind(&client) {
        let Open { established, plain, mut peer } = open;
        let mut writer = plain.try_clone().expect("a descriptor is free");
        let sent =
            running("program", move || noise(2, COUNT).chunks(1).try_for_each(|byte| writer.write_all(byte)));
        let got = peer.read_exact(COUNT).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(got == noise(2, COUNT), "{kind}: the peer gets something else than the program sent");
        sent.join_within(LONG).expect("the session is open");
        let far = running("peer", move || {
            noise(1, COUNT).chunks(1).try_for_each(|byte| peer.write_all(byte)).expect("the session is open");
            peer
        });
        let mut got = vec![0; COUNT];
        (&plain).read_exact(&mut got).unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert!(got == noise(1, COUNT), "{kind}: the program gets something else than the peer sent");
        let peer = far.join_within(LONG);
        finish(Open { established, plain, peer }, (COUNT, COUNT));
    }
}

#[test]
fn a_program_that_stops_reading_stops_the_peer() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let Open { established, plain, mut peer } = warm(&client);
    let before = daemon.private_kib();
    let far = running("peer", move || {
        peer.write_all(&noise(1, MUCH)).expect("the session is open");
        peer
    });
    let growth = growth_while_stuck(&daemon, before, &far);
    println!("memory grows by {growth} KiB from {before} KiB while the program does not read");
    assert!(growth < MAX_GROWTH_KIB, "the daemon keeps {growth} KiB for a program that does not read");
    let mut got = vec![0; MUCH];
    (&plain).read_exact(&mut got).expect("the session is open");
    assert!(got == noise(1, MUCH), "the program gets something else than the peer sent");
    finish(Open { established, plain, peer: far.join_within(LONG) }, (MUCH + WARM, WARM));
}

#[test]
fn a_peer_that_stops_reading_stops_the_program() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let Open { established, plain, mut peer } = warm(&client);
    let before = daemon.private_kib();
    let mut writer = plain.try_clone().expect("a descriptor is free");
    let sent = running("program", move || writer.write_all(&noise(2, MUCH)));
    let growth = growth_while_stuck(&daemon, before, &sent);
    println!("memory grows by {growth} KiB from {before} KiB while the peer does not read");
    assert!(growth < MAX_GROWTH_KIB, "the daemon keeps {growth} KiB for a peer that does not read");
    let got = peer.read_exact(MUCH).expect("the session is open");
    assert!(got == noise(2, MUCH), "the peer gets something else than the program sent");
    sent.join_within(LONG).expect("the session is open");
    finish(Open { established, plain, peer }, (WARM, MUCH + WARM));
}

/// What [`warm`] moves each way.
const WARM: usize = 4 * MIB;

/// A session that has moved data: the buffers that the worker has for everybody are there.
fn warm(client: &Client) -> Open {
    let Open { established, plain, mut peer } = open(client);
    let far = running("peer", move || {
        peer.both_ways(&noise(1, WARM), WARM).expect("the session is open");
        peer
    });
    let mut writer = plain.try_clone().expect("a descriptor is free");
    let sent = running("program", move || writer.write_all(&noise(2, WARM)));
    (&plain).read_exact(&mut vec![0; WARM]).expect("the session is open");
    sent.join().expect("the session is open");
    Open { established, plain, peer: far.join() }
}

/// The most that the daemon's memory grows to for a while, in which the writer has to get stuck.
fn growth_while_stuck<T>(daemon: &TestDaemon, before: u64, writer: &Running<T>) -> u64 {
    let end = Instant::now() + Duration::from_millis(1500);
    let mut most = before;
    while Instant::now() < end {
        most = most.max(daemon.private_kib());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(!writer.is_done(), "{} MiB went to somebody who does not read", MUCH / MIB);
    most - before
}

#[test]
fn handshakes_get_through_beside_bulk_sessions() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let stop = Arc::new(AtomicBool::new(false));
    let moved = Arc::new(AtomicUsize::new(0));
    let bulk: Vec<_> = (0..2).map(|_| bulk(open(&client), &stop, &moved)).collect();
    let mut slowest = Duration::ZERO;
    let before = moved.load(Ordering::Relaxed);
    for _ in 0..50 {
        let begun = Instant::now();
        open(&client).assert_alive();
        slowest = slowest.max(begun.elapsed());
    }
    let meanwhile = moved.load(Ordering::Relaxed) - before;
    println!("slowest of 50 sessions beside 2 with bulk: {slowest:?}; {meanwhile} MiB moved meanwhile");
    // They go on: neither starves the other.
    let goal = moved.load(Ordering::Relaxed) + 4;
    let goes_on = || (moved.load(Ordering::Relaxed) >= goal).then_some(());
    tlsifyd_tests::wait::until(LIMIT, goes_on).expect("the bulk sessions go on");
    stop.store(true, Ordering::Relaxed);
    for running in bulk {
        running.join();
    }
}

/// Sends a mebibyte to a program that sends it back, again and again.
fn bulk(open: Open, stop: &Arc<AtomicBool>, moved: &Arc<AtomicUsize>) -> Running<()> {
    let Open { established, plain, mut peer } = open;
    let (stop, moved) = (Arc::clone(stop), Arc::clone(moved));
    running("bulk", move || {
        let echo = running("echo", move || {
            io::copy(&mut &plain, &mut &plain).expect("the session is open");
            plain.shutdown(Shutdown::Write).expect("the session is open");
        });
        let data = noise(3, MIB);
        while !stop.load(Ordering::Relaxed) {
            assert!(
                peer.both_ways(&data, MIB).expect("the session is open") == data,
                "other bytes come back"
            );
            moved.fetch_add(1, Ordering::Relaxed);
        }
        peer.half_close().expect("the session is open");
        echo.join();
        assert_eq!(established.session.ended().expect("it is told").how, How::CloseNotify);
    })
}
