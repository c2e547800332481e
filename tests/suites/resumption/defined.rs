//! Stores of profiles: sent once, for all the sessions that follow.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::ClientConfig;
use tlsify_client::{Choice, Client, Code, Error, Profile};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{RawCaller, TempDir, TestDaemon, TicketServer, pki};

use super::served::{session, visitor, with_good};
use super::{EACH, good};

fn keys(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).unwrap()
}

fn profile() -> Profile {
    Profile::server("web").certificate(good().certificate_fd()).key(good().key_fd())
}

#[track_caller]
fn resumed(client: &Client, visitor: &Arc<ClientConfig>) -> bool {
    session(client, visitor, |request| request.profile("web")).resumed
}

#[test]
fn a_servers_sessions_resume_in_the_store_of_their_profile_unless_they_name_another() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for versions in EACH {
        let dir = TempDir::new("keys");
        let file = dir.path().join("keys");
        let all: [(&str, &dyn Fn() -> Profile); 3] = [
            ("name", &|| profile().resume("mine")),
            ("directory", &|| profile().resume_file(File::open(dir.path()).unwrap())),
            ("file", &|| profile().resume_file(keys(&file))),
        ];
        for (what, profile) in all {
            let (client, visitor) = (daemon.client(), visitor(versions));
            client.define(&profile()).unwrap();
            assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, true), "{what}");
            let other = || session(&client, &visitor, |it| it.profile("web").resume("other")).resumed;
            assert_eq!((other(), other()), (false, true), "{what}");
            assert!(!resumed(&client, &visitor), "{what}: that was the other store's ticket");
            // The same store, named in the request.
            let again = session(&client, &visitor, |request| match what {
                "name" => with_good(request).resume("mine"),
                "directory" => with_good(request).resume_file(File::open(dir.path()).unwrap()),
                _ => with_good(request).resume_file(keys(&file)),
            });
            assert!(again.resumed, "{what}");
            client.forget("other", None).unwrap();
            client.forget("mine", None).unwrap();
        }
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn a_clients_sessions_do_too() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for versions in EACH {
        let (dir, caller) = (TempDir::new("place"), RawCaller::connect(daemon.socket()));
        let server = TicketServer::new(good(), versions);
        let (ca, place) = (pki().ca.fd(), File::open(dir.path()).unwrap());
        let define = |keys: &str| format!("tlsify/1 define\nid=9\nrole=client\ntrust=descriptor\n{keys}");
        let named = caller.ask(define("profile=named\nfds=ca\nresume=mine\n"), &[&ca]);
        let placed = caller.ask(define("profile=placed\nfds=ca tickets\n"), &[&ca, &place]);
        assert_eq!((named.verb(), placed.verb()), ("defined", "defined"), "{}", placed.text);
        for profile in ["named", "placed"] {
            let lines = format!("profile={profile}\nname={SERVER_NAME}\n");
            let asked = |more: &str| {
                super::session(&caller, &(lines.clone() + more), None, &server).get("resumed") == Some("yes")
            };
            assert_eq!((asked(""), asked("")), (false, true), "{profile}");
            assert_eq!((asked("resume=other\n"), asked("resume=other\n")), (profile == "placed", true));
        }
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn the_daemon_keeps_one_descriptor_for_a_servers_file_and_gives_it_back_with_the_profile() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let before = daemon.baseline();
    let dir = TempDir::new("keys");
    client.define(&profile().resume("mine")).unwrap();
    client.define(&profile().resume_file(File::open(dir.path()).unwrap())).unwrap();
    daemon.settled_fds(&before);
    let path = dir.path().join("keys");
    let open = || {
        let fds = fs::read_dir(format!("/proc/{}/fd", daemon.worker())).unwrap();
        fds.filter(|fd| fd.as_ref().is_ok_and(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == path)))
            .count()
    };
    let becomes = |count| until(LIMIT, || (open() == count).then_some(())).expect("it is closed in time");
    for _ in 0..3 {
        // Each replaces the one before.
        client.define(&profile().resume_file(keys(&path))).unwrap();
        becomes(1);
        assert!(!resumed(&client, &visitor(EACH[1])));
        becomes(1);
    }
    client.define(&profile()).unwrap();
    becomes(0);
    client.define(&profile().resume_file(keys(&path))).unwrap();
    becomes(1);
    drop(client);
    becomes(0);
}

