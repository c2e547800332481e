//! Stores that are a file or a directory: known by which it is, to whoever of the same user opens it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustls::ClientConfig;
use tlsify_client::{Client, Code, Error, Profile, Role, Scope};
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{RawAnswer, RawCaller, TempDir, TestDaemon, TicketServer, User, packets, pki, tcp_pair};

use super::counted::stores;
use super::served::{session, visitor, with_good};
use super::{EACH, and, good};

/// A session as the client with this store. Gives `established`, or what else came.
#[track_caller]
fn at(caller: &RawCaller, place: &OwnedFd, server: &TicketServer) -> RawAnswer {
    let ca = pki().ca.fd();
    let mut told = packets::connect(caller, 1, &and(""), &[("ca", &ca), ("tickets", place)], &server.config);
    told.hear();
    told.end(caller)
}

#[track_caller]
fn resumed(caller: &RawCaller, place: &OwnedFd, server: &TicketServer) -> bool {
    at(caller, place, server).get("resumed") == Some("yes")
}

/// The same as the server, for a client that keeps its tickets.
#[track_caller]
fn served(client: &Client, place: &Path, visitor: &Arc<ClientConfig>) -> bool {
    session(client, visitor, |request| with_good(request).resume_file(open(place))).resumed
}

fn open(path: &Path) -> OwnedFd {
    File::open(path).unwrap().into()
}

/// A file that only this user may open, made if it is not there.
fn file(path: &Path) -> OwnedFd {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).unwrap().into()
}

#[test]
fn a_client_finds_its_tickets_by_any_way_to_the_same_place_and_nothing_is_written_there() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for versions in EACH {
        let dir = TempDir::new("place");
        let (folder, kept) = (dir.path().join("folder"), dir.path().join("file"));
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        drop(file(&kept));
        let server = TicketServer::new(good(), versions);
        for place in [&folder, &kept] {
            let asked = |path: &Path| resumed(&RawCaller::connect(daemon.socket()), &open(path), &server);
            assert!(!asked(place), "{}", place.display());
            assert!(asked(place), "another control connection and another descriptor");
            let link = dir.path().join("link");
            symlink(place, &link).unwrap();
            assert!(asked(&link), "another path");
            fs::remove_file(&link).unwrap();
        }
        let written = (fs::read_dir(&folder).unwrap().count(), fs::read(&kept).unwrap());
        assert_eq!(written, (0, Vec::new()));
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn two_places_and_a_name_are_three_stores() {
    let daemon = TestDaemon::start();
    let (caller, client) = (RawCaller::connect(daemon.socket()), daemon.client());
    for versions in EACH {
        let dirs = [TempDir::new("one"), TempDir::new("other")];
        let [one, other] = [&dirs[0], &dirs[1]].map(|dir| open(dir.path()));
        let server = TicketServer::new(good(), versions);
        assert!(!resumed(&caller, &one, &server));
        assert!(!resumed(&caller, &other, &server));
        assert!(!super::resumed(&caller, "resume=directory\n", &server));
        assert_eq!(server.shown(), 0);
        assert!(resumed(&caller, &one, &server) && resumed(&caller, &other, &server));
        // What is remembered as a client is no key of a server.
        let visitor = visitor(versions);
        let [one, other] = [dirs[0].path(), dirs[1].path()];
        assert_eq!((served(&client, one, &visitor), served(&client, other, &visitor)), (false, false));
        assert!(!session(&client, &visitor, |request| with_good(request).resume("directory")).resumed);
        assert!(!served(&client, other, &visitor), "that was the name's ticket");
        assert!(served(&client, other, &visitor));
        assert_eq!(fs::read_dir(one).unwrap().count(), 0);
    }
}

#[test]
fn a_servers_directory_keeps_its_keys_in_memory() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for versions in EACH {
        let (dir, visitor) = (TempDir::new("keys"), visitor(versions));
        let asked = |daemon: &TestDaemon| served(&daemon.client(), dir.path(), &visitor);
        assert_eq!((asked(&daemon), asked(&daemon), asked(&daemon)), (false, true, true));
        let next = TestDaemon::start();
        assert!(!asked(&next), "there was nothing to be read");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    daemon.settled_fds(&baseline);
}

/// The number of the inode comes again, on most file systems. Some have no times of birth to tell the two apart by.
#[test]
fn a_new_file_in_the_place_of_an_old_one_is_another_store() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let dir = TempDir::new("place");
    let path = dir.path().join("store");
    if fs::metadata(dir.path()).is_ok_and(|it| it.created().is_err()) {
        return;
    }
    let server = TicketServer::new(good(), EACH[1]);
    assert!(!resumed(&caller, &file(&path), &server));
    assert!(resumed(&caller, &file(&path), &server));
    server.shown();
    fs::remove_file(&path).unwrap();
    assert!(!resumed(&caller, &file(&path), &server));
    assert_eq!(server.shown(), 0);
}

