//! What a test does as the program: take a connection from a port, hand it over, talk plaintext, hear how it ended.

use std::io::{self, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Command;

use tlsify_client::{Ended, Established, Facts, Session};

use crate::handover::plain_of;
use crate::program::Program;
use crate::wait::{LIMIT, until};

/// A listening port of the loopback interface, for tools that connect.
#[derive(Debug)]
pub struct Door(TcpListener);

/// An open session as the program has it. Its reads fail after the rig's time limit.
#[derive(Debug)]
pub struct Open {
    /// What the daemon said about it.
    pub facts: Facts,
    /// The plaintext.
    pub plain: UnixStream,
    /// Its control side.
    pub session: Session,
    /// The peer's chain in PEM; empty when it was not asked for.
    pub chain: String,
}

/// A tool that reads its standard input, and the end that the test writes to. Dropping that end is its end of file.
#[derive(Debug)]
pub struct Typed {
    /// The tool.
    pub program: Program,
    keyboard: Option<PipeWriter>,
}

impl Door {
    /// Any free port of 127.0.0.1.
    pub fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        listener.set_nonblocking(true).expect("a listening socket can be polled");
        Self(listener)
    }

    /// Its number.
    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("it listens").port()
    }

    /// The next connection.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn next(&self) -> TcpStream {
        let socket = until(LIMIT, || self.0.accept().ok()).expect("somebody connects in time").0;
        socket.set_nonblocking(false).expect("a socket can wait");
        socket
    }
}

/// Connects to a tool that listens.
///
/// # Panics
/// When nobody listens in time.
pub fn reach(port: u16) -> TcpStream {
    until(LIMIT, || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok())
        .unwrap_or_else(|| panic!("nobody listens at port {port}"))
}

impl Open {
    /// Takes what the library gave.
    ///
    /// # Panics
    /// When the daemon made no socketpair.
    pub fn new(mut established: Established) -> Self {
        Self {
            plain: plain_of(&mut established),
            facts: established.facts,
            session: established.session,
            chain: established.chain.map(text_of).unwrap_or_default(),
        }
    }

    /// Sends all of it.
    ///
    /// # Panics
    /// When the program's side is closed.
    pub fn say(&mut self, text: &str) {
        self.plain.write_all(text.as_bytes()).expect("the session takes it");
    }

    /// Receives up to and including this text.
    ///
    /// # Panics
    /// When the data ends or stops before.
    #[track_caller]
    pub fn hear(&mut self, text: &str) -> String {
        let mut heard = Vec::new();
        while !heard.ends_with(text.as_bytes()) {
            let mut byte = [0];
            match self.plain.read(&mut byte) {
                Ok(1) => heard.push(byte[0]),
                end => panic!("{end:?} after {:?}", String::from_utf8_lossy(&heard)),
            }
        }
        String::from_utf8_lossy(&heard).into_owned()
    }

    /// Says that this side has sent everything.
    ///
    /// # Panics
    /// When the program's side is closed.
    pub fn finish(&self) {
        self.plain.shutdown(Shutdown::Write).expect("the program's side is open");
    }

    /// Receives to the end, says that this side is done too, and hears how it ended.
    ///
    /// # Panics
    /// When neither comes in time.
    #[track_caller]
    pub fn rest(mut self) -> (String, Ended) {
        let mut rest = Vec::new();
        // An end that is an error is an end; `how` says which.
        if let Err(error) = self.plain.read_to_end(&mut rest) {
            assert_ne!(error.kind(), io::ErrorKind::WouldBlock, "no end of the data after {LIMIT:?}");
        }
        // Not an error when it was said before, or when the daemon has closed its end.
        let _ = self.plain.shutdown(Shutdown::Write);
        let ended = self.session.ended_within(LIMIT).expect("the daemon tells how a session ended");
        (String::from_utf8_lossy(&rest).into_owned(), ended.expect("it tells in time"))
    }
}

impl Typed {
    /// Starts it with a pipe as its input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let (read, write) = io::pipe().expect("a descriptor is free");
        Self { program: Program::start(command.stdin(read)), keyboard: Some(write) }
    }

    /// Types this.
    ///
    /// # Panics
    /// When the tool no longer reads, with what it said.
    pub fn type_in(&mut self, text: &str) {
        let keyboard = self.keyboard.as_mut().expect("the keyboard is still there");
        if let Err(error) = keyboard.write_all(text.as_bytes()) {
            panic!("{error}:\n{}{}", self.program.stdout(), self.program.stderr());
        }
    }

    /// End of file.
    pub fn hang_up(&mut self) {
        self.keyboard = None;
    }
}

/// The whole text of a memfd.
///
/// # Panics
/// When it cannot be read as text.
pub fn text_of(memfd: std::os::fd::OwnedFd) -> String {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::from(memfd);
    let length = file.metadata().expect("a memfd has a size").len();
    let mut bytes = vec![0; usize::try_from(length).expect("it fits in memory")];
    file.read_exact_at(&mut bytes, 0).expect("a memfd can be read");
    String::from_utf8(bytes).expect("PEM is text")
}
