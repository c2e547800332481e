//! What standard input and output may be. Each test: the bytes are whole, the caller's open file descriptions have the
//! flags that they had before, and the daemon has given back every descriptor.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::fs::{OFlags, fcntl_getfl};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{End, Peer, TempDir, TestDaemon, Tlsify, running};

use super::connect;

/// More than any socket or pipe takes at once, and a size that divides nothing.
const MUCH: usize = 300_001;

fn bytes(seed: u8, count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// Copies of what the caller gives, and the flags of each: they are not to change.
struct Flags(Vec<(OwnedFd, OFlags)>);

impl Flags {
    fn of<'a>(fds: impl IntoIterator<Item = &'a dyn AsFd>) -> Self {
        let kept = |fd: &dyn AsFd| {
            let fd = fd.as_fd().try_clone_to_owned().unwrap();
            let flags = fcntl_getfl(&fd).unwrap();
            (fd, flags)
        };
        Self(fds.into_iter().map(kept).collect())
    }

    #[track_caller]
    fn are_as_before(self) {
        for (fd, before) in self.0 {
            assert_eq!(fcntl_getfl(&fd).unwrap(), before, "{fd:?}");
        }
    }
}

/// A session with a server and a look at the daemon afterwards.
fn session(work: impl FnOnce(Tlsify, Peer)) {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let (call, peer) = connect(&daemon);
    work(call, peer);
    daemon.settled_fds(&baseline);
}

#[test]
fn one_socketpair_for_both() {
    session(|call, mut peer| {
        let (mut near, far) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(LIMIT)).unwrap();
        let flags = Flags::of([&near as &dyn AsFd, &far]);
        let mut process = call.stdin(far.try_clone().unwrap()).stdout(far).start();
        process.shakes(&mut peer);
        let program = running("program", move || {
            near.write_all(&bytes(1, MUCH)).unwrap();
            near.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            near.read_to_end(&mut got).unwrap();
            got
        });
        assert!(peer.both_ways(&bytes(2, MUCH), MUCH).unwrap() == bytes(1, MUCH));
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        assert!(program.join() == bytes(2, MUCH));
        process.wait().clean();
        flags.are_as_before();
    });
}

