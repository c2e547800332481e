//! `-- PROGRAM`: which descriptors it gets and which not, what it is told of the session, and whose its status is.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use tlsifyd_tests::command::listed;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::peer::{BOTH_VERSIONS, ONLY_TLS12, client_config, server_config};
use tlsifyd_tests::pki::{CLIENT_DNS, Identity, SERVER_NAME};
use tlsifyd_tests::{
    Done, End, KeyKind, Peer, Process, TempDir, TestDaemon, Tlsify, built, handover, pki, tcp_pair,
};

use super::{accept, connect};

/// What the program says to the peer, up to its end, and how the command ended.
fn heard(mut process: Process, mut peer: Peer) -> (String, Done) {
    process.shakes(&mut peer);
    let (said, end) = peer.read_to_end().unwrap();
    assert_eq!(end, End::CloseNotify);
    (String::from_utf8(said).unwrap(), process.wait())
}

/// Its environment, as `env` prints it to the peer.
fn environment(call: Tlsify, peer: Peer) -> BTreeMap<String, String> {
    let (said, done) = heard(call.program(["env"]).start(), peer);
    done.clean();
    let pairs = said.lines().filter_map(|line| line.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn it_talks_to_the_peer_on_its_standard_input_and_output() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for (call, mut peer) in [connect(&daemon), accept(&daemon)] {
        let mut process = call.program(["cat"]).start();
        process.shakes(&mut peer);
        let much: Vec<u8> = (0..300_001).map(|at| (at % 251) as u8).collect();
        assert!(peer.both_ways(&much, much.len()).unwrap() == much);
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        process.wait().clean();
        daemon.settled_fds(&baseline);
    }
}

#[test]
fn with_ucspi_it_talks_on_6_and_7_and_keeps_its_own_input_and_output() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (stdin, mut to) = std::io::pipe().unwrap();
    to.write_all(b"from the caller\n").unwrap();
    let call = call.word("--ucspi").stdin(stdin);
    let script = "read line; echo \"$line\" >&7; read answer <&6; echo \"$answer\"";
    let mut process = call.shell(script).start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_exact(16).unwrap(), b"from the caller\n");
    peer.write_all(b"from the peer\n").unwrap();
    assert_eq!(process.wait().clean().stdout, "from the peer\n");
}

#[test]
fn it_holds_the_plaintext_and_nothing_else_of_ours() {
    let daemon = TestDaemon::start();
    let (call, peer) = accept(&daemon);
    let (said, done) = heard(call.program(["ls", "-l", "/proc/self/fd"]).start(), peer);
    let held = listed(&said);
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{said}");
    assert!(held[&0] == held[&1] && held[&0].starts_with("socket:"), "{said}");
    done.clean();

    // Here nobody reads the standard output.
    let (call, peer) = connect(&daemon);
    let (said, done) = heard(call.word("--ucspi").shell("ls -l /proc/self/fd >&7").start(), peer);
    let held = listed(&said);
    assert_eq!(held.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 6, 7], "{said}");
    assert!(held[&6] == held[&7] && held[&6].starts_with("socket:") && held[&0] == "/dev/null", "{said}");
    done.clean();
}

#[test]
fn events_are_the_commands_to_write_and_not_the_programs() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = accept(&daemon);
    let mut process = call.events().program(["ls", "-l", "/proc/self/fd"]).start();
    process.shakes(&mut peer);
    let (said, end) = peer.read_to_end().unwrap();
    assert_eq!(end, End::CloseNotify);
    let said = String::from_utf8(said).unwrap();
    assert_eq!(listed(&said).keys().copied().collect::<Vec<_>>(), [0, 1, 2], "{said}");
    peer.half_close().unwrap();
    process.wait().clean();
}

#[test]
fn a_server_of_inetd_has_the_socket_at_0_and_its_program_the_plaintext() {
    let daemon = TestDaemon::start();
    for script in ["exec 0<&5 5<&-", "exec 0<&5 1>&5 5<&-", "exec 0<&5 1>&5 2>&5 5<&-"] {
        let (ours, theirs) = tcp_pair();
        let server = pki().server(KeyKind::EcdsaP256);
        let call = Tlsify::new(["accept"]).net(theirs).asking(&daemon).script(script);
        let call = call.option("--cert", &server.certificate_file).option("--key", &server.key_file);
        let mut peer = handover::client_peer(ours);
        // Sent when the handshake is done.
        peer.tls.writer().write_all(b"hello\n").unwrap();
        // What a program complains about is nothing for the network, and never past TLS.
        let call = call.shell("echo complaint >&2; read line; echo \"you: $line\"");
        let (said, done) = heard(call.start(), peer);
        assert_eq!(said, "you: hello\n", "{script}");
        assert_eq!(done.status.code(), Some(0), "{script}: {done:?}");
    }
}

