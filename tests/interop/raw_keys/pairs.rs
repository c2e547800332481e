//! The daemon at both ends: what resumes, and that nothing resumes across the kinds.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use tlsify_client::{Accept, CertificateType, Connect, Error, Established, Pin, Trust};
use tlsifyd_tests::gnutls::{ONLY_RAW_KEYS, RawKey, serv};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, Open, RawCaller, TempDir, TestDaemon, pki, reach, tcp_pair, tool};

use super::{accept, connect, ours};

fn peer() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// A session between two requests, through the same daemon; both opened, and a word went to the client, behind the
/// tickets.
fn meet(
    daemon: &TestDaemon,
    server: impl FnOnce(Accept) -> Accept,
    client: impl FnOnce(Connect) -> Connect,
) -> [Open; 2] {
    let (near, far) = tcp_pair();
    let caller = daemon.client();
    let pending = caller.start_accept(&server(Accept::new(far).key(ours().key_fd()))).unwrap();
    let request = Connect::new(near).certificate_type(CertificateType::RawPublicKey).trust(Trust::Pins);
    let request = client(request.pin(Pin::Spki(ours().spki_sha256)));
    let mut there: Open = Open::new(daemon.client().connect_tls(&request).unwrap());
    let mut here = Open::new(pending.wait().unwrap());
    here.say("word\n");
    there.hear("word\n");
    [here, there]
}

#[test]
fn a_session_of_raw_keys_resumes_and_its_pin_is_checked_again() {
    let daemon = TestDaemon::start();
    let mut exports = Vec::new();
    for resumed in [false, true, true] {
        let ask =
            |connect: Connect| connect.resume("r").channel_binding().export("EXPERIMENTAL x", Some(b"c"), 48);
        let serve =
            |accept: Accept| accept.resume("r").channel_binding().export("EXPERIMENTAL x", Some(b"c"), 48);
        let [here, there] = meet(&daemon, serve, ask);
        assert_eq!((here.facts.resumed, there.facts.resumed), (resumed, resumed));
        assert_eq!(there.facts.certificate_type, Some(CertificateType::RawPublicKey));
        assert_eq!(there.facts.spki_sha256, Some(ours().spki_sha256));
        assert_eq!(there.facts.matched.len(), 1);
        // Both have the same secrets, and each session its own.
        assert_eq!(here.facts.exports, there.facts.exports);
        assert_eq!(here.facts.channel_binding, there.facts.channel_binding);
        assert!(here.facts.channel_binding.is_some() && !exports.contains(&here.facts.channel_binding));
        exports.push(here.facts.channel_binding);
    }
    // Whose pins are others has no use for these tickets.
    let [_, there] = meet(
        &daemon,
        |accept| accept.resume("r"),
        |connect| connect.resume("r").pin(Pin::Spki(peer().spki_sha256)),
    );
    assert!(!there.facts.resumed);
}

/// A file of ticket keys at the server's end, its directory at the client's.
#[test]
fn stores_that_are_descriptors_hold_sessions_of_raw_keys_too() {
    let (daemon, folder) = (TestDaemon::start(), TempDir::new("raw-stores"));
    let path = folder.path().join("keys");
    let file = || {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).unwrap()
    };
    let place = || File::open(folder.path()).unwrap();
    let meet = || meet(&daemon, |accept| accept.resume_file(file()), |connect| connect.resume_file(place()));
    for resumed in [false, true, true] {
        let [here, there] = meet();
        assert_eq!((here.facts.resumed, there.facts.resumed), (resumed, resumed));
        assert_eq!(there.facts.certificate_type, Some(CertificateType::RawPublicKey));
        assert_eq!((there.facts.spki_sha256, there.facts.matched.len()), (Some(ours().spki_sha256), 1));
    }
    assert_eq!(daemon.client().forget_file(file(), None).unwrap(), 1);
    let [here, there] = meet();
    assert_eq!((here.facts.resumed, there.facts.resumed), (false, false), "the keys are others");
}

