//! One packet with its descriptors, sent or received whole.

use core::mem::MaybeUninit;

use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::{Errno, IoSlice, IoSliceMut, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tlsify_protocol::MAX_DESCRIPTORS;

/// Descriptors that an answer can bring: plain and chain.
const ANSWER_FDS: usize = 2;

/// A packet as it came. Descriptors beyond those that an answer can bring were closed.
pub(crate) struct Packet<'b> {
    pub(crate) text: &'b [u8],
    pub(crate) fds: [Option<OwnedFd>; ANSWER_FDS],
}

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The daemon closed the connection.
    Gone,
    /// It did not answer in time.
    Silent,
    /// The kernel had no room for the descriptors that came.
    Truncated,
    System(Errno),
}

/// Sends `text` and these descriptors. Waits while the daemon's queue is full, as long as the socket's time-out.
pub(crate) fn send(to: &OwnedFd, text: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Lost> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // It has room for as many as a packet may name.
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Lost::System(Errno::INVAL));
    }
    match retry_on_intr(|| sendmsg(to, &[IoSlice::new(text)], &mut control, SendFlags::NOSIGNAL)) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN) => Err(Lost::Silent),
        // What it said before it went, a refusal perhaps, explains more: the caller receives next.
        Err(Errno::PIPE | Errno::CONNRESET) => Err(Lost::Gone),
        Err(error) => Err(Lost::System(error)),
    }
}

/// Receives the next packet. Waits as long as the socket's time-out says.
pub(crate) fn receive<'b>(from: &OwnedFd, buffer: &'b mut [u8]) -> Result<Packet<'b>, Lost> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let mut once = || retry_on_intr(|| recvmsg(from, &mut [IoSliceMut::new(buffer)], &mut control, flags));
    // Said once, and before the packets that are still there: the other side went without having read all of ours. What
    // it said last is why.
    let got = match once().or_else(|error| if error == Errno::CONNRESET { once() } else { Err(error) }) {
        Ok(got) => got,
        Err(Errno::AGAIN) => return Err(Lost::Silent),
        Err(Errno::CONNRESET) => return Err(Lost::Gone),
        Err(error) => return Err(Lost::System(error)),
    };
    let mut fds = [const { None }; ANSWER_FDS];
    let mut slots = fds.iter_mut();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(arrived) = message {
            for fd in arrived {
                // Without a slot it is closed at the end of this line.
                if let Some(slot) = slots.next() {
                    *slot = Some(fd);
                }
            }
        }
    }
    if got.bytes == 0 {
        return Err(Lost::Gone);
    }
    if got.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC) {
        return Err(Lost::Truncated);
    }
    Ok(Packet { text: buffer.get(..got.bytes).unwrap_or_default(), fds })
}
