//! No descriptor is left in the daemon or in the caller, however a session goes.

use std::io::{Read, Write};
use std::net::Shutdown;

use tlsify_client::{Client, Code, Connect, Error, How, Trust};
use tlsifyd_tests::handover::{accept, begin, client_peer, open};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{KeyKind, Peer, pki, running, tcp_pair};

use super::with_client;

/// Does `work` with one caller of a fresh daemon, three times over.
fn leaves_nothing(work: impl Fn(&Client)) {
    with_client(|client, _| {
        for _ in 0..3 {
            work(client);
        }
    });
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<Code> {
    let error = result.expect_err("this cannot go well");
    assert!(error.code().is_some(), "{error}");
    error.code()
}

fn server() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

#[test]
fn a_session_that_goes_well_leaves_nothing() {
    leaves_nothing(|client| {
        let mut session = open(client);
        session.assert_alive();
        session.plain.shutdown(Shutdown::Write).unwrap();
        session.peer.half_close().unwrap();
        session.plain.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(session.established.session.ended().unwrap().how, How::CloseNotify);
    });
}

#[test]
fn a_client_session_with_a_chain_leaves_nothing() {
    leaves_nothing(|client| {
        let (net, far) = tcp_pair();
        let peer = running("server", move || {
            let mut peer = Peer::server(far, server_config(server(), BOTH_VERSIONS));
            peer.handshake().unwrap();
            peer.read_to_end().unwrap()
        });
        let request = Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).chain();
        let established = client.connect_tls(&request).unwrap();
        assert!(established.plain.is_some() && established.chain.is_some());
        drop((request, established.plain));
        peer.join();
        assert_eq!(established.session.ended().unwrap().how, How::Caller);
    });
}

#[test]
fn a_refusal_of_any_kind_leaves_nothing_and_the_socket_works_on() {
    leaves_nothing(|client| {
        let (ours, theirs) = tcp_pair();
        let mixed = accept(theirs.try_clone().unwrap())
            .certificate(pki().wrong_name.certificate_fd())
            .key(server().key_fd());
        assert_eq!(code(client.accept(&mixed)), Some(Code::KeyMismatch));
        let unknown = tlsify_client::Accept::new(theirs.try_clone().unwrap()).profile("never-defined");
        assert_eq!(code(client.accept(&unknown)), Some(Code::UnknownProfile));
        let garbage = Connect::new(theirs.try_clone().unwrap())
            .name(SERVER_NAME)
            .trust(Trust::ca(tlsify_client::pem_fd("no PEM at all").unwrap()));
        assert_eq!(code(client.connect_tls(&garbage)), Some(Code::TrustUnusable));
        // Untouched: plain bytes still go through it.
        (&theirs).write_all(b"plain").unwrap();
        let mut said = [0; 5];
        (&ours).read_exact(&mut said).unwrap();
        assert_eq!(&said, b"plain");
    });
}

#[test]
fn a_peer_with_a_bad_certificate_leaves_nothing() {
    leaves_nothing(|client| {
        let bad = [
            (&pki().wrong_name, Code::NameMismatch),
            (&pki().expired, Code::CertificateExpired),
            (&pki().not_yet_valid, Code::CertificateNotYetValid),
            (&pki().wrong_ca, Code::UnknownIssuer),
        ];
        for (identity, expected) in bad {
            let (net, far) = tcp_pair();
            let peer = running("server", move || {
                Peer::server(far, server_config(identity, BOTH_VERSIONS)).handshake()
            });
            let request = Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
            match client.connect_tls(&request) {
                Err(Error::Failed(failed)) => {
                    assert_eq!(failed.code, expected);
                    assert!(failed.chain.is_some(), "the chain that was shown comes with the failure");
                }
                other => panic!("{other:?}"),
            }
            // Whether the peer got our alert before its own Finished is not this test's business.
            let _ = peer.join();
        }
    });
}

#[test]
fn a_peer_that_closes_or_resets_in_the_handshake_leaves_nothing() {
    leaves_nothing(|client| {
        let (pending, socket) = begin(client, |accept| accept);
        drop(socket);
        assert_eq!(code(pending.wait()), Some(Code::ClosedByPeer));
        let (pending, socket) = begin(client, |accept| accept);
        tlsifyd_tests::peer::reset(socket);
        assert_eq!(code(pending.wait()), Some(Code::ResetByPeer));
        let (pending, mut socket) = begin(client, |accept| accept);
        socket.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert_eq!(code(pending.wait()), Some(Code::NotTls));
    });
}

#[test]
fn a_peer_that_vanishes_from_an_open_session_leaves_nothing() {
    leaves_nothing(|client| {
        let session = open(client);
        session.peer.reset();
        assert_eq!(session.established.session.ended().unwrap().how, How::Reset);
        let session = open(client);
        drop(session.peer);
        assert_eq!(session.established.session.ended().unwrap().how, How::Truncated);
    });
}

#[test]
fn a_cancelled_handshake_and_a_cancelled_session_leave_nothing() {
    leaves_nothing(|client| {
        let (pending, socket) = begin(client, |accept| accept);
        pending.cancel().unwrap();
        assert_eq!(code(pending.wait()), Some(Code::Cancelled));
        drop(socket);
        let mut session = open(client);
        session.established.session.cancel().unwrap();
        assert_eq!(session.established.session.ended().unwrap().how, How::Cancelled);
        assert_eq!(session.plain.read(&mut [0]).unwrap_or(0), 0);
    });
}

#[test]
fn an_answer_that_nobody_waits_for_leaves_nothing() {
    leaves_nothing(|client| {
        let (pending, socket) = begin(client, |accept| accept);
        drop(pending);
        let mut peer = client_peer(socket);
        // The session opens for nobody: the library closes what comes.
        peer.handshake().unwrap();
        client.status(tlsify_client::Scope::Own, true).unwrap();
        let _ = peer.read_to_end();
    });
}
