//! Client sessions of a caller that writes its packets itself: for keys that a test wants to say as they are.

use std::io::{self, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustls::ServerConfig;

use crate::peer::{Peer, tcp_pair};
use crate::pki::SERVER_NAME;
use crate::raw::{RawAnswer, RawCaller};
use crate::wait::LIMIT;

/// What the daemon and the peer said of a handshake.
#[derive(Debug)]
pub struct Told {
    /// `established` or `failed` (or `refused`), with the descriptors that are left.
    pub answer: RawAnswer,
    /// The program's side, if the session opened.
    pub plain: Option<UnixStream>,
    /// The far end.
    pub peer: Peer,
    /// How the handshake went there.
    pub handshake: io::Result<()>,
}

/// The lines of the usual request: whom to reach, trusting the `ca` descriptor.
pub fn usual() -> String {
    format!("name={SERVER_NAME}\ntrust=descriptor\n")
}

/// Sends a `connect` with these lines and one end of a TCP connection, and these descriptors behind it; returns the
/// other end.
///
/// # Panics
/// When it cannot be sent.
pub fn begin(caller: &RawCaller, id: u64, lines: &str, fds: &[(&str, &OwnedFd)]) -> TcpStream {
    let (ours, theirs) = tcp_pair();
    let names: String = fds.iter().map(|(name, _)| format!(" {name}")).collect();
    let mut all: Vec<&dyn AsFd> = vec![&ours];
    all.extend(fds.iter().map(|(_, fd)| *fd as &dyn AsFd));
    caller.send(format!("tlsify/1 connect\nid={id}\nfds=net{names}\n{lines}"), &all);
    theirs
}

/// The whole of it: request, handshake with a server of this configuration, answer.
///
/// # Panics
/// When the daemon does not answer.
pub fn connect(
    caller: &RawCaller,
    id: u64,
    lines: &str,
    fds: &[(&str, &OwnedFd)],
    server: &Arc<ServerConfig>,
) -> Told {
    let socket = begin(caller, id, lines, fds);
    // What the peer says next waits for no acknowledgement of its tickets.
    socket.set_nodelay(true).expect("a TCP socket has this option");
    let mut peer = Peer::server(socket, Arc::clone(server));
    let handshake = peer.handshake();
    let mut answer = caller.answer();
    let opened = answer.verb() == "established" && !answer.fds.is_empty();
    let plain = opened.then(|| UnixStream::from(answer.fds.remove(0)));
    if let Some(plain) = &plain {
        plain.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
        plain.set_write_timeout(Some(LIMIT)).expect("a limit that is not zero");
    }
    Told { answer, plain, peer, handshake }
}

impl Told {
    /// A word of the peer reaches the program: with it, everything has that the peer said before, its tickets among it.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn hear(&mut self) {
        self.peer.write_all(b"word").expect("the session is open");
        let mut word = [0; 4];
        self.plain().read_exact(&mut word).expect("the session is open");
        assert_eq!(&word, b"word");
    }

    /// Ends the session from both sides, and gives the first answer.
    ///
    /// # Panics
    /// When it does not end cleanly.
    #[track_caller]
    pub fn end(mut self, caller: &RawCaller) -> RawAnswer {
        self.plain().shutdown(Shutdown::Write).expect("it is open");
        self.peer.half_close().expect("it is open");
        let ended = caller.answer();
        let said = (ended.verb(), ended.get("id"), ended.get("how"));
        assert_eq!(said, ("ended", self.answer.get("id"), Some("close-notify")), "{}", ended.text);
        self.answer
    }

    /// The open session's program side.
    ///
    /// # Panics
    /// When it did not open.
    #[track_caller]
    pub fn plain(&mut self) -> &mut UnixStream {
        match &mut self.plain {
            Some(plain) => plain,
            None => panic!("{}", self.answer.text),
        }
    }
}
