//! Where the daemon is: the first of the places that PROTOCOL.md names.

use core::ffi::CStr;
use core::fmt::Write;
use core::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::say::{self, Shown, Text, Why};
use crate::status::{self, Stop};
use crate::sys::Call;

// Paths are C strings throughout: of anything else, rustix makes one in a page of the stack that nobody else needs.

/// Where the system's daemon listens.
const SYSTEM: &CStr = c"/run/tlsifyd/tlsifyd.sock";
/// Bytes of a path that a Unix socket's address holds, its NUL included.
const PATH: usize = 108;

/// Connects to the daemon; `None` when there is none. `limit` is how long it may take to let us in, and later to
/// answer.
pub(crate) fn reach(call: &Call, limit: Duration) -> Result<Option<OwnedFd>, Stop> {
    if let Some(path) = call.environment.variable(c"TLSIFY_SOCK") {
        return at(path, limit);
    }
    if let Some(folder) = call.environment.variable(c"XDG_RUNTIME_DIR") {
        let mut path = Text::<PATH>::new();
        // A folder whose name is too long for a socket has none in it.
        if let Ok(folder) = folder.to_str()
            && write!(path, "{folder}/tlsifyd.sock\0").is_ok()
            && let Ok(path) = CStr::from_bytes_with_nul(path.as_bytes())
            && rustix::fs::access(path, rustix::fs::Access::EXISTS).is_ok()
        {
            return at(path, limit);
        }
    }
    at(SYSTEM, limit)
}

fn at(path: &CStr, limit: Duration) -> Result<Option<OwnedFd>, Stop> {
    let failed = |error| {
        say::line(format_args!("cannot reach tlsifyd at {}: {}", Shown(path.to_bytes()), Why(error)));
        Err(Stop(status::REFUSED))
    };
    let Ok(address) = SocketAddrUnix::new(path) else { return failed(Errno::NAMETOOLONG) };
    let socket = match socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None) {
        Ok(socket) => socket,
        Err(error) => {
            say::line(format_args!("cannot make a socket to reach tlsifyd with: {}", Why(error)));
            return Err(Stop(status::SYSTEM));
        }
    };
    wait_at_most(&socket, limit);
    match retry_on_intr(|| connect(&socket, &address)) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED | Errno::NOTDIR) => Ok(None),
        Err(Errno::AGAIN) => {
            say::line(format_args!("tlsifyd at {} takes nobody in: timed out", Shown(path.to_bytes())));
            Err(Stop(status::TIMEOUT))
        }
        Err(error) => failed(error),
    }
}

/// How long one receive or send on the control connection may take. None here is a reason to stop: it is a guard
/// against a daemon that hangs.
pub(crate) fn wait_at_most(socket: &OwnedFd, limit: Duration) {
    let _ = set_socket_timeout(socket, Timeout::Recv, Some(limit));
    let _ = set_socket_timeout(socket, Timeout::Send, Some(limit));
}

/// From now on, receiving waits as long as it takes: a session is open.
pub(crate) fn wait_for_ever(socket: &OwnedFd) {
    let _ = set_socket_timeout(socket, Timeout::Recv, None);
}

/// Nobody is there, and there is to be no daemon of our own.
pub(crate) fn nobody(call: &Call) -> Stop {
    let named = call.environment.variable(c"TLSIFY_SOCK").unwrap_or(SYSTEM).to_bytes();
    say::line(format_args!("cannot reach tlsifyd at {}: nobody listens there", Shown(named)));
    say::hint(format_args!("is tlsifyd.socket started? TLSIFY_SOCK names another path"));
    Stop(status::REFUSED)
}
