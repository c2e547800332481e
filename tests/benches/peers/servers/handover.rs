//! The door through tlsifyd: each accepted socket goes over one control connection, and comes back as plaintext.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, recvmsg,
    sendmsg, socket_with,
};
use tlsify_protocol::text::answers;
use tlsify_protocol::{
    Answer, FdName, MAX_DESCRIPTORS, MAX_PACKET, ProfileName, Request, Start, StoreName, Words,
};

use super::Served;
use super::door::Door;

const PROFILE: &str = "web";

pub(super) struct Handover {
    control: OwnedFd,
    store: Option<StoreName<'static>>,
    id: u64,
    /// Accepted while the daemon takes no packet. Its queue is short, and so is this one.
    waiting: VecDeque<OwnedFd>,
    packet: Vec<u8>,
}

impl Handover {
    /// Connects to the daemon and defines the one profile there is.
    pub(super) fn connect(socket: &Path, served: &Served) -> Self {
        let control = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a descriptor is free");
        connect(&control, &SocketAddrUnix::new(socket).expect("a short path")).expect("the daemon listens");
        let store = served.tickets.then(|| StoreName::new("bench").expect("a good name"));
        let mut door =
            Self { control, store, id: 0, waiting: VecDeque::new(), packet: vec![0; MAX_PACKET + 1] };
        door.expect("hello");
        let (suite, version) = match served.tls12 {
            true => ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "1.2"),
            false => ("TLS_AES_128_GCM_SHA256", "1.3"),
        };
        let group = if served.hybrid { "X25519MLKEM768" } else { "X25519" };
        let define = format!(
            "tlsify/1 define\nid=0\nfds=certificate key\nprofile={PROFILE}\nrole=server\nmin={version}\nmax={version}\n\
             groups={group}\nciphers={suite}\n"
        );
        let files =
            [&served.certificate, &served.key].map(|file| File::open(file).expect("it was just made"));
        let sent = pass(&door.control, define.as_bytes(), &files.each_ref().map(AsFd::as_fd));
        sent.expect("the daemon listens");
        door.expect("defined");
        door
    }

    fn expect(&mut self, verb: &str) {
        let (count, _) = recv(&self.control, &mut self.packet[..], RecvFlags::empty()).expect("an answer");
        let text = String::from_utf8_lossy(&self.packet[..count]);
        assert!(text.starts_with(&format!("tlsify/1 {verb}\n")), "not {verb}, but {text}");
    }

    /// Whether the daemon took it.
    fn hand_over(&mut self, socket: &OwnedFd) -> bool {
        let request = Request::Accept(Start {
            fds: Words::from_slice(&[FdName::Net]),
            profile: Some(ProfileName::new(PROFILE).expect("a good name")),
            resume: self.store,
            batch: true,
            ..Start::new(self.id + 1)
        });
        let mut packet = [0; 128];
        let count = request.write(&mut packet).expect("it is short");
        match pass(&self.control, &packet[..count], &[socket.as_fd()]) {
            Ok(()) => {
                self.id += 1;
                true
            }
            Err(Errno::AGAIN) => false,
            Err(error) => panic!("handing a socket over: {error}"),
        }
    }

    /// One packet of the daemon's: the plaintext of each session that is open now goes to `serve`.
    fn hear(&mut self, serve: &mut dyn FnMut(OwnedFd)) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut descriptors = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let into = &mut [IoSliceMut::new(&mut self.packet)];
        let got = match recvmsg(&self.control, into, &mut descriptors, flags) {
            Ok(got) if got.bytes > 0 => got,
            Ok(_) => panic!("the daemon is gone"),
            Err(Errno::AGAIN) => return,
            Err(error) => panic!("hearing of the daemon: {error}"),
        };
        let mut fds = descriptors.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds).into_iter().flatten(),
            _ => None.into_iter().flatten(),
        });
        for answer in answers(&self.packet[..got.bytes]) {
            match Answer::parse(answer).expect("the daemon speaks the protocol") {
                Answer::Established(_) => serve(fds.next().expect("it comes with one")),
                Answer::Ended(_) => {}
                Answer::Failed(failed) => fds.by_ref().take(failed.fds.iter().count()).for_each(drop),
                _ => panic!("{}", String::from_utf8_lossy(answer)),
            }
        }
    }
}

impl Door for Handover {
    fn watched(&self) -> Option<BorrowedFd<'_>> {
        Some(self.control.as_fd())
    }

    /// Ours is closed at once: the daemon has its own.
    fn accepted(&mut self, socket: OwnedFd) -> Option<OwnedFd> {
        if !self.waiting.is_empty() || !self.hand_over(&socket) {
            self.waiting.push_back(socket);
        }
        None
    }

    fn ready(&mut self, serve: &mut dyn FnMut(OwnedFd)) {
        // Once: what is left is told of again.
        self.hear(serve);
        // The daemon stops reading only while its answers are not read: whoever has read them all is heard again.
        while let Some(socket) = self.waiting.pop_front() {
            if !self.hand_over(&socket) {
                self.waiting.push_front(socket);
                return;
            }
        }
    }
}

fn pass(control: &OwnedFd, packet: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut descriptors = SendAncillaryBuffer::new(&mut space);
    assert!(descriptors.push(SendAncillaryMessage::ScmRights(fds)), "there is room for two");
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    sendmsg(control, &[IoSlice::new(packet)], &mut descriptors, flags).map(drop)
}
