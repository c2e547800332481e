//! One client of the load: a socket that never blocks, its TLS, and the request that is on its way.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use rustls::{ClientConfig, HandshakeKind};

use super::http::{Ask, Response};
use super::tls::{Out, Step, Tls};

/// What one system call reads, and what is encrypted for one: large enough that the client's calls are few.
const CHUNK: usize = 256 * 1024;
/// An upload goes on for so many chunks before others have their turn.
const CHUNKS: usize = 4;
/// The body of an upload.
static BODY: [u8; CHUNK] = [b'u'; CHUNK];

/// What a client is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// One small request, and the session ends with its response.
    Once,
    /// One small request, and the session stays.
    Stay,
    /// The handshake, and the session ends.
    Handshake,
}

/// What happened to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing that anybody waits for.
    Nothing,
    /// The response is complete.
    Answered,
    /// The session has ended in order, on both sides.
    Ended {
        /// From the beginning to the complete response; without a request, to the end of the handshake.
        took: Duration,
    },
}

/// Memory that all clients share, one after the other.
pub(crate) struct Scratch {
    incoming: Vec<u8>,
    out: Out,
}

impl Scratch {
    pub(crate) fn new() -> Self {
        Self { incoming: vec![0; CHUNK], out: Out::default() }
    }
}

/// One client.
pub(crate) struct Connection {
    socket: TcpStream,
    tls: Tls,
    plan: Plan,
    expected: HandshakeKind,
    stage: Stage,
    /// A part of a record whose end has not come.
    rest: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    /// The server said close_notify.
    ended: bool,
    /// Bytes of an upload that are not encrypted yet.
    upload: u64,
    response: Option<Response>,
    /// Of the connection, and then of each request.
    pub(crate) began: Instant,
    took: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Connecting,
    Handshaking,
    Open,
}

impl Connection {
    /// Begins to connect. The handshake has to be of the `expected` kind.
    pub(crate) fn begin(
        address: SocketAddr,
        config: &Arc<ClientConfig>,
        plan: Plan,
        expected: HandshakeKind,
    ) -> Result<Self, String> {
        let began = Instant::now();
        let socket = dial(address).map_err(|error| format!("cannot connect to {address}: {error}"))?;
        Ok(Self {
            socket,
            tls: Tls::new(config)?,
            plan,
            expected,
            stage: Stage::Connecting,
            rest: Vec::new(),
            unsent: Vec::new(),
            ended: false,
            upload: 0,
            response: None,
            began,
            took: Duration::ZERO,
        })
    }

