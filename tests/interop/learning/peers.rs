//! Whom one can meet for the first time: good servers and bad ones, what an ordinary request would have made of each, and
//! those from whom nothing is learned.

use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use tlsify_client::{AlpnMismatch, Client, Code, Connect, Error, Pin, Profile, Scope, Sha256, Trust, Would};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config, tcp_pair};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{KeyKind, Options, Running, TestDaemon, exclusive, pki, running};

use super::{VERSIONS, counted, learned, look, nothing_learned, properly, told};

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

#[test]
fn each_peer_is_learned_with_what_would_have_come_of_it_and_a_pin_of_it_holds() {
    counted(|daemon| {
        let self_signed = pki().self_signed("first-contact");
        let only_common_name = pki().server_named("first-contact-cn", &[]);
        let no: [(&Identity, Code); 7] = [
            (&pki().wrong_ca, Code::UnknownIssuer),
            (&self_signed, Code::UnknownIssuer),
            (&pki().expired, Code::CertificateExpired),
            (&pki().not_yet_valid, Code::CertificateNotYetValid),
            (&pki().wrong_name, Code::NameMismatch),
            (&only_common_name, Code::NameMismatch),
            (pki().client(KeyKind::EcdsaP256), Code::CertificatePurpose),
        ];
        for (identity, code) in no {
            let learned = learned(daemon, identity, properly);
            // It is no guess: who asks for a session is told just that.
            let (near, far) = tcp_pair();
            let server = serve(far, identity);
            let error = daemon.client().connect_tls(&properly(Connect::new(near))).unwrap_err();
            assert_eq!(error.code(), Some(code), "{error}");
            assert!(server.join().is_err());
            assert_eq!(learned.would, Would::Failed(code), "{:?}", learned.notes);
            assert!(learned.notes[2].contains("does not pass: "), "{:?}", learned.notes);
        }
        for kind in KeyKind::ALL {
            let learned = learned(daemon, pki().server(kind), properly);
            assert_eq!(learned.would, Would::Established, "{kind:?} {:?}", learned.notes);
        }
    });
}

#[test]
fn a_person_is_told_what_there_is_to_know() {
    let _alone = exclusive();
    let learned = learned(&TestDaemon::start(), &pki().wrong_ca, properly);
    let [who, issued, checked, compare] = &learned.notes[..] else { panic!("{:?}", learned.notes) };
    let names = "it names server.example, localhost, 127.0.0.1, ::1";
    assert_eq!(*who, format!("the peer has shown a certificate and proved its key: {names}"));
    assert!(
        issued.starts_with("it was issued by \"CN=tlsifyd tests other CA\", and is valid from "),
        "{issued}"
    );
    let given =
        "checked against the authorities that were given, it does not pass: peer's certificate is not issued";
    assert!(checked.starts_with(given), "{checked}");
    assert!(compare.contains("somebody in between") && compare.contains("by another way"), "{compare}");
}

#[test]
fn a_pin_that_is_there_already_is_judged_and_replaced_by_nobody() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let ours = pki().self_signed("judged");
    let pinned = |pin: Pin| move |connect: Connect| connect.trust(Trust::Pins).pin(pin);
    assert_eq!(learned(&daemon, &ours, pinned(ours.spki_pin())).would, Would::Established);
    let other = learned(&daemon, &ours, pinned(Pin::Spki(Sha256([7; 32]))));
    assert_eq!(other.would, Would::Failed(Code::PinMismatch));
}

#[test]
fn a_profile_says_as_much_as_a_request_and_opens_as_little() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let client = daemon.client();
    client.define(&Profile::client("db").trust(Trust::ca(pki().ca.fd()))).unwrap();
    for (identity, would) in
        [(good(), Would::Established), (&pki().wrong_ca, Would::Failed(Code::UnknownIssuer))]
    {
        let (near, far) = tcp_pair();
        let server = serve(far, identity);
        let learned = client.learn(&Connect::new(near).profile("db").name(SERVER_NAME)).unwrap();
        assert_eq!((learned.spki_sha256, learned.would), (identity.spki_sha256, would));
        assert!(server.join().is_err());
    }
}

fn serve(far: TcpStream, identity: &Identity) -> Running<std::io::Result<()>> {
    let config = server_config(identity, BOTH_VERSIONS);
    running("server", move || tlsifyd_tests::Peer::server(far, config).handshake())
}

