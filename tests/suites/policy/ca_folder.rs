//! A folder of authorities as a descriptor: plain files count, and only those that the caller could have opened. The
//! daemon may be allowed more than its callers.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use tlsify_client::{Client, Code, Connect, Error, Trust};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{KeyKind, Peer, TempDir, TestDaemon, User, pki, running, tcp_pair, user};

/// A folder that everybody may list.
fn folder() -> TempDir {
    let dir = TempDir::new("ca");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// Puts a file there that these may read.
fn put(dir: &TempDir, name: &str, pem: &str, mode: u32) {
    let path = dir.path().join(name);
    fs::write(&path, pem).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// Connects to the good server, trusting this: the code when that comes to nothing.
fn connect(client: &Client, ca: OwnedFd) -> Option<Code> {
    let (net, far) = tcp_pair();
    let config = server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS);
    let peer = running("server", move || Peer::server(far, config).handshake());
    let request = Connect::new(net).name(SERVER_NAME).trust(Trust::ca(ca));
    let result = client.connect_tls(&request);
    drop(request);
    // How it looks from there is another suite's business.
    let _ = peer.join();
    match result {
        Ok(_) => None,
        Err(error @ (Error::Refused(_) | Error::Failed(_))) => error.code(),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_plain_file_of_the_folder_counts_and_nothing_else_in_it() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let baseline = daemon.baseline();
    let (good, other) = (&pki().ca.pem, &pki().other_ca.pem);
    let dir = folder();
    assert_eq!(connect(&client, open(dir.path())), Some(Code::TrustUnusable), "an empty folder");
    put(&dir, "other.pem", other, 0o644);
    for (name, text) in [("good.txt", good), (".good.pem", good), ("good.pem~", good)] {
        put(&dir, name, text, 0o644);
    }
    fs::create_dir(dir.path().join("folder.pem")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe.pem"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    assert_eq!(connect(&client, open(dir.path())), Some(Code::UnknownIssuer), "only the other one counts");
    put(&dir, "good.crt", good, 0o644);
    assert_eq!(connect(&client, open(dir.path())), None);
    daemon.settled_fds(&baseline);
}

#[test]
fn links_out_of_the_folder_are_not_followed() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let dir = folder();
    put(&dir, "other.pem", &pki().other_ca.pem, 0o644);
    symlink(&pki().ca.file, dir.path().join("good.pem")).unwrap();
    symlink("/nowhere", dir.path().join("broken.pem")).unwrap();
    assert_eq!(connect(&client, open(dir.path())), Some(Code::UnknownIssuer));
}

#[test]
fn files_that_the_caller_could_not_open_are_skipped() {
    if !user::is_root("files_that_the_caller_could_not_open_are_skipped") {
        return;
    }
    let daemon = TestDaemon::start();
    let caller = User { groups: vec![2001], ..User::new(1001) };
    let client = caller.client(&daemon);
    let dir = folder();
    put(&dir, "other.pem", &pki().other_ca.pem, 0o644);
    put(&dir, "good.pem", &pki().ca.pem, 0o600);
    let folder = || caller.run(|| open(dir.path()));
    assert_eq!(connect(&client, folder()), Some(Code::UnknownIssuer), "root's alone");
    assert_eq!(connect(&daemon.client(), open(dir.path())), None, "and root's it is");
    let file = dir.path().join("good.pem");
    std::os::unix::fs::chown(&file, None, Some(2001)).unwrap();
    assert_eq!(connect(&client, folder()), Some(Code::UnknownIssuer), "of the group, not for the group");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(connect(&client, folder()), None, "for the group");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o604)).unwrap();
    assert_eq!(connect(&client, folder()), Some(Code::UnknownIssuer), "for all but the group");
}

#[test]
fn a_folder_that_was_opened_as_a_path_only_is_not_read() {
    if !user::is_root("a_folder_that_was_opened_as_a_path_only_is_not_read") {
        return;
    }
    let daemon = TestDaemon::start();
    let caller = User::new(1001);
    let client = caller.client(&daemon);
    let dir = folder();
    put(&dir, "good.pem", &pki().ca.pem, 0o644);
    // Whoever may pass through a folder and not list it gets no list of it from the daemon.
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let path_only = caller.run(|| {
        assert!(File::open(dir.path()).is_err());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap()
    });
    assert_eq!(connect(&client, path_only), Some(Code::DescriptorKind));
}

#[test]
fn a_folder_that_the_caller_may_list_and_not_enter_is_not_read_for_it() {
    if !user::is_root("a_folder_that_the_caller_may_list_and_not_enter_is_not_read_for_it") {
        return;
    }
    let daemon = TestDaemon::start();
    let caller = User::new(1001);
    let client = caller.client(&daemon);
    let dir = folder();
    put(&dir, "good.pem", &pki().ca.pem, 0o644);
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o744)).unwrap();
    let ca = || caller.run(|| open(dir.path()));
    assert_eq!(connect(&client, ca()), Some(Code::DescriptorUnreadable));
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o745)).unwrap();
    assert_eq!(connect(&client, ca()), None);
}
