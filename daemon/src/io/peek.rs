//! The first bytes of a connection, looked at and left where they are.
//!
//! The socket may be the caller's own again a moment later, so nothing about it changes: bytes are peeked at (MSG_PEEK), no
//! flag and no option is set, and an error that waits on it is not taken while somebody may still want it.
//!
//! A part of a ClientHello keeps a socket readable. The runtime watches it edge-triggered: it speaks of what comes
//! and not of what is there, and [`ClientHello::look`] says how much it takes, so that a peer that sends byte by byte
//! costs a count for each and not a copy of everything before it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionread, retry_on_intr};
use rustix::net::{RecvFlags, recv, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::watch;
use crate::tls::{ClientHello, Code, Failure, Look};

/// A connected socket that is watched and not read.
pub struct Peek<'a> {
    net: &'a OwnedFd,
    /// What the caller had read before: it stands in front.
    received: &'a [u8],
    watched: Option<AsyncFd<BorrowedFd<'a>>>,
    /// The peer sends nothing more.
    ended: bool,
}

/// Why there is nothing more to look at.
#[derive(Debug)]
pub enum Gone {
    /// The peer closed, and what it sent is not enough.
    Closed,
    /// The peer reset the connection.
    Reset,
    /// The socket cannot be looked at.
    Broken(io::Error),
}

impl<'a> Peek<'a> {
    /// Watches nothing yet.
    #[must_use]
    pub fn new(net: &'a OwnedFd, received: &'a [u8]) -> Self {
        Self { net, received, watched: None, ended: false }
    }

    /// Waits until it is clear what the peer's first bytes are; never [`Look::More`].
    ///
    /// # Errors
    /// [`Gone`]: it will not become clear any more.
    pub async fn first(&mut self) -> Result<Look, Gone> {
        let mut least = 1;
        // Most often they are there already, and nothing has to be watched.
        loop {
            match self.look(least)? {
                Look::More(more) => least = more,
                look => return Ok(look),
            }
            if self.ended {
                return Err(self.end());
            }
            self.wait().await.map_err(Gone::Broken)?;
        }
    }

    /// Waits until the peer is gone for good. One that has only ended its own stream may still be answered.
    pub async fn gone(&mut self) -> Gone {
        loop {
            if self.has(PollFlags::HUP | PollFlags::ERR) {
                return self.end();
            }
            if self.ended {
                return std::future::pending().await;
            }
            if let Err(error) = self.wait().await {
                return Gone::Broken(error);
            }
        }
    }

    /// Looks, if `least` bytes are there.
    fn look(&self, least: usize) -> Result<Look, Gone> {
        let broken = |errno: Errno| Gone::Broken(errno.into());
        let there = usize::try_from(ioctl_fionread(self.net).map_err(broken)?).unwrap_or(usize::MAX);
        if self.received.len().saturating_add(there) < least {
            return Ok(Look::More(least));
        }
        let front = self.received.len();
        let mut bytes = self.received.to_vec();
        bytes.resize(front + there.min(crate::tls::MAX_HELLO_WIRE), 0);
        if there > 0 {
            let count = match recv(self.net, &mut bytes[front..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
                Ok((count, _)) => count,
                Err(Errno::AGAIN | Errno::INTR) => 0,
                Err(Errno::CONNRESET) => return Err(Gone::Reset),
                Err(errno) => return Err(broken(errno)),
            };
            bytes.truncate(front + count);
        }
        Ok(ClientHello::look(&bytes))
    }

    /// Until something comes, or nothing more will.
    async fn wait(&mut self) -> io::Result<()> {
        if self.watched.is_none() {
            self.watched = Some(watch(self.net.as_fd(), Interest::READABLE)?);
        }
        if let Some(watched) = &self.watched {
            let mut ready = watched.readable().await?;
            // The runtime tells of an end again and again: it is heard once.
            self.ended = ready.ready().is_read_closed();
            ready.clear_ready();
        }
        Ok(())
    }

    fn end(&self) -> Gone {
        if self.has(PollFlags::ERR) { Gone::Reset } else { Gone::Closed }
    }

    /// Asked in a way that leaves an error where it is.
    fn has(&self, flags: PollFlags) -> bool {
        let mut fds = [PollFd::new(self.net, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        retry_on_intr(|| poll(&mut fds, Some(&now))).is_ok() && fds[0].revents().intersects(flags)
    }
}

impl Gone {
    /// What the caller is told.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Closed => {
                let text = "the peer closed the connection before the handshake began";
                Failure::new(Code::ClosedByPeer, text.to_owned())
            }
            Self::Reset => {
                let text = "the peer reset the connection before the handshake began";
                Failure::new(Code::ResetByPeer, text.to_owned())
            }
            Self::Broken(error) => {
                Failure::new(Code::NetworkError, format!("looking at the network socket: {error}"))
            }
        }
    }
}

/// Whether closing `fd` cannot wait for its peer: SO_LINGER, which the caller may have set, is off.
#[must_use]
pub fn closes_at_once(fd: impl AsFd) -> bool {
    sockopt::socket_linger(fd).is_ok_and(|linger| linger.is_none())
}
