//! `isolation = "uid"`: each user who calls has a worker of its own, and what happens to it is that user's alone.

mod apart;
mod configuration;
mod ends;
mod seen;

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsify_client::Client;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::family::{WORKER, runs};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Options, TestDaemon, User, pki, user};

/// Users who call, beside root.
const ONE: u32 = 1001;
const OTHER: u32 = 1002;

/// Whether this process can be several users.
fn is_root() -> bool {
    user::is_root("isolation")
}

/// The good server's profile under this name, for `who`.
fn profile(name: &str, who: &str) -> String {
    let identity = pki().server(KeyKind::EcdsaP256);
    server_profile(name, who, &identity.certificate_file, &identity.key_file)
}

/// A configuration with workers of users, these lines, and a profile "web" for everybody.
fn config(more: &str) -> String {
    format!("[sandbox]\nisolation = \"uid\"\n{more}\n{}", profile("web", "users = [\"*\"]"))
}

fn daemon() -> TestDaemon {
    TestDaemon::with_config(config(""))
}

/// A daemon whose workers end when they have had nothing to do for so long.
fn impatient(ms: u32) -> TestDaemon {
    let env = vec![("TLSIFYD_TEST_IDLE_MS".to_owned(), ms.to_string())];
    TestDaemon::with(Options { env, config: Some(config("")), ..Options::default() })
}

fn client(daemon: &TestDaemon, uid: u32) -> Client {
    User::new(uid).client(daemon)
}

/// The worker of this user, if there is one: by what `ps` shows.
fn worker_now(daemon: &TestDaemon, uid: u32) -> Option<u32> {
    let title = format!("tlsifyd: worker {uid}\0");
    let is_its =
        |pid: &u32| std::fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == title);
    workers(daemon).into_iter().filter(|pid| runs(*pid)).find(is_its)
}

fn worker_of(daemon: &TestDaemon, uid: u32) -> u32 {
    until(LIMIT, || worker_now(daemon, uid))
        .unwrap_or_else(|| panic!("uid {uid} has no worker\n{}", daemon.log()))
}

fn workers(daemon: &TestDaemon) -> Vec<u32> {
    daemon.parts().into_iter().filter(|(_, name)| name == WORKER).map(|(pid, _)| pid).collect()
}

/// Kills this user's worker.
fn kill_worker(daemon: &TestDaemon, uid: u32) -> u32 {
    let pid = worker_of(daemon, uid);
    kill(Pid::from_raw(pid.try_into().expect("a process id fits")), Signal::SIGKILL).expect("root may");
    until(LIMIT, || (!runs(pid)).then_some(())).expect("it ends");
    pid
}

/// Waits for this in the log.
fn logged(daemon: &TestDaemon, text: &str) {
    until(LIMIT, || daemon.log().contains(text).then_some(()))
        .unwrap_or_else(|| panic!("no \"{text}\" in:\n{}", daemon.log()));
}

/// A file of /proc, of a process that runs.
fn proc_file(pid: u32, name: &str) -> String {
    std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(name))
        .expect("it runs, and we are root")
}
