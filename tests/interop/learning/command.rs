//! `tlsify pin` as people use it: what goes where, with a daemon and without one, against servers that are not ours, and a
//! daemon that answers something else than was asked.

use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, accept, bind, listen, recv, send, socket,
};
use tlsifyd_tests::openssl::s_server;
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{
    Done, Door, KeyKind, Peer, Program, Running, TempDir, TestDaemon, Tlsify, Typed, built, exclusive, pki,
    reach, running, tcp_pair, tool,
};

/// Serves this many visits, whatever comes of each; says a line to who stays.
fn serve(identity: &'static Identity, visits: usize) -> (u16, Running<()>) {
    let (door, config) = (Door::open(), std::sync::Arc::new(server_config(identity, BOTH_VERSIONS)));
    let port = door.port();
    let server = running("server", move || {
        for _ in 0..visits {
            let mut peer = Peer::server(door.next(), std::sync::Arc::clone(&config));
            let met = peer.handshake().and_then(|()| peer.write_all(b"it is me\n"));
            let _ = met.and_then(|()| peer.close_notify());
        }
    });
    (port, server)
}

fn pin(words: &[&str]) -> Tlsify {
    Tlsify::new(["pin"].iter().chain(words).copied())
}

/// It printed this pin and nothing else.
#[track_caller]
fn prints(done: &Done, identity: &Identity) {
    assert_eq!((done.status.code(), done.stdout.as_str()), (Some(0), line(identity).as_str()), "{done:?}");
}

fn line(identity: &Identity) -> String {
    format!("spki-sha256:{}\n", identity.spki_sha256)
}

fn leaked(identity: Identity) -> &'static Identity {
    Box::leak(Box::new(identity))
}

#[test]
fn the_pin_goes_to_standard_output_and_the_rest_to_a_person() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let identity = leaked(pki().self_signed("command"));
    let (port, server) = serve(identity, 2);
    let target = format!("localhost:{port}");
    let done = pin(&["--trust"]).word(&pki().ca.file).word(&target).asking(&daemon).run();
    prints(&done, identity);
    let said: Vec<&str> = done.said.lines().collect();
    assert_eq!(said.len(), 4, "{done:?}");
    assert!(said.iter().all(|line| line.starts_with("tlsify: ")), "{done:?}");
    assert!(said[0].ends_with("it names server.example, localhost, 127.0.0.1, ::1"), "{done:?}");
    assert!(said[1].starts_with("tlsify: it was issued by itself, and is valid from "), "{done:?}");
    assert!(said[2].contains("it does not pass: peer's certificate is not issued by a trusted authority"));
    let done = pin(&["--quiet", &target]).asking(&daemon).run();
    prints(&done, identity);
    assert_eq!(done.said, "");
    server.join();
}

#[test]
fn without_a_daemon_it_brings_its_own() {
    let _alone = exclusive();
    let dir = TempDir::new("pin");
    let copy = Program::run(Command::new("cp").arg(built::command()).arg(dir.path().join("tlsify")));
    assert!(copy.status.success(), "{copy:?}");
    std::os::unix::fs::symlink(built::daemon(), dir.path().join("tlsifyd")).unwrap();
    let (port, server) = serve(&pki().expired, 2);
    for words in [&["--private"][..], &[]] {
        let call = pin(words).word(format!("127.0.0.1:{port}")).binary(dir.path().join("tlsify"));
        let done = call.env("TLSIFY_SOCK", dir.path().join("nobody")).run();
        prints(&done, &pki().expired);
    }
    server.join();
    let call = pin(&["--no-fallback", "localhost:1"]).env("TLSIFY_SOCK", dir.path().join("nobody"));
    assert_eq!(call.run().saying(97, "cannot reach tlsifyd").stdout, "");
}

#[test]
fn a_socket_that_is_open_already_is_taken_after_starttls() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    for words in [&[SERVER_NAME][..], &["--name", SERVER_NAME]] {
        let (near, far) = tcp_pair();
        let config = server_config(&pki().wrong_name, BOTH_VERSIONS);
        let server = running("server", move || Peer::server(far, config).handshake());
        let done = pin(&["--fd", "5"]).net(near).asking(&daemon);
        let done = words.iter().fold(done, |call, word| call.word(*word)).run();
        prints(&done, &pki().wrong_name);
        assert!(server.join().is_err());
    }
}

