//! The program's side of a session: what is read for the peer, and what is written for the program.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{RecvAncillaryBuffer, RecvFlags, ReturnFlags, SendFlags, Shutdown, recvmsg};

/// What [`End::widen`] asks for, in bytes. The kernel takes it twice, for what it needs itself.
const WIDE: usize = 512 * 1024;

/// A descriptor that never blocks us, whatever its flags are.
#[derive(Debug)]
pub struct End {
    fd: OwnedFd,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A stream socket: MSG_DONTWAIT.
    Socket,
    /// The same, and ours alone: an end of a pair of our own.
    Pair,
    /// A pipe: RWF_NOWAIT.
    Pipe,
    /// Our end of a socket pair whose other end a [`super::pump`] thread moves.
    Pumped,
}

impl End {
    /// A connected stream socket.
    #[must_use]
    pub fn socket(fd: OwnedFd) -> Self {
        Self { fd, kind: Kind::Socket }
    }

    /// Our end of a pair of our own, whose other end is the program's.
    #[must_use]
    pub fn pair(fd: OwnedFd) -> Self {
        Self { fd, kind: Kind::Pair }
    }

    /// A pipe, on a kernel that takes RWF_NOWAIT on pipes.
    #[must_use]
    pub fn pipe(fd: OwnedFd) -> Self {
        Self { fd, kind: Kind::Pipe }
    }

    /// Our end of a pump's pair.
    #[must_use]
    pub fn pumped(fd: OwnedFd) -> Self {
        Self { fd, kind: Kind::Pumped }
    }

    /// Whether what we write is only on its way: a pump delivers it, and closes its end when done.
    #[must_use]
    pub fn is_pumped(&self) -> bool {
        self.kind == Kind::Pumped
    }

    /// Whether there are two directions to close one by one.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        self.kind != Kind::Pipe
    }

    /// Whether nobody holds a copy: closing is then the end of it, for the poller and for the program.
    #[must_use]
    pub fn is_ours_alone(&self) -> bool {
        matches!(self.kind, Kind::Pair | Kind::Pumped)
    }

    /// Reads what is there: how much, 0 at the end, and whether that was all, so that the next event
    /// tells of more. [`Errno::AGAIN`] when nothing is there.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&self, into: &mut [u8]) -> Result<(usize, bool), Errno> {
        let room = into.len();
        match self.kind {
            Kind::Socket | Kind::Pair | Kind::Pumped => {
                let mut none = RecvAncillaryBuffer::default();
                let got =
                    recvmsg(&self.fd, &mut [io::IoSliceMut::new(into)], &mut none, RecvFlags::DONTWAIT)?;
                // A read stops behind bytes that a program sent with a descriptor. We take none.
                let cut = got.flags.contains(ReturnFlags::CTRUNC);
                Ok((got.bytes, got.bytes < room && !cut))
            }
            // A read of a pipe in packet mode (O_DIRECT) stops behind each packet: only
            // [`Errno::AGAIN`] says that a pipe is empty.
            Kind::Pipe => rustix::io::preadv2(
                &self.fd,
                &mut [io::IoSliceMut::new(into)],
                u64::MAX,
                ReadWriteFlags::NOWAIT,
            )
            .map(|count| (count, false)),
        }
    }

    /// Has a pair of ours take more at once, as TCP sockets do by themselves. Of use for bulk only: each session could
    /// leave as much in the kernel's memory that its program does not read.
    pub fn widen(&self) {
        if self.kind == Kind::Pair {
            // As much as the host allows (net.core.wmem_max) is good, too.
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&self.fd, WIDE);
        }
    }

    /// Writes what fits; [`Errno::AGAIN`] when nothing does. Never raises SIGPIPE.
    ///
    /// # Errors
    /// The system's; [`Errno::PIPE`] when nobody reads any more.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        match self.kind {
            Kind::Socket | Kind::Pair | Kind::Pumped => {
                rustix::net::send(&self.fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }
            // The daemon ignores SIGPIPE, as every Rust program does.
            Kind::Pipe => {
                rustix::io::pwritev2(&self.fd, &[io::IoSlice::new(bytes)], u64::MAX, ReadWriteFlags::NOWAIT)
            }
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Whether this kernel takes RWF_NOWAIT on pipes (Linux 6.4 and later); where it does not, pipes
/// are pumped like terminals.
#[must_use]
pub(super) fn pipes_can_wait() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).is_ok_and(|(reader, writer)| {
            // Both stay open until both were asked: without a reader, writing fails for that reason.
            let (reader, writer) = (End::pipe(reader), End::pipe(writer));
            let mut byte = [0];
            let empty = reader.read(&mut byte) == Err(Errno::AGAIN);
            empty && writer.write(&byte).is_ok_and(|count| count == 1)
        })
    })
}

