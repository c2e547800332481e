//! What goes with a control connection, and what outlives it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use tlsify_client::{Accept, Bind, Code, How, Profile, Scope};
use tlsifyd_tests::handover::{begin, client_peer, open, open_bound};
use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{End, KeyKind, Peer, TestDaemon, pki, tcp_pair};

fn profile(identity: &Identity) -> Profile {
    Profile::server("p").certificate(identity.certificate_fd()).key(identity.key_fd())
}

fn alive(plain: &mut UnixStream, peer: &mut Peer) {
    plain.write_all(b"still here").unwrap();
    assert_eq!(peer.read_exact(10).unwrap(), b"still here");
}

#[test]
fn a_session_outlives_the_connection_that_asked_for_it() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let client = daemon.client();
    let session = open(&client);
    let (mut plain, mut peer) = (session.plain, session.peer);
    drop((client, session.established));
    let other = daemon.client();
    assert_eq!(other.status(Scope::Own, false).unwrap().sessions, 1);
    alive(&mut plain, &mut peer);
    drop((plain, peer, other));
    daemon.settled_fds(&baseline);
}

#[test]
fn a_session_that_is_bound_goes_with_the_connection() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let client = daemon.client();
    let session = open_bound(&client, |accept| accept.bind(Bind::Control));
    let (mut plain, mut peer) = (session.plain, session.peer);
    drop((client, session.established));
    assert_eq!(plain.read(&mut [0]).unwrap_or(0), 0);
    peer.read_to_end().unwrap();
    daemon.settled_fds(&baseline);
}

#[test]
fn a_handshake_goes_with_the_connection() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let client = daemon.client();
    let (pending, mut socket) = begin(&client, |accept| accept);
    client.status(Scope::Own, false).unwrap();
    drop((pending, client));
    socket.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
    daemon.settled_fds(&baseline);
}

#[test]
fn profiles_are_their_connections_own_and_go_with_it() {
    let daemon = TestDaemon::start();
    let (client, other) = (daemon.client(), daemon.client());
    client.define(&profile(pki().server(KeyKind::EcdsaP256))).unwrap();
    let (_far, net) = tcp_pair();
    let request = Accept::new(net).profile("p");
    assert_eq!(other.accept(&request).unwrap_err().code(), Some(Code::UnknownProfile));
    assert_eq!(client.status(Scope::Own, false).unwrap().profiles, 1);
    drop(client);
    let gone = tlsifyd_tests::wait::until(LIMIT, || {
        (other.status(Scope::Own, false).unwrap().profiles == 0).then_some(())
    });
    assert!(gone.is_some(), "the profile of a caller that left is forgotten");
}

#[test]
fn a_profile_that_is_replaced_counts_from_then_on_and_open_sessions_keep_the_old() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let new = pki().server_for("new.example");
    client.define(&profile(pki().server(KeyKind::EcdsaP256))).unwrap();
    let serve = |name: &str| {
        let (far, net) = tcp_pair();
        let pending = client.start_accept(&Accept::new(net).profile("p")).unwrap();
        let mut peer = Peer::client(far, client_config(pki().ca.roots(), BOTH_VERSIONS, None), name);
        let result = peer.handshake();
        (result, pending.wait(), peer)
    };
    let (result, old, mut old_peer) = serve(SERVER_NAME);
    result.unwrap();
    client.define(&profile(&new)).unwrap();
    let (result, second, _peer) = serve("new.example");
    result.unwrap();
    second.unwrap();
    assert!(serve(SERVER_NAME).0.is_err(), "the old certificate is used no more");
    // A replacement that is refused changes nothing.
    let broken = Profile::server("p").certificate(new.certificate_fd()).key(pki().wrong_name.key_fd());
    assert_eq!(client.define(&broken).unwrap_err().code(), Some(Code::KeyMismatch));
    serve("new.example").0.unwrap();
    let old = old.unwrap();
    old_peer.half_close().unwrap();
    drop(old.plain);
    let ended = old.session.ended_within(LIMIT).unwrap().expect("it ends");
    assert!(matches!(ended.how, How::CloseNotify | How::Caller), "{ended:?}");
    assert_eq!(old_peer.read_to_end().unwrap().1, End::CloseNotify);
}

#[test]
fn a_handshake_under_way_keeps_the_profile_that_it_began_with() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    client.define(&profile(pki().server(KeyKind::EcdsaP256))).unwrap();
    let (far, net) = tcp_pair();
    let pending = client.start_accept(&Accept::new(net).profile("p")).unwrap();
    client.define(&profile(&pki().server_for("new.example"))).unwrap();
    client_peer(far).handshake().unwrap();
    pending.wait().unwrap();
}
