//! Signals as in any filter: who ends the command ends its session, a reader that is gone ends it in silence, and what
//! was handed off outlives it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::Signal;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, TempDir, TestDaemon, running};

use super::{accept, connect};

#[test]
fn sigint_sigterm_and_sigkill_end_it_by_that_signal_and_its_session_with_it() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        let (call, mut peer) = connect(&daemon);
        let (stdin, mut to) = std::io::pipe().unwrap();
        let mut process = call.with_default_signals().stdin(stdin).start();
        process.shakes(&mut peer);
        to.write_all(b"half").unwrap();
        assert_eq!(peer.read_exact(4).unwrap(), b"half");
        process.signal(signal);
        let done = process.wait();
        assert_eq!((done.status.signal(), done.said.as_str()), (Some(signal as i32), ""), "{done:?}");
        // What the command had to say is not whole, so the peer is not told that it is.
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::Truncated), "{signal}");
        daemon.settled_fds(&baseline);
    }
}

#[test]
fn ctrl_c_is_for_the_program_and_whoever_ends_the_command_beside_it_ends_it_too() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    // SIGINT to the whole group, as a terminal sends it, and a program that takes it.
    let (call, mut peer) = connect(&daemon);
    let script = "trap 'exit 7' INT; echo ready; while :; do sleep 0.05; done";
    let mut process = call.with_default_signals().in_group().events().shell(script).start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_exact(6).unwrap(), b"ready\n");
    process.signal_group(Signal::SIGINT);
    let done = process.wait();
    assert_eq!(done.status.code(), Some(7), "{done:?}");
    assert!(done.events.contains("tlsify/1 ended\n"), "{done:?}");
    // SIGTERM to the command alone.
    let (call, mut peer) = connect(&daemon);
    let mut process = call.with_default_signals().events().program(["cat"]).start();
    process.shakes(&mut peer);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().status.signal(), Some(Signal::SIGTERM as i32));
    // cat would wait for ever: that the session ends shows that it has.
    peer.read_to_end().unwrap();
    daemon.settled_fds(&baseline);
}

#[test]
fn ended_in_the_handshake_it_takes_the_handshake_with_it() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let (call, peer) = connect(&daemon);
    let mut process = call.with_default_signals().start();
    // The ClientHello is there.
    assert_eq!(peer.socket.peek(&mut [0]).unwrap(), 1);
    process.signal(Signal::SIGTERM);
    assert_eq!(process.wait().status.signal(), Some(Signal::SIGTERM as i32));
    daemon.settled_fds(&baseline);
}

#[test]
fn a_reader_that_is_gone_ends_it_by_sigpipe_and_in_silence() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let (call, mut peer) = connect(&daemon);
    let ((from, stdout), (stdin, _to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let mut process = call.stdin(stdin).stdout(stdout).start();
    process.shakes(&mut peer);
    drop(from);
    // It may be gone in the middle of this.
    let _ = peer.write_all(&[b'x'; 100_000]);
    let done = process.wait();
    assert_eq!((done.status.signal(), done.said.as_str()), (Some(Signal::SIGPIPE as i32), ""), "{done:?}");
    daemon.settled_fds(&baseline);
}

#[test]
fn a_reader_that_reads_a_little_and_leaves_ends_it_by_sigpipe() {
    // `tlsify connect … | head -c 5`
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let ((mut from, stdout), (stdin, _to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let mut process = call.stdin(stdin).stdout(stdout).start();
    process.shakes(&mut peer);
    let writer = running("peer", move || while peer.write_all(&[b'x'; 16_384]).is_ok() {});
    from.read_exact(&mut [0; 5]).unwrap();
    drop(from);
    let done = process.wait();
    assert_eq!((done.status.signal(), done.said.as_str()), (Some(Signal::SIGPIPE as i32), ""), "{done:?}");
    writer.join();
}

#[test]
fn a_socket_whose_other_end_is_gone_is_a_reader_that_is_gone() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let (near, far) = UnixStream::pair().unwrap();
    let mut process = call.stdin(far.try_clone().unwrap()).stdout(far).start();
    process.shakes(&mut peer);
    drop(near);
    let _ = peer.write_all(&[b'x'; 100_000]);
    let done = process.wait();
    assert_eq!((done.status.signal(), done.said.as_str()), (Some(Signal::SIGPIPE as i32), ""), "{done:?}");
}

#[test]
fn a_hand_off_returns_when_the_session_is_open_and_the_session_goes_on() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let (call, mut peer) = accept(&daemon);
    let (mut near, far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(LIMIT)).unwrap();
    let mut process = call.word("--handoff").stdin(far.try_clone().unwrap()).stdout(far).start();
    process.shakes(&mut peer);
    process.wait().clean();
    near.write_all(b"from the program").unwrap();
    assert_eq!(peer.read_exact(16).unwrap(), b"from the program");
    peer.write_all(b"from the peer").unwrap();
    peer.half_close().unwrap();
    let mut got = Vec::new();
    near.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"from the peer");
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    daemon.settled_fds(&baseline);
}

#[test]
fn a_hand_off_of_files_and_pipes_goes_on_too() {
    let daemon = TestDaemon::start();
    let (call, mut peer) = connect(&daemon);
    let dir = TempDir::new("signals");
    let path = dir.path().join("out");
    let (stdin, mut to) = std::io::pipe().unwrap();
    let call = call.word("--handoff").stdin(stdin).stdout(File::create(&path).unwrap());
    let mut process = call.start();
    process.shakes(&mut peer);
    process.wait().clean();
    to.write_all(b"late").unwrap();
    drop(to);
    assert_eq!(peer.read_to_end().unwrap(), (b"late".to_vec(), End::CloseNotify));
    peer.write_all(b"later").unwrap();
    peer.half_close().unwrap();
    let written = until(LIMIT, || (std::fs::read(&path).unwrap() == b"later").then_some(()));
    assert!(written.is_some());
}

#[test]
fn a_hand_off_that_fails_is_told_as_ever() {
    let daemon = TestDaemon::start();
    let (call, peer) = connect(&daemon);
    let process = call.word("--handoff").start();
    peer.reset();
    process.wait().saying(98, "tlsify: ");
}
