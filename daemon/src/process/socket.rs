//! Where the daemon listens: the path, its lock, and a socket that appears ready or not at all.
//!
//! ```text
//!  parent folder safe? ─▶ lock PATH.lock ─▶ what is at PATH? ─▶ bind PATH.new ─ chmod ─ listen ─▶ rename to PATH
//!                           │ held: another   │ not a socket: leave it, fail
//!                           ▼ daemon lives    │ answers: leave it, fail
//!                         fail                └ ECONNREFUSED: stale, the rename replaces it
//! ```
//!
//! A caller that finds the path finds a socket with its final mode that is already listening. The lock is held as
//! long as the [`Listener`] lives, and its file is never removed: removing a lock file lets two daemons hold two
//! locks of the same name.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use crate::config::{Config, KeysSocket};

/// The socket of the system's daemon.
const SYSTEM_SOCKET: &str = "/run/tlsifyd/tlsifyd.sock";

/// The name of a personal daemon's socket in `$XDG_RUNTIME_DIR`.
const PERSONAL_SOCKET: &str = "tlsifyd.sock";

/// The socket of the system's keyholder.
const SYSTEM_KEYS: &str = "/run/tlsifyd/keys.sock";

/// Callers that may wait to be accepted; the kernel cuts it to net.core.somaxconn. A shorter queue turns a burst of
/// short-lived commands into EAGAIN.
const BACKLOG: i32 = 4096;

/// How often, and how far apart, it is looked whether the worker of a daemon that was killed has ended: a second in all.
const LAST_MOMENTS: u32 = 20;
/// See [`LAST_MOMENTS`].
const LAST_MOMENT: std::time::Duration = std::time::Duration::from_millis(50);

/// Where to listen, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The socket's path.
    pub path: PathBuf,
    /// Permission bits of the socket.
    pub mode: u32,
    /// Permission bits of its folder, if it has to be made.
    pub folder_mode: u32,
}

