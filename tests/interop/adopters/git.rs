//! git over TLS without git knowing: `git daemon` behind `tlsify accept`, and `tlsify connect` as the transport of a
//! clone, a fetch and a push.

use std::path::PathBuf;
use std::process::Command;

use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{Output, Program, pki, tool};

use crate::{Host, accepting, server, tcpserver};

/// Bytes of the one file that is not small: many times what sockets and pipes take.
const LARGE: usize = 4 * 1024 * 1024;

/// A repository of one server, and people who work with it.
struct Forge {
    host: Host,
    git: PathBuf,
    _server: Program,
    port: u16,
}

impl Forge {
    fn with(identity: &Identity) -> Option<Self> {
        let (git, tcp) = (tool("git")?, tool("tcpserver")?);
        let host = Host::new();
        let base = format!("--base-path={}", host.path("served").display());
        let mut words = accepting(identity);
        words
            .extend(["git", "daemon", "--inetd", "--export-all", "--enable=receive-pack"].map(str::to_owned));
        words.push(base);
        let (server, port) = tcpserver(&mut host.command(tcp), &words);
        let forge = Self { host, git, _server: server, port };
        forge.git(&["init", "-q", "--bare", "-b", "main", "served/project.git"]).ok();
        Some(forge)
    }

    fn git(&self, words: &[&str]) -> Output {
        Program::run(&mut self.git_command(words))
    }

    fn git_command(&self, words: &[&str]) -> Command {
        let mut command = self.host.command(&self.git);
        // git asks before it starts a program that an address names.
        command.args(["-c", "protocol.ext.allow=always", "-c", "user.name=A", "-c", "user.email=a@example"]);
        command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").args(words);
        command
    }

    /// The address of the repository.
    fn url(&self) -> String {
        address("localhost", self.port)
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.host.path(path), text).unwrap();
    }

    fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.host.path(path)).unwrap()
    }
}

/// Of a repository behind `git daemon`.
fn address(host: &str, port: u16) -> String {
    format!("ext::tlsify connect {host}:{port} %G/project.git")
}

/// Bytes that do not become fewer when they are packed.
fn incompressible() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(LARGE);
    while bytes.len() < LARGE {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes
}

#[test]
fn git_clones_pushes_and_fetches() {
    let Some(forge) = Forge::with(server()) else { return };
    let url = forge.url();
    forge.git(&["clone", "-q", &url, "mine"]).ok();
    forge.write("mine/hello", "hello\n");
    forge.write("mine/large", incompressible());
    forge.git(&["-C", "mine", "checkout", "-q", "-B", "main"]).ok();
    forge.git(&["-C", "mine", "add", "."]).ok();
    forge.git(&["-C", "mine", "commit", "-q", "-m", "first"]).ok();
    forge.git(&["-C", "mine", "push", "-q", "origin", "main"]).ok();

    forge.git(&["clone", "-q", &url, "yours"]).ok();
    assert_eq!(forge.read("yours/hello"), b"hello\n");
    assert_eq!(forge.read("yours/large"), incompressible());

    forge.write("mine/hello", "hello again\n");
    forge.git(&["-C", "mine", "commit", "-q", "-a", "-m", "second"]).ok();
    forge.git(&["-C", "mine", "push", "-q", "origin", "main"]).ok();
    forge.git(&["-C", "yours", "pull", "-q", "--ff-only"]).ok();
    assert_eq!(forge.read("yours/hello"), b"hello again\n");
    forge.git(&["-C", "yours", "fsck", "--strict"]).ok();
    forge.host.is_at_rest();
}

#[test]
fn git_clones_nothing_from_somebody_else() {
    // Our own server says by itself whom it does not know.
    let not_known = "tlsify: the peer sent alert 112 (unrecognized_name)";
    let not_trusted = "tlsify: peer's certificate";
    let refused =
        [(&pki().wrong_name, not_known), (&pki().wrong_ca, not_trusted), (&pki().expired, not_trusted)];
    for (identity, told) in refused {
        let Some(forge) = Forge::with(identity) else { return };
        let output = forge.git(&["clone", "-q", &forge.url(), "mine"]);
        assert_eq!(output.status.code(), Some(128), "{output:?}");
        assert!(output.stderr.contains(told), "{}", output.stderr);
        assert!(!forge.host.path("mine").exists());
        forge.host.is_at_rest();
    }
}

#[test]
fn git_without_a_daemon_clones_with_one_of_its_own() {
    let Some(forge) = Forge::with(server()) else { return };
    let mut command = forge.git_command(&["clone", "-q", &forge.url(), "mine"]);
    Program::run(command.env("TLSIFY_SOCK", forge.host.path("absent"))).ok();
    assert!(forge.host.path("mine/.git").is_dir());
    forge.host.is_at_rest();
}

#[test]
fn the_address_in_the_documents_is_the_one_that_is_tested() {
    let readme = include_str!("../../../README.md");
    let manual = include_str!("../../../packaging/man/tlsify.1").replace("\\-", "-");
    let address = address("git.example", 9419);
    for document in [readme, &manual] {
        assert!(document.contains(&format!("git -c protocol.ext.allow=always clone \"{address}\"")));
    }
}
