//! What a caller gives for its data: every kind really carries a session, and the flags and offsets that the caller
//! shares with the daemon stay as they were.

mod carried;
mod untouched;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tlsifyd_tests::TempDir;

/// A terminal: the end that a person types at and reads from, and the end that programs have.
fn terminal() -> (File, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, Mode::empty()).unwrap();
    // Bytes as they are: what a terminal makes of lines is not what is tested.
    let mut settings = tcgetattr(&slave).unwrap();
    settings.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &settings).unwrap();
    (File::from(master), File::from(slave))
}

/// A file with this in it, open for reading and writing at its start.
fn file(dir: &TempDir, name: &str, content: &str) -> File {
    let path = dir.path().join(name);
    std::fs::write(&path, content).unwrap();
    File::options().read(true).write(true).open(path).unwrap()
}

/// Another descriptor of the same description.
fn copy(fd: impl AsFd) -> OwnedFd {
    fd.as_fd().try_clone_to_owned().unwrap()
}

/// Descriptors with the flags that they had, to be compared later.
struct Flags(Vec<(String, OwnedFd, OFlags)>);

impl Flags {
    fn new() -> Self {
        Self(Vec::new())
    }

    /// Remembers a descriptor's flags, after setting O_NONBLOCK as said.
    fn note(&mut self, what: &str, fd: impl AsFd, nonblocking: bool) {
        let mut flags = fcntl_getfl(&fd).unwrap();
        flags.set(OFlags::NONBLOCK, nonblocking);
        fcntl_setfl(&fd, flags).unwrap();
        let flags = fcntl_getfl(&fd).unwrap();
        assert_eq!(flags.contains(OFlags::NONBLOCK), nonblocking);
        self.0.push((what.to_owned(), copy(fd), flags));
    }

    #[track_caller]
    fn assert_same(&self, when: &str) {
        for (what, fd, flags) in &self.0 {
            assert_eq!(fcntl_getfl(fd).unwrap(), *flags, "{what}, {when}");
        }
    }
}
