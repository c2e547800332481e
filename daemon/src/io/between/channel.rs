//! One end of a socketpair between two processes of the daemon.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::Interest;

use crate::io::{ControlSocket, Packet, PacketError, SendError};
use crate::sys;

/// Bytes of one message at most. What is longer is bulk, and travels as a descriptor.
const MAX_MESSAGE: usize = 64 * 1024;

/// One end: of one process alone, any of its threads may use it.
#[derive(Debug)]
pub struct Channel {
    socket: ControlSocket,
}

/// Why there is no message, or it was not sent.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Nothing came, or there was no room, by the deadline; for the calls that do not wait: now.
    #[error("it took too long")]
    Late,
    /// The other process has closed its end, or has ended.
    #[error("the other process is gone")]
    Gone,
    /// What came is no message. The other process is broken, or in somebody else's hands.
    #[error("what the other process says makes no sense")]
    Nonsense,
    /// The system's: out of descriptors or memory.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Channel {
    /// A pair: our end, and the end for the other process, close-on-exec.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = Self::ends()?;
        Ok((Self::new(ours)?, theirs))
    }

    /// A pair for two other processes, close-on-exec. A [`Channel`] that is dropped closes the connection for all who have
    /// its end; these do not.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
        Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
    }

    /// Takes one end of a pair, and makes it non-blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { socket: ControlSocket::new(fd)? })
    }

    /// Sends a message with copies of these descriptors, if there is room for it now.
    ///
    /// # Errors
    /// [`ChannelError::Late`] without room; [`ChannelError::Gone`].
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        let bytes = zeroize::Zeroizing::new(bytes(message)?);
        self.send_bytes(&bytes, fds)
    }

    /// The same, waiting for room until `deadline`. For threads that may wait.
    ///
    /// # Errors
    /// As [`Channel::send`].
    pub fn send_by(
        &self,
        message: &impl Serialize,
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<(), ChannelError> {
        let bytes = zeroize::Zeroizing::new(bytes(message)?);
        loop {
            match self.send_bytes(&bytes, fds) {
                Err(ChannelError::Late) => self.wait_for(PollFlags::OUT, Some(deadline))?,
                done => return done,
            }
        }
    }

    /// The next message, if it is there.
    ///
    /// # Errors
    /// [`ChannelError`]; descriptors of what is no message are closed.
    pub fn receive<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        match self.socket.receive(MAX_MESSAGE) {
            Ok(Packet { bytes, fds }) => {
                let bytes = zeroize::Zeroizing::new(bytes);
                match postcard::take_from_bytes(&bytes) {
                    Ok((message, [])) => Ok((message, fds)),
                    _ => Err(ChannelError::Nonsense),
                }
            }
            Err(PacketError::Again) => Err(ChannelError::Late),
            Err(PacketError::Closed) => Err(ChannelError::Gone),
            Err(PacketError::TooLong(_) | PacketError::FdsTruncated(_)) => Err(ChannelError::Nonsense),
            Err(PacketError::Io(error)) => Err(error.into()),
        }
    }

    /// The next message, waited for until `deadline`, or without one for as long as it takes. For threads that may wait.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub fn receive_by<T: DeserializeOwned>(
        &self,
        deadline: Option<Instant>,
    ) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        loop {
            match self.receive() {
                Err(ChannelError::Late) => self.wait_for(PollFlags::IN, deadline)?,
                done => return done,
            }
        }
    }

    /// The next message, as a task waits for it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn next<T: DeserializeOwned>(&self) -> Result<(T, Vec<OwnedFd>), ChannelError> {
        let watched = sys::watch(self.socket.as_fd(), Interest::READABLE)?;
        loop {
            let mut ready = watched.readable().await?;
            match self.receive() {
                Err(ChannelError::Late) => ready.clear_ready(),
                done => return done,
            }
        }
    }

    /// Waits until the other end is closed, while nothing is expected from it: also a message from it ends the wait.
    pub async fn closed(&self) {
        if let Ok(watched) = sys::watch(self.socket.as_fd(), Interest::READABLE) {
            // An error here is an end, too.
            let _ = watched.readable().await;
        }
    }

    fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), ChannelError> {
        self.socket.send(&[IoSlice::new(bytes)], fds).map_err(|error| match error {
            SendError::Again => ChannelError::Late,
            SendError::Gone => ChannelError::Gone,
        })
    }

    fn wait_for(&self, what: PollFlags, deadline: Option<Instant>) -> Result<(), ChannelError> {
        let left = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ChannelError::Late);
                }
                Some(Timespec::try_from(left).map_err(io::Error::other)?)
            }
        };
        let mut polled = [PollFd::new(&self.socket, what)];
        retry_on_intr(|| poll(&mut polled, left.as_ref())).map_err(io::Error::from)?;
        Ok(())
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn bytes(message: &impl Serialize) -> Result<Vec<u8>, ChannelError> {
    let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
    if bytes.len() > MAX_MESSAGE {
        let text = format!("a message of {} bytes is longer than {MAX_MESSAGE}", bytes.len());
        return Err(ChannelError::Io(io::Error::other(text)));
    }
    Ok(bytes)
}

impl ChannelError {
    /// Whether the call may be made again.
    #[must_use]
    pub fn is_late(&self) -> bool {
        matches!(self, Self::Late)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    enum Said {
        Number(u32),
        Text(String),
    }

    fn pair() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().expect("pair");
        (ours, Channel::new(theirs).expect("channel"))
    }

    #[test]
    fn a_message_arrives_whole_with_its_descriptors() {
        let (here, there) = pair();
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        here.send(&Said::Number(7), &[reader.as_fd()]).expect("room");
        let (message, fds) = there.receive::<Said>().expect("message");
        assert_eq!((message, fds.len()), (Said::Number(7), 1));
        assert!(matches!(there.receive::<Said>(), Err(ChannelError::Late)));
    }

    #[test]
    fn what_is_no_message_or_more_than_one_is_nonsense() {
        let (here, there) = pair();
        for wrong in [&[9_u8][..], &[0], &[0, 1, 1], &[1, 200, 1, b'x']] {
            here.send_bytes(wrong, &[]).expect("room");
            assert!(matches!(there.receive::<Said>(), Err(ChannelError::Nonsense)), "{wrong:?}");
        }
        let long = Said::Text("x".repeat(MAX_MESSAGE));
        assert!(matches!(here.send(&long, &[]), Err(ChannelError::Io(_))));
    }

    #[test]
    fn nobody_waits_longer_than_the_deadline_or_for_a_process_that_is_gone() {
        let (here, there) = pair();
        let soon = || Instant::now() + Duration::from_millis(10);
        assert!(matches!(there.receive_by::<Said>(Some(soon())), Err(ChannelError::Late)));
        let text = Said::Text("x".repeat(30_000));
        while here.send(&text, &[]).is_ok() {}
        assert!(matches!(here.send_by(&text, &[], soon()), Err(ChannelError::Late)));
        drop(there);
        assert!(matches!(here.send_by(&text, &[], soon()), Err(ChannelError::Gone)));
        assert!(matches!(here.receive_by::<Said>(None), Err(ChannelError::Gone)));
    }
}
