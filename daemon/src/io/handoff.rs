//! What a descriptor is, found out before it is used. A caller's word for it is not enough.

use std::ffi::CStr;
use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags, fcntl_get_seals, fcntl_getfl, fstat,
    openat, openat2, statx,
};
use rustix::io::{Errno, ReadWriteFlags, preadv2, retry_on_intr};
use rustix::net::{SocketType, getpeername, getsockname, sockopt};
use tlsify_protocol::Address;
use zeroize::Zeroizing;

use crate::tls::without_keys;

/// Files taken from a directory of certificates at most. The system's own pool has about 150.
const MAX_DIRECTORY_FILES: usize = 1024;

/// What a folder has to be.
pub(super) const OPEN_DIRECTORY: &str = "a directory that is open for reading";

/// What O_PATH makes of anything.
pub(super) const PATH_ONLY: &str = "opened as a path only";

/// Why a descriptor cannot be used. All of these are the caller's to put right.
#[derive(Debug)]
pub enum DescriptorError {
    /// It is something else than asked for.
    Kind {
        /// What it is.
        is: &'static str,
        /// What would do.
        wanted: &'static str,
    },
    /// It is the right kind but cannot be read or used.
    Unusable(io::Error),
    /// More than is taken.
    TooLarge {
        /// The limit in bytes or files.
        limit: usize,
        /// Bytes or files.
        unit: &'static str,
    },
}

impl fmt::Display for DescriptorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind { is, wanted } => write!(f, "is {is}, must be {wanted}"),
            Self::Unusable(error) => write!(f, "cannot be used: {error}"),
            Self::TooLarge { limit, unit } => write!(f, "is larger than {limit} {unit}"),
        }
    }
}

impl std::error::Error for DescriptorError {}

impl From<Errno> for DescriptorError {
    fn from(errno: Errno) -> Self {
        Self::Unusable(errno.into())
    }
}

/// A network socket that was checked.
#[derive(Debug)]
pub struct Net {
    /// The socket.
    pub fd: OwnedFd,
    /// Its addresses.
    pub ends: Ends,
}

/// Both ends of a connected socket.
#[derive(Clone, Copy, Debug)]
pub struct Ends {
    /// The far end.
    pub peer: Address,
    /// Our end.
    pub local: Address,
}

/// Whether `fd` is a connected stream socket, and between whom.
///
/// # Errors
/// [`DescriptorError::Kind`] for anything else, with what it is.
pub fn connected_stream(fd: &OwnedFd) -> Result<Ends, DescriptorError> {
    const WANTED: &str = "a connected stream socket";
    let kind = match sockopt::socket_type(fd) {
        Ok(kind) => kind,
        // Not asked further here: fstat may wait for a file system in user space.
        Err(Errno::NOTSOCK) => return Err(DescriptorError::Kind { is: "not a socket", wanted: WANTED }),
        // It is open, so this is what an O_PATH descriptor says to everything.
        Err(Errno::BADF) => return Err(DescriptorError::Kind { is: PATH_ONLY, wanted: WANTED }),
        Err(e) => return Err(e.into()),
    };
    if kind != SocketType::STREAM {
        let is = match kind {
            SocketType::DGRAM => "a datagram socket",
            SocketType::SEQPACKET => "a packet socket",
            _ => "a socket of another type",
        };
        return Err(DescriptorError::Kind { is, wanted: WANTED });
    }
    let local = address(Some(getsockname(fd)?));
    let peer = match getpeername(fd) {
        Ok(peer) => address(peer),
        // A peer that has reset it is the peer's doing, and the handshake will say so.
        Err(Errno::NOTCONN) if has_failed(fd)? => nobody(local),
        Err(Errno::NOTCONN | Errno::INVAL) => {
            let listening = sockopt::socket_acceptconn(fd)?;
            let is = if listening { "a listening socket" } else { "a socket that is not connected" };
            return Err(DescriptorError::Kind { is, wanted: WANTED });
        }
        Err(e) => return Err(e.into()),
    };
    Ok(Ends { peer, local })
}

