//! Signals: reload all or nothing, drain, end; and what the service manager is told.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use tlsify_client::{Accept, Code, Error, How};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::{client_peer, open_as};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, KeyKind, Options, TempDir, TestDaemon, pki, tcp_pair};

use super::with_profile;

/// The good certificate under this profile's name, after these lines.
fn config(before: &str, name: &str) -> String {
    with_profile(before, name, pki().server(KeyKind::EcdsaP256))
}

/// Sends SIGHUP and waits for the line about it.
fn reload(daemon: &TestDaemon, text: &str) -> String {
    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    until(LIMIT, || {
        let log = daemon.log();
        log[before..].lines().find(|line| line.contains(text)).map(str::to_owned)
    })
    .unwrap_or_else(|| panic!("no \"{text}\" in:\n{}", daemon.log()))
}

/// The reason why a session with this profile is not begun.
fn refused(daemon: &TestDaemon, profile: &str) -> Option<Code> {
    let (_ours, theirs) = tcp_pair();
    match daemon.client().accept(&Accept::new(theirs).profile(profile)) {
        Err(Error::Refused(refused)) => Some(refused.code),
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn reload_brings_new_profiles_and_keeps_old_sessions() {
    let daemon = TestDaemon::with_config(config("", "old"));
    let client = daemon.client();
    let mut before = open_as(&client, "old");
    daemon.write_config(&config("", "new"));
    reload(&daemon, "configuration reloaded");
    let mut after = open_as(&client, "new");
    assert_eq!(refused(&daemon, "old"), Some(Code::UnknownProfile));
    before.assert_alive();
    after.assert_alive();
}

#[test]
fn reload_with_an_error_changes_nothing_and_names_file_line_and_cause() {
    let daemon = TestDaemon::with_config(config("", "web"));
    let file = daemon.dir().join("tlsifyd.toml");
    let absent = config("", "other").replace(".key\"", ".absent\"");
    let errors = [
        ("[log]\nlevl = \"info\"\n".to_owned(), ":2: unknown key "),
        // The profile before the broken one is good, and is not taken either.
        (config("", "good") + &absent[1..], ".absent"),
    ];
    for (config, cause) in errors {
        daemon.write_config(&config);
        let line = reload(&daemon, "configuration not reloaded, the old one stays");
        assert!(line.contains(file.to_str().expect("a plain name")) && line.contains(cause), "{line}");
        open_as(&daemon.client(), "web").assert_alive();
        assert_eq!(refused(&daemon, "good"), Some(Code::UnknownProfile));
    }
    fs::remove_file(&file).expect("it is there");
    reload(&daemon, "configuration not reloaded, the old one stays");
    open_as(&daemon.client(), "web").assert_alive();
}

#[test]
fn a_renewed_certificate_is_served_after_a_reload() {
    let dir = TempDir::new("renewal");
    let (certificate, key) = (dir.path().join("web.pem"), dir.path().join("web.key"));
    let install = |kind| {
        let identity = pki().server(kind);
        fs::copy(&identity.certificate_file, &certificate).expect("the folder is ours");
        fs::copy(&identity.key_file, &key).expect("the folder is ours");
        identity.chain()
    };
    let first = install(KeyKind::EcdsaP256);
    let daemon = TestDaemon::with_config(server_profile("web", "users = [\"*\"]", &certificate, &key));
    let shown = |daemon: &TestDaemon| {
        let open = open_as(&daemon.client(), "web");
        open.peer.tls.peer_certificates().expect("a server has one").to_vec()
    };
    assert_eq!(shown(&daemon), first);
    let second = install(KeyKind::Ed25519);
    assert_eq!(shown(&daemon), first, "a file that changes is not looked at before it is time");
    reload(&daemon, "configuration reloaded");
    assert_eq!(shown(&daemon), second);
}

#[test]
fn without_sessions_sigterm_and_sigint_end_it_at_once() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let daemon = TestDaemon::start();
        let _idle = daemon.client();
        daemon.signal(signal);
        assert!(daemon.wait().success(), "{}", daemon.log());
        assert!(!daemon.socket().exists());
    }
}

