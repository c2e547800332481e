//! Everything that the loader asks of the world around it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::{Group, User};

use super::bytes::{Bytes, Secret};
use crate::process::{descriptors, files};

/// What the loader asks. Errors are sentences for the operator, with the path or the name in them.
pub trait Sources {
    /// The whole of a regular file of at most `most` bytes.
    ///
    /// # Errors
    /// It is missing, no regular file, or larger.
    fn text(&self, path: &Path, most: u64) -> Result<Bytes, String>;

    /// The same of a file that has no secret: of private keys in it only their frames are left
    /// ([`crate::tls::without_keys`]).
    ///
    /// # Errors
    /// As [`Sources::text`].
    fn file(&self, path: &Path, most: u64) -> Result<Bytes, String>;

    /// Of a file with certificates and a private key what `read` says, which is somebody else's part of it.
    ///
    /// # Errors
    /// Those of `read`.
    fn beside_key(
        &self,
        path: &Path,
        read: &mut dyn FnMut() -> Result<Vec<u8>, String>,
    ) -> Result<Bytes, String>;

    /// Whether two paths lead to the same file.
    fn same(&self, one: &Path, other: &Path) -> bool;

    /// The first line of a file with a password, which nobody but root, the daemon and their groups may read or change.
    ///
    /// # Errors
    /// As [`Sources::text`], when others may, and when the line is empty.
    fn password(&self, path: &Path) -> Result<Secret, String>;

    /// The files of a folder with one of these extensions, in the order of their names, hidden ones left out.
    ///
    /// # Errors
    /// It is missing, no folder, or holds too many of them.
    fn folder(&self, path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String>;

    /// Whether there is a folder of this name.
    fn is_folder(&self, path: &Path) -> bool;

    /// Whether there certainly is nothing of this name.
    fn is_absent(&self, path: &Path) -> bool;

    /// The name of a file without links on the way, which is what the kernel calls it.
    ///
    /// # Errors
    /// There is none.
    fn real(&self, path: &Path) -> Result<PathBuf, String>;

    /// The uid of a user.
    ///
    /// # Errors
    /// The user is not known here, or the user database does not answer.
    fn user(&self, name: &str) -> Result<u32, String>;

    /// The gid of a group.
    ///
    /// # Errors
    /// As [`Sources::user`].
    fn group(&self, name: &str) -> Result<u32, String>;

    /// The time that decides what has expired.
    fn now(&self) -> SystemTime;

    /// How many descriptors the daemon may open; quotas follow from it.
    fn descriptors(&self) -> u64;
}

/// The host itself. Waits for disks and user databases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk {
    /// The time, where it is not to be the clock's.
    pub now: Option<SystemTime>,
}

impl Sources for Disk {
    fn text(&self, path: &Path, most: u64) -> Result<Bytes, String> {
        files::read(path, most).map(Bytes::from)
    }

    fn file(&self, path: &Path, most: u64) -> Result<Bytes, String> {
        files::read_public(path, most).map(Bytes::from)
    }

    fn beside_key(
        &self,
        _: &Path,
        read: &mut dyn FnMut() -> Result<Vec<u8>, String>,
    ) -> Result<Bytes, String> {
        read().map(Bytes::from)
    }

    fn same(&self, one: &Path, other: &Path) -> bool {
        files::same(one, other)
    }

    fn password(&self, path: &Path) -> Result<Secret, String> {
        files::read_password(path).map(Secret::from)
    }

    fn folder(&self, path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
        files::files_of(path, extensions)
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_absent(&self, path: &Path) -> bool {
        path.symlink_metadata().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    fn real(&self, path: &Path) -> Result<PathBuf, String> {
        path.canonicalize().map_err(|error| crate::process::reason(&error).to_string())
    }

    fn user(&self, name: &str) -> Result<u32, String> {
        match User::from_name(name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            Ok(None) => Err(format!("there is no user named \"{name}\"")),
            Err(error) => Err(format!("cannot look up the user \"{name}\": {}", error.desc())),
        }
    }

    fn group(&self, name: &str) -> Result<u32, String> {
        match Group::from_name(name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            Ok(None) => Err(format!("there is no group named \"{name}\"")),
            Err(error) => Err(format!("cannot look up the group \"{name}\": {}", error.desc())),
        }
    }

    fn now(&self) -> SystemTime {
        self.now.unwrap_or_else(SystemTime::now)
    }

    fn descriptors(&self) -> u64 {
        descriptors::limit()
    }
}
