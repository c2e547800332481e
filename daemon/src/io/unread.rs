//! Descriptors that a caller sent and that nobody will look at: in a forbidden packet, or never received.
//!
//! Closing them can wait: for a peer, with SO_LINGER, or for a file system in user space. Their caller chose them, so
//! a core's loop must not be the one that waits, and a thread of their own does.

use std::io::IoSliceMut;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::thread;

use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, ReturnFlags, Shutdown, recvmsg, shutdown, sockopt::set_socket_passcred,
};

use super::control::take;
use super::handoff::close_without_waiting;

/// Closes descriptors beside the loop.
pub(super) fn abandon(fds: Vec<OwnedFd>) {
    if !fds.is_empty() {
        beside(move || close(fds));
    }
}

/// Empties the queue of a connection that is about to be closed, beside the loop if there is anything in it.
/// Nothing can be sent to it any more; what was sent from it can still be read.
pub(super) fn abandon_queue(socket: &UnixDatagram) {
    let _ = shutdown(socket, Shutdown::Both);
    if has_unread(socket) {
        // Without a descriptor to be had, it is emptied here after all.
        match socket.try_clone() {
            Ok(socket) => beside(move || empty(&socket)),
            Err(_) => empty(socket),
        }
    }
}

/// Does `work`, whose end is a close that can wait, on a thread of its own.
pub(crate) fn beside(work: impl FnOnce() + Send + 'static) {
    // Without a thread to be had, the work is dropped, and closes here after all.
    let _ = thread::Builder::new().name("close".to_owned()).stack_size(64 * 1024).spawn(work);
}

fn empty(socket: &UnixDatagram) {
    while has_unread(socket) {
        match take(socket, &mut [0]) {
            Ok(taken) => close(taken.fds),
            // Told once, and before what is queued.
            Err(Errno::CONNRESET) => {}
            Err(_) => return,
        }
    }
}

fn close(fds: Vec<OwnedFd>) {
    fds.iter().for_each(close_without_waiting);
}

/// Whether a packet waits, be it an empty one, which otherwise looks like the end of the connection: with
/// SO_PASSCRED every packet has control data, which is cut where there is no room for it.
fn has_unread(socket: &UnixDatagram) -> bool {
    let _ = set_socket_passcred(socket, true);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut no_room = RecvAncillaryBuffer::default();
    match recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut no_room, flags) {
        Ok(seen) => seen.bytes > 0 || seen.flags.contains(ReturnFlags::CTRUNC),
        Err(error) => matches!(error, Errno::CONNRESET | Errno::INTR),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
    use sendfd::SendWithFd;
    use std::os::fd::AsRawFd;

    fn pair() -> (UnixDatagram, UnixDatagram) {
        let (a, b) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
        (a.into(), b.into())
    }

    #[test]
    fn an_empty_packet_is_told_from_the_end_and_from_nothing() {
        let (here, there) = pair();
        assert!(!has_unread(&here), "nothing");
        send(&there, b"", SendFlags::empty()).expect("send");
        assert!(has_unread(&here), "an empty packet");
        take(&here, &mut [0]).expect("it is there");
        assert!(!has_unread(&here));
        send(&there, b"", SendFlags::empty()).expect("send");
        drop(there);
        assert!(has_unread(&here), "an empty packet before the end");
        take(&here, &mut [0]).expect("it is there");
        assert!(!has_unread(&here), "the end");
    }

    #[test]
    fn everything_in_a_queue_is_closed_and_nothing_more_comes_in() {
        let (here, there) = pair();
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        for text in [&b"first"[..], b"", b"last"] {
            there.send_with_fd(text, &[writer.as_raw_fd()]).expect("send");
            send(&there, b"", SendFlags::empty()).expect("send");
        }
        drop(writer);
        let copy = here.try_clone().expect("a descriptor is free");
        abandon_queue(&here);
        drop(here);
        // The end of the pipe: the last of its writers is closed, and not by the last close of the socket.
        assert_eq!(rustix::io::read(reader, &mut [0; 1]), Ok(0));
        assert_eq!(send(&there, b"more", SendFlags::NOSIGNAL), Err(Errno::PIPE));
        drop(copy);
    }
}