#[test]
fn a_host_without_authorities_can_still_meet_somebody() {
    let _alone = exclusive();
    let env = vec![
        ("SSL_CERT_FILE".to_owned(), "/nonexistent/pool.pem".to_owned()),
        ("SSL_CERT_DIR".to_owned(), "/nonexistent/pool".to_owned()),
    ];
    let daemon = TestDaemon::with(Options { env, ..Options::default() });
    let learned = learned(&daemon, good(), |connect| connect.name(SERVER_NAME));
    assert_eq!(learned.would, Would::Failed(Code::TrustUnusable));
    // An ordinary request is what it was.
    let error = daemon.client().connect_tls(&Connect::new(tcp_pair().0).name(SERVER_NAME)).unwrap_err();
    assert!(matches!(&error, Error::Refused(refused) if refused.code == Code::TrustUnusable), "{error}");
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_none() {
    counted(|daemon| {
        let roots = Arc::new(pki().ca.roots());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let ours = pki().client(KeyKind::EcdsaP256);
        for versions in VERSIONS {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider.clone());
            let config = rustls::ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(versions)
                .unwrap()
                .with_client_cert_verifier(verifier.build().unwrap())
                .with_single_cert(good().chain(), good().key())
                .unwrap();
            let (result, server) = look(daemon, config, |connect| {
                properly(connect).certificate(ours.certificate_fd()).key(ours.key_fd())
            });
            assert_eq!(result.unwrap().spki_sha256, good().spki_sha256);
            server.nothing();
        }
    });
}

#[test]
fn somebody_elses_certificate_is_no_pin() {
    counted(|daemon| {
        let key = pki().self_signed("thief").key();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        for versions in VERSIONS {
            let mut config = server_config(good(), versions);
            let stolen = CertifiedKey::new(good().chain(), Arc::clone(&key));
            config.cert_resolver = Arc::new(SingleCertAndKey::from(stolen));
            let (result, server) = look(daemon, config, properly);
            let failed = nothing_learned(result, Code::KeyUnproven);
            told(&failed, 51);
            assert!(failed.text.starts_with("the peer has not proved that it has the key"), "{failed:?}");
            assert!(server.handshake.is_err());
        }
    });
}

#[test]
fn application_protocols_count_where_they_would_have() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let asks = |connect: Connect| properly(connect).alpn(["h2"]).alpn_mismatch(AlpnMismatch::Refuse);
    for versions in VERSIONS {
        let would = |protocols: &[&str]| {
            let mut config = server_config(good(), versions);
            config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
            look(&daemon, config, asks).0.unwrap().would
        };
        assert_eq!(would(&["h2", "http/1.1"]), Would::Established);
        assert_eq!(would(&[]), Would::Failed(Code::NoSharedAlpn));
    }
}

#[test]
fn nothing_of_a_visit_is_remembered() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    for versions in VERSIONS {
        // rustls' servers give tickets unless told otherwise.
        look(&daemon, server_config(good(), versions), properly).0.unwrap();
    }
    assert_eq!(daemon.client().stores(Scope::Own).unwrap(), "");
    let status = daemon.client().status(Scope::Own, false).unwrap();
    assert_eq!((status.sessions, status.handshakes), (0, 0));
}

/// Meets a peer that does something else than TLS.
fn meet(
    client: &Client,
    act: impl FnOnce(TcpStream) + Send + 'static,
) -> Result<tlsify_client::Learned, Error> {
    let (near, far) = tcp_pair();
    let peer = running("peer", move || act(far));
    let learned = client.learn(&properly(Connect::new(near)).handshake_timeout(Duration::from_millis(300)));
    peer.join();
    learned
}

#[test]
fn who_does_not_speak_tls_or_not_at_all_is_nobody_to_pin() {
    counted(|daemon| {
        let client = daemon.client();
        let plain = |mut far: TcpStream| far.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        nothing_learned(meet(&client, plain), Code::NotTls);
        let leaving = |mut far: TcpStream| {
            far.shutdown(Shutdown::Write).unwrap();
            // What is not read when a socket is closed makes a reset of it.
            let _ = std::io::copy(&mut far, &mut std::io::sink());
        };
        nothing_learned(meet(&client, leaving), Code::ClosedByPeer);
        let silent = |far: TcpStream| {
            // Until it is given up.
            let mut far = far;
            let _ = std::io::copy(&mut far, &mut std::io::sink());
        };
        nothing_learned(meet(&client, silent), Code::HandshakeTimeout);
        let nobody = {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        let to = properly(Connect::to(nobody.to_string()).unwrap());
        nothing_learned(client.learn(&to), Code::ConnectionRefused);
    });
}
