//! `ssh-add` of OpenSSH as it is.

use std::fs;
use std::time::Duration;

use tlsifyd_tests::agent::Keys;
use tlsifyd_tests::program::Program;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, pki};

use super::{config, daemon};

/// What `ssh-keygen` makes that TLS has a use for, and in which files.
const MADE: [(&str, u32, &str); 11] = [
    ("ed25519", 256, "RFC4716"),
    ("ecdsa", 256, "RFC4716"),
    ("ecdsa", 256, "PKCS8"),
    ("ecdsa", 256, "PEM"),
    ("ecdsa", 384, "RFC4716"),
    ("ecdsa", 384, "PEM"),
    ("ecdsa", 521, "PKCS8"),
    ("ecdsa", 521, "RFC4716"),
    ("rsa", 2048, "RFC4716"),
    ("rsa", 3072, "PKCS8"),
    ("rsa", 4096, "PEM"),
];

fn fingerprint(of: &str) -> String {
    let listed = Program::run(std::process::Command::new("ssh-keygen").args(["-l", "-f", of])).ok();
    listed.split(' ').nth(1).expect("a fingerprint").to_owned()
}

#[test]
fn keys_of_all_kinds_and_files_are_added_listed_and_removed() {
    let Some(daemon) = daemon(String::new()) else { return };
    let keys = Keys::default();
    assert!(keys.ssh_add(&daemon, &["-l"]).stdout.contains("no identities"));
    for (kind, bits, format) in MADE {
        let file = keys.generate(kind, bits, format);
        let path = file.to_str().expect("plain");
        keys.ssh_add(&daemon, &[path]).ok();
        let listed = keys.ssh_add(&daemon, &["-l"]).ok();
        assert!(listed.contains(&fingerprint(path)), "{path}: {listed}");
        let public = fs::read_to_string(format!("{path}.pub")).expect("it was made, too");
        let key = public.split(' ').nth(1).expect("base64");
        assert!(keys.ssh_add(&daemon, &["-L"]).ok().contains(key), "{path}");
    }
    assert_eq!(keys.ssh_add(&daemon, &["-l"]).ok().lines().count(), MADE.len());
    let one = keys.generate("ed25519", 255, "RFC4716");
    keys.ssh_add(&daemon, &[one.to_str().expect("plain")]).ok();
    keys.ssh_add(&daemon, &["-d", one.to_str().expect("plain")]).ok();
    assert!(!keys.ssh_add(&daemon, &["-d", one.to_str().expect("plain")]).status.success(), "it is gone");
    assert_eq!(keys.ssh_add(&daemon, &["-l"]).ok().lines().count(), MADE.len());
    keys.ssh_add(&daemon, &["-D"]).ok();
    assert!(keys.ssh_add(&daemon, &["-l"]).stdout.contains("no identities"));
}

#[test]
fn keys_of_the_configuration_are_listed_and_come_back_with_a_reload() {
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    let keys = Keys::default();
    let file = pki().server(KeyKind::EcdsaP256).key_file.display().to_string();
    assert!(keys.ssh_add(&daemon, &["-l"]).ok().contains(&file));
    keys.ssh_add(&daemon, &["-D"]).ok();
    assert!(!keys.ssh_add(&daemon, &["-l"]).status.success());
    daemon.says("come back when it is reloaded");
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.says("configuration reloaded");
    assert!(keys.ssh_add(&daemon, &["-l"]).ok().contains(&file));
}

#[test]
fn a_lifetime_ends_by_itself() {
    let Some(daemon) = daemon(String::new()) else { return };
    let keys = Keys::default();
    let file = keys.generate("ed25519", 256, "RFC4716");
    keys.ssh_add(&daemon, &["-t", "1", file.to_str().expect("plain")]).ok();
    daemon.says("key added");
    until(LIMIT, || {
        std::thread::sleep(Duration::from_millis(50));
        keys.ssh_add(&daemon, &["-l"]).stdout.contains("no identities").then_some(())
    })
    .expect("it ends");
    daemon.says("key expired");
}

#[test]
fn what_cannot_be_kept_or_used_is_refused() {
    let Some(daemon) = daemon(String::new()) else { return };
    let keys = Keys::default();
    let good = keys.generate("ecdsa", 256, "RFC4716");
    let good = good.to_str().expect("plain");
    assert!(!keys.ssh_add(&daemon, &["-c", good]).status.success(), "nobody is there to confirm");
    daemon.says("refused a key: nobody is here to confirm uses");
    let short = keys.generate("rsa", 1024, "RFC4716");
    assert!(!keys.ssh_add(&daemon, &[short.to_str().expect("plain")]).status.success());
    let dsa = keys.generate("dsa", 1024, "RFC4716");
    assert!(!keys.ssh_add(&daemon, &[dsa.to_str().expect("plain")]).status.success());
    assert!(keys.ssh_add(&daemon, &["-l"]).stdout.contains("no identities"));
}

#[test]
fn a_key_that_is_lent_for_tls_signs_nothing_else() {
    let Some(daemon) = daemon(String::new()) else { return };
    let keys = Keys::default();
    let file = keys.generate("ed25519", 256, "RFC4716");
    let public = format!("{}.pub", file.display());
    keys.ssh_add(&daemon, &[file.to_str().expect("plain")]).ok();
    // Random bytes.
    assert!(!keys.ssh_add(&daemon, &["-T", &public]).status.success());
    // A file, as git signs a commit.
    fs::remove_file(&file).expect("it is ours");
    let mut sign = std::process::Command::new("ssh-keygen");
    sign.args(["-Y", "sign", "-n", "git", "-f", &public]).env("SSH_AUTH_SOCK", daemon.keys_socket());
    let signed = Program::run(&mut sign);
    assert!(!signed.status.success() && !signed.stdout.contains("SIGNATURE"), "{signed:?}");
    daemon.says("refused to sign what is no part of a TLS handshake");
}
