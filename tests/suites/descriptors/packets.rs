//! Packets with too many descriptors, with too few, cut, or with nothing that a caller may say.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Resource, Rlimit, geteuid, prlimit};
use tlsify_client::{Blame, Code, Scope};
use tlsifyd_tests::handover::{begin, client_peer, open};
use tlsifyd_tests::{Census, End, RawCaller, TestDaemon, User, exclusive, family};

use super::with_caller;

#[test]
fn as_many_descriptors_as_the_kernel_passes_are_counted_and_closed() {
    with_caller(|caller, _| {
        let null = File::open("/dev/null").unwrap();
        let many: Vec<BorrowedFd<'_>> = std::iter::repeat_n(null.as_fd(), 254).collect();
        // The kernel's own limit is 253 (SCM_MAX_FD): more never leaves the caller.
        assert_eq!(caller.try_send("tlsify/1 status\nid=1\n", &many), Err(Errno::INVAL));
        for count in [253, 65, 66, 128] {
            caller.try_send("tlsify/1 status\nid=1\n", &many[..count]).unwrap();
            caller.answer().assert_refused("too-many-descriptors", Some("fds"));
        }
        caller.assert_serves();
    });
}

#[test]
fn descriptors_that_the_daemon_has_no_room_for_are_refused_by_name_and_it_recovers() {
    with_caller(|caller, daemon| {
        let baseline = daemon.baseline();
        let null = File::open("/dev/null").unwrap();
        let many: Vec<BorrowedFd<'_>> = std::iter::repeat_n(null.as_fd(), 64).collect();
        // Room for none, and for some: what did arrive of a cut packet must be closed, too.
        for room in [0, 1, 20] {
            limit_descriptors(daemon, room);
            for _ in 0..5 {
                caller.try_send("tlsify/1 accept\nid=1\nfds=net\nprofile=p\n", &many).unwrap();
                caller.answer().assert_refused("descriptors-truncated", Some("fds"));
            }
            // What needs no descriptor is served all the same.
            caller.assert_serves();
            daemon.settled_fds(&baseline);
            unlimit_descriptors(daemon);
        }
        let mut session = open(&daemon.client());
        session.assert_alive();
    });
}

#[test]
fn a_daemon_without_room_lets_callers_wait_and_serves_them_later() {
    let fds = exclusive();
    {
        let daemon = TestDaemon::start();
        let baseline = daemon.baseline();
        limit_descriptors(&daemon, 0);
        // The kernel queues it; the daemon cannot accept it yet.
        let waiting = RawCaller::connect_unheard(daemon.socket());
        unlimit_descriptors(&daemon);
        assert_eq!(waiting.answer().verb(), "hello");
        waiting.assert_serves();
        drop(waiting);
        daemon.settled_fds(&baseline);
    }
    fds.settled();
}

#[test]
fn a_session_for_which_no_descriptor_is_left_fails_and_the_daemon_says_it_is_its_own_fault() {
    let fds = exclusive();
    {
        let daemon = TestDaemon::start();
        let client = daemon.client();
        let baseline = daemon.baseline();
        let (pending, socket) = begin(&client, |accept| accept);
        let status = client.status(Scope::Own, false).unwrap();
        assert_eq!(status.handshakes, 1);
        // Now it has the network socket, and no room for the pair of plaintext sockets.
        limit_descriptors(&daemon, 0);
        let mut peer = client_peer(socket);
        let _ = peer.handshake();
        let error = pending.wait().unwrap_err();
        assert_eq!((error.code(), error.blame()), (Some(Code::Internal), Some(Blame::Daemon)), "{error}");
        assert_ne!(peer.read_to_end().map(|(_, end)| end).ok(), Some(End::CloseNotify));
        unlimit_descriptors(&daemon);
        drop(peer);
        daemon.settled_fds(&baseline);
        open(&client).assert_alive();
        drop(client);
    }
    fds.settled();
}

#[test]
fn descriptors_are_counted_against_what_the_request_names() {
    with_caller(|caller, _| {
        let null = File::open("/dev/null").unwrap();
        for (text, sent) in [
            ("tlsify/1 accept\nid=1\nfds=net plain\nprofile=p\n", 1),
            ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\n", 0),
            ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\n", 2),
            ("tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key\n", 3),
            ("tlsify/1 define\nid=1\nprofile=p\nrole=client\n", 1),
            ("tlsify/1 cancel\nid=1\n", 1),
            ("tlsify/1 status\nid=1\n", 64),
        ] {
            let sent: Vec<&dyn AsFd> = std::iter::repeat_n(&null as &dyn AsFd, sent).collect();
            let answer = caller.ask(text, &sent);
            answer.assert_refused("descriptor-mismatch", Some("fds"));
            assert_eq!(answer.get("id"), Some("1"), "{text}");
        }
        caller.assert_serves();
    });
}

