//! A control connection: packets with descriptors, in and out, on an AF_UNIX SOCK_SEQPACKET socket.
//!
//! Receiving is by rustix, whose buffer owns every descriptor that arrived also when the control
//! data was cut (nix gives an error there and leaves them open). Sending is by rustix, too, which gathers several
//! messages into one packet.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, recvmsg, sendmsg,
};
use tlsify_protocol::MAX_DESCRIPTORS;

use super::unread;
use crate::policy::CallerCred;
use crate::sys;

/// The kernel passes 253 descriptors per packet at most (SCM_MAX_FD); with room for all of them
/// none is cut for want of space, and too many are counted instead.
const KERNEL_MAX_FDS: usize = 253;

/// Bytes from which on zeroed memory is the system's own, and takes no page until it is used. Half a buffer of 64 KiB
/// for packets of 200 bytes was a tenth of the page faults of a private daemon.
pub(crate) const UNTOUCHED: usize = 256 * 1024;

/// A received packet.
#[derive(Debug)]
pub struct Packet {
    /// Its bytes; not empty.
    pub bytes: Vec<u8>,
    /// Its descriptors, close-on-exec, in order.
    pub fds: Vec<OwnedFd>,
}

/// Why no packet was received.
#[derive(Debug)]
pub enum PacketError {
    /// Nothing is there now.
    Again,
    /// The caller has closed the connection.
    Closed,
    /// The packet was longer than the limit. Its descriptors come along to be closed.
    TooLong(Vec<OwnedFd>),
    /// The kernel could not deliver all descriptors. Those that did arrive come along to be closed.
    FdsTruncated(Vec<OwnedFd>),
    /// The connection is broken.
    Io(io::Error),
}

/// Why a packet was not sent.
#[derive(Debug)]
pub enum SendError {
    /// The caller does not read; its queue is full.
    Again,
    /// The caller is gone.
    Gone,
}

/// Our end of a control connection, non-blocking: the description is ours alone.
pub struct ControlSocket {
    // Only the type is of a datagram socket: it carries one message per call, as SEQPACKET does.
    socket: UnixDatagram,
}

impl ControlSocket {
    /// Takes a connected SEQPACKET socket and makes it non-blocking.
    ///
    /// # Errors
    /// The system's.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let socket = UnixDatagram::from(fd);
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Accepts the next caller of a listening socket.
    ///
    /// # Errors
    /// `WouldBlock` when nobody waits, and the system's limits.
    pub fn accept(listener: impl AsFd) -> io::Result<Self> {
        let fd = rustix::net::accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        Ok(Self { socket: UnixDatagram::from(fd) })
    }

    /// Receives one packet of at most `max` bytes.
    ///
    /// # Errors
    /// [`PacketError`]; descriptors that arrived are in it, never lost.
    pub fn receive(&self, max: usize) -> Result<Packet, PacketError> {
        thread_local! {
            // One for all callers of a thread: 64 KiB for each would be most of what a short-lived one costs.
            static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        BUFFER.with_borrow_mut(|buffer| self.receive_into(max, buffer))
    }

    fn receive_into(&self, max: usize, buffer: &mut Vec<u8>) -> Result<Packet, PacketError> {
        // One byte more than allowed: a packet of the limit is told from one that was cut.
        if buffer.len() <= max {
            *buffer = vec![0; UNTOUCHED.max(max + 1)];
        }
        let Taken { bytes, flags, fds } = match take(&self.socket, &mut buffer[..=max]) {
            Ok(taken) => taken,
            Err(Errno::AGAIN) => return Err(PacketError::Again),
            Err(Errno::CONNRESET) => return Err(PacketError::Closed),
            Err(e) => return Err(PacketError::Io(e.into())),
        };
        if flags.contains(ReturnFlags::CTRUNC) {
            return Err(PacketError::FdsTruncated(fds));
        }
        if bytes > max || flags.contains(ReturnFlags::TRUNC) {
            return Err(PacketError::TooLong(fds));
        }
        if bytes == 0 {
            // End of the connection, or the forbidden empty packet, which looks the same.
            unread::abandon(fds);
            return Err(PacketError::Closed);
        }
        Ok(Packet { bytes: buffer[..bytes].to_vec(), fds })
    }

    /// Sends messages, one or several, with their descriptors as one packet: [`MAX_DESCRIPTORS`] at most. They stay the
    /// sender's: the receiver gets copies.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&self, messages: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(SendError::Gone);
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = retry_on_intr(|| sendmsg(&self.socket, messages, &mut control, flags));
        sent.map(drop).map_err(|errno| send_error(&errno.into()))
    }
}

/// Who is at the other end of a control connection. The kernel froze this when it was made; the pid is for logs only.
///
/// # Errors
/// The system's: it is no connected AF_UNIX socket.
pub fn credentials(control: impl AsFd) -> io::Result<CallerCred> {
    let peer = socket_peercred(&control)?;
    Ok(CallerCred {
        uid: peer.uid.as_raw(),
        gid: peer.gid.as_raw(),
        groups: sys::peer_groups(&control)?,
        pid: rustix::process::Pid::as_raw(Some(peer.pid)),
    })
}

