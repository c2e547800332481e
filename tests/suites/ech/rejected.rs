//! A server that cannot decrypt, and those who only say so.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tlsify_client::{Alert, Code, EchDone, Failed, Party, Pin, Sha256, Trust};
use tlsifyd_tests::ech::{EchKey, PUBLIC_NAME, SelfServ, shows, wire};
use tlsifyd_tests::openssl::s_server;
use tlsifyd_tests::peer::{BOTH_VERSIONS, ONLY_TLS12, server_config};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, Peer, TestDaemon, pki, reach, running, tcp_pair, tool};

use super::{Connect, HIDDEN, both, failed, fetch, hiding, open};

/// Nothing in it could be taken for what the server that was meant has.
#[track_caller]
fn assert_tells_nothing_to_pin(failed: &Failed) {
    assert!(failed.spki_sha256.is_none() && failed.certificate_sha256.is_none(), "{failed:?}");
    assert!(failed.chain.is_none(), "{failed:?}");
}

/// The session failed because the public server said so.
#[track_caller]
fn assert_rejected(failed: &Failed, retry: Option<Vec<u8>>) {
    assert_eq!(
        (failed.code, failed.alert),
        (Code::EchRejected, Some(Alert { description: 121, from: Party::Us }))
    );
    assert_eq!(failed.ech_retry, retry);
    assert_tells_nothing_to_pin(failed);
}

/// The session failed because whoever said so is not the public server: nothing of it is passed on.
#[track_caller]
fn assert_not_believed(failed: &Failed, code: Code) {
    assert_eq!((failed.code, &failed.ech_retry), (code, &None), "{failed:?}");
    assert_tells_nothing_to_pin(failed);
}

#[test]
fn a_newer_configuration_comes_with_the_rejection_and_works() {
    let (daemon, old, new) = (TestDaemon::start(), EchKey::new(1), EchKey::new(2));
    let Some(server) = SelfServ::start(both(), Some(&new), &[]) else { return };
    for exports in [false, true] {
        let (net, wire) = server.wire();
        let connect = hiding(net, &old.list());
        let connect = if exports { connect.channel_binding() } else { connect };
        let failed = failed(&daemon.client(), &connect);
        drop(connect);
        assert_rejected(&failed, Some(new.list()));
        let sent = wire.join();
        assert!(shows(&sent, PUBLIC_NAME) && !shows(&sent, HIDDEN), "the hidden name was on the wire");
        let (net, _wire) = server.wire();
        let mut session = open(&daemon.client(), &hiding(net, &failed.ech_retry.unwrap()));
        assert_eq!(session.facts.ech, Some(EchDone::Accepted));
        fetch(&mut session);
    }
}

/// OpenSSL's server, which knows nothing of it: here NSS 3.87 and rustls 0.23 do not understand each other (what NSS sends does
/// not decrypt), and which of them is wrong is not known.
#[test]
fn a_rejection_in_a_second_client_hello_shows_no_more() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(openssl) = tool("openssl") else { return };
    let (_tool, port) = s_server(&openssl, both(), &["-groups", "P-256"]);
    let (net, wire) = wire(reach(port));
    let connect = hiding(net, &key.list());
    assert_rejected(&failed(&daemon.client(), &connect), None);
    drop(connect);
    let sent = wire.join();
    assert!(shows(&sent, PUBLIC_NAME) && !shows(&sent, HIDDEN), "the hidden name was on the wire");
    let hellos = sent.windows(PUBLIC_NAME.len()).filter(|part| *part == PUBLIC_NAME.as_bytes()).count();
    assert_eq!(hellos, 2, "two ClientHellos, both with the public name");
}

#[test]
fn servers_that_never_heard_of_it_reject_it_without_a_newer_one() {
    let (daemon, key, identity) = (TestDaemon::start(), EchKey::new(1), both());
    let (near, far) = tcp_pair();
    let config = server_config(identity, BOTH_VERSIONS);
    let server = running("server", move || Peer::server(far, config).handshake());
    assert_rejected(&failed(&daemon.client(), &hiding(near, &key.list())), None);
    let _ = server.join();
    let Some(openssl) = tool("openssl") else { return };
    let (_tool, port) = s_server(&openssl, identity, &[]);
    assert_rejected(&failed(&daemon.client(), &hiding(reach(port), &key.list())), None);
}

/// The public server asks who we are: that is for the one that was meant.
#[test]
fn our_certificate_is_not_shown_to_the_public_server() {
    let (daemon, key, identity) = (TestDaemon::start(), EchKey::new(1), both());
    let provider = server_config(identity, BOTH_VERSIONS).crypto_provider().clone();
    let clients = WebPkiClientVerifier::builder_with_provider(pki().ca.roots().into(), provider.clone());
    let asking = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(BOTH_VERSIONS)
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(identity.chain(), identity.key())
        .unwrap();
    for hidden in [false, true] {
        let asking = asking.clone();
        let (near, far) = tcp_pair();
        let server = running("server", move || Peer::server(far, asking).handshake());
        let us = pki().client(KeyKind::EcdsaP256);
        let connect = Connect::new(near).name(HIDDEN).trust(Trust::ca(pki().ca.fd()));
        let connect = connect.certificate(us.certificate_fd()).key(us.key_fd());
        if hidden {
            assert_rejected(&failed(&daemon.client(), &connect.ech_config(key.list())), None);
            let error = server.join().unwrap_err();
            let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
            assert_eq!(error, Some(rustls::Error::NoCertificatesPresented));
        } else {
            open(&daemon.client(), &connect);
            server.join().unwrap();
        }
    }
}

