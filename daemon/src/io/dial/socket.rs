//! One socket of a caller's that is to be connected, and what is done to it.
//!
//! connect(2) waits unless the open file description has O_NONBLOCK; there is no flag for one call. The description is
//! shared with the caller, so the flag is set for the call alone (the kernel reads it at its start) and taken back
//! right after: that is microseconds, and a socket that is not connected has nothing to be read meanwhile. A caller
//! that clears the flag in just that moment would make connect wait, for minutes: so it is not a loop's thread that
//! calls it, but one of its own, which then waits alone.
//!
//! Two ways that need no flag were not taken: sendto with MSG_FASTOPEN | MSG_DONTWAIT connects without waiting, and
//! asks the peer for a Fast Open cookie that the caller did not want; io_uring is switched off on many hosts.

use std::cell::Cell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::TcpFastOpenConnect};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketType, connect, connect_unspec, getpeername, ipproto, sockopt};
use tokio::sync::oneshot;

use super::super::handoff::{DescriptorError, close_without_waiting};
use super::super::unread::beside;
use super::race::Family;

/// What a request with `to` takes.
const WANTED: &str = "a TCP socket that is neither connected nor listening";

/// Sockets of a caller's that were checked. Dropped, those that were used are put back as they were before, and all are
/// closed beside the loop: when the caller hears of it, its own copies are its own again.
#[derive(Debug)]
pub struct Unconnected {
    candidates: Vec<Candidate>,
    fast_open: bool,
}

#[derive(Debug)]
struct Candidate {
    fd: Arc<OwnedFd>,
    family: Family,
    /// There was an attempt on it.
    used: Cell<bool>,
}

/// Whether `fd` can be connected, and to what kind of address.
///
/// # Errors
/// [`DescriptorError::Kind`] for anything but a TCP socket that is neither connected nor listening.
pub fn unconnected_tcp(fd: impl AsFd) -> Result<Family, DescriptorError> {
    let kind = |is| Err(DescriptorError::Kind { is, wanted: WANTED });
    match sockopt::socket_type(&fd) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return kind("a socket of another type"),
        Err(Errno::NOTSOCK) => return kind("not a socket"),
        // It is open, so this is what an O_PATH descriptor says to everything.
        Err(Errno::BADF) => return kind("opened as a path only"),
        Err(error) => return Err(error.into()),
    }
    let family = match sockopt::socket_domain(&fd)? {
        AddressFamily::INET => Family::V4,
        AddressFamily::INET6 => Family::V6,
        AddressFamily::UNIX => return kind("a Unix socket"),
        _ => return kind("a socket of another family"),
    };
    if sockopt::socket_protocol(&fd)? != Some(ipproto::TCP) {
        return kind("a stream socket of another protocol");
    }
    if sockopt::socket_acceptconn(&fd)? {
        return kind("a listening socket");
    }
    if getpeername(&fd).is_ok() {
        return kind("a connected socket");
    }
    // Only a closed one has hung up: one that is being connected has not yet.
    if !is_closed(&fd)? {
        return kind("a socket that is being connected");
    }
    Ok(family)
}

/// Whether two descriptors are one socket: of two attempts on it, each would end the other.
pub fn is_same_socket(one: impl AsFd, other: impl AsFd) -> bool {
    match (sockopt::socket_cookie(one), sockopt::socket_cookie(other)) {
        (Ok(one), Ok(other)) => one == other,
        // Kernels before 4.12 cannot say.
        _ => false,
    }
}

impl Unconnected {
    /// Takes sockets that [`unconnected_tcp`] has looked at. With `fast_open`, what is first said on one may travel
    /// with its SYN (RFC 7413).
    #[must_use]
    pub fn new(sockets: Vec<(OwnedFd, Family)>, fast_open: bool) -> Self {
        let candidate = |(fd, family)| Candidate { fd: Arc::new(fd), family, used: Cell::new(false) };
        Self { candidates: sockets.into_iter().map(candidate).collect(), fast_open }
    }

    /// The sockets themselves, in their order, for who connects them for us.
    pub(in crate::io) fn borrowed(&self) -> Vec<BorrowedFd<'_>> {
        self.candidates.iter().map(|candidate| candidate.fd.as_fd()).collect()
    }

    /// How many there are.
    pub(in crate::io) fn count(&self) -> usize {
        self.candidates.len()
    }

    /// Whether what is first said may travel with the SYN.
    pub(in crate::io) fn fast_open(&self) -> bool {
        self.fast_open
    }

    /// The families of the sockets, in their order.
    pub(super) fn families(&self) -> Vec<Family> {
        self.candidates.iter().map(|candidate| candidate.family).collect()
    }

    /// The socket at this place.
    pub(super) fn at(&self, socket: usize) -> &Arc<OwnedFd> {
        &self.candidates[socket].fd
    }

    /// Begins to connect the socket at this place to `to`, on a thread that is done in microseconds, or `here`, where
    /// the loop is the caller's own and it could make nobody else wait. The answer is whether it is connected already;
    /// if not, it will be writable when something has happened, which [`outcome`] tells.
    pub(super) fn begin(
        &self,
        socket: usize,
        to: SocketAddr,
        here: bool,
    ) -> std::io::Result<oneshot::Receiver<Result<bool, Errno>>> {
        self.candidates[socket].used.set(true);
        begin(self.at(socket), to, self.fast_open, here)
    }

    /// Makes the socket at this place what it was before its attempt.
    pub(super) fn put_back(&self, socket: usize) {
        put_back(self.at(socket), self.fast_open);
    }

    /// Takes the socket that has won. None while somebody else still holds it.
    pub(in crate::io) fn take(&mut self, socket: usize) -> Option<OwnedFd> {
        Arc::into_inner(self.candidates.remove(socket).fd)
    }
}