/// A key in a certificate and the same key alone are two things, though its pin is one.
#[test]
fn a_ticket_of_one_kind_is_none_of_the_other() {
    let daemon = TestDaemon::start();
    let session = |raw: bool| {
        let (near, far) = tcp_pair();
        let caller = daemon.client();
        let request = Accept::new(far).resume("k");
        let request = if raw { request } else { request.certificate(ours().certificate_fd()) };
        let pending = caller.start_accept(&request.key(ours().key_fd())).unwrap();
        let request = Connect::new(near).resume("k").trust(Trust::Pins).pin(Pin::Spki(ours().spki_sha256));
        let request = if raw { request.certificate_type(CertificateType::RawPublicKey) } else { request };
        let mut there: Open = Open::new(daemon.client().connect_tls(&request).unwrap());
        let mut here = Open::new(pending.wait().unwrap());
        here.say("word\n");
        there.hear("word\n");
        assert_eq!(there.facts.certificate_type.is_some(), raw);
        there.facts.resumed
    };
    let opened = [true, false, true, false].map(session);
    assert_eq!(opened, [false, false, true, true]);
}

#[test]
fn a_client_that_comes_back_is_known_by_its_key_and_a_ticket_replaces_no_pin() {
    let daemon = TestDaemon::start();
    let session = |allowed: &Identity| -> Result<Established, _> {
        let (near, far) = tcp_pair();
        let caller = daemon.client();
        let _pending = caller.start_accept(&accept(far, allowed).resume("m")).unwrap();
        let request = connect(near, ours()).key(peer().key_fd()).resume("m");
        let there = daemon.client().connect_tls(&request);
        let _here = _pending.wait()?;
        there
    };
    for _ in 0..2 {
        let there = session(peer()).unwrap();
        assert_eq!(there.facts.spki_sha256, Some(ours().spki_sha256));
    }
    let other = pki().server(KeyKind::Rsa2048);
    assert!(session(other).is_err(), "it is pinned no more");
}

/// Also of a server that asks for raw public keys, and refuses who does not offer one.
#[test]
fn a_first_look_at_a_server_tells_its_key_and_shows_none_of_ours() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let look = |pin: &Identity| {
        let (near, far) = tcp_pair();
        let there = daemon.client();
        let pending = there.start_accept(&accept(far, peer())).unwrap();
        let request = format!(
            "tlsify/1 connect\nid=1\nfds=net key\nlearn=yes\ntrust=pins\npin=spki-sha256:{}\n\
             certificate-type=raw-public-key\n",
            pin.spki_sha256
        );
        let answer = caller.ask(request, &[&near, &peer().key_fd()]);
        let Err(Error::Failed(failed)) = pending.wait() else { panic!("it opened") };
        assert_eq!(failed.spki_sha256, None, "nothing of ours was shown");
        assert_eq!(answer.get("code"), Some("learned"), "{}", answer.text);
        assert_eq!(answer.get("spki-sha256"), Some(ours().spki_sha256.to_string().as_str()));
        answer.get("would").expect("it is told").to_owned()
    };
    assert_eq!((look(peer()).as_str(), look(ours()).as_str()), ("pin-mismatch", "established"));
}

#[test]
fn tickets_of_gnutls_resume() {
    let (Some(gnutls), Some(openssl)) = (tool("gnutls-serv"), tool("openssl")) else { return };
    let daemon = TestDaemon::start();
    let key = RawKey::of(&openssl, peer());
    let (_tool, port) = serv(&gnutls, ONLY_RAW_KEYS, Some(&key), &[]);
    for round in 0..4 {
        let request = connect(reach(port), peer()).resume("g");
        let mut open = match daemon.client().connect_tls(&request) {
            Ok(established) => Open::new(established),
            Err(error) => panic!("session {round}: {error:?}"),
        };
        open.say("hello\n");
        open.hear("hello\n");
        assert_eq!(open.facts.spki_sha256, Some(peer().spki_sha256));
        assert_eq!(open.facts.resumed, round > 0);
    }
}
