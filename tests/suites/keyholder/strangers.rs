//! Who may use the keyholder's socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tlsifyd_tests::agent::Keys;
use tlsifyd_tests::program::Program;
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{KeyKind, TestDaemon, tool};

use super::{SHOP, config, daemon, shake};

const STRANGER: u32 = 54_321;

/// `ssh-add -l` of another user.
fn listed_by(uid: u32, keys: &Keys, daemon: &TestDaemon) -> String {
    fs::set_permissions(daemon.dir(), fs::Permissions::from_mode(0o711)).expect("it is ours");
    let add = keys.command(&daemon.keys_socket(), &["-l"]);
    let mut command = std::process::Command::new("setpriv");
    let uid = uid.to_string();
    command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "ssh-add", "-l"]).env_clear();
    command.envs(add.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let done = Program::run(&mut command);
    done.stdout + &done.stderr
}

#[test]
fn only_root_and_users_who_are_named_get_an_answer() {
    if !is_root("the keyholder's users") || tool("setpriv").is_none() {
        return;
    }
    let open = "[keys]\nsocket-mode = \"0666\"\n";
    let Some(daemon) = daemon(format!("{open}{}", config(KeyKind::EcdsaP256))) else { return };
    let keys = Keys::default();
    let said = listed_by(STRANGER, &keys, &daemon);
    assert!(!said.contains("ECDSA"), "{said}");
    daemon.says(&format!("uid {STRANGER}"));
    daemon.says("may not use keys.sock");
    daemon.write_config(&format!("{open}users = [{STRANGER}]\n{}", config(KeyKind::EcdsaP256)));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    daemon.says("configuration reloaded");
    let said = listed_by(STRANGER, &keys, &daemon);
    assert!(said.contains("ECDSA"), "{said}");
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_daemon() {
    let Some(daemon) = daemon(String::new()) else { return };
    let mode = fs::metadata(daemon.keys_socket()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    daemon.terminate();
    daemon.wait();
    assert!(!daemon.keys_socket().exists());
}

#[test]
fn a_daemon_without_the_socket_serves_all_the_same() {
    let nowhere = format!("[keys]\nsocket = \"none\"\n{}", config(KeyKind::EcdsaP256));
    let Some(daemon) = daemon(nowhere) else { return };
    assert!(!daemon.keys_socket().exists());
    shake(&daemon.client(), SHOP).expect("the keyholder is there");
}

#[test]
fn who_holds_half_a_message_holds_up_nobody() {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    let stuck: Vec<UnixStream> = (0..200)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.keys_socket()).expect("it listens");
            // The last ones may be closed already: there are more than are let in.
            let _ = stream.write_all(&[0, 0, 1, 0, 11]);
            stream
        })
        .collect();
    shake(&daemon.client(), SHOP).expect("handshakes have connections of their own");
    drop(stuck);
    let keys = Keys::default();
    let listed = tlsifyd_tests::wait::until(tlsifyd_tests::wait::LIMIT, || {
        Some(keys.ssh_add(&daemon, &["-l"])).filter(|listed| listed.status.success())
    });
    assert!(listed.expect("there is room again").stdout.contains("ECDSA"));
}
