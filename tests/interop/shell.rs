//! The shell of the README runs as it stands: against a server that speaks HTTP over TLS, through a daemon, and without one.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::{env, fs};

use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{
    Door, KeyKind, Output, Peer, Program, Running, TempDir, TestDaemon, built, pki, running, tool,
};

/// The nth block of shell in the README's section.
fn block(number: usize) -> String {
    let readme =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("it is there");
    let section = readme.split("## In the shell\n").nth(1).expect("a section for shells");
    let section = section.split("\n## ").next().expect("it ends");
    let text = section.split("```sh\n").nth(number + 1).expect("a block of shell");
    text.split("```").next().expect("it ends").to_owned()
}

/// Answers one request with `answer` and closes as servers should, or just closes. Gives back what was asked.
fn serve_one(door: Door, answer: &'static str, whole: bool) -> Running<String> {
    running("server", move || {
        let config = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS);
        let mut peer = Peer::server(door.next(), config);
        let mut asked = String::new();
        while !is_complete(&asked) {
            let mut bytes = [0; 1024];
            let count = peer.read(&mut bytes).expect("a request comes");
            assert!(count > 0, "the client ended its side before it had its answer: {asked:?}");
            asked.push_str(std::str::from_utf8(&bytes[..count]).expect("text"));
        }
        peer.write_all(answer.as_bytes()).expect("it is read");
        if whole { peer.close_notify() } else { peer.truncate() }.expect("it can be closed");
        asked
    })
}

/// Whether a request has its head, and as much body as that says.
fn is_complete(asked: &str) -> bool {
    let Some((head, body)) = asked.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    length.is_none_or(|length| body.len() >= length.parse().expect("a number"))
}

/// Runs a block of the README, port 8443 being `port`.
fn run(text: &str, port: u16, socket: Option<&TestDaemon>, dir: &TempDir) -> Output {
    Program::run(&mut shell(&text.replace("8443", &port.to_string()), socket, dir))
}