    pub(crate) fn socket(&self) -> impl AsFd + '_ {
        self.socket.as_fd()
    }

    /// Whether it waits for room in its socket, besides bytes from the server.
    pub(crate) fn wants_room(&self) -> bool {
        self.stage == Stage::Connecting || !self.unsent.is_empty() || self.upload > 0
    }

    /// One turn, when its socket is ready for something.
    ///
    /// # Errors
    /// Everything that no good server does.
    pub(crate) fn turn(&mut self, scratch: &mut Scratch) -> Result<Event, String> {
        scratch.out.clear();
        if self.stage == Stage::Connecting {
            if let Some(error) = self.socket.take_error().map_err(said)? {
                return Err(format!("no connection: {error}"));
            }
            self.stage = Stage::Handshaking;
            self.advance(scratch, 0)?;
            self.send(&mut scratch.out)?;
            return Ok(Event::Nothing);
        }
        self.flush()?;
        self.receive(scratch)?;
        self.send(&mut scratch.out)?;
        self.upload(scratch)?;
        self.event()
    }

    /// What the turn came to.
    fn event(&mut self) -> Result<Event, String> {
        // An answer that comes before its question is complete is not the end of it.
        let answered = self.upload == 0 && self.response.as_ref().is_some_and(Response::done);
        if answered {
            self.took = self.began.elapsed();
            self.response = None;
        }
        match self.ended {
            true if self.response.is_some() || self.plan == Plan::Stay => {
                Err("the server ended a session that is needed".to_owned())
            }
            true => Ok(Event::Ended { took: self.took }),
            false if answered && self.plan == Plan::Stay => Ok(Event::Answered),
            false => Ok(Event::Nothing),
        }
    }

    /// Sends a request on a session that has none on its way.
    pub(crate) fn ask(&mut self, ask: Ask, scratch: &mut Scratch) -> Result<(), String> {
        assert!(self.idle(), "a request is on its way already");
        self.began = Instant::now();
        scratch.out.clear();
        self.request(ask, false, scratch)?;
        self.send(&mut scratch.out)?;
        self.upload(scratch)
    }

    /// Whether it is open, and nothing is on its way.
    pub(crate) fn idle(&self) -> bool {
        self.stage == Stage::Open && self.response.is_none()
    }

    /// Ends an open session from this side: the server sees close_notify.
    pub(crate) fn leave(mut self, scratch: &mut Scratch) -> Result<(), String> {
        scratch.out.clear();
        self.tls.close_notify(&mut self.rest, &mut scratch.out)?;
        self.send(&mut scratch.out)
    }

    /// Reads once: sockets with more to read come again.
    fn receive(&mut self, scratch: &mut Scratch) -> Result<(), String> {
        let kept = self.rest.len();
        scratch.incoming[..kept].copy_from_slice(&self.rest);
        // Who has been told that this is the end may go without a word.
        let left = self.plan == Plan::Handshake && self.stage == Stage::Open;
        match self.socket.read(&mut scratch.incoming[kept..]) {
            Ok(0) if left => self.ended = true,
            Ok(0) => return Err(format!("the stream ended without close_notify in {:?}", self.stage)),
            Ok(count) => self.advance(scratch, kept + count)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) if left && error.kind() == ErrorKind::ConnectionReset => self.ended = true,
            Err(error) => return Err(format!("the stream cannot be read in {:?}: {error}", self.stage)),
        }
        Ok(())
    }

    /// Gives the first so many bytes of the scratch buffer to TLS, and does what follows.
    fn advance(&mut self, scratch: &mut Scratch, filled: usize) -> Result<(), String> {
        let response = &mut self.response;
        let take = &mut |plain: &[u8]| match response {
            Some(response) => response.take(plain),
            None => Err(format!("{} bytes that nobody asked for", plain.len())),
        };
        let (used, step) = self.tls.process(&mut scratch.incoming[..filled], &mut scratch.out, take)?;
        // Thousands rest without a buffer.
        self.rest = scratch.incoming[used..filled].to_vec();
        if self.stage == Stage::Handshaking && step != Step::Handshaking {
            self.opened(scratch)?;
        }
        if step == Step::PeerClosed {
            self.ended = true;
            if self.plan != Plan::Handshake {
                self.tls.close_notify(&mut self.rest, &mut scratch.out)?;
            }
        }
        Ok(())
    }

    /// The handshake is done: what comes next travels with our Finished.
    fn opened(&mut self, scratch: &mut Scratch) -> Result<(), String> {
        let kind = self.tls.kind()?;
        if kind != Some(self.expected) {
            let word = |kind| if kind == HandshakeKind::Resumed { "resumed" } else { "full" };
            return Err(format!(
                "the handshake was {} and not {}",
                kind.map_or("unfinished", word),
                word(self.expected)
            ));
        }
        self.stage = Stage::Open;
        match self.plan {
            Plan::Once => self.request(Ask::Small, true, scratch),
            Plan::Stay => self.request(Ask::Small, false, scratch),
            Plan::Handshake => {
                self.took = self.began.elapsed();
                self.tls.close_notify(&mut self.rest, &mut scratch.out)
            }
        }
    }

    fn request(&mut self, ask: Ask, last: bool, scratch: &mut Scratch) -> Result<(), String> {
        self.response = Some(Response::to(ask));
        self.upload = ask.body();
        self.tls.encrypt(&mut self.rest, ask.head(last).as_bytes(), &mut scratch.out)
    }

    /// More of an upload, as long as the socket takes all of it.
    fn upload(&mut self, scratch: &mut Scratch) -> Result<(), String> {
        for _ in 0..CHUNKS {
            if self.upload == 0 || !self.unsent.is_empty() {
                break;
            }
            let count = self.upload.min(CHUNK as u64);
            scratch.out.clear();
            let body = &BODY[..usize::try_from(count).expect("a chunk fits")];
            self.tls.encrypt(&mut self.rest, body, &mut scratch.out)?;
            self.upload -= count;
            self.send(&mut scratch.out)?;
        }
        Ok(())
    }

    fn send(&mut self, out: &mut Out) -> Result<(), String> {
        if out.bytes().is_empty() {
            return Ok(());
        }
        // Order: nothing overtakes what waits already.
        let sent = if self.unsent.is_empty() { write(&self.socket, out.bytes())? } else { 0 };
        self.unsent.extend_from_slice(&out.bytes()[sent..]);
        out.clear();
        Ok(())
    }

    fn flush(&mut self) -> Result<(), String> {
        if !self.unsent.is_empty() {
            let sent = write(&self.socket, &self.unsent)?;
            self.unsent.drain(..sent);
            if self.unsent.is_empty() {
                self.unsent = Vec::new();
            }
        }
        Ok(())
    }
}

/// As much as the socket takes.
fn write(mut socket: &TcpStream, bytes: &[u8]) -> Result<usize, String> {
    match socket.write(bytes) {
        Ok(count) => Ok(count),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        Err(error) => Err(format!("the stream cannot be written: {error}")),
    }
}

/// A socket on its way to be connected, which never blocks and sends at once.
fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let stream = TcpStream::from(socket(family, SockType::Stream, flags, None)?);
    stream.set_nodelay(true)?;
    match connect(stream.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(stream),
        Err(error) => Err(error.into()),
    }
}

fn said(error: io::Error) -> String {
    error.to_string()
}
