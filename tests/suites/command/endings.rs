//! How it ends and what it says: one exit status for each kind of end, with the sentence for a person.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustix::net::{AddressFamily, SocketType, bind, socket};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::{Identity, OTHER_NAME, SERVER_NAME};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{
    Done, End, KeyKind, Peer, TempDir, TestDaemon, Tlsify, handover, outgoing, pki, tcp_pair,
};

use super::{accept, connect};

/// `tlsify connect` with these words against a server that shows this identity. The peer's part is done here, and
/// whatever comes of it is its own affair.
fn against(daemon: &TestDaemon, identity: &Identity, words: &[&str]) -> Done {
    let (ours, theirs) = tcp_pair();
    let call = Tlsify::new(["connect", "--fd", "5"]).net(ours).asking(daemon);
    let process = words.iter().fold(call, |call, word| call.word(*word)).start();
    let mut peer = Peer::server(theirs, server_config(identity, BOTH_VERSIONS));
    if peer.handshake().is_ok() && peer.half_close().is_ok() {
        let _ = peer.read_to_end();
    }
    process.wait()
}

fn ca() -> &'static str {
    pki().ca.file.to_str().expect("our own folders have plain names")
}

#[test]
fn goodbyes_from_both_are_the_clean_end_in_both_roles() {
    let daemon = TestDaemon::start();
    for (call, mut peer) in [connect(&daemon), accept(&daemon)] {
        let mut process = call.start();
        process.shakes(&mut peer);
        peer.write_all(b"all of it").unwrap();
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        assert_eq!(process.wait().clean().stdout, "all of it");
    }
}

#[test]
fn a_bare_fin_is_98_unless_the_caller_allows_it() {
    let daemon = TestDaemon::start();
    for (words, status, said) in [
        (
            None,
            98,
            "tlsify: the peer closed the connection without saying that this was all: its data may be cut short\n\
             hint: --allow-truncation is for peers that always do this, with data that shows its own end\n",
        ),
        (Some("--allow-truncation"), 0, ""),
        (Some("--quiet"), 98, ""),
    ] {
        let (call, mut peer) = connect(&daemon);
        let mut process = words.into_iter().fold(call, Tlsify::word).start();
        process.shakes(&mut peer);
        peer.write_all(b"half of").unwrap();
        peer.truncate().unwrap();
        // What came is given, however it ended.
        assert_eq!(process.wait().with(status, said).stdout, "half of");
    }
}

#[test]
fn a_reset_is_98_even_for_who_allows_truncation() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (stdin, mut to) = std::io::pipe().unwrap();
    let mut process = call.word("--allow-truncation").stdin(stdin).start();
    process.shakes(&mut peer);
    // Both know that it is open.
    to.write_all(b"out").unwrap();
    assert_eq!(peer.read_exact(3).unwrap(), b"out");
    peer.reset();
    process.wait().with(98, "tlsify: the peer reset the connection: its data may be cut short\n");
}

#[test]
fn an_alert_that_the_peer_sends_is_98_with_its_name() {
    let daemon = TestDaemon::start();
    let (ours, theirs) = tcp_pair();
    let process = Tlsify::accept(&daemon, theirs).start();
    // A client that does not trust this server.
    let config = tlsifyd_tests::peer::client_config(pki().other_ca.roots(), BOTH_VERSIONS, None);
    assert!(Peer::client(ours, config, SERVER_NAME).handshake().is_err());
    process.wait().saying(98, "unknown_ca");
}

#[test]
fn what_is_no_tls_is_98() {
    let daemon = TestDaemon::start();
    let (ours, mut theirs) = tcp_pair();
    let process = Tlsify::connect(&daemon, ours).start();
    theirs.write_all(b"220 mail.example ESMTP\r\n").unwrap();
    process.wait().saying(98, "tlsify: ");
}

