//! A keyholder that crashes.

use tlsify_client::Code;
use tlsifyd_tests::agent::Keys;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, pki};

use super::{SHOP, config, daemon, fails, shake};

#[test]
fn after_a_crash_the_same_worker_serves_with_the_next_keyholder_and_added_keys_are_lost() {
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    let (keys, client) = (Keys::default(), daemon.client());
    let file = keys.generate("ed25519", 256, "RFC4716");
    keys.ssh_add(&daemon, &[file.to_str().expect("plain")]).ok();
    let mut open = tlsifyd_tests::handover::open_as(&client, SHOP);
    let worker = daemon.worker();
    daemon.kill_keyholder();
    daemon.says("keys are held again");
    shake(&client, SHOP).expect("the configuration's key is there again");
    open.assert_alive();
    assert_eq!(daemon.worker(), worker);
    let listed = keys.ssh_add(&daemon, &["-l"]).ok();
    assert!(listed.contains(&pki().server(KeyKind::EcdsaP256).key_file.display().to_string()), "{listed}");
    assert_eq!(listed.lines().count(), 1, "what ssh-add had added is lost: {listed}");
    daemon.says("without the keys that ssh-add had added");
}

#[test]
fn a_key_by_descriptor_is_lost_with_its_keyholder_and_its_caller_is_told() {
    let Some(daemon) = daemon(String::new()) else { return };
    let (client, identity) = (daemon.client(), pki().server(KeyKind::EcdsaP256));
    let profile = |name| {
        tlsify_client::Profile::server(name).certificate(identity.certificate_fd()).key(identity.key_fd())
    };
    client.define(&profile("mine")).expect("it is good");
    daemon.kill_keyholder();
    daemon.says("keys are held again");
    fails(&client, "mine", Code::KeyForgotten);
    client.define(&profile("mine")).expect("the next one takes it");
    shake(&client, "mine").expect("it is there again");
}

#[test]
fn a_keyholder_that_crashes_again_and_again_ends_the_daemon_with_its_own_status() {
    let Some(daemon) = daemon(String::new()) else { return };
    let ended = until(LIMIT, || {
        if let Some((pid, _)) = daemon.parts().into_iter().find(|(_, name)| name == "tlsifyd-keys") {
            let pid = nix::unistd::Pid::from_raw(pid.try_into().expect("it fits"));
            // It may have gone by itself.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSEGV);
        }
        daemon.poll()
    });
    assert_eq!(ended.expect("it gives up").code(), Some(99), "{}", daemon.log());
    daemon.says("was killed by SIGSEGV");
}

#[test]
fn a_crash_does_not_unlock() {
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    let (keys, client) = (Keys::default(), daemon.client());
    keys.ssh_add(&daemon, &["-x"]).ok();
    fails(&client, SHOP, Code::KeyLocked);
    daemon.kill_keyholder();
    daemon.says("keys are held again");
    fails(&client, SHOP, Code::KeyLocked);
    keys.ssh_add(&daemon, &["-X"]).ok();
    shake(&client, SHOP).expect("unlocked, with the key of the configuration");
}
