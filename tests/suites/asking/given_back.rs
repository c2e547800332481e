//! A connection that is given back is as it was: every byte unread, nothing set.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tlsifyd_tests::peer::tcp_pair;
use tlsifyd_tests::{TestDaemon, exclusive};

use super::{Handed, asked, assert_failed, assert_plain, assert_unread, caller, choose, hand, hello, send};

/// Everything of a socket that TLS, or waiting, could change.
fn settings(socket: &TcpStream) -> String {
    let linger = getsockopt(socket, sockopt::Linger).expect("a TCP socket has it");
    format!(
        "{:?} nodelay={} linger={}/{} rcvlowat={:?} rcvtimeo={:?} rcvbuf={:?} flags={:?} priority={:?}",
        socket.local_addr(),
        socket.nodelay().expect("a TCP socket has it"),
        linger.l_onoff,
        linger.l_linger,
        rustix::net::sockopt::socket_recv_buffer_size(socket).map(|size| size > 0),
        socket.read_timeout(),
        getsockopt(socket, sockopt::RcvBuf),
        fcntl_getfl(socket),
        getsockopt(socket, sockopt::KeepAlive),
    )
}

#[test]
fn every_byte_is_unread_and_every_option_as_it_was() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    let plain: [&[u8]; 3] = [b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"SSH-2.0-OpenSSH_9.6\r\n", b"\0"];
    let first = hello();
    for (id, bytes) in (10..).zip(plain.into_iter().chain([&first[..]])) {
        for nonblocking in [false, true] {
            let (peer, copy) = tcp_pair();
            let mut handed = Handed { peer, copy };
            // What a daemon that takes a socket over sets: here it stays as the caller has it.
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 3 };
            setsockopt(&handed.copy, sockopt::Linger, &linger).unwrap();
            handed.copy.set_nodelay(false).unwrap();
            handed.copy.set_read_timeout(Some(Duration::from_secs(7))).unwrap();
            let flags = if nonblocking { OFlags::NONBLOCK } else { OFlags::empty() };
            fcntl_setfl(&handed.copy, flags).unwrap();
            let was = settings(&handed.copy);
            send(&caller, id, "", &handed.copy);
            handed.peer.write_all(bytes).unwrap();
            let told = asked(&caller, id);
            assert_eq!(told.get("tls"), Some(if bytes[0] == 22 { "yes" } else { "no" }), "{}", told.text);
            assert_eq!(settings(&handed.copy), was, "while it is asked about");
            choose(&caller, id, "action=give-back\n");
            let failed = assert_failed(&caller, id, "given-back", "caller", "untouched");
            assert!(failed.fds.is_empty() && failed.get("alert").is_none());
            assert_eq!(settings(&handed.copy), was, "when it is given back");
            assert_unread(&handed.copy, bytes);
            assert_plain(&mut handed);
        }
    }
    daemon.settled_fds(&before);
}

#[test]
fn what_the_caller_had_read_counts_and_stays_read() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let bytes = hello();
    for at in [1, 4, 7, bytes.len()] {
        let (front, rest) = bytes.split_at(at);
        let mut handed = hand(&caller, 10, &format!("received={}\n", base64(front)));
        handed.peer.write_all(rest).unwrap();
        let told = asked(&caller, 10);
        assert_eq!(told.get("server-name"), Some("server.example"));
        choose(&caller, 10, "action=give-back\n");
        assert_failed(&caller, 10, "given-back", "caller", "untouched");
        assert_unread(&handed.copy, rest);
    }
    // Not TLS by what was read alone.
    let handed = hand(&caller, 10, &format!("received={}\n", base64(b"EHLO")));
    assert_eq!(asked(&caller, 10).get("tls"), Some("no"));
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    drop(handed);
}

fn base64(bytes: &[u8]) -> String {
    bytes.chunks(3).flat_map(tlsify_protocol::base64::encode_group).map(char::from).collect()
}

#[test]
fn a_connection_over_a_unix_socket_can_be_asked_about() {
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    for bytes in [&hello()[..], b"plain"] {
        send(&caller, 10, "", theirs.as_fd());
        // Each write is a piece of its own there.
        for piece in bytes.chunks(100) {
            ours.write_all(piece).unwrap();
        }
        asked(&caller, 10);
        choose(&caller, 10, "action=give-back\n");
        assert_failed(&caller, 10, "given-back", "caller", "untouched");
        let mut unread = vec![0; bytes.len()];
        std::io::Read::read_exact(&mut &theirs, &mut unread).unwrap();
        assert_eq!(unread, bytes);
    }
}

/// The caller keeps no copy: the connection ends, and its linger holds up nobody.
#[test]
fn a_connection_that_nobody_wants_back_is_closed() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let before = daemon.baseline();
    let mut handed = hand(&caller, 10, "");
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 60 };
    setsockopt(&handed.copy, sockopt::Linger, &linger).unwrap();
    drop(handed.copy);
    handed.peer.write_all(b"plain").unwrap();
    asked(&caller, 10);
    choose(&caller, 10, "action=give-back\n");
    assert_failed(&caller, 10, "given-back", "caller", "untouched");
    // Bytes were unread, so it is a reset; what matters is that it is over.
    let end = std::io::Read::read(&mut handed.peer, &mut [0; 1]);
    assert!(matches!(&end, Ok(0) | Err(_)), "{end:?}");
    daemon.settled_fds(&before);
}
