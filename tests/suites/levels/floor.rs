//! The operator's level: every way of asking is bound by it, and the file itself is.

use std::process::Command;

use tlsify_client::{Accept, Code, Connect, Level, Trust, Version};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::{client_peer, open_as};
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{
    Open, Peer, Program, RawCaller, TempDir, TestDaemon, Tlsify, built, pki, running, tcp_pair,
};

use super::{client_with, failed, good, refused, server};

const MODERN: &str = "[tls]\nlevel = \"modern\"\n";

/// The good certificate as a profile of the operator's, with these lines.
fn profile(lines: &str) -> String {
    let who = format!("users = [\"*\"]\n{lines}");
    server_profile("mail", &who, &good().certificate_file, &good().key_file)
}

#[test]
fn the_floor_is_in_the_greeting() {
    for (config, floor, level) in [
        ("", "1.2", None),
        ("[tls]\nlevel = \"intermediate\"\n", "1.2", Some("intermediate")),
        ("[tls]\nlevel = \"intermediate\"\nminimum = \"1.3\"\n", "1.3", Some("intermediate")),
        (MODERN, "1.3", Some("modern")),
        ("[tls]\nlevel = \"post-quantum-required\"\n", "1.3", Some("post-quantum-required")),
    ] {
        let daemon = TestDaemon::with_config(config);
        let hello = RawCaller::connect_unheard(daemon.socket()).answer();
        assert_eq!((hello.get("floor"), hello.get("level")), (Some(floor), level), "{}", hello.text);
        assert_eq!(daemon.client().hello().level.map(Level::as_str), level);
    }
}

#[test]
fn who_says_nothing_gets_the_hosts_level() {
    let daemon = TestDaemon::with_config(format!("{MODERN}{}", profile("")));
    let caller = daemon.client();
    caller.define(&server("mine")).unwrap();
    for name in ["mine", "mail"] {
        let (ours, net) = tcp_pair();
        let old = client_with(&[rustls::crypto::aws_lc_rs::kx_group::X25519], ONLY_TLS12);
        let peer = running("client", move || Peer::client(ours, old, SERVER_NAME).handshake());
        let result = caller.accept(&Accept::new(net).profile(name)).map(Open::new);
        assert_eq!(failed(result), (Code::NoSharedVersion, 70), "{name}");
        assert!(peer.join().is_err());
        let open = open_as(&caller, name);
        assert_eq!(open.established.facts.level, Some(Level::PostQuantumRequired), "{name}");
    }
}

#[test]
fn the_library_asks_for_less_in_vain() {
    let daemon = TestDaemon::with_config(MODERN);
    let caller = daemon.client();
    let request = || Connect::new(tcp_pair().0).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    for (connect, key) in [
        (request().level(Level::Intermediate), "level"),
        (request().min_version(Version::Tls12), "min"),
        (request().max_version(Version::Tls12), "max"),
        (request().ciphers(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]), "ciphers"),
        (request().groups(["x25519", "MLKEM1024"]), "groups"),
        (request().signature_schemes(["ed25519", "rsa_pkcs1_sha256"]), "signature-schemes"),
    ] {
        assert_eq!(refused(caller.connect_tls(&connect)), (Code::BelowFloor, key.to_owned()));
    }
    assert_eq!(refused(caller.define(&server("me").level(Level::Intermediate))).0, Code::BelowFloor);
    caller.define(&server("me").level(Level::PostQuantumRequired)).unwrap();
    assert_eq!(open_as(&caller, "me").established.facts.level, Some(Level::PostQuantumRequired));
}

