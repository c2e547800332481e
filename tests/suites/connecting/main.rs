//! Connecting a socket that the caller made: what is tried, what is told when nothing comes of it, and that the sockets
//! are the caller's before, meanwhile and after.
//!
//! Silent addresses are listeners whose queue is full; tests that need names of their own run in a network of their own.

mod addresses;
mod dialer;
mod fast_open;
mod meanwhile;
mod names;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::net::{AddressFamily, SocketType, socket};
use tlsify_client::{Blame, Client, Code, Connect, Error, Failed, Pending, Socket, Trust};
use tlsifyd_tests::handover::Open;
use tlsifyd_tests::outgoing::server_peer;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, exclusive, pki};

/// Long enough for whatever is not meant to run into it.
const PATIENT: Duration = LIMIT;

fn tcp(family: AddressFamily) -> OwnedFd {
    socket(family, SocketType::STREAM, None).expect("a descriptor is free")
}

/// One socket, AF_INET.
fn four() -> Vec<OwnedFd> {
    vec![tcp(AddressFamily::INET)]
}

/// One socket of each family.
fn both() -> Vec<OwnedFd> {
    vec![tcp(AddressFamily::INET), tcp(AddressFamily::INET6)]
}

/// Copies that the caller keeps.
fn copies(sockets: &[OwnedFd]) -> Vec<OwnedFd> {
    sockets.iter().map(|socket| socket.try_clone().expect("a descriptor is free")).collect()
}

/// A request to connect there with these sockets, and to find the good server.
fn dial(to: impl ToString, sockets: Vec<OwnedFd>) -> Connect {
    let to = Connect::to_with(to.to_string(), sockets);
    to.name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).handshake_timeout(PATIENT)
}

fn listen(address: impl Into<IpAddr>) -> TcpListener {
    TcpListener::bind((address.into(), 0)).expect("a port is free")
}

fn address(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it listens")
}

/// An address of 127.0.0.1 where nobody listens.
fn nobody() -> SocketAddr {
    address(&listen(Ipv4Addr::LOCALHOST))
}

/// Who connects next.
fn arrival(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a socket takes it");
    let came = until(LIMIT, || listener.accept().ok()).expect("somebody connects").0;
    came.set_nonblocking(false).expect("a socket takes it");
    came
}

fn begin(client: &Client, request: &Connect) -> Pending {
    client.start_connect_tls(request).expect("the daemon takes requests")
}

/// The session, with the good server behind `listener`.
fn open(client: &Client, request: Connect, listener: &TcpListener) -> Open {
    let pending = begin(client, &request);
    drop(request);
    let mut open = Open::complete(pending, server_peer(arrival(listener)));
    open.assert_alive();
    open
}

#[track_caller]
fn failed<T: std::fmt::Debug>(result: Result<T, Error>) -> Failed {
    match result {
        Err(Error::Failed(failed)) => *failed,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn assert_failed<T: std::fmt::Debug>(result: Result<T, Error>, code: Code, socket: Socket) -> String {
    let failed = failed(result);
    assert_eq!((failed.code, failed.socket, failed.blame), (code, socket, code.blame()), "{failed:?}");
    let text = failed.text;
    assert!(!text.is_empty() && !text.ends_with('.') && !text.starts_with(char::is_uppercase), "{text}");
    text
}

/// The caller's copies are as before: flags, nothing connected, ready to be used. The daemon puts them back when it has
/// told what came of it, so this waits.
#[track_caller]
fn assert_put_back(copies: &[OwnedFd], flags: &[OFlags]) {
    for (copy, before) in copies.iter().zip(flags) {
        assert_eq!(fcntl_getfl(copy).unwrap(), *before);
        let rested = until(LIMIT, || is_at_rest(copy).then_some(()));
        assert!(
            rested.is_some(),
            "it is being connected, or connected: {:?}",
            rustix::net::getpeername(copy)
        );
    }
}

/// Closed as a new socket is: one on its way to somewhere has not hung up.
fn is_at_rest(socket: &OwnedFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let mut fds = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).unwrap();
    fds[0].revents().unwrap().contains(PollFlags::POLLHUP)
}

/// Flags as they are, after setting O_NONBLOCK as said.
fn flags(sockets: &[OwnedFd], nonblocking: bool) -> Vec<OFlags> {
    let set = |socket: &OwnedFd| {
        let mut flags = fcntl_getfl(socket).unwrap();
        flags.set(OFlags::NONBLOCK, nonblocking);
        fcntl_setfl(socket, flags).unwrap();
        fcntl_getfl(socket).unwrap()
    };
    sockets.iter().map(set).collect()
}

/// Runs `work` with a client of a fresh daemon, and sees that neither side keeps a descriptor.
fn with_client(work: impl FnOnce(&Client, &TestDaemon)) {
    let mut fds = exclusive();
    pki();
    fds.rebase();
    counted(work);
    fds.settled();
}

/// The same in a network of its own, where only the daemon's side can be counted.
fn counted(work: impl FnOnce(&Client, &TestDaemon)) {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    daemon.wake_dialer(&client);
    let baseline = daemon.baseline();
    work(&client, &daemon);
    daemon.settled_fds(&baseline);
}

/// Somebody else's blame than the code's own would be a mistake somewhere.
#[track_caller]
fn assert_kind<T: std::fmt::Debug>(result: Result<T, Error>) {
    match result {
        Err(Error::Refused(refused)) => {
            let told = (refused.code, refused.about.as_deref(), refused.blame);
            assert_eq!(told, (Code::DescriptorKind, Some("net"), Blame::Caller), "{refused:?}");
        }
        other => panic!("{other:?}"),
    }
}