#[test]
fn a_wrong_name_is_98_with_a_hint_that_works_as_it_stands() {
    let daemon = TestDaemon::start();
    let wrong = &pki().wrong_name;
    let done = against(&daemon, wrong, &["--trust", ca(), SERVER_NAME]);
    let said = done.saying(98, SERVER_NAME).said;
    assert!(said.contains(OTHER_NAME), "it says whom the certificate names: {said}");
    let pin = format!("--trust pins --pin sha256:{}", wrong.spki_sha256);
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: ")).expect("there is one");
    assert!(hint.ends_with(&pin), "{hint}");
    // As a person would do it: what the hint says, in place of what was said before.
    let words: Vec<&str> = pin.split(' ').collect();
    against(&daemon, wrong, &words).clean();
    // A pin is one key.
    let other = against(&daemon, &pki().wrong_ca, &words);
    let said = other.saying(98, "tlsify: ").said;
    assert!(said.contains("hint: its key is now sha256:"), "{said}");
}

#[test]
fn an_unknown_issuer_and_an_old_certificate_are_98_with_a_pin() {
    let daemon = TestDaemon::start();
    for identity in [&pki().wrong_ca, &pki().expired, &pki().not_yet_valid] {
        let said = against(&daemon, identity, &["--trust", ca(), SERVER_NAME]).saying(98, "tlsify: ").said;
        assert!(said.contains(&format!("--pin sha256:{}", identity.spki_sha256)), "{said}");
    }
}

#[test]
fn one_of_several_names_is_enough() {
    let daemon = TestDaemon::start();
    let good = pki().server(KeyKind::EcdsaP256);
    against(&daemon, good, &["--trust", ca(), "--name", "no.example", "--name", SERVER_NAME]).clean();
    // A name that is given counts instead of the one behind the options, which is only the default.
    against(&daemon, good, &["--trust", ca(), "--name", SERVER_NAME, "no.example"]).clean();
}

#[test]
fn a_peer_that_says_nothing_is_99_when_the_time_is_up() {
    let daemon = TestDaemon::start();
    let (ours, _theirs) = tcp_pair();
    let process = Tlsify::connect(&daemon, ours).option("--timeout", "0.2").start();
    process.wait().saying(99, "tlsify: ");
}

#[test]
fn a_session_without_data_is_99_after_the_idle_timeout() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (stdin, _to) = std::io::pipe().unwrap();
    let mut process = call.stdin(stdin).option("--idle-timeout", "0.2").start();
    process.shakes(&mut peer);
    process.wait().with(99, "tlsify: no data in either direction for as long as --idle-timeout\n");
}

#[test]
fn a_profile_that_is_not_there_is_97() {
    let daemon = TestDaemon::start();
    let (_ours, theirs) = tcp_pair();
    let call = Tlsify::new(["accept", "--fd", "5", "--profile", "mail"]).net(theirs).asking(&daemon);
    call.run().saying(97, "tlsify: refused (unknown-profile): ");
}

#[test]
fn a_profile_for_somebody_else_is_97() {
    let good = pki().server(KeyKind::EcdsaP256);
    let nobody = nix::unistd::geteuid().as_raw() + 1;
    let config =
        server_profile("mail", &format!("users = [{nobody}]"), &good.certificate_file, &good.key_file);
    let daemon = TestDaemon::with_config(config);
    let (_ours, theirs) = tcp_pair();
    let call = Tlsify::new(["accept", "--fd", "5", "--profile", "mail"]).net(theirs).asking(&daemon);
    call.run().saying(97, "tlsify: refused (profile-not-allowed): ");
}

#[test]
fn as_many_sessions_as_a_user_may_have_is_97() {
    let daemon = TestDaemon::with_config("[limits]\nsessions = 1\n");
    let _one = handover::open(&daemon.client());
    let (call, _peer) = connect(&daemon);
    call.run().saying(97, "tlsify: refused (quota): ");
}