#[test]
fn with_ucspi_in_a_server_of_inetd_no_number_is_the_socket() {
    let daemon = TestDaemon::start();
    let (ours, theirs) = tcp_pair();
    let server = pki().server(KeyKind::EcdsaP256);
    let call = Tlsify::new(["accept", "--ucspi"]).net(theirs).asking(&daemon);
    let call = call.script("exec 0<&5 1>&5 2>&5 5<&-");
    let call = call.option("--cert", &server.certificate_file).option("--key", &server.key_file);
    let call = call.shell("for fd in 0 1 2 6 7; do echo $fd $(readlink /proc/$$/fd/$fd) >&7; done");
    let (said, _) = heard(call.start(), handover::client_peer(ours));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..3], ["0 /dev/null", "1 /dev/null", "2 /dev/null"], "{said}");
}

#[test]
fn nothing_that_is_said_to_a_person_goes_to_the_peer_when_standard_error_is_its_socket() {
    let daemon = TestDaemon::start();
    for script in ["exec 0<&5 1>&5 2>&5 5<&-", "exec 2>&5"] {
        let (mut ours, theirs) = tcp_pair();
        let words: &[&str] = if script.ends_with("5<&-") { &["accept"] } else { &["accept", "--fd", "5"] };
        let call = Tlsify::new(words.iter().copied()).net(theirs).asking(&daemon).script(script);
        let done = call.option("--profile", "absent").program(["cat"]).run();
        assert_eq!(done.status.code(), Some(97), "{done:?}");
        let mut got = Vec::new();
        ours.read_to_end(&mut got).unwrap();
        assert_eq!(String::from_utf8_lossy(&got), "", "{script}");
    }
}

#[test]
fn it_is_told_of_the_session_under_the_names_that_ucspi_has() {
    let daemon = TestDaemon::start();
    let (ours, theirs) = tcp_pair();
    let identity = pki().client(KeyKind::EcdsaP256);
    let mut config = client_config(pki().ca.roots(), ONLY_TLS12, Some(identity));
    config.alpn_protocols = vec![b"smtp".to_vec()];
    let call = Tlsify::accept(&daemon, theirs).trusting(&pki().ca.file);
    let call = call.option("--client-certificate", "required").option("--alpn", "imap,smtp");
    let told = environment(call, Peer::client(ours, config, SERVER_NAME));
    let expected = [
        ("SSL_PROTOCOL", "TLSv1.2".to_owned()),
        ("SSL_TLS_SNI_SERVERNAME", SERVER_NAME.to_owned()),
        ("SSL_TLS_ALPN", "smtp".to_owned()),
        ("SSL_PEER_CERT_HASH", format!("SHA256:{}", hex(&identity.certificate_sha256.0))),
        ("SSL_PEER_SPKI_HASH", format!("sha256:{}", identity.spki_sha256)),
    ];
    for (name, value) in expected {
        assert_eq!(told.get(name), Some(&value), "{name}: {told:?}");
    }
    assert!(told["SSL_CIPHER"].starts_with("TLS_ECDHE_ECDSA_"), "{told:?}");
}

#[test]
fn nobody_forges_a_fact_by_the_environment_and_our_own_variables_go_no_further() {
    let daemon = TestDaemon::start();
    let (call, peer) = accept(&daemon);
    let names = [
        "SSL_PROTOCOL",
        "SSL_CIPHER",
        "SSL_TLS_SNI_SERVERNAME",
        "SSL_PEER_CERT_HASH",
        "SSL_PEER_SPKI_HASH",
        "SSL_TLS_ALPN",
        "CERTFILE",
        "KEYFILE",
        "CAFILE",
        "CADIR",
    ];
    let call = names.iter().fold(call, |call, name| call.env(*name, "/forged"));
    let told = environment(call.env("KEPT", "a=b").env("SSL_CIPHERS", "another's"), peer);
    assert!(!told.values().any(|value| value == "/forged"), "{told:?}");
    let ours: Vec<&str> = told.keys().map(String::as_str).filter(|name| names.contains(name)).collect();
    assert_eq!(ours, ["SSL_CIPHER", "SSL_PROTOCOL", "SSL_TLS_SNI_SERVERNAME"]);
    assert!(!told.contains_key("TLSIFY_SOCK"), "{told:?}");
    // What is not ours stays as it was.
    assert_eq!((told["KEPT"].as_str(), told["SSL_CIPHERS"].as_str()), ("a=b", "another's"));
}

