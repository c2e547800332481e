//! The early adopters with their own programs: BusyBox' wget, git, IRC, mail, UCSPI servers, a shell. What a person would
//! have to write to use `tlsify` with one of them lies beside this file, as scripts that can be taken away.

mod busybox;
mod git;
mod irc;
mod mail;
mod ucspi;

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{Census, KeyKind, Program, TempDir, TestDaemon, built, pki};

/// A machine on which `tlsify` is installed and its daemon runs.
struct Host {
    daemon: TestDaemon,
    before: Census,
    /// Its programs, first in PATH, and whatever a test puts there.
    dir: TempDir,
}

impl Host {
    fn new() -> Self {
        let (daemon, dir) = (TestDaemon::start(), TempDir::new("host"));
        let (command, private) = (built::command(), built::daemon());
        for (name, program) in [("tlsify", command), ("ssl_client", command), ("tlsifyd", private)] {
            symlink(program, dir.path().join(name)).expect("a folder of our own takes links");
        }
        // Some of the programs have it connect for them, and it is there from then on.
        daemon.wake_dialer(&daemon.client());
        Self { before: daemon.baseline(), daemon, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A program as its user starts it: in this folder, with an environment that says where programs are, where the
    /// daemon is, and that the good CA is to be trusted.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = [self.dir.path().to_owned()].into_iter().chain(std::env::split_paths(&path));
        command.env_clear().current_dir(self.dir.path()).env("HOME", self.dir.path());
        command.env("PATH", std::env::join_paths(folders).expect("PATH was one"));
        command.env("TLSIFY_SOCK", self.daemon.socket()).env("CAFILE", &pki().ca.file);
        command
    }

    /// A server in Python beside this file with this certificate, and its port.
    fn python(&self, python: &Path, script: &str, identity: &Identity) -> (Program, u16) {
        let mut command = self.command(python);
        command.arg(here(script)).arg(&identity.certificate_file).arg(&identity.key_file);
        listening(&mut command, "port ")
    }

    /// What was done on it left nothing in the daemon.
    fn is_at_rest(&self) {
        self.daemon.settled_fds(&self.before);
    }
}

/// Starts a server, which says its port behind these words.
fn listening(command: &mut Command, words: &str) -> (Program, u16) {
    let mut program = Program::start(command);
    let line = program.line_with(words);
    let (_, port) = line.split_once(words).expect("they are in the line");
    let port = port.trim().parse().unwrap_or_else(|error| panic!("{line}: {error}"));
    (program, port)
}

/// `tcpserver -1` with this behind it, on a port of its choice.
fn tcpserver(command: &mut Command, words: &[String]) -> (Program, u16) {
    // -1 says the port; no names, no remote user: nothing that would ask somebody else.
    listening(command.args(["-1", "-H", "-R", "-l", "localhost", "127.0.0.1", "0"]).args(words), "")
}

/// `tlsify accept … --` with the good certificate, as words.
fn accepting(identity: &Identity) -> Vec<String> {
    let path = |file: &Path| file.to_str().expect("our own paths are UTF-8").to_owned();
    let [certificate, key] = [path(&identity.certificate_file), path(&identity.key_file)];
    ["tlsify", "accept", "--cert", &certificate, "--key", &key, "--"].map(str::to_owned).to_vec()
}

/// A file beside this one.
fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/adopters").join(name)
}

fn server() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}
