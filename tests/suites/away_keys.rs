//! Callers' private keys go to the keyholder, unread by the process that does TLS: they sign there as they would here, are
//! forgotten with their profile, and what is wrong with them, or with the keyholder, is told.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::SupportedProtocolVersion;
use tlsify_client::{
    Accept, Blame, Client, ClientCertificate, Code, Connect, Error, Failed, Profile, Trust, Version, pem_fd,
};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::{Open, client_peer, open, open_as};
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13, client_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Options, Peer, TestDaemon, exclusive, pki, tcp_pair, within};

/// A daemon that tells of each key.
fn daemon() -> TestDaemon {
    daemon_with(None)
}

fn daemon_with(config: Option<String>) -> TestDaemon {
    TestDaemon::with(Options {
        config,
        args: vec!["--log-level".into(), "debug".into()],
        ..Options::default()
    })
}

/// The process that has the keys.
fn keyholder(daemon: &TestDaemon) -> Pid {
    let found = until(LIMIT, || Some(daemon.parts().into_iter().find(|(_, name)| name == "tlsifyd-keys")?.0));
    let pid = found.unwrap_or_else(|| panic!("there is no keyholder\n{}", daemon.log()));
    Pid::from_raw(pid.try_into().expect("a process id fits"))
}

/// Waits until the log has so many lines with these words.
fn logged(daemon: &TestDaemon, words: &str, count: usize) {
    let seen = || daemon.log().matches(words).count();
    let enough = until(LIMIT, || (seen() == count).then_some(()));
    assert!(enough.is_some(), "{} times {words:?}, and not {count}:\n{}", seen(), daemon.log());
}

fn server(name: &str, kind: KeyKind) -> Profile {
    let identity = pki().server(kind);
    Profile::server(name).certificate(identity.certificate_fd()).key(identity.key_fd())
}