#[test]
fn its_status_is_the_commands_with_and_without_events() {
    let daemon = TestDaemon::start();
    for (script, plain, with_events) in [
        ("exit 0", Some(0), 0),
        ("exit 7", Some(7), 7),
        ("exit 97", Some(97), 97),
        ("kill -KILL $$", None, 128 + 9),
        ("kill -TERM $$", None, 128 + 15),
    ] {
        let (call, mut peer) = accept(&daemon);
        let mut process = call.shell(script).start();
        process.shakes(&mut peer);
        assert_eq!(process.wait().status.code(), plain, "{script}");
        let (call, mut peer) = accept(&daemon);
        let mut process = call.events().shell(script).start();
        process.shakes(&mut peer);
        // The last event is how the session ended: the peer leaves, too.
        peer.half_close().unwrap();
        let done = process.wait();
        assert_eq!(done.status.code(), Some(with_events), "{script}: {done:?}");
    }
}

#[test]
fn its_status_is_known_beside_it_whatever_the_caller_ignores() {
    // The kernel keeps no status for who ignores the end of its children, and that is inherited.
    let daemon = TestDaemon::start();
    let (call, mut peer) = accept(&daemon);
    // The shell that moves descriptors about does not pass this on; env does.
    let ignoring = ["/usr/bin/env".into(), "--ignore-signal=CHLD".into(), built::command().into()];
    let mut process = call.under(ignoring).events().shell("exit 7").start();
    process.shakes(&mut peer);
    peer.half_close().unwrap();
    let done = process.wait();
    assert_eq!(done.status.code(), Some(7), "{done:?}");
}

#[test]
fn it_is_searched_in_path_as_a_shell_does() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = TestDaemon::start();
    let dir = TempDir::new("program");
    let folder = |name: &str, mode: u32| {
        let folder = dir.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let file = folder.join("tlsify-test-program");
        std::fs::write(&file, format!("#!/bin/sh\necho {name}\n")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        folder
    };
    let (shut, first, second) = (folder("shut", 0o644), folder("first", 0o755), folder("second", 0o755));
    let absent = dir.path().join("absent");
    let path = |folders: &[&std::path::PathBuf]| std::env::join_paths(folders).unwrap();
    let (call, peer) = accept(&daemon);
    let call = call.env("PATH", path(&[&absent, &shut, &first, &second])).program(["tlsify-test-program"]);
    assert_eq!(heard(call.start(), peer).0, "first\n");
    // One that is there and may not be started says more than that there is none.
    let (call, mut peer) = accept(&daemon);
    let call = call.env("PATH", path(&[&shut, &absent])).program(["tlsify-test-program"]);
    let mut process = call.start();
    process.shakes(&mut peer);
    process.wait().with(111, "tlsify: cannot run tlsify-test-program: permission denied\n");
}

#[test]
fn the_variables_of_s6_are_defaults_and_options_come_first() {
    let daemon = TestDaemon::start();
    let server = pki().server(KeyKind::EcdsaP256);
    let serve = |name: &str| {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::new(["accept", "--fd", "5"]).net(theirs).asking(&daemon).program(["true"]);
        let call = call.env("CERTFILE", &server.certificate_file).env("KEYFILE", &server.key_file);
        (call, Peer::client(ours, client_config(pki().ca.roots(), BOTH_VERSIONS, None), name))
    };
    let (call, peer) = serve(SERVER_NAME);
    heard(call.start(), peer).1.clean();
    let other = pki().server_for("second.example");
    let (call, peer) = serve("second.example");
    let call = call.option("--cert", &other.certificate_file).option("--key", &other.key_file);
    heard(call.start(), peer).1.clean();

    let folder = TempDir::new("ca");
    std::fs::copy(&pki().ca.file, folder.path().join("ours.pem")).unwrap();
    let wrong = &pki().other_ca.file;
    for (name, value, option) in [
        ("CAFILE", pki().ca.file.as_path(), None),
        ("CADIR", folder.path(), None),
        ("CAFILE", wrong.as_path(), Some(&pki().ca.file)),
    ] {
        let (ours, theirs) = tcp_pair();
        let call =
            Tlsify::new(["connect", "--fd", "5", SERVER_NAME]).net(ours).asking(&daemon).env(name, value);
        let call = if let Some(file) = option { call.trusting(file) } else { call };
        let peer = tlsifyd_tests::outgoing::server_peer(theirs);
        heard(call.program(["true"]).start(), peer).1.clean();
    }
}

