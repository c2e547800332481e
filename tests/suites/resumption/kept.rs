//! Keys in a file: they outlive the daemon, belong to several, and are nobody else's.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use tlsify_client::{Accept, Client, Code, Error};
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{TempDir, TestDaemon, User, tcp_pair};

use super::EACH;
use super::served::{session, visitor, with_good};

struct Keys {
    _dir: TempDir,
    path: PathBuf,
}

impl Keys {
    fn new() -> Self {
        let dir = TempDir::new("keys");
        let path = dir.path().join("tickets");
        Self { _dir: dir, path }
    }

    fn open(&self) -> File {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.path)
            .unwrap()
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }
}

#[track_caller]
fn resumed(client: &Client, visitor: &Arc<ClientConfig>, keys: impl Fn() -> File) -> bool {
    session(client, visitor, |request| with_good(request).resume_file(keys())).resumed
}

/// Why a request with this file is refused.
#[track_caller]
fn refused(client: &Client, file: File) -> (Code, String) {
    let (_near, far) = tcp_pair();
    match client.accept(&with_good(Accept::new(far)).resume_file(file)) {
        Err(Error::Refused(refused)) => {
            assert_eq!(refused.about.as_deref(), Some("tickets"), "{refused:?}");
            (refused.code, refused.text)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tickets_outlive_the_daemon_with_keys_in_a_file() {
    for versions in EACH {
        let (keys, visitor) = (Keys::new(), visitor(versions));
        let first = TestDaemon::start();
        let baseline = first.baseline();
        assert!(!resumed(&first.client(), &visitor, || keys.open()));
        let written = keys.bytes();
        assert!(written.starts_with(b"tlsify tickets 1") && written.len() == 512);
        assert!(resumed(&first.client(), &visitor, || keys.open()));
        assert_eq!(keys.bytes(), written, "it is not written for each session");
        first.settled_fds(&baseline);
        drop(first);
        let second = TestDaemon::start();
        assert!(resumed(&second.client(), &visitor, || keys.open()), "after a restart");
        // A copy is as good, for a machine that only reads it.
        let copy = Keys::new();
        fs::copy(&keys.path, &copy.path).unwrap();
        let third = TestDaemon::start();
        assert!(resumed(&third.client(), &visitor, || File::open(&copy.path).unwrap()), "another machine");
        assert_eq!((keys.bytes(), copy.bytes()), (written.clone(), written));
    }
}

#[test]
fn a_file_and_a_name_are_different_stores_and_so_are_two_files() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for versions in EACH {
        let (keys, other, visitor) = (Keys::new(), Keys::new(), visitor(versions));
        assert!(!resumed(&client, &visitor, || keys.open()));
        assert!(!session(&client, &visitor, |request| with_good(request).resume("tickets")).resumed);
        assert!(!resumed(&client, &visitor, || other.open()));
        assert!(!resumed(&client, &visitor, || keys.open()), "that was the other file's ticket");
        assert!(resumed(&client, &visitor, || keys.open()));
        // Another file of the same path.
        fs::remove_file(&keys.path).unwrap();
        assert!(!resumed(&client, &visitor, || keys.open()));
    }
}

/// As a tool would that distributes keys: the file changes, and the next request sees it.
#[test]
fn a_file_that_somebody_replaced_is_read_again() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (keys, other, visitor) = (Keys::new(), Keys::new(), visitor(EACH[1]));
    assert!(!resumed(&client, &visitor, || keys.open()));
    assert!(resumed(&client, &visitor, || keys.open()));
    assert!(!resumed(&client, &visitor, || other.open()));
    fs::write(&keys.path, other.bytes()).unwrap();
    assert!(resumed(&client, &visitor, || keys.open()), "the key of the other file is in it now");
    // Emptied, it begins anew.
    fs::write(&keys.path, b"").unwrap();
    assert!(!resumed(&client, &visitor, || keys.open()));
    assert_eq!(keys.bytes().len(), 512);
}

#[test]
fn a_file_that_is_damaged_or_something_else_is_refused_and_left_as_it_is() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let keys = Keys::new();
    resumed(&client, &visitor(EACH[1]), || keys.open());
    let mut damaged = keys.bytes();
    damaged[200] ^= 1;
    let texts: [(&[u8], &str); 3] = [
        (&damaged, "it is damaged, its checksum is wrong"),
        (b"-----BEGIN PRIVATE KEY-----\n", "it is not a file of ticket keys"),
        (&[b'x'; 2000], "is larger than 1024 bytes"),
    ];
    for (bytes, text) in texts {
        fs::write(&keys.path, bytes).unwrap();
        let (code, said) = refused(&client, keys.open());
        assert_eq!(code, Code::DescriptorUnreadable, "{said}");
        assert!(said.contains(text), "{said}");
        assert_eq!(keys.bytes(), bytes);
    }
    fs::write(&keys.path, b"").unwrap();
    let (code, said) = refused(&client, File::open(&keys.path).unwrap());
    assert_eq!(code, Code::DescriptorUnreadable);
    assert!(said.contains("it is empty, and open for reading only"), "{said}");
}

#[test]
fn a_file_that_others_may_open_or_that_is_no_file_is_refused() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let keys = Keys::new();
    let open = keys.open();
    let with = |path: &Path, write: bool| OpenOptions::new().read(!write).write(write).open(path).unwrap();
    for (mode, file, text) in [
        (0o640, keys.open(), "open to its group or to others"),
        (0o604, keys.open(), "open to its group or to others"),
        (0o600, with(&keys.path, true), "open for writing only"),
        (0o600, OpenOptions::new().read(true).append(true).open(&keys.path).unwrap(), "open for appending"),
        (0o600, with(Path::new("/dev/null"), false), "is a character device"),
    ] {
        open.set_permissions(Permissions::from_mode(mode)).unwrap();
        let (code, said) = refused(&client, file);
        assert_eq!(code, Code::DescriptorKind, "{said}");
        assert!(said.contains(text), "{said}");
    }
    assert!(keys.bytes().is_empty(), "nothing was written");
}

#[test]
fn another_users_file_is_refused_whoever_opened_it() {
    if !is_root("another user's file") {
        return;
    }
    let daemon = TestDaemon::start();
    let keys = Keys::new();
    resumed(&daemon.client(), &visitor(EACH[1]), || keys.open());
    // It got the descriptor from root, which does not make it its own.
    let client = User::new(12_345).client(&daemon);
    let (code, said) = refused(&client, keys.open());
    assert_eq!(code, Code::DescriptorKind);
    assert!(said.contains("another user's file"), "{said}");
}

/// Many requests with a file that is new, through several control connections and two daemons: one key.
#[test]
fn all_who_come_at_once_with_an_empty_file_agree_on_one_key() {
    let daemons = [TestDaemon::start(), TestDaemon::start()];
    for _ in 0..3 {
        let keys = Keys::new();
        let barrier = std::sync::Barrier::new(6);
        let visitors: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..6)
                .map(|at| {
                    let (daemon, keys, barrier) = (&daemons[at % 2], &keys, &barrier);
                    scope.spawn(move || {
                        let (client, visitor) = (daemon.client(), visitor(EACH[1]));
                        let file = keys.open();
                        barrier.wait();
                        assert!(!resumed(&client, &visitor, || file.try_clone().unwrap()));
                        visitor
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(keys.bytes().len(), 512, "written once");
        for daemon in &daemons {
            for visitor in &visitors {
                assert!(resumed(&daemon.client(), visitor, || keys.open()));
            }
        }
    }
}
