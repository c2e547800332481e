//! The daemon as client lets nobody in who is not meant: every way to be the wrong server ends in its own code, in an
//! alert that the server hears, and in what a person needs to decide about pinning.

use std::io;
use std::process::Command;

use rustls::AlertDescription;
use tlsify_client::{Alert, Code, Connect, Error, Failed, Matched, Party, Pin, Profile, Sha256, Trust};
use tlsifyd_tests::peer::{BOTH_VERSIONS, ONLY_TLS12, ONLY_TLS13, server_config};
use tlsifyd_tests::pki::{CLIENT_DNS, Identity, SERVER_NAME};
use tlsifyd_tests::{
    KeyKind, Open, Peer, Program, TempDir, TestDaemon, Typed, pki, reach, running, tcp_pair, tool,
};

/// A server with this identity meets a client that asks so. What each of them says about it.
fn meet(
    daemon: &TestDaemon,
    identity: &Identity,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    ask: impl FnOnce(Connect) -> Connect,
) -> (Result<Open, Error>, io::Result<()>) {
    let (near, far) = tcp_pair();
    let config = server_config(identity, versions);
    let server = running("server", move || Peer::server(far, config).handshake());
    let established = daemon.client().connect_tls(&ask(Connect::new(near)));
    (established.map(Open::new), server.join())
}

/// Asks for the good name from the good CA.
fn properly(connect: Connect) -> Connect {
    connect.name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()))
}

/// The same meeting must fail with both versions of TLS, and the server must hear the alert that the caller is told.
#[track_caller]
fn refused(identity: &Identity, alert: u8, ask: impl Fn(Connect) -> Connect) -> Box<Failed> {
    let daemon = TestDaemon::start();
    let [mut tls12, tls13] = [ONLY_TLS12, ONLY_TLS13].map(|versions| {
        let (result, server) = meet(&daemon, identity, versions, &ask);
        let failed = match result {
            Err(Error::Failed(failed)) => failed,
            other => panic!("{other:?}"),
        };
        assert_eq!(failed.alert, Some(Alert { description: alert, from: Party::Us }), "{failed:?}");
        let heard = server.expect_err("the server is told");
        let heard = heard.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
        assert_eq!(heard, Some(rustls::Error::AlertReceived(AlertDescription::from(alert))));
        assert_eq!(failed.spki_sha256, Some(identity.spki_sha256));
        assert_eq!(failed.certificate_sha256, Some(identity.certificate_sha256));
        failed
    });
    assert_eq!((tls12.code, tls12.text.as_str()), (tls13.code, tls13.text.as_str()));
    let chain = tls12.chain.take().expect("the chain that was refused comes back");
    assert_eq!(unwrapped(&tlsifyd_tests::door::text_of(chain)), unwrapped(&identity.certificate_pem));
    tls13
}

/// PEM without its line ends, which writers choose.
fn unwrapped(pem: &str) -> String {
    pem.lines().collect()
}

#[track_caller]
fn let_in(identity: &Identity, ask: impl FnOnce(Connect) -> Connect) -> Vec<Matched> {
    let (open, server) = meet(&TestDaemon::start(), identity, BOTH_VERSIONS, ask);
    let open = open.unwrap_or_else(|error| panic!("{error}"));
    server.expect("the server is content");
    open.facts.matched
}

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

const NO_PIN: Pin = Pin::Spki(Sha256([7; 32]));

#[test]
fn a_certificate_for_another_name_is_not_taken() {
    let failed = refused(&pki().wrong_name, 42, properly);
    assert_eq!(failed.code, Code::NameMismatch);
    assert!(
        failed.text.contains("\"server.example\"") && failed.text.contains("other.example"),
        "{failed:?}"
    );
}

#[test]
fn a_common_name_is_no_name() {
    let failed = refused(&pki().server_named("cn-only", &[]), 42, properly);
    assert_eq!(failed.code, Code::NameMismatch);
    assert!(failed.text.contains("only a common name, \"server.example\""), "{failed:?}");
}

#[test]
fn dates_count_on_both_sides() {
    assert_eq!(refused(&pki().expired, 45, properly).code, Code::CertificateExpired);
    assert_eq!(refused(&pki().not_yet_valid, 45, properly).code, Code::CertificateNotYetValid);
}

#[test]
fn who_vouches_must_be_trusted() {
    assert_eq!(refused(&pki().wrong_ca, 48, properly).code, Code::UnknownIssuer);
    assert_eq!(refused(&pki().self_signed("self-signed"), 48, properly).code, Code::UnknownIssuer);
}

#[test]
fn a_clients_certificate_makes_no_server() {
    let failed = refused(pki().client(KeyKind::EcdsaP256), 43, |connect| {
        connect.name(CLIENT_DNS).trust(Trust::ca(pki().ca.fd()))
    });
    assert_eq!(failed.code, Code::CertificatePurpose);
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let identity = pki().server_named("wildcard", &["*.shop.example"]);
    let ask = |name: &'static str| move |connect: Connect| connect.name(name).trust(Trust::ca(pki().ca.fd()));
    let_in(&identity, ask("a.shop.example"));
    for name in ["shop.example", "a.b.shop.example", "ashop.example"] {
        assert_eq!(refused(&identity, 42, ask(name)).code, Code::NameMismatch, "{name}");
    }
}

