//! Each choice, what it leads to, and choices that cannot be taken.

use std::io::{Read, Write};

use tlsify_client::{Accept, AskDefault, Choice, Client, Code, Error, Profile, RefusalAlert, Socket};
use tlsifyd_tests::handover::{Open, client_peer};
use tlsifyd_tests::peer::tcp_pair;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{TestDaemon, exclusive, pki};

use super::{
    OTHER, OWN, asked, assert_failed, assert_open, assert_unread, caller, choose, hand, handshake, hello,
    send,
};

#[test]
fn own_is_what_the_request_said_and_a_profile_is_another() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    let choices = [("action=own\n", OWN), ("action=profile\nprofile=other\n", OTHER)];
    for (id, (lines, kind)) in (10..).zip(choices) {
        let handed = hand(&caller, id, "");
        drop(handed.copy);
        let peer = handshake(handed.peer);
        let told = asked(&caller, id);
        assert_eq!((told.get("tls"), told.get("server-name")), (Some("yes"), Some("server.example")));
        choose(&caller, id, lines);
        assert_open(&caller, id, peer, kind);
    }
    daemon.settled_fds(&before);
}

#[test]
fn an_operators_profile_can_be_chosen_by_who_may_have_it() {
    let profile = |name: &str, users: &str| {
        let (certificate, key) = (&pki().server(OTHER).certificate_file, &pki().server(OTHER).key_file);
        format!(
            "[[profile]]\nname = \"{name}\"\nrole = \"server\"\nusers = [{users}]\n[[profile.identity]]\n\
             certificate = \"{}\"\nkey = \"{}\"\n",
            certificate.display(),
            key.display()
        )
    };
    let config = profile("web", "\"*\"") + &profile("forbidden", "4294967294");
    let daemon = TestDaemon::with_config(config);
    let caller = caller(&daemon);
    let handed = hand(&caller, 10, "");
    let peer = handshake(handed.peer);
    asked(&caller, 10);
    choose(&caller, 10, "action=profile\nprofile=forbidden\n");
    caller.answer().assert_refused("profile-not-allowed", Some("profile"));
    choose(&caller, 10, "action=profile\nprofile=web\n");
    assert_open(&caller, 10, peer, OTHER);
}

#[test]
fn a_choice_that_cannot_be_taken_leaves_the_question_open() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let client = "tlsify/1 define\nid=3\nprofile=client\nrole=client\n";
    assert_eq!(caller.ask(client, &[]).verb(), "defined");
    let handed = hand(&caller, 10, "");
    let peer = handshake(handed.peer);
    asked(&caller, 10);
    for (lines, code, about) in [
        ("action=profile\nprofile=nobodys\n", "unknown-profile", "profile"),
        ("action=profile\nprofile=client\n", "profile-role", "profile"),
        ("action=profile\n", "missing-key", "profile"),
        ("action=open\n", "bad-value", "action"),
        ("action=refuse\nalert=close_notify\n", "bad-value", "alert"),
        ("action=own\nprofile=other\n", "key-conflict", "profile"),
    ] {
        choose(&caller, 10, lines);
        let refused = caller.answer();
        refused.assert_refused(code, Some(about));
        assert_eq!(refused.get("id"), Some("10"));
    }
    // A descriptor has no place there.
    let null = std::fs::File::open("/dev/null").unwrap();
    let text = "tlsify/1 choose\nid=10\naction=own\n";
    caller.ask(text, &[&null]).assert_refused("descriptor-mismatch", Some("fds"));
    choose(&caller, 10, "action=own\n");
    assert_open(&caller, 10, peer, OWN);
}