/// Both directions of the program's side.
#[derive(Debug)]
pub enum Plain {
    /// One socket for both.
    Socket(End),
    /// A descriptor for each direction that is open; each is closed on its own.
    Split {
        /// Written: what came from the peer.
        inbound: Option<End>,
        /// Read: what goes to the peer.
        outbound: Option<End>,
    },
}

impl Plain {
    /// Where the peer's bytes go.
    #[must_use]
    pub fn inbound(&self) -> Option<&End> {
        match self {
            Self::Socket(end) => Some(end),
            Self::Split { inbound, .. } => inbound.as_ref(),
        }
    }

    /// Where the program's bytes come from.
    #[must_use]
    pub fn outbound(&self) -> Option<&End> {
        match self {
            Self::Socket(end) => Some(end),
            Self::Split { outbound, .. } => outbound.as_ref(),
        }
    }

    /// Each descriptor once.
    pub fn ends(&self) -> impl Iterator<Item = &End> {
        let second = match self {
            Self::Socket(_) => None,
            Self::Split { outbound, .. } => outbound.as_ref(),
        };
        self.inbound().into_iter().chain(second)
    }

    /// Tells the program that nothing more will come. A socket is shut down, which acts on every
    /// holder of it; a descriptor of its own is given back to be deregistered and closed, unless a
    /// pump still has to deliver.
    pub fn finish_inbound(&mut self) -> Option<End> {
        match self {
            Self::Socket(end) => {
                // ENOTCONN: the program closed its end in the meantime.
                let _ = rustix::net::shutdown(end.as_fd(), Shutdown::Write);
                None
            }
            Self::Split { inbound, .. } => match inbound {
                Some(end) if end.is_socket() => {
                    let _ = rustix::net::shutdown(end.as_fd(), Shutdown::Write);
                    if end.is_pumped() { None } else { inbound.take() }
                }
                _ => inbound.take(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_pipe_says_again_and_keeps_its_flags() {
        if !pipes_can_wait() {
            return;
        }
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let before = rustix::fs::fcntl_getfl(&reader).expect("flags");
        let end = End::pipe(reader);
        let mut byte = [0];
        assert_eq!(end.read(&mut byte), Err(Errno::AGAIN));
        drop(writer);
        assert_eq!(end.read(&mut byte), Ok((0, false)));
        assert_eq!(rustix::fs::fcntl_getfl(end.as_fd()).expect("flags"), before);
    }

    #[test]
    fn a_pipe_in_packet_mode_is_not_empty_after_a_short_read() {
        if !pipes_can_wait() {
            return;
        }
        let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::DIRECT;
        let (reader, writer) = rustix::pipe::pipe_with(flags).expect("pipe");
        for packet in [b"one", b"two"] {
            rustix::io::write(&writer, packet).expect("write");
        }
        let end = End::pipe(reader);
        let mut bytes = [0; 10];
        assert_eq!(end.read(&mut bytes), Ok((3, false)));
        assert_eq!(end.read(&mut bytes), Ok((3, false)));
        assert_eq!(end.read(&mut bytes), Err(Errno::AGAIN));
    }

    #[test]
    fn a_full_pipe_says_again_and_a_pipe_without_reader_says_so() {
        if !pipes_can_wait() {
            return;
        }
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let end = End::pipe(writer);
        while end.write(&[0; 4096]).is_ok() {}
        assert_eq!(end.write(&[0; 4096]), Err(Errno::AGAIN));
        drop(reader);
        assert_eq!(end.write(&[0]), Err(Errno::PIPE));
    }
}