#[test]
fn an_address_must_be_in_the_certificate_as_an_address() {
    let ask = |name: &'static str| move |connect: Connect| connect.name(name).trust(Trust::ca(pki().ca.fd()));
    let matched = let_in(good(), ask("127.0.0.1"));
    assert_eq!(matched, [Matched::Name("127.0.0.1".into())]);
    let_in(good(), ask("::1"));
    assert_eq!(refused(good(), 42, ask("127.0.0.2")).code, Code::NameMismatch);
    let as_name = pki().server_named("wrong-name-only", &["server.example"]);
    assert_eq!(refused(&as_name, 42, ask("127.0.0.1")).code, Code::NameMismatch);
}

#[test]
fn one_of_several_names_is_enough_and_is_told() {
    let matched = let_in(good(), |connect| properly(connect.name("elsewhere.example")));
    assert_eq!(matched, [Matched::Name(SERVER_NAME.into())]);
}

#[test]
fn a_name_is_compared_and_told_in_lower_case() {
    let matched = let_in(good(), |connect| connect.name("Server.Example").trust(Trust::ca(pki().ca.fd())));
    assert_eq!(matched, [Matched::Name(SERVER_NAME.into())]);
}

#[test]
fn a_pin_beside_the_chain_replaces_nothing() {
    let pinned = |pin: Pin| move |connect: Connect| properly(connect).pin(pin);
    let matched = let_in(good(), |connect| pinned(good().spki_pin())(connect).pin(NO_PIN));
    assert_eq!(matched, [Matched::Name(SERVER_NAME.into()), Matched::Pin(good().spki_pin())]);
    assert_eq!(refused(good(), 46, pinned(NO_PIN)).code, Code::PinMismatch);
    let wrong_ca = &pki().wrong_ca;
    assert_eq!(refused(wrong_ca, 48, pinned(wrong_ca.spki_pin())).code, Code::UnknownIssuer);
    let expired = &pki().expired;
    assert_eq!(refused(expired, 45, pinned(expired.certificate_pin())).code, Code::CertificateExpired);
}

#[test]
fn a_pin_instead_of_the_chain_is_exactly_that_certificate_or_key() {
    let alone = |pin: Pin| move |connect: Connect| connect.trust(Trust::Pins).pin(pin);
    let (ours, other) = (pki().self_signed("pinned"), pki().self_signed("not-pinned"));
    assert_eq!(let_in(&ours, alone(ours.spki_pin())), [Matched::Pin(ours.spki_pin())]);
    assert_eq!(let_in(&ours, alone(ours.certificate_pin())), [Matched::Pin(ours.certificate_pin())]);
    assert_eq!(refused(&other, 46, alone(ours.spki_pin())).code, Code::PinMismatch);
    // A hash of the one kind is none of the other.
    assert_eq!(refused(&ours, 46, alone(Pin::Spki(ours.certificate_sha256))).code, Code::PinMismatch);
    // A name that was asked for is checked all the same.
    let named = |connect: Connect| alone(ours.spki_pin())(connect).name("elsewhere.example");
    assert_eq!(refused(&ours, 42, named).code, Code::NameMismatch);
}

#[test]
fn what_a_refusal_tells_is_what_a_person_needs_to_pin() {
    let server = pki().self_signed("to-be-pinned");
    let failed = refused(&server, 48, properly);
    assert!(failed.text.contains("spki-sha256"), "{failed:?}");
    let pin = Pin::Spki(failed.spki_sha256.expect("it is told"));
    let_in(&server, |connect| connect.name(SERVER_NAME).trust(Trust::Pins).pin(pin));
}

#[test]
fn what_openssl_makes_in_one_line_can_be_looked_at_and_pinned() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = TempDir::new("one-line");
    let mut command = Command::new(&openssl);
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    command.args(["-keyout", "key", "-out", "crt", "-subj", "/CN=server.example"]);
    command.args(["-addext", "subjectAltName=DNS:server.example"]);
    Program::run(command.current_dir(dir.path())).ok();
    let daemon = TestDaemon::start();
    let serve = || {
        let mut command = Command::new(&openssl);
        command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert", "crt", "-key", "key"]);
        let mut tool = Typed::start(command.current_dir(dir.path()));
        let line = tool.program.line_with("ACCEPT 127.0.0.1:");
        let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says its port");
        (tool, Connect::new(reach(port)).name(SERVER_NAME))
    };
    let (_tool, connect) = serve();
    let error = daemon.client().connect_tls(&connect.trust(Trust::ca(pki().ca.fd()))).unwrap_err();
    let Error::Failed(failed) = error else { panic!("{error}") };
    // It is an authority's certificate: nobody's server, whoever vouches for it.
    assert_eq!(failed.code, Code::BadCertificate, "{failed:?}");
    assert!(failed.text.contains("pin it to trust it"), "{failed:?}");
    let (_tool, connect) = serve();
    let pin = Pin::Spki(failed.spki_sha256.expect("it is told"));
    daemon.client().connect_tls(&connect.trust(Trust::Pins).pin(pin)).unwrap();
}

#[test]
fn nothing_to_check_against_is_no_request() {
    let (daemon, near) = (TestDaemon::start(), tcp_pair().0);
    let client = daemon.client();
    client.define(&Profile::client("anybody").trust(Trust::ca(pki().ca.fd()))).unwrap();
    let error = client.connect_tls(&Connect::new(near).profile("anybody")).unwrap_err();
    assert_eq!(error.code(), Some(Code::MissingKey), "{error}");
}