#[test]
fn who_waits_for_no_choice_is_nobody_to_choose_for() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let unknown = |id: u64| {
        choose(&caller, id, "action=give-back\n");
        caller.answer().assert_refused("unknown-id", Some("id"));
    };
    unknown(10);
    // Before it is asked about: the peer has sent nothing.
    let handed = hand(&caller, 10, "");
    unknown(10);
    // Another caller's id is another id.
    let other = super::caller(&daemon);
    let peer = handshake(handed.peer);
    asked(&caller, 10);
    choose(&other, 10, "action=refuse\n");
    other.answer().assert_refused("unknown-id", Some("id"));
    // Chosen twice: the first counts.
    choose(&caller, 10, "action=own\n");
    choose(&caller, 10, "action=refuse\n");
    let mut answers = [caller.answer(), caller.answer()];
    answers.sort_by_key(|answer| answer.verb() == "established");
    answers[0].assert_refused("unknown-id", Some("id"));
    assert_eq!(answers[1].verb(), "established", "{}", answers[1].text);
    let _peer = peer.join().expect("the handshake is done");
    unknown(10);
}

#[test]
fn the_session_of_a_question_has_its_id_until_it_is_over() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut handed = hand(&caller, 10, "");
    send(&caller, 10, "", &handed.copy);
    caller.answer().assert_refused("id-in-use", Some("id"));
    handed.peer.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    asked(&caller, 10);
    send(&caller, 10, "", &handed.copy);
    caller.answer().assert_refused("id-in-use", Some("id"));
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    // The same connection again, under the same id: it was given back.
    send(&caller, 10, "", &handed.copy);
    asked(&caller, 10);
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
}

#[test]
fn a_refusal_is_the_alert_that_was_chosen_and_the_end() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    let cases = [
        ("", 40, "40 handshake_failure"),
        ("alert=access_denied\n", 49, "49 access_denied"),
        ("alert=unrecognized_name\n", 112, "112 unrecognized_name"),
        ("alert=no_application_protocol\n", 120, "120 no_application_protocol"),
    ];
    for (id, (line, number, name)) in (10..).zip(cases) {
        let mut handed = hand(&caller, id, "");
        drop(handed.copy);
        handed.peer.write_all(&hello()).unwrap();
        asked(&caller, id);
        choose(&caller, id, &format!("action=refuse\n{line}"));
        let failed = assert_failed(&caller, id, "refused-by-caller", "caller", "closed");
        assert_eq!((failed.get("alert"), failed.get("alert-from")), (Some(name), Some("us")));
        // The record as a client of any version reads it, then FIN and no reset.
        let mut said = Vec::new();
        handed.peer.read_to_end(&mut said).unwrap();
        assert_eq!(said, [21, 3, 3, 0, 2, 2, number]);
    }
    daemon.settled_fds(&before);
}

#[test]
fn a_refused_peer_that_speaks_no_tls_hears_no_alert() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut handed = hand(&caller, 10, "");
    drop(handed.copy);
    handed.peer.write_all(b"SSH-2.0-test\r\n").unwrap();
    let told = asked(&caller, 10);
    assert_eq!(told.text, "tlsify/1 client-hello\nid=10\ntls=no\n");
    choose(&caller, 10, "action=refuse\n");
    let failed = assert_failed(&caller, 10, "refused-by-caller", "caller", "closed");
    assert_eq!(failed.get("alert"), None);
    let mut said = Vec::new();
    handed.peer.read_to_end(&mut said).unwrap();
    assert_eq!(said, b"");
}

#[test]
fn tls_for_a_peer_that_speaks_none_fails_as_ever() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let mut handed = hand(&caller, 10, "");
    handed.peer.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    asked(&caller, 10);
    choose(&caller, 10, "action=profile\nprofile=other\n");
    assert_failed(&caller, 10, "not-tls", "peer", "closed");
}

