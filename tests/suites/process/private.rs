//! `tlsifyd --private`: the daemon of one caller is one thread that starts fast, and everything else that a daemon is.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use tlsify_client::{Bind, Profile, Trust};
use tlsifyd_tests::family::{children, runs};
use tlsifyd_tests::handover::{self, open_with};
use tlsifyd_tests::outgoing::{self, both_roles};
use tlsifyd_tests::wait::{LIMIT, until};
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

/// The keyholder's process, if there is one.
fn keyholder(daemon: &TestDaemon) -> Option<u32> {
    Some(daemon.parts().into_iter().find(|(_, name)| name == "tlsifyd-keys")?.0)
}

#[test]
fn a_keyholder_is_started_by_the_first_key_and_not_before() {
    let mut daemon = TestDaemon::private();
    let client = daemon.client();
    outgoing::open(&client).assert_alive();
    // Whatever was to be started would have been asked for before this answer.
    assert_eq!(children(daemon.pid()), [daemon.worker()], "somebody was started for a session without a key");
    let mut with_key = handover::open(&client);
    with_key.assert_alive();
    let keyholder = keyholder(&daemon).expect("it has signed");
    assert!(!daemon.dir().join("keys.sock").exists());
    assert!(!daemon.log().contains("ssh-add"), "{}", daemon.log());
    // It ends as everything does when the caller is gone.
    let pids = daemon.pids();
    assert!(pids.contains(&keyholder));
    drop((with_key, client));
    daemon.hang_up();
    assert!(daemon.wait().success(), "{}", daemon.log());
    let left = until(LIMIT, || pids.iter().all(|pid| !runs(*pid)).then_some(()));
    assert!(left.is_some(), "{pids:?} are not all gone");
}

#[test]
fn a_keyholder_that_crashes_in_a_private_daemon_is_started_again_and_ends_with_it_when_that_is_killed() {
    let daemon = TestDaemon::private();
    let client = daemon.client();
    let mut before = handover::open(&client);
    let first = keyholder(&daemon).expect("it has signed");
    daemon.kill_keyholder();
    before.assert_alive();
    handover::open(&client).assert_alive();
    let second = keyholder(&daemon).expect("it has signed");
    assert_ne!(first, second);
    let pids = daemon.pids();
    daemon.kill();
    let left = until(LIMIT, || pids.iter().all(|pid| !runs(*pid)).then_some(()));
    assert!(left.is_some(), "{pids:?} are not all gone");
}

#[test]
fn with_a_single_process_its_keys_are_in_that() {
    let args = vec!["--single-process".to_owned()];
    let daemon = TestDaemon::private_with(Options { args, ..Options::default() });
    handover::open(&daemon.client()).assert_alive();
    assert_eq!(children(daemon.pid()), Vec::<u32>::new());
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
