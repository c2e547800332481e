//! OpenSSH's own tools against the keyholder, and keys as it makes them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::TestDaemon;
use crate::program::{Output, Program};
use crate::temp::TempDir;
use crate::wait::{LIMIT, until};

/// The name of a keyholder's process.
pub const KEYHOLDER: &str = "tlsifyd-keys";

/// What `-x` and `-X` are told, by the program that OpenSSH asks.
pub const PASSPHRASE: &str = "correct horse";

/// A folder with keys of `ssh-keygen`'s, and the program that answers for a person.
#[derive(Debug)]
pub struct Keys {
    dir: TempDir,
}

impl Default for Keys {
    fn default() -> Self {
        let dir = TempDir::new("keys");
        let ask = dir.path().join("ask");
        fs::write(&ask, format!("#!/bin/sh\necho \"${{ANSWER:-{PASSPHRASE}}}\"\n")).expect("it is ours");
        fs::set_permissions(&ask, fs::Permissions::from_mode(0o700)).expect("it is ours");
        Self { dir }
    }
}

impl Keys {
    /// A new key, as `ssh-keygen -t KIND -b BITS -m FORMAT` makes it, and its file. The comment is the file's name.
    ///
    /// # Panics
    /// When ssh-keygen fails.
    pub fn generate(&self, kind: &str, bits: u32, format: &str) -> PathBuf {
        let name = format!("{kind}-{bits}-{format}");
        let file = self.dir.path().join(&name);
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-N", "", "-t", kind, "-b", &bits.to_string(), "-m", format, "-C", &name, "-f"]);
        Program::run(keygen.arg(&file)).ok();
        file
    }

    /// `ssh-add` with these words, on this socket.
    pub fn ssh_add_at(&self, socket: &Path, words: &[&str]) -> Output {
        Program::run(&mut self.command(socket, words))
    }

    /// The same on a daemon's.
    pub fn ssh_add(&self, daemon: &TestDaemon, words: &[&str]) -> Output {
        self.ssh_add_at(&daemon.keys_socket(), words)
    }

    /// `ssh-add`, for who has something to add.
    pub fn command(&self, socket: &Path, words: &[&str]) -> Command {
        let mut command = Command::new("ssh-add");
        command.args(words).env_clear().env("SSH_AUTH_SOCK", socket).env("PATH", "/usr/bin:/bin");
        command.env("SSH_ASKPASS", self.dir.path().join("ask")).env("SSH_ASKPASS_REQUIRE", "force");
        command
    }
}

impl TestDaemon {
    /// Where its keyholder listens.
    pub fn keys_socket(&self) -> PathBuf {
        self.dir().join("sock-keys.sock")
    }

    /// The process with the keys, waited for when it is not there.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn keyholder(&self) -> u32 {
        let found = until(LIMIT, || Some(self.parts().into_iter().find(|(_, name)| name == KEYHOLDER)?.0));
        found.unwrap_or_else(|| panic!("there is no keyholder after {LIMIT:?}\n{}", self.log()))
    }

    /// Kills the keyholder, and waits for another.
    ///
    /// # Panics
    /// When there is none in time.
    pub fn kill_keyholder(&self) -> u32 {
        let before = self.keyholder();
        kill(Pid::from_raw(before.try_into().expect("it fits")), Signal::SIGKILL).expect("it is there");
        until(LIMIT, || Some(self.keyholder()).filter(|now| *now != before))
            .unwrap_or_else(|| panic!("no other keyholder after {LIMIT:?}\n{}", self.log()))
    }

    /// Waits until it has said this in its log.
    ///
    /// # Panics
    /// When it has not in time.
    pub fn says(&self, text: &str) {
        until(LIMIT, || self.log().contains(text).then_some(()))
            .unwrap_or_else(|| panic!("\"{text}\" is not said after {LIMIT:?}\n{}", self.log()));
    }
}
