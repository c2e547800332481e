//! A worker that ends before its time is told of by its cause and replaced, until that makes no sense any more.

use std::io::Read;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsify_client::{Client, Error, Scope};
use tlsifyd_tests::family::{WORKER, runs};
use tlsifyd_tests::handover::{open, open_as};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, Options, TestDaemon, exclusive, running};

use super::{config, end_worker, logged, replaced};

#[test]
fn a_worker_that_is_killed_is_replaced_and_the_log_says_how_it_ended() {
    let _alone = exclusive();
    let daemon = TestDaemon::with_config(config("", "web"));
    let causes = [
        (Signal::SIGKILL, "the worker was killed by SIGKILL; it is started again in 100 ms"),
        (Signal::SIGSEGV, "the worker was killed by SIGSEGV; it is started again in 200 ms"),
        (Signal::SIGSYS, "the worker was killed by its sandbox (SIGSYS); it is started again in 400 ms"),
    ];
    for (signal, words) in causes {
        let before = daemon.client();
        let mut session = open_as(&before, "web");
        session.assert_alive();
        replaced(&daemon, signal);
        logged(&daemon, words);
        // Who was there finds the end of everything, and nothing that looks complete.
        assert!(matches!(before.status(Scope::Own, false), Err(Error::Gone)));
        assert_eq!(session.plain.read(&mut [0; 1]).unwrap_or(0), 0, "the data ends");
        let end = session.peer.read_to_end().expect("it ends").1;
        assert!(matches!(end, End::Truncated | End::Reset), "a crash is no clean end: {end:?}");
        // Who comes now is served as before.
        open_as(&daemon.client(), "web").assert_alive();
    }
    logged(&daemon, "serving again");
    daemon.terminate();
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn callers_who_come_while_there_is_no_worker_wait_and_are_served() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    replaced(&daemon, Signal::SIGKILL);
    // The second time the pause is longer.
    let last = end_worker(&daemon, Signal::SIGKILL);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let socket = daemon.socket();
            running("a caller", move || {
                Client::connect_to(socket).map(|client| client.hello().versions.clone())
            })
        })
        .collect();
    for caller in callers {
        assert!(caller.join().expect("the socket keeps callers until a worker is there").contains(&1));
    }
    assert_ne!(daemon.worker(), last);
}

#[test]
fn no_descriptor_is_lost_with_a_worker() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for _ in 0..3 {
        let client = daemon.client();
        let session = open(&client);
        replaced(&daemon, Signal::SIGKILL);
        drop((client, session));
        // Until it serves: then it has all that it will have.
        drop(daemon.client());
        daemon.settled_fds(&baseline);
    }
}

#[test]
fn a_worker_that_keeps_crashing_ends_the_daemon_with_99() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let mut last = None;
    let status = until(LIMIT, || {
        let another = |(pid, name): &(u32, String)| name == WORKER && Some(*pid) != last;
        if let Some((worker, _)) = daemon.parts().into_iter().find(another) {
            // It may have been killed before: then there will be yet another one.
            let _ = kill(Pid::from_raw(worker.try_into().expect("it fits")), Signal::SIGKILL);
            last = Some(worker);
        }
        daemon.poll()
    });
    let status = status.unwrap_or_else(|| panic!("it goes on\n{}", daemon.log()));
    assert_eq!(status.code(), Some(99), "{}", daemon.log());
    let log = daemon.log();
    assert_eq!(log.matches("it is started again in").count(), 5, "{log}");
    let words = "tlsifyd: the worker crashed more than 5 times in 60 s, at last it was killed by SIGKILL";
    assert!(log.contains(words), "{log}");
    assert!(!daemon.socket().exists(), "a socket that nobody will answer");
}

#[test]
fn a_starter_that_ignores_its_children_does_not_hide_how_ours_end() {
    let _alone = exclusive();
    let under = ["/bin/sh", "-c", "trap '' CHLD; exec \"$0\" \"$@\""].map(str::to_owned).to_vec();
    let daemon = TestDaemon::with(Options { under, ..Options::default() });
    replaced(&daemon, Signal::SIGKILL);
    logged(&daemon, "the worker was killed by SIGKILL");
}

#[test]
fn a_private_daemon_whose_worker_crashes_ends_with_99_and_its_caller_sees_it() {
    let _alone = exclusive();
    let daemon = TestDaemon::private();
    let client = daemon.client();
    let mut session = open(&client);
    session.assert_alive();
    end_worker(&daemon, Signal::SIGKILL);
    assert!(matches!(client.status(Scope::Own, false), Err(Error::Gone)));
    assert_eq!(daemon.wait().code(), Some(99), "{}", daemon.log());
    assert!(daemon.log().contains("tlsifyd: the worker was killed by SIGKILL"), "{}", daemon.log());
    assert_eq!(session.plain.read(&mut [0; 1]).unwrap_or(0), 0, "the data ends");
}

#[test]
fn the_supervisors_death_leaves_nothing_behind() {
    let _alone = exclusive();
    for private in [false, true] {
        let daemon = if private { TestDaemon::private() } else { TestDaemon::start() };
        let client = daemon.client();
        let mut session = open(&client);
        session.assert_alive();
        // A worker, and a keyholder for the profile's key.
        let pids = daemon.pids();
        assert_eq!(pids.len(), 3, "{pids:?}");
        daemon.kill();
        // With the parts that end after it.
        daemon.wait();
        for pid in pids {
            assert!(!runs(pid), "{pid} is still there");
        }
        assert!(matches!(client.status(Scope::Own, false), Err(Error::Gone)));
    }
}

#[test]
fn a_daemon_can_take_the_place_of_one_that_was_killed_at_once() {
    // The worker of the dead one may answer for a moment still; it holds no lock.
    let _alone = exclusive();
    let dir = tlsifyd_tests::TempDir::new("place");
    let socket = dir.path().join("sock");
    let start = || {
        let mut command = std::process::Command::new(tlsifyd_tests::built::daemon());
        let config = dir.path().join("tlsifyd.toml");
        std::fs::write(&config, "").expect("the folder is ours");
        command.env_clear().arg("--socket").arg(&socket).arg("--config").arg(config);
        tlsifyd_tests::Program::start(&mut command)
    };
    for _ in 0..5 {
        let mut first = start();
        until(LIMIT, || Client::connect_to(&socket).ok()).expect("it serves");
        first.signal(Signal::SIGKILL);
        first.wait();
        let mut second = start();
        let served = until(LIMIT, || Client::connect_to(&socket).ok());
        assert!(served.is_some(), "nobody serves");
        second.signal(Signal::SIGTERM);
        second.wait().ok();
    }
}