impl Place {
    /// Chooses: `flag` (`--socket`), else `$TLSIFY_SOCK`, else the configuration, else the system's place for root
    /// and `$XDG_RUNTIME_DIR/tlsifyd.sock` for everybody else. The system's daemon is open to all local users and
    /// policy decides by uid; a personal daemon is its user's alone. `socket-mode` in the configuration wins.
    ///
    /// # Errors
    /// [`ListenError::Nowhere`] for a user without `$XDG_RUNTIME_DIR`.
    pub fn choose(
        flag: Option<&Path>,
        config: &Config,
        uid: u32,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Place, ListenError> {
        let set = |name: &str| environment(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || match uid {
            0 => Some(PathBuf::from(SYSTEM_SOCKET)),
            _ => set("XDG_RUNTIME_DIR").map(|folder| folder.join(PERSONAL_SOCKET)),
        };
        let path = flag
            .map(Path::to_owned)
            .or_else(|| set("TLSIFY_SOCK"))
            .or_else(|| config.socket.clone())
            .or_else(usual)
            .ok_or(ListenError::Nowhere)?;
        let (mode, folder_mode) = if uid == 0 { (0o666, 0o755) } else { (0o600, 0o700) };
        Ok(Place { path, mode: config.socket_mode.unwrap_or(mode), folder_mode })
    }

    /// Chooses the place of the keyholder's socket: the configuration, else beside the socket for callers, so that two daemons
    /// are not in each other's way: `keys.sock` beside the system's own, `NAME-keys.sock` beside any `NAME.sock`. Without a
    /// path for callers (`None`: it was inherited), the usual one of this user.
    ///
    /// `None`: there is to be none, or there is no usual place.
    #[must_use]
    pub fn of_keys(
        config: &Config,
        callers: Option<&Path>,
        uid: u32,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Option<Place> {
        let folder = || environment("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
        let usual = || match uid {
            0 => Some(PathBuf::from(SYSTEM_SOCKET)),
            _ => Some(PathBuf::from(folder()?).join(PERSONAL_SOCKET)),
        };
        let path = match &config.keys.socket {
            KeysSocket::None => return None,
            KeysSocket::At(path) => path.clone(),
            KeysSocket::Usual => match callers.map(Path::to_owned).or_else(usual)? {
                system if system == Path::new(SYSTEM_SOCKET) => PathBuf::from(SYSTEM_KEYS),
                other => {
                    let mut name = other.file_stem()?.to_owned();
                    name.push("-keys.sock");
                    other.with_file_name(name)
                }
            },
        };
        let folder_mode = if uid == 0 { 0o755 } else { 0o700 };
        Some(Place { path, mode: config.keys.socket_mode.unwrap_or(0o600), folder_mode })
    }
}

/// A listening AF_UNIX socket, close-on-exec and non-blocking. Dropping it closes the socket and
/// removes its path, if that is still ours.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
    made: Option<Made>,
}

/// What we put into the file system.
#[derive(Debug)]
struct Made {
    path: PathBuf,
    device: u64,
    inode: u64,
    /// Locked as long as it is open.
    _lock: OwnedFd,
}

impl Listener {
    /// Listens at `place` for control connections (SOCK_SEQPACKET), replacing a stale socket and nothing else.
    ///
    /// # Errors
    /// [`ListenError`]; nothing that was there has been changed then.
    pub fn bind(place: &Place) -> Result<Listener, ListenError> {
        Self::bind_as(place, SocketType::SEQPACKET)
    }

    /// The same for byte streams (SOCK_STREAM).
    ///
    /// # Errors
    /// [`ListenError`]; nothing that was there has been changed then.
    pub fn bind_stream(place: &Place) -> Result<Listener, ListenError> {
        Self::bind_as(place, SocketType::STREAM)
    }

    fn bind_as(place: &Place, kind: SocketType) -> Result<Listener, ListenError> {
        let path = place.path.as_path();
        // "tlsifyd.sock" has the empty path for its parent, which is here.
        let folder = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            Some(_) => Path::new("."),
            None => return Err(ListenError::NoPath(path.to_owned())),
        };
        prepare_folder(folder, place.folder_mode)?;
        let lock = take_lock(path, kind)?;
        look_at_what_is_there(path, kind)?;
        let socket = appear(path, place.mode, kind)?;
        let ours = fs::symlink_metadata(path).map_err(|cause| failed("look at", path, cause))?;
        let made = Made { path: path.to_owned(), device: ours.dev(), inode: ours.ino(), _lock: lock };
        Ok(Listener { socket, made: Some(made) })
    }

    /// A listener that the service manager made, and will remove.
    pub(super) fn inherited(socket: OwnedFd) -> Listener {
        Listener { socket, made: None }
    }

    /// The path that we made; `None` when the socket was inherited.
    pub fn path(&self) -> Option<&Path> {
        self.made.as_ref().map(|made| made.path.as_path())
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(made) = &self.made else { return };
        // Someone may have put another socket there by hand; it is not ours to remove.
        let ours = fs::symlink_metadata(&made.path)
            .is_ok_and(|there| there.dev() == made.device && there.ino() == made.inode);
        if ours {
            // Nobody is left to tell, and a stale socket does no harm: the next start replaces it.
            let _ = fs::remove_file(&made.path);
        }
    }
}

/// Why the daemon cannot listen; the operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// No path was said and there is no usual one.
    #[error("no place for the socket: XDG_RUNTIME_DIR is not set, name a path with --socket or TLSIFY_SOCK")]
    Nowhere,
    /// The path cannot be one.
    #[error("cannot listen at {}: it is no path for a socket", .0.display())]
    NoPath(PathBuf),
    /// The path does not fit the kernel's address.
    #[error("cannot listen at {}: the path is longer than 103 bytes, which is all that a socket's address has room for", .0.display())]
    TooLong(PathBuf),
    /// Others could replace the socket.
    #[error("cannot listen in {}: {why}, so somebody else could take the socket's place", folder.display())]
    UnsafeFolder {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Another daemon holds the lock, or answers.
    #[error("another tlsifyd listens at {} ({how})", path.display())]
    Live {
        /// The socket.
        path: PathBuf,
        /// How we know.
        how: &'static str,
    },
    /// The path is taken by something that we never remove.
    #[error("cannot listen at {}: there is {what} and not a socket, move it away or choose another path", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The lock file is somebody else's.
    #[error("cannot lock {}: it belongs to uid {owner}, remove it or choose another path", path.display())]
    ForeignLock {
        /// The lock file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
    },
    /// A system call failed.
    #[error("cannot {what} {}: {}", path.display(), super::reason(cause))]
    System {
        /// What we were doing, as "create" or "lock".
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        cause: io::Error,
    },
}

fn failed(what: &'static str, path: &Path, cause: impl Into<io::Error>) -> ListenError {
    ListenError::System { what, path: path.to_owned(), cause: cause.into() }
}

fn prepare_folder(folder: &Path, mode: u32) -> Result<(), ListenError> {
    match fs::DirBuilder::new().mode(mode).create(folder) {
        // The umask may have taken bits that callers need to get in.
        Ok(()) => fs::set_permissions(folder, fs::Permissions::from_mode(mode))
            .map_err(|cause| failed("set the mode of", folder, cause))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(cause) => return Err(failed("create", folder, cause)),
    }
    let found = fs::metadata(folder).map_err(|cause| failed("look at", folder, cause))?;
    let wrong = |why: String| Err(ListenError::UnsafeFolder { folder: folder.to_owned(), why });
    if !found.is_dir() {
        return Err(ListenError::NotASocket { path: folder.to_owned(), what: "something that is no folder" });
    }
    let (mode, owner) = (found.mode() & 0o7777, found.uid());
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return wrong(format!("others may write to it (mode {mode:04o})"));
    }
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return wrong(format!("it belongs to uid {owner}"));
    }
    Ok(())
}

