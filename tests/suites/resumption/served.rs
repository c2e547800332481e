//! The daemon as the server: whose tickets open where, and what costs no more than a full handshake.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use tlsify_client::{Accept, Client, Facts, How, Profile};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::wait::{LIMIT, running, until};
use tlsifyd_tests::{KeyKind, Open, Peer, TempDir, TestDaemon, User, pki, tcp_pair};

use super::{EACH, good};

/// A client that keeps the tickets it gets.
pub(crate) fn visitor(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    showing(versions, None)
}

pub(crate) fn showing(
    versions: &[&'static SupportedProtocolVersion],
    identity: Option<&Identity>,
) -> Arc<ClientConfig> {
    let mut config = client_config(pki().ca.roots(), versions, identity);
    config.resumption = Resumption::in_memory_sessions(32);
    Arc::new(config)
}

/// A whole session with this request: it opens, both say a word, both say goodbye.
#[track_caller]
pub(crate) fn session(
    client: &Client,
    visitor: &Arc<ClientConfig>,
    ask: impl FnOnce(Accept) -> Accept,
) -> Facts {
    let (near, far) = tcp_pair();
    let pending = client.start_accept(&ask(Accept::new(far))).unwrap();
    let mut peer = Peer::client(near, Arc::clone(visitor), SERVER_NAME);
    // Beside it, for callers that are asked on the way.
    let opened = running("a caller", move || pending.wait().unwrap());
    peer.handshake().unwrap();
    let mut open = Open::new(opened.join());
    let theirs = peer.tls.handshake_kind() == Some(HandshakeKind::Resumed);
    assert_eq!(open.facts.resumed, theirs, "both ends say the same");
    open.say("word");
    assert_eq!(peer.read_exact(4).unwrap(), b"word");
    peer.write_all(b"answer").unwrap();
    open.hear("answer");
    peer.half_close().unwrap();
    let facts = open.facts.clone();
    let (_, ended) = open.rest();
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    facts
}

/// The good server without a profile.
#[track_caller]
fn resumed(client: &Client, visitor: &Arc<ClientConfig>, store: Option<&str>) -> bool {
    let ask = |request| match store {
        None => with_good(request),
        Some(store) => with_good(request).resume(store),
    };
    session(client, visitor, ask).resumed
}

pub(crate) fn with_good(request: Accept) -> Accept {
    request.certificate(good().certificate_fd()).key(good().key_fd())
}

#[test]
fn a_client_that_comes_again_resumes_and_the_facts_are_those_of_the_first_time() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let client = daemon.client();
    for versions in EACH {
        let visitor = visitor(versions);
        let ask = |request| with_good(request).resume("web").channel_binding();
        let first = session(&client, &visitor, ask);
        for _ in 0..3 {
            let facts = session(&client, &visitor, ask);
            assert_eq!((first.resumed, facts.resumed), (false, true), "{facts:?}");
            let same =
                |facts: &Facts| (facts.protocol.clone(), facts.cipher.clone(), facts.server_name.clone());
            assert_eq!(same(&first), same(&facts));
            assert_eq!(facts.server_name.as_deref(), Some(SERVER_NAME));
            assert!(first.signature.is_some() && facts.signature.is_none(), "nobody signed: {facts:?}");
            assert!(facts.channel_binding.is_some() && facts.channel_binding != first.channel_binding);
        }
    }
    drop(client);
    daemon.settled_fds(&baseline);
}

#[test]
fn without_a_store_no_ticket_is_given_and_none_is_taken() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for versions in EACH {
        let visitor = visitor(versions);
        let each: Vec<bool> =
            [None, None, Some("web"), None].map(|store| resumed(&client, &visitor, store)).to_vec();
        assert_eq!(each, [false; 4]);
    }
}

#[test]
fn another_process_of_the_same_user_opens_the_tickets_and_another_daemon_does_not() {
    for versions in EACH {
        let (daemon, visitor) = (TestDaemon::start(), visitor(versions));
        let asked = || resumed(&daemon.client(), &visitor, Some("web"));
        assert_eq!((asked(), asked(), asked()), (false, true, true));
        let other = TestDaemon::start();
        assert!(!resumed(&other.client(), &visitor, Some("web")));
        assert!(resumed(&other.client(), &visitor, Some("web")));
    }
}

