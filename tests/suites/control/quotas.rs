//! How much one uid may have: refused by name at the limit, and usable again once something is given back.

use std::net::TcpStream;

use tlsify_client::{Client, Code, Error, Pending, Profile, Scope};
use tlsifyd_tests::handover::{accept, begin, client_peer, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, RawCaller, TestDaemon, pki, tcp_pair};

fn define(client: &Client, name: &str) -> Result<(), Error> {
    let server = pki().server(KeyKind::EcdsaP256);
    let profile = Profile::server(name).certificate(server.certificate_fd()).key(server.key_fd());
    client.define(&profile).map(|_| ())
}

/// A handshake that goes no further; refused ones say so at once.
fn handshake(client: &Client) -> Result<(Pending, TcpStream), Error> {
    let (mut pending, socket) = begin(client, |accept| accept);
    // Requests are handled in order, so the answer to this one comes after a refusal.
    client.status(Scope::Own, false).unwrap();
    pending.wait_within(std::time::Duration::ZERO)?;
    Ok((pending, socket))
}

#[track_caller]
fn at_the_limit<T: std::fmt::Debug>(result: Result<T, Error>, noun: &str) {
    let error = result.expect_err("one more than allowed");
    assert_eq!(error.code(), Some(Code::Quota), "{error}");
    assert!(error.to_string().contains(noun), "{error}");
}

#[test]
fn sessions_at_the_limit_are_refused_and_one_that_ends_makes_room() {
    let daemon = TestDaemon::with_config("[limits]\nsessions = 2\n");
    let (client, other) = (daemon.client(), daemon.client());
    assert_eq!(client.hello().max_sessions, 2);
    let (first, mut second) = (open(&client), open(&other));
    let (_far, net) = tcp_pair();
    let request = accept(net);
    // The uid counts, not the connection.
    at_the_limit(client.accept(&request), "sessions");
    at_the_limit(other.accept(&request), "sessions");
    drop((first.plain, first.peer));
    first.established.session.ended_within(LIMIT).unwrap().expect("it ends");
    let room = until(LIMIT, || (client.status(Scope::Own, false).unwrap().sessions == 1).then_some(()));
    assert!(room.is_some(), "its place is given back");
    open(&client).assert_alive();
    second.assert_alive();
}

#[test]
fn handshakes_at_the_limit_are_refused_and_one_that_ends_makes_room() {
    let daemon = TestDaemon::with_config("[limits]\nhandshakes = 2\n");
    let client = daemon.client();
    let _first = handshake(&client).unwrap();
    let (pending, _socket) = handshake(&client).unwrap();
    at_the_limit(handshake(&client), "handshakes in flight");
    pending.cancel().unwrap();
    assert_eq!(pending.wait().unwrap_err().code(), Some(Code::Cancelled));
    // An established session is no handshake any more.
    let (_one, _two) = (open(&client), open(&client));
    let _third = handshake(&client).unwrap();
    at_the_limit(handshake(&client), "handshakes in flight");
}

#[test]
fn profiles_at_the_limit_are_refused_and_replacing_one_needs_no_room() {
    let daemon = TestDaemon::with_config("[limits]\nprofiles = 2\n");
    let (client, other) = (daemon.client(), daemon.client());
    define(&client, "one").unwrap();
    define(&other, "two").unwrap();
    at_the_limit(define(&client, "three"), "profiles");
    define(&client, "one").unwrap();
    assert_eq!(client.status(Scope::Own, false).unwrap().profiles, 2);
    // Profiles go with their connection.
    drop(other);
    let room = until(LIMIT, || define(&client, "three").ok());
    assert!(room.is_some(), "the place of a caller that left is given back");
    at_the_limit(define(&client, "four"), "profiles");
}

#[test]
fn connections_at_the_limit_are_told_so_and_closed() {
    let daemon = TestDaemon::with_config("[limits]\nconnections = 2\n");
    let first = until(LIMIT, || Client::connect_to(daemon.socket()).ok()).expect("the first");
    let _second = until(LIMIT, || Client::connect_to(daemon.socket()).ok()).expect("the second");
    at_the_limit(Client::connect_to(daemon.socket()), "control connections");
    let raw = RawCaller::connect_unheard(daemon.socket());
    raw.answer().assert_refused("quota", None);
    assert!(raw.receive().is_none(), "and closed");
    drop(first);
    let room = until(LIMIT, || Client::connect_to(daemon.socket()).ok());
    room.expect("the place of a caller that left is given back");
}

#[test]
fn a_refused_request_takes_no_place() {
    let daemon = TestDaemon::with_config("[limits]\nsessions = 1\nhandshakes = 1\nprofiles = 1\n");
    let client = daemon.client();
    for _ in 0..5 {
        let (_far, net) = tcp_pair();
        let unknown = tlsify_client::Accept::new(net).profile("nobodys");
        assert_eq!(client.accept(&unknown).unwrap_err().code(), Some(Code::UnknownProfile));
        let broken = Profile::server("p")
            .certificate(tlsifyd_tests::pki::memfd("nothing"))
            .key(tlsifyd_tests::pki::memfd("nothing"));
        assert_eq!(client.define(&broken).unwrap_err().code(), Some(Code::CertificateInvalid));
        let (pending, socket) = begin(&client, |accept| accept);
        drop(socket);
        assert_eq!(pending.wait().unwrap_err().code(), Some(Code::ClosedByPeer));
        // A session counts until its socket is closed, which follows its last word.
        let free = until(LIMIT, || (client.status(Scope::Own, false).unwrap().sessions == 0).then_some(()));
        assert!(free.is_some(), "its place is given back");
    }
    let (pending, socket) = begin(&client, |accept| accept);
    client_peer(socket).handshake().unwrap();
    pending.wait().unwrap();
    define(&client, "p").unwrap();
}