#[test]
fn a_server_of_tls_1_2_is_no_way_around_it() {
    let (daemon, key, identity) = (TestDaemon::start(), EchKey::new(1), both());
    let (near, far) = tcp_pair();
    let config = server_config(identity, ONLY_TLS12);
    let server = running("server", move || Peer::server(far, config).handshake());
    let failed = failed(&daemon.client(), &hiding(near, &key.list()));
    assert_not_believed(&failed, Code::AlertReceived);
    assert!(server.join().is_err());
}

#[test]
fn nobody_but_the_public_server_is_believed() {
    let (daemon, old, new) = (TestDaemon::start(), EchKey::new(1), EchKey::new(2));
    // Good for the hidden name, and not for the public one; good for the public name, and of nobody we trust; too old.
    let (other, unknown) =
        (pki().server_named("ech-hidden-only", &[HIDDEN]), pki().self_signed("ech-self-signed"));
    let cases: [(&Identity, Code); 3] = [
        (&other, Code::NameMismatch),
        (&unknown, Code::UnknownIssuer),
        (&pki().expired, Code::CertificateExpired),
    ];
    for (identity, code) in cases {
        let Some(server) = SelfServ::start(identity, Some(&new), &[]) else { return };
        let (net, wire) = server.wire();
        let connect = hiding(net, &old.list());
        let failed = failed(&daemon.client(), &connect);
        drop(connect);
        assert_not_believed(&failed, code);
        assert!(failed.text.contains("does not prove to be \"public.example\""), "{failed:?}");
        assert!(!shows(&wire.join(), HIDDEN));
    }
}

#[test]
fn where_pins_stand_for_the_chain_a_pin_has_to_be_met() {
    let (daemon, old, new) = (TestDaemon::start(), EchKey::new(1), EchKey::new(2));
    let identity = pki().self_signed("ech-pinned");
    let Some(server) = SelfServ::start(&identity, Some(&new), &[]) else { return };
    let ask = |pin: Pin| {
        let connect = Connect::new(server.wire().0).server_name(HIDDEN).ech_config(old.list());
        failed(&daemon.client(), &connect.trust(Trust::Pins).pin(pin))
    };
    assert_rejected(&ask(identity.spki_pin()), Some(new.list()));
    assert_not_believed(&ask(Pin::Spki(Sha256([7; 32]))), Code::PinMismatch);
}

/// The first record.
fn record(socket: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 5];
    socket.read_exact(&mut head).unwrap();
    let mut body = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
    socket.read_exact(&mut body).unwrap();
    body
}

/// Anybody's answer to a ClientHello: another one, with a share for secp256r1; nothing of Encrypted Client Hello, which
/// rejects it. Nobody can tell who sent it.
fn retry_request(hello: &[u8]) -> Vec<u8> {
    // SHA-256 of "HelloRetryRequest" (RFC 9846 section 4.2.3).
    const RANDOM: [u8; 32] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2,
        0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ];
    // Behind type, length, version and random: the session id, which is to come back.
    let id = &hello[38..39 + usize::from(hello[38])];
    let suite = [0x13, 0x01, 0, 0, 12, 0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 23];
    let body = [&[3, 3][..], &RANDOM, id, &suite].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[22, 3, 3, 0, length + 4, 2, 0, 0, length][..], &body].concat()
}

#[test]
fn a_forged_retry_request_gets_a_second_client_hello_without_the_name() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let (near, mut far) = tcp_pair();
    let forger = running("forger", move || {
        let first = record(&mut far);
        far.write_all(&retry_request(&first)).unwrap();
        let mut rest = Vec::new();
        while !shows(&rest, PUBLIC_NAME) {
            rest.extend(record(&mut far));
        }
        [first, rest]
    });
    let failed = failed(&daemon.client(), &hiding(near, &key.list()));
    assert_not_believed(&failed, Code::ClosedByPeer);
    for hello in forger.join() {
        assert!(shows(&hello, PUBLIC_NAME) && !shows(&hello, HIDDEN));
    }
}

/// In the second ClientHello the ticket would stand in the clear, and each server could be asked whose it is.
#[test]
fn a_forged_retry_request_gets_no_ticket() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(server) = SelfServ::start(both(), Some(&key), &["-u"]) else { return };
    let caller = daemon.client();
    let resuming = |net| hiding(net, &key.list()).resume("mine");
    let session = |net: TcpStream| {
        let mut session = open(&caller, &resuming(net));
        fetch(&mut session);
        session.facts.resumed
    };
    assert!(!session(reach(server.port)) && session(reach(server.port)));
    let (near, mut far) = tcp_pair();
    let forger = running("forger", move || {
        let first = record(&mut far);
        far.write_all(&retry_request(&first)).unwrap();
        let mut rest = Vec::new();
        // An end that is an error is an end.
        let _ = far.read_to_end(&mut rest);
        (first, rest)
    });
    let connect = resuming(near);
    let failed = failed(&caller, &connect);
    drop(connect);
    assert_not_believed(&failed, Code::NoSharedParameters);
    let (first, rest) = forger.join();
    assert!(!shows(&first, HIDDEN));
    assert_eq!(rest, b"", "a second ClientHello was sent");
    assert!(!session(reach(server.port)), "the ticket is forgotten");
    assert!(session(reach(server.port)), "and there is a new one");
}

#[test]
fn a_server_that_is_cut_off_is_no_rejection() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(server) = SelfServ::start(both(), Some(&key), &[]) else { return };
    let (near, far) = tcp_pair();
    drop(far);
    assert_not_believed(&failed(&daemon.client(), &hiding(near, &key.list())), Code::ClosedByPeer);
    let (net, _wire) = wire(reach(server.port));
    assert_eq!(open(&daemon.client(), &hiding(net, &key.list())).facts.ech, Some(EchDone::Accepted));
}
