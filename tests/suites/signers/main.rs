//! Private keys that somebody else has: ssh-agents and tokens that work, hang, vanish, come back, refuse and lie.

mod agents;
mod lies;
mod looked_at;
mod tokens;
mod troubled;

use std::time::Duration;

use tlsify_client::{Accept, Client, Code, Error, Failed};
use tlsifyd_tests::peer::{BOTH_VERSIONS, ONLY_TLS12, ONLY_TLS13, client_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::until;
use tlsifyd_tests::{Peer, TestDaemon, pki, running, tcp_pair};

/// A `[[signer]]` that is an agent, with a deadline that a test can wait for.
fn agent(name: &str, socket: &std::path::Path) -> String {
    format!("[[signer]]\nname = \"{name}\"\nagent = \"{}\"\ndeadline = \"500ms\"\n", socket.display())
}

/// As [`agent`] says it.
const DEADLINE: Duration = Duration::from_millis(500);

/// A handshake as the server with this profile, to its end on both sides.
fn handshake(client: &Client, profile: &str) -> Result<(), Box<Failed>> {
    handshake_as(client, profile, BOTH_VERSIONS)
}

fn handshake_as(
    client: &Client,
    profile: &str,
    versions: &'static [&'static rustls::SupportedProtocolVersion],
) -> Result<(), Box<Failed>> {
    let (ours, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile(profile)).expect("requests are taken");
    let config = client_config(pki().ca.roots(), versions, None);
    let peer = running("peer", move || {
        let mut peer = Peer::client(ours, config, SERVER_NAME);
        // It stays: the daemon's side is done a moment later.
        peer.handshake().map(|()| peer)
    });
    match pending.wait() {
        Ok(_established) => {
            peer.join().expect("the peer agrees");
            Ok(())
        }
        Err(Error::Failed(failed)) => {
            peer.join().expect_err("the peer was not answered");
            Err(failed)
        }
        Err(other) => panic!("{other}"),
    }
}

/// Asserts that a handshake with this profile fails for this reason, which names the signer.
#[track_caller]
fn assert_fails(client: &Client, profile: &str, code: Code) -> Box<Failed> {
    let failed = handshake(client, profile).expect_err("it fails");
    assert_eq!(failed.code, code, "{failed:?}");
    assert!(failed.text.contains("signer \""), "{failed:?}");
    failed
}

/// Waits until handshakes with this profile are served again.
#[track_caller]
fn assert_recovers(daemon: &TestDaemon, profile: &str) {
    let client = daemon.client();
    let recovered = until(tlsifyd_tests::wait::LIMIT, || handshake(&client, profile).ok());
    assert!(recovered.is_some(), "still not served:\n{}", daemon.log());
}

/// The daemon's process of this name.
fn process(daemon: &TestDaemon, name: &str) -> Option<u32> {
    daemon.pids().into_iter().find(|pid| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.trim_end() == name
    })
}

/// What an agent answers to a request; `None`: it closes the connection.
type Lie = fn(&[u8]) -> Option<Vec<u8>>;
