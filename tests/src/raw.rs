//! A caller without the library: packets as they are, so that a test can say what the library never would.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg, sendmsg,
    socket_with,
};

use crate::wait::LIMIT;

/// More than the kernel passes with one packet (253): sending as many is its refusal, not ours.
const ROOM: usize = 300;

/// A control connection whose `hello` was read. Each wait fails after the rig's time limit.
#[derive(Debug)]
pub struct RawCaller {
    /// The connection.
    pub socket: OwnedFd,
}

/// An answer of the daemon.
#[derive(Debug)]
pub struct RawAnswer {
    /// Its text.
    pub text: String,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
}

impl RawCaller {
    /// Connects and reads `hello`.
    ///
    /// # Panics
    /// When nobody listens there, or something else than `hello` comes first.
    pub fn connect(path: impl AsRef<Path>) -> Self {
        let caller = Self::connect_unheard(path);
        let hello = caller.answer();
        assert_eq!(hello.verb(), "hello", "{}", hello.text);
        caller
    }

    /// Connects, and leaves `hello` to be read.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn connect_unheard(path: impl AsRef<Path>) -> Self {
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a descriptor is free");
        for which in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, which, Some(LIMIT)).expect("a limit that is not zero");
        }
        let address = SocketAddrUnix::new(path.as_ref()).expect("a short path");
        connect(&socket, &address).expect("the daemon listens");
        Self { socket }
    }

    /// Sends one packet with these descriptors. It waits while the daemon does not read.
    ///
    /// # Errors
    /// The system's.
    pub fn try_send(&self, text: impl AsRef<[u8]>, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.send_with(text.as_ref(), fds, SendFlags::NOSIGNAL)
    }

    /// Sends one packet, if it can be sent at once: `AGAIN` otherwise.
    ///
    /// # Errors
    /// The system's.
    pub fn send_now(&self, text: impl AsRef<[u8]>) -> Result<(), Errno> {
        self.send_with(text.as_ref(), &[], SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    /// Sends one packet with these descriptors.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[track_caller]
    pub fn send(&self, text: impl AsRef<[u8]>, fds: &[&dyn AsFd]) {
        let fds: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        self.try_send(text, &fds).expect("the daemon takes packets");
    }

    /// Sends one packet and gives the next answer.
    ///
    /// # Panics
    /// When it cannot be sent, or no answer comes.
    #[track_caller]
    pub fn ask(&self, text: impl AsRef<[u8]>, fds: &[&dyn AsFd]) -> RawAnswer {
        self.send(text, fds);
        self.answer()
    }

    /// The next answer, or nothing when the daemon has closed the connection.
    ///
    /// # Panics
    /// When nothing comes in time, or comes cut.
    #[track_caller]
    pub fn receive(&self) -> Option<RawAnswer> {
        let mut bytes = vec![0; 65_536];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got =
            recvmsg(&self.socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let got = match got {
            Ok(got) => got,
            Err(Errno::CONNRESET) => return None,
            Err(error) => panic!("no answer: {error}"),
        };
        assert!(!got.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC), "an answer was cut");
        let fds = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        });
        let fds = fds.flatten().collect();
        bytes.truncate(got.bytes);
        let text = String::from_utf8(bytes).expect("answers are UTF-8");
        (!text.is_empty()).then_some(RawAnswer { text, fds })
    }

    /// The next answer.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn answer(&self) -> RawAnswer {
        self.receive().expect("the daemon keeps the connection open")
    }

    /// Asks a question that is always answered, to see that the connection still serves.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn assert_serves(&self) {
        let answer = self.ask("tlsify/1 status\nid=900\n", &[]);
        assert_eq!((answer.verb(), answer.get("id")), ("status", Some("900")), "{}", answer.text);
    }

    fn send_with(&self, text: &[u8], fds: &[BorrowedFd<'_>], flags: SendFlags) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ROOM))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(
                control.push(SendAncillaryMessage::ScmRights(fds)),
                "more descriptors than there is room for"
            );
        }
        sendmsg(&self.socket, &[IoSlice::new(text)], &mut control, flags).map(|_| ())
    }
}

impl RawAnswer {
    /// `hello`, `refused`, …
    pub fn verb(&self) -> &str {
        let first = self.text.lines().next().unwrap_or_default();
        first.strip_prefix("tlsify/1 ").unwrap_or(first)
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.text.lines().skip(1).find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
    }

    /// Asserts that this is a refusal with this code, about this.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn assert_refused(&self, code: &str, about: Option<&str>) {
        let told = (self.verb(), self.get("code"), self.get("about"));
        assert_eq!(told, ("refused", Some(code), about), "{}", self.text);
        assert!(self.fds.is_empty(), "a refusal brings no descriptors");
    }
}
