//! Making one of the daemon's own processes.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;

/// What a terminal and a service manager send to every process of ours, and what only the supervisor acts on.
const SUPERVISORS: [libc::c_int; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Starts `command` as a process of this daemon: it ignores SIGINT, SIGTERM and SIGHUP, gets nothing of ours but its
/// three standard streams, and is killed when the calling *thread* ends. The caller waits for it.
///
/// # Errors
/// The system's: no such program, no processes or memory left.
pub fn spawn_part(command: &mut Command) -> io::Result<Child> {
    wait_for_children();
    let parent = std::process::id();
    let prepare = move || {
        ignore_signals();
        close_on_exec_from_3();
        die_with(parent)
    };
    // SAFETY: the closure runs between fork and exec in a process that may have been forked from several threads: it
    // makes system calls alone, allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
    command.spawn()
}

/// Which of the two processes this is, after [`fork_part`].
#[derive(Debug)]
pub enum Forked {
    /// The one that called, with its child's process id, for which it waits, and with the descriptors that are its own.
    Parent(i32, Vec<OwnedFd>),
    /// The new one, a part of the daemon as [`spawn_part`] makes them, with the descriptor that is its own.
    Child(OwnedFd),
}

/// Forks, without a new program. The child has `childs` and the standard streams and no other descriptor, also none that
/// was left open by accident; the parent has all but `childs`. For a process that has one thread still, and that owns no
/// descriptors but these.
///
/// # Errors
/// The process has threads, and the system's: no processes or memory left.
pub fn fork_part(childs: OwnedFd, parents: Vec<OwnedFd>) -> io::Result<Forked> {
    // A process with threads may not leave its own group of threads, and one without is in none. (Where a filter forbids
    // the question, the callers' word has to do.)
    if unshare(CloneFlags::CLONE_THREAD) == Err(Errno::EINVAL) {
        return Err(io::Error::other("the process has threads already"));
    }
    wait_for_children();
    let parent = std::process::id();
    // SAFETY: there is one thread, so no lock is held by one that the child does not have: everything that holds here
    // before the call holds in the child after it.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            ignore_signals();
            die_with(parent)?;
            // Their numbers are closed with all others, so nobody owns them any more.
            std::mem::forget(parents);
            close_all_but(&childs);
            Ok(Forked::Child(childs))
        }
        child => Ok(Forked::Parent(child, parents)),
    }
}

/// Has this process killed when the thread that made it ends. The kernel forgets that at a change of user or group: a part
/// that gives up its own calls this again.
///
/// # Errors
/// The parent has ended already, and the system's.
pub fn die_with(parent: u32) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have ended before we asked; then somebody else is our parent now.
    if std::os::unix::process::parent_id() == parent { Ok(()) } else { Err(Errno::ESRCH.into()) }
}

/// Whoever started us may have SIGCHLD ignored; then the kernel would throw away how our children ended.
fn wait_for_children() {
    // SAFETY: this is what every process begins with that is not told otherwise, and runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// For this process and what it executes.
fn ignore_signals() {
    for signal in SUPERVISORS {
        // SAFETY: ignoring a signal runs no code of ours; the numbers are signals that may be ignored.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What we open is close-on-exec; what our own parent left open by accident is not.
fn close_on_exec_from_3() {
    // SAFETY: this sets a flag of descriptors, whichever there are, and closes none. Before Linux 5.11 it fails, and what
    // was left open by accident stays so.
    unsafe {
        libc::syscall(libc::SYS_close_range, 3_u32, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
    }
}

/// For a new process in which nobody owns a descriptor but this one.
fn close_all_but(kept: &OwnedFd) {
    let kept = kept.as_raw_fd().unsigned_abs();
    for (first, last) in [(3, kept.saturating_sub(1)), (kept + 1, libc::c_uint::MAX)] {
        if first <= last {
            // SAFETY: the numbers in this range are owned by nobody here: the caller of fork_part gave all that there
            // were. Before Linux 5.9 it fails, and what was left open by accident stays so.
            unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_process_with_threads_is_not_forked() {
        // The test harness has this one beside its own.
        let null = std::fs::File::open("/dev/null").expect("it is everywhere");
        assert!(fork_part(null.into(), Vec::new()).is_err());
    }

    #[test]
    fn a_part_gets_its_standard_streams_and_ignores_what_is_for_the_supervisor() {
        // A number that ls needs not itself.
        let null = std::fs::File::open("/dev/null").expect("it is everywhere");
        let left_open = rustix::io::fcntl_dupfd_cloexec(null, 100).expect("a descriptor is free");
        // Somebody's descriptor that is not close-on-exec.
        rustix::io::fcntl_setfd(&left_open, rustix::io::FdFlags::empty()).expect("our own");
        let script = "grep SigIgn /proc/self/status; ls /proc/self/fd";
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let output = spawn_part(&mut command).and_then(Child::wait_with_output).expect("a shell");
        let said = String::from_utf8(output.stdout).expect("text");
        let mut words = said.split_whitespace().skip(1);
        let ignored = u64::from_str_radix(words.next().expect("a mask"), 16).expect("a mask");
        for signal in SUPERVISORS {
            assert_ne!(ignored & (1 << (signal - 1)), 0, "{signal} in {said}");
        }
        assert!(!words.any(|fd| fd == left_open.as_raw_fd().to_string()), "{said}");
    }

    #[test]
    fn a_parent_that_is_none_is_not_waited_for() {
        assert!(die_with(u32::MAX).is_err());
        // Not to be killed with whoever runs the tests.
        rustix::process::set_parent_process_death_signal(None).expect("our own");
    }
}
