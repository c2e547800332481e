//! Whose tickets are whose, and what else keeps them apart.

use tlsifyd_tests::peer::ONLY_TLS13;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{RawCaller, TestDaemon, TicketServer, User, pki};

use super::{EACH, and, failed, good, resumed, session};

#[test]
fn without_a_store_nothing_is_remembered_and_no_ticket_is_shown() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        for lines in ["", "", "resume=mine\n", ""] {
            assert!(!resumed(&caller, lines, &server), "{lines}");
        }
        assert_eq!(server.shown(), 0);
    }
}

#[test]
fn a_store_is_its_users_alone() {
    if !is_root("another user's store") {
        return;
    }
    let daemon = TestDaemon::start();
    let [first, second] = [12_345, 54_321].map(|uid| User::new(uid).caller(&daemon));
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        assert!(!resumed(&first, "resume=mine\n", &server));
        for other in [&second, &RawCaller::connect(daemon.socket())] {
            assert!(!resumed(other, "resume=mine\n", &server), "another user resumed");
            assert_eq!(server.shown(), 0, "another user showed a ticket");
        }
        assert!(resumed(&first, "resume=mine\n", &server));
    }
}

#[test]
fn another_store_name_pin_trust_or_protocol_is_another_place() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        assert!(!resumed(&caller, "resume=mine\n", &server));
        let pin = format!("pin=spki-sha256:{}\n", good().spki_sha256);
        let here = format!("name={SERVER_NAME}\n");
        let ca = pki().ca.fd();
        let others = [
            (and("resume=other\n"), true),
            (and("name=another.example\nresume=mine\n"), true),
            (and("server-name=none\nresume=mine\n"), true),
            (and(&format!("{pin}resume=mine\n")), true),
            (and("alpn=h2\nresume=mine\n"), true),
            (format!("{here}trust=pins\n{pin}resume=mine\n"), false),
        ];
        for (lines, with_ca) in others {
            let established = session(&caller, &lines, with_ca.then_some(&ca), &server);
            assert_eq!(established.get("resumed"), Some("no"), "{lines}");
            assert_eq!(server.shown(), 0, "{lines}");
        }
        assert!(resumed(&caller, "resume=mine\n", &server), "it was there all the time");
    }
}

/// The ticket is there, and whoever would not have taken the certificate does not get in with it.
#[test]
fn a_ticket_opens_nothing_that_a_full_handshake_would_not() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        assert!(!resumed(&caller, "resume=mine\n", &server));
        let ca = pki().ca.fd();
        let wrong = format!("pin=spki-sha256:{}\n", pki().wrong_name.spki_sha256);
        for (lines, ca, code) in [
            (and("resume=mine\n"), &pki().other_ca.fd(), "unknown-issuer"),
            (and(&format!("{wrong}resume=mine\n")), &ca, "pin-mismatch"),
            ("name=another.example\ntrust=descriptor\nresume=mine\n".to_owned(), &ca, "name-mismatch"),
        ] {
            assert_eq!(failed(&caller, &lines, Some(ca), &server), code);
            assert_eq!(server.shown(), 0, "{lines}");
        }
    }
}

#[test]
fn a_ticket_of_tls_1_3_is_used_once() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = TicketServer::new(good(), ONLY_TLS13);
    let silent = server.with(|config| config.send_tls13_tickets = 0);
    assert!(!resumed(&caller, "resume=mine\n", &server));
    let each: Vec<bool> = (0..4).map(|_| resumed(&caller, "resume=mine\n", &silent)).collect();
    assert_eq!((each, server.shown()), (vec![true, true, false, false], 2), "it gave two");
}

/// Sessions that share a place on the daemon's threads, all at once: each has its own peer.
#[test]
fn sessions_of_one_store_at_once_are_each_their_own() {
    let daemon = TestDaemon::start();
    let bad = TicketServer::new(&pki().wrong_ca, ONLY_TLS13);
    let server = TicketServer::new(good(), ONLY_TLS13);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (daemon, bad, server) = (&daemon, &bad, &server);
            scope.spawn(move || {
                let caller = RawCaller::connect(daemon.socket());
                for round in 0..10 {
                    if (number + round) % 2 == 0 {
                        resumed(&caller, "resume=mine\n", server);
                    } else {
                        let code = failed(&caller, &and("resume=mine\n"), Some(&pki().ca.fd()), bad);
                        assert_eq!(code, "unknown-issuer");
                    }
                }
            });
        }
    });
    assert!(server.shown() > 0, "nobody resumed");
}
