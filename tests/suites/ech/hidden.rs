//! A server that decrypts: NSS's.

use tlsify_client::{EchDone, Level};
use tlsifyd_tests::ech::{EchKey, PUBLIC_NAME, SelfServ, Wire, base64, shows};
use tlsifyd_tests::{Open, TestDaemon, Tlsify, pki};

use super::{HIDDEN, both, fetch, hiding, open};

/// The session ends, and what it sent has the public name and not the hidden one.
#[track_caller]
fn assert_hidden(open: Open, wire: Wire) -> Vec<u8> {
    open.finish();
    drop(open);
    let sent = wire.join();
    assert!(shows(&sent, PUBLIC_NAME), "the outer ClientHello has the public name");
    assert!(!shows(&sent, HIDDEN), "the hidden name was on the wire");
    sent
}

#[test]
fn the_name_is_not_to_be_seen_and_the_server_is_checked_for_it() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(server) = SelfServ::start(both(), Some(&key), &[]) else { return };
    let before = daemon.baseline();
    for exports in [false, true] {
        let (net, wire) = server.wire();
        let connect = hiding(net, &key.list());
        // Exporter values are on another interface of the TLS engine.
        let connect = if exports { connect.channel_binding() } else { connect };
        let mut session = open(&daemon.client(), &connect);
        drop(connect);
        assert_eq!(session.facts.ech, Some(EchDone::Accepted));
        assert_eq!(session.facts.server_name.as_deref(), Some(HIDDEN));
        assert_eq!(session.facts.matched, [tlsify_client::Matched::Name(HIDDEN.into())]);
        assert_eq!(
            (session.facts.level, session.facts.channel_binding.is_some()),
            (Some(Level::Modern), exports)
        );
        fetch(&mut session);
        assert_hidden(session, wire);
    }
    daemon.settled_fds(&before);
}

#[test]
fn a_second_client_hello_does_not_show_it_either() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    // We send no share for this group at first: the server has to ask.
    let Some(server) = SelfServ::start(both(), Some(&key), &["-I", "P256"]) else { return };
    let (net, wire) = server.wire();
    let mut session = open(&daemon.client(), &hiding(net, &key.list()));
    assert_eq!(
        (session.facts.ech, session.facts.group.as_deref()),
        (Some(EchDone::Accepted), Some("secp256r1"))
    );
    fetch(&mut session);
    let sent = assert_hidden(session, wire);
    let hellos = sent.windows(PUBLIC_NAME.len()).filter(|part| *part == PUBLIC_NAME.as_bytes()).count();
    assert_eq!(hellos, 2, "two ClientHellos, both with the public name");
}

#[test]
fn a_ticket_got_in_hiding_is_used_in_hiding_alone() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(server) = SelfServ::start(both(), Some(&key), &["-u"]) else { return };
    let caller = daemon.client();
    for resumed in [false, true, true] {
        let (net, wire) = server.wire();
        let mut session = open(&caller, &hiding(net, &key.list()).resume("mine"));
        assert_eq!((session.facts.resumed, session.facts.ech), (resumed, Some(EchDone::Accepted)));
        fetch(&mut session);
        assert_hidden(session, wire);
    }
    // In the open there is no ticket of it, and the one that comes of this is not shown in hiding.
    let in_the_open = |resumed| {
        let (net, wire) = server.wire();
        let connect = super::Connect::new(net).name(HIDDEN).trust(super::Trust::ca(pki().ca.fd()));
        let mut session = open(&caller, &connect.resume("mine"));
        assert_eq!((session.facts.resumed, session.facts.ech), (resumed, None));
        fetch(&mut session);
        session.finish();
        drop(session);
        assert!(shows(&wire.join(), HIDDEN));
    };
    in_the_open(false);
    in_the_open(true);
}

#[test]
fn no_ticket_is_kept_of_a_server_that_asks_for_a_second_client_hello() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(server) = SelfServ::start(both(), Some(&key), &["-u", "-I", "P256"]) else { return };
    for _ in 0..2 {
        let (net, wire) = server.wire();
        let mut session = open(&daemon.client(), &hiding(net, &key.list()).resume("mine"));
        assert_eq!((session.facts.resumed, session.facts.ech), (false, Some(EchDone::Accepted)));
        fetch(&mut session);
        assert_hidden(session, wire);
    }
}

#[test]
fn the_command_hides_it_too() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let Some(server) = SelfServ::start(both(), Some(&key), &[]) else { return };
    let (net, wire) = server.wire();
    let command =
        Tlsify::new(["connect", "--fd", "5", HIDDEN]).trusting(&pki().ca.file).net(net).asking(&daemon);
    let command = command.option("--ech-config", base64(&key.list())).events();
    let done = command.shell("printf 'GET / HTTP/1.0\\r\\n\\r\\n'; head -n 1 >&2").run();
    assert!(done.said.contains("HTTP/1.0 200 OK"), "{done:?}");
    assert!(done.events.contains("\nech=accepted\n"), "{done:?}");
    let sent = wire.join();
    assert!(shows(&sent, PUBLIC_NAME) && !shows(&sent, HIDDEN));
}
