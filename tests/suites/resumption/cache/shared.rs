//! Whose entries are whose: stores, users, profiles, daemons.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tlsify_client::Role;
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{CACHES, CacheServer, TempDir, TestDaemon, User};

use super::super::EACH;
use super::super::served::{session, visitor};
use super::{PATIENT, World, config};

fn keys(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path).unwrap()
}

#[test]
fn another_store_or_profile_of_the_same_user_finds_nothing() {
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let other = config(&cache.address(), PATIENT).replace("\"web\"", "\"other\"");
        let other = other.replace("role = \"server\"", "role = \"server\"\nalpn = [\"h2\"]");
        let world = World::with(config(&cache.address(), PATIENT) + &other);
        for versions in EACH {
            let visitor = visitor(versions);
            let in_store = |profile: &str, store: &str| {
                let facts = session(&world.client, &visitor, |it| it.profile(profile).resume(store));
                world.settle();
                facts.resumed
            };
            assert!(!in_store("web", "web"));
            assert!(!in_store("web", "mail"), "another store");
            assert!(!in_store("other", "web"), "another profile");
        }
        let [misses, hits] = world.counts(["cache-misses", "cache-hits"]);
        assert!(misses >= 2 && hits == 0, "{misses} {hits}");
    }
}

#[test]
fn another_user_finds_nothing_under_the_same_name() {
    if !is_root("another user's store") {
        return;
    }
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let daemon = TestDaemon::with_config(config(&cache.address(), PATIENT));
        let [first, second] = [12_345, 54_321].map(|uid| User::new(uid).client(&daemon));
        for versions in EACH {
            let visitor = visitor(versions);
            let ask = |client| session(client, &visitor, |it| it.profile("web").resume("web")).resumed;
            assert!(!ask(&first));
            assert!(!ask(&second), "another user's");
        }
    }
}

#[test]
fn daemons_with_the_same_key_file_share_through_one_cache_and_others_do_not() {
    let dir = TempDir::new("keys");
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        for versions in EACH {
            let (mine, theirs) = (dir.path().join("mine"), dir.path().join("theirs"));
            let visitor = visitor(versions);
            let [one, two] = [World::new(&cache.address()), World::new(&cache.address())];
            let ask = |world: &World, path: &Path| {
                let entries = cache.entries();
                let facts = session(&world.client, &visitor, |it| it.profile("web").resume_file(keys(path)));
                // It is sent beside the session.
                let put = || (cache.entries() != entries).then_some(());
                if !facts.resumed || facts.protocol == "TLSv1.3" {
                    tlsifyd_tests::wait::until(tlsifyd_tests::wait::LIMIT, put).expect("it is put away");
                }
                facts.resumed
            };
            assert!(!ask(&one, &mine));
            assert!(ask(&one, &mine));
            // Another machine has a copy.
            let copy = dir.path().join("copy");
            fs::copy(&mine, &copy).unwrap();
            assert!(ask(&two, &copy), "{kind:?} {versions:?}");
            drop(one);
            let three = World::new(&cache.address());
            assert!(ask(&three, &mine), "after a restart");
            assert!(!ask(&three, &theirs), "other keys");
            for path in [mine, theirs, copy] {
                fs::remove_file(path).unwrap();
            }
        }
    }
}

#[test]
fn what_a_forgotten_store_left_in_the_cache_is_found_by_nobody() {
    for kind in CACHES {
        let Some(cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        for versions in EACH {
            let visitor = visitor(versions);
            assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
            assert_eq!(world.client.forget("web", Some(Role::Server)).unwrap(), 1);
            assert!(!world.visit(&visitor), "{kind:?}");
        }
    }
}
