//! Many questions at once: none holds up another, or anybody else.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;

use tlsifyd_tests::handover;
use tlsifyd_tests::{RawCaller, TestDaemon, exclusive, tcp_pair};

use super::{Handed, asked, assert_failed, assert_unread, caller, choose, hand, handshakes, hello, send};

/// As many as a busy server may have open, and no descriptor limit of a test stands in the way.
const MANY: u64 = 300;

#[test]
fn hundreds_of_open_questions_hold_up_nobody() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let client = daemon.client();
    let before = daemon.baseline();
    let bytes = hello();
    let mut open: Vec<Handed> = (0..MANY)
        .map(|number| {
            let mut handed = hand(&caller, 100 + number, "");
            handed.peer.write_all(if number % 2 == 0 { &bytes } else { b"plain" }).unwrap();
            handed
        })
        .collect();
    let mut ids: Vec<u64> = (0..MANY)
        .map(|_| {
            let told = caller.answer();
            assert_eq!(told.verb(), "client-hello", "{}", told.text);
            told.get("id").unwrap().parse().unwrap()
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, (100..100 + MANY).collect::<Vec<_>>(), "each once");
    assert_eq!(handshakes(&caller), MANY.to_string());
    // Meanwhile a session opens and moves a megabyte each way, for somebody else.
    let mut other = handover::open(&client);
    other.assert_alive();
    let data = vec![b'x'; 1 << 20];
    let mut plain = other.plain.try_clone().unwrap();
    let sent = data.clone();
    let writing = thread::spawn(move || plain.write_all(&sent));
    assert!(other.peer.read_exact(data.len()).unwrap() == data);
    writing.join().unwrap().unwrap();
    drop(other);
    // Answered from the last to the first.
    for (number, handed) in (0..MANY).rev().zip(open.drain(..).rev()) {
        choose(&caller, 100 + number, "action=give-back\n");
        assert_failed(&caller, 100 + number, "given-back", "caller", "untouched");
        assert_unread(&handed.copy, if number % 2 == 0 { &bytes } else { b"plain" });
    }
    assert_eq!(handshakes(&caller), "0");
    daemon.settled_fds(&before);
}

#[test]
fn a_question_takes_its_place_in_the_quotas() {
    let daemon = TestDaemon::with_config("[limits]\nhandshakes = 2\n");
    let caller = caller(&daemon);
    let lines = "";
    let mut first = hand(&caller, 10, lines);
    let second = hand(&caller, 11, lines);
    let (_, net) = tcp_pair();
    let quota = |caller: &RawCaller, net: &TcpStream| {
        send(caller, 12, lines, net);
        caller.answer().assert_refused("quota", None);
    };
    quota(&caller, &net);
    first.peer.write_all(b"plain").unwrap();
    asked(&caller, 10);
    quota(&caller, &net);
    // Its place is free when the caller hears of it.
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    let mut third = hand(&caller, 12, lines);
    third.peer.write_all(&hello()).unwrap();
    asked(&caller, 12);
    choose(&caller, 12, "action=refuse\n");
    assert_failed(&caller, 12, "refused-by-caller", "caller", "closed");
    let fourth = hand(&caller, 13, lines);
    assert_eq!(handshakes(&caller), "2");
    drop((second, fourth));
}

#[test]
fn what_waits_is_listed_as_what_it_is() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut handed = hand(&caller, 10, "");
    let list = |state: &str| {
        let answer = caller.ask("tlsify/1 status\nid=900\nsessions=yes\n", &[]);
        let mut text = String::new();
        std::fs::File::from(answer.fds.into_iter().next().unwrap()).read_to_string(&mut text).unwrap();
        let peer = format!("peer={}", handed.peer.local_addr().unwrap());
        for word in ["role=server", "id=10", &format!("state={state}"), &peer] {
            assert!(text.split(' ').any(|other| other == word), "no {word} in {text}");
        }
    };
    list("waiting");
    (&handed.peer).write_all(b"plain").unwrap();
    asked(&caller, 10);
    list("asking");
    handed.peer.flush().unwrap();
}

/// A caller that does not read its answers is asked all the same, and loses nothing but time.
#[test]
fn a_caller_that_does_not_read_holds_up_nobody_else() {
    let daemon = TestDaemon::start();
    let deaf = caller(&daemon);
    let open: Vec<Handed> = (0..MANY)
        .map(|number| {
            let mut handed = hand(&deaf, 100 + number, "ask-timeout=100\nask-default=give-back\n");
            handed.peer.write_all(b"plain").unwrap();
            handed
        })
        .collect();
    handover::open(&daemon.client()).assert_alive();
    let mut given_back = 0;
    while given_back < MANY {
        let answer = deaf.answer();
        match answer.get("code") {
            Some(code) => {
                assert_eq!(code, "given-back", "{}", answer.text);
                given_back += 1;
            }
            None => assert_eq!(answer.verb(), "client-hello", "{}", answer.text),
        }
    }
    for handed in &open {
        assert_unread(&handed.copy, b"plain");
    }
}
