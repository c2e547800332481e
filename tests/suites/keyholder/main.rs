//! Private keys in a process of their own: OpenSSH's `ssh-add` as it is, what locked and forgotten keys do to handshakes,
//! a keyholder that crashes, and where in memory keys are and are not.

mod handshakes;
mod memory;
mod restart;
mod ssh_add;
mod strangers;

use tlsify_client::{Accept, Client, Code, Error, Failed};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::client_peer;
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, TestDaemon, pki, running, tcp_pair};

/// The profile that everybody may use here.
const SHOP: &str = "shop";

/// A configuration with one profile, whose key is in its file.
fn config(kind: KeyKind) -> String {
    let identity = pki().server(kind);
    server_profile(SHOP, "users = [\"*\"]", &identity.certificate_file, &identity.key_file)
}

/// The same whose key comes by ssh-add: known by its hash.
fn config_by_hash(identity: &Identity) -> String {
    format!(
        "[[profile]]\nname = \"{SHOP}\"\nrole = \"server\"\nusers = [\"*\"]\n[[profile.identity]]\n\
         certificate = \"{}\"\nkey = \"spki-sha256:{}\"\n",
        identity.certificate_file.display(),
        identity.spki_sha256
    )
}

/// A daemon for this configuration, if OpenSSH's tools are there.
fn daemon(config: String) -> Option<TestDaemon> {
    tlsifyd_tests::tool("ssh-add")?;
    tlsifyd_tests::tool("ssh-keygen")?;
    Some(TestDaemon::with_config(config))
}

/// A handshake with a profile: the daemon's failure, if it fails.
fn shake(client: &Client, profile: &str) -> Result<(), Box<Failed>> {
    let (near, far) = tcp_pair();
    let pending = client.start_accept(&Accept::new(far).profile(profile)).expect("the daemon takes requests");
    let peer = running("a peer", move || {
        let mut peer = client_peer(near);
        peer.handshake().is_ok()
    });
    let ended = pending.wait();
    assert_eq!(peer.join(), ended.is_ok(), "both ends say the same");
    match ended {
        Ok(_) => Ok(()),
        Err(Error::Failed(failed)) => Err(failed),
        Err(other) => panic!("{other:?}"),
    }
}

/// Asserts that a handshake fails for this reason.
#[track_caller]
fn fails(client: &Client, profile: &str, code: Code) -> Box<Failed> {
    let failed = shake(client, profile).expect_err("no key signs");
    assert_eq!(failed.code, code, "{failed:?}");
    failed
}
