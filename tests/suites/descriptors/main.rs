//! Descriptors: whose they are, what becomes of them, and that none is left over on any path.
//!
//! Every test here counts descriptors of this process too, so each runs in [`counted`] or takes [`exclusive`] first.

mod accounting;
mod data;
mod flags;
mod kinds;
mod packets;

use std::fs::File;

use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tlsify_client::Client;
use tlsifyd_tests::{RawCaller, TestDaemon, exclusive, pki};

/// Runs `work` with a caller of a fresh daemon and counts on both sides: in the daemon while the caller is still there,
/// so that nothing goes with its connection that should have gone before.
fn counted<C>(connect: impl FnOnce(&TestDaemon) -> C, work: impl FnOnce(&C, &TestDaemon)) {
    let mut fds = exclusive();
    pki();
    fds.rebase();
    {
        let daemon = TestDaemon::start();
        daemon.wake_pool(&daemon.client());
        let caller = connect(&daemon);
        let baseline = daemon.baseline();
        work(&caller, &daemon);
        daemon.settled_fds(&baseline);
    }
    fds.settled();
}

/// With the library.
fn with_client(work: impl FnOnce(&Client, &TestDaemon)) {
    counted(TestDaemon::client, work);
}

/// Without it.
fn with_caller(work: impl FnOnce(&RawCaller, &TestDaemon)) {
    counted(|daemon| RawCaller::connect(daemon.socket()), work);
}

/// A terminal: the end that a person types at and reads from, and the end that programs have.
fn terminal() -> (File, File) {
    let (person, program) = tlsifyd_tests::terminal::terminal();
    // Bytes as they are: what a terminal makes of lines is not what is tested.
    let mut modes = tcgetattr(&program).unwrap();
    modes.make_raw();
    tcsetattr(&program, OptionalActions::Now, &modes).unwrap();
    (person, program)
}
