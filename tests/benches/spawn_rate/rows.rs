//! What is measured, row by row. Each piece of work is one program from its start to its end, or one hand-over; every
//! session is verified against the same CA and name, and carries no data.

use std::cell::RefCell;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;

use tlsify_client::{Connect, Profile, Trust};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TempDir, TestDaemon, pki, reach};

use crate::peer::Server;
use crate::programs::Programs;
use crate::stub::Stub;

/// One row and how to do it.
pub(crate) struct Case {
    pub(crate) key: &'static str,
    pub(crate) what: &'static str,
    /// One piece, or why this row is not measured.
    pub(crate) work: Result<Work, String>,
    pub(crate) handshakes: Handshakes,
}

/// One piece of work.
pub(crate) type Work = Box<dyn FnMut() -> Result<(), String>>;

/// What the peer must have seen for a row to be what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handshakes {
    None,
    Full,
    Resumed,
}

/// Everything that the rows need.
pub(crate) struct Scene<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) server: &'a Server,
    pub(crate) daemon: &'a TestDaemon,
    pub(crate) stub: &'a Stub,
}

impl Scene<'_> {
    /// All rows, in the table's order. `ends` keeps the programs' ends of handed-over data, to be dropped when all is over.
    pub(crate) fn cases(&self, ends: &Ends) -> Vec<Case> {
        let programs = self.programs;
        let daemon = self.daemon.socket();
        let handoff = |socket: PathBuf, more: &[&str]| {
            let arguments = [&["--handoff", "--no-fallback"], more].concat();
            self.tlsify(&arguments, Some(socket), ends)
        };
        let case = |key, what, handshakes, work| Case { key, what, work, handshakes };
        use Handshakes::{Full, None, Resumed};
        vec![
            case("a", "an empty static program", None, empty(&programs.nothing)),
            case("b", "tlsify --handoff, answered without TLS", None, handoff(self.stub.socket(), &[])),
            case("b1", "tlsify --handoff, full handshake", Full, handoff(daemon.clone(), &[])),
            case("b2", "tlsify --handoff, resumed", Resumed, handoff(daemon, &["--resume", "bench"])),
            case(
                "c",
                "tlsify --private, full handshake",
                Full,
                self.tlsify(&["--private"], Option::None, ends),
            ),
            case(
                "c2",
                "tlsify --private, resumed",
                Resumed,
                Err("cannot be: tickets go with the daemon that has them".to_owned()),
            ),
            case("d1", "one control connection, full handshake", Full, self.library(false)),
            case("d2", "one control connection, resumed", Resumed, self.library(true)),
            case("e", "openssl s_client, full handshake", Full, self.openssl(Option::None)),
            case("e2", "openssl s_client, resumed", Resumed, self.openssl_ticket()),
            case("f", "an empty dynamic Rust program", None, empty(&programs.dynamic)),
        ]
    }

    /// The command. Its input and output are one socket, whose other end says at once that it has nothing to say.
    fn tlsify(&self, arguments: &[&str], socket: Option<PathBuf>, ends: &Ends) -> Result<Work, String> {
        let program = self.programs.tlsify.clone()?;
        let peer = format!("127.0.0.1:{}", self.server.port);
        let mut arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        let ca = pki().ca.file.to_string_lossy().into_owned();
        arguments.extend(["--name", SERVER_NAME, "--trust", &ca, &peer].map(str::to_owned));
        let ends = ends.clone();
        Ok(Box::new(move || {
            let theirs = ends.take();
            let mut command = Command::new(&program);
            command.arg("connect").args(&arguments).env_clear();
            if let Some(socket) = &socket {
                command.env("TLSIFY_SOCK", socket);
            }
            command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs.try_clone().map_err(said)?)));
            command.stdout(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
            run(&mut command)
        }))
    }

    /// The library, with one connection and one profile for all sessions.
    fn library(&self, resumed: bool) -> Result<Work, String> {
        let client = self.daemon.client();
        let profile = Profile::client("bench").trust(Trust::ca(pki().ca.fd()));
        client.define(&profile).map_err(|error| error.to_string())?;
        let port = self.server.port;
        Ok(Box::new(move || {
            let connect = Connect::new(reach(port)).name(SERVER_NAME).profile("bench");
            let connect = if resumed { connect.resume("bench") } else { connect };
            let established = client.connect_tls(&connect).map_err(|error| error.to_string())?;
            drop(established.plain);
            Ok(())
        }))
    }

    fn openssl(&self, ticket: Option<&Path>) -> Result<Work, String> {
        let program = self.programs.openssl.clone()?;
        let mut arguments = self.openssl_arguments();
        if let Some(ticket) = ticket {
            arguments.extend(["-sess_in".to_owned(), ticket.to_string_lossy().into_owned()]);
        }
        Ok(Box::new(move || {
            let mut command = Command::new(&program);
            command.args(&arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            run(&mut command)
        }))
    }

    fn openssl_arguments(&self) -> Vec<String> {
        let peer = format!("127.0.0.1:{}", self.server.port);
        let ca = pki().ca.file.to_string_lossy();
        let arguments = [
            ["s_client", "-verify_return_error"],
            ["-connect", &peer],
            ["-CAfile", &ca],
            ["-servername", SERVER_NAME],
            ["-verify_hostname", SERVER_NAME],
        ];
        arguments.concat().into_iter().map(str::to_owned).collect()
    }

    /// openssl with a ticket that it got before. The file lives as long as the work.
    fn openssl_ticket(&self) -> Result<Work, String> {
        let program = self.programs.openssl.clone()?;
        let dir = TempDir::new("ticket");
        let ticket = dir.path().join("ticket");
        let mut command = Command::new(program);
        // With the same name as later: a ticket is for one.
        command.args(self.openssl_arguments()).arg("-sess_out").arg(&ticket);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(said)?;
        // Its input stays open until the ticket is there.
        let got = until(LIMIT, || ticket.metadata().ok().filter(|meta| meta.len() > 0));
        drop(child.stdin.take());
        child.wait().map_err(said)?;
        got.ok_or("openssl got no ticket")?;
        let mut work = self.openssl(Some(&ticket))?;
        Ok(Box::new(move || {
            let _kept = &dir;
            work()
        }))
    }
}

