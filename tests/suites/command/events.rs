//! `--control`: the protocol's events as text, for callers that want the truth about the peer and the end without a
//! library. Each is the packet's lines, the peer's certificates if it brought them, and an empty line.

use std::sync::Arc;

use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config, server_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{End, KeyKind, Peer, TestDaemon, Tlsify, pki, tcp_pair};

use super::{accept, connect};

/// One event: its verb, its lines in their order, and what came behind them.
#[derive(Debug)]
struct Event<'a> {
    verb: &'a str,
    lines: Vec<(&'a str, &'a str)>,
    pem: String,
}

impl<'a> Event<'a> {
    fn get(&self, key: &str) -> Option<&'a str> {
        self.lines.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }
}

/// Reads them as a shell's `read` loop would: line by line, up to an empty one.
#[track_caller]
fn events(text: &str) -> Vec<Event<'_>> {
    let mut all = Vec::new();
    let mut lines = text.split_inclusive('\n').peekable();
    while let Some(first) = lines.next() {
        let verb = first.strip_prefix("tlsify/1 ").and_then(|verb| verb.strip_suffix('\n'));
        let mut event = Event { verb: verb.expect("an event begins"), lines: Vec::new(), pem: String::new() };
        loop {
            let line = lines.next().expect("an event ends with an empty line");
            let line = line.strip_suffix('\n').expect("each line has its end");
            match line.split_once('=') {
                _ if line.is_empty() => break,
                // Base64 may end with it.
                Some((key, value)) if event.pem.is_empty() => event.lines.push((key, value)),
                _ => event.pem += &format!("{line}\n"),
            }
        }
        all.push(event);
    }
    all
}

#[track_caller]
fn verbs(text: &str, expected: &[&str]) {
    let verbs: Vec<&str> = events(text).iter().map(|event| event.verb).collect();
    assert_eq!(verbs, expected, "{text}");
}

#[test]
fn a_session_is_hello_established_with_the_certificates_and_ended() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let mut process = call.events().start();
    process.shakes(&mut peer);
    peer.write_all(b"seven..").unwrap();
    peer.half_close().unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    let done = process.wait().clean();
    verbs(&done.events, &["hello", "established", "ended"]);
    let [hello, established, ended] = &events(&done.events)[..] else { unreachable!() };
    assert!(hello.get("daemon").is_some_and(|name| name.starts_with("tlsifyd")), "{hello:?}");
    let server = pki().server(KeyKind::EcdsaP256);
    assert_eq!(established.pem, server.certificate_pem);
    assert_eq!(established.get("protocol"), Some("TLSv1.3"));
    assert_eq!(established.get("matched"), Some(&*format!("name:{SERVER_NAME}")));
    assert_eq!(established.get("spki-sha256"), Some(&*server.spki_sha256.to_string()));
    assert_eq!(
        (ended.get("how"), ended.get("in"), ended.get("out")),
        (Some("close-notify"), Some("7"), Some("0"))
    );
    assert!(hello.pem.is_empty() && ended.pem.is_empty());
}

#[test]
fn the_truth_about_the_end_is_there_whatever_the_status() {
    let daemon = TestDaemon::start();
    for allow in [false, true] {
        let (call, mut peer) = connect(&daemon);
        let call = call.events().word("--quiet");
        let call = if allow { call.word("--allow-truncation") } else { call };
        let mut process = call.start();
        process.shakes(&mut peer);
        peer.truncate().unwrap();
        let done = process.wait().with(if allow { 0 } else { 98 }, "");
        let events = events(&done.events);
        assert_eq!(events.last().unwrap().get("how"), Some("truncated"), "{events:?}");
    }
}

#[test]
fn a_peer_that_is_not_trusted_shows_its_certificate() {
    let daemon = TestDaemon::start();
    let (ours, theirs) = tcp_pair();
    let process = Tlsify::connect(&daemon, ours).events().start();
    let wrong = &pki().wrong_name;
    assert!(Peer::server(theirs, server_config(wrong, BOTH_VERSIONS)).handshake().is_err());
    let done = process.wait().saying(98, "hint: ");
    verbs(&done.events, &["hello", "failed"]);
    let failed = &events(&done.events)[1];
    assert_eq!(failed.get("code"), Some("name-mismatch"));
    assert_eq!(failed.pem, wrong.certificate_pem);
}

