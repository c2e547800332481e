//! A floor that changes: what callers had defined before is bound by the one of now.

use nix::sys::signal::Signal;
use rustls::crypto::aws_lc_rs::kx_group::X25519;
use tlsify_client::{Accept, Client, Code, Connect, Error, Level, Profile, Trust, Version};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::open_as;
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Open, Peer, TestDaemon, pki, running, tcp_pair};

use super::{Versions, client_with, failed, good, refused, server, server_with};

const MODERN: &str = "[tls]\nlevel = \"modern\"\n";

/// Replaces the file, and waits for the line about it.
fn reload(daemon: &TestDaemon, config: &str, line: &str) {
    daemon.write_config(config);
    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    let said = until(LIMIT, || daemon.log()[before..].contains(line).then_some(()));
    assert!(said.is_some(), "no \"{line}\" in:\n{}", daemon.log());
}

/// A client that has these versions comes to a profile of the caller's.
fn accept(caller: &Client, profile: &str, versions: Versions) -> Result<Open, Error> {
    let (ours, net) = tcp_pair();
    let config = client_with(&[X25519], versions);
    let peer = running("client", move || Peer::client(ours, config, SERVER_NAME).handshake());
    let open = caller.accept(&Accept::new(net).profile(profile)).map(Open::new);
    let _ = peer.join();
    open
}

/// The same in the other role.
fn connect(caller: &Client, profile: &str, versions: Versions) -> Result<Open, Error> {
    let (net, theirs) = tcp_pair();
    let config = server_with(&[X25519], versions);
    let peer = running("server", move || Peer::server(theirs, config).handshake());
    let open = caller.connect_tls(&Connect::new(net).name(SERVER_NAME).profile(profile)).map(Open::new);
    let _ = peer.join();
    open
}

fn client(name: &str) -> Profile {
    Profile::client(name).trust(Trust::ca(pki().ca.fd()))
}

#[test]
fn profiles_defined_before_a_stricter_floor_are_bound_by_it() {
    let daemon = TestDaemon::with_config("");
    let caller = daemon.client();
    for profile in [
        server("server"),
        server("old-server").min_version(Version::Tls12),
        client("client"),
        client("old-client").level(Level::Intermediate),
    ] {
        caller.define(&profile).unwrap();
    }
    let mut early = open_as(&caller, "server");
    for result in [accept(&caller, "server", ONLY_TLS12), connect(&caller, "client", ONLY_TLS12)] {
        assert_eq!(result.unwrap().facts.level, Some(Level::Intermediate));
    }
    reload(&daemon, MODERN, "configuration reloaded");
    // What asked for nothing in particular is hardened; what asked for less is refused by the key that did.
    assert_eq!(failed(accept(&caller, "server", ONLY_TLS12)), (Code::NoSharedVersion, 70));
    assert_eq!(failed(connect(&caller, "client", ONLY_TLS12)), (Code::AlertReceived, 70));
    for result in [accept(&caller, "server", ONLY_TLS13), connect(&caller, "client", ONLY_TLS13)] {
        assert_eq!(result.unwrap().facts.level, Some(Level::Modern));
    }
    let (_ours, net) = tcp_pair();
    let told = refused(caller.accept(&Accept::new(net).profile("old-server")));
    assert_eq!(told, (Code::BelowFloor, "min".to_owned()));
    let (net, _theirs) = tcp_pair();
    let told = refused(caller.connect_tls(&Connect::new(net).name(SERVER_NAME).profile("old-client")));
    assert_eq!(told, (Code::BelowFloor, "level".to_owned()));
    early.assert_alive();
    // Taken back, everything is as it was.
    reload(&daemon, "", "configuration reloaded");
    for name in ["server", "old-server"] {
        assert_eq!(accept(&caller, name, ONLY_TLS12).unwrap().facts.level, Some(Level::Intermediate));
    }
    assert!(connect(&caller, "old-client", ONLY_TLS12).is_ok());
}

#[test]
fn a_floor_that_a_profile_of_the_file_is_below_changes_nothing() {
    let old = server_profile(
        "mail",
        "users = [\"*\"]\nmaximum = \"1.2\"",
        &good().certificate_file,
        &good().key_file,
    );
    let daemon = TestDaemon::with_config(old.clone());
    let caller = daemon.client();
    caller.define(&server("server")).unwrap();
    reload(&daemon, &format!("{MODERN}{old}"), "maximum 1.2 is below the host's floor 1.3");
    for name in ["mail", "server"] {
        assert_eq!(accept(&caller, name, ONLY_TLS12).unwrap().facts.level, Some(Level::Intermediate));
    }
    assert_eq!(daemon.client().hello().level, None);
}
