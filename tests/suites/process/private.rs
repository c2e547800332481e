//! `tlsifyd --private`: the daemon of one caller is one thread that starts fast, and everything else that a daemon is.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use tlsify_client::{Bind, Profile, Trust};
use tlsifyd_tests::handover::open_with;
use tlsifyd_tests::outgoing::{self, both_roles};
use tlsifyd_tests::{Options, TempDir, TestDaemon, pki};

/// Threads of the worker.
fn threads(daemon: &TestDaemon) -> usize {
    fs::read_dir(format!("/proc/{}/task", daemon.worker())).expect("it runs").count()
}

#[test]
fn one_session_makes_no_second_thread() {
    let daemon = TestDaemon::private();
    assert_eq!(threads(&daemon), 1);
    // With a CA in a descriptor that has to be read.
    let mut open = outgoing::open(&daemon.client());
    open.assert_alive();
    assert_eq!(threads(&daemon), 1);
}

#[test]
fn files_of_a_caller_that_has_sessions_open_do_not_hold_these_up() {
    let daemon = TestDaemon::private();
    let client = daemon.client();
    let mut opens = both_roles(&client);
    client.define(&Profile::client("later").trust(Trust::ca(pki().ca.fd()))).expect("a good CA");
    for open in &mut opens {
        open.assert_alive();
    }
    assert!(threads(&daemon) > 1, "the file was read on the thread that moves the sessions' data");
}

#[test]
fn a_session_ends_with_the_caller_when_that_was_said_and_others_go_on() {
    let mut daemon = TestDaemon::private();
    let client = daemon.client();
    let (bound, mut peer) = open_with(&client, |accept| accept.bind(Bind::Control));
    let (other, mut far) = open_with(&client, |accept| accept);
    let (plain, session) = (other.plain.expect("the daemon's pair"), other.session);
    drop((bound, client, session));
    daemon.hang_up();
    let (nothing, _) = peer.read_to_end().expect("an end of some kind");
    assert!(nothing.is_empty());
    assert!(daemon.poll().is_none(), "it left a session alone: {}", daemon.log());
    let mut plain = UnixStream::from(plain);
    plain.write_all(b"still here").expect("the session is open");
    assert_eq!(far.read_exact(10).expect("the session is open"), b"still here");
    drop(plain);
    far.close_notify().expect("the session is open");
    drop(far);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn it_leaves_no_file_behind() {
    let home = TempDir::new("home");
    let env = ["HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "TMPDIR"]
        .map(|name| (name.to_owned(), home.path().display().to_string()))
        .to_vec();
    let mut daemon = TestDaemon::private_with(Options { env, ..Options::default() });
    drop(outgoing::open(&daemon.client()));
    daemon.hang_up();
    assert!(daemon.wait().success(), "{}", daemon.log());
    for folder in [home.path(), daemon.dir()] {
        let left: Vec<_> = fs::read_dir(folder).expect("our own").flatten().map(|e| e.file_name()).collect();
        assert!(left.iter().all(|name| name == "log"), "{left:?}");
    }
}

#[test]
fn told_to_end_it_lets_its_session_finish_and_the_second_time_it_does_not() {
    for impatient in [false, true] {
        let daemon = TestDaemon::private();
        let mut open = outgoing::open(&daemon.client());
        daemon.signal(Signal::SIGTERM);
        open.assert_alive();
        if impatient {
            daemon.signal(Signal::SIGINT);
        } else {
            open.peer.close_notify().expect("the session is open");
            open.plain.shutdown(Shutdown::Write).expect("the session is open");
        }
        assert_eq!(open.plain.read(&mut [0; 1]).expect("a clean end"), 0);
        assert!(daemon.wait().success(), "{}", daemon.log());
    }
}
