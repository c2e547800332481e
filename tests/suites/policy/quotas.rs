//! A limit refuses by name, takes nothing from anybody else, and what is given back can be used again.

use tlsify_client::{Client, Code, Error, How, Scope};
use tlsifyd_tests::handover::{Open, accept, begin, client_peer, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, TestDaemon, User, pki, running, tcp_pair, user};

use super::{assert_quota, define, refused};

fn limited(limits: &str) -> TestDaemon {
    TestDaemon::with_config(format!("[limits]\n{limits}\n[timeouts]\nlinger = \"100ms\"\n"))
}

/// Asks for one more session until there is room.
fn until_open(client: &Client) -> Open {
    let room = until(LIMIT, || {
        let (pending, socket) = begin(client, |accept| accept);
        let mut peer = client_peer(socket);
        let handshake = running("peer", move || peer.handshake().map(|()| peer));
        match pending.wait() {
            Ok(established) => Some(Open::new(established, handshake.join().expect("the session is open"))),
            error => {
                // Nobody answers it: the test's copy of the socket went with the request.
                assert_quota(error, "sessions");
                assert!(handshake.join().is_err());
                None
            }
        }
    });
    room.expect("a place is given back")
}

#[test]
fn sessions_are_limited_and_an_ended_one_makes_room() {
    let daemon = limited("sessions = 2");
    let client = daemon.client();
    assert_eq!(client.hello().max_sessions, 2);
    let (mut first, second) = (open(&client), open(&client));
    let baseline = daemon.baseline();
    for _ in 0..3 {
        let (_ours, net) = tcp_pair();
        assert_quota(client.accept(&accept(net)), "sessions");
        // Nor does another connection of the same user have more.
        let (_ours, net) = tcp_pair();
        assert_quota(daemon.client().accept(&accept(net)), "sessions");
    }
    daemon.settled_fds(&baseline);
    first.assert_alive();
    second.established.session.cancel().unwrap();
    assert_eq!(second.established.session.ended().unwrap().how, How::Cancelled);
    until_open(&client).assert_alive();
    first.assert_alive();
}

#[test]
fn handshakes_are_limited_and_one_that_is_done_makes_room_at_once() {
    let daemon = limited("handshakes = 1");
    let client = daemon.client();
    assert_eq!(client.hello().max_handshakes, 1);
    let (waiting, _peer) = begin(&client, |accept| accept);
    let (_ours, net) = tcp_pair();
    assert_quota(client.accept(&accept(net)), "handshakes in flight");
    waiting.cancel().unwrap();
    assert_eq!(waiting.wait().unwrap_err().code(), Some(Code::Cancelled));
    // So many sessions at rest on the core that reads the requests make another core take the next ones.
    let mut crowd: Vec<Open> = (0..160).map(|_| open(&client)).collect();
    // Whoever hears that one is open, or failed, can begin the next: without trying twice.
    for _ in 0..200 {
        let session = open(&client);
        let (pending, peer) = begin(&client, |accept| accept);
        drop(peer);
        assert_eq!(pending.wait().unwrap_err().code(), Some(Code::ClosedByPeer));
        drop(session);
    }
    crowd.iter_mut().for_each(Open::assert_alive);
}

#[test]
fn profiles_are_limited_over_all_connections_and_replacing_one_takes_no_room() {
    let daemon = limited("profiles = 2");
    let identity = pki().server(KeyKind::EcdsaP256);
    let (one, other) = (daemon.client(), daemon.client());
    assert_eq!(one.hello().max_profiles, 2);
    define(&one, "a", identity).unwrap();
    define(&other, "a", identity).unwrap();
    let baseline = daemon.baseline();
    for client in [&one, &other] {
        assert_quota(define(client, "b", identity), "profiles");
        define(client, "a", identity).unwrap();
    }
    daemon.settled_fds(&baseline);
    assert_eq!(one.status(Scope::Own, false).unwrap().profiles, 2);
    drop(other);
    until(LIMIT, || define(&one, "b", identity).ok()).expect("profiles go with their connection");
}

#[test]
fn connections_are_limited_and_the_refusal_is_the_first_word() {
    let daemon = limited("connections = 2");
    let baseline = daemon.baseline();
    let (one, other) = (daemon.client(), daemon.client());
    for _ in 0..3 {
        assert_quota(Client::connect_to(daemon.socket()), "control connections");
    }
    drop(other);
    let again = until(LIMIT, || match Client::connect_to(daemon.socket()) {
        Ok(client) => Some(client),
        Err(Error::Refused(refused)) if refused.code == Code::Quota => None,
        Err(error) => panic!("{error}"),
    });
    let again = again.expect("a place is given back");
    assert_eq!(again.status(Scope::Own, false).unwrap().callers, 2);
    drop((one, again));
    daemon.settled_fds(&baseline);
}

#[test]
fn one_users_limits_are_not_anothers() {
    if !user::is_root("one_users_limits_are_not_anothers") {
        return;
    }
    let daemon = limited("sessions = 1\nprofiles = 1\nconnections = 1\ntotal-sessions = 2");
    let clients: Vec<Client> = [1001, 1002, 1003].map(|uid| User::new(uid).client(&daemon)).into();
    let mut sessions: Vec<_> = clients[..2].iter().map(open).collect();
    let identity = pki().server(KeyKind::EcdsaP256);
    for client in &clients {
        define(client, "a", identity).unwrap();
    }
    // The third has a place of its own, and there is none left of those for all.
    let (_ours, net) = tcp_pair();
    let all = refused(clients[2].accept(&accept(net)));
    assert_eq!((all.code, all.text.contains("this daemon")), (Code::Quota, true), "{all:?}");
    sessions.iter_mut().for_each(Open::assert_alive);
}

#[test]
fn what_is_refused_or_fails_takes_no_place() {
    let daemon = limited("sessions = 1\nhandshakes = 1\nprofiles = 1");
    let client = daemon.client();
    for _ in 0..5 {
        let (_far, net) = tcp_pair();
        let error = client.accept(&tlsify_client::Accept::new(net).profile("nobodys")).unwrap_err();
        assert_eq!(error.code(), Some(Code::UnknownProfile));
        let nothing = || pki::memfd("no PEM at all");
        let broken = tlsify_client::Profile::server("p").certificate(nothing()).key(nothing());
        assert_eq!(client.define(&broken).unwrap_err().code(), Some(Code::CertificateInvalid));
        let (pending, socket) = begin(&client, |accept| accept);
        drop(socket);
        assert_eq!(pending.wait().unwrap_err().code(), Some(Code::ClosedByPeer));
        // A session counts until its socket is closed, which follows its last word.
        let free = until(LIMIT, || (client.status(Scope::Own, false).unwrap().sessions == 0).then_some(()));
        assert!(free.is_some(), "its place is given back");
    }
    open(&client).assert_alive();
}
