//! `--tickets`: a store that is a file or a folder, which the command opens itself.

use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config, server_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{KeyKind, Peer, TempDir, TestDaemon, Tlsify, pki, tcp_pair};

/// Whether two commands, one after the other, open a full session and then resume it.
fn as_client(daemon: &TestDaemon, store: &Path) {
    // One server in both cases: its tickets are its own.
    let config = Arc::new(server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS));
    for resumed in ["resumed=no", "resumed=yes"] {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::connect(daemon, ours).option("--tickets", store.to_str().unwrap());
        let mut process = call.events().start();
        let mut peer = Peer::server(theirs, Arc::clone(&config));
        process.shakes(&mut peer);
        peer.write_all(b"after the tickets").unwrap();
        peer.half_close().unwrap();
        peer.read_to_end().unwrap();
        let told = process.wait().clean().events;
        assert!(told.lines().any(|line| line == resumed), "{told}");
    }
}

fn as_server(daemon: &TestDaemon, store: &Path) {
    let mut config = client_config(pki().ca.roots(), BOTH_VERSIONS, None);
    config.resumption = rustls::client::Resumption::in_memory_sessions(32);
    let config = Arc::new(config);
    for resumed in ["resumed=no", "resumed=yes"] {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::accept(daemon, theirs).option("--tickets", store.to_str().unwrap());
        let mut process = call.events().start();
        let mut peer = Peer::client(ours, Arc::clone(&config), SERVER_NAME);
        process.shakes(&mut peer);
        peer.half_close().unwrap();
        peer.read_to_end().unwrap();
        let told = process.wait().clean().events;
        assert!(told.lines().any(|line| line == resumed), "{told}");
    }
}

#[test]
fn a_file_or_a_folder_is_a_store_for_the_commands_that_open_it() {
    let daemon = TestDaemon::start();
    let dir = TempDir::new("stores");
    let file = dir.path().join("keys");
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file).unwrap();
    as_client(&daemon, dir.path());
    as_client(&daemon, &file);
    assert_eq!(fs::read(&file).unwrap(), b"", "nothing is written for a client");
    as_server(&daemon, dir.path());
    as_server(&daemon, &file);
    assert_eq!(fs::read(&file).unwrap().len(), 512, "it was opened for writing");
}

#[test]
fn a_store_that_is_not_there_or_open_to_others_is_said() {
    let daemon = TestDaemon::start();
    let dir = TempDir::new("stores");
    let (_near, far) = tcp_pair();
    let call = Tlsify::connect(&daemon, far).option("--tickets", dir.path().join("absent").to_str().unwrap());
    let told = call.start().wait();
    assert!(told.said.contains("as the tickets: no such file or directory"), "{}", told.said);
    fs::set_permissions(dir.path(), Permissions::from_mode(0o750)).unwrap();
    let (_near, far) = tcp_pair();
    let told = Tlsify::connect(&daemon, far).option("--tickets", dir.path().to_str().unwrap()).start().wait();
    assert!(told.said.contains("refused (descriptor-kind)"), "{}", told.said);
    assert!(told.said.contains("a directory that is open to its group or to others"), "{}", told.said);
}