#[test]
fn in_a_shell_the_pin_of_one_is_the_trust_of_the_other() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let identity = leaked(pki().self_signed("shell"));
    let (port, server) = serve(identity, 2);
    let script = "tlsify connect --trust pins --pin \"$(tlsify pin \"$1\")\" \"$1\" </dev/null";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-euc", script, "sh", &format!("localhost:{port}")]);
    let folder = built::command().parent().unwrap();
    shell.env("PATH", folder).env("TLSIFY_SOCK", daemon.socket()).env_remove("CAFILE").env_remove("CADIR");
    assert_eq!(Program::run(&mut shell).ok(), "it is me\n");
    server.join();
}

#[test]
fn where_nothing_is_learned_nothing_is_printed_and_the_status_says_so() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let free = Door::open().port();
    let closed = pin(&[&format!("127.0.0.1:{free}")]).asking(&daemon).run();
    assert_eq!(closed.saying(111, "connection refused").stdout, "");
    let silent = Door::open();
    let target = format!("127.0.0.1:{}", silent.port());
    let late = pin(&["--timeout", "0.3", &target]).asking(&daemon).run();
    assert_eq!(late.status.code(), Some(99), "{late:?}");
    assert_eq!(late.stdout, "");
    let (near, far) = tcp_pair();
    std::io::Write::write_all(&mut &far, b"SSH-2.0-OpenSSH_9.2\r\n").unwrap();
    let plain = pin(&["--fd", "5", SERVER_NAME]).net(near).asking(&daemon).run();
    assert_eq!(plain.saying(98, "is not TLS").stdout, "");
    for (words, said) in [
        (&["localhost:1", "--", "cat"][..], "unexpected argument \"--\""),
        (&[], "connect where?"),
        (&["localhost"], "bad target"),
    ] {
        assert_eq!(pin(words).asking(&daemon).run().saying(100, said).stdout, "");
    }
    let resume = pin(&["--resume", "mine", "localhost:1"]).asking(&daemon).run();
    assert_eq!(resume.saying(100, "refused (key-conflict)").stdout, "");
}

