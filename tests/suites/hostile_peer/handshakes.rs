//! Before a session is open: peers that vanish, stay silent, or speak something else.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tlsify_client::{Blame, Code, Error, How, Socket};
use tlsifyd_tests::handover::{accept, begin, client_peer, connect, server_peer};
use tlsifyd_tests::peer::{Peer, reset};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{running, tcp_pair};

use super::{Bystander, failed};

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
fn vanish(bystander: &Bystander, as_client: bool, after: usize, with_reset: bool) -> usize {
    let (ours, theirs) = tcp_pair();
    let (pending, mut peer) = if as_client {
        (bystander.client.start_accept(&accept(theirs)), client_peer(ours))
    } else {
        (bystander.client.start_connect_tls(&connect(theirs)), server_peer(ours))
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
    let bystander = Bystander::new("");
    for as_client in [true, false] {
        const ENOUGH: usize = 1 << 20;
        let all = ENOUGH - vanish(&bystander, as_client, ENOUGH, false);
        let points = (0..=12).map(|part| all * part / 12).chain([1, 5, 6, all - 1]);
        for point in points {
            for with_reset in [false, true] {
                vanish(&bystander, as_client, point, with_reset);
            }
        }
    }
    bystander.unharmed(4096);
}

#[test]
fn something_else_than_tls_is_called_so() {
    let bystander = Bystander::new("");
    let (pending, mut browser) = begin(&bystander.client, |request| request);
    browser.write_all(b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n").expect("it is connected");
    let told = failed(pending);
    assert_eq!((told.code, told.blame), (Code::NotTls, Blame::Peer), "{told:?}");
    drop(browser);

    let (ours, mut server) = tcp_pair();
    let pending = bystander.client.start_connect_tls(&connect(ours)).expect("the daemon takes requests");
    server.write_all(b"220 mail.example ESMTP\r\n").expect("it is connected");
    let told = failed(pending);
    assert_eq!((told.code, told.blame), (Code::NotTls, Blame::Peer), "{told:?}");
    drop(server);
    bystander.unharmed(4096);
}

#[test]
fn a_hello_that_never_ends_is_not_kept() {
    let bystander = Bystander::new("");
    let (pending, mut socket) = begin(&bystander.client, |request| request);
    let sender = running("hello", move || {
        // A handshake message of almost 16 MiB, in records of 16 KiB.
        let mut record = vec![0; 5 + 16_384];
        record[..9].copy_from_slice(&[22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff]);
        while socket.write_all(&record).is_ok() {}
    });
    let told = failed(pending);
    assert_eq!((told.code, told.blame), (Code::ProtocolViolation, Blame::Peer), "{told:?}");
    sender.join();
    bystander.unharmed(4096);
}

#[test]
fn a_record_that_is_too_long_is_refused_by_its_header() {
    let bystander = Bystander::new("");
    for as_client in [true, false] {
        let (ours, mut theirs) = tcp_pair();
        let pending = if as_client {
            bystander.client.start_accept(&accept(ours))
        } else {
            bystander.client.start_connect_tls(&connect(ours))
        };
        theirs.write_all(&[22, 3, 3, 0xff, 0xff, 1]).expect("it is connected");
        let told = failed(pending.expect("the daemon takes requests"));
        assert_eq!((told.code, told.blame), (Code::ProtocolViolation, Blame::Peer), "{told:?}");
    }
    bystander.unharmed(4096);
}

#[test]
fn five_hundred_silent_connections_cost_little_and_go_away() {
    const SILENT: usize = 500;
    let bystander = Bystander::new("[limits]\nhandshakes = 500\n[timeouts]\nhandshake = \"3s\"\n");
    let silent: Vec<_> = (0..SILENT).map(|_| begin(&bystander.client, |request| request)).collect();
    let begun = || {
        let status = bystander.client.status(tlsify_client::Scope::Own, false).expect("the daemon answers");
        (status.handshakes == SILENT as u64).then_some(())
    };
    until(LIMIT, begun).expect("all begin before the first is given up");
    println!("{} KiB for {SILENT} connections that say nothing", bystander.growth());
    // The place of each is taken, so that nobody can have more than the quota.
    let (late, _socket) = begin(&bystander.client, |request| request);
    match { late }.wait_within(LIMIT) {
        Err(Error::Refused(refused)) => assert_eq!(refused.code, Code::Quota),
        other => panic!("one more than the quota: {other:?}"),
    }
    for (pending, socket) in silent {
        assert_eq!(failed(pending).code, Code::HandshakeTimeout);
        drop(socket);
    }
    // What the allocator keeps of it is there for the next ones.
    bystander.unharmed(SILENT as u64 * 16);
}

#[test]
fn a_hello_byte_by_byte_is_as_good_as_any_and_half_a_one_is_given_up() {
    let bystander = Bystander::new("");
    for whole in [true, false] {
        let patience = if whole { LIMIT } else { Duration::from_millis(300) };
        let (mut pending, socket) = begin(&bystander.client, |request| request.handshake_timeout(patience));
        socket.set_nodelay(true).expect("a TCP socket has this option");
        let mut peer = client_peer(socket);
        let mut hello = Vec::new();
        peer.tls.write_tls(&mut hello).expect("it fits");
        let end = if whole { hello.len() } else { hello.len() - 1 };
        for byte in hello[..end].chunks(1) {
            // The daemon may have lost its patience on a busy machine.
            let _ = peer.socket.write_all(byte);
        }
        if whole {
            peer.handshake().expect("the hello is good");
            pending.wait_within(LIMIT).expect("the hello is good").expect("in time");
        } else {
            assert_eq!(failed(pending).code, Code::HandshakeTimeout);
        }
    }
    bystander.unharmed(4096);
}