fn opens(client: &Client, profile: &str, versions: &[&'static SupportedProtocolVersion]) {
    let (ours, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile(profile)).expect("sent");
    let peer = Peer::client(ours, client_config(pki().ca.roots(), versions, None), SERVER_NAME);
    Open::complete(pending, peer).assert_alive();
}

/// How a handshake fails that this profile would do.
fn failed(client: &Client, profile: &str) -> Failed {
    let (ours, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile(profile)).expect("sent");
    let mut peer = client_peer(ours);
    let heard = within("the peer's handshake", move || peer.handshake());
    assert!(heard.is_err(), "the peer believes that it is open");
    match pending.wait() {
        Err(Error::Failed(failed)) => *failed,
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn every_kind_of_key_signs_in_the_keyholder_in_both_versions_and_roles() {
    let _alone = exclusive();
    let daemon = daemon();
    let client = daemon.client();
    for kind in KeyKind::ALL {
        client.define(&server("p", kind)).expect("defined");
        for versions in [ONLY_TLS12, ONLY_TLS13] {
            opens(&client, "p", versions);
        }
        let ca = || pem_fd(&pki().ca.pem).expect("memfd");
        let strict = server("strict", KeyKind::EcdsaP256).client_certificate(ClientCertificate::Required);
        client.define(&strict.trust(Trust::ca(ca()))).expect("defined");
        for version in [Version::Tls12, Version::Tls13] {
            let (ours, theirs) = tcp_pair();
            let accepted = client.start_accept(&Accept::new(theirs).profile("strict")).expect("sent");
            let own = pki().client(kind);
            let connect = Connect::new(ours).name(SERVER_NAME).trust(Trust::ca(ca())).max_version(version);
            let connect = connect.certificate(own.certificate_fd()).key(own.key_fd());
            let connected = client.start_connect_tls(&connect).expect("sent").wait().expect("established");
            let accepted = accepted.wait().expect("established");
            assert_eq!(accepted.facts.spki_sha256, Some(own.spki_sha256), "{kind:?} {version:?}");
            drop(connected);
        }
    }
    daemon.terminate();
    assert!(daemon.wait().success());
}

#[test]
fn a_callers_key_is_forgotten_with_its_profile_and_not_kept_for_open_sessions() {
    let _alone = exclusive();
    let daemon = daemon();
    let baseline = daemon.baseline();
    let client = daemon.client();
    client.define(&server("p", KeyKind::EcdsaP256)).expect("defined");
    logged(&daemon, "key added", 1);
    client.define(&server("p", KeyKind::Ed25519)).expect("defined");
    logged(&daemon, "key forgotten", 1);
    // One that brings its own, for itself alone.
    let session = open(&client);
    logged(&daemon, "key added", 3);
    logged(&daemon, "key forgotten", 2);
    let other = open_as(&client, "p");
    // What is left is the data; the control connection goes with the last of its handles.
    let left = [session, other].map(|open| (open.plain, open.peer));
    drop(client);
    logged(&daemon, "key forgotten", 3);
    for (mut plain, mut peer) in left {
        plain.write_all(b"alive").expect("room");
        assert_eq!(peer.read_exact(5).expect("data"), b"alive");
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn a_refused_definition_leaves_no_key_behind() {
    let _alone = exclusive();
    let daemon = daemon();
    let client = daemon.client();
    let (one, other) = (pki().server(KeyKind::EcdsaP256), pki().server(KeyKind::Ed25519));
    let wrong = Profile::server("p").certificate(one.certificate_fd()).key(other.key_fd());
    assert_eq!(client.define(&wrong).unwrap_err().code(), Some(Code::KeyMismatch));
    logged(&daemon, "key added", 1);
    logged(&daemon, "key forgotten", 1);
}

#[test]
fn a_keyholder_that_is_killed_takes_given_keys_along_and_the_operators_come_back() {
    let _alone = exclusive();
    let identity = pki().server(KeyKind::EcdsaP256);
    let uid = nix::unistd::getuid();
    let who = format!("users = [{uid}]");
    let web = server_profile("web", &who, &identity.certificate_file, &identity.key_file);
    let daemon = daemon_with(Some(web));
    let client = daemon.client();
    client.define(&server("p", KeyKind::EcdsaP256)).expect("defined");
    opens(&client, "p", ONLY_TLS13);
    opens(&client, "web", ONLY_TLS13);
    let before = keyholder(&daemon);
    kill(before, Signal::SIGKILL).expect("it runs");
    // Nobody is there, or its successor, who has never heard of this key.
    let failure = failed(&client, "p");
    assert!(
        [Code::KeyholderUnavailable, Code::KeyForgotten].contains(&failure.code),
        "{:?}: {}",
        failure.code,
        failure.text
    );
    let back = until(LIMIT, || (failed(&client, "p").code == Code::KeyForgotten).then_some(()));
    assert!(back.is_some(), "the worker hears of no other keyholder\n{}", daemon.log());
    assert_ne!(keyholder(&daemon), before);
    let failure = failed(&client, "p");
    assert_eq!((failure.code, failure.blame), (Code::KeyForgotten, Blame::Caller));
    assert!(failure.text.contains("hand it over again with define"), "{}", failure.text);
    client.define(&server("p", KeyKind::EcdsaP256)).expect("defined again");
    opens(&client, "p", ONLY_TLS12);
    opens(&client, "web", ONLY_TLS12);
}

#[test]
fn a_keyholder_that_stands_still_is_not_waited_for_for_ever_and_goes_on_as_it_was() {
    let _alone = exclusive();
    let daemon = daemon();
    let client = daemon.client();
    client.define(&server("p", KeyKind::EcdsaP256)).expect("defined");
    let holder = keyholder(&daemon);
    kill(holder, Signal::SIGSTOP).expect("it runs");
    let failure = failed(&client, "p");
    assert_eq!(
        (failure.code, failure.blame),
        (Code::KeyholderUnavailable, Blame::Daemon),
        "{}",
        failure.text
    );
    kill(holder, Signal::SIGCONT).expect("it is there");
    opens(&client, "p", ONLY_TLS13);
}

/// What cannot be a key, by what is wrong with it.
fn wrong_keys() -> Vec<(&'static str, OwnedFd)> {
    let identity = pki().server(KeyKind::EcdsaP256);
    let pem = &identity.key_pem;
    let text = |text: &str| pem_fd(text).expect("memfd");
    let (reader, _writer) = nix::unistd::pipe().expect("pipe");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    vec![
        ("nothing", text("# no key\n")),
        ("a certificate", identity.certificate_fd()),
        ("two", text(&format!("{pem}{pem}"))),
        ("an encrypted one", text(encrypted)),
        ("half", text(&pem[..pem.len() / 2])),
        ("no base64", text("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n")),
        ("damaged", text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")),
        ("another's", pki().server(KeyKind::Rsa2048).key_fd()),
        ("too much", text(&"x".repeat((1 << 20) + 1))),
        ("a pipe", reader),
        ("a folder", File::open("/").expect("a folder").into()),
    ]
}

#[test]
fn what_is_wrong_with_a_key_is_told_in_the_same_words_wherever_it_is_read() {
    let _alone = exclusive();
    let (apart, single) = (daemon(), {
        let args = vec!["--single-process".to_owned()];
        TestDaemon::with(Options { args, ..Options::default() })
    });
    let refusals = |daemon: &TestDaemon| -> Vec<_> {
        let client = daemon.client();
        wrong_keys()
            .into_iter()
            .map(|(what, key)| {
                let certificate = pki().server(KeyKind::EcdsaP256).certificate_fd();
                match client.define(&Profile::server("p").certificate(certificate).key(key)) {
                    Err(Error::Refused(refused)) => (what, refused.code, refused.about, refused.text),
                    other => panic!("{what}: {other:?}"),
                }
            })
            .collect()
    };
    assert_eq!(refusals(&apart), refusals(&single));
}
