//! A daemon that does nothing: it greets, and answers every request with `established` at once. What remains is what
//! the command itself costs.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};
use tlsifyd_tests::{RawCaller, TempDir};

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
                answer(socket);
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

/// One caller with one request.
fn answer(socket: OwnedFd) {
    let caller = RawCaller { socket };
    caller.send(HELLO, &[]);
    let Some(request) = caller.receive() else { return };
    let id = request.get("id").unwrap_or("1");
    let established = format!(
        "tlsify/1 established\nid={id}\nprotocol=TLSv1.3\ncipher=TLS_AES_128_GCM_SHA256\nresumed=no\n\
         peer=unix\nlocal=unix\n"
    );
    caller.send(established, &[]);
    // Until the caller has gone: closing first would be another end than the daemon's.
    let _ = caller.receive();
}
