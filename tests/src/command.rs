//! `tlsify` as its callers start it: a process with a socket, an input, an output and a standard error of the test's
//! choice, and an environment that holds nothing else.
//!
//! Descriptors travel as the standard ones of a shell, which moves them and becomes the command: that needs no code
//! between fork and exec.
//!
//! ```text
//!   Tlsify::connect(&daemon, net).option(…).stdin(…).start() ─▶ Process ─▶ wait() ─▶ Done { status, stdout, said }
//!                            │
//!                            └─ descriptor 5; the events of --control come on 4
//! ```

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::built;
use crate::daemon::TestDaemon;
use crate::fds::Census;
use crate::peer::Peer;
use crate::pki::{KeyKind, SERVER_NAME, pki};
use crate::temp::TempDir;
use crate::wait::{LIMIT, until};

/// A command line that is being put together.
#[derive(Debug)]
pub struct Tlsify {
    /// Of the tool that it runs under, if any; then itself.
    before: Vec<OsString>,
    words: Vec<OsString>,
    program: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    net: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    script: String,
    dir: TempDir,
    group: bool,
}

/// A command under way. Dropped, it is killed.
#[derive(Debug)]
pub struct Process {
    child: Child,
    dir: TempDir,
}

/// How a command ended, and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to standard output, unless that was the test's own; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// What it wrote to standard error.
    pub said: String,
    /// What it wrote to descriptor 4.
    pub events: String,
}

