//! Where the back end's connections come from: from the network as they are, or from tlsifyd in plaintext.

use std::net::TcpListener;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with, sockopt};

/// What stands between the listening socket and the back end.
pub(super) trait Door {
    /// A descriptor that is watched besides, if there is one.
    fn watched(&self) -> Option<BorrowedFd<'_>>;

    /// A connection was accepted. Gives it back if the back end serves it as it is.
    fn accepted(&mut self, socket: OwnedFd) -> Option<OwnedFd>;

    /// The watched descriptor has something to say; each connection that is to be served now goes to `serve`.
    fn ready(&mut self, serve: &mut dyn FnMut(OwnedFd));
}

/// No TLS: for proxies.
pub(super) struct Plain;

impl Door for Plain {
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn accepted(&mut self, socket: OwnedFd) -> Option<OwnedFd> {
        sockopt::set_tcp_nodelay(&socket, true).expect("it is a TCP socket");
        Some(socket)
    }

    fn ready(&mut self, _: &mut dyn FnMut(OwnedFd)) {}
}

/// The next connection that waits.
pub(super) fn accept(listener: &TcpListener) -> Option<OwnedFd> {
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(socket) => return Some(socket),
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(_) => return None,
        }
    }
}
