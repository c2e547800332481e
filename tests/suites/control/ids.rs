//! Ids: the caller's choice, one request each at a time, and free again as soon as the last answer is there.

use std::net::TcpStream;

use tlsifyd_tests::handover::{client_peer, open};
use tlsifyd_tests::{KeyKind, RawCaller, TestDaemon, pki, tcp_pair};

/// A caller with the server's profile `p`.
fn caller(daemon: &TestDaemon) -> RawCaller {
    let caller = RawCaller::connect(daemon.socket());
    let server = pki().server(KeyKind::EcdsaP256);
    let define = "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key\n";
    let answer = caller.ask(define, &[&server.certificate_fd(), &server.key_fd()]);
    assert_eq!(answer.verb(), "defined", "{}", answer.text);
    caller
}

/// Asks for a session under this id; the peer's end is returned.
fn accept(caller: &RawCaller, id: u64) -> TcpStream {
    let (ours, net) = tcp_pair();
    caller.send(format!("tlsify/1 accept\nid={id}\nprofile=p\nfds=net\n"), &[&net]);
    ours
}

#[test]
fn an_id_that_is_in_use_is_refused_and_its_session_goes_on() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let baseline = daemon.baseline();
    let mut peer = client_peer(accept(&caller, 7));
    let _second = accept(&caller, 7);
    caller.answer().assert_refused("id-in-use", Some("id"));
    peer.handshake().unwrap();
    let answer = caller.answer();
    assert_eq!((answer.verb(), answer.get("id")), ("established", Some("7")), "{}", answer.text);
    let _third = accept(&caller, 7);
    caller.answer().assert_refused("id-in-use", Some("id"));
    peer.half_close().unwrap();
    drop(answer);
    let ended = caller.answer();
    assert_eq!((ended.verb(), ended.get("how")), ("ended", Some("close-notify")), "{}", ended.text);
    daemon.settled_fds(&baseline);
}

#[test]
fn an_id_is_free_again_when_its_last_answer_is_there() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    // Handshakes that stand still on the core that reads the requests make another core take the next ones:
    // then the last answer is not said by whom the next request is read. From the tenth on they take turns.
    let mut waiting: Vec<TcpStream> = (100..140).map(|id| accept(&caller, id)).collect();
    for there in (9..waiting.len()).step_by(2).rev() {
        drop(waiting.swap_remove(there));
        assert_eq!(caller.answer().verb(), "failed");
    }
    for round in 0..2000 {
        drop(accept(&caller, 7));
        let answer = caller.answer();
        let told = (answer.verb(), answer.get("id"));
        assert_eq!(told, ("failed", Some("7")), "round {round}: {}", answer.text);
        assert_eq!(answer.get("code"), Some("closed-by-peer"), "{}", answer.text);
    }
}

#[test]
fn a_cancel_has_one_answer_and_an_id_that_is_not_there_is_refused() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    caller.ask("tlsify/1 cancel\nid=7\n", &[]).assert_refused("unknown-id", Some("id"));
    let _peer = accept(&caller, 7);
    caller.send("tlsify/1 cancel\nid=7\n", &[]);
    let answer = caller.answer();
    let told = (answer.verb(), answer.get("code"), answer.get("socket"));
    assert_eq!(told, ("failed", Some("cancelled"), Some("closed")), "{}", answer.text);
    caller.ask("tlsify/1 cancel\nid=7\n", &[]).assert_refused("unknown-id", Some("id"));
    caller.assert_serves();
}

#[test]
fn the_id_of_another_caller_is_not_there() {
    let daemon = TestDaemon::start();
    let mut session = open(&daemon.client());
    let stranger = RawCaller::connect(daemon.socket());
    for id in 0..5 {
        let answer = stranger.ask(format!("tlsify/1 cancel\nid={id}\n"), &[]);
        answer.assert_refused("unknown-id", Some("id"));
    }
    session.assert_alive();
}

#[test]
fn the_greatest_id_is_an_id() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut peer = client_peer(accept(&caller, u64::MAX));
    peer.handshake().unwrap();
    assert_eq!(caller.answer().get("id"), Some("18446744073709551615"));
}

#[test]
fn a_cancel_that_is_sent_twice_ends_its_session_once() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    for _ in 0..20 {
        let _peer = accept(&caller, 7);
        for text in ["tlsify/1 cancel\nid=7\n", "tlsify/1 cancel\nid=7\n", "tlsify/1 status\nid=900\n"] {
            caller.send(text, &[]);
        }
        let (mut failed, mut answered) = (0, false);
        // The end of a session on another core may come before or after the inventory.
        while failed == 0 || !answered {
            let answer = caller.answer();
            match answer.verb() {
                "failed" => failed += 1,
                "status" => answered = true,
                // The first was obeyed before the second was read.
                _ => answer.assert_refused("unknown-id", Some("id")),
            }
        }
        assert_eq!(failed, 1);
    }
    caller.assert_serves();
}
