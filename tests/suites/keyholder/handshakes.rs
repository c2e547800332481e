//! What becomes of handshakes when a key is locked, forgotten, and there again.

use nix::sys::signal::Signal;
use tlsify_client::{Blame, Code, Profile};
use tlsifyd_tests::agent::{Keys, PASSPHRASE};
use tlsifyd_tests::{KeyKind, Output, TestDaemon, pki};

use super::{SHOP, config, config_by_hash, daemon, fails, shake};

fn define(daemon: &TestDaemon, name: &str) -> tlsify_client::Client {
    let (client, identity) = (daemon.client(), pki().server(KeyKind::EcdsaP256));
    let profile = Profile::server(name).certificate(identity.certificate_fd()).key(identity.key_fd());
    client.define(&profile).expect("it is good");
    client
}

#[test]
fn handshakes_of_all_kinds_of_keys_are_signed_by_the_keyholder() {
    for kind in KeyKind::ALL {
        let Some(daemon) = daemon(config(kind)) else { return };
        shake(&daemon.client(), SHOP).unwrap_or_else(|failed| panic!("{kind:?}: {failed:?}"));
    }
}

#[test]
fn a_locked_keyholder_fails_handshakes_with_that_reason_until_it_is_unlocked() {
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    let (keys, operators) = (Keys::default(), daemon.client());
    let callers = define(&daemon, "mine");
    keys.ssh_add(&daemon, &["-x"]).ok();
    for (client, profile) in [(&operators, SHOP), (&callers, "mine")] {
        let failed = fails(client, profile, Code::KeyLocked);
        assert_eq!(failed.blame, Blame::Operator, "{failed:?}");
    }
    assert!(keys.ssh_add(&daemon, &["-l"]).stdout.contains("no identities"));
    let wrong = |answer: &str| -> Output {
        let mut command = keys.command(&daemon.keys_socket(), &["-X"]);
        tlsifyd_tests::Program::run(command.env("ANSWER", answer))
    };
    assert!(!wrong("battery staple").status.success());
    daemon.says("wrong passphrase");
    fails(&operators, SHOP, Code::KeyLocked);
    assert!(wrong(PASSPHRASE).status.success());
    shake(&operators, SHOP).expect("unlocked");
    shake(&callers, "mine").expect("unlocked");
    assert!(!daemon.log().contains(PASSPHRASE) && !daemon.log().contains("battery"));
}

#[test]
fn a_forgotten_key_fails_handshakes_with_that_reason_until_it_is_added_again() {
    let identity = pki().server(KeyKind::Rsa2048);
    let Some(daemon) = daemon(config_by_hash(identity)) else { return };
    let (keys, client) = (Keys::default(), daemon.client());
    let file = identity.key_file.to_str().expect("plain");
    fails(&client, SHOP, Code::KeyForgotten);
    for _ in 0..2 {
        keys.ssh_add(&daemon, &["-q", file]).ok();
        shake(&client, SHOP).expect("it is there");
        keys.ssh_add(&daemon, &["-D"]).ok();
        let failed = fails(&client, SHOP, Code::KeyForgotten);
        assert_eq!(failed.blame, Blame::Operator, "{failed:?}");
    }
}

#[test]
fn a_key_of_the_configuration_that_was_removed_signs_again_after_a_reload() {
    let Some(daemon) = daemon(config(KeyKind::Ed25519)) else { return };
    let (keys, client) = (Keys::default(), daemon.client());
    shake(&client, SHOP).expect("it is there");
    keys.ssh_add(&daemon, &["-D"]).ok();
    fails(&client, SHOP, Code::KeyForgotten);
    daemon.signal(Signal::SIGHUP);
    daemon.says("configuration reloaded");
    shake(&client, SHOP).expect("it is there again");
}

#[test]
fn a_callers_key_is_not_the_operators_to_remove() {
    let Some(daemon) = daemon(String::new()) else { return };
    let keys = Keys::default();
    let client = define(&daemon, "mine");
    assert!(keys.ssh_add(&daemon, &["-l"]).stdout.contains("no identities"));
    keys.ssh_add(&daemon, &["-D"]).ok();
    shake(&client, "mine").expect("it is the caller's");
}
