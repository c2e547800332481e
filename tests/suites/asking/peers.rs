//! Peers that go, break the rules, or take their time; and callers that go.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use tlsifyd_tests::peer::reset;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, exclusive};

use super::{
    OWN, asked, assert_failed, assert_open, assert_unread, caller, choose, hand, handshake, handshakes, hello,
};

#[test]
fn a_peer_that_goes_before_the_question_is_told_as_in_any_handshake() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    for part in [&b""[..], &hello()[..40]] {
        let mut handed = hand(&caller, 10, "");
        handed.peer.write_all(part).unwrap();
        drop(handed);
        assert_failed(&caller, 10, "closed-by-peer", "peer", "closed");
        let mut handed = hand(&caller, 11, "");
        handed.peer.write_all(part).unwrap();
        reset(handed.peer);
        assert_failed(&caller, 11, "reset-by-peer", "peer", "closed");
    }
    assert_eq!(handshakes(&caller), "0");
    daemon.settled_fds(&before);
}

#[test]
fn a_peer_that_goes_after_the_question_ends_it() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    for bytes in [&hello()[..], b"plain"] {
        let mut handed = hand(&caller, 10, "");
        drop(handed.copy);
        handed.peer.write_all(bytes).unwrap();
        asked(&caller, 10);
        reset(handed.peer);
        assert_failed(&caller, 10, "reset-by-peer", "peer", "closed");
        choose(&caller, 10, "action=own\n");
        caller.answer().assert_refused("unknown-id", Some("id"));
    }
    daemon.settled_fds(&before);
}

#[test]
fn a_peer_that_has_only_ended_its_own_stream_can_still_be_answered() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    // Plain HTTP with a half-close, as `nc -N` does.
    let mut handed = hand(&caller, 10, "");
    handed.peer.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    handed.peer.shutdown(Shutdown::Write).unwrap();
    asked(&caller, 10);
    // The end is there and is not told again and again: nobody spins on it.
    let began = daemon.cpu();
    thread::sleep(Duration::from_millis(300));
    assert!(daemon.cpu() - began < Duration::from_millis(150), "it spins");
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    assert_unread(&handed.copy, b"GET / HTTP/1.0\r\n\r\n");
    handed.copy.write_all(b"HTTP/1.0 200 OK\r\n\r\n").unwrap();
    assert_unread(&handed.peer, b"HTTP/1.0 200 OK\r\n\r\n");
    // A ClientHello and FIN: the handshake finds out.
    let mut handed = hand(&caller, 11, "");
    handed.peer.write_all(&hello()).unwrap();
    handed.peer.shutdown(Shutdown::Write).unwrap();
    asked(&caller, 11);
    choose(&caller, 11, "action=own\n");
    assert_failed(&caller, 11, "closed-by-peer", "peer", "closed");
}

#[test]
fn a_hello_in_one_byte_pieces_is_one_hello() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let bytes = hello();
    let mut handed = hand(&caller, 10, "");
    handed.peer.set_nodelay(true).unwrap();
    for byte in &bytes {
        handed.peer.write_all(&[*byte]).unwrap();
    }
    let told = asked(&caller, 10);
    assert_eq!(told.get("server-name"), Some("server.example"));
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    assert_unread(&handed.copy, &bytes);
    // And with the handshake behind it.
    let handed = hand(&caller, 11, "");
    drop(handed.copy);
    let mut socket = handed.peer.try_clone().unwrap();
    let peer = handshake(handed.peer);
    asked(&caller, 11);
    choose(&caller, 11, "action=own\n");
    assert_open(&caller, 11, peer, OWN);
    let _ = socket.read(&mut [0; 1]);
}

#[test]
fn a_peer_that_stays_half_way_keeps_nobody_busy() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut handed = hand(&caller, 10, "");
    let bytes = hello();
    handed.peer.write_all(&bytes[..bytes.len() - 1]).unwrap();
    until(LIMIT, || (handshakes(&caller) == "1").then_some(())).unwrap();
    let began = daemon.cpu();
    thread::sleep(Duration::from_millis(300));
    assert!(daemon.cpu() - began < Duration::from_millis(150), "it spins");
    handed.peer.write_all(&bytes[bytes.len() - 1..]).unwrap();
    asked(&caller, 10);
}

#[test]
fn what_could_be_read_in_two_ways_is_not_asked_about() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut garbage = hello();
    // The session id's length: it then overlaps the cipher suites.
    garbage[5 + 4 + 34] = 33;
    let second = [22, 3, 1, 0, 4, 2, 0, 0, 0];
    let trailing = {
        let mut bytes = hello();
        let length = u16::from_be_bytes([bytes[3], bytes[4]]) + 1;
        bytes[3..5].copy_from_slice(&length.to_be_bytes());
        bytes.push(0);
        bytes
    };
    for (bytes, alert) in [
        (&garbage[..], "50 decode_error"),
        (&second, "10 unexpected_message"),
        (&trailing, "10 unexpected_message"),
        (&[22, 3, 1, 0x50, 0, 1], "22 record_overflow"),
    ] {
        let mut handed = hand(&caller, 10, "");
        drop(handed.copy);
        handed.peer.write_all(bytes).unwrap();
        let failed = assert_failed(&caller, 10, "protocol-violation", "peer", "closed");
        assert_eq!((failed.get("alert"), failed.get("alert-from")), (Some(alert), Some("us")));
        let mut said = Vec::new();
        handed.peer.read_to_end(&mut said).unwrap();
        assert_eq!(said.len(), 7, "{said:?}");
    }
}

#[test]
fn a_caller_that_dies_while_asked_leaves_nothing_behind() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let watching = caller(&daemon);
    let before = daemon.baseline();
    for bytes in [&b""[..], &hello()] {
        let doomed = caller(&daemon);
        let mut handed = hand(&doomed, 10, "");
        handed.peer.write_all(bytes).unwrap();
        if bytes.is_empty() {
            until(LIMIT, || (handshakes(&watching) == "1").then_some(())).unwrap();
        } else {
            asked(&doomed, 10);
        }
        drop(doomed);
        until(LIMIT, || (handshakes(&watching) == "0").then_some(())).expect("it goes with its caller");
        assert_unread(&handed.copy, bytes);
    }
    daemon.settled_fds(&before);
}

#[test]
fn a_caller_that_dies_right_after_choosing_gets_no_session() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let watching = caller(&daemon);
    let before = daemon.baseline();
    for action in ["own", "give-back", "refuse", "profile\nprofile=other"] {
        let doomed = caller(&daemon);
        let mut handed = hand(&doomed, 10, "");
        drop(handed.copy);
        handed.peer.write_all(&hello()).unwrap();
        asked(&doomed, 10);
        choose(&doomed, 10, &format!("action={action}\n"));
        drop(doomed);
        until(LIMIT, || (handshakes(&watching) == "0").then_some(())).expect("it goes with its caller");
    }
    daemon.settled_fds(&before);
}