impl Tlsify {
    /// `tlsify` with these words and no daemon named.
    pub fn new<W: Into<OsString>>(words: impl IntoIterator<Item = W>) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            before: vec![built::command().into()],
            words: words.into_iter().map(Into::into).collect(),
            program: Vec::new(),
            env: vec![("PATH".into(), path)],
            net: None,
            stdin: None,
            stdout: None,
            script: String::new(),
            dir: TempDir::new("command"),
            group: false,
        }
    }

    /// `tlsify connect --fd 5` for a peer that shows a good certificate for [`SERVER_NAME`].
    pub fn connect(daemon: &TestDaemon, net: impl Into<OwnedFd>) -> Self {
        Self::new(["connect", "--fd", "5", "--name", SERVER_NAME])
            .trusting(&pki().ca.file)
            .net(net)
            .asking(daemon)
    }

    /// `tlsify accept --fd 5` with the good certificate.
    pub fn accept(daemon: &TestDaemon, net: impl Into<OwnedFd>) -> Self {
        let server = pki().server(KeyKind::EcdsaP256);
        Self::new(["accept", "--fd", "5"])
            .option("--cert", &server.certificate_file)
            .option("--key", &server.key_file)
            .net(net)
            .asking(daemon)
    }

    /// Of this daemon.
    pub fn asking(self, daemon: &TestDaemon) -> Self {
        self.env("TLSIFY_SOCK", daemon.socket())
    }

    /// With this CA.
    pub fn trusting(self, file: &Path) -> Self {
        self.option("--trust", file)
    }

    /// The file that is started, instead of the one that was built.
    pub fn binary(mut self, file: impl Into<PathBuf>) -> Self {
        self.before = vec![file.into().into()];
        self
    }

    /// Under a tool: its words, and the file of the command as the last.
    pub fn under(mut self, words: impl IntoIterator<Item = OsString>) -> Self {
        self.before = words.into_iter().collect();
        self
    }

    /// With the signals that end a process as they are by default: whoever runs the tests may ignore some, as a shell
    /// does for what it runs in the background, and a shell cannot take that back.
    pub fn with_default_signals(mut self) -> Self {
        let words = ["/usr/bin/env", "--default-signal=INT,TERM,HUP"].map(OsString::from);
        self.before.splice(0..0, words);
        self
    }

    /// One more word.
    pub fn word(mut self, word: impl Into<OsString>) -> Self {
        self.words.push(word.into());
        self
    }

    /// An option with its value.
    pub fn option(self, name: &str, value: impl Into<OsString>) -> Self {
        self.word(name).word(value)
    }

    /// What comes after `--`.
    pub fn program<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.program = words.into_iter().map(Into::into).collect();
        self
    }

    /// `-- /bin/sh -c SCRIPT`
    pub fn shell(self, script: &str) -> Self {
        self.program(["/bin/sh", "-c", script])
    }

    /// A variable of its environment, which otherwise has PATH only. The last one of a name counts.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Descriptor 5.
    pub fn net(mut self, net: impl Into<OwnedFd>) -> Self {
        self.net = Some(net.into());
        self
    }

    /// Standard input, which is `/dev/null` otherwise.
    pub fn stdin(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.stdin = Some(fd.into());
        self
    }

    /// Standard output, which is kept for [`Done::stdout`] otherwise.
    pub fn stdout(mut self, fd: impl Into<OwnedFd>) -> Self {
        self.stdout = Some(fd.into());
        self
    }

    /// What the shell does with the descriptors before it becomes the command, such as `exec 0<&-`.
    pub fn script(mut self, line: &str) -> Self {
        self.script += line;
        self.script += "; ";
        self
    }

    /// `--control 4`, for [`Done::events`].
    pub fn events(self) -> Self {
        let line = format!("exec 4>'{}'", self.dir.path().join("events").display());
        self.option("--control", "4").script(&line)
    }

    /// In a process group of its own, which [`Process::signal_group`] reaches.
    pub fn in_group(mut self) -> Self {
        self.group = true;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(self) -> Process {
        let file = |name: &str| File::create(self.dir.path().join(name)).expect("the folder can be written");
        let null = || File::open("/dev/null").expect("/dev/null is there").into();
        // The shell's standard error is our input until it has moved it.
        let move_net = if self.net.is_some() { "exec 5<&0; " } else { "" };
        let script = format!("{move_net}exec 0<&2 2>\"$0\"; {}exec \"$@\"", self.script);
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).arg(self.dir.path().join("stderr")).args(self.before).args(self.words);
        if !self.program.is_empty() {
            command.arg("--").args(self.program);
        }
        command.env_clear().envs(self.env);
        command.stdin(self.net.map_or_else(null, Stdio::from));
        command.stdout(self.stdout.map_or_else(|| file("stdout").into(), Stdio::from));
        command.stderr(self.stdin.map_or_else(null, Stdio::from));
        if self.group {
            command.process_group(0);
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Process { child, dir: self.dir }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started, and when it takes longer than the rig's time limit.
    pub fn run(self) -> Done {
        self.start().wait()
    }
}

impl Process {
    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its status, if it has ended.
    pub fn poll(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our own child can be waited for")
    }

    /// Does the peer's part of the handshake.
    ///
    /// # Panics
    /// When it fails, with what the command said.
    #[track_caller]
    pub fn shakes(&mut self, peer: &mut Peer) {
        if let Err(error) = peer.handshake() {
            let status = until(LIMIT, || self.poll());
            panic!("the handshake failed ({error}), tlsify ended ({status:?}) and said:\n{}", self.said());
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it takes longer than the rig's time limit.
    #[track_caller]
    pub fn wait(mut self) -> Done {
        let status = until(LIMIT, || self.poll());
        let status = status.unwrap_or_else(|| panic!("tlsify runs on, and said:\n{}", self.said()));
        Done { status, stdout: self.read("stdout"), said: self.said(), events: self.read("events") }
    }

    /// Waits until it has ended, and then until what it has left is as wanted: somebody else may still be writing it.
    ///
    /// # Panics
    /// When either takes longer than the rig's time limit.
    #[track_caller]
    pub fn wait_with(mut self, wanted: impl Fn(&Self) -> bool) -> Done {
        let found = until(LIMIT, || (self.poll().is_some() && wanted(&self)).then_some(()));
        assert!(found.is_some(), "{}\n{}", self.stdout(), self.said());
        self.wait()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.read("stderr")
    }

    /// What it has written to its standard output so far.
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// Sends it a signal. Nothing happens when it has ended.
    pub fn signal(&mut self, signal: Signal) {
        self.send(signal, 1);
    }

    /// Sends a signal to its process group: it was started with [`Tlsify::in_group`].
    pub fn signal_group(&mut self, signal: Signal) {
        self.send(signal, -1);
    }

    fn send(&mut self, signal: Signal, sign: i32) {
        // Only while it is not waited for is the number certainly its own.
        if self.poll().is_none() {
            let pid: i32 = self.child.id().try_into().expect("a process id fits");
            let _ = kill(Pid::from_raw(sign * pid), signal);
        }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Done {
    /// It ended with this status, and said exactly this.
    ///
    /// # Panics
    /// When not, with all that there is to know.
    #[track_caller]
    pub fn with(self, status: i32, said: &str) -> Self {
        assert_eq!((self.status.code(), self.said.as_str()), (Some(status), said), "{self:?}");
        self
    }

    /// It ended with this status, and this is in what it said.
    ///
    /// # Panics
    /// When not, with all that there is to know.
    #[track_caller]
    pub fn saying(self, status: i32, part: &str) -> Self {
        assert_eq!(self.status.code(), Some(status), "{self:?}");
        assert!(self.said.contains(part), "not \"{part}\" but:\n{}", self.said);
        self
    }

    /// It ended well and in silence.
    ///
    /// # Panics
    /// When not, with all that there is to know.
    #[track_caller]
    pub fn clean(self) -> Self {
        self.with(0, "")
    }
}

/// Number and target of the descriptors that `ls -l /proc/self/fd` found open: without the folder that it listed, and
/// without those that whoever runs the tests has left open for all of us.
pub fn listed(listing: &str) -> BTreeMap<u32, String> {
    let ours = Census::of(std::process::id()).expect("a process may look at itself");
    let entries = listing.lines().filter_map(|line| {
        let (line, target) = line.split_once(" -> ")?;
        let number = line.rsplit(' ').next()?.parse().ok()?;
        Some((number, target))
    });
    let stray = |number, target| number > 9 && ours.iter().any(|own| own == (number, target));
    entries
        .filter(|&(number, target)| !target.ends_with("/fd") && !stray(number, target))
        .map(|(number, target)| (number, target.to_owned()))
        .collect()
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not an error when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_arrive_where_they_belong_and_nothing_else_does() {
        let file = |name: &str| File::open(name).unwrap();
        let done = Tlsify::new(["-l", "/proc/self/fd"])
            .binary("/bin/ls")
            .net(file("/dev/zero"))
            .stdin(file("/dev/full"))
            .run();
        let held = listed(&done.stdout);
        assert_eq!(held.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 5], "{done:?}");
        assert_eq!((held[&0].as_str(), held[&5].as_str()), ("/dev/full", "/dev/zero"));
    }
}