#[test]
fn a_file_that_goes_bad_later_costs_no_session_and_none_that_is_bad_now_is_taken() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (dir, visitor) = (TempDir::new("keys"), visitor(EACH[1]));
    let path = dir.path().join("keys");
    client.define(&profile().resume_file(keys(&path))).unwrap();
    assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, true));
    fs::write(&path, "something else").unwrap();
    assert!(resumed(&client, &visitor), "with the keys that are known");
    let Err(Error::Refused(refused)) = client.define(&profile().resume_file(keys(&path))) else {
        panic!("it is refused")
    };
    assert_eq!((refused.code, refused.about.as_deref()), (Code::DescriptorUnreadable, Some("tickets")));
    assert!(resumed(&client, &visitor), "the profile of before goes on");
    // Pushed out of memory by others, the keys are looked for in the file again, where they are no more.
    for number in 0..70 {
        let ask = |it| with_good(it).resume(format!("store-{number}"));
        session(&client, &super::served::visitor(EACH[1]), ask);
    }
    assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, false));
    let said = daemon.log().matches("a profile's file of ticket keys is of no use now").count();
    assert_eq!(said, 1, "once, and not for each session: {}", daemon.log());
    // And taken again when they are there.
    fs::write(&path, "").unwrap();
    assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, true));
}

/// Which looks at files where others have a thread for it.
#[test]
fn a_daemon_of_ones_own_has_the_same_stores() {
    let daemon = TestDaemon::private();
    let (client, dir) = (daemon.client(), TempDir::new("keys"));
    let path = dir.path().join("keys");
    for tickets in [|path: &Path| keys(path), |path: &Path| File::open(path.parent().unwrap()).unwrap()] {
        let visitor = visitor(EACH[1]);
        client.define(&profile().resume_file(tickets(&path))).unwrap();
        assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, true));
        assert!(session(&client, &visitor, |request| with_good(request).resume_file(tickets(&path))).resumed);
        assert_eq!(client.forget_file(tickets(&path), None).unwrap(), 1);
        assert!(!resumed(&client, &visitor));
    }
}

#[test]
fn a_forgotten_file_has_its_new_key_in_the_profile_at_once() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (dir, visitor) = (TempDir::new("keys"), visitor(EACH[1]));
    let path = dir.path().join("keys");
    client.define(&profile().resume_file(keys(&path))).unwrap();
    assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, true));
    assert_eq!(client.forget_file(keys(&path), None).unwrap(), 1);
    assert_eq!((resumed(&client, &visitor), resumed(&client, &visitor)), (false, true));
}

#[test]
fn a_profile_that_is_chosen_brings_its_store_unless_the_request_has_one() {
    let daemon = TestDaemon::start();
    let (client, visitor) = (daemon.client(), visitor(EACH[0]));
    client.define(&profile().resume("mine")).unwrap();
    let own = Profile::server("own").certificate(good().certificate_fd()).key(good().key_fd());
    client.define(&own).unwrap();
    let asked = |store: Option<&str>| {
        let request = |request: tlsify_client::Accept| {
            let request = request.profile("own").ask(|_| Choice::Profile("web".into()));
            match store {
                Some(store) => request.resume(store),
                None => request,
            }
        };
        session(&client, &visitor, request).resumed
    };
    assert_eq!((asked(None), asked(None)), (false, true));
    assert_eq!((asked(Some("other")), asked(Some("other"))), (false, true));
    assert!(resumed(&client, &visitor) || resumed(&client, &visitor), "the profile's own store is as it was");
}
