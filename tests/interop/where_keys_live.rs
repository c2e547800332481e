//! "Where private keys live" is done as the page says it: its shell and its configuration run as they stand, in a folder
//! that stands for /etc/tlsifyd and /run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tlsify_client::{Accept, Code, Error};
use tlsifyd_tests::agent::Keys;
use tlsifyd_tests::handover::client_peer;
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::signers::TOKEN_USER;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Output, Program, TempDir, TestDaemon, built, pki, running, tcp_pair, tool};

const PAGE: &str = include_str!("../../packaging/KEYS.md");

/// The nth block of this language in a section.
fn block(section: &str, language: &str, number: usize) -> &'static str {
    let section = PAGE.split(&format!("## {section}\n")).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().expect("it ends");
    let text = section.split(&format!("```{language}\n")).nth(number + 1).expect("a block");
    text.split("```").next().expect("it ends")
}

/// A host on which somebody follows the page.
struct Host {
    /// Where the person is, with the key and the certificate; and what is /etc/tlsifyd and /run there.
    dir: TempDir,
    daemon: TestDaemon,
    keys: Keys,
}

impl Host {
    /// With a key and a certificate of these names; `None`: there are no tools.
    fn new(name: &str) -> Option<Self> {
        let _ = (tool("ssh-add")?, tool("ssh-keygen")?, tool("ssh-agent")?);
        let (dir, daemon) = (TempDir::new("where"), TestDaemon::with_config(""));
        let Identity { certificate_file, key_file, .. } = pki().server(KeyKind::EcdsaP256);
        fs::copy(key_file, dir.path().join(format!("{name}.key"))).expect("ours");
        for folder in [dir.path(), daemon.dir()] {
            fs::copy(certificate_file, folder.join(format!("{name}.pem"))).expect("ours");
        }
        Some(Self { dir, daemon, keys: Keys::default() })
    }

    fn here(&self, text: &str) -> String {
        let etc = self.daemon.dir().display().to_string();
        let text = text.replace("/run/tlsifyd/keys.sock", &self.daemon.keys_socket().display().to_string());
        let text = text.replace("/run/tls-agent", &format!("{}/tls-agent", self.dir.path().display()));
        let text = text.replace("/etc/tlsifyd", &etc).replace("\"www-data\"", &geteuid().to_string());
        // A host without the package's users.
        text.replace("chown -R tlsifyd-token", &format!("chown -R {TOKEN_USER}"))
    }

    /// Runs a block of shell as root of a host with the service.
    fn run(&self, text: &str) -> Output {
        let folder = |program: &Path| program.parent().expect("in a folder").display().to_string();
        let path = format!("{}:{}", folder(built::daemon()), env::var("PATH").unwrap_or_default());
        let config = self.daemon.dir().join("tlsifyd.toml");
        let text =
            self.here(text).replace("tlsifyd check", &format!("tlsifyd check --config {}", config.display()));
        let text = text.replace("systemctl reload tlsifyd", &format!("kill -HUP {}", self.daemon.pid()));
        // What the rig gives to ssh-add: its socket, and who answers for the person.
        let ssh_add = self.keys.command(&self.daemon.keys_socket(), &[]);
        let mut run = Command::new("sh");
        run.args(["-euc", &text]).current_dir(self.dir.path());
        run.envs(ssh_add.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", path);
        Program::run(&mut run)
    }

    /// The configuration is this block, and the service is told.
    fn configure(&self, text: &str) {
        self.daemon.write_config(&self.here(text));
        let said = self.run(block("A file", "sh", 1));
        assert!(said.stdout.contains(": good\n"), "{said:?}");
        assert!(!said.stdout.contains("warning: signer"), "{said:?}");
        assert!(said.status.success(), "{said:?}");
        self.daemon.says("configuration reloaded");
    }

    /// A handshake with the profile: why it failed, if it did.
    fn shake(&self, profile: &str) -> Result<(), Code> {
        let (near, far) = tcp_pair();
        let client = self.daemon.client();
        let pending = client.start_accept(&Accept::new(far).profile(profile)).expect("taken");
        // It stays until the daemon's side is done, a moment later.
        let peer = running("a peer", move || {
            let mut peer = client_peer(near);
            peer.handshake().map(|()| peer)
        });
        let ended = match pending.wait() {
            Ok(_) => Ok(()),
            Err(Error::Failed(failed)) => Err(failed.code),
            Err(other) => panic!("{other}\n{}", self.daemon.log()),
        };
        assert_eq!(peer.join().is_ok(), ended.is_ok(), "both ends say the same");
        ended
    }
}

#[test]
fn a_key_in_a_file_is_served_after_a_reload() {
    let Some(host) = Host::new("shop") else { return };
    host.run(block("A file", "sh", 0)).ok();
    host.configure(block("A file", "toml", 0));
    assert_eq!(host.shake("shop"), Ok(()));
}

#[test]
fn a_key_is_brought_locked_unlocked_and_taken_away_with_ssh_add() {
    let Some(host) = Host::new("later") else { return };
    let (sh, toml) = (|number| block("ssh-add", "sh", number), block("ssh-add", "toml", 0));
    let pin = host.run(sh(0)).ok();
    let example = toml.split('"').find(|word| word.starts_with("spki-sha256:")).expect("a hash");
    host.configure(&toml.replace(example, pin.trim_end()));
    assert_eq!(host.shake("later"), Err(Code::KeyForgotten));
    assert!(host.run(sh(1)).ok().contains("(ECDSA)"));
    assert_eq!(host.shake("later"), Ok(()));
    host.run(sh(3)).ok();
    assert_eq!(host.shake("later"), Err(Code::KeyLocked));
    host.run(sh(4)).ok();
    assert_eq!(host.shake("later"), Ok(()));
    host.run(sh(2)).ok();
    assert_eq!(host.shake("later"), Err(Code::KeyForgotten));
    host.run("ssh-add -t 8h later.key").ok();
    assert_eq!(host.shake("later"), Ok(()));
}

#[test]
fn a_key_stays_with_an_ssh_agent() {
    let Some(host) = Host::new("vault") else { return };
    let said = host.run(&format!("{}\necho \"pid=$SSH_AGENT_PID\"", block("An agent", "sh", 0))).ok();
    let agent = said.split("pid=").nth(1).and_then(|pid| pid.trim().parse().ok()).expect("it is told");
    let agent = Pid::from_raw(agent);
    host.configure(block("An agent", "toml", 0));
    let open = host.shake("vault");
    kill(agent, Signal::SIGTERM).expect("it is there");
    assert_eq!(open, Ok(()), "{}", host.daemon.log());
    let gone = until(LIMIT, || host.shake("vault").err()).expect("it ends");
    assert_eq!(gone, Code::SignerUnreachable);
}

#[test]
fn a_key_is_put_on_a_token_in_software() {
    let Some(_) = tool("softhsm2-util") else { return };
    let Some(host) = Host::new("vault") else { return };
    // The package makes /etc/tlsifyd for everybody to enter, and these are root's own.
    fs::set_permissions(host.daemon.dir(), fs::Permissions::from_mode(0o711)).expect("ours");
    let root = geteuid().is_root();
    let text = block("A token", "sh", 0);
    let text: String = text
        .lines()
        .filter(|line| root || !line.starts_with("chown"))
        .map(|line| format!("{line}\n"))
        .collect();
    host.run(&text).ok();
    host.configure(block("A token", "toml", 0));
    assert_eq!(host.shake("vault"), Ok(()), "{}", host.daemon.log());
}