/// A daemon that answers its one caller with this.
fn lying(dir: &TempDir, answer: &'static str) -> (std::path::PathBuf, Running<String>) {
    let path = dir.path().join(format!("sock{}", answer.len()));
    let listener = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
    bind(&listener, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    let daemon = running("daemon", move || {
        let caller = accept(&listener).unwrap();
        let mut asked = vec![0; 65_536];
        let (count, _) = recv(&caller, &mut asked[..], RecvFlags::empty()).unwrap();
        send(&caller, answer.as_bytes(), SendFlags::NOSIGNAL).unwrap();
        // Until it has left.
        let _ = recv(&caller, &mut [0; 16][..], RecvFlags::empty());
        String::from_utf8_lossy(&asked[..count]).into_owned()
    });
    (path, daemon)
}

const ESTABLISHED: &str = "tlsify/1 established\nid=1\nprotocol=TLSv1.3\ncipher=x\nresumed=no\n";
const LEARNED: &str = "tlsify/1 failed\nid=1\ncode=learned\nblame=caller\nsocket=closed\n\
    spki-sha256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\nwould=established\nnote=x\n";

#[test]
fn an_answer_to_another_question_is_no_pin_and_no_session() {
    let _alone = exclusive();
    let dir = TempDir::new("lying");
    // Asked for a look, a session is not taken.
    let (path, daemon) = lying(&dir, ESTABLISHED);
    let done = pin(&["localhost:1"]).env("TLSIFY_SOCK", &path).run();
    assert_eq!(done.saying(97, "answered something else than was asked").stdout, "");
    assert!(daemon.join().contains("\nlearn=yes\n"));
    // Asked for a session, a look is none, and its pin does not get into the data.
    let (path, daemon) = lying(&dir, LEARNED);
    let done = Tlsify::new(["connect", "localhost:1"]).env("TLSIFY_SOCK", &path).run();
    assert_eq!(done.status.code(), Some(98), "{done:?}");
    assert_eq!(done.stdout, "");
    assert!(!daemon.join().contains("learn"));
}

#[test]
fn the_owners_line_is_the_one_that_others_learn() {
    let _alone = exclusive();
    let dir = TempDir::new("owner");
    let pinned = |file: &std::path::Path| Program::run(Command::new(built::daemon()).arg("pin").arg(file));
    for kind in KeyKind::ALL {
        let identity = pki().server(kind);
        for file in [&identity.certificate_file, &identity.key_file] {
            assert_eq!(pinned(file).ok(), line(identity), "{kind:?} {}", file.display());
        }
    }
    let file = dir.path().join("file.pem");
    std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n").unwrap();
    let bad = pinned(&file);
    assert_eq!((bad.status.code(), bad.stdout.as_str()), (Some(96), ""), "{bad:?}");
    let said = format!("tlsifyd: cannot pin {}: the private key is damaged", file.display());
    assert!(bad.stderr.starts_with(&said) && !bad.stderr.contains("c2VjcmV0"), "{bad:?}");
    let missing = pinned(&dir.path().join("nothing"));
    assert_eq!((missing.status.code(), missing.stdout.as_str()), (Some(111), ""), "{missing:?}");
}

#[test]
fn openssl_says_the_same_line_of_a_certificate() {
    let Some(openssl) = tool("openssl") else { return };
    let _alone = exclusive();
    let identity = pki().server(KeyKind::Rsa2048);
    let script = "\"$0\" x509 -in \"$1\" -noout -pubkey | \"$0\" pkey -pubin -outform der |
        \"$0\" dgst -sha256 -binary | \"$0\" base64";
    let mut shell = Command::new("/bin/sh");
    shell.args(["-euc", script]).arg(openssl).arg(&identity.certificate_file);
    assert_eq!(format!("spki-sha256:{}", Program::run(&mut shell).ok()), line(identity));
}

/// A pin that was learned of a server of others is the one of its certificate.
#[track_caller]
fn learns(daemon: &TestDaemon, identity: &Identity, server: (Typed, u16)) {
    let (mut typed, port) = server;
    let net: OwnedFd = reach(port).into();
    let done = pin(&["--fd", "5", SERVER_NAME]).net(net).asking(daemon).run();
    prints(&done, identity);
    typed.hang_up();
}

#[test]
fn openssls_server_is_learned() {
    let Some(openssl) = tool("openssl") else { return };
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let self_signed = pki().self_signed("openssl");
    for version in ["-tls1_2", "-tls1_3"] {
        for kind in KeyKind::ALL {
            let identity = pki().server(kind);
            learns(&daemon, identity, s_server(&openssl, identity, &[version]));
        }
        // It asks for our certificate, too.
        let server = s_server(&openssl, &self_signed, &[version, "-Verify", "1", "-alpn", "h2"]);
        learns(&daemon, &self_signed, server);
        let (typed, port) = s_server(&openssl, &pki().expired, &[version]);
        learns(&daemon, &pki().expired, (typed, port));
    }
}

#[test]
fn openssls_server_is_told_why_we_leave() {
    let Some(openssl) = tool("openssl") else { return };
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    for version in ["-tls1_2", "-tls1_3"] {
        let (mut typed, port) = s_server(&openssl, &pki().wrong_ca, &[version]);
        let net: OwnedFd = reach(port).into();
        prints(&pin(&["--fd", "5", SERVER_NAME]).net(net).asking(&daemon).run(), &pki().wrong_ca);
        typed.program.line_with("alert access denied");
        typed.hang_up();
        let said = typed.program.wait();
        assert!(
            !said.stdout.contains("CIPHER is") && !said.stdout.contains("-----BEGIN SSL SESSION"),
            "{said:?}"
        );
    }
}

#[test]
fn gnutls_server_is_learned() {
    let Some(gnutls) = tool("gnutls-serv") else { return };
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    for version in ["1.2", "1.3"] {
        for identity in [pki().server(KeyKind::EcdsaP384), &pki().wrong_ca, &pki().expired] {
            // It cannot tell a port of the system's choice, so it gets one that was free a moment ago.
            let port = Door::open().port();
            let mut command = Command::new(&gnutls);
            command.args(["--echo", "--port", &port.to_string(), "--x509certfile"]);
            command.arg(&identity.certificate_file).arg("--x509keyfile").arg(&identity.key_file);
            command.args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-TLS{version}")]);
            learns(&daemon, identity, (Typed::start(&mut command), port));
        }
    }
}
