//! Whole messages of the agent protocol on a stream socket, with the descriptors that come along, on threads that may wait.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use zeroize::{Zeroize, Zeroizing};

use super::wire::{WireError, frame_length};

/// Bytes taken from the socket at once. A signature's request or answer fits.
const CHUNK: usize = 4096;

/// Descriptors with one message at most; no message has more than one.
const MAX_FDS: usize = 4;

/// A connected stream socket, used by one thread at a time.
#[derive(Debug)]
pub struct Stream {
    socket: OwnedFd,
    /// Read and not yet given out: the beginning of the next message. Never grows.
    read: Zeroizing<Vec<u8>>,
    fds: Vec<OwnedFd>,
    /// The kernel ends a wait to read.
    is_timed: bool,
}

/// Why a message was not sent or received. After each of them the connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Not in time.
    #[error("it took too long")]
    Late,
    /// The other end has closed it, between two messages.
    #[error("the connection was closed")]
    Gone,
    /// What came is no message.
    #[error("{0}")]
    Wire(#[from] WireError),
    /// The system's, or closed in the middle of a message.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for StreamError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::PIPE | Errno::CONNRESET => Self::Gone,
            other => Self::Io(other.into()),
        }
    }
}

impl Stream {
    /// Takes a connected stream socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, read: Zeroizing::new(Vec::with_capacity(CHUNK)), fds: Vec::new(), is_timed: false }
    }

    /// From now on each wait to read ends after `patience`, whatever the deadline: one call less for every answer.
    ///
    /// # Errors
    /// The system's.
    pub fn time(&mut self, patience: Duration) -> io::Result<()> {
        set_socket_timeout(&self.socket, Timeout::Recv, Some(patience))?;
        self.is_timed = true;
        Ok(())
    }

    /// A pair: our end, and the socket for the other process, close-on-exec.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok((Self::new(ours), theirs))
    }

    /// Sends a message as it was framed, with copies of these descriptors. Who sends descriptors waits for the answer to its
    /// last message first: they count for the message that is being read when they arrive.
    ///
    /// # Errors
    /// [`StreamError`]; [`StreamError::Late`] when the other end has not taken it by `deadline`.
    pub fn send(
        &mut self,
        framed: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<(), StreamError> {
        let mut sent = 0;
        while sent < framed.len() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if sent == 0 && !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
                return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
            }
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            let rest = [IoSlice::new(&framed[sent..])];
            match retry_on_intr(|| sendmsg(&self.socket, &rest, &mut control, flags)) {
                Ok(count) => sent += count,
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, deadline)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The next message, without its length and wiped when dropped, and the descriptors that came with it.
    ///
    /// It has to begin by `deadline`, if there is one; and `pace` after it has begun it has to be complete.
    ///
    /// # Errors
    /// [`StreamError`].
    pub fn receive(
        &mut self,
        deadline: Option<Instant>,
        pace: Duration,
    ) -> Result<(Zeroizing<Vec<u8>>, Vec<OwnedFd>), StreamError> {
        let mut begun = (!self.read.is_empty()).then(Instant::now);
        let by = |begun: Option<Instant>| match begun {
            None => deadline,
            Some(begun) => Some(deadline.map_or(begun + pace, |deadline| deadline.min(begun + pace))),
        };
        while self.read.len() < 4 {
            self.take(by(begun))?;
            begun = begun.or_else(|| Some(Instant::now()));
        }
        let length = frame_length([self.read[0], self.read[1], self.read[2], self.read[3]])?;
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        let there = self.read.len().min(4 + length);
        body.extend_from_slice(&self.read[4..there]);
        self.forget(there);
        while body.len() < length {
            self.take(by(begun)).map_err(|error| match error {
                StreamError::Gone => io::Error::from(io::ErrorKind::UnexpectedEof).into(),
                other => other,
            })?;
            let there = self.read.len().min(length - body.len());
            body.extend_from_slice(&self.read[..there]);
            self.forget(there);
        }
        Ok((body, std::mem::take(&mut self.fds)))
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// [`StreamError`]; [`StreamError::Late`] when there is no answer by `deadline`.
    pub fn ask(
        &mut self,
        framed: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, StreamError> {
        if !self.read.is_empty() {
            // An answer that nobody asked for would be taken for this one's.
            return Err(WireError::Trailing("the last answer").into());
        }
        self.send(framed, fds, Some(deadline))?;
        let (answer, _) = self.receive(Some(deadline), deadline.saturating_duration_since(Instant::now()))?;
        Ok(answer)
    }

    /// Drops the first bytes of what was read, and wipes where they were.
    fn forget(&mut self, count: usize) {
        let length = self.read.len();
        self.read.copy_within(count.., 0);
        self.read[length - count..].zeroize();
        self.read.truncate(length - count);
    }

    /// Reads some bytes, waiting for the first.
    fn take(&mut self, deadline: Option<Instant>) -> Result<(), StreamError> {
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        if deadline.is_some() && !self.is_timed {
            self.wait(PollFlags::IN, deadline)?;
            flags |= RecvFlags::DONTWAIT;
        }
        let before = self.read.len();
        self.read.resize(CHUNK, 0);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            let buffer = &mut self.read[before..];
            recvmsg(&self.socket, &mut [IoSliceMut::new(buffer)], &mut control, flags)
        });
        let count = received.as_ref().map_or(0, |received| received.bytes);
        self.read.truncate(before + count);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        let received = match received {
            Ok(received) => received,
            Err(Errno::AGAIN) if self.is_timed => return Err(StreamError::Late),
            // Another thread was faster, or the kernel changed its mind.
            Err(Errno::AGAIN) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if received.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > MAX_FDS {
            self.fds.clear();
            return Err(WireError::Nonsense("the number of descriptors").into());
        }
        match (count, before) {
            (0, 0) => Err(StreamError::Gone),
            (0, _) => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            _ => Ok(()),
        }
    }

    fn wait(&self, what: PollFlags, deadline: Option<Instant>) -> Result<(), StreamError> {
        let left = match deadline {
            None => None,
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                Some(Timespec::try_from(left).map_err(io::Error::other)?)
            }
        };
        let mut polled = [PollFd::new(&self.socket, what)];
        match retry_on_intr(|| poll(&mut polled, left.as_ref()))? {
            0 => Err(StreamError::Late),
            _ => Ok(()),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::agent::wire::{Answer, MAX_MESSAGE, Request};

    const PACE: Duration = Duration::from_millis(20);

    fn pair() -> (Stream, Stream) {
        let (ours, theirs) = Stream::pair().expect("pair");
        (ours, Stream::new(theirs))
    }

    fn soon() -> Option<Instant> {
        Some(Instant::now() + Duration::from_millis(20))
    }

    #[test]
    fn messages_arrive_one_by_one_with_their_descriptors_however_long_they_are() {
        let (mut here, mut there) = pair();
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let long = vec![7; MAX_MESSAGE - 100];
        let sent = std::thread::spawn(move || {
            let long = Request::Sign { blob: b"", data: &long, flags: 0 }.framed().expect("fits");
            let short = Request::Identities.framed().expect("short");
            here.send(&long, &[reader.as_fd()], None).expect("room");
            here.send(&short, &[], None).expect("room");
            here.send(&[&short[..], &short[..]].concat(), &[], None).expect("room");
            here
        });
        let minute = Duration::from_secs(60);
        let lengths: Vec<_> = (0..4)
            .map(|_| there.receive(None, minute).expect("message"))
            .map(|(body, fds)| (body.len(), fds.len()))
            .collect();
        assert_eq!(lengths, [(MAX_MESSAGE - 100 + 13, 1), (1, 0), (1, 0), (1, 0)]);
        drop(sent.join().expect("sent"));
        assert!(matches!(there.receive(None, minute), Err(StreamError::Gone)));
    }

    #[test]
    fn half_a_message_is_not_waited_for_longer_than_its_pace() {
        for half in [&[0_u8, 0][..], &[0, 0, 0, 9, 1]] {
            let (mut here, mut there) = pair();
            here.send(half, &[], None).expect("room");
            assert!(matches!(there.receive(None, PACE), Err(StreamError::Late)));
            let (mut here, mut there) = pair();
            here.send(half, &[], None).expect("room");
            drop(here);
            assert!(matches!(there.receive(None, PACE), Err(StreamError::Io(_))), "{half:?}");
        }
        let (_here, mut there) = pair();
        assert!(matches!(there.receive(soon(), PACE), Err(StreamError::Late)));
    }

    #[test]
    fn a_length_that_cannot_be_is_an_end() {
        let (mut here, mut there) = pair();
        here.send(&[0xff; 8], &[], None).expect("room");
        assert!(matches!(there.receive(None, PACE), Err(StreamError::Wire(WireError::Length(_)))));
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next_one() {
        let (mut here, mut there) = pair();
        let success = Answer::Success.framed().expect("short");
        there.send(&[&success[..], &success[..]].concat(), &[], None).expect("room");
        let ask = Request::Identities.framed().expect("short");
        let deadline = Instant::now() + Duration::from_secs(10);
        assert_eq!(*here.ask(&ask, &[], deadline).expect("the first"), [6]);
        assert!(matches!(here.ask(&ask, &[], deadline), Err(StreamError::Wire(_))));
    }

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let (mut here, _there) = pair();
        let long = vec![7; 200_000];
        let long = Request::Sign { blob: b"", data: &long, flags: 0 }.framed().expect("fits");
        let ended = (0..100).find_map(|_| here.send(&long, &[], soon()).err());
        assert!(matches!(ended, Some(StreamError::Late)));
    }
}