#[test]
fn draining_takes_nothing_new_and_lets_open_sessions_finish() {
    let daemon = TestDaemon::with_config(config("[timeouts]\ndrain = \"1h\"\n", "web"));
    let client = daemon.client();
    let mut session = open_as(&client, "web");
    daemon.terminate();
    until(LIMIT, || (!daemon.socket().exists()).then_some(())).expect("the socket goes first");
    assert!(matches!(tlsify_client::Client::connect_to(daemon.socket()), Err(Error::NoDaemon { .. })));
    until(LIMIT, || (!daemon.keys_socket().exists()).then_some(())).expect("that for ssh-add goes with it");
    let (_ours, theirs) = tcp_pair();
    match client.accept(&Accept::new(theirs).profile("web")) {
        Err(Error::Refused(refused)) => assert_eq!(refused.code, Code::Draining),
        // Whoever asks late may also find the door closed; nobody gets a session.
        Err(Error::Gone | Error::Io(_)) => {}
        other => panic!("a session while draining: {other:?}"),
    }
    session.assert_alive();
    assert!(daemon.poll().is_none());
    session.plain.shutdown(std::net::Shutdown::Write).expect("the session is open");
    session.peer.close_notify().expect("the session is open");
    assert_eq!(session.established.session.ended().expect("it ends").how, How::CloseNotify);
    drop(session.plain);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn at_the_deadline_sessions_end_with_close_notify_and_the_caller_is_told_why() {
    let daemon = TestDaemon::with_config(config("[timeouts]\ndrain = \"200ms\"\n", "web"));
    let client = daemon.client();
    let mut session = open_as(&client, "web");
    daemon.terminate();
    let (data, end) = session.peer.read_to_end().expect("it ends");
    assert_eq!((data.as_slice(), end), (&b""[..], End::CloseNotify));
    assert_eq!(session.established.session.ended().expect("it ends").how, How::Drained);
    assert_eq!(session.plain.read(&mut [0; 1]).expect("an end of file"), 0);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn a_handshake_that_is_not_done_at_the_deadline_fails_as_drained() {
    let daemon = TestDaemon::with_config(config("[timeouts]\ndrain = \"200ms\"\n", "web"));
    let client = daemon.client();
    let (_silent, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile("web")).expect("the daemon listens");
    until(LIMIT, || {
        let status = client.status(tlsify_client::Scope::Own, false).expect("the daemon listens");
        (status.handshakes == 1).then_some(())
    })
    .expect("the handshake begins");
    daemon.terminate();
    match pending.wait() {
        Err(Error::Failed(failed)) => assert_eq!(failed.code, Code::Drained),
        other => panic!("{other:?}"),
    }
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn a_second_sigterm_does_not_wait_for_the_deadline() {
    let daemon = TestDaemon::with_config(config("[timeouts]\ndrain = \"1h\"\n", "web"));
    let client = daemon.client();
    let mut session = open_as(&client, "web");
    daemon.terminate();
    until(LIMIT, || (!daemon.socket().exists()).then_some(())).expect("it drains");
    session.assert_alive();
    daemon.terminate();
    assert_eq!(session.established.session.ended().expect("it ends").how, How::Drained);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn a_peer_that_takes_no_goodbye_does_not_keep_the_daemon() {
    use std::io::Write;
    let daemon = TestDaemon::with_config(config("[timeouts]\ndrain = \"100ms\"\n", "web"));
    let client = daemon.client();
    let mut session = open_as(&client, "web");
    // The peer reads nothing: what is written fills every queue on the way.
    session.plain.set_write_timeout(Some(Duration::from_millis(300))).expect("a limit that is not zero");
    while session.plain.write_all(&[7; 65536]).is_ok() {}
    daemon.terminate();
    assert!(daemon.wait().success(), "{}", daemon.log());
    // What did arrive must not look complete.
    let end = session.peer.read_to_end();
    assert!(!matches!(end, Ok((_, End::CloseNotify))), "a broken stream looks whole");
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_end() {
    let dir = TempDir::new("notify");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("the folder is ours");
    manager.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    let hear = || {
        let mut text = [0; 512];
        let count = manager.recv(&mut text).expect("it says something");
        String::from_utf8_lossy(&text[..count]).into_owned()
    };
    let env = vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
    let daemon = TestDaemon::with(Options { env, config: Some(String::new()), ..Options::default() });
    assert_eq!(hear().trim(), "READY=1");
    daemon.signal(Signal::SIGHUP);
    assert!(hear().contains("RELOADING=1"));
    assert_eq!(hear().trim(), "READY=1");
    daemon.terminate();
    assert_eq!(hear().trim(), "STOPPING=1");
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn a_private_daemon_does_not_speak_for_the_service_that_started_it() {
    let dir = TempDir::new("notify");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("the folder is ours");
    manager.set_nonblocking(true).expect("a socket can be polled");
    let env = vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
    let mut daemon = TestDaemon::private_with(Options { env, ..Options::default() });
    daemon.hang_up();
    assert!(daemon.wait().success(), "{}", daemon.log());
    // It has ended: whatever it would have said is there.
    assert!(manager.recv(&mut [0; 64]).is_err(), "it said something");
}

#[test]
fn ready_is_not_said_before_callers_are_served() {
    let dir = TempDir::new("ready");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("the folder is ours");
    manager.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    let socket = dir.path().join("sock");
    let mut command = super::tlsifyd(&["--socket", super::text(&socket)]);
    let _daemon = tlsifyd_tests::Program::start(command.env("NOTIFY_SOCKET", &path));
    manager.recv(&mut [0; 64]).expect("it says that it is ready");
    tlsify_client::Client::connect_to(&socket).expect("ready means that it serves");
}

#[test]
fn a_peer_can_open_a_session_through_a_reload() {
    // The handshake is under way while the configuration changes: it goes on with what it began with.
    let daemon = TestDaemon::with_config(config("", "web"));
    let client = daemon.client();
    let (ours, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile("web")).expect("the daemon listens");
    until(LIMIT, || {
        let status = client.status(tlsify_client::Scope::Own, false).expect("the daemon listens");
        (status.handshakes == 1).then_some(())
    })
    .expect("the handshake begins");
    daemon.write_config("");
    reload(&daemon, "configuration reloaded");
    let mut peer = client_peer(ours);
    peer.handshake().expect("the old profile is good");
    pending.wait().expect("the old profile is good");
    assert_eq!(refused(&daemon, "web"), Some(Code::UnknownProfile));
}