/// The library's way: one closure, on the thread that waits.
#[test]
fn the_librarys_closure_decides_by_name() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for (name, kind) in [("own", OWN), ("other", OTHER)] {
        let identity = pki().server(kind);
        let profile = Profile::server(name).certificate(identity.certificate_fd()).key(identity.key_fd());
        client.define(&profile).unwrap();
    }
    let decide = |choice: Choice| {
        move |hello: &tlsify_client::ClientHello| {
            assert_eq!(hello.server_name.as_deref(), Some("server.example"));
            assert_eq!(hello.versions, ["1.3", "1.2"]);
            assert!(hello.tls && hello.ja4.as_ref().is_some_and(|ja4| ja4.starts_with("t13d")));
            choice.clone()
        }
    };
    for (choice, kind) in [(Choice::Own, OWN), (Choice::Profile("other".to_owned()), OTHER)] {
        let (ours, theirs) = tcp_pair();
        let pending = client
            .start_accept(&Accept::new(theirs).profile("own").ask_within(
                LIMIT,
                AskDefault::Refuse,
                decide(choice),
            ))
            .unwrap();
        let mut peer = client_peer(ours);
        let waiting = tlsifyd_tests::running("the library", move || pending.wait());
        peer.handshake().unwrap();
        let shown = peer.tls.peer_certificates().unwrap()[0].clone();
        assert_eq!(shown, pki().server(kind).chain()[0]);
        Open::new(waiting.join().unwrap(), peer).assert_alive();
    }
    assert_eq!(refused(&client, Choice::Profile("nobodys".to_owned())), Code::UnknownProfile);
}

/// What comes of a choice that cannot be taken; the session goes with it.
fn refused(client: &Client, choice: Choice) -> Code {
    let (mut ours, theirs) = tcp_pair();
    ours.write_all(&hello()).unwrap();
    let answer =
        client.accept(
            &Accept::new(theirs).profile("own").ask_within(LIMIT, AskDefault::Own, move |_| choice.clone()),
        );
    match answer {
        Err(Error::Refused(refused)) => refused.code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_library_gives_a_connection_back_and_refuses_one() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let identity = pki().server(OWN);
    let profile = Profile::server("own").certificate(identity.certificate_fd()).key(identity.key_fd());
    client.define(&profile).unwrap();
    let failed = |request: &Accept| match client.accept(request) {
        Err(Error::Failed(failed)) => failed,
        other => panic!("{other:?}"),
    };
    let (mut ours, theirs) = tcp_pair();
    ours.write_all(b"plain words").unwrap();
    let request = Accept::new(theirs).profile("own").ask(|hello| {
        assert!(!hello.tls);
        Choice::GiveBack
    });
    let told = failed(&request);
    assert_eq!((told.code, told.socket), (Code::GivenBack, Socket::Untouched));
    let net = request.into_nets().remove(0);
    assert_unread(&net.into(), b"plain words");
    let (mut ours, theirs) = tcp_pair();
    ours.write_all(&hello()).unwrap();
    let request = Accept::new(theirs).profile("own").ask(|_| Choice::Refuse(RefusalAlert::UnrecognizedName));
    let told = failed(&request);
    assert_eq!((told.code, told.alert.map(|alert| alert.description)), (Code::RefusedByCaller, Some(112)));
    let mut said = [0; 7];
    ours.read_exact(&mut said).unwrap();
    assert_eq!(said[6], 112);
}

#[test]
fn a_private_daemon_asks_too() {
    let mut daemon = TestDaemon::private();
    let client = daemon.client();
    daemon.hang_up();
    let (ours, theirs) = tcp_pair();
    let identity = pki().server(OWN);
    let request = Accept::new(theirs).certificate(identity.certificate_fd()).key(identity.key_fd());
    let pending =
        client.start_accept(&request.ask_within(LIMIT, AskDefault::Refuse, |_| Choice::Own)).unwrap();
    let waiting = tlsifyd_tests::running("the library", move || pending.wait());
    let mut peer = client_peer(ours);
    peer.handshake().unwrap();
    Open::new(waiting.join().unwrap(), peer).assert_alive();
    drop(client);
    assert!(daemon.wait().success());
}
