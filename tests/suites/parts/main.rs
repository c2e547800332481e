//! The daemon's processes: what each is seen to be, what happens when one ends, and that none outlives the others.

mod crashes;
mod meanwhile;
mod seen;
mod told;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, TestDaemon, pki};

/// A configuration with one profile that everybody may use, after these lines.
fn config(before: &str, name: &str) -> String {
    let identity = pki().server(KeyKind::EcdsaP256);
    let profile = server_profile(name, "users = [\"*\"]", &identity.certificate_file, &identity.key_file);
    format!("{before}\n{profile}")
}

/// Ends the worker by this signal; the worker that is there next.
fn replaced(daemon: &TestDaemon, signal: Signal) -> u32 {
    let last = end_worker(daemon, signal);
    daemon.next_worker(last)
}

/// Ends the worker by this signal; the process id that it had.
fn end_worker(daemon: &TestDaemon, signal: Signal) -> u32 {
    let worker = daemon.worker();
    let pid = Pid::from_raw(worker.try_into().expect("a process id fits"));
    // Again: the first SIGSEGV is taken by the handler that looks for overflows of the stack, and only disarms it.
    until(LIMIT, || (kill(pid, signal) == Err(Errno::ESRCH)).then_some(()))
        .unwrap_or_else(|| panic!("{signal} does not end the worker"));
    worker
}

/// Waits for this in the log.
fn logged(daemon: &TestDaemon, text: &str) {
    until(LIMIT, || daemon.log().contains(text).then_some(()))
        .unwrap_or_else(|| panic!("no \"{text}\" in:\n{}", daemon.log()));
}