#[test]
fn the_command_asks_for_less_in_vain() {
    let daemon = TestDaemon::with_config(MODERN);
    for (option, value) in [("--level", "intermediate"), ("--min", "1.2"), ("--max", "1.2")] {
        let (_ours, net) = tcp_pair();
        Tlsify::connect(&daemon, net).option(option, value).run().saying(97, "below this host's");
        let (_ours, net) = tcp_pair();
        Tlsify::accept(&daemon, net).option(option, value).run().saying(97, "below this host's");
    }
    let (ours, net) = tcp_pair();
    let command = Tlsify::accept(&daemon, net).option("--level", "post-quantum-required");
    let mut command = command.events().shell("true").start();
    let mut peer = client_peer(ours);
    command.shakes(&mut peer);
    peer.close_notify().unwrap();
    let done = command.wait();
    assert!(done.events.contains("\nlevel=post-quantum-required\n"), "{done:?}");
}

#[test]
fn packets_as_they_are_ask_for_less_in_vain() {
    let daemon = TestDaemon::with_config("[tls]\nlevel = \"post-quantum-required\"\n");
    let caller = RawCaller::connect(daemon.socket());
    let (_ours, net) = tcp_pair();
    for (key, value) in [
        ("level", "modern"),
        ("level", "intermediate"),
        ("min", "1.2"),
        ("?max", "1.2"),
        ("groups", "X25519MLKEM768 x25519"),
        ("groups", "secp384r1"),
    ] {
        let text = format!("tlsify/1 connect\nid=1\nfds=net\nname=a.example\n{key}={value}\n");
        caller.ask(text, &[&net]).assert_refused("below-floor", Some(key.trim_start_matches('?')));
        let text = format!("tlsify/1 define\nid=1\nprofile=p\nrole=client\n{key}={value}\n");
        caller.ask(text, &[]).assert_refused("below-floor", Some(key.trim_start_matches('?')));
    }
}

#[test]
fn a_profile_of_the_operators_below_the_floor_is_an_error_with_its_line() {
    let dir = TempDir::new("floor");
    let file = dir.path().join("tlsifyd.toml");
    let check = || {
        let mut command = Command::new(built::daemon());
        Program::run(command.env_clear().arg("check").arg("--config").arg(&file))
    };
    for (lines, line, words) in [
        ("level = \"intermediate\"", 7, "level \"intermediate\" is below the host's, which is \"modern\""),
        ("minimum = \"1.2\"", 7, "minimum 1.2 is below the host's floor 1.3"),
        (
            "key-exchange-groups = [\"MLKEM768\"]",
            4,
            "MLKEM768 is not of level modern, which this host demands",
        ),
        (
            "ciphers = [\"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\"]",
            4,
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 is not of level modern, which this host demands",
        ),
    ] {
        std::fs::write(&file, format!("{MODERN}{}", profile(lines))).unwrap();
        let output = check();
        let wanted = format!("{}:{line}: profile \"mail\": {words}", file.display());
        assert_eq!(output.status.code(), Some(96), "{output:?}");
        assert!(output.stderr.contains(&wanted), "not {wanted} but {}", output.stderr);
    }
    std::fs::write(&file, "[tls]\nlevel = \"modern\"\nminimum = \"1.2\"\n").unwrap();
    let output = check();
    let wanted =
        format!("{}:3: minimum 1.2 is below level \"modern\", which begins with 1.3", file.display());
    assert!(output.stderr.contains(&wanted), "{output:?}");
    std::fs::write(&file, format!("{MODERN}{}", profile("level = \"post-quantum-required\""))).unwrap();
    let said = check().ok();
    assert!(said.contains("no session below TLS 1.3\nno session below level modern\n"), "{said}");
}

#[test]
fn an_operators_profile_may_be_above_the_floor() {
    let daemon = TestDaemon::with_config(profile("level = \"post-quantum-required\""));
    let caller = daemon.client();
    let (ours, net) = tcp_pair();
    let classical = client_with(&[rustls::crypto::aws_lc_rs::kx_group::X25519], ONLY_TLS13);
    let peer = running("client", move || Peer::client(ours, classical, SERVER_NAME).handshake());
    let result = caller.accept(&Accept::new(net).profile("mail")).map(Open::new);
    assert_eq!(failed(result), (Code::NoSharedParameters, 40));
    assert!(peer.join().is_err());
    assert_eq!(open_as(&caller, "mail").established.facts.level, Some(Level::PostQuantumRequired));
}
