//! A small file of the caller's that the daemon keeps secrets in: whose it is, who else can read it, and writing it so
//! that nobody sees a half.

use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use nix::errno::Errno as NixErrno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{OFlags, fdatasync};
use rustix::io::{Errno, pwrite};

use super::handoff::{DescriptorError, check_opened, check_regular};

/// What will do.
const WANTED: &str = "a regular file of the caller's own with mode 0600";
/// How often another process's lock is tried, and how long between: it writes 512 bytes meanwhile.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);

/// A file as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnFile {
    /// The device it is on.
    pub device: u64,
    /// Which it is there.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// When it was changed, in nanoseconds since 1970.
    pub changed: i128,
    /// Whether it is open for reading and writing, not for reading only.
    pub writable: bool,
}

impl OwnFile {
    /// Looks at a file that belongs to `uid` and that nobody else may open. May block on a file system in user space.
    ///
    /// # Errors
    /// [`DescriptorError`] when it is something else, another user's, open to others, or not open for reading.
    pub fn look(fd: &OwnedFd, uid: u32) -> Result<Self, DescriptorError> {
        let wrong = |is| Err(DescriptorError::Kind { is, wanted: WANTED });
        let stat = check_regular(fd)?;
        if stat.st_uid != uid {
            return wrong("another user's file");
        }
        if stat.st_mode & 0o077 != 0 {
            return wrong("a file that is open to its group or to others");
        }
        let flags = check_opened(fd, WANTED)?;
        // The kernel would write at its end, whatever the offset.
        if flags.contains(OFlags::APPEND) {
            return wrong("open for appending");
        }
        let writable = match flags & OFlags::RWMODE {
            OFlags::RDWR => true,
            OFlags::RDONLY => false,
            _ => return wrong("open for writing only"),
        };
        let (seconds, nanoseconds) = (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec));
        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            changed: seconds * 1_000_000_000 + nanoseconds,
            writable,
        })
    }
}

/// Does `work` while no other process that asks for it has the file (an open file description lock on all of it). Blocks
/// for 0.2 s at most, and on the file system.
///
/// # Errors
/// [`DescriptorError`] when another has it all the time, or it cannot be locked; else as `work` has it.
pub fn locked<T, E: From<DescriptorError>>(
    fd: &OwnedFd,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    lock(fd)?;
    let done = work();
    // It fails only where there is none.
    let _ = set_lock(fd, libc::F_UNLCK);
    done
}

fn lock(fd: &OwnedFd) -> Result<(), DescriptorError> {
    for _ in 0..TRIES {
        match set_lock(fd, libc::F_WRLCK) {
            Err(NixErrno::EAGAIN | NixErrno::EACCES) => thread::sleep(PAUSE),
            Err(error) => return Err(DescriptorError::Unusable(error.into())),
            Ok(()) => return Ok(()),
        }
    }
    let error = io::Error::new(io::ErrorKind::WouldBlock, "another process keeps it locked");
    Err(DescriptorError::Unusable(error))
}

fn set_lock(fd: &OwnedFd, kind: libc::c_int) -> Result<(), NixErrno> {
    let lock = libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or(libc::c_short::MAX),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(fd, FcntlArg::F_OFD_SETLK(&lock)).map(|_| ())
}

/// Writes all of `bytes` at this offset, and waits until the disk has them. The caller's own offset stays.
///
/// # Errors
/// The system's.
pub fn write_at(fd: &OwnedFd, offset: u64, bytes: &[u8]) -> Result<(), DescriptorError> {
    let mut done = 0;
    while done < bytes.len() {
        match pwrite(fd, &bytes[done..], offset + done as u64) {
            Ok(0) => return Err(Errno::IO.into()),
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    match fdatasync(fd) {
        // What has no disk is where it will ever be.
        Ok(()) | Err(Errno::INVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    use super::*;
    use crate::process::test_folder::Folder;

    fn us() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn open(folder: &Folder, write: bool) -> File {
        let file = folder.path("keys");
        OpenOptions::new().read(true).write(write).create(write).mode(0o600).open(file).unwrap()
    }

    #[test]
    fn only_a_file_of_ones_own_that_nobody_else_may_open_will_do() {
        let folder = Folder::new();
        let file = open(&folder, true);
        let fd = OwnedFd::from(file.try_clone().unwrap());
        assert!(OwnFile::look(&fd, us()).unwrap().writable);
        assert!(!OwnFile::look(&open(&folder, false).into(), us()).unwrap().writable);
        let said = |fd: &OwnedFd, uid| OwnFile::look(fd, uid).unwrap_err().to_string();
        assert!(said(&fd, us() + 1).contains("another user's file"));
        for mode in [0o640, 0o604, 0o660] {
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
            assert!(said(&fd, us()).contains("open to its group or to others"), "{mode:o}");
        }
        let appending = OpenOptions::new().read(true).append(true).open(folder.path("keys")).unwrap();
        file.set_permissions(Permissions::from_mode(0o600)).unwrap();
        assert!(said(&appending.into(), us()).contains("open for appending"));
        assert!(said(&File::open(&folder.0).unwrap().into(), us()).contains("is a directory"));
    }

    #[test]
    fn a_lock_of_another_is_waited_for_and_not_for_ever() {
        let folder = Folder::new();
        let (one, other) = (open(&folder, true).into(), open(&folder, true).into());
        let tried = locked(&one, || {
            Ok::<_, DescriptorError>(locked(&other, || Ok::<_, DescriptorError>(())).unwrap_err().to_string())
        });
        assert!(tried.unwrap().contains("another process keeps it locked"));
        assert!(locked(&other, || Ok::<_, DescriptorError>(())).is_ok(), "it was given back");
    }

    #[test]
    fn what_is_written_is_there_and_the_state_has_changed() {
        let folder = Folder::new();
        let fd = OwnedFd::from(open(&folder, true));
        let before = OwnFile::look(&fd, us()).unwrap();
        write_at(&fd, 512, b"text").unwrap();
        let after = OwnFile::look(&fd, us()).unwrap();
        assert_eq!((before.size, after.size), (0, 516));
        assert_eq!((before.device, before.inode), (after.device, after.inode));
        assert_eq!(
            rustix::fs::seek(&fd, rustix::fs::SeekFrom::Current(0)),
            Ok(0),
            "the offset is the caller's"
        );
    }
}
