//! How long the daemon waits for what: a peer that does nothing, or nothing useful, holds nothing for long.
//!
//! No test measures: where time has to pass, a session beside it that times out says that it has.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tlsify_client::{Client, Code, Error, How, Pending, Scope, Session, Socket};
use tlsifyd_tests::handover::{Open, accept, begin, client_peer, connect, open, open_bound};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, TestDaemon, running, tcp_pair};

/// Long enough for a session to open and be used on a loaded machine.
const SHORT: Duration = Duration::from_millis(1500);

/// The reason why a session did not open.
#[track_caller]
fn failed(mut pending: Pending) -> tlsify_client::Failed {
    match pending.wait_within(LIMIT) {
        Err(Error::Failed(failed)) => *failed,
        other => panic!("not failed: {other:?}"),
    }
}

fn how(session: &Session) -> Option<How> {
    session.ended_within(Duration::ZERO).expect("the control connection is open").map(|ended| ended.how)
}

#[track_caller]
fn assert_nothing_held(client: &Client) {
    let given_back = || {
        let status = client.status(Scope::Own, false).expect("the daemon answers");
        ((status.sessions, status.handshakes) == (0, 0)).then_some(())
    };
    until(LIMIT, given_back).expect("its place in the quota is given back");
}

/// Everything up to the end of the connection, which comes in time.
fn rest(mut socket: TcpStream) -> Vec<u8> {
    socket.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("an end without a reset");
    bytes
}

#[test]
fn a_peer_that_says_nothing_is_given_up() {
    let daemon = TestDaemon::with_config("[timeouts]\nhandshake = \"150ms\"\n");
    let client = daemon.client();
    let before = daemon.baseline();
    let (as_server, silent) = begin(&client, |request| request);
    let (ours, theirs) = tcp_pair();
    let as_client = client.start_connect_tls(&connect(ours)).expect("the daemon listens");
    for (pending, socket, hello) in [(as_server, silent, false), (as_client, theirs, true)] {
        let failed = failed(pending);
        assert_eq!(
            (failed.code, failed.socket, failed.alert),
            (Code::HandshakeTimeout, Socket::Closed, None)
        );
        // A client has said hello, and nobody says goodbye.
        assert_eq!(rest(socket).first(), hello.then_some(&22));
    }
    assert_nothing_held(&client);
    daemon.settled_fds(&before);
}

#[test]
fn the_callers_patience_goes_before_the_operators() {
    let daemon = TestDaemon::with_config("[timeouts]\nhandshake = \"1h\"\nidle = \"1h\"\n");
    let client = daemon.client();
    let (pending, _silent) = begin(&client, |request| request.handshake_timeout(Duration::from_millis(100)));
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);
    let quiet = open_bound(&client, |request| request.idle_timeout(Duration::from_millis(100)));
    assert_eq!(quiet.established.session.ended().expect("it is told").how, How::Timeout);
}

#[test]
fn a_peer_that_trickles_cannot_draw_its_handshake_out() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (ours, theirs) = tcp_pair();
    let pending = client
        .start_accept(&accept(theirs).handshake_timeout(Duration::from_millis(300)))
        .expect("the daemon listens");
    let trickle = running("trickle", move || {
        let mut peer = client_peer(ours.try_clone().expect("a descriptor is free"));
        let mut hello = Vec::new();
        peer.tls.write_tls(&mut hello).expect("it fits");
        let mut socket = ours;
        // All but the last byte, then nothing: each byte comes in time, the hello never.
        for byte in &hello[..hello.len() - 1] {
            if socket.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        socket
    });
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);
    drop(trickle.join());
    assert_nothing_held(&client);
}

#[test]
fn the_handshakes_deadline_is_not_the_sessions() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut session = open_bound(&client, |request| request.handshake_timeout(SHORT));
    // Another deadline as long, begun later, passes.
    let (pending, _silent) = begin(&client, |request| request.handshake_timeout(SHORT));
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);
    session.assert_alive();
}

