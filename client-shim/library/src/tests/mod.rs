//! The client against a scripted daemon on a socketpair. Here is the daemon; beside it, what is held against it:
//! `connection` (who gets which answer, and what happens to those nobody waits for), `requests` (what is written),
//! `answers` (what is read) and `asking` (looks and questions).

mod answers;
mod asking;
mod connection;
mod requests;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::fdpass::{self, MAX_PACKET};
use crate::{Accept, Client};

const LIMIT: Duration = Duration::from_secs(10);
const HELLO: &str = "tlsify/1 hello\nversions=1\ndaemon=fake/1\nfeatures=accept connect\nmax-packet=65536\n\
    max-descriptors=64\nmax-sessions=100\nmax-handshakes=100\nmax-profiles=100\nfloor=1.2\n";

/// The daemon's end, driven by a test.
struct Fake(OwnedFd);

impl Fake {
    fn hear(&self) -> (String, Vec<OwnedFd>) {
        let mut buffer = vec![0; MAX_PACKET];
        assert!(fdpass::wait(&self.0, true, false, Some(LIMIT)).unwrap(), "no request came");
        let packet = fdpass::receive(&self.0, &mut buffer).unwrap().expect("the client went away");
        (String::from_utf8(packet.text.to_vec()).unwrap(), packet.fds)
    }

    /// The next request's id.
    fn id(&self) -> u64 {
        let (text, _) = self.hear();
        text.lines().find_map(|line| line.strip_prefix("id=")).unwrap().parse().unwrap()
    }

    fn say(&self, text: &str, fds: &[BorrowedFd<'_>]) {
        fdpass::send(&self.0, text.as_bytes(), fds).unwrap();
    }

    /// Opens a session: its plaintext's other end.
    fn establish(&self, id: u64) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let text = format!(
            "tlsify/1 established\nid={id}\nfds=plain\nprotocol=TLSv1.3\n\
             cipher=TLS_AES_128_GCM_SHA256\nresumed=no\n"
        );
        self.say(&text, &[theirs.as_fd()]);
        ours.set_read_timeout(Some(LIMIT)).unwrap();
        ours
    }

    fn end(&self, id: u64) {
        self.say(&format!("tlsify/1 ended\nid={id}\nhow=close-notify\nin=5\nout=7\n"), &[]);
    }
}

fn pair() -> (Client, Fake) {
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
    let fake = Fake(theirs);
    fake.say(HELLO, &[]);
    (Client::from_socket(ours).unwrap(), fake)
}

fn socket() -> OwnedFd {
    UnixStream::pair().unwrap().0.into()
}

fn accept() -> Accept {
    Accept::new(socket()).profile("shop")
}

/// A thread's result, or a failure that says so instead of a test that hangs.
fn within<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Waiting<T> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        let _ = tell.send(work());
    });
    Waiting { told, thread }
}

struct Waiting<T> {
    told: mpsc::Receiver<T>,
    thread: JoinHandle<()>,
}

impl<T> Waiting<T> {
    fn join(self) -> T {
        let result = self.told.recv_timeout(LIMIT).expect("a waiting thread never woke, or panicked");
        self.thread.join().unwrap();
        result
    }
}
