//! Without a choice in time, what was said for that happens; and there is an end to every wait.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use tlsifyd_tests::handover::client_peer;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, exclusive, tcp_pair};

use super::{
    OWN, asked, assert_failed, assert_open, assert_plain, assert_unread, caller, choose, go_on, hand,
    hand_after, handshake, handshakes, hello, send,
};

#[test]
fn a_caller_that_never_answers_gets_what_it_said_for_that() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    // Refuse, which is the default, said or not.
    for lines in ["ask-timeout=50\n", "ask-timeout=50\nask-default=refuse\n"] {
        let mut handed = hand_after(&caller, 10, lines, &hello());
        drop(handed.copy);
        asked(&caller, 10);
        let failed = assert_failed(&caller, 10, "refused-by-caller", "caller", "closed");
        assert_eq!(failed.get("alert"), Some("40 handshake_failure"));
        assert!(failed.text.contains("within 50 ms"), "{}", failed.text);
        let mut said = Vec::new();
        handed.peer.read_to_end(&mut said).unwrap();
        assert_eq!(said, [21, 3, 3, 0, 2, 2, 40]);
    }
    let bytes = hello();
    let handed = hand_after(&caller, 11, "ask-timeout=50\nask-default=give-back\n", &bytes);
    asked(&caller, 11);
    assert_failed(&caller, 11, "given-back", "caller", "untouched");
    assert_unread(&handed.copy, &bytes);
    drop(handed);
    let (socket, net) = tcp_pair();
    let mut peer = client_peer(socket);
    peer.tls.write_tls(&mut peer.socket).unwrap();
    until(LIMIT, || (rustix::io::ioctl_fionread(&net).unwrap() > 0).then_some(())).unwrap();
    send(&caller, 12, "ask-timeout=50\nask-default=own\n", &net);
    drop(net);
    asked(&caller, 12);
    assert_open(&caller, 12, go_on(peer), OWN);
    // Too late, each time.
    for id in 10..13 {
        choose(&caller, id, "action=own\n");
        caller.answer().assert_refused("unknown-id", Some("id"));
    }
    daemon.settled_fds(&before);
}

#[test]
fn a_peer_that_says_nothing_is_not_asked_about() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    // Nothing, and a part that could become something.
    for part in [&b""[..], &hello()[..40]] {
        let begin = |id, lines| {
            let mut handed = hand(&caller, id, lines);
            handed.peer.write_all(part).unwrap();
            handed
        };
        let mut handed = begin(10, "ask-timeout=50\n");
        assert_failed(&caller, 10, "handshake-timeout", "peer", "closed");
        drop(handed.copy);
        let mut said = Vec::new();
        handed.peer.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"", "an alert to who may be no TLS client");
        // A protocol in which the server speaks first.
        let mut handed = begin(11, "ask-timeout=50\nask-default=give-back\n");
        let failed = assert_failed(&caller, 11, "given-back", "caller", "untouched");
        assert!(failed.text.contains("no whole ClientHello"), "{}", failed.text);
        assert_unread(&handed.copy, part);
        assert_plain(&mut handed);
    }
    // A peer that is only slow: the handshake waits on.
    let handed = hand(&caller, 12, "ask-timeout=20\nask-default=own\n");
    drop(handed.copy);
    thread::sleep(Duration::from_millis(100));
    assert_open(&caller, 12, handshake(handed.peer), OWN);
    daemon.settled_fds(&before);
}

#[test]
fn the_handshakes_own_limit_counts_all_the_time() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    for default in ["refuse", "give-back", "own"] {
        let lines = format!("handshake-timeout=60\nask-timeout=20000\nask-default={default}\n");
        // Of a peer that says nothing.
        let handed = hand(&caller, 10, &lines);
        assert_failed(&caller, 10, "handshake-timeout", "peer", "closed");
        drop(handed);
    }
    // With the caller's time for an answer cut short, what it said for that happens.
    let lines = "handshake-timeout=60\nask-timeout=20000\nask-default=give-back\n";
    let handed = hand_after(&caller, 11, lines, b"plain");
    asked(&caller, 11);
    assert_failed(&caller, 11, "given-back", "caller", "untouched");
    assert_unread(&handed.copy, b"plain");
}

#[test]
fn a_cancel_leaves_the_connection_as_it_was() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    for bytes in [&b""[..], &hello()[..9], &hello(), b"plain"] {
        let mut handed = hand(&caller, 10, "");
        handed.peer.write_all(bytes).unwrap();
        let whole = bytes.len() > 9 || bytes == b"plain";
        if whole {
            asked(&caller, 10);
        } else {
            until(LIMIT, || (handshakes(&caller) == "1").then_some(())).unwrap();
        }
        caller.send("tlsify/1 cancel\nid=10\n", &[]);
        assert_failed(&caller, 10, "cancelled", "caller", "untouched");
        assert_eq!(handshakes(&caller), "0");
        assert_unread(&handed.copy, bytes);
        assert_plain(&mut handed);
        choose(&caller, 10, "action=own\n");
        caller.answer().assert_refused("unknown-id", Some("id"));
    }
}

#[test]
fn a_draining_daemon_waits_for_an_answer_as_long_as_for_a_session() {
    let _alone = exclusive();
    // One that is answered.
    let daemon = TestDaemon::start();
    let first = caller(&daemon);
    let handed = hand(&first, 10, "");
    let peer = handshake(handed.peer);
    asked(&first, 10);
    daemon.terminate();
    until(LIMIT, || {
        let (late, net) = tcp_pair();
        send(&first, 11, "", &net);
        drop(late);
        let answer = first.answer();
        match answer.get("code") {
            Some("draining") => Some(()),
            _ => {
                assert_eq!(answer.verb(), "failed", "{}", answer.text);
                None
            }
        }
    })
    .expect("it drains");
    choose(&first, 10, "action=own\n");
    drop(handed.copy);
    assert_open(&first, 10, peer, OWN);
    assert!(daemon.wait().success());
    // One that is not, and is all that the daemon waits for.
    let daemon = TestDaemon::with_config("[timeouts]\ndrain = \"100ms\"\n");
    let second = caller(&daemon);
    let mut handed = hand(&second, 10, "");
    handed.peer.write_all(b"plain").unwrap();
    asked(&second, 10);
    daemon.terminate();
    assert_failed(&second, 10, "drained", "operator", "untouched");
    assert!(daemon.wait().success());
    assert_unread(&handed.copy, b"plain");
}
