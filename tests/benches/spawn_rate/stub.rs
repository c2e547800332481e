//! A daemon that does nothing: it greets, and answers every request with `established` at once. What remains is what
//! the command itself costs.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, listen, recv, recvmsg, send, socket_with,
};
use tlsifyd_tests::TempDir;

const HELLO: &str = "tlsify/1 hello\nversions=1\ndaemon=stub\nmax-packet=65536\nmax-descriptors=64\n\
                     max-sessions=100\nmax-handshakes=100\nmax-profiles=64\nfloor=1.2\n";

/// The stub, there until the process ends.
pub(crate) struct Stub {
    dir: TempDir,
}

impl Stub {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let stub = Self { dir: TempDir::new("stub") };
        let listener = listener(&stub.socket());
        thread::spawn(move || {
            while let Ok(socket) = accept_with(&listener, SocketFlags::CLOEXEC) {
                answer(&socket);
            }
        });
        stub
    }

    /// For `TLSIFY_SOCK`.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }
}

fn listener(path: &Path) -> OwnedFd {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.expect("a descriptor is free");
    let address = SocketAddrUnix::new(path).expect("a short path");
    bind(&socket, &address).expect("our own folder");
    listen(&socket, 16).expect("it is bound");
    socket
}

/// One caller with one request. Nothing here may take longer than it must: the command waits for it.
fn answer(socket: &OwnedFd) {
    if send(socket, HELLO.as_bytes(), SendFlags::NOSIGNAL).is_err() {
        return;
    }
    let mut packet = [0; 2048];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
    let mut descriptors = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut packet)];
    let Ok(got) = recvmsg(socket, &mut into, &mut descriptors, RecvFlags::CMSG_CLOEXEC) else { return };
    let id = std::str::from_utf8(&packet[..got.bytes])
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("id=")));
    let established = format!(
        "tlsify/1 established\nid={}\nprotocol=TLSv1.3\ncipher=TLS_AES_128_GCM_SHA256\nresumed=no\n\
         peer=unix\nlocal=unix\n",
        id.unwrap_or("1")
    );
    let _ = send(socket, established.as_bytes(), SendFlags::NOSIGNAL);
    // Until the caller has gone: closing first would be another end than the daemon's.
    let _ = recv(socket, &mut [0_u8; 1], RecvFlags::empty());
}
