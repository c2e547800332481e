//! One packet with its descriptors, sent or received: the only system calls of this crate on the
//! control connection. It knows nothing of what a packet says.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, IoSlice, IoSliceMut, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

/// The longest packet of the protocol, in bytes (PROTOCOL.md, transport).
pub(crate) const MAX_PACKET: usize = 65_536;

/// The most descriptors that a packet of the protocol may carry (PROTOCOL.md, transport).
pub(crate) const MAX_DESCRIPTORS: usize = 64;

/// What one receive gave.
pub(crate) struct Packet<'b> {
    pub(crate) text: &'b [u8],
    pub(crate) fds: Vec<OwnedFd>,
    /// The kernel dropped descriptors (our limit of open files) and those that did arrive are closed already.
    pub(crate) fds_truncated: bool,
}

/// Sends one packet without ever waiting: `WouldBlock` says that the daemon has to read first.
pub(crate) fn send(socket: &OwnedFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "more descriptors than one packet may carry",
        ));
    }
    // NOSIGNAL: a library must not end its program because the daemon went away.
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = retry_on_intr(|| sendmsg(socket, &[IoSlice::new(text)], &mut control, flags))?;
    // A packet is sent whole or not at all on SEQPACKET.
    debug_assert_eq!(sent, text.len());
    Ok(())
}

/// Receives one packet without ever waiting; `None` at the end of the connection.
pub(crate) fn receive<'b>(socket: &OwnedFd, buffer: &'b mut [u8]) -> io::Result<Option<Packet<'b>>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut once = || retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags));
    // Said once, and before the packets that are still there: the daemon closed with requests of ours unread. What it
    // said last is why.
    let got = match once().or_else(|error| if error == Errno::CONNRESET { once() } else { Err(error) }) {
        Ok(got) => got,
        // The end, told less politely.
        Err(Errno::CONNRESET | Errno::PIPE) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            fds.extend(arrived);
        }
    }
    if got.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a packet longer than the protocol allows"));
    }
    if got.bytes == 0 {
        return Ok(None);
    }
    let fds_truncated = got.flags.contains(ReturnFlags::CTRUNC);
    if fds_truncated {
        fds.clear();
    }
    Ok(Some(Packet { text: &buffer[..got.bytes], fds, fds_truncated }))
}

/// Waits until the socket can be read (or, with `write`, also written): false when the time is over first.
pub(crate) fn wait(socket: &OwnedFd, read: bool, write: bool, limit: Option<Duration>) -> io::Result<bool> {
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, read);
    events.set(PollFlags::OUT, write);
    // Rounded up to the next microsecond by nobody: an early return only makes the caller look again.
    let limit = limit.map(|limit| Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    });
    let mut entries = [PollFd::from_borrowed_fd(socket.as_fd(), events)];
    match poll(&mut entries, limit.as_ref()) {
        Ok(ready) => Ok(ready > 0),
        // The caller looks at its clock and comes back.
        Err(Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
    }

    #[test]
    fn descriptors_arrive_close_on_exec() {
        let (ours, theirs) = pair();
        let null = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        send(&ours, b"text", &[null.as_fd(), null.as_fd()]).unwrap();
        let mut buffer = [0; 16];
        let packet = receive(&theirs, &mut buffer).unwrap().unwrap();
        assert_eq!(packet.text, b"text");
        assert_eq!(packet.fds.len(), 2);
        for fd in &packet.fds {
            assert!(rustix::io::fcntl_getfd(fd).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        }
    }

    #[test]
    fn a_packet_longer_than_the_buffer_is_an_error_not_a_shorter_message() {
        let (ours, theirs) = pair();
        send(&ours, b"twelve bytes", &[]).unwrap();
        let mut buffer = [0; 5];
        let error = receive(&theirs, &mut buffer).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_last_word_of_a_daemon_that_left_requests_unread_is_heard() {
        let (ours, theirs) = pair();
        send(&theirs, b"draining", &[]).unwrap();
        send(&ours, b"request", &[]).unwrap();
        drop(theirs);
        let mut buffer = [0; 16];
        assert_eq!(receive(&ours, &mut buffer).unwrap().unwrap().text, b"draining");
        assert!(receive(&ours, &mut buffer).unwrap().is_none());
    }

    #[test]
    fn sending_to_nobody_is_an_error_and_no_signal() {
        let (ours, theirs) = pair();
        drop(theirs);
        assert_eq!(send(&ours, b"text", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(receive(&ours, &mut [0; 4]).unwrap().is_none());
    }

    #[test]
    fn a_full_queue_says_so_instead_of_waiting() {
        let (ours, _theirs) = pair();
        let mut sent = 0;
        while send(&ours, &[b'x'; 4096], &[]).is_ok() {
            sent += 1;
            assert!(sent < 10_000, "the queue of a socket never fills");
        }
        assert!(!wait(&ours, true, true, Some(Duration::from_millis(1))).unwrap());
    }
}
