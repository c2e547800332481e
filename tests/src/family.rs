//! The processes that a daemon consists of, seen from outside.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsify_client::{Client, Connect, Error};

use crate::daemon::TestDaemon;
use crate::figures;
use crate::peer::tcp_pair;
use crate::wait::{LIMIT, until};

/// The name of a worker's process.
pub const WORKER: &str = "tlsifyd-worker";

/// The name of a dialer's process.
pub const DIALER: &str = "tlsifyd-dialer";

/// The children of a process, by process id.
pub fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut children: Vec<u32> = lists
        .flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|pid| pid.parse().ok())
        .collect();
    children.sort_unstable();
    children
}

/// The name that the kernel knows a process by, while it is there.
pub fn comm(pid: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{pid}/comm")).ok().map(|name| name.trim_end().to_owned())
}

/// A line of `/proc/PID/status`, without its name.
///
/// # Panics
/// When the process has ended.
pub fn status(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
}

impl TestDaemon {
    /// Its processes beside the supervisor: number and name of each.
    pub fn parts(&self) -> Vec<(u32, String)> {
        let parts = children(self.pid()).into_iter().filter_map(|pid| Some((pid, comm(pid)?)));
        // Between fork and exec it has its parent's name.
        parts.filter(|(_, name)| name.starts_with("tlsifyd-")).collect()
    }

    /// All its processes, the supervisor first.
    pub fn pids(&self) -> Vec<u32> {
        std::iter::once(self.pid()).chain(children(self.pid())).collect()
    }

    /// The process that does TLS, waited for when it is not there yet: the supervisor itself with `--single-process`.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn worker(&self) -> u32 {
        if self.is_single() {
            return self.pid();
        }
        let worker = until(LIMIT, || Some(self.parts().into_iter().find(|(_, name)| name == WORKER)?.0));
        worker.unwrap_or_else(|| panic!("there is no worker after {LIMIT:?}\n{}", self.log()))
    }

    /// The process that looks names up and connects, once there is one: the supervisor itself with `--single-process`.
    pub fn dialer(&self) -> Option<u32> {
        if self.is_single() {
            return Some(self.pid());
        }
        Some(self.parts().into_iter().find(|(_, name)| name == DIALER)?.0)
    }

    /// Has it read the host's authorities, which its supervisor keeps from then on: for tests that count before and after others.
    ///
    /// # Panics
    /// When a session opens with nobody.
    pub fn wake_pool(&self, client: &Client) {
        let (net, far) = tcp_pair();
        drop(far);
        match client.connect_tls(&Connect::new(net).name("a.example")) {
            Err(Error::Failed(_) | Error::Refused(_)) => {}
            other => panic!("{other:?}"),
        }
    }

    /// Has its dialer started, by a first dial that comes to nothing, and the host's authorities read: for tests that count
    /// before and after others.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn wake_dialer(&self, client: &Client) -> u32 {
        let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
        let to = nobody.expect("a port is free").to_string();
        let request = Connect::to(&to).expect("sockets are free").name("a.example");
        match client.connect_tls(&request) {
            Err(Error::Failed(_)) => {}
            other => panic!("{other:?}"),
        }
        until(LIMIT, || self.dialer())
            .unwrap_or_else(|| panic!("there is no dialer after {LIMIT:?}\n{}", self.log()))
    }

    /// Sends its worker a signal.
    ///
    /// # Panics
    /// When there is none.
    pub fn signal_worker(&self, signal: Signal) {
        let worker = Pid::from_raw(self.worker().try_into().expect("a process id fits"));
        kill(worker, signal).unwrap_or_else(|error| panic!("{signal} cannot be sent: {error}"));
    }

    /// Waits for another worker than this one.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn next_worker(&self, last: u32) -> u32 {
        until(LIMIT, || Some(self.worker()).filter(|worker| *worker != last))
            .unwrap_or_else(|| panic!("no other worker after {LIMIT:?}\n{}", self.log()))
    }

    /// The memory that all its processes have made for themselves, in KiB.
    pub fn private_kib(&self) -> u64 {
        self.pids().into_iter().map(figures::private_kib).sum()
    }

    /// Time on the processor so far, of all its processes that are there now.
    pub fn cpu(&self) -> Duration {
        self.pids().into_iter().map(figures::cpu).sum()
    }

    /// Threads of all its processes.
    pub fn threads(&self) -> usize {
        let tasks = |pid| fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
        self.pids().into_iter().map(tasks).sum()
    }
}

/// Whether a process with this number runs. One that has ended and that nobody has waited for does not: who takes over
/// the children of the dead takes its time.
pub fn runs(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = text.rsplit_once(')').map(|(_, rest)| rest.trim_start());
    state.is_some_and(|state| !state.starts_with(['Z', 'X']))
}
