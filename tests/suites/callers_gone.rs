//! Callers that are killed at every step, and a daemon that is: what belongs to the dead goes, what does not lives on,
//! and nobody waits for ever.
//!
//! The caller that dies is this program again, started as a process of its own.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;
use std::{env, thread};

use nix::sys::signal::Signal;
use tlsify_client::{Accept, Bind, Client, Error, Profile, Scope};
use tlsifyd_tests::handover::{accept, begin, client_peer, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Census, End, KeyKind, Peer, Program, TestDaemon, pki, running};

/// What the caller is to do before it says "ready" and waits to be killed.
const STEP: &str = "TLSIFY_TEST_STEP";
/// Where the peer listens, for the caller's network socket.
const PEER: &str = "TLSIFY_TEST_PEER";
/// The server's certificate and key, as files: the far end trusts those of the test's process.
const IDENTITY: [&str; 2] = ["TLSIFY_TEST_CERTIFICATE", "TLSIFY_TEST_KEY"];
/// Where the back end listens that is given as the program's side.
const BACK_END: &str = "TLSIFY_TEST_BACK_END";

#[test]
#[ignore = "the caller that the other tests start and kill"]
fn caller() {
    let Ok(step) = env::var(STEP) else { return };
    let connect = |name: &str| TcpStream::connect(env::var(name).unwrap()).unwrap();
    let files = || IDENTITY.map(|name| File::open(env::var_os(name).unwrap()).unwrap());
    let client = Client::connect().unwrap();
    let mut kept = Vec::new();
    let accept = || {
        let [certificate, key] = files();
        Accept::new(connect(PEER)).certificate(certificate).key(key)
    };
    match step.as_str() {
        "connected" => {}
        "defined" => {
            let [certificate, key] = files();
            client.define(&Profile::server("p").certificate(certificate).key(key)).unwrap();
            kept.push(client.start_accept(&Accept::new(connect(PEER)).profile("p")).unwrap());
        }
        "handshake" => kept.push(client.start_accept(&accept()).unwrap()),
        "open" | "bound" => {
            let bind = if step == "bound" { Bind::Control } else { Bind::Descriptors };
            let established = client.accept(&accept().bind(bind)).unwrap();
            ready();
            let mut plain = std::os::unix::net::UnixStream::from(established.plain.unwrap());
            // Data flows until the end.
            while plain.write_all(&[b'x'; 1000]).is_ok() {}
        }
        "handed on" | "handed on and bound" => {
            let bind = if step == "handed on" { Bind::Descriptors } else { Bind::Control };
            let request = accept().plain(connect(BACK_END)).bind(bind);
            let established = client.accept(&request).unwrap();
            drop(request);
            ready();
            let _ = established.session.ended();
        }
        other => panic!("no such step: {other}"),
    }
    ready();
    thread::sleep(4 * LIMIT);
}

/// Tells the test that the step is done.
fn ready() {
    let _ = writeln!(std::io::stdout(), "\nready");
}

/// The caller's process, and where it connects to.
struct Doomed {
    program: Program,
    peers: TcpListener,
    back_ends: TcpListener,
}

impl Doomed {
    fn start(daemon: &TestDaemon, step: &str) -> Self {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (peers, back_ends) = (listen(), listen());
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["caller", "--exact", "--ignored", "--nocapture"]);
        command.env("TLSIFY_SOCK", daemon.socket()).env(STEP, step);
        let server = pki().server(KeyKind::EcdsaP256);
        command.env(IDENTITY[0], &server.certificate_file).env(IDENTITY[1], &server.key_file);
        command.env(PEER, peers.local_addr().unwrap().to_string());
        command.env(BACK_END, back_ends.local_addr().unwrap().to_string());
        Self { program: Program::start(&mut command), peers, back_ends }
    }

    fn ready(&mut self) {
        self.program.line_with("ready");
    }

    fn kill(mut self) {
        self.program.signal(Signal::SIGKILL);
    }
}

/// A daemon, one caller that lives, and what the daemon has without the one that dies.
fn daemon() -> (TestDaemon, Client, Census) {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let baseline = daemon.baseline();
    (daemon, client, baseline)
}

/// Waits until the daemon counts no caller but the one that asks, and nothing of anybody's.
#[track_caller]
fn nothing_is_counted(client: &Client) {
    let mut last = None;
    let done = until(LIMIT, || {
        let status = client.status(Scope::Own, true).unwrap();
        let counts = (status.callers, status.sessions, status.handshakes, status.profiles);
        last = Some(counts);
        (counts == (1, 0, 0, 0) && status.list_text().unwrap().is_empty()).then_some(())
    });
    assert!(done.is_some(), "(callers, sessions, handshakes, profiles): {last:?}");
}

#[test]
fn killed_when_it_has_only_connected() {
    let (daemon, client, baseline) = daemon();
    let mut doomed = Doomed::start(&daemon, "connected");
    doomed.ready();
    assert_eq!(client.status(Scope::Own, false).unwrap().callers, 2);
    doomed.kill();
    nothing_is_counted(&client);
    daemon.settled_fds(&baseline);
}