#[test]
fn another_users_store_of_the_same_name_opens_nothing() {
    if !is_root("another user's store") {
        return;
    }
    let daemon = TestDaemon::start();
    let [first, second] = [12_345, 54_321].map(|uid| User::new(uid).client(&daemon));
    for versions in EACH {
        for other in [&second, &daemon.client()] {
            let visitor = visitor(versions);
            assert!(!resumed(&first, &visitor, Some("web")));
            assert!(!resumed(other, &visitor, Some("web")), "another user opened it");
            assert!(!resumed(&first, &visitor, Some("web")), "that was the other user's ticket");
            assert!(resumed(&first, &visitor, Some("web")));
        }
    }
}

#[test]
fn another_name_identity_or_parameter_is_a_full_handshake() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let renewed = pki().server_for(SERVER_NAME);
    for versions in EACH {
        let others: [(&str, &dyn Fn(Accept) -> Accept); 6] = [
            ("name", &|request| with_good(request).resume("other")),
            ("key", &|request| {
                let rsa = pki().server(KeyKind::Rsa2048);
                request.certificate(rsa.certificate_fd()).key(rsa.key_fd()).resume("web")
            }),
            ("certificate", &|request| {
                request.certificate(renewed.certificate_fd()).key(renewed.key_fd()).resume("web")
            }),
            ("one identity more", &|request| {
                let request = with_good(request);
                request.certificate(renewed.certificate_fd()).key(renewed.key_fd()).resume("web")
            }),
            ("groups", &|request| with_good(request).groups(["secp256r1"]).resume("web")),
            ("protocol", &|request| with_good(request).alpn(["h2"]).resume("web")),
        ];
        for (what, other) in others {
            let visitor = visitor(versions);
            assert!(!resumed(&client, &visitor, Some("web")));
            assert!(!session(&client, &visitor, other).resumed, "another {what}");
            assert!(session(&client, &visitor, other).resumed, "its own, with another {what}");
        }
    }
}

#[test]
fn profiles_of_callers_and_of_the_operator_resume_and_tickets_outlive_a_reload() {
    let dir = TempDir::new("renewed");
    let [certificate, key] = ["chain.pem", "key.pem"].map(|name| dir.path().join(name));
    let install = |identity: &Identity| {
        fs::write(&certificate, &identity.certificate_pem).unwrap();
        // Before the key is in it, only we may read it.
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(&key).unwrap().write_all(identity.key_pem.as_bytes()).unwrap();
    };
    for versions in EACH {
        install(good());
        let daemon = TestDaemon::with_config(server_profile("theirs", "users = [\"*\"]", &certificate, &key));
        let client = daemon.client();
        let mine = Profile::server("mine").certificate(good().certificate_fd()).key(good().key_fd());
        client.define(&mine).unwrap();
        let reload = || {
            let before = daemon.log().len();
            daemon.signal(Signal::SIGHUP);
            until(LIMIT, || daemon.log()[before..].contains("configuration reloaded").then_some(()))
                .expect("it reloads");
        };
        let visitor = visitor(versions);
        let asked =
            |profile: &str| session(&client, &visitor, |it| it.profile(profile).resume("web")).resumed;
        assert_eq!((asked("mine"), asked("mine")), (false, true));
        // What says the same is the same, whoever says it.
        assert!(asked("theirs"));
        reload();
        assert!(asked("theirs"), "nothing has changed");
        install(&pki().server_for(SERVER_NAME));
        reload();
        assert!(!asked("theirs"), "clients see the renewed certificate");
        assert!(asked("theirs"));
    }
}

/// Some come with TLS 1.2 and some with TLS 1.3, and tickets of one version are no use in the other.
#[test]
fn versions_do_not_meet_in_one_store() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let visitors = [visitor(EACH[0]), visitor(EACH[1]), visitor(BOTH_VERSIONS)];
    for resumes in [false, true, true] {
        for visitor in &visitors {
            assert_eq!(resumed(&client, visitor, Some("web")), resumes);
        }
    }
}

/// Two hundred services of one user: the latest resume, and nothing grows.
#[test]
fn many_stores_are_as_many_as_one_may_have() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let meet = |visitor: &Arc<ClientConfig>, number: u32| {
        resumed(&client, visitor, Some(&format!("store-{number}")))
    };
    let first = visitor(EACH[1]);
    assert_eq!((meet(&first, 0), meet(&first, 0)), (false, true));
    for number in 1..200 {
        meet(&visitor(EACH[1]), number);
    }
    assert!(!meet(&first, 0), "it was pushed out, and the session opens all the same");
    assert!(meet(&first, 0));
}
