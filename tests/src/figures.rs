//! Numbers about processes: memory and descriptors, and a way to show them in a test's output.

pub mod chart;
pub mod scenario;
pub mod table;

use std::fs;
use std::io::Write as _;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The memory that a process has made for itself, in KiB. Pages of its program do not count: whether they are private
/// depends on who else runs it, and whether they are dirty on how long ago it was built.
///
/// # Panics
/// When it has ended.
pub fn private_kib(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    line.and_then(|kib| kib.trim().trim_end_matches(" kB").parse().ok()).expect("a number of KiB")
}

/// Time on the processor so far, of all threads of a process; none of one that has ended.
pub fn cpu(pid: u32) -> Duration {
    let pid = Pid::from_raw(pid.try_into().expect("a process id fits"));
    clock_getcpuclockid(pid).and_then(clock_gettime).map_or(Duration::ZERO, Duration::from)
}

/// Shows a figure, past the test harness, which keeps what a test that passes prints to itself.
pub fn show(figure: &str) {
    let _ = writeln!(std::io::stderr(), "figure: {figure}");
}

/// Lets this process, and daemons that it starts from now on, open as many descriptors as the host allows.
///
/// # Panics
/// When that is not enough for `needed`.
pub fn allow_descriptors(needed: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    assert!(hard >= needed, "the host allows {hard} descriptors, this test needs {needed}");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("a soft limit can be raised");
}
