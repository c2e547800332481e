//! What a stream can be like, with a peer in this process: one that does not read, one that only listens, single bytes,
//! halves that are closed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tlsify_client::{Accept, Client, How};
use tlsifyd_tests::handover::{self, Open};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{TestDaemon, running};

use super::{ENOUGH, OFTEN, again, key_updates};

/// More than there has to be between two new keys.
const PAUSE: Duration = Duration::from_millis(300);

fn open(client: &Client, options: impl FnOnce(Accept) -> Accept) -> Open {
    handover::open_bound(client, |accept| options(accept.key_update_bytes(OFTEN)))
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

#[test]
fn a_peer_that_does_not_read_costs_no_memory_and_gets_everything() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let Open { mut plain, mut peer, .. } = open(&client, |accept| accept);
    let before = daemon.rss_kib();
    plain.set_nonblocking(true).unwrap();
    let data = pattern(1 << 20);
    // Until nothing is taken for a while: all buffers are full.
    let (mut said, mut quiet) = (0, Instant::now());
    while quiet.elapsed() < PAUSE {
        match plain.write(&data[said % data.len()..]) {
            Ok(count) => (said, quiet) = (said + count, Instant::now()),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    assert!(daemon.rss_kib() - before < 8 * 1024, "{} KiB more", daemon.rss_kib() - before);
    plain.set_nonblocking(false).unwrap();
    let heard = peer.read_exact(said).unwrap();
    assert!(heard.iter().zip(data.iter().cycle()).all(|(heard, said)| heard == said));
    plain.write_all(b"and on").unwrap();
    assert_eq!(peer.read_exact(6).unwrap(), b"and on");
}

#[test]
fn single_bytes_go_on_with_new_keys() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let Open { mut plain, mut peer, .. } = open(&client, |accept| accept);
    let mut sent = 0_usize;
    // In one turn, what a program wrote byte by byte; and single bytes between the new keys.
    while key_updates(&client) < ENOUGH {
        plain.write_all(&pattern(OFTEN as usize)).unwrap();
        sent += OFTEN as usize;
        for byte in 0..20 {
            plain.write_all(&[byte]).unwrap();
            let got = peer.read_exact(sent + 1).unwrap();
            assert_eq!(got[sent], byte);
            sent = 0;
        }
        peer.write_all(b"x").unwrap();
        plain.read_exact(&mut [0]).unwrap();
        std::thread::sleep(PAUSE);
    }
}

/// Whoever only listens answers each of ours, and hears no data of its own in between: the daemon must not run into
/// its own limit on such answers.
#[test]
fn a_peer_that_only_listens_does_so_for_as_long_as_it_likes() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let Open { mut plain, mut peer, .. } = open(&client, |accept| accept);
    let data = pattern(OFTEN as usize);
    // Fifty times as much as a key does, at the pace that new ones have.
    for _ in 0..50 {
        plain.write_all(&data).unwrap();
        assert!(peer.read_exact(data.len()).unwrap() == data);
        // The answer goes out with what rustls has to write.
        while peer.tls.wants_write() {
            peer.tls.write_tls(&mut peer.socket).unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let updates = key_updates(&client);
    assert!((ENOUGH..=12).contains(&updates), "{updates}");
    peer.write_all(b"still here").unwrap();
    let mut heard = [0; 10];
    plain.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"still here");
}

#[test]
fn both_ways_with_hold_and_a_half_close_end_cleanly() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let client = daemon.client();
    for hold in [false, true] {
        let Open { established, mut plain, mut peer } =
            open(&client, |accept| if hold { accept.hold() } else { accept });
        let data = pattern(16 << 20);
        let (mut reader, copy) = (again(&plain), data.clone());
        let hears = running("program", move || {
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).map(|_| heard == copy).expect("the session ends")
        });
        let copy = data.clone();
        let says = running("program", move || {
            plain.write_all(&copy).unwrap();
            plain.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let heard = peer.both_ways(&data, data.len()).unwrap();
        assert!(heard == data, "{hold}");
        says.join();
        assert!(key_updates(&client) > 0);
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap().0, b"");
        assert!(hears.join(), "{hold}");
        let ended = established.session.ended_within(LIMIT).unwrap().expect("in time");
        assert_eq!((ended.how, ended.bytes_out), (How::CloseNotify, data.len() as u64), "{hold}");
        let _: TcpStream = peer.stall();
    }
    drop(client);
    daemon.settled_fds(&baseline);
}