/// A shell with `tlsify` in its PATH.
fn shell(text: &str, socket: Option<&TestDaemon>, dir: &TempDir) -> Command {
    let command = built::command().parent().expect("programs lie in folders");
    let daemon = built::daemon().parent().expect("programs lie in folders");
    let path = format!("{}:{}:{}", command.display(), daemon.display(), env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-euc", text]).current_dir(dir.path());
    shell.env("PATH", path).env("CAFILE", &pki().ca.file).env_remove("CADIR");
    let nowhere = dir.path().join("nobody");
    shell.env("TLSIFY_SOCK", socket.map_or(nowhere, TestDaemon::socket));
    shell
}

#[test]
fn a_page_comes_in_one_line_with_a_daemon_and_without() {
    let daemon = TestDaemon::start();
    daemon.wake_dialer(&daemon.client());
    let baseline = daemon.baseline();
    for socket in [Some(&daemon), None] {
        let (dir, door) = (TempDir::new("shell"), Door::open());
        let port = door.port();
        let server = serve_one(door, "HTTP/1.0 200 OK\r\n\r\nhello\n", true);
        let output = run(&block(0), port, socket, &dir);
        assert_eq!(output.ok(), "HTTP/1.0 200 OK\r\n\r\nhello\n");
        assert!(server.join().starts_with("GET / HTTP/1.0\r\nHost: localhost\r\n"));
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn a_rest_call_sends_its_body_and_knows_whether_the_answer_is_whole() {
    let daemon = TestDaemon::start();
    for whole in [true, false] {
        let (dir, door) = (TempDir::new("shell"), Door::open());
        let port = door.port();
        let server = serve_one(door, "HTTP/1.0 201 Created\r\n\r\n{\"id\": 1}", whole);
        let output = run(&block(1), port, Some(&daemon), &dir);
        let asked = server.join();
        assert!(
            asked.starts_with("POST /orders ") && asked.ends_with("{\"name\": \"tea\", \"cups\": 2}"),
            "{asked}"
        );
        let answer = fs::read_to_string(dir.path().join("answer")).expect("it is written");
        assert!(answer.ends_with("{\"id\": 1}"), "{answer}");
        assert_eq!(output.stdout.contains("the answer is whole"), whole, "{output:?}");
        assert_eq!(output.status.code(), Some(if whole { 0 } else { 98 }), "{output:?}");
    }
}

#[test]
fn the_words_of_a_failure_are_those_of_the_readme() {
    let daemon = TestDaemon::start();
    let (dir, door) = (TempDir::new("shell"), Door::open());
    let port = door.port();
    let server = running("server", move || {
        let config = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS);
        Peer::server(door.next(), config).handshake()
    });
    let text =
        format!("CAFILE={} {}", pki().other_ca.file.display(), "tlsify connect localhost:8443 </dev/null");
    let output = run(&text, port, Some(&daemon), &dir);
    assert!(server.join().is_err());
    assert_eq!(output.status.code(), Some(98));
    let readme =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("it is there");
    for line in output.stderr.lines() {
        let said = line.split("sha256:").next().expect("a line");
        assert!(readme.contains(said), "{line}");
    }
    assert_eq!(output.stderr.lines().count(), 2, "{output:?}");
}

/// A server that says one line, and closes when the client has, too: what is left unread would reset the connection.
fn say_who_it_is(peer: &mut Peer) -> std::io::Result<()> {
    peer.write_all(b"it is me\n")?;
    peer.close_notify()?;
    peer.read_to_end().map(drop)
}

#[test]
fn what_the_hint_says_pins_the_peer_that_failed_and_no_other() {
    let daemon = TestDaemon::start();
    let dir = TempDir::new("shell");
    let serve = |identity: &Identity| {
        let (door, config) = (Door::open(), server_config(identity, BOTH_VERSIONS));
        let port = door.port();
        let server = running("server", move || {
            let mut peer = Peer::server(door.next(), config);
            peer.handshake().and_then(|()| say_who_it_is(&mut peer))
        });
        (port, server)
    };
    let fetch = |options: &str, identity: &Identity| {
        let (port, server) = serve(identity);
        let output =
            run(&format!("tlsify connect {options} localhost:8443 </dev/null"), port, Some(&daemon), &dir);
        (output, server.join().is_ok())
    };
    let (one, other) = (pki().self_signed("one"), pki().self_signed("other"));
    let (failed, _) = fetch("", &one);
    assert_eq!((failed.status.code(), failed.stdout.as_str()), (Some(98), ""), "{failed:?}");
    let (_, options) = failed.stderr.split_once("is the right one: ").expect("a hint that can be copied");
    let (pinned, _) = fetch(options.trim_end(), &one);
    assert_eq!(pinned.ok(), "it is me\n");
    let (fooled, _) = fetch(options.trim_end(), &other);
    assert_eq!((fooled.status.code(), fooled.stdout.as_str()), (Some(98), ""), "{fooled:?}");
}

#[test]
fn a_first_contact_is_looked_at_compared_and_pinned() {
    let daemon = TestDaemon::start();
    let dir = TempDir::new("shell");
    let identity = pki().self_signed("first-contact");
    fs::copy(&identity.certificate_file, dir.path().join("cert.pem")).expect("the folder can be written");
    let (door, config) = (Door::open(), server_config(&identity, BOTH_VERSIONS));
    let port = door.port();
    let server = running("server", move || {
        let config = std::sync::Arc::new(config);
        let looked = Peer::server(door.next(), std::sync::Arc::clone(&config)).handshake();
        let mut peer = Peer::server(door.next(), config);
        let met = peer.handshake().and_then(|()| say_who_it_is(&mut peer));
        (looked.is_err(), met.is_ok())
    });
    let looked = run(&block(2), port, Some(&daemon), &dir);
    assert!(looked.status.success() && looked.stdout.is_empty(), "{looked:?}");
    assert!(looked.stderr.contains("is not issued by a trusted authority"), "{looked:?}");
    let owners = run("tlsifyd pin cert.pem | diff - server.pin", port, None, &dir);
    assert_eq!(owners.ok(), "", "the same line");
    assert_eq!(run(&block(3), port, Some(&daemon), &dir).ok(), "it is me\n");
    assert_eq!(server.join(), (true, true));
}

#[test]
fn a_program_is_served_as_the_readme_says() {
    let Some(_) = tool("tcpserver") else { return };
    let daemon = TestDaemon::start();
    let dir = TempDir::new("shell");
    let identity = pki().server(KeyKind::EcdsaP256);
    fs::copy(&identity.certificate_file, dir.path().join("cert.pem")).expect("the folder can be written");
    fs::copy(&identity.key_file, dir.path().join("key.pem")).expect("the folder can be written");
    let program = dir.path().join("serve");
    fs::write(&program, "#!/bin/sh\necho \"hello over $SSL_PROTOCOL\"\n").expect("the folder can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it is ours");
    // The loopback only, a port that tcpserver finds and says, and no look-up of our own name.
    let text = block(4).replace("tcpserver -HR 0 8443", "exec tcpserver -HR -1 -l localhost 127.0.0.1 0");
    let mut server = Program::start(&mut shell(&text, Some(&daemon), &dir));
    let port = server.line_with("").parse().expect("tcpserver says its port");
    let output = run("tlsify connect localhost:8443 </dev/null", port, Some(&daemon), &dir);
    assert_eq!(output.ok(), "hello over TLSv1.3\n");
}
