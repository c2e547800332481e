//! Each level against peers that have it and peers that do not, in both roles.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group::{MLKEM768, SECP256R1, SECP256R1MLKEM768, X25519, X25519MLKEM768};
use tlsify_client::{Accept, Client, Code, Connect, Error, Level, Trust};
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{
    Door, Open, Peer, RawCaller, TestDaemon, TicketServer, packets, pki, reach, running, tcp_pair, tool,
};

use super::{Versions, client_with, failed, good, refused, server, server_with};

type Groups = &'static [&'static dyn SupportedKxGroup];

/// The daemon as the server of a level meets a client that has this.
fn accept(caller: &Client, level: Level, groups: Groups, versions: Versions) -> Result<Open, Error> {
    caller.define(&server("me").level(level)).unwrap();
    let (ours, net) = tcp_pair();
    let config = client_with(groups, versions);
    let peer = running("client", move || Peer::client(ours, config, SERVER_NAME).handshake());
    let open = caller.accept(&Accept::new(net).profile("me")).map(Open::new);
    let _ = peer.join();
    open
}

/// The daemon as the client of a level meets a server that has this.
fn connect(caller: &Client, level: Level, groups: Groups, versions: Versions) -> Result<Open, Error> {
    let (net, theirs) = tcp_pair();
    let config = server_with(groups, versions);
    let peer = running("server", move || Peer::server(theirs, config).handshake());
    let request = Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).level(level);
    let open = caller.connect_tls(&request).map(Open::new);
    let _ = peer.join();
    open
}

const HYBRID: Groups = &[X25519MLKEM768];
const OTHER_HYBRID: Groups = &[SECP256R1MLKEM768];
const CLASSICAL: Groups = &[X25519, SECP256R1];
const BARE: Groups = &[MLKEM768];

#[test]
fn what_was_reached_is_told_whatever_was_asked_for() {
    let daemon = TestDaemon::start();
    let caller = daemon.client();
    use Level::{Intermediate, Modern, PostQuantumRequired};
    for (asked, groups, versions, reached) in [
        (Intermediate, CLASSICAL, ONLY_TLS12, Intermediate),
        (Intermediate, CLASSICAL, ONLY_TLS13, Modern),
        (Intermediate, HYBRID, ONLY_TLS13, PostQuantumRequired),
        (Modern, CLASSICAL, ONLY_TLS13, Modern),
        (Modern, HYBRID, ONLY_TLS13, PostQuantumRequired),
        (PostQuantumRequired, HYBRID, ONLY_TLS13, PostQuantumRequired),
        (PostQuantumRequired, OTHER_HYBRID, ONLY_TLS13, PostQuantumRequired),
    ] {
        for open in [accept(&caller, asked, groups, versions), connect(&caller, asked, groups, versions)] {
            let facts = open.unwrap_or_else(|error| panic!("{asked} {groups:?}: {error}")).facts;
            assert_eq!(facts.level, Some(reached), "{asked} {groups:?}");
        }
    }
}

#[test]
fn a_peer_below_the_level_is_refused_in_both_roles() {
    let daemon = TestDaemon::start();
    let caller = daemon.client();
    use Level::{Intermediate, Modern, PostQuantumRequired};
    for (level, groups, versions, code, alert) in [
        (Modern, CLASSICAL, ONLY_TLS12, Code::NoSharedVersion, 70),
        (PostQuantumRequired, CLASSICAL, ONLY_TLS12, Code::NoSharedVersion, 70),
        (PostQuantumRequired, CLASSICAL, ONLY_TLS13, Code::NoSharedParameters, 40),
        // Not a hybrid, and of no level: nothing stands behind it if it breaks.
        (PostQuantumRequired, BARE, ONLY_TLS13, Code::NoSharedParameters, 40),
        (Intermediate, BARE, ONLY_TLS13, Code::NoSharedParameters, 40),
    ] {
        assert_eq!(failed(accept(&caller, level, groups, versions)), (code, alert), "{level} {groups:?}");
        // The server is who finds out, and says the same alert.
        let told = failed(connect(&caller, level, groups, versions));
        assert_eq!(told, (Code::AlertReceived, alert), "{level} {groups:?}");
    }
}

