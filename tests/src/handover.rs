//! The usual hand-over, for suites whose fear is something else: a server with a good certificate, a TCP connection,
//! a peer that trusts it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tlsify_client::{Accept, Client, Established, Pending};

use crate::peer::{BOTH_VERSIONS, Peer, client_config, tcp_pair};
use crate::pki::{KeyKind, SERVER_NAME, pki};
use crate::wait::LIMIT;

/// A session that is open.
#[derive(Debug)]
pub struct Open {
    /// What the daemon said of it; its plain descriptor is in `plain`.
    pub established: Established,
    /// The program's side.
    pub plain: UnixStream,
    /// The far end.
    pub peer: Peer,
}

/// A request to be the server on `net`, with the good certificate and without a profile.
pub fn accept(net: impl Into<OwnedFd>) -> Accept {
    let server = pki().server(KeyKind::EcdsaP256);
    Accept::new(net).certificate(server.certificate_fd()).key(server.key_fd())
}

/// A TLS client on `socket` that trusts the good server. Nothing is sent yet.
pub fn client_peer(socket: TcpStream) -> Peer {
    Peer::client(socket, client_config(pki().ca.roots(), BOTH_VERSIONS, None), SERVER_NAME)
}

/// Hands a socket over and leaves the handshake to the peer's other end, which is returned.
pub fn begin(client: &Client, options: impl FnOnce(Accept) -> Accept) -> (Pending, TcpStream) {
    let (ours, theirs) = tcp_pair();
    let request = options(accept(theirs));
    (client.start_accept(&request).expect("the daemon takes requests"), ours)
}

/// A session as the server, with what `options` adds to the request.
///
/// # Panics
/// When it does not open.
pub fn open_with(client: &Client, options: impl FnOnce(Accept) -> Accept) -> (Established, Peer) {
    let (pending, socket) = begin(client, options);
    shake(pending, client_peer(socket))
}

fn shake(pending: Pending, mut peer: Peer) -> (Established, Peer) {
    if let Err(error) = peer.handshake() {
        panic!("the handshake failed: {error}; the daemon said: {:?}", pending.wait().err());
    }
    (pending.wait().expect("the session opens"), peer)
}

/// A session as the server, on a socket pair of the daemon.
///
/// # Panics
/// When it does not open.
pub fn open(client: &Client) -> Open {
    open_bound(client, |accept| accept)
}

/// The same, with what `options` adds to the request.
///
/// # Panics
/// When it does not open.
pub fn open_bound(client: &Client, options: impl FnOnce(Accept) -> Accept) -> Open {
    let (established, peer) = open_with(client, options);
    Open::new(established, peer)
}

/// A session as the server with a profile that shows the good certificate, or another that a test's peer trusts.
///
/// # Panics
/// When it does not open.
pub fn open_as(client: &Client, profile: &str) -> Open {
    let (ours, theirs) = tcp_pair();
    let pending =
        client.start_accept(&Accept::new(theirs).profile(profile)).expect("the daemon takes requests");
    Open::complete(pending, client_peer(ours))
}

/// The program's side of a session. Its reads and writes fail after the rig's time limit.
///
/// # Panics
/// When the daemon made no socketpair, or it was taken before.
pub fn plain_of(established: &mut Established) -> UnixStream {
    let plain = UnixStream::from(established.plain.take().expect("a plain descriptor came"));
    plain.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    plain.set_write_timeout(Some(LIMIT)).expect("a limit that is not zero");
    plain
}

impl Open {
    /// Takes what the library gave, and the far end that belongs to it.
    ///
    /// # Panics
    /// When the daemon made no socketpair.
    pub fn new(mut established: Established, peer: Peer) -> Self {
        let plain = plain_of(&mut established);
        Self { established, plain, peer }
    }

    /// Does the peer's part of the handshake, and hears of the session.
    ///
    /// # Panics
    /// When it does not open.
    pub fn complete(pending: Pending, peer: Peer) -> Self {
        let (established, peer) = shake(pending, peer);
        Self::new(established, peer)
    }

    /// Bytes go both ways.
    ///
    /// # Panics
    /// When they do not.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        self.plain.write_all(b"to the peer").expect("the session is open");
        assert_eq!(self.peer.read_exact(11).expect("the session is open"), b"to the peer");
        self.peer.write_all(b"to the program").expect("the session is open");
        let mut said = [0; 14];
        self.plain.read_exact(&mut said).expect("the session is open");
        assert_eq!(&said, b"to the program");
    }
}
