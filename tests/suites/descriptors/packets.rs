//! Packets with too many descriptors, with too few, cut, or with nothing that a caller may say.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use tlsifyd_tests::{RawCaller, TestDaemon, exclusive};

const STATUS: &str = "tlsify/1 status\nid=900\n";

/// The connection still serves after what was refused.
#[track_caller]
fn serves(caller: &RawCaller) {
    let answer = caller.ask(STATUS, &[]);
    assert_eq!((answer.verb(), answer.get("id")), ("status", Some("900")), "{}", answer.text);
}

#[test]
fn as_many_descriptors_as_the_kernel_passes_are_counted_and_closed() {
    let fds = exclusive();
    {
        let daemon = TestDaemon::start();
        let caller = RawCaller::connect(daemon.socket());
        let baseline = daemon.baseline();
        let null = File::open("/dev/null").unwrap();
        let many: Vec<BorrowedFd<'_>> = std::iter::repeat_n(null.as_fd(), 254).collect();
        // The kernel's own limit is 253 (SCM_MAX_FD): more never leaves the caller.
        assert_eq!(caller.try_send("tlsify/1 status\nid=1\n", &many), Err(Errno::INVAL));
        for count in [253, 65, 66, 128] {
            caller.try_send("tlsify/1 status\nid=1\n", &many[..count]).unwrap();
            caller.answer().assert_refused("too-many-descriptors", Some("fds"));
        }
        serves(&caller);
        daemon.settled_fds(&baseline);
    }
    fds.settled();
}