/// How sending ended: nothing but the caller can be at fault.
fn send_error(error: &io::Error) -> SendError {
    // ETOOMANYREFS: too many descriptors of ours are in flight; they are read, then it goes on.
    let full = error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::ETOOMANYREFS);
    if full { SendError::Again } else { SendError::Gone }
}

/// What one receive gave.
pub(super) struct Taken {
    pub(super) bytes: usize,
    pub(super) flags: ReturnFlags,
    pub(super) fds: Vec<OwnedFd>,
}

/// Receives without waiting, whatever it is.
pub(super) fn take(socket: &UnixDatagram, buffer: &mut [u8]) -> Result<Taken, Errno> {
    let mut space =
        [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(KERNEL_MAX_FDS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let message = retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))?;
    let rights = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    Ok(Taken { bytes: message.bytes, flags: message.flags, fds: rights.flatten().collect() })
}

impl Drop for ControlSocket {
    /// The kernel closes what is in packets that nobody received, on the thread that closes the socket.
    fn drop(&mut self) {
        unread::abandon_queue(&self.socket);
    }
}

impl AsRawFd for ControlSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for ControlSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl fmt::Debug for ControlSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ControlSocket({})", self.as_raw_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::fcntl_getfd;
    use rustix::net::{AddressFamily, SocketType, socketpair};
    use sendfd::SendWithFd;

    fn pair() -> (ControlSocket, ControlSocket) {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
        (ControlSocket::new(a).expect("socket"), ControlSocket::new(b).expect("socket"))
    }

    fn send(socket: &ControlSocket, bytes: &[u8], fds: &[OwnedFd]) -> Result<(), SendError> {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        socket.send(&[IoSlice::new(bytes)], &fds)
    }

    #[test]
    fn descriptors_arrive_in_order_and_close_on_exec() {
        let (here, there) = pair();
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        send(&here, b"x", &[reader, writer]).expect("send");
        let packet = there.receive(10).expect("receive");
        assert_eq!(packet.bytes, b"x");
        assert_eq!(packet.fds.len(), 2);
        for fd in &packet.fds {
            assert!(fcntl_getfd(fd).expect("flags").contains(rustix::io::FdFlags::CLOEXEC));
        }
        rustix::io::write(&packet.fds[1], b"order").expect("the second is the writer");
    }

    #[test]
    fn messages_that_go_together_arrive_as_one_packet_with_all_descriptors_in_order() {
        let (here, there) = pair();
        let pipes: Vec<OwnedFd> = (0..2).map(|_| rustix::pipe::pipe().expect("pipe").0).collect();
        let fds: Vec<BorrowedFd<'_>> = pipes.iter().map(AsFd::as_fd).collect();
        here.send(&[IoSlice::new(b"one"), IoSlice::new(b"two")], &fds).expect("room");
        let packet = there.receive(10).expect("receive");
        assert_eq!(packet.bytes, b"onetwo");
        let same = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| stat.st_ino).expect("fstat");
        assert!(packet.fds.iter().map(same).eq(pipes.iter().map(same)));
        drop(there);
        assert!(matches!(here.send(&[IoSlice::new(b"x")], &[]), Err(SendError::Gone)));
    }

    #[test]
    fn a_packet_that_is_too_long_gives_its_descriptors_back() {
        let (here, there) = pair();
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        send(&here, &[b'x'; 11], &[reader]).expect("send");
        match there.receive(10) {
            Err(PacketError::TooLong(fds)) => assert_eq!(fds.len(), 1),
            other => panic!("{other:?}"),
        }
        send(&here, &[b'x'; 10], &[]).expect("send");
        assert_eq!(there.receive(10).expect("receive").bytes.len(), 10);
    }

    #[test]
    fn the_most_descriptors_the_kernel_passes_all_arrive() {
        let (here, there) = pair();
        let (reader, _writer) = rustix::pipe::pipe().expect("pipe");
        let many: Vec<OwnedFd> = (0..KERNEL_MAX_FDS).map(|_| reader.try_clone().expect("dup")).collect();
        let raw: Vec<RawFd> = many.iter().map(AsRawFd::as_raw_fd).collect();
        here.socket.send_with_fd(b"x", &raw).expect("send");
        assert_eq!(there.receive(10).expect("receive").fds.len(), KERNEL_MAX_FDS);
    }

    #[test]
    fn a_caller_that_left_is_closed_and_a_full_queue_says_again() {
        let (here, there) = pair();
        assert!(matches!(there.receive(10), Err(PacketError::Again)));
        while send(&here, &[0; 4096], &[]).is_ok() {}
        assert!(matches!(send(&here, &[0; 4096], &[]), Err(SendError::Again)));
        drop(there);
        assert!(matches!(send(&here, b"x", &[]), Err(SendError::Gone)));
        assert!(matches!(here.receive(10), Err(PacketError::Closed)));
    }
}
