//! The program's side as a caller gave it, before the session is open: checked, and not touched.
//!
//! Nothing is read before the peer is verified: a handshake that fails must leave a terminal's input, a
//! file's offset and a pipe's bytes as they were. So pumps start with the session ([`Given::start`]).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, fstat};

use super::end::{End, Plain, pipes_can_wait};
use super::handoff::{
    DescriptorError, check_opened, close_without_waiting, connected_stream, describe, is_socket,
};
use super::pump;
use super::unread::beside;

/// The program's side as a caller gave it.
#[derive(Debug)]
pub enum Given {
    /// A connected stream socket for both directions.
    Socket(BothWays),
    /// A descriptor for each direction.
    Split {
        /// For what comes from the peer.
        inbound: Option<OneWay>,
        /// For what goes to the peer.
        outbound: Option<OneWay>,
    },
}

impl Given {
    /// Starts moving: what cannot be used without blocking gets its pump.
    ///
    /// # Errors
    /// Too many pumps, or the system's limits.
    pub fn start(self) -> io::Result<Plain> {
        Ok(match self {
            Self::Socket(socket) => Plain::Socket(socket.start()?),
            Self::Split { inbound, outbound } => Plain::Split {
                inbound: inbound.map(|end| end.start(pump::pump_inbound)).transpose()?,
                outbound: outbound.map(|end| end.start(pump::pump_outbound)).transpose()?,
            },
        })
    }
}

/// A connected stream socket for both directions, checked.
#[derive(Debug)]
pub struct BothWays {
    /// `None` only after it was started.
    fd: Option<OwnedFd>,
}

impl BothWays {
    /// For what [`connected_stream`] has let pass.
    #[must_use]
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd: Some(fd) }
    }

    fn start(mut self) -> io::Result<End> {
        self.fd.take().map(End::socket).ok_or_else(started_twice)
    }
}

impl Drop for BothWays {
    /// Without a session to carry, it ends on whichever thread finds that out.
    fn drop(&mut self) {
        self.fd.iter().for_each(close_without_waiting);
    }
}

/// A descriptor for one direction, checked.
#[derive(Debug)]
pub struct OneWay {
    /// `None` only after it was started.
    fd: Option<OwnedFd>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socket,
    Pipe,
    /// Can only block: a terminal, a file, a device, a pipe on an old kernel.
    Blocking,
}

impl OneWay {
    /// Checks a descriptor: `writable` says whether we write it (inbound) or read it (outbound). What is
    /// not a socket may make this wait for a file system: not for a loop's thread.
    ///
    /// # Errors
    /// [`DescriptorError`], when it is a directory, open in the wrong direction, or something that
    /// carries no bytes.
    pub fn check(fd: OwnedFd, writable: bool) -> Result<Self, DescriptorError> {
        let kind = inspect(&fd, writable)?;
        Ok(Self { fd: Some(fd), kind })
    }

    fn start(mut self, pump: impl FnOnce(OwnedFd) -> io::Result<End>) -> io::Result<End> {
        match (self.fd.take(), self.kind) {
            (Some(fd), Kind::Socket) => Ok(End::socket(fd)),
            (Some(fd), Kind::Pipe) => Ok(End::pipe(fd)),
            (Some(fd), Kind::Blocking) => pump(fd),
            (None, _) => Err(started_twice()),
        }
    }
}

impl Drop for OneWay {
    /// A file on a file system in user space and a socket with SO_LINGER can let close wait, and this may be a loop's
    /// thread.
    fn drop(&mut self) {
        match (self.fd.take(), self.kind) {
            (Some(fd), Kind::Blocking) => beside(move || drop(fd)),
            (Some(fd), Kind::Socket) => close_without_waiting(&fd),
            (Some(_), Kind::Pipe) | (None, _) => {}
        }
    }
}

fn started_twice() -> io::Error {
    io::Error::other("the descriptor was started already")
}

fn inspect(fd: &OwnedFd, writable: bool) -> Result<Kind, DescriptorError> {
    const WANTED: &str = "a connected stream socket, pipe, terminal, character device or regular file";
    if is_socket(fd) {
        return connected_stream(fd).map(|_| Kind::Socket);
    }
    let mode = check_opened(fd, WANTED)?;
    let kind = FileType::from_raw_mode(fstat(fd.as_fd())?.st_mode);
    if !matches!(kind, FileType::Fifo | FileType::CharacterDevice | FileType::RegularFile) {
        return Err(DescriptorError::Kind { is: describe(kind), wanted: WANTED });
    }
    let access = mode & OFlags::RWMODE;
    if access != OFlags::RDWR && access != if writable { OFlags::WRONLY } else { OFlags::RDONLY } {
        return Err(if writable {
            DescriptorError::Kind { is: "open for reading only", wanted: "open for writing" }
        } else {
            DescriptorError::Kind { is: "open for writing only", wanted: "open for reading" }
        });
    }
    // RWF_NOWAIT works on what pipe(2) made, and not on what open(2) made: a named pipe, or a pipe
    // opened again as /dev/stdout. Linux marks the latter with O_LARGEFILE wherever a word has 64
    // bits; where it has not, the mark is missing only if the caller left it out.
    let opened = mode.contains(OFlags::LARGEFILE);
    Ok(if kind == FileType::Fifo && !opened && pipes_can_wait() { Kind::Pipe } else { Kind::Blocking })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn a_file_that_is_never_started_keeps_its_offset() {
        let fd =
            rustix::fs::memfd_create("given-test", rustix::fs::MemfdFlags::CLOEXEC).expect("a memory file");
        let mut file = std::fs::File::from(fd);
        file.write_all(b"not yet").expect("write");
        file.rewind().expect("rewind");
        let end = OneWay::check(file.try_clone().expect("dup").into(), false).expect("a file will do");
        drop(end);
        assert_eq!(file.stream_position().expect("position"), 0);
    }

    #[test]
    fn a_pipe_waits_without_a_thread_and_one_opened_by_name_does_not() {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let wanted = if pipes_can_wait() { Kind::Pipe } else { Kind::Blocking };
        assert_eq!(inspect(&reader, false).expect("a pipe"), wanted);
        assert_eq!(inspect(&writer, true).expect("a pipe"), wanted);
        let name = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&writer));
        let again = std::fs::File::options().write(true).open(name).expect("opened again");
        assert_eq!(inspect(&again.into(), true).expect("a pipe"), Kind::Blocking);
    }

    #[test]
    fn a_descriptor_open_the_wrong_way_is_refused() {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        assert!(matches!(OneWay::check(reader, true), Err(DescriptorError::Kind { .. })));
        assert!(matches!(OneWay::check(writer, false), Err(DescriptorError::Kind { .. })));
    }
}
