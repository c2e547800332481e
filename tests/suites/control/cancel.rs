//! `cancel`: one final message for each request, whatever crosses on the way.

use std::os::fd::AsFd;

use tlsifyd_tests::handover::client_peer;
use tlsifyd_tests::{KeyKind, RawAnswer, RawCaller, TestDaemon, pki, tcp_pair};

/// A caller with a server's profile "p".
fn caller(daemon: &TestDaemon) -> RawCaller {
    let caller = RawCaller::connect(daemon.socket());
    let server = pki().server(KeyKind::EcdsaP256);
    let define = "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key\n";
    let answer = caller.ask(define, &[&server.certificate_fd(), &server.key_fd()]);
    assert_eq!(answer.verb(), "defined", "{}", answer.text);
    caller
}

fn accept(caller: &RawCaller, id: u32, net: impl AsFd) {
    caller.send(format!("tlsify/1 accept\nid={id}\nfds=net\nprofile=p\n"), &[&net]);
}

fn cancel(caller: &RawCaller, id: u32) {
    caller.send(format!("tlsify/1 cancel\nid={id}\n"), &[]);
}

/// Nothing more comes for earlier requests: the next answer is to the next question.
#[track_caller]
fn nothing_more(caller: &RawCaller) {
    let answer = caller.ask("tlsify/1 status\nid=900\n", &[]);
    assert_eq!((answer.verb(), answer.get("id")), ("status", Some("900")), "{}", answer.text);
}

#[track_caller]
fn told(answer: &RawAnswer, verb: &str, id: &str, key: &str, value: &str) {
    let got = (answer.verb(), answer.get("id"), answer.get(key));
    assert_eq!(got, (verb, Some(id), Some(value)), "{}", answer.text);
}

#[test]
fn of_what_never_was_is_refused() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    cancel(&caller, 77);
    caller.answer().assert_refused("unknown-id", Some("id"));
    // A define is no session.
    cancel(&caller, 1);
    caller.answer().assert_refused("unknown-id", Some("id"));
    nothing_more(&caller);
}

#[test]
fn of_a_handshake_is_answered_by_its_failure_alone_and_a_second_one_finds_nothing() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let (_far, net) = tcp_pair();
    accept(&caller, 2, &net);
    cancel(&caller, 2);
    told(&caller.answer(), "failed", "2", "code", "cancelled");
    cancel(&caller, 2);
    caller.answer().assert_refused("unknown-id", Some("id"));
    nothing_more(&caller);
    // The id may be used again.
    let (_far, net) = tcp_pair();
    accept(&caller, 2, &net);
    cancel(&caller, 2);
    told(&caller.answer(), "failed", "2", "code", "cancelled");
}

#[test]
fn of_an_open_session_is_answered_by_its_end_alone() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let (far, net) = tcp_pair();
    accept(&caller, 2, &net);
    let mut peer = client_peer(far);
    peer.handshake().unwrap();
    let established = caller.answer();
    assert_eq!((established.verb(), established.fds.len()), ("established", 1), "{}", established.text);
    cancel(&caller, 2);
    told(&caller.answer(), "ended", "2", "how", "cancelled");
    cancel(&caller, 2);
    caller.answer().assert_refused("unknown-id", Some("id"));
    nothing_more(&caller);
}

#[test]
fn twice_at_once_ends_it_once() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    for _ in 0..20 {
        let (_far, net) = tcp_pair();
        accept(&caller, 2, &net);
        cancel(&caller, 2);
        cancel(&caller, 2);
        caller.send("tlsify/1 status\nid=900\n", &[]);
        let mut finals = 0;
        loop {
            let answer = caller.answer();
            match answer.verb() {
                "failed" => finals += 1,
                // The second one came when the first had been obeyed.
                "refused" => answer.assert_refused("unknown-id", Some("id")),
                "status" => break,
                _ => panic!("{}", answer.text),
            }
        }
        // The status may overtake the end of a session on another core.
        if finals == 0 {
            told(&caller.answer(), "failed", "2", "code", "cancelled");
            finals += 1;
        }
        assert_eq!(finals, 1);
    }
    nothing_more(&caller);
}

#[test]
fn of_somebody_elses_session_is_refused() {
    let daemon = TestDaemon::start();
    let (caller, other) = (caller(&daemon), caller(&daemon));
    let (_far, net) = tcp_pair();
    accept(&caller, 2, &net);
    nothing_more(&caller);
    cancel(&other, 2);
    other.answer().assert_refused("unknown-id", Some("id"));
    nothing_more(&caller);
}

#[test]
fn an_id_in_use_is_refused_and_the_first_goes_on() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let (far, net) = tcp_pair();
    accept(&caller, 2, &net);
    let (_other, second) = tcp_pair();
    accept(&caller, 2, &second);
    caller.answer().assert_refused("id-in-use", Some("id"));
    let mut peer = client_peer(far);
    peer.handshake().unwrap();
    let established = caller.answer();
    assert_eq!((established.verb(), established.get("id")), ("established", Some("2")));
}
