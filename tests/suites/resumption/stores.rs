//! What a store gives: to whom, with which facts, and for how long.

use std::fs;
use std::io::{Read, Seek};

use nix::sys::signal::Signal;
use tlsify_protocol::Sha256;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{RawCaller, TempDir, TestDaemon, TicketServer, packets, pki};

use super::{EACH, and, failed, good, resumed, session};

#[test]
fn the_second_session_resumes_and_is_told_everything_the_first_was() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let caller = RawCaller::connect(daemon.socket());
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        let lines =
            and("resume=mine\nchain=yes\nexport=label:Y29udGV4dA==:32\nchannel-binding=tls-exporter\n");
        for resumed in ["no", "yes"] {
            let ca = pki().ca.fd();
            let mut told = packets::connect(&caller, 1, &lines, &[("ca", &ca)], &server.config);
            told.hear();
            let mut chain = String::new();
            let mut file = fs::File::from(told.answer.fds.remove(0));
            // Whoever wrote it left its offset at the end.
            file.rewind().unwrap();
            file.read_to_string(&mut chain).unwrap();
            assert_eq!(chain.replace('\r', ""), good().certificate_pem.replace('\r', ""));

            let mut value = [0; 32];
            let rustls::Connection::Server(tls) = &told.peer.tls else { panic!("a server") };
            tls.export_keying_material(&mut value, b"label", Some(b"context")).unwrap();
            let export = format!("label:Y29udGV4dA==:{}", Sha256(value));
            assert_eq!(told.answer.get("export"), Some(export.as_str()), "resumed: {resumed}");

            let established = told.end(&caller);
            assert_eq!(established.get("resumed"), Some(resumed), "{}", established.text);
            let matched = format!("name:{SERVER_NAME}");
            assert_eq!(established.get("matched"), Some(matched.as_str()));
            assert_eq!(established.get("spki-sha256"), Some(good().spki_sha256.to_string().as_str()));
            let certificate = good().certificate_sha256.to_string();
            assert_eq!(established.get("certificate-sha256"), Some(certificate.as_str()));
            assert!(established.get("channel-binding").is_some(), "{}", established.text);
        }
        assert_eq!(server.shown(), 1);
    }
    drop(caller);
    daemon.settled_fds(&baseline);
}

/// Who asks does not matter, as long as it is the same user: a command that ran a minute ago has left its ticket.
#[test]
fn a_store_outlives_control_connections_and_goes_with_the_daemon() {
    for versions in EACH {
        let daemon = TestDaemon::start();
        let server = TicketServer::new(good(), versions);
        let asked = || resumed(&RawCaller::connect(daemon.socket()), "resume=mine\n", &server);
        assert_eq!((asked(), asked(), asked()), (false, true, true));
        let next = TestDaemon::start();
        assert!(!resumed(&RawCaller::connect(next.socket()), "resume=mine\n", &server));
    }
}

#[test]
fn profiles_of_callers_and_of_the_operator_resume_too() {
    let daemon = TestDaemon::with_config(format!(
        "[[store]]\nname = \"ours\"\nfile = \"{}\"\n\
         [[profile]]\nname = \"theirs\"\nrole = \"client\"\nusers = [\"*\"]\ntrust = \"store:ours\"\n",
        pki().ca.file.display()
    ));
    let caller = RawCaller::connect(daemon.socket());
    let define = "tlsify/1 define\nid=1\nprofile=mine\nrole=client\nfds=ca\ntrust=descriptor\n";
    assert_eq!(caller.ask(define, &[&pki().ca.fd()]).verb(), "defined");
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        for profile in ["mine", "theirs"] {
            let lines = format!("profile={profile}\nname={SERVER_NAME}\nresume={profile}\n");
            for resumed in ["no", "yes"] {
                let established = session(&caller, &lines, None, &server);
                assert_eq!(established.get("resumed"), Some(resumed), "{profile}: {}", established.text);
            }
        }
        // The same authorities are the same trust, however they are named.
        let lines = format!("name={SERVER_NAME}\ntrust=store:ours\nresume=mine\n");
        assert_eq!(session(&caller, &lines, None, &server).get("resumed"), Some("yes"));
    }
}

/// What the operator trusts no more is not trusted by an old ticket either.
#[test]
fn a_reload_with_other_authorities_is_not_got_round_by_a_ticket() {
    for versions in EACH {
        let dir = TempDir::new("authorities");
        let file = dir.path().join("ca.pem");
        fs::write(&file, &pki().ca.pem).unwrap();
        let daemon =
            TestDaemon::with_config(format!("[[store]]\nname = \"ours\"\nfile = \"{}\"\n", file.display()));
        let caller = RawCaller::connect(daemon.socket());
        let server = TicketServer::new(good(), versions);
        let lines = format!("name={SERVER_NAME}\ntrust=store:ours\nresume=mine\n");
        for resumed in ["no", "yes"] {
            assert_eq!(session(&caller, &lines, None, &server).get("resumed"), Some(resumed));
        }
        server.shown();
        for (ca, opens) in [(&pki().other_ca, false), (&pki().ca, true)] {
            let before = daemon.log().len();
            fs::write(&file, &ca.pem).unwrap();
            daemon.signal(Signal::SIGHUP);
            until(LIMIT, || daemon.log()[before..].contains("configuration reloaded").then_some(()))
                .expect("it reloads");
            if opens {
                session(&caller, &lines, None, &server);
            } else {
                assert_eq!(failed(&caller, &lines, None, &server), "unknown-issuer");
                assert_eq!(server.shown(), 0, "a ticket was shown to a server that nobody vouches for");
            }
        }
    }
}

#[test]
fn a_server_that_has_forgotten_gets_a_full_handshake() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    for versions in EACH {
        assert!(!resumed(&caller, "resume=mine\n", &TicketServer::new(good(), versions)));
        let another = TicketServer::new(good(), versions);
        assert!(!resumed(&caller, "resume=mine\n", &another));
        assert_eq!(another.shown(), 1);
        assert!(resumed(&caller, "resume=mine\n", &another));
    }
}
