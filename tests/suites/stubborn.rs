//! Callers that set their sockets against the daemon.

use std::io::Write;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use tlsifyd_tests::handover::{Open, accept, client_peer, open};
use tlsifyd_tests::{Options, TestDaemon, tcp_pair, within};

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