#[test]
fn a_client_without_hybrid_groups_is_refused_where_they_are_required() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let caller = daemon.client();
    for (level, options, code, alert) in [
        (Level::PostQuantumRequired, vec!["-tls1_3"], Code::NoSharedParameters, 40),
        (Level::Modern, vec!["-tls1_2"], Code::NoSharedVersion, 70),
        (Level::Intermediate, vec!["-tls1_2", "-cipher", "AES128-SHA"], Code::NoSharedParameters, 40),
    ] {
        caller.define(&server("me").level(level)).unwrap();
        let door = Door::open();
        let mut tool = s_client(&openssl, door.port(), &options);
        let result = caller.accept(&Accept::new(door.next()).profile("me")).map(Open::new);
        assert_eq!(failed(result), (code, alert), "{level} {options:?}");
        tool.program.line_with(&format!("SSL alert number {alert}"));
    }
    for (level, options, reached) in [
        (Level::Modern, vec!["-tls1_3"], Level::Modern),
        (Level::Intermediate, vec!["-tls1_2"], Level::Intermediate),
    ] {
        caller.define(&server("me").level(level)).unwrap();
        let door = Door::open();
        let _tool = s_client(&openssl, door.port(), &options);
        let open = caller.accept(&Accept::new(door.next()).profile("me")).map(Open::new).unwrap();
        assert_eq!(open.facts.level, Some(reached));
    }
}

#[test]
fn a_server_without_hybrid_groups_is_left_where_they_are_required() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let meet = |level, options: &[&str]| {
        let (tool, port) = s_server(&openssl, good(), options);
        let connect = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
        (daemon.client().connect_tls(&connect.level(level)).map(Open::new), tool)
    };
    let (result, _tool) = meet(Level::PostQuantumRequired, &["-tls1_3"]);
    assert_eq!(failed(result), (Code::AlertReceived, 40), "the server says that it has no group");
    let (result, _tool) = meet(Level::Modern, &["-tls1_2"]);
    assert_eq!(failed(result), (Code::AlertReceived, 70));
    let (result, _tool) = meet(Level::Modern, &["-tls1_3"]);
    assert_eq!(result.unwrap().facts.level, Some(Level::Modern));
    let (result, _tool) = meet(Level::Intermediate, &["-tls1_2"]);
    assert_eq!(result.unwrap().facts.level, Some(Level::Intermediate));
}

#[test]
fn keys_beside_a_level_narrow_it_and_never_widen_it() {
    let daemon = TestDaemon::start();
    let caller = daemon.client();
    use tlsify_client::Version::{Tls12, Tls13};
    let modern = || server("me").level(Level::Modern);
    for (profile, key) in [
        (modern().min_version(Tls12), "min"),
        (modern().max_version(Tls12), "max"),
        (modern().ciphers(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]), "ciphers"),
        (modern().groups(["x25519", "MLKEM768"]), "groups"),
        (modern().signature_schemes(["rsa_pkcs1_sha256"]), "signature-schemes"),
        (server("me").level(Level::PostQuantumRequired).groups(["x25519"]), "groups"),
    ] {
        assert_eq!(refused(caller.define(&profile)), (Code::KeyConflict, key.to_owned()));
    }
    let narrow = server("me").level(Level::Intermediate).min_version(Tls13).groups(["x25519"]);
    caller.define(&narrow).unwrap();
    let (ours, net) = tcp_pair();
    let peer = running("client", move || {
        Peer::client(ours, client_with(&[X25519MLKEM768, X25519], ONLY_TLS13), SERVER_NAME).handshake()
    });
    let open = Open::new(caller.accept(&Accept::new(net).profile("me")).unwrap());
    assert_eq!((open.facts.group.as_deref(), open.facts.level), (Some("x25519"), Some(Level::Modern)));
    peer.join().unwrap();
}

#[test]
fn a_ticket_of_one_level_opens_no_session_of_another() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = TicketServer::new(good(), ONLY_TLS13);
    let resumed = |lines: &str| {
        let ca = pki().ca.fd();
        let lines = format!("{}resume=mine\n{lines}", packets::usual());
        let mut told = packets::connect(&caller, 1, &lines, &[("ca", &ca)], &server.config);
        assert!(told.handshake.is_ok(), "{}", told.answer.text);
        told.hear();
        let established = told.end(&caller);
        assert_eq!(established.get("level"), Some("post-quantum-required"), "{}", established.text);
        established.get("resumed") == Some("yes")
    };
    let (modern, required) = ("level=modern\n", "level=post-quantum-required\n");
    assert!(!resumed(modern));
    assert!(!resumed(required), "a ticket of the lower level");
    assert!(resumed(required) && resumed(modern), "each has its own");
}
