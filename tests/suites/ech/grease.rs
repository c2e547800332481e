//! Something that looks like it and says nothing: nobody minds.

use std::process::Command;

use tlsify_client::{EchDone, Trust};
use tlsifyd_tests::ech::{EchKey, SelfServ, shows, wire};
use tlsifyd_tests::openssl::s_server;
use tlsifyd_tests::outgoing::{begin, server_peer};
use tlsifyd_tests::peer::{ONLY_TLS13, server_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{KeyKind, Open, Peer, Program, TestDaemon, Tlsify, pki, reach, running, tcp_pair, tool};

use super::{Connect, both, fetch, open};

/// encrypted_client_hello (RFC 9849 section 5), the outer kind with HKDF-SHA256 and AES-128-GCM: the type, two bytes of
/// length, and what follows.
fn has_extension(hello: &[u8]) -> bool {
    hello.windows(9).any(|part| part[..2] == [0xfe, 0x0d] && part[4..] == [0, 0, 1, 0, 1])
}

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

fn greasing(net: impl Into<std::os::fd::OwnedFd>) -> Connect {
    Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).ech_grease()
}

#[test]
fn nothing_is_sent_of_it_unless_somebody_asks() {
    let daemon = TestDaemon::start();
    for grease in [false, true] {
        let (near, far) = tcp_pair();
        let (net, wire) = wire(near);
        let config = server_config(good(), ONLY_TLS13);
        let server = running("server", move || Peer::server(far, config).handshake());
        let connect = Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
        let connect = if grease { connect.ech_grease() } else { connect };
        let session = open(&daemon.client(), &connect);
        drop(connect);
        server.join().unwrap();
        assert_eq!(session.facts.ech, grease.then_some(EchDone::Grease));
        drop(session);
        let sent = wire.join();
        assert!(shows(&sent, SERVER_NAME), "the name is in the clear, and nobody says otherwise");
        assert_eq!(has_extension(&sent), grease);
    }
}

#[test]
fn peers_of_openssl_and_gnutls_do_not_mind() {
    let daemon = TestDaemon::start();
    if let Some(openssl) = tool("openssl") {
        let (_tool, port) = s_server(&openssl, good(), &["-groups", "P-256"]);
        let session = open(&daemon.client(), &greasing(reach(port)));
        assert_eq!(
            (session.facts.ech, session.facts.group.as_deref()),
            (Some(EchDone::Grease), Some("secp256r1"))
        );
    }
    if let Some(gnutls) = tool("gnutls-serv") {
        let port =
            std::net::TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr()).unwrap().port();
        let mut command = Command::new(gnutls);
        command.args(["--port", &port.to_string(), "--echo", "--x509certfile"]).arg(&good().certificate_file);
        let _program = Program::start(command.arg("--x509keyfile").arg(&good().key_file));
        let mut session = open(&daemon.client(), &greasing(reach(port)));
        assert_eq!(session.facts.ech, Some(EchDone::Grease));
        session.say("echo\n");
        assert_eq!(session.hear("echo\n"), "echo\n");
    }
}

#[test]
fn servers_with_and_without_it_take_it_for_what_it_is() {
    let daemon = TestDaemon::start();
    for key in [None, Some(EchKey::new(1))] {
        let Some(server) = SelfServ::start(both(), key.as_ref(), &[]) else { return };
        let connect = Connect::new(reach(server.port)).name(super::HIDDEN).trust(Trust::ca(pki().ca.fd()));
        let mut session = open(&daemon.client(), &connect.ech_grease());
        assert_eq!(
            session.facts.ech,
            Some(EchDone::Grease),
            "what it gives for another try is nothing to us"
        );
        fetch(&mut session);
    }
}

#[test]
fn tickets_work_beside_it() {
    let daemon = TestDaemon::start();
    let Some(server) = SelfServ::start(both(), None, &["-u"]) else { return };
    for resumed in [false, true] {
        let connect = Connect::new(reach(server.port)).name(super::HIDDEN).trust(Trust::ca(pki().ca.fd()));
        let mut session = open(&daemon.client(), &connect.ech_grease().resume("mine"));
        assert_eq!((session.facts.ech, session.facts.resumed), (Some(EchDone::Grease), resumed));
        fetch(&mut session);
    }
}

#[test]
fn the_command_sends_it_too() {
    let daemon = TestDaemon::start();
    let (ours, net) = tcp_pair();
    let mut command = Tlsify::connect(&daemon, net).option("--ech", "grease").events().shell("true").start();
    let mut peer = server_peer(ours);
    command.shakes(&mut peer);
    peer.close_notify().unwrap();
    let done = command.wait();
    assert!(done.events.contains("\nech=grease\n"), "{done:?}");
}

#[test]
fn a_session_with_it_is_of_tls_1_3_alone() {
    let daemon = TestDaemon::start();
    let (pending, socket) = begin(&daemon.client(), |connect| connect.ech_grease());
    let config = server_config(good(), tlsifyd_tests::peer::ONLY_TLS12);
    assert!(Peer::server(socket, config).handshake().is_err());
    let error = pending.wait().map(Open::new).unwrap_err();
    assert_eq!(error.code(), Some(tlsify_client::Code::AlertReceived), "{error}");
}