/// Why each request that takes a store refuses this one.
#[track_caller]
fn refused(client: &Client, store: &OwnedFd, text: &str) {
    let copy = || store.try_clone().unwrap();
    let (_near, far) = tcp_pair();
    let connect = tlsify_client::Connect::new(far).name("db.example").resume_file(copy());
    let (_near, far) = tcp_pair();
    let accept = with_good(tlsify_client::Accept::new(far)).resume_file(copy());
    let answers = [
        ("connect", client.connect_tls(&connect).err()),
        ("accept", client.accept(&accept).err()),
        ("define", client.define(&Profile::client("bad").resume_file(copy())).err()),
        ("forget", client.forget_file(store, None).err()),
    ];
    for (verb, answer) in answers {
        let Some(Error::Refused(refused)) = answer else { panic!("{verb}: {answer:?}") };
        assert_eq!(
            (refused.code, refused.about.as_deref()),
            (Code::DescriptorKind, Some("tickets")),
            "{verb}"
        );
        assert!(refused.text.contains(text), "{verb}: {}", refused.text);
    }
}

#[test]
fn what_others_may_open_or_is_no_place_is_refused_by_every_request() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    daemon.wake_pool(&daemon.client());
    let baseline = daemon.baseline();
    let dir = TempDir::new("place");
    let kept = dir.path().join("file");
    drop(file(&kept));
    for bits in [0o040, 0o020, 0o010, 0o004, 0o001] {
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700 | bits)).unwrap();
        refused(&client, &open(dir.path()), "a directory that is open to its group or to others");
        fs::set_permissions(&kept, Permissions::from_mode(0o600 | bits)).unwrap();
        refused(&client, &open(&kept), "a file that is open to its group or to others");
    }
    for (path, text) in
        [("/dev/null", "is a character device"), ("/proc/self/ns/net", "must be a regular file")]
    {
        if let Ok(other) = File::open(path) {
            refused(&client, &other.into(), text);
        }
    }
    refused(&client, &rustix::pipe::pipe().unwrap().0, "is a pipe");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    refused(&client, &rustix::fs::open(dir.path(), flags, Mode::empty()).unwrap(), "opened as a path only");
    daemon.settled_fds(&baseline);
}

#[test]
fn another_users_directory_is_refused_whoever_opened_it() {
    if !is_root("another user's directory") {
        return;
    }
    let daemon = TestDaemon::start();
    let dir = TempDir::new("place");
    // It got the descriptor from root, which does not make it its own.
    let client = User::new(12_345).client(&daemon);
    refused(&client, &open(dir.path()), "another user's directory");
}

#[test]
fn a_forgotten_place_is_empty_in_the_role_that_was_said() {
    let daemon = TestDaemon::start();
    let (caller, client) = (RawCaller::connect(daemon.socket()), daemon.client());
    for versions in EACH {
        let dir = TempDir::new("place");
        let place = open(dir.path());
        let (server, visitor) = (TicketServer::new(good(), versions), visitor(versions));
        let asked = || (resumed(&caller, &place, &server), served(&client, dir.path(), &visitor));
        let forget = |role| client.forget_file(&place, role).unwrap();
        assert_eq!(forget(None), 0);
        assert_eq!((asked(), asked()), ((false, false), (true, true)));
        assert_eq!(forget(Some(Role::Client)), 1);
        assert_eq!(asked(), (false, true));
        assert_eq!(forget(Some(Role::Server)), 1);
        assert_eq!(asked(), (true, false));
        assert_eq!(forget(None), 2);
        assert_eq!(asked(), (false, false));
        forget(None);
        assert!(stores(&client, Scope::Own).is_empty());
    }
}