fn take_lock(path: &Path, kind: SocketType) -> Result<OwnedFd, ListenError> {
    let lock_path = with_suffix(path, ".lock");
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .mode(0o600)
        // In a folder like /tmp somebody may have put a link there; std sets O_CLOEXEC itself.
        .custom_flags(OFlags::NOFOLLOW.bits().cast_signed() | OFlags::NONBLOCK.bits().cast_signed())
        .open(&lock_path)
        .map_err(|cause| failed("open the lock", &lock_path, cause))?;
    let owner = file.metadata().map_err(|cause| failed("look at", &lock_path, cause))?.uid();
    if owner != rustix::process::geteuid().as_raw() {
        // Whoever owns it could hold the lock for ever.
        return Err(ListenError::ForeignLock { path: lock_path, owner });
    }
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            outlive_the_last(path, kind);
            Ok(file.into())
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(ListenError::Live { path: path.to_owned(), how: "it holds the lock" })
        }
        Err(cause) => Err(failed("lock", &lock_path, cause)),
    }
}

/// A daemon that was killed has left its lock at once, and its worker, which has a copy of the socket, ends a moment later:
/// waits that long.
fn outlive_the_last(path: &Path, kind: SocketType) {
    let answers = || {
        let probe = new_socket(kind).ok().zip(address(path).ok());
        probe.is_some_and(|(probe, address)| connect(&probe, &address).is_ok())
    };
    for _ in 0..LAST_MOMENTS {
        if !answers() {
            return;
        }
        std::thread::sleep(LAST_MOMENT);
    }
}

/// Passes when nothing is at the path, or a socket that nobody listens on.
fn look_at_what_is_there(path: &Path, kind: SocketType) -> Result<(), ListenError> {
    let there = match fs::symlink_metadata(path) {
        Ok(there) => there.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed("look at", path, cause)),
    };
    if !there.is_socket() {
        let what = match () {
            () if there.is_dir() => "a folder",
            () if there.is_symlink() => "a symbolic link",
            () if there.is_file() => "a file",
            () => "something else",
        };
        return Err(ListenError::NotASocket { path: path.to_owned(), what });
    }
    let probe = new_socket(kind).map_err(|cause| failed("probe", path, cause))?;
    match connect(&probe, &address(path)?) {
        Err(rustix::io::Errno::CONNREFUSED) => Ok(()),
        Ok(()) => Err(ListenError::Live { path: path.to_owned(), how: "it answers" }),
        Err(rustix::io::Errno::AGAIN) => {
            Err(ListenError::Live { path: path.to_owned(), how: "its queue of callers is full" })
        }
        // EPROTOTYPE: a socket of another kind, which lives too, and is not even a tlsifyd's.
        Err(rustix::io::Errno::PROTOTYPE) => Err(ListenError::Live {
            path: path.to_owned(),
            how: "or another program: the socket is of another type",
        }),
        Err(cause) => Err(failed("probe", path, cause)),
    }
}

/// Makes the socket under another name and moves it into place when it is ready.
fn appear(path: &Path, mode: u32, kind: SocketType) -> Result<OwnedFd, ListenError> {
    let hidden = with_suffix(path, ".new");
    // 107 bytes fit, and four of them are needed for a moment; the error names the path that was asked for.
    let hidden_address = address(&hidden).map_err(|_| ListenError::TooLong(path.to_owned()))?;
    // Left over by a daemon that died between bind and rename; we hold the lock, so it is nobody's.
    if fs::symlink_metadata(&hidden).is_ok_and(|there| there.file_type().is_socket()) {
        fs::remove_file(&hidden).map_err(|cause| failed("remove the stale", &hidden, cause))?;
    }
    let socket = new_socket(kind).map_err(|cause| failed("make a socket for", path, cause))?;
    bind(&socket, &hidden_address).map_err(|cause| failed("bind", &hidden, cause))?;
    let ready = fs::set_permissions(&hidden, fs::Permissions::from_mode(mode))
        .map_err(|cause| failed("set the mode of", &hidden, cause))
        // Not before the mode is right: until now a connect is refused.
        .and_then(|()| listen(&socket, BACKLOG).map_err(|cause| failed("listen at", &hidden, cause)))
        .and_then(|()| fs::rename(&hidden, path).map_err(|cause| failed("put the socket at", path, cause)));
    match ready {
        Ok(()) => Ok(socket),
        Err(error) => {
            // The first error is the one to tell.
            let _ = fs::remove_file(&hidden);
            Err(error)
        }
    }
}

fn new_socket(kind: SocketType) -> rustix::io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, kind, flags, None)
}

fn address(path: &Path) -> Result<SocketAddrUnix, ListenError> {
    SocketAddrUnix::new(path).map_err(|error| match error {
        rustix::io::Errno::NAMETOOLONG => ListenError::TooLong(path.to_owned()),
        _ => ListenError::NoPath(path.to_owned()),
    })
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
