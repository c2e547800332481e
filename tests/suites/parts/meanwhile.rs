//! Reload and drain while a worker is away, hangs, or dies of it.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;
use tlsify_client::{Accept, Code, Error};
use tlsifyd_tests::handover::open_as;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Options, TempDir, TestDaemon, exclusive, tcp_pair};

use super::{config, end_worker, logged, replaced};

/// A daemon with one profile, and what it tells its service manager.
struct Managed {
    daemon: TestDaemon,
    manager: UnixDatagram,
    _dir: TempDir,
}

impl Managed {
    fn start() -> Self {
        let dir = TempDir::new("manager");
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).expect("the folder is ours");
        let env = vec![("NOTIFY_SOCKET".to_owned(), path.display().to_string())];
        let config = Some(config("[timeouts]\ndrain = \"1h\"\n", "old"));
        let daemon = TestDaemon::with(Options { env, config, ..Options::default() });
        let managed = Self { daemon, manager, _dir: dir };
        assert_eq!(managed.told(), "READY=1");
        managed
    }

    /// The next word to the service manager.
    fn told(&self) -> String {
        self.told_in(LIMIT).unwrap_or_else(|| panic!("nothing is said\n{}", self.daemon.log()))
    }

    fn told_in(&self, limit: Duration) -> Option<String> {
        let mut text = [0; 128];
        self.manager.set_read_timeout(Some(limit)).expect("a limit that is not zero");
        let length = self.manager.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).trim_end().to_owned())
    }

    /// SIGHUP, with another profile in the place of the old one.
    fn reload(&self) {
        self.daemon.write_config(&config("[timeouts]\ndrain = \"1h\"\n", "new"));
        self.daemon.signal(Signal::SIGHUP);
        let told = self.told();
        assert!(told.starts_with("RELOADING=1"), "{told}");
    }

    fn serves_the_new_profile_only(&self) {
        let client = self.daemon.client();
        open_as(&client, "new").assert_alive();
        match client.accept(&Accept::new(tcp_pair().1).profile("old")) {
            Err(Error::Refused(refused)) => assert_eq!(refused.code, Code::UnknownProfile),
            other => panic!("not refused: {other:?}"),
        }
    }

    /// A worker that crashed so often that the next one takes its time.
    fn pause(&self) {
        for _ in 0..3 {
            replaced(&self.daemon, Signal::SIGKILL);
        }
        end_worker(&self.daemon, Signal::SIGKILL);
    }
}

#[test]
fn a_reload_is_done_when_the_worker_has_taken_it_and_not_before() {
    let _alone = exclusive();
    let managed = Managed::start();
    managed.daemon.signal_worker(Signal::SIGSTOP);
    managed.reload();
    assert_eq!(managed.told_in(Duration::from_millis(200)), None, "said by whom?");
    managed.daemon.signal_worker(Signal::SIGCONT);
    assert_eq!(managed.told(), "READY=1");
    managed.serves_the_new_profile_only();
}

#[test]
fn a_worker_that_dies_over_a_reload_is_replaced_by_one_that_has_it() {
    let _alone = exclusive();
    let managed = Managed::start();
    managed.daemon.signal_worker(Signal::SIGSTOP);
    managed.reload();
    end_worker(&managed.daemon, Signal::SIGKILL);
    assert_eq!(managed.told(), "READY=1");
    managed.serves_the_new_profile_only();
}

#[test]
fn a_reload_while_there_is_no_worker_is_for_the_next_one() {
    let _alone = exclusive();
    let managed = Managed::start();
    managed.pause();
    managed.reload();
    assert_eq!(managed.told(), "READY=1");
    managed.serves_the_new_profile_only();
}

#[test]
fn a_broken_file_while_there_is_no_worker_leaves_the_old_configuration() {
    let _alone = exclusive();
    let managed = Managed::start();
    managed.pause();
    managed.daemon.write_config("nonsense = 1\n");
    managed.daemon.signal(Signal::SIGHUP);
    assert!(managed.told().starts_with("RELOADING=1"));
    assert_eq!(managed.told(), "READY=1");
    logged(&managed.daemon, "configuration not reloaded, the old one stays");
}

#[test]
fn sigterm_while_there_is_no_worker_ends_the_daemon_at_once() {
    let _alone = exclusive();
    let managed = Managed::start();
    managed.pause();
    managed.daemon.terminate();
    assert_eq!(managed.told(), "STOPPING=1");
    assert!(managed.daemon.wait().success(), "{}", managed.daemon.log());
    assert!(!managed.daemon.socket().exists());
}

#[test]
fn a_worker_that_crashes_while_it_drains_is_not_replaced() {
    let _alone = exclusive();
    let managed = Managed::start();
    let mut session = open_as(&managed.daemon.client(), "old");
    managed.daemon.terminate();
    assert_eq!(managed.told(), "STOPPING=1");
    session.assert_alive();
    end_worker(&managed.daemon, Signal::SIGKILL);
    assert_eq!(managed.daemon.wait().code(), Some(99), "{}", managed.daemon.log());
    assert!(managed.daemon.log().contains("the worker was killed by SIGKILL"), "{}", managed.daemon.log());
}

#[test]
fn a_worker_that_hangs_does_not_keep_the_daemon_from_ending() {
    let _alone = exclusive();
    let managed = Managed::start();
    managed.daemon.signal_worker(Signal::SIGSTOP);
    managed.daemon.terminate();
    assert_eq!(managed.told(), "STOPPING=1");
    // The second one does not wait for the drain's hour; a worker that says no goodbye either is killed then.
    managed.daemon.terminate();
    assert_eq!(managed.daemon.wait().code(), Some(99), "{}", managed.daemon.log());
    assert!(
        managed.daemon.log().contains("the worker did not listen and was killed"),
        "{}",
        managed.daemon.log()
    );
}
