//! A caller that is killed at any step, and a daemon that is killed while callers wait.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use nix::sys::signal::Signal;
use tlsify_client::{Bind, Client, Error};
use tlsifyd_tests::child::{child, part, say, variable};
use tlsifyd_tests::handover::{begin, client_peer, open};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Peer, Program, TestDaemon, running};

/// What the caller does before it is killed; each goes on where the one before stops.
const STEPS: [&str; 5] = ["connected", "handshaking", "established", "established-bound", "streaming"];

/// Not a test of its own: the caller that the tests here start and kill.
#[test]
fn as_a_caller() {
    let Some(part) = part() else { return };
    let client = Client::connect_to(variable("SOCKET")).unwrap();
    if part == "connected" {
        return wait_for_the_end(&part);
    }
    let net = TcpStream::connect(("127.0.0.1", variable("PORT").parse().unwrap())).unwrap();
    let bind = if part == "established-bound" { Bind::Control } else { Bind::Descriptors };
    let request = tlsify_client::Accept::new(net)
        .certificate(std::fs::File::open(variable("CERTIFICATE")).unwrap())
        .key(std::fs::File::open(variable("KEY")).unwrap())
        .bind(bind);
    let pending = client.start_accept(&request).unwrap();
    drop(request);
    if part == "handshaking" {
        return wait_for_the_end(&part);
    }
    let established = pending.wait().unwrap();
    let mut plain = UnixStream::from(established.plain.unwrap());
    if part == "streaming" {
        say("streaming");
        let chunk = [7; 65_536];
        while plain.write_all(&chunk).is_ok() {}
    }
    wait_for_the_end(&part);
}

/// It is killed here.
fn wait_for_the_end(part: &str) {
    say(part);
    thread::sleep(LIMIT);
}

/// Starts the caller, and gives the far end of what it hands over.
fn start(daemon: &TestDaemon, step: &str) -> (Program, Option<Peer>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let server = tlsifyd_tests::pki().server(tlsifyd_tests::KeyKind::EcdsaP256);
    let socket = daemon.socket();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let (socket, certificate, key) = (text(&socket), text(&server.certificate_file), text(&server.key_file));
    let variables = [("SOCKET", &*socket), ("PORT", &port), ("CERTIFICATE", &certificate), ("KEY", &key)];
    let mut caller = child("crash::as_a_caller", step, &variables);
    if step == "connected" {
        caller.line_with(step);
        return (caller, None);
    }
    let mut peer = client_peer(listener.accept().unwrap().0);
    if step != "handshaking" {
        peer.handshake().unwrap();
    }
    caller.line_with(step);
    (caller, Some(peer))
}

#[test]
fn a_caller_that_is_killed_at_any_step_leaves_nothing_in_the_daemon() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for step in STEPS {
        let (mut caller, peer) = start(&daemon, step);
        caller.signal(Signal::SIGKILL);
        if let Some(mut peer) = peer {
            // Whatever came before, there is an end to it, and soon.
            let mut some = [0; 65_536];
            let end = loop {
                match peer.socket.read(&mut some) {
                    Ok(0) => break Ok(()),
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            end.unwrap_or_else(|error| panic!("{step}: the peer hears nothing of it: {error}"));
        }
        drop(caller);
        daemon.settled_fds(&baseline);
        let status = daemon.client().status(tlsify_client::Scope::All, false).unwrap();
        assert_eq!((status.sessions, status.handshakes, status.profiles), (0, 0, 0), "{step}");
    }
    open(&daemon.client()).assert_alive();
}

#[test]
fn everybody_who_waits_is_woken_when_the_daemon_is_killed() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let session = open(&client);
    let mut plain = session.plain;
    let mut peer = session.peer;
    let ended = session.established.session;
    let mut handshakes = Vec::new();
    let mut far = Vec::new();
    for number in 0..8 {
        let (pending, socket) = begin(&client, |accept| accept);
        handshakes.push(running(&format!("waiter {number}"), move || pending.wait().map(|_| ())));
        far.push(socket);
    }
    let end = running("end", move || ended.ended());
    daemon.kill();
    for waiter in handshakes {
        assert!(matches!(waiter.join(), Err(Error::Gone)));
    }
    assert!(matches!(end.join(), Err(Error::Gone)));
    // Sockets end, too: nothing else holds them.
    for mut socket in far {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        assert_eq!(socket.read(&mut [0]).unwrap_or(0), 0);
    }
    assert_eq!(plain.read(&mut [0]).unwrap_or(0), 0);
    let (bytes, end) = peer.read_to_end().unwrap();
    assert!(bytes.is_empty() && end != tlsifyd_tests::End::CloseNotify, "{end:?}");
    // And what is asked from now on is told at once.
    assert!(matches!(client.status(tlsify_client::Scope::Own, false), Err(Error::Gone | Error::Io(_))));
    assert!(matches!(Client::connect_to(daemon.socket()), Err(Error::NoDaemon { .. })));
}