#[test]
fn one_half_of_an_identity_in_the_environment_is_told_by_name() {
    let daemon = TestDaemon::start();
    let server = pki().server(KeyKind::EcdsaP256);
    for (name, file) in [("CERTFILE", &server.certificate_file), ("KEYFILE", &server.key_file)] {
        let (_ours, theirs) = tcp_pair();
        let call = Tlsify::new(["accept", "--fd", "5"]).net(theirs).asking(&daemon);
        let done = call.env(name, file).program(["true"]).run();
        assert_eq!(done.status.code(), Some(100), "{done:?}");
        assert!(done.said.contains("CERTFILE") && done.said.contains("KEYFILE"), "{done:?}");
    }
}

#[test]
fn the_client_gets_the_identity_that_it_asks_for() {
    let daemon = TestDaemon::start();
    let names = ["one.example", "two.example"];
    let identities: Vec<Identity> = names.iter().map(|name| pki().server_for(name)).collect();
    for (name, identity) in names.iter().zip(&identities) {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::new(["accept", "--fd", "5"]).net(theirs).asking(&daemon);
        let call = identities.iter().fold(call, |call, identity| {
            // In either order.
            call.option("--key", &identity.key_file).option("--cert", &identity.certificate_file)
        });
        let mut process = call.program(["true"]).start();
        let mut peer = Peer::client(ours, client_config(pki().ca.roots(), BOTH_VERSIONS, None), name);
        process.shakes(&mut peer);
        assert_eq!(peer.tls.peer_certificates().unwrap(), identity.chain());
        process.wait().clean();
    }
}

#[test]
fn an_operators_profile_serves_with_keys_that_the_caller_never_sees() {
    let server = pki().server(KeyKind::EcdsaP256);
    let config = server_profile("web", "users = [\"*\"]", &server.certificate_file, &server.key_file);
    let daemon = TestDaemon::with_config(config);
    let (ours, theirs) = tcp_pair();
    // The variables are not for it: they would be a conflict.
    let call = Tlsify::new(["accept", "--fd", "5", "--profile", "web"]).net(theirs).asking(&daemon);
    let call = call.env("CERTFILE", "/nowhere").env("KEYFILE", "/nowhere").env("CAFILE", "/nowhere");
    heard(call.program(["true"]).start(), handover::client_peer(ours)).1.clean();
}

#[test]
fn clients_get_in_with_the_certificate_that_a_rule_names_and_not_without() {
    let daemon = TestDaemon::start();
    let server = |allow: &str| {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::accept(&daemon, theirs).trusting(&pki().ca.file);
        let call = call.option("--client-certificate", "required").option("--allow", allow);
        (call.program(["true"]).start(), ours)
    };
    // The client is the command, too.
    let client = |socket, identity: Option<&Identity>| {
        let call = Tlsify::connect(&daemon, socket);
        match identity {
            None => call.start(),
            Some(own) => call.option("--cert", &own.certificate_file).option("--key", &own.key_file).start(),
        }
    };
    let good = pki().client(KeyKind::EcdsaP256);
    let pin = format!("sha256:{}", good.spki_sha256);
    for (allow, identity, status) in [
        (&format!("dns:{CLIENT_DNS}"), Some(good), 0),
        (&pin, Some(good), 0),
        (&pin, Some(pki().client(KeyKind::Ed25519)), 98),
        (&pin, Some(&pki().wrong_ca_client), 98),
        (&pin, None, 98),
    ] {
        let (process, socket) = server(allow);
        let client = client(socket, identity);
        let done = process.wait();
        assert_eq!(done.status.code(), Some(status), "{allow}: {done:?}");
        assert_eq!(client.wait().status.code(), Some(status), "{allow}");
    }
}

#[test]
fn a_peer_that_fails_never_meets_the_program() {
    let daemon = TestDaemon::start();
    let dir = TempDir::new("program");
    let mark = dir.path().join("started");
    let (ours, theirs) = tcp_pair();
    let call = Tlsify::connect(&daemon, ours).shell(&format!("touch {}", mark.display()));
    let process = call.start();
    let mut peer = Peer::server(theirs, server_config(&pki().wrong_name, BOTH_VERSIONS));
    let _ = peer.handshake();
    process.wait().saying(98, "hint: ");
    assert!(!mark.exists());
}