/// Socket pairs for the data of sessions: they are the caller's to bring, and no row pays for making them. Our ends stay
/// open until all is over: daemons carry on with the others.
#[derive(Clone, Default)]
pub(crate) struct Ends(Rc<RefCell<Pairs>>);

#[derive(Default)]
struct Pairs {
    ours: Vec<UnixStream>,
    theirs: Vec<UnixStream>,
}

impl Ends {
    /// Makes so many.
    pub(crate) fn prepare(&self, count: u32) {
        let mut pairs = self.0.borrow_mut();
        for _ in 0..count {
            let (ours, theirs) = UnixStream::pair().expect("a descriptor is free");
            ours.shutdown(Shutdown::Write).expect("it is connected");
            pairs.ours.push(ours);
            pairs.theirs.push(theirs);
        }
    }

    fn take(&self) -> UnixStream {
        self.0.borrow_mut().theirs.pop().expect("one for each piece")
    }

    /// Closes all.
    pub(crate) fn drop_all(&self) {
        *self.0.borrow_mut() = Pairs::default();
    }
}

/// A program that does nothing.
fn empty(program: &Result<PathBuf, String>) -> Result<Work, String> {
    let program = program.clone()?;
    Ok(Box::new(move || run(Command::new(&program).env_clear().stdin(Stdio::null()))))
}

/// From start to end; std starts programs by posix_spawn, which shares the memory of this one until then.
fn run(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{status}")),
        Err(error) => Err(said(error)),
    }
}

fn said(error: std::io::Error) -> String {
    error.to_string()
}