#[test]
fn a_packet_that_is_too_long_is_refused_with_its_descriptors_closed() {
    with_caller(|caller, _| {
        let null = File::open("/dev/null").unwrap();
        for length in [65_537, 100_000, 150_000] {
            let mut text = b"tlsify/1 status\nid=1\n?pad=".to_vec();
            text.resize(length - 1, b'x');
            text.push(b'\n');
            caller.ask(&text, &[&null, &null]).assert_refused("packet-too-long", None);
        }
        let mut longest = b"tlsify/1 status\nid=900\n?pad=".to_vec();
        longest.resize(65_535, b'x');
        longest.push(b'\n');
        assert_eq!(caller.ask(&longest, &[]).verb(), "status", "65,536 bytes are allowed");
    });
}

#[test]
fn garbage_is_refused_by_name_and_its_descriptors_closed() {
    with_caller(|caller, _| {
        let null = File::open("/dev/null").unwrap();
        // One for each step at which reading stops; the control connection's suite has them all.
        let cases: [(&[u8], &str, Option<&str>); 5] = [
            (b"\xff\xfe", "malformed", None),
            (b"tlsify/2 status\nid=1\n", "version", Some("2")),
            (b"tlsify/1 explode\nid=1\n", "unknown-verb", Some("explode")),
            (b"tlsify/1 status\n", "missing-key", Some("id")),
            (b"tlsify/1 accept\nid=1\nfds=net certificate\nprofile=p\n", "bad-value", Some("fds")),
        ];
        for (text, code, about) in cases {
            caller.ask(text, &[&null]).assert_refused(code, about);
        }
        caller.assert_serves();
    });
}

#[test]
fn an_empty_packet_ends_the_connection_like_the_end_that_it_looks_like() {
    let fds = exclusive();
    {
        let daemon = TestDaemon::start();
        let baseline = daemon.baseline();
        let caller = RawCaller::connect(daemon.socket());
        caller.send("", &[]);
        assert!(caller.receive().is_none());
        let null = File::open("/dev/null").unwrap();
        let caller = RawCaller::connect(daemon.socket());
        caller.send("", &[&null, &null]);
        assert!(caller.receive().is_none());
        daemon.settled_fds(&baseline);
        RawCaller::connect(daemon.socket()).assert_serves();
    }
    fds.settled();
}

/// Leaves the daemon's worker, which is who takes what callers pass, room for so many more descriptors than it holds at rest.
fn limit_descriptors(daemon: &TestDaemon, room: usize) {
    daemon.baseline();
    let held = Census::of(daemon.worker()).expect("the worker runs");
    let taken: BTreeSet<u64> = held.iter().map(|(number, _)| number.into()).collect();
    // Numbers are given out from the lowest free one, and the limit is above the last that may be.
    let last = (0..).filter(|number| !taken.contains(number)).nth(room).expect("numbers do not end");
    set_limit(daemon, Some(last));
}

fn unlimit_descriptors(daemon: &TestDaemon) {
    set_limit(daemon, hard_limit(daemon));
}

/// Of another process it can be set by whoever is the same user in all (prlimit(2)): when root started the daemon, its worker is
/// none that this process is.
fn set_limit(daemon: &TestDaemon, current: Option<u64>) {
    let worker = daemon.worker();
    let pid = Pid::from_raw(i32::try_from(worker).expect("a process id fits"));
    let limit = Rlimit { current, maximum: hard_limit(daemon) };
    let set =
        || prlimit(pid, Resource::Nofile, limit).expect("the limit of a process of this user can be set");
    let id = |name| family::status(worker, name).split_whitespace().next().and_then(|id| id.parse().ok());
    let user = User::new(id("Uid").expect("a process has a user"));
    match geteuid().is_root() {
        true => drop(User { gid: id("Gid").expect("and a group"), ..user }.run(set)),
        false => drop(set()),
    }
}

/// The hard limit stays as it is.
fn hard_limit(daemon: &TestDaemon) -> Option<u64> {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.worker())).expect("tlsifyd runs");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("it is listed");
    line.split_whitespace().nth(4)?.parse().ok()
}
