//! Callers that set their sockets against the daemon.

use std::io::Write;
use std::net::TcpStream;

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::socket::{setsockopt, sockopt};
use tlsify_client::Code;
use tlsifyd_tests::handover::{Open, accept, begin, client_peer, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Options, RawCaller, TestDaemon, tcp_pair, within};

/// SO_LINGER lets the last close of a socket wait for the peer, whatever its other flags are. One caller
/// with a peer that reads nothing would stop everybody's sessions on that core.
#[test]
fn a_lingering_socket_stops_nobody() {
    let args = ["--workers", "1"].map(str::to_owned).to_vec();
    let daemon = TestDaemon::with(Options { args, ..Options::default() });
    let client = daemon.client();

    let (net, far) = tcp_pair();
    setsockopt(&net, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 3600 }).unwrap();
    let pending = client.start_accept(&accept(net)).unwrap();
    let Open { established, mut plain, peer } = Open::complete(pending, client_peer(far));
    plain.set_nonblocking(true).unwrap();
    // More than the peer's window and every queue take: the daemon's socket cannot get rid of it.
    while plain.write(&[0; 65_536]).is_ok() {}
    established.session.cancel().unwrap();
    established.session.ended().unwrap();

    within("another session on the same core", move || open(&client).assert_alive());
    drop(peer);
}

/// The program's side of a session that never opens ends with it, on the thread of all others of that core.
#[test]
fn a_lingering_socket_for_the_plaintext_of_a_failed_handshake_stops_nobody() {
    let daemon = narrow(9);
    let client = daemon.client();
    let baseline = daemon.baseline();
    let (socket, program) = lingering();
    let (pending, far) = begin(&client, |accept| accept.plain(socket));
    drop(far);
    let error = within("the end of the handshake", move || pending.wait().unwrap_err());
    assert_eq!(error.code(), Some(Code::ClosedByPeer), "{error}");
    let other = client.clone();
    within("a session on the same core", move || open(&other).assert_alive());
    drop(program);
    daemon.settled_fds(&baseline);
}

/// A socket whose last close waits for an hour: its peer, which is returned with it, reads nothing.
fn lingering() -> (TcpStream, TcpStream) {
    let (socket, far) = tcp_pair();
    setsockopt(&socket, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 3600 }).unwrap();
    socket.set_nonblocking(true).unwrap();
    while (&socket).write(&[0; 65_536]).is_ok() {}
    (socket, far)
}

fn is_stopped(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().any(|line| line.starts_with("State:\tT"))
}

/// One worker, so that whoever stops it stops everybody, and at most this many connections.
fn narrow(connections: usize) -> TestDaemon {
    let config = Some(format!("[limits]\nconnections = {connections}\n"));
    let args = ["--workers", "1"].map(str::to_owned).to_vec();
    TestDaemon::with(Options { args, config, ..Options::default() })
}

#[test]
fn a_lingering_socket_in_an_empty_packet_stops_nobody() {
    let daemon = narrow(9);
    let client = daemon.client();
    let baseline = daemon.baseline();
    let caller = RawCaller::connect(daemon.socket());
    let (socket, far) = lingering();
    caller.send("", &[&socket]);
    drop(socket);
    assert!(caller.receive().is_none());
    let other = client.clone();
    within("a session on the same core", move || open(&other).assert_alive());
    drop((caller, far));
    daemon.settled_fds(&baseline);
}

#[test]
fn lingering_sockets_that_are_never_received_stop_nobody() {
    for connections in [1, 9] {
        let daemon = narrow(connections);
        let client = daemon.client();
        let baseline = daemon.baseline();
        let (socket, far) = lingering();
        // Sent before the daemon looks: it closes the connection for quota, or for the empty packet.
        daemon.signal_worker(Signal::SIGSTOP);
        until(LIMIT, || is_stopped(daemon.worker()).then_some(())).expect("a signal that nobody can ignore");
        let caller = RawCaller::connect_unheard(daemon.socket());
        caller.send("", &[]);
        caller.send("tlsify/1 accept\nid=1\nprofile=p\nfds=net\n", &[&socket]);
        drop(socket);
        daemon.signal_worker(Signal::SIGCONT);
        if connections == 1 {
            // Unread packets of its own do not hide from a caller why it is turned away.
            caller.answer().assert_refused("quota", None);
        }
        while caller.receive().is_some() {}
        let other = client.clone();
        within("a session on the same core", move || open(&other).assert_alive());
        drop((caller, far));
        daemon.settled_fds(&baseline);
    }
}