#[test]
fn bytes_in_either_direction_keep_a_session() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"1500ms\"\n");
    let client = daemon.client();
    let (mut inbound, mut outbound) = (open(&client), open(&client));
    for _ in 0..2 {
        // Begun later than the last byte of the others: when it is over, they would be.
        let quiet = open(&client);
        let step = || {
            inbound.peer.write_all(b"i").expect("the session is open");
            outbound.plain.write_all(b"o").expect("the session is open");
            std::thread::sleep(Duration::from_millis(5));
            how(&quiet.established.session)
        };
        assert_eq!(until(LIMIT, step), Some(How::Timeout));
    }
    let mut some = [0; 65_536];
    let count = inbound.plain.read(&mut some).expect("the session is open");
    assert!(count > 0 && some[..count].iter().all(|byte| *byte == b'i'));
    assert_eq!(how(&inbound.established.session), None);
    let said = outbound.peer.read_exact(1).expect("the session is open");
    assert_eq!((said, how(&outbound.established.session)), (b"o".to_vec(), None));
}

#[test]
fn new_keys_are_no_data() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"300ms\"\n");
    let client = daemon.client();
    let Open { established, plain, mut peer } = open(&client);
    // One a while, and fewer than would be a flood.
    let mut left = 20;
    let ended = until(LIMIT, || {
        if left > 0 {
            left -= 1;
            peer.tls.refresh_traffic_keys().expect("TLS 1.3 has this");
            // Not an error: the session may have ended meanwhile.
            let _ = peer.write_all(b"");
            std::thread::sleep(Duration::from_millis(100));
        }
        how(&established.session)
    });
    assert!(left > 0, "key_updates keep the session");
    assert_eq!(ended, Some(How::Timeout), "{:?}", established.session.ended());
    drop(plain);
}

#[test]
fn whoever_does_not_take_its_bytes_is_idle() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"300ms\"\nlinger = \"100ms\"\n");
    let client = daemon.client();
    let before = daemon.baseline();
    let Open { established, plain, mut peer } = open(&client);
    let stuck = running("peer", move || {
        let much = vec![7; 64 << 20];
        (peer.write_all(&much).is_err(), peer)
    });
    assert_eq!(established.session.ended().expect("it is told").how, How::Timeout);
    let (is_stuck, peer) = stuck.join();
    assert!(is_stuck, "64 MiB went to a program that does not read");
    drop((established, plain, peer));

    let Open { established, mut plain, mut peer } = open(&client);
    let stuck = running("program", move || plain.write_all(&vec![7; 64 << 20]).is_err());
    assert_eq!(established.session.ended().expect("it is told").how, How::Timeout);
    assert!(stuck.join(), "64 MiB went to a peer that does not read");
    // What it did get must not look whole.
    let end = peer.read_to_end();
    assert!(!matches!(end, Ok((_, End::CloseNotify))), "a broken stream looks whole");
    drop((established, peer));
    assert_nothing_held(&client);
    daemon.settled_fds(&before);
}

#[test]
fn a_peer_that_does_not_say_goodbye_holds_nothing_for_long() {
    let daemon = TestDaemon::with_config("[timeouts]\nlinger = \"150ms\"\n");
    let client = daemon.client();
    let before = daemon.baseline();
    let Open { established, plain, mut peer } = open(&client);
    drop(plain);
    assert_eq!(peer.read_to_end().expect("it ends").1, End::CloseNotify);
    // The peer keeps its side open.
    assert_eq!(established.session.ended().expect("it is told").how, How::Caller);
    assert_nothing_held(&client);
    daemon.settled_fds(&before);
    drop(peer);
}

#[test]
fn a_peer_that_reads_on_after_its_own_goodbye_has_all_the_time() {
    let daemon = TestDaemon::with_config("[timeouts]\nlinger = \"50ms\"\n");
    let client = daemon.client();
    let Open { established, mut plain, mut peer } = open(&client);
    peer.half_close().expect("the session is open");
    assert_eq!(plain.read(&mut [0]).expect("an end of file"), 0);
    // Linger is for what is over. This is not: the program still speaks.
    let (pending, _silent) = begin(&client, |request| request.handshake_timeout(SHORT));
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);
    plain.write_all(b"a late answer").expect("the session is open");
    plain.shutdown(Shutdown::Write).expect("the session is open");
    assert_eq!(peer.read_to_end().expect("it ends"), (b"a late answer".to_vec(), End::CloseNotify));
    assert_eq!(established.session.ended().expect("it is told").how, How::CloseNotify);
}
