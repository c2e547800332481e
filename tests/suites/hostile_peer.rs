//! Peers that mean harm: they cost bounded memory and time, are refused with a reason, give back what they took, and a
//! healthy session beside them notices nothing.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tlsify_client::{Blame, Client, Code, Error, Failed, How, Pending, Scope};
use tlsifyd_tests::figures::{allow_descriptors, show};
use tlsifyd_tests::handover::{self, Open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, outgoing};

/// What one bad peer may add to the daemon: a read, a record, a message that is not whole, and the allocator's taste.
const ONE_PEER_KIB: u64 = 2048;
/// What a flood sends at most, if nobody stops it.
const FLOOD: usize = 8 << 20;

/// A daemon with a healthy session on each of its cores' side.
struct Beside {
    daemon: TestDaemon,
    client: Client,
    healthy: Vec<Open>,
    before: u64,
}

impl Beside {
    fn new(config: &str) -> Self {
        let daemon = TestDaemon::with_config(format!("[timeouts]\nlinger = \"200ms\"\n{config}"));
        let client = daemon.client();
        let mut healthy = Vec::from(outgoing::both_roles(&client));
        healthy.iter_mut().for_each(Open::assert_alive);
        let before = daemon.private_kib();
        Self { daemon, client, healthy, before }
    }

    /// Nobody was disturbed, and everything was given back.
    #[track_caller]
    fn unharmed(&mut self, who: &str) {
        self.healthy.iter_mut().for_each(Open::assert_alive);
        let grown = self.daemon.private_kib().saturating_sub(self.before);
        assert!(grown < ONE_PEER_KIB, "{who}: {grown} KiB");
        let healthy = self.healthy.len() as u64;
        let given_back = until(LIMIT, || {
            let status = self.client.status(Scope::Own, false).unwrap();
            (status.sessions == healthy && status.handshakes == 0).then_some(())
        });
        assert!(given_back.is_some(), "{who}: sessions are left over");
    }
}

#[track_caller]
fn failed(pending: Pending) -> Box<Failed> {
    match pending.wait() {
        Err(Error::Failed(failed)) => failed,
        other => panic!("no failed handshake: {other:?}"),
    }
}

/// Sends the same again and again until nobody takes it.
fn flood(socket: &mut TcpStream, piece: &[u8]) {
    let pieces = piece.repeat(64 * 1024 / piece.len());
    let mut sent = 0;
    socket.set_write_timeout(Some(LIMIT)).unwrap();
    while sent < FLOOD && socket.write_all(&pieces).is_ok() {
        sent += pieces.len();
    }
}

/// All that it says until its end, which may be a reset: we sent what it did not want to read.
fn last_words(socket: &mut TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    let mut words = Vec::new();
    match socket.read_to_end(&mut words) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("no end: {error}"),
        _ => words,
    }
}

#[test]
fn what_is_no_tls_is_refused_with_an_alert_in_both_roles() {
    let mut beside = Beside::new("");
    let spoken: [(&str, &[u8], Code); 5] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n", Code::NotTls),
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n", Code::NotTls),
        ("SMTP", b"220 mail.example ESMTP\r\n", Code::NotTls),
        ("an oversized record", &[22, 3, 1, 0xff, 0xff, 1, 0, 0, 0], Code::ProtocolViolation),
        ("data before the handshake", b"\x17\x03\x03\x00\x05hello", Code::ProtocolViolation),
    ];
    for (what, bytes, code) in spoken {
        for server in [true, false] {
            let (pending, mut socket) = if server {
                handover::begin(&beside.client, |accept| accept)
            } else {
                outgoing::begin(&beside.client, |connect| connect)
            };
            socket.write_all(bytes).unwrap();
            let failed = failed(pending);
            assert_eq!(
                (failed.code, failed.blame),
                (code, Blame::Peer),
                "{what}, server {server}: {}",
                failed.text
            );
            let words = last_words(&mut socket);
            // A fatal alert, in the clear, and the number that the caller was told.
            let (alert, told) = (words.last_chunk::<7>(), failed.alert.map(|alert| alert.description));
            assert!(matches!(alert, Some([21, 3, _, 0, 2, 2, _])), "{what}, server {server}: {words:?}");
            assert_eq!(alert.map(|alert| alert[6]), told, "{what}, server {server}");
        }
    }
    beside.unharmed("what is no TLS");
}