#[test]
fn a_pipe_for_each() {
    session(|call, mut peer| {
        let ((mut from, stdout), (stdin, mut to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let flags = Flags::of([&stdin as &dyn AsFd, &stdout]);
        let mut process = call.stdin(stdin).stdout(stdout).start();
        process.shakes(&mut peer);
        let program = running("program", move || {
            let mut got = vec![0; MUCH];
            from.read_exact(&mut got).unwrap();
            to.write_all(&got).unwrap();
            from
        });
        assert!(peer.both_ways(&bytes(3, MUCH), MUCH).unwrap() == bytes(3, MUCH));
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        process.wait().clean();
        flags.are_as_before();
        // Nobody holds the pipe but we, who have just let go.
        assert_eq!(program.join().read_to_end(&mut Vec::new()).unwrap(), 0);
    });
}

#[test]
fn a_request_from_a_file_and_the_response_is_on_disk_when_the_command_returns() {
    for round in 0..5 {
        session(|call, mut peer| {
            let dir = TempDir::new("streams");
            let [request, response] = ["request", "response"].map(|name| dir.path().join(name));
            std::fs::write(&request, bytes(4, MUCH)).unwrap();
            let (stdin, stdout) = (File::open(request).unwrap(), File::create(&response).unwrap());
            let flags = Flags::of([&stdin as &dyn AsFd, &stdout]);
            let mut process = call.stdin(stdin).stdout(stdout).start();
            process.shakes(&mut peer);
            let (got, end) = peer.read_to_end().unwrap();
            assert!(got == bytes(4, MUCH) && end == End::CloseNotify, "{} bytes, {end:?}", got.len());
            peer.write_all(&bytes(5, MUCH)).unwrap();
            peer.half_close().unwrap();
            process.wait().clean();
            // At once, and not after a while.
            let written = std::fs::read(&response).unwrap();
            assert!(written == bytes(5, MUCH), "round {round}: {} bytes", written.len());
            flags.are_as_before();
        });
    }
}

#[test]
fn a_pipe_in_and_a_file_out_that_something_was_written_to_before() {
    session(|call, mut peer| {
        let dir = TempDir::new("streams");
        let path = dir.path().join("out");
        let mut stdout = File::create(&path).unwrap();
        stdout.write_all(b"before;").unwrap();
        let (stdin, mut to) = std::io::pipe().unwrap();
        let flags = Flags::of([&stdin as &dyn AsFd, &stdout]);
        let mut process = call.stdin(stdin).stdout(stdout).start();
        process.shakes(&mut peer);
        to.write_all(b"asked").unwrap();
        drop(to);
        assert_eq!(peer.read_to_end().unwrap(), (b"asked".to_vec(), End::CloseNotify));
        peer.write_all(b"answered").unwrap();
        peer.half_close().unwrap();
        process.wait().clean();
        assert_eq!(std::fs::read(path).unwrap(), b"before;answered");
        flags.are_as_before();
    });
}

#[test]
fn a_file_in_and_a_pipe_out() {
    session(|call, mut peer| {
        let dir = TempDir::new("streams");
        let path = dir.path().join("in");
        std::fs::write(&path, "read before;sent").unwrap();
        let mut stdin = File::open(path).unwrap();
        stdin.read_exact(&mut [0; 12]).unwrap();
        let (mut from, stdout) = std::io::pipe().unwrap();
        let mut process = call.stdin(stdin).stdout(stdout).start();
        process.shakes(&mut peer);
        assert_eq!(peer.read_to_end().unwrap(), (b"sent".to_vec(), End::CloseNotify));
        peer.write_all(b"thanks").unwrap();
        peer.half_close().unwrap();
        let mut got = Vec::new();
        // To its end: neither the command nor the daemon keeps a copy.
        from.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"thanks");
        process.wait().clean();
    });
}

#[test]
fn dev_null_for_both() {
    session(|call, mut peer| {
        let null = || File::options().read(true).write(true).open("/dev/null").unwrap();
        let mut process = call.stdin(null()).stdout(null()).start();
        process.shakes(&mut peer);
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        peer.write_all(&bytes(6, MUCH)).unwrap();
        peer.half_close().unwrap();
        process.wait().clean();
    });
}

#[test]
fn closed_ones_carry_nothing_and_their_numbers_go_to_nobody() {
    for script in ["exec 0<&-", "exec 1>&-", "exec 0<&- 1>&-", "exec 0<&- 1>&- 2>&-", "exec 2>&-"] {
        session(|call, mut peer| {
            let mut process = call.script(script).start();
            process.shakes(&mut peer);
            assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify), "{script}");
            peer.write_all(b"to somebody or nobody").unwrap();
            peer.half_close().unwrap();
            let done = process.wait().clean();
            let expected = if script.contains("1>&-") { "" } else { "to somebody or nobody" };
            assert_eq!(done.stdout, expected, "{script}");
        });
    }
}

#[test]
fn a_message_goes_nowhere_when_standard_error_is_closed() {
    // What is opened first in a process without standard descriptors would get their numbers: a socket, a file.
    for script in ["exec 2>&-", "exec 0<&- 1>&- 2>&-"] {
        session(|call, mut peer| {
            let mut process = call.script(script).start();
            process.shakes(&mut peer);
            peer.truncate().unwrap();
            // The message is said now.
            let done = process.wait().with(98, "");
            assert_eq!(done.stdout, "", "{script}");
            let (got, _) = peer.read_to_end().unwrap();
            assert_eq!(String::from_utf8_lossy(&got), "", "{script}");
        });
    }
}

#[test]
fn sixteen_mebibytes_in_both_directions_at_once() {
    const LARGE: usize = 16 << 20;
    session(|call, mut peer| {
        let ((mut from, stdout), (stdin, mut to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let mut process = call.stdin(stdin).stdout(stdout).start();
        process.shakes(&mut peer);
        let writer = running("writer", move || to.write_all(&bytes(7, LARGE)).unwrap());
        let reader = running("reader", move || {
            let mut got = Vec::new();
            from.read_to_end(&mut got).unwrap();
            got
        });
        assert!(peer.both_ways(&bytes(8, LARGE), LARGE).unwrap() == bytes(7, LARGE));
        peer.half_close().unwrap();
        writer.join();
        assert!(reader.join() == bytes(8, LARGE));
        process.wait().clean();
    });
}

#[test]
fn hold_says_goodbye_after_the_peer_and_not_at_the_end_of_the_input() {
    session(|call, mut peer| {
        let mut process = call.word("--hold").start();
        process.shakes(&mut peer);
        // The input has ended before it began. A goodbye would be read here in place of an answer to come.
        peer.socket.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        let waited = peer.read(&mut [0; 16]).unwrap_err();
        assert_eq!(waited.kind(), std::io::ErrorKind::WouldBlock);
        peer.socket.set_read_timeout(Some(LIMIT)).unwrap();
        peer.write_all(b"the answer").unwrap();
        peer.half_close().unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        assert_eq!(process.wait().clean().stdout, "the answer");
    });
}