#[test]
fn a_refusal_is_an_event_too() {
    let daemon = TestDaemon::start();
    let (_ours, theirs) = tcp_pair();
    let call = Tlsify::new(["accept", "--fd", "5", "--profile", "mail"]).net(theirs).asking(&daemon);
    let done = call.events().run().saying(97, "refused");
    verbs(&done.events, &["hello", "refused"]);
    assert_eq!(events(&done.events)[1].get("code"), Some("unknown-profile"));
}

#[test]
fn beside_a_program_all_three_are_told() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = accept(&daemon);
    let mut process = call.events().program(["cat"]).start();
    process.shakes(&mut peer);
    peer.write_all(b"to and fro").unwrap();
    assert_eq!(peer.read_exact(10).unwrap(), b"to and fro");
    peer.half_close().unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    let done = process.wait().clean();
    verbs(&done.events, &["hello", "established", "ended"]);
    let ended = &events(&done.events)[2];
    assert_eq!(
        (ended.get("how"), ended.get("in"), ended.get("out")),
        (Some("close-notify"), Some("10"), Some("10"))
    );
}

#[test]
fn a_hand_off_tells_what_was_verified_and_leaves() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let mut process = call.events().word("--handoff").start();
    process.shakes(&mut peer);
    verbs(&process.wait().clean().events, &["hello", "established"]);
}

#[test]
fn a_second_command_resumes_what_the_first_one_kept_and_says_so() {
    let daemon = TestDaemon::start();
    // One server in both cases: its tickets are its own.
    let config = Arc::new(server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS));
    let resumed = [(); 2].map(|()| {
        let (ours, theirs) = tcp_pair();
        let mut process = Tlsify::connect(&daemon, ours).option("--resume", "test").events().start();
        let mut peer = Peer::server(theirs, Arc::clone(&config));
        process.shakes(&mut peer);
        peer.write_all(b"after the tickets").unwrap();
        peer.half_close().unwrap();
        peer.read_to_end().unwrap();
        events(&process.wait().clean().events)[1].get("resumed").map(str::to_owned)
    });
    assert_eq!(resumed.each_ref().map(Option::as_deref), [Some("no"), Some("yes")]);
}

/// `accept` per connection, as inetd does it: the store is the daemon's and not the command's.
#[test]
fn a_client_resumes_with_the_ticket_that_another_command_gave_it() {
    let daemon = TestDaemon::start();
    let mut config = client_config(pki().ca.roots(), BOTH_VERSIONS, None);
    config.resumption = rustls::client::Resumption::in_memory_sessions(32);
    let config = Arc::new(config);
    let resumed = [(); 2].map(|()| {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::accept(&daemon, theirs).option("--resume", "test").events();
        let mut process = call.start();
        let mut peer = Peer::client(ours, Arc::clone(&config), SERVER_NAME);
        process.shakes(&mut peer);
        peer.half_close().unwrap();
        peer.read_to_end().unwrap();
        events(&process.wait().clean().events)[1].get("resumed").map(str::to_owned)
    });
    assert_eq!(resumed.each_ref().map(Option::as_deref), [Some("no"), Some("yes")]);
}

#[test]
fn no_event_holds_a_secret() {
    let daemon = TestDaemon::start();
    for (call, mut peer) in [connect(&daemon), accept(&daemon)] {
        let mut process = call.events().start();
        process.shakes(&mut peer);
        peer.half_close().unwrap();
        peer.read_to_end().unwrap();
        let told = process.wait().clean().events;
        assert!(!told.contains("export") && !told.contains("channel-binding"), "{told}");
        assert!(!told.contains("PRIVATE KEY"), "{told}");
    }
}

#[test]
fn a_shell_follows_them_with_nothing_but_read() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    // The command's events go into a loop of a shell that was started before it.
    let reader = "mkfifo \"$0.fifo\"; while read -r line; do case $line in how=*) echo \"$line\";; esac; done <\"$0.fifo\" \
                  & exec 4>\"$0.fifo\"";
    let mut process = call.option("--control", "4").script(reader).start();
    process.shakes(&mut peer);
    peer.half_close().unwrap();
    peer.read_to_end().unwrap();
    let stdout = process.wait_with(|process| process.stdout().contains("how="));
    assert_eq!(stdout.clean().stdout, "how=close-notify\n");
}
