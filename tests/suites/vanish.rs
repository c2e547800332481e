//! Peers that vanish: after any byte of the handshake, in both roles, with FIN and with RST, and told apart each time.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use tlsify_client::{Blame, Client, Code, Error, How, Scope, Socket};
use tlsifyd_tests::handover::{Open, accept, client_peer};
use tlsifyd_tests::outgoing::{both_roles, connect, server_peer};
use tlsifyd_tests::peer::{Peer, reset};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, tcp_pair};

/// A connection on which only so many bytes can be sent.
struct Limited {
    socket: TcpStream,
    left: usize,
}

impl Read for Limited {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.socket.read(into)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = self.socket.write(&bytes[..bytes.len().min(self.left)])?;
        self.left -= count;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handshake up to the point where the peer has said so much. Returns what of it was left.
fn partial(peer: &mut Peer, limit: usize) -> usize {
    let socket = peer.socket.try_clone().expect("a descriptor is free");
    let mut limited = Limited { socket, left: limit };
    while peer.tls.is_handshaking() || peer.tls.wants_write() {
        if peer.tls.complete_io(&mut limited).is_err() {
            break;
        }
    }
    limited.left
}

/// One session whose peer says so many bytes and vanishes. Returns how many it would have said less.
fn vanish(client: &Client, as_client: bool, after: usize, with_reset: bool) -> usize {
    let (ours, theirs) = tcp_pair();
    let (pending, mut peer) = if as_client {
        (client.start_accept(&accept(theirs)), client_peer(ours))
    } else {
        (client.start_connect_tls(&connect(theirs)), server_peer(ours))
    };
    let mut pending = pending.expect("the daemon takes requests");
    let left = partial(&mut peer, after);
    if with_reset {
        reset(peer.socket);
    } else {
        // Read to the end: closing with bytes unread would be a reset.
        peer.socket.shutdown(Shutdown::Write).expect("it is connected");
        let _ = io::copy(&mut peer.socket, &mut io::sink());
    }
    match pending.wait_within(LIMIT) {
        Err(Error::Failed(failed)) => {
            let code = if with_reset { Code::ResetByPeer } else { Code::ClosedByPeer };
            let told = (failed.code, failed.blame, failed.socket);
            assert_eq!(told, (code, Blame::Peer, Socket::Closed), "after {after} bytes: {failed:?}");
        }
        Ok(Some(open)) => {
            let how = open.session.ended().expect("it is told").how;
            let expected = if with_reset { How::Reset } else { How::Truncated };
            assert_eq!(how, expected, "after {after} bytes");
        }
        other => panic!("after {after} bytes: {other:?}"),
    }
    left
}

#[test]
fn peers_that_vanish_at_any_point_of_the_handshake_are_told_apart() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut healthy = both_roles(&client);
    let before = daemon.baseline();
    for as_client in [true, false] {
        const ENOUGH: usize = 1 << 20;
        let all = ENOUGH - vanish(&client, as_client, ENOUGH, false);
        let points = (0..=12).map(|part| all * part / 12).chain([1, 5, 6, all - 1]);
        for point in points {
            for with_reset in [false, true] {
                vanish(&client, as_client, point, with_reset);
            }
        }
    }
    healthy.iter_mut().for_each(Open::assert_alive);
    let given_back = || {
        let status = client.status(Scope::Own, false).expect("the daemon answers");
        ((status.sessions, status.handshakes) == (2, 0)).then_some(())
    };
    until(LIMIT, given_back).expect("its place in the quota is given back");
    daemon.settled_fds(&before);
}