#[test]
fn a_forgotten_file_of_keys_has_a_new_one_and_other_daemons_follow() {
    let daemons = [TestDaemon::start(), TestDaemon::start()];
    let clients = [daemons[0].client(), daemons[1].client()];
    for versions in EACH {
        let (dir, visitor) = (TempDir::new("keys"), visitor(versions));
        let path = dir.path().join("keys");
        let asked = |at: usize| {
            session(&clients[at], &visitor, |request| with_good(request).resume_file(file(&path))).resumed
        };
        assert_eq!(clients[0].forget_file(file(&path), Some(Role::Server)).unwrap(), 0, "it is empty");
        assert_eq!((asked(0), asked(1)), (false, true));
        let old = fs::read(&path).unwrap();
        assert_eq!(clients[0].forget_file(file(&path), None).unwrap(), 1);
        let new = fs::read(&path).unwrap();
        // The key of the first place in the first half, behind when it began and which it is.
        assert!(!new.windows(32).any(|bytes| bytes == &old[40..72]), "the old key is still there");
        assert_eq!((asked(1), asked(0), asked(1)), (false, true, true));
        assert_eq!(fs::read(&path).unwrap(), new);
    }
}

#[test]
fn a_file_of_keys_that_cannot_be_written_or_is_none_is_not_emptied() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (dir, visitor) = (TempDir::new("keys"), visitor(EACH[1]));
    let path = dir.path().join("keys");
    let asked = || session(&client, &visitor, |request| with_good(request).resume_file(file(&path))).resumed;
    assert!(!asked());
    let Err(Error::Refused(refused)) = client.forget_file(open(&path), None) else { panic!("it is refused") };
    assert_eq!(refused.code, Code::DescriptorKind);
    assert!(refused.text.contains("open for reading only"), "{}", refused.text);
    assert!(asked(), "nothing has happened");
    let other = dir.path().join("diary");
    fs::write(&other, "dear diary").unwrap();
    fs::set_permissions(&other, Permissions::from_mode(0o600)).unwrap();
    let Err(Error::Refused(refused)) = client.forget_file(file(&other), Some(Role::Server)) else {
        panic!("it is refused")
    };
    assert_eq!(refused.code, Code::DescriptorUnreadable);
    assert!(refused.text.contains("it is not a file of ticket keys"), "{}", refused.text);
    // As a client's store it may be.
    assert_eq!(client.forget_file(file(&other), None).unwrap(), 0);
    assert_eq!(fs::read(&other).unwrap(), b"dear diary");
}

#[test]
fn places_are_listed_as_what_they_are() {
    let daemon = TestDaemon::start();
    let (caller, client) = (RawCaller::connect(daemon.socket()), daemon.client());
    let dir = TempDir::new("place");
    at(&caller, &open(dir.path()), &TicketServer::new(good(), EACH[1]));
    served(&client, dir.path(), &visitor(EACH[1]));
    let path = dir.path().join("keys");
    session(&client, &visitor(EACH[1]), |request| with_good(request).resume_file(file(&path)));
    let mut listed: Vec<_> = stores(&client, Scope::Own)
        .into_iter()
        .map(|line| (line["role"].clone(), line["store"].split(':').map(str::to_owned).collect::<Vec<_>>()))
        .collect();
    listed.sort();
    let kinds: Vec<_> =
        listed.iter().map(|(role, name)| (role.as_str(), name[0].as_str(), name.len())).collect();
    assert_eq!(kinds, [("client", "directory", 4), ("server", "directory", 4), ("server", "file", 4)]);
    assert_eq!(listed[0].1, listed[1].1, "it is the same directory");
}