/// Whether an error waits on the socket, found out without taking it: whoever reads next has to get it.
fn has_failed(fd: &OwnedFd) -> Result<bool, DescriptorError> {
    let mut fds = [PollFd::new(fd, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    retry_on_intr(|| poll(&mut fds, Some(&now)))?;
    Ok(fds[0].revents().contains(PollFlags::ERR))
}

/// The far end of a socket that has lost it: the kernel does not know its address any more.
fn nobody(local: Address) -> Address {
    match local {
        Address::Inet(SocketAddr::V4(_)) => Address::Inet((Ipv4Addr::UNSPECIFIED, 0).into()),
        Address::Inet(SocketAddr::V6(_)) => Address::Inet((Ipv6Addr::UNSPECIFIED, 0).into()),
        Address::Unix => Address::Unix,
    }
}

/// Makes a checked socket the network side. Records are written whole, so waiting for more to send
/// only delays them.
#[must_use]
pub fn take_net(fd: OwnedFd, ends: Ends) -> Net {
    if matches!(ends.peer, Address::Inet(_)) {
        // Other stream protocols over IP may not have the option.
        let _ = sockopt::set_tcp_nodelay(&fd, true);
        close_without_waiting(&fd);
    }
    Net { fd, ends }
}

/// The near end of a socket.
pub(super) fn local_address(fd: &OwnedFd) -> Result<Address, Errno> {
    getsockname(fd).map(|any| address(Some(any)))
}

/// Whether `fd` is a socket, found out without touching a file system.
#[must_use]
pub fn is_socket(fd: impl AsFd) -> bool {
    sockopt::socket_type(fd).is_ok()
}

/// Switches SO_LINGER off. Left on by a caller, it would let the last close of the socket wait for the
/// peer, for as long as the caller said and whatever the flags are: a core would stand still. Done when a
/// socket is taken, for paths that end early, and just before closing, because the caller may hold a
/// copy and set it again.
pub(super) fn close_without_waiting(fd: impl AsFd) {
    // Sockets that do not know the option have nothing to wait for.
    let _ = sockopt::set_socket_linger(fd, None);
}

/// Whether `fd` is a regular file or memory file.
///
/// # Errors
/// [`DescriptorError::Kind`] for anything else.
pub(super) fn check_regular(fd: impl AsFd) -> Result<Stat, DescriptorError> {
    const WANTED: &str = "a regular file or memfd";
    let stat = fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => check_opened(fd, WANTED).map(|_| stat),
        kind => Err(DescriptorError::Kind { is: describe(kind), wanted: WANTED }),
    }
}

/// The flags of `fd`, if it was opened to be used: with O_PATH the kernel asks for no permission on what
/// it leads to.
pub(super) fn check_opened(fd: impl AsFd, wanted: &'static str) -> Result<OFlags, DescriptorError> {
    let flags = fcntl_getfl(fd)?;
    if flags.contains(OFlags::PATH) {
        return Err(DescriptorError::Kind { is: PATH_ONLY, wanted });
    }
    Ok(flags)
}

/// Whether looking at `fd`, and beginning to read it, cannot wait for a file system in user space or on the network: it
/// is in memory, or of a kind that only the kernel answers for. Asks nobody to find out.
pub fn is_at_hand(fd: impl AsFd) -> bool {
    let fd = fd.as_fd();
    let known = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(stat) = statx(fd, c"", known, StatxFlags::TYPE) else { return false };
    match FileType::from_raw_mode(stat.stx_mode.into()) {
        FileType::Fifo | FileType::Socket | FileType::CharacterDevice => true,
        FileType::RegularFile => {
            // Only files that are memory have seals; others are at hand as far as their first page tells.
            fcntl_get_seals(fd).is_ok()
                || preadv2(fd, &mut [IoSliceMut::new(&mut [0])], 0, ReadWriteFlags::NOWAIT).is_ok()
        }
        _ => false,
    }
}

/// The size of a regular file of at most `max` bytes. May block on a file system in user space.
///
/// # Errors
/// [`DescriptorError`] when it is something else, or larger.
pub fn check_file(fd: impl AsFd, max: usize) -> Result<usize, DescriptorError> {
    let size = usize::try_from(check_regular(fd)?.st_size).unwrap_or(usize::MAX);
    if size > max { Err(DescriptorError::TooLarge { limit: max, unit: "bytes" }) } else { Ok(size) }
}

/// Reads a regular file from its start, without moving the caller's offset, into one buffer that is
/// wiped when it goes: it may be a key. May block on a disk or on a file system in user space: not
/// for a loop's thread.
///
/// # Errors
/// [`DescriptorError`]; `max` is in bytes.
pub fn read_regular(fd: impl AsFd, max: usize) -> Result<Zeroizing<Vec<u8>>, DescriptorError> {
    let size = check_file(&fd, max)?;
    // Not grown while reading, which would leave copies behind. One byte more shows a file that grows.
    let mut bytes = Zeroizing::new(vec![0; size + 1]);
    let mut filled = 0;
    while filled <= size {
        match rustix::io::pread(&fd, &mut bytes[filled..], filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    if filled > size {
        let error = io::Error::other("it grew while it was read");
        return Err(DescriptorError::Unusable(error));
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Reads a regular file as [`read_regular`] does, for what is no secret in it: of private keys in PEM only their frames are
/// left, and the rest of them is in no memory any more. Also says how large the file was.
///
/// # Errors
/// As [`read_regular`].
pub fn read_public(fd: impl AsFd, max: usize) -> Result<(Vec<u8>, usize), DescriptorError> {
    let mut bytes = read_regular(fd, max)?;
    let size = bytes.len();
    without_keys(&mut bytes);
    Ok((std::mem::take(&mut *bytes), size))
}

/// Whether two descriptors are of the same file. No file is the same as what cannot be looked at.
pub fn same_file(one: impl AsFd, other: impl AsFd) -> bool {
    let place = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    matches!((place(one.as_fd()), place(other.as_fd())), (Ok(one), Ok(other)) if one == other)
}

/// Reads the files of a directory that the caller opened whose names have one of these `ends`, in the order of their
/// names; hidden ones not. Symbolic links are not followed, and a file counts only if `readable` says that the
/// caller could have opened it: we may be allowed more than the caller is. May block.
///
/// # Errors
/// [`DescriptorError`]; `max` is in bytes over all files.
pub(super) fn read_directory(
    fd: impl AsFd,
    max: usize,
    ends: &[&[u8]],
    readable: impl Fn(&Stat) -> bool,
) -> Result<Vec<Vec<u8>>, DescriptorError> {
    check_opened(&fd, OPEN_DIRECTORY)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&fd)? {
        let name = entry?.file_name().to_owned();
        let bytes = name.to_bytes();
        if bytes.starts_with(b".") || !ends.iter().any(|end| bytes.ends_with(end)) {
            continue;
        }
        if names.len() == MAX_DIRECTORY_FILES {
            return Err(DescriptorError::TooLarge { limit: MAX_DIRECTORY_FILES, unit: "files" });
        }
        names.push(name);
    }
    names.sort();
    let mut files = Vec::new();
    let mut total = 0;
    for name in names {
        // O_NONBLOCK: a FIFO with this name must not make us wait before we see what it is.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let before = match rustix::fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed since it was listed.
            Err(Errno::NOENT) => continue,
            other => other?,
        };
        if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile || !readable(&before) {
            continue;
        }
        let file = match open_beneath(&fd, &name, flags) {
            Err(Errno::NOENT) => continue,
            // The caller could open it and we cannot: said, because a smaller trust is not what was asked for.
            other => other?,
        };
        // Asked again of what was really opened.
        if !readable(&check_regular(&file)?) {
            continue;
        }
        let (bytes, size) = read_public(&file, max - total).map_err(|error| match error {
            DescriptorError::TooLarge { unit, .. } => DescriptorError::TooLarge { limit: max, unit },
            other => other,
        })?;
        total += size;
        files.push(bytes);
    }
    Ok(files)
}

/// Opens what is in a folder under this name, and nothing that it leads to: no symbolic link, nothing that is mounted there.
fn open_beneath(folder: impl AsFd, name: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let only = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    match openat2(&folder, name, flags, Mode::empty(), only) {
        // Before Linux 5.6, or a filter that does not know the call. A name of a listing has no slash, and O_NOFOLLOW sees to the
        // link.
        Err(Errno::NOSYS | Errno::PERM) => openat(&folder, name, flags, Mode::empty()),
        opened => opened,
    }
}

fn address(any: Option<rustix::net::SocketAddrAny>) -> Address {
    any.and_then(|any| SocketAddr::try_from(any).ok()).map_or(Address::Unix, Address::Inet)
}

pub(super) fn describe(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::Unknown => "not a file",
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn memory_and_pipes_are_at_hand_and_a_folder_is_not() {
        let memfd = super::super::sealed_memfd("test", b"text").expect("a descriptor is free");
        let (reader, writer) = rustix::pipe::pipe().expect("a descriptor is free");
        assert!(is_at_hand(&memfd) && is_at_hand(&reader) && is_at_hand(&writer));
        // Whose entries may be anywhere.
        assert!(!is_at_hand(File::open("/").expect("there is one")));
        let path_only = openat(rustix::fs::CWD, "/proc/self/status", OFlags::PATH, Mode::empty());
        assert!(!is_at_hand(path_only.expect("/proc is mounted")), "nothing can be read from it");
    }
}
