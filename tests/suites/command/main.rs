//! The command with real processes: what its standard descriptors may be, how it ends and what it says, which daemon it
//! finds or starts, and what a program after `--` gets. The same suite runs on another build of it, the freestanding one
//! among them, when `TLSIFY_TEST_COMMAND` names that.

mod endings;
mod events;
mod fallback;
mod freestanding;
mod program;
mod signals;
mod stores;
mod streams;
mod terminal;
mod usage;

use std::net::TcpStream;

use tlsifyd_tests::{Peer, TestDaemon, Tlsify, handover, outgoing, tcp_pair};

/// `tlsify connect` on one end of a TCP connection, and the server at the other.
fn connect(daemon: &TestDaemon) -> (Tlsify, Peer) {
    let (ours, theirs) = tcp_pair();
    (Tlsify::connect(daemon, ours), outgoing::server_peer(theirs))
}

/// `tlsify accept` on one end of a TCP connection, and the client at the other.
fn accept(daemon: &TestDaemon) -> (Tlsify, Peer) {
    let (ours, theirs): (TcpStream, TcpStream) = tcp_pair();
    (Tlsify::accept(daemon, theirs), handover::client_peer(ours))
}