#[test]
fn a_daemon_that_shuts_down_is_97_for_new_sessions_and_98_for_the_old_one() {
    let daemon = TestDaemon::with_config("[timeouts]\ndrain = \"1s\"\n");
    let (call, mut peer) = connect(&daemon);
    let (stdin, _to) = std::io::pipe().unwrap();
    let mut old = call.stdin(stdin).start();
    old.shakes(&mut peer);
    peer.write_all(b"x").unwrap();
    until(LIMIT, || (old.stdout() == "x").then_some(())).expect("the session is open for both");
    daemon.terminate();
    // It may have removed its socket by then; a new one would be private without the option.
    let (call, _peer) = connect(&daemon);
    let new = call.word("--no-fallback").run();
    assert_eq!(new.status.code(), Some(97), "{new:?}");
    old.wait().with(98, "tlsify: tlsifyd was shut down before the session had ended\n");
}

#[test]
fn a_file_that_cannot_be_opened_is_111_with_its_name_and_what_it_was_for() {
    let daemon = TestDaemon::start();
    let (_ours, theirs) = tcp_pair();
    let good = pki().server(KeyKind::EcdsaP256);
    let call = Tlsify::new(["accept", "--fd", "5"]).net(theirs).asking(&daemon);
    let call = call.option("--cert", &good.certificate_file).option("--key", "/nowhere/web.key");
    call.run().with(111, "tlsify: cannot open /nowhere/web.key as the key: no such file or directory\n");
}

#[test]
fn a_program_that_cannot_be_run_is_111_and_the_session_ends() {
    let daemon = TestDaemon::start();
    for (program, why) in [
        ("/nowhere/program", "no such file or directory"),
        ("no-such-program-in-any-folder", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let (call, mut peer) = connect(&daemon);
        let mut process = call.program([program]).start();
        process.shakes(&mut peer);
        process.wait().with(111, &format!("tlsify: cannot run {program}: {why}\n"));
        assert_eq!(peer.read_to_end().unwrap().1, End::CloseNotify);
    }
}

#[test]
fn a_daemon_that_is_killed_before_the_session_is_open_is_97() {
    let daemon = TestDaemon::start();
    let (call, peer) = connect(&daemon);
    let process = call.start();
    // The ClientHello is there: the daemon has the socket.
    let mut some = [0];
    assert_eq!(peer.socket.peek(&mut some).unwrap(), 1);
    daemon.kill();
    process.wait().with(97, "tlsify: tlsifyd went away before it answered\n");
}

#[test]
fn a_daemon_that_is_killed_during_the_session_is_98() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let mut process = call.start();
    process.shakes(&mut peer);
    peer.write_all(b"so far").unwrap();
    until(LIMIT, || (process.stdout() == "so far").then_some(())).expect("the session is open for both");
    daemon.kill();
    process
        .wait()
        .with(98, "tlsify: tlsifyd went away before the session had ended: data may be cut short\n");
}

#[test]
fn a_daemon_that_hangs_is_given_up_some_time_after_the_timeout() {
    let daemon = TestDaemon::start();
    daemon.signal_worker(Signal::SIGSTOP);
    let (call, _peer) = connect(&daemon);
    let began = std::time::Instant::now();
    let done = call.option("--timeout", "0.5").run().with(99, "tlsify: tlsifyd does not answer\n");
    // Not at once: the deadline is the daemon's to keep, and it gets some grace.
    assert!(began.elapsed() > Duration::from_secs(1), "{done:?}");
    daemon.signal_worker(Signal::SIGCONT);
}

#[test]
fn a_value_with_a_line_break_in_it_adds_no_line() {
    let daemon = TestDaemon::start();
    for (option, value) in [
        ("--name", "server.example\ntrust=pins"),
        ("--profile", "a\nbind=descriptors"),
        ("--alpn", "h2\nmin=1.2"),
        ("--pin", "sha256:AAAA\ntrust=pins"),
        ("--trust", "store:x\ny=z"),
        ("--min", "1.3\r"),
        ("--server-name", ""),
    ] {
        let (call, _peer) = connect(&daemon);
        let said = call.option(option, value).run().saying(100, "tlsify: ").said;
        assert!(
            said.lines().all(|line| line.starts_with("tlsify: ") || line.starts_with("hint: ")),
            "{said}"
        );
    }
}