#[test]
fn floods_before_the_handshake_end_by_themselves() {
    let mut beside = Beside::new("handshake = \"2s\"\n");
    let floods: [(&str, &[u8]); 5] = [
        ("empty records", &[22, 3, 3, 0, 0]),
        ("warnings", &[21, 3, 3, 0, 2, 1, 90]),
        ("changes of cipher", &[20, 3, 3, 0, 1, 1]),
        ("a ClientHello of 16 MiB", &[22, 3, 3, 0, 4, 1, 0xff, 0xff, 0xff]),
        ("noise", b"\x16\x03\x01\x00\x10sixteen bytes of"),
    ];
    for (what, piece) in floods {
        let (pending, mut socket) = handover::begin(&beside.client, |accept| accept);
        flood(&mut socket, piece);
        let failed = failed(pending);
        assert_eq!(failed.blame, Blame::Peer, "{what}: {failed:?}");
        drop(socket);
        beside.unharmed(what);
    }
}

#[test]
fn new_keys_without_end_cost_bounded_memory() {
    let mut beside = Beside::new("");
    let Open { established, plain, mut peer } = handover::open(&beside.client);
    let flooding = tlsifyd_tests::running("key updates", move || {
        for _ in 0..20_000 {
            if peer.tls.refresh_traffic_keys().is_err() || peer.tls.write_tls(&mut peer.socket).is_err() {
                break;
            }
        }
        peer
    });
    beside.healthy.iter_mut().for_each(Open::assert_alive);
    let peer = flooding.join_within(3 * LIMIT);
    drop(plain);
    drop(peer);
    established.session.ended().unwrap();
    beside.unharmed("key updates");
}

/// The same from a peer that does not even read the answers.
#[test]
fn a_peer_that_never_reads_costs_bounded_memory_and_only_its_own_session() {
    let mut beside = Beside::new("");
    let Open { established, plain, peer } = handover::open(&beside.client);
    let socket = peer.stall();
    plain.set_nonblocking(true).unwrap();
    let mut writer = &plain;
    let mut written = 0;
    let piece = vec![0; 64 * 1024];
    // Until nothing more goes for a while.
    while let Some(count) = until(Duration::from_millis(300), || writer.write(&piece).ok()) {
        written += count;
        assert!(written < 64 << 20, "somebody takes it all");
    }
    beside.healthy.iter_mut().for_each(Open::assert_alive);
    let grown = beside.daemon.private_kib().saturating_sub(beside.before);
    show(&format!("a peer that never reads costs {grown} KiB of private memory"));
    assert!(grown < ONE_PEER_KIB, "{grown} KiB");
    drop(socket);
    drop(plain);
    established.session.ended().unwrap();
    beside.unharmed("a peer that never reads");
}

#[test]
fn a_thousand_connections_that_say_nothing_cost_little_and_give_it_back() {
    const COUNT: usize = 1000;
    allow_descriptors(4 * COUNT as u64);
    let mut beside = Beside::new("handshake = \"8s\"\n");
    let fds = beside.daemon.baseline();
    let silent: Vec<_> = (0..COUNT).map(|_| handover::begin(&beside.client, |accept| accept)).collect();
    let all = until(LIMIT, || {
        let status = beside.client.status(Scope::Own, false).unwrap();
        (status.handshakes == COUNT as u64).then_some(())
    });
    assert!(all.is_some(), "they are not all there");
    let grown = beside.daemon.private_kib().saturating_sub(beside.before);
    show(&format!("{COUNT} silent connections cost {grown} KiB of private memory together"));
    assert!(grown < 32 * COUNT as u64, "{grown} KiB");
    beside.healthy.iter_mut().for_each(Open::assert_alive);
    let mut sockets = Vec::new();
    for (pending, socket) in silent {
        assert_eq!(failed(pending).code, Code::HandshakeTimeout);
        sockets.push(socket);
    }
    // The quota is given back while the peers still hold on to their ends.
    let given_back = until(LIMIT, || {
        let status = beside.client.status(Scope::Own, false).unwrap();
        (status.sessions == 2 && status.handshakes == 0).then_some(())
    });
    assert!(given_back.is_some(), "sessions are left over");
    beside.daemon.settled_fds(&fds);
    handover::open(&beside.client).assert_alive();
    beside.healthy.iter_mut().for_each(Open::assert_alive);
    drop(sockets);
}

/// A peer that is done and sends on: what nobody wants is thrown away for a while, and then it is alone.
#[test]
fn a_peer_that_sends_on_after_the_end_is_not_listened_to_for_ever() {
    let mut beside = Beside::new("");
    let Open { established, plain, mut peer } = handover::open(&beside.client);
    peer.write_all(b"x").unwrap();
    let mut socket = peer.stall();
    socket.write_all(b"\x17\x03\x03\x00\x20no record of this session at all").unwrap();
    assert_eq!(established.session.ended().unwrap().how, How::Alert);
    let pieces = vec![0; 256 * 1024];
    let refused = (0..1000).find(|_| socket.write_all(&pieces).is_err());
    assert!(refused.is_some(), "250 MiB were taken after the end");
    let _ = plain.shutdown(Shutdown::Both);
    beside.unharmed("a peer that sends on");
}
