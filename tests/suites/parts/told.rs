//! A worker that dies can say nothing more: the supervisor says it to whoever had sessions.

use nix::sys::signal::Signal;
use tlsify_client::{Blame, Code, Error, How, Scope};
use tlsifyd_tests::handover::{begin, open_as};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Census, RawCaller, TestDaemon, exclusive, within};

use super::{config, logged, replaced};

/// Waits until the supervisor knows of so many control connections: it has a descriptor of each.
fn known(daemon: &TestDaemon, before: &Census, connections: usize) {
    let now = || Census::of(daemon.pid()).expect("the supervisor runs").count();
    until(LIMIT, || (now() == before.count() + connections).then_some(()))
        .unwrap_or_else(|| panic!("{} descriptors, and {} before", now(), before.count()));
}

#[test]
fn callers_hear_of_the_end_of_every_session_that_a_dead_worker_had() {
    let _alone = exclusive();
    let daemon = TestDaemon::with_config(config("", "web"));
    let before = Census::of(daemon.pid()).expect("the supervisor runs");
    let (one, other) = (daemon.client(), daemon.client());
    let mut moved = open_as(&one, "web");
    moved.assert_alive();
    let (second, others) = (open_as(&one, "web"), open_as(&other, "web"));
    let over = open_as(&other, "web");
    drop((over.plain, over.peer));
    over.established.session.ended().expect("it ends before");
    let (pending, _socket) = begin(&one, |accept| accept);
    known(&daemon, &before, 2);
    replaced(&daemon, Signal::SIGKILL);
    for (name, session) in [("moved", &moved), ("second", &second), ("others", &others)] {
        let ended = session.established.session.ended().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (ended.how, ended.code, ended.blame),
            (How::Error, Some(Code::Internal), Some(Blame::Daemon))
        );
        assert!(ended.text.as_deref().is_some_and(|text| text.contains("has died")), "{name}: {ended:?}");
        let has_moved = ended.bytes_in > 0 && ended.bytes_out > 0;
        assert_eq!(has_moved, name == "moved", "{name}: {ended:?}");
    }
    match pending.wait() {
        Err(Error::Failed(failed)) => {
            assert_eq!((failed.code, failed.blame), (Code::Internal, Blame::Daemon))
        }
        other => panic!("{other:?}"),
    }
    assert!(other.status(Scope::Own, false).is_err(), "the connection is closed behind it");
    logged(&daemon, "callers were told that their sessions ended with the worker");
    known(&daemon, &before, 0);
}

#[test]
fn a_connection_that_is_gone_soon_is_none_of_the_supervisors() {
    let _alone = exclusive();
    let daemon = TestDaemon::with_config(config("", "web"));
    let before = Census::of(daemon.pid()).expect("the supervisor runs");
    let stays = daemon.client();
    for _ in 0..20 {
        open_as(&daemon.client(), "web").assert_alive();
    }
    known(&daemon, &before, 1);
    // Its closing is seen at once, though there is a copy.
    drop(stays);
    known(&daemon, &before, 0);
    let raw = RawCaller::connect(daemon.socket());
    known(&daemon, &before, 1);
    daemon.terminate();
    assert!(within("the end of the connection", move || raw.receive().is_none()));
}
