//! The usual hand-over in the other role: the daemon is the TLS client, the far end is a server with a good certificate.

use std::net::TcpStream;
use std::os::fd::OwnedFd;

use tlsify_client::{Client, Connect, Pending, Trust};

use crate::handover::{self, Open};
use crate::peer::{BOTH_VERSIONS, Peer, server_config, tcp_pair};
use crate::pki::{KeyKind, SERVER_NAME, pki};

/// A request to be the client on `net`, of a peer that the good CA vouches for.
pub fn connect(net: impl Into<OwnedFd>) -> Connect {
    Connect::new(net).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()))
}

/// Hands a socket over and leaves the handshake to the peer's other end, which is returned.
pub fn begin(client: &Client, options: impl FnOnce(Connect) -> Connect) -> (Pending, TcpStream) {
    let (ours, theirs) = tcp_pair();
    let request = options(connect(ours));
    (client.start_connect_tls(&request).expect("the daemon takes requests"), theirs)
}

/// A TLS server on `socket` with the good certificate. Nothing is read yet.
pub fn server_peer(socket: TcpStream) -> Peer {
    Peer::server(socket, server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS))
}

/// A session as the client, on a socket pair of the daemon.
///
/// # Panics
/// When it does not open.
pub fn open(client: &Client) -> Open {
    let (pending, socket) = begin(client, |connect| connect);
    Open::complete(pending, server_peer(socket))
}

/// A session in each role: as the server, and as the client.
///
/// # Panics
/// When one does not open.
pub fn both_roles(client: &Client) -> [Open; 2] {
    [handover::open(client), open(client)]
}
