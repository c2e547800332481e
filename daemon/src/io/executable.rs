//! What a process runs, by its pidfd.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::CWD;

/// What the kernel appends to the name of a file that is gone. A program that was replaced while it runs is still that
/// program to whoever writes a rule.
const GONE: &[u8] = b" (deleted)";

/// The executable of the process that `pidfd` is, which has the number `pid` while it lives; `None` when it has ended,
/// when we may not know, or when it is in a process namespace where it has no number for us. Does not wait.
pub fn executable(pidfd: &OwnedFd, pid: i32) -> Option<PathBuf> {
    if pid <= 0 || !is_alive(pidfd) {
        return None;
    }
    let path = rustix::fs::readlinkat(CWD, format!("/proc/{pid}/exe"), Vec::new()).ok()?;
    // Alive before and after: the number was this process's in between, and nobody else's.
    if !is_alive(pidfd) {
        return None;
    }
    let mut path = path.into_bytes();
    if path.ends_with(GONE) {
        path.truncate(path.len() - GONE.len());
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(path));
    // "/" begins every name that a rule can have; what is out of our sight has others.
    path.as_os_str().as_bytes().starts_with(b"/").then_some(path)
}

/// A pidfd becomes readable when its process ends.
fn is_alive(pidfd: &OwnedFd) -> bool {
    let mut watched = [PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut watched, Some(&now)), Ok(0))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn pidfd(pid: i32) -> OwnedFd {
        pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap()
    }

    #[test]
    fn a_process_that_lives_has_its_name_and_one_that_ended_has_none() {
        let mut child = Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let fd = pidfd(pid);
        // Until the child has called execve it is this program.
        let cat = std::fs::canonicalize("/bin/cat").unwrap();
        let seen = (0..2000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            executable(&fd, pid).filter(|path| *path == cat)
        });
        assert_eq!(seen, Some(cat));
        assert_eq!(executable(&fd, 0), None, "of another process namespace");
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(executable(&fd, pid), None);
    }

    #[test]
    fn a_program_that_was_replaced_keeps_its_name() {
        let dir = std::env::temp_dir().join(format!("tlsifyd-executable-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let copy = dir.join("cat");
        std::fs::copy("/bin/cat", &copy).unwrap();
        let mut child = Command::new(&copy).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        std::fs::remove_file(&copy).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let copy = std::fs::canonicalize(&dir).unwrap().join("cat");
        let seen = (0..2000).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            executable(&pidfd(pid), pid).filter(|path| *path == copy)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        assert_eq!(seen, Some(copy));
    }
}