#[test]
fn quiet_says_nothing_however_it_ends() {
    let daemon = TestDaemon::start();
    let none = TempDir::new("none");
    let (_ours, theirs) = tcp_pair();
    let absent = Tlsify::new(["connect", "--quiet", "--fd", "5", "--no-fallback", "x.example"]).net(theirs);
    absent.env("TLSIFY_SOCK", none.path().join("sock")).run().with(97, "");
    for (option, value, status) in
        [("--trust", ca(), 98), ("--trust", "/nowhere", 111), ("--min", "1.4", 100)]
    {
        against(&daemon, &pki().wrong_name, &["--quiet", option, value, SERVER_NAME]).with(status, "");
    }
}

#[test]
fn a_full_disk_is_111_and_never_a_clean_end() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (stdin, to) = std::io::pipe().unwrap();
    let mut process =
        call.stdin(stdin).stdout(File::options().write(true).open("/dev/full").unwrap()).start();
    process.shakes(&mut peer);
    peer.write_all(b"lost").unwrap();
    peer.half_close().unwrap();
    drop(to);
    let done = process.wait();
    assert_eq!(done.status.signal(), None, "{done:?}");
    done.with(111, "tlsify: standard output took no more before the peer had ended: the rest is lost\n");
}

fn nobody_listens() -> OwnedFd {
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket
}

#[test]
fn nothing_listens_at_the_port_is_111_and_a_host_that_is_not_there_too() {
    let daemon = TestDaemon::start();
    // Bound and not listening: nobody else gets it meanwhile.
    let taken = nobody_listens();
    let port = rustix::net::getsockname(&taken).unwrap();
    let port = SocketAddrV4::try_from(port).unwrap().port();
    let call = Tlsify::new(["connect", &format!("127.0.0.1:{port}")]).asking(&daemon);
    call.run().saying(111, &format!("127.0.0.1:{port}"));
    // RFC 6761 section 6.4: nobody has a name that ends like this.
    let call = Tlsify::new(["connect", "--timeout", "5", "no.such.host.invalid:443"]).asking(&daemon);
    let done = call.run();
    // A machine without a resolver cannot say that there is none, and says so.
    assert!(done.status.code() == Some(111) || done.status.code() == Some(99), "{done:?}");
    assert!(done.said.contains("no.such.host.invalid"), "{done:?}");
}

#[test]
fn host_and_port_are_looked_up_connected_and_checked() {
    let daemon = TestDaemon::start();
    daemon.wake_dialer(&daemon.client());
    let baseline = daemon.baseline();
    for (host, bind) in [("localhost", "127.0.0.1:0"), ("127.0.0.1", "127.0.0.1:0"), ("[::1]", "[::1]:0")] {
        // A machine without IPv6 has no such address.
        let Ok(listener) = std::net::TcpListener::bind(bind) else { continue };
        let port = listener.local_addr().unwrap().port();
        let call =
            Tlsify::new(["connect", &format!("{host}:{port}")]).trusting(&pki().ca.file).asking(&daemon);
        let mut process = call.start();
        let mut peer = outgoing::server_peer(listener.accept().unwrap().0);
        process.shakes(&mut peer);
        peer.write_all(host.as_bytes()).unwrap();
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap().1, End::CloseNotify);
        assert_eq!(process.wait().clean().stdout, host);
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn a_message_about_a_peer_holds_no_certificate_and_no_key() {
    let daemon = TestDaemon::start();
    let good = pki().server(KeyKind::EcdsaP256);
    let dir = TempDir::new("endings");
    let broken = dir.path().join("broken.key");
    // Somebody took the key for the certificate, or cut it.
    fs::write(&broken, &good.key_pem[..good.key_pem.len() / 2]).unwrap();
    for (certificate, key) in [(&good.key_file, &good.certificate_file), (&good.certificate_file, &broken)] {
        let (_ours, theirs) = tcp_pair();
        let call = Tlsify::new(["accept", "--fd", "5"]).net(theirs).asking(&daemon);
        let said = call.option("--cert", certificate).option("--key", key).run().saying(97, "tlsify: ").said;
        let secret = good.key_pem.lines().nth(1).unwrap();
        assert!(!said.contains(&secret[..16]) && !said.contains("-----"), "{said}");
    }
}
