//! A file or directory of the caller's own that stands for something in the daemon's memory: whose it is, who else can
//! open it, and which it is. Nothing is read from it or written to it here.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, FileType, StatxFlags, fstat, statx};

use super::handoff::{DescriptorError, check_opened, describe};

/// What will do.
const WANTED: &str = "a regular file or a directory of the caller's own with mode 0600 or 0700";

/// Which it is: as long as it is there, nothing else has the same. Shown, it is `file:` or `directory:` and three
/// numbers, which no name of a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnPlace {
    /// The device it is on.
    pub device: u64,
    /// Which it is there.
    pub inode: u64,
    /// When it was made, in nanoseconds since 1970; 0 where the file system does not say. A number of an inode comes again
    /// when a file is gone, and what was kept for that one is not this one's.
    pub born: i128,
    /// Whether it is a directory, not a regular file.
    pub is_directory: bool,
}

impl OwnPlace {
    /// Looks at what belongs to `uid` and nobody else may open. May block on a file system in user space.
    ///
    /// # Errors
    /// [`DescriptorError`] when it is something else, another user's, open to others, or was opened as a path only.
    pub fn look(fd: &OwnedFd, uid: u32) -> Result<Self, DescriptorError> {
        let wrong = |is| Err(DescriptorError::Kind { is, wanted: WANTED });
        check_opened(fd, WANTED)?;
        let stat = fstat(fd)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let is_directory = kind.is_dir();
        if !is_directory && !kind.is_file() {
            return wrong(describe(kind));
        }
        if stat.st_uid != uid {
            return wrong(if is_directory { "another user's directory" } else { "another user's file" });
        }
        if stat.st_mode & 0o077 != 0 {
            return wrong(if is_directory {
                "a directory that is open to its group or to others"
            } else {
                "a file that is open to its group or to others"
            });
        }
        let times = statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::BTIME)?;
        let born = if times.stx_mask & StatxFlags::BTIME.bits() == 0 {
            0
        } else {
            i128::from(times.stx_btime.tv_sec) * 1_000_000_000 + i128::from(times.stx_btime.tv_nsec)
        };
        Ok(Self { device: stat.st_dev, inode: stat.st_ino, born, is_directory })
    }
}

impl fmt::Display for OwnPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_directory { "directory" } else { "file" };
        write!(f, "{kind}:{}:{}:{}", self.device, self.inode, self.born)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, OpenOptions, Permissions};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::process::test_folder::Folder;

    fn us() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    fn look(file: File) -> OwnPlace {
        OwnPlace::look(&file.into(), us()).unwrap()
    }

    fn make(folder: &Folder, name: &str) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        options.open(folder.path(name)).unwrap()
    }

    #[test]
    fn only_what_is_ones_own_and_nobody_else_may_open_will_do() {
        let folder = Folder::new();
        fs::set_permissions(&folder.0, Permissions::from_mode(0o700)).unwrap();
        assert!(look(File::open(&folder.0).unwrap()).is_directory);
        assert!(!look(make(&folder, "file")).is_directory);
        let said = |file: File, uid| OwnPlace::look(&file.into(), uid).unwrap_err().to_string();
        assert!(said(make(&folder, "file"), us() + 1).contains("another user's file"));
        assert!(said(File::open(&folder.0).unwrap(), us() + 1).contains("another user's directory"));
        for mode in [0o710, 0o704, 0o770] {
            fs::set_permissions(&folder.0, Permissions::from_mode(mode)).unwrap();
            let text = said(File::open(&folder.0).unwrap(), us());
            assert!(text.contains("a directory that is open to its group or to others"), "{mode:o}: {text}");
        }
        assert!(said(File::open("/dev/null").unwrap(), us()).contains("is a character device"));
        let path_only = rustix::fs::open(&folder.0, OFlags::PATH, Mode::empty()).unwrap();
        assert!(OwnPlace::look(&path_only, us()).unwrap_err().to_string().contains("a path only"));
    }

    #[test]
    fn a_place_is_itself_by_any_path_and_nothing_else_even_when_its_number_comes_again() {
        let folder = Folder::new();
        let first = look(make(&folder, "one"));
        fs::hard_link(folder.path("one"), folder.path("two")).unwrap();
        assert_eq!(first, look(make(&folder, "two")), "the same file");
        assert_ne!(first.to_string(), look(make(&folder, "three")).to_string());
        for name in ["one", "two"] {
            fs::remove_file(folder.path(name)).unwrap();
        }
        let again = look(make(&folder, "one"));
        assert_ne!(first.to_string(), again.to_string(), "a new file has an old one's name");
    }
}