impl Drop for Unconnected {
    fn drop(&mut self) {
        if self.candidates.is_empty() {
            return;
        }
        // Those that no thread connects now are put back before anybody is told.
        let used = |candidate: &Candidate| candidate.used.get();
        let (mut sockets, fast_open) = (std::mem::take(&mut self.candidates), self.fast_open);
        for candidate in sockets.iter().filter(|candidate| used(candidate) && is_ours_alone(candidate)) {
            put_back(&candidate.fd, fast_open);
            candidate.used.set(false);
            close_without_waiting(&candidate.fd);
        }
        beside(move || {
            for candidate in sockets.drain(..).filter(used) {
                wait_for_connect(&candidate);
                put_back(&candidate.fd, fast_open);
                close_without_waiting(&candidate.fd);
            }
        });
    }
}

fn is_ours_alone(candidate: &Candidate) -> bool {
    Arc::strong_count(&candidate.fd) == 1
}

/// Waits until the thread of a socket's last attempt is done with it: what it begins after the socket was put back
/// would stay. If its caller makes it wait, not for long.
fn wait_for_connect(candidate: &Candidate) {
    for _ in 0..100 {
        if is_ours_alone(candidate) {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// As [`Unconnected::begin`].
fn begin(
    socket: &Arc<OwnedFd>,
    to: SocketAddr,
    fast_open: bool,
    here: bool,
) -> std::io::Result<oneshot::Receiver<Result<bool, Errno>>> {
    let (answer, answered) = oneshot::channel();
    let socket = Arc::clone(socket);
    let work = move || {
        if fast_open {
            // Where the kernel says no, it is an ordinary connect.
            let _ = setsockopt(&socket, TcpFastOpenConnect, &true);
        }
        let begun = match connect_without_waiting(&socket, to) {
            Ok(()) => Ok(true),
            Err(Errno::INPROGRESS | Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        };
        // First: who has the answer may want the socket for itself.
        drop(socket);
        let _ = answer.send(begun);
    };
    if here {
        work();
        return Ok(answered);
    }
    thread::Builder::new().name("connect".to_owned()).stack_size(64 * 1024).spawn(work)?;
    Ok(answered)
}

fn connect_without_waiting(socket: &OwnedFd, to: SocketAddr) -> Result<(), Errno> {
    let flags = fcntl_getfl(socket)?;
    if flags.contains(OFlags::NONBLOCK) {
        return connect(socket, &to);
    }
    fcntl_setfl(socket, flags | OFlags::NONBLOCK)?;
    let begun = connect(socket, &to);
    // Read again: the other flags are the caller's to change at any time.
    if let Ok(flags) = fcntl_getfl(socket) {
        let _ = fcntl_setfl(socket, flags - OFlags::NONBLOCK);
    }
    begun
}

/// What came of an attempt on a socket that is writable: connected, failed, or nothing yet.
pub(super) fn outcome(socket: &OwnedFd) -> Result<bool, Errno> {
    sockopt::socket_error(socket)??;
    match getpeername(socket) {
        Ok(_) => Ok(true),
        // The caller may have read the error with its own copy, or ended the attempt.
        Err(Errno::NOTCONN) if is_closed(socket)? => Err(Errno::CONNABORTED),
        Err(Errno::NOTCONN) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a socket what it was before its attempt: it can be connected again, and the address and port that its caller
/// bound it to stay. (A port that bind chose is given back by the kernel, as after any failed connect.)
fn put_back(socket: &OwnedFd, fast_open: bool) {
    // It has nothing to end when the attempt did not begin.
    let _ = connect_unspec(socket);
    // An attempt that is broken off leaves ECONNRESET for the next one, unless it is read.
    let _ = sockopt::socket_error(socket);
    if fast_open {
        let _ = setsockopt(socket, TcpFastOpenConnect, &false);
    }
}

fn is_closed(socket: impl AsFd) -> Result<bool, Errno> {
    let mut fds = [PollFd::new(&socket, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    retry_on_intr(|| poll(&mut fds, Some(&now)))?;
    Ok(fds[0].revents().contains(PollFlags::HUP))
}

#[cfg(test)]
#[path = "socket_tests.rs"]
mod tests;
