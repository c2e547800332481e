//! Connections to sockets of this host that the operator names by their path.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// A connection to the stream socket at this path, which does not block: tried once, without waiting. The caller's to close.
///
/// # Errors
/// The system's; `AGAIN`: nobody accepts there, and the queue is full.
pub fn connect_path(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}
