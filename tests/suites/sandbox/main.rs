//! What each of the daemon's real processes cannot do any more: seen from outside, and tried from inside.
//!
//! The attempts are in debug builds alone. Every one of them, against every part, is in the unit tests of the daemon
//! (`process::sandbox`); here are those that show that the real processes are confined as those are, and what becomes of a
//! daemon one of whose parts has been taken over.

mod escapes;
mod given_up;
mod kernels;

use std::fs;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::{Pid, geteuid};
use tlsify_client::Connect;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Options, TempDir, TestDaemon};

/// The names of the processes.
const WORKER: &str = "tlsifyd-worker";
const KEYHOLDER: &str = "tlsifyd-keys";
const DIALER: &str = "tlsifyd-dialer";

/// The process of this name, waited for.
fn part(daemon: &TestDaemon, name: &str) -> u32 {
    let found = until(LIMIT, || daemon.parts().into_iter().find(|(_, part)| part == name));
    found.unwrap_or_else(|| panic!("there is no {name}\n{}", daemon.log())).0
}

/// Has a worker ask for the dialer, which is started then; again as long as it is in the pause after a crash.
fn start_dialer(daemon: &TestDaemon) -> u32 {
    let client = daemon.client();
    let started = until(LIMIT, || {
        let net = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
        let nets: Vec<OwnedFd> = vec![net.expect("a descriptor is free")];
        let request = Connect::to_with("localhost:1".to_owned(), nets).name("localhost");
        // Nobody is there; what comes of it is not looked at.
        let pending = client.start_connect_tls(&request).expect("the daemon takes requests");
        thread::sleep(Duration::from_millis(20));
        drop(pending);
        daemon.parts().into_iter().find(|(_, part)| part == DIALER)
    });
    started.unwrap_or_else(|| panic!("there is no dialer\n{}", daemon.log())).0
}

fn end(pid: u32) {
    let pid = Pid::from_raw(pid.try_into().expect("a process id fits"));
    kill(pid, Signal::SIGKILL).expect("it runs");
}

fn logged(daemon: &TestDaemon, text: &str) {
    until(LIMIT, || daemon.log().contains(text).then_some(()))
        .unwrap_or_else(|| panic!("no \"{text}\" in:\n{}", daemon.log()));
}

/// A plan of one attempt, which one process takes and makes.
struct Plan(TempDir);

impl Plan {
    fn new() -> Self {
        Self(TempDir::new("plan"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("escape")
    }

    fn set(&self, part: &str, attempt: &str) {
        fs::write(self.file(), format!("{part} {attempt}")).expect("the temporary folder can be written");
    }

    /// A daemon whose parts look at the plan.
    fn daemon(&self) -> TestDaemon {
        let file = self.file().to_str().expect("a path of letters").to_owned();
        let env = vec![("TLSIFYD_TEST_ESCAPE".to_owned(), file)];
        TestDaemon::with(Options { config: Some(String::new()), env, ..Options::default() })
    }
}

/// Users have nothing to give up but what every process has: what is asked of them is asked as root only.
fn is_root() -> bool {
    geteuid().is_root()
}
