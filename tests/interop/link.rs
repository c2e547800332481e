//! "A link between two hosts" is done as the page says it: its shell runs as it stands, on two hosts that are two folders.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use tlsifyd_tests::{Output, Program, TempDir, TestDaemon, built, tool};

const PAGE: &str = include_str!("../../client-shim/LINK.md");

/// The nth block of this language in a section.
fn block(section: &str, language: &str, number: usize) -> &'static str {
    let section = PAGE.split(&format!("## {section}\n")).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("it ends");
    let text = section.split(&format!("```{language}\n")).nth(number + 1).expect("a block");
    text.split("```").next().expect("it ends")
}

/// A host: a folder with its key, and whom it knows.
struct Host {
    dir: TempDir,
    peer: String,
    next: String,
}

impl Host {
    fn new(name: &str) -> Self {
        let host = Self { dir: TempDir::new(name), peer: String::new(), next: String::new() };
        host.run(block("Keys", "sh", 0), 0, None).ok();
        let mode = fs::metadata(host.dir.path().join("link.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "nobody else reads the key");
        let program = host.dir.path().join("serve");
        fs::write(&program, "#!/bin/sh\nread word\necho \"$word of $SSL_PEER_SPKI_HASH\"\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        host
    }

    fn pin(&self) -> String {
        self.run(block("Keys", "sh", 1), 0, None).ok().trim_end().to_owned()
    }

    /// A shell of this host, whose port 9443 of left.example is `port` of localhost.
    fn shell(&self, text: &str, port: u16, daemon: Option<&TestDaemon>) -> Command {
        let folder =
            |program: &Path| program.parent().expect("programs lie in folders").display().to_string();
        let path = [folder(built::command()), folder(built::daemon()), env::var("PATH").unwrap_or_default()];
        let text = text.replace("left.example:9443", &format!("localhost:{port}"));
        let text = text.replace("left.example", "localhost");
        // The loopback only, a port that tcpserver finds and says, and no look-up of our own name.
        let text = text.replace("tcpserver -HR 0 9443", "exec tcpserver -HR -1 -l localhost 127.0.0.1 0");
        let mut shell = Command::new("sh");
        shell.args(["-euc", &text]).current_dir(self.dir.path()).env("PATH", path.join(":"));
        for name in ["CAFILE", "CADIR", "CERTFILE", "KEYFILE"] {
            shell.env_remove(name);
        }
        shell.env("PEER", &self.peer).env("NEXT", &self.next);
        shell.env("TLSIFY_SOCK", daemon.map_or(self.dir.path().join("nobody"), TestDaemon::socket));
        shell
    }

    fn run(&self, text: &str, port: u16, daemon: Option<&TestDaemon>) -> Output {
        Program::run(&mut self.shell(text, port, daemon))
    }

    /// Serves as this block says, at the port that it finds.
    fn serve(&self, text: &str, daemon: Option<&TestDaemon>) -> (Program, u16) {
        let mut server = Program::start(&mut self.shell(text, 0, daemon));
        let port = server.line_with("").parse().expect("tcpserver says its port");
        (server, port)
    }

    /// Connects as this block says, and says a word.
    fn say(&self, text: &str, port: u16, daemon: Option<&TestDaemon>) -> Output {
        self.run(&format!("echo word | {text}"), port, daemon)
    }
}

/// Two hosts that have told each other their pins; `None`: there are no tools.
fn hosts() -> Option<[Host; 2]> {
    let _ = (tool("openssl")?, tool("tcpserver")?);
    let [mut left, mut right] = ["left", "right"].map(Host::new);
    (left.peer, right.peer) = (right.pin(), left.pin());
    Some([left, right])
}

/// A whole answer, from one who was told that this is the client's key.
#[track_caller]
fn assert_open(said: Output, client: &Host) {
    assert_eq!(said.ok(), format!("word of sha256:{}\n", client.pin()));
}

#[track_caller]
fn assert_refused(said: &Output) {
    assert_eq!((said.status.code(), said.stdout.as_str()), (Some(98), ""), "{said:?}");
}

#[test]
fn two_keys_make_a_link_with_a_daemon_and_without() {
    let Some([left, mut right]) = hosts() else { return };
    let daemon = TestDaemon::start();
    daemon.wake_dialer(&daemon.client());
    let baseline = daemon.baseline();
    let connect = block("The link", "sh", 1);
    for daemon in [Some(&daemon), None] {
        let (_server, port) = left.serve(block("The link", "sh", 0), daemon);
        assert_open(right.say(connect, port, daemon), &right);
        // Nobody else gets in, and nobody else is reached.
        let stranger = Host { peer: right.peer.clone(), ..Host::new("stranger") };
        assert_refused(&stranger.say(connect, port, daemon));
        let peer = std::mem::replace(&mut right.peer, stranger.pin());
        let said = right.say(connect, port, daemon);
        assert_refused(&said);
        assert!(said.stderr.contains("peer's public key is not the pinned one"), "{said:?}");
        assert!(said.stderr.contains(&peer), "what it was is told: {said:?}");
        right.peer = peer;
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn a_key_is_changed_without_a_moment_in_which_nothing_goes() {
    let Some([mut left, right]) = hosts() else { return };
    let daemon = TestDaemon::start();
    let daemon = Some(&daemon);
    let said = right.run(block("Another key", "sh", 0), 0, None).ok();
    left.next = said.trim_end().to_owned();
    assert_ne!(left.next, left.peer);
    let connect = block("The link", "sh", 1);
    let (_server, port) = left.serve(block("Another key", "sh", 1), daemon);
    assert_open(right.say(connect, port, daemon), &right);
    let (_old_server, old_port) = left.serve(block("The link", "sh", 0), daemon);
    assert_open(right.say(connect, old_port, daemon), &right);
    right.run(block("Another key", "sh", 2), 0, None).ok();
    assert_open(right.say(connect, port, daemon), &right);
    assert_refused(&right.say(connect, old_port, daemon));
    // And then the new one is the only one.
    left.peer = right.pin();
    assert_eq!(left.peer, left.next);
    let (_new_server, port) = left.serve(block("The link", "sh", 0), daemon);
    assert_open(right.say(connect, port, daemon), &right);
}

#[test]
fn the_same_keys_in_their_own_certificates_make_the_same_link() {
    let Some([left, right]) = hosts() else { return };
    let daemon = TestDaemon::start();
    let [make, accept, connect] =
        [0, 1, 2].map(|number| block("With self-signed certificates", "sh", number));
    for host in [&left, &right] {
        host.run(make, 0, None).ok();
    }
    for daemon in [Some(&daemon), None] {
        let (_server, port) = left.serve(accept, daemon);
        assert_open(right.say(connect, port, daemon), &right);
        let stranger = Host { peer: right.peer.clone(), ..Host::new("stranger") };
        stranger.run(make, 0, None).ok();
        assert_refused(&stranger.say(connect, port, daemon));
        // The kinds do not mix by themselves.
        assert_refused(&right.say(block("The link", "sh", 1), port, daemon));
    }
}

#[test]
fn the_operators_profile_of_the_page_is_good() {
    let Some([left, _]) = hosts() else { return };
    let file = left.dir.path().join("tlsifyd.toml");
    // A user that every host has.
    fs::write(&file, block("Without the command", "toml", 0).replace("relay", "root")).unwrap();
    let mut check = Command::new(built::daemon());
    let said = Program::run(check.arg("check").arg("--config").arg(&file)).ok();
    assert!(said.contains("link.key, a raw public key"), "{said}");
}