#[test]
fn killed_in_a_handshake_that_goes_with_its_profile() {
    for step in ["defined", "handshake"] {
        let (daemon, client, baseline) = daemon();
        let mut doomed = Doomed::start(&daemon, step);
        let (mut quiet, _) = doomed.peers.accept().unwrap();
        doomed.ready();
        let handshakes = || client.status(Scope::Own, false).unwrap().handshakes;
        until(LIMIT, || (handshakes() == 1).then_some(())).expect("it is handed over");
        doomed.kill();
        nothing_is_counted(&client);
        daemon.settled_fds(&baseline);
        // Nobody is there for the peer either.
        quiet.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(quiet.read(&mut [0; 1]).unwrap_or(0), 0);
    }
}

#[test]
fn killed_in_the_middle_of_a_handshake() {
    let (daemon, client, baseline) = daemon();
    let mut doomed = Doomed::start(&daemon, "handshake");
    let mut peer = client_peer(doomed.peers.accept().unwrap().0);
    doomed.ready();
    // The ClientHello is said, the server's flight has begun to come, our Finished is not on its way.
    peer.tls.write_tls(&mut peer.socket).unwrap();
    peer.socket.peek(&mut [0; 1]).unwrap();
    assert_eq!(client.status(Scope::Own, false).unwrap().handshakes, 1);
    doomed.kill();
    nothing_is_counted(&client);
    daemon.settled_fds(&baseline);
    assert!(peer.handshake().is_err() || peer.read(&mut [0; 1]).is_err());
}

/// The caller's session with the peer that the test is.
fn established(doomed: &mut Doomed) -> Peer {
    let mut peer = client_peer(doomed.peers.accept().unwrap().0);
    peer.handshake().unwrap();
    doomed.ready();
    peer
}

#[test]
fn killed_while_its_data_flows() {
    for step in ["open", "bound"] {
        let (daemon, client, baseline) = daemon();
        let mut doomed = Doomed::start(&daemon, step);
        let mut peer = established(&mut doomed);
        peer.read_exact(100_000).unwrap();
        doomed.kill();
        let (data, end) = peer.read_to_end().unwrap();
        assert!(data.iter().all(|byte| *byte == b'x'), "{step}");
        // Its stream is whole as far as it was written; with bind=control it may have been cut before that.
        assert!(end == End::CloseNotify || step == "bound" && end == End::Truncated, "{step}: {end:?}");
        drop(peer);
        nothing_is_counted(&client);
        daemon.settled_fds(&baseline);
    }
}

#[test]
fn killed_after_it_gave_the_session_to_somebody_else() {
    let (daemon, client, baseline) = daemon();
    let mut doomed = Doomed::start(&daemon, "handed on");
    let back_end = running("back end", {
        let listener = doomed.back_ends.try_clone().unwrap();
        move || listener.accept().unwrap().0
    });
    let mut peer = established(&mut doomed);
    let mut back_end = back_end.join();
    doomed.kill();
    let callers = || client.status(Scope::Own, false).unwrap();
    until(LIMIT, || (callers().callers == 1).then_some(())).expect("the dead have no connection");
    assert_eq!(callers().sessions, 1, "it lives as long as its descriptors");
    back_end.write_all(b"without the caller").unwrap();
    assert_eq!(peer.read_exact(18).unwrap(), b"without the caller");
    peer.write_all(b"it goes on").unwrap();
    peer.half_close().unwrap();
    let mut got = Vec::new();
    back_end.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"it goes on");
    drop(back_end);
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    nothing_is_counted(&client);
    daemon.settled_fds(&baseline);
}

#[test]
fn killed_with_a_session_that_is_bound_to_it() {
    let (daemon, client, baseline) = daemon();
    let mut doomed = Doomed::start(&daemon, "handed on and bound");
    let back_end = running("back end", {
        let listener = doomed.back_ends.try_clone().unwrap();
        move || listener.accept().unwrap().0
    });
    let mut peer = established(&mut doomed);
    let mut back_end = back_end.join();
    doomed.kill();
    // Neither side said that it was done, so the peer is not told that it was.
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::Truncated));
    back_end.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(back_end.read(&mut [0; 1]).unwrap_or(0), 0);
    nothing_is_counted(&client);
    daemon.settled_fds(&baseline);
}

#[test]
fn when_the_daemon_dies_everybody_who_waits_is_told() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut session = open(&client);
    session.assert_alive();
    let (pending, _peer) = begin(&client, |accept| accept);
    let ended = {
        let session = session.established.session;
        running("waits for the end", move || session.ended())
    };
    let opened = running("waits for established", move || pending.wait().map(|_| ()));
    let idle = daemon.client();
    thread::sleep(Duration::from_millis(50));
    assert!(!ended.is_done() && !opened.is_done());
    daemon.kill();
    let errors = [
        ended.join().unwrap_err(),
        opened.join().unwrap_err(),
        idle.status(Scope::Own, false).map(|_| ()).unwrap_err(),
        client.accept(&accept(tlsifyd_tests::tcp_pair().1)).map(|_| ()).unwrap_err(),
    ];
    for error in errors {
        assert!(matches!(error, Error::Gone), "{error:?}");
        assert!(error.to_string().contains("closed the control connection"), "{error}");
    }
    assert_eq!(session.plain.read(&mut [0; 1]).unwrap_or(0), 0, "the data ends");
    let end = session.peer.read_to_end().unwrap().1;
    assert!(matches!(end, End::Truncated | End::Reset), "a crash is no clean end: {end:?}");
}
