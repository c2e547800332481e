//! Caches that are stopped, hung, restarted, or never were.

use std::time::Duration;

use tlsify_client::Accept;
use tlsifyd_tests::tools::tool;
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{CACHES, CacheServer, Liar, Lie, Options, TestDaemon, User, outgoing};

use super::super::EACH;
use super::super::served::{session, visitor};
use super::{PATIENT, World, config};

/// Long for a cache, and nothing for a test.
const SHORT: &str = "deadline = \"50ms\"";

/// Sessions until one resumes again: a cache that is back is found by a probe, beside the sessions that are then.
#[track_caller]
fn comes_back(world: &World, what: &str) {
    let back = until(LIMIT, || {
        let visitor = visitor(EACH[1]);
        world.visit(&visitor);
        world.visit(&visitor).then_some(())
    });
    assert!(back.is_some(), "{what}: it is not used again\n{}", world.daemon.log());
}

#[test]
fn behind_a_hung_cache_handshakes_are_done_and_other_sessions_flow() {
    for kind in CACHES {
        let Some(mut cache) = CacheServer::start(kind) else { return };
        let world = World::with(config(&cache.address(), SHORT));
        let mut healthy = Vec::from(outgoing::both_roles(&world.client));
        for versions in EACH {
            let visitor = visitor(versions);
            assert!(!world.visit(&visitor));
            // On a busy machine the deadline can be over before the cache has had its turn.
            world.visit(&visitor);
            let before =
                world.counts(["cache-timeouts", "cache-skipped", "cache-errors"]).iter().sum::<u64>();
            cache.hang();
            for _ in 0..5 {
                assert!(!world.visit_at_once(&visitor), "{kind:?} {versions:?}");
                healthy.iter_mut().for_each(|open| open.assert_alive());
            }
            let after = world.counts(["cache-timeouts", "cache-skipped", "cache-errors"]).iter().sum::<u64>();
            assert!(after > before, "{kind:?} {versions:?}: {after} {before}");
            cache.go_on();
            comes_back(&world, "a hung one");
        }
    }
}

/// As many as come: one silence costs one deadline, and not each session its own.
#[test]
fn a_hundred_sessions_behind_a_hung_cache_do_not_each_wait_for_it() {
    let Some(mut cache) = CacheServer::start(CACHES[0]) else { return };
    let world = World::with(config(&cache.address(), "deadline = \"1s\""));
    let mut visitors: Vec<_> = (0..100).map(|_| visitor(EACH[1])).collect();
    for visitor in &visitors {
        assert!(!world.visit(visitor));
    }
    cache.hang();
    // The connection is given up when nothing has come for the deadline, and then nobody waits at all.
    for visitor in &mut visitors {
        assert!(!world.visit_at_once(visitor));
    }
    let [timeouts, skipped, errors] = world.counts(["cache-timeouts", "cache-skipped", "cache-errors"]);
    assert!(timeouts + errors < 10 && skipped > 80, "{timeouts} {skipped} {errors}");
    cache.go_on();
}

/// The operator is patient and the caller is not: half of its time is the handshake's.
#[test]
fn a_caller_with_less_time_than_the_cache_may_take_has_its_session() {
    let liar = Liar::start();
    let world = World::with(config(&liar.address(), "deadline = \"3s\""));
    for versions in EACH {
        liar.lies(Lie::None);
        let visitor = visitor(versions);
        comes_back(&world, "one that says nothing");
        world.visit(&visitor);
        liar.lies(Lie::Silent);
        let limit = Duration::from_secs(4);
        let ask = |it: Accept| it.profile("web").resume("web").handshake_timeout(limit);
        assert!(!session(&world.client, &visitor, ask).resumed, "{versions:?}");
    }
}

#[test]
fn a_cache_that_goes_away_and_comes_back_is_told_once_and_used_again() {
    for kind in CACHES {
        let Some(mut cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        let visitor = visitor(EACH[1]);
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
        cache.end();
        for _ in 0..3 {
            assert!(!world.visit(&visitor), "{kind:?}");
        }
        let said = |text: &str| world.daemon.log().matches(text).count();
        assert_eq!(said("the session cache is away"), 1, "{}", world.daemon.log());
        let [dropped] = world.counts(["cache-dropped"]);
        assert!(dropped > 0, "{kind:?}");
        cache.begin();
        comes_back(&world, "a new one");
        assert_eq!(said("the session cache is back"), 1, "{}", world.daemon.log());
    }
}

/// It forgets everything, and the connection with it: between two sessions that is nobody's loss.
#[test]
fn a_cache_that_was_restarted_costs_full_handshakes_and_nothing_else() {
    for kind in CACHES {
        let Some(mut cache) = CacheServer::start(kind) else { return };
        let world = World::new(&cache.address());
        for versions in EACH {
            let visitor = visitor(versions);
            assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true], "{kind:?}");
            cache.end();
            cache.begin();
            assert!(!world.visit(&visitor), "{kind:?} {versions:?}");
            comes_back(&world, "a restarted one");
        }
    }
}

#[test]
fn a_cache_that_never_was_hinders_neither_the_start_nor_a_session() {
    for address in [
        "memcached+unix:///nonexistent/socket",
        "redis+unix:///nonexistent/socket?db=3",
        "memcached://127.0.0.1:1",
        "redis://no-such-host.invalid",
    ] {
        let world = World::new(address);
        world.daemon.wake_dialer(&world.client);
        let baseline = world.daemon.baseline();
        for versions in EACH {
            let visitor = visitor(versions);
            for _ in 0..3 {
                assert!(!world.visit(&visitor), "{address}");
            }
        }
        let log = world.daemon.log();
        assert!(log.contains("the session cache is away") && log.contains(address), "{log}");
        world.daemon.settled_fds(&baseline);
    }
}

/// The operator named it, so the supervisor connects: it may go into folders of others, and write where its user may.
#[test]
fn a_cache_in_a_folder_of_another_user_is_used_when_its_socket_is_open_and_told_of_when_not() {
    if !is_root("a cache of another user") {
        return;
    }
    let other = User::new(4711);
    let liar = Liar::start();
    liar.belongs_to(&other, 0o777);
    let world = World::new(&liar.address());
    let known = visitor(EACH[1]);
    assert_eq!([world.visit(&known), world.visit(&known)], [false, true], "{}", world.daemon.log());
    assert_eq!(world.daemon.dialer(), None, "nobody needed it");
    for (mode, opens) in [(0o755, false), (0o700, false), (0o770, false), (0o702, true)] {
        liar.belongs_to(&other, mode);
        let world = World::new(&liar.address());
        let known = visitor(EACH[1]);
        assert_eq!([world.visit(&known), world.visit(&known)], [false, opens], "{mode:o}");
        let log = world.daemon.log();
        assert_eq!(log.contains("permission denied: make its socket writable"), !opens, "{mode:o}: {log}");
    }
}

/// As the documents say: root has no right to such a socket by being root, and a group gives it.
#[test]
fn a_cache_that_is_open_to_its_group_is_used_by_a_daemon_that_is_of_that_group() {
    if !is_root("a cache of another user") {
        return;
    }
    let Some(setpriv) = tool("setpriv") else { return };
    let (other, liar) = (User::new(4711), Liar::start());
    liar.belongs_to(&other, 0o770);
    let under = [&setpriv.display().to_string(), "--groups", "4711"].map(str::to_owned).to_vec();
    let config = Some(config(&liar.address(), PATIENT));
    let daemon = TestDaemon::with(Options { config, under, ..Options::default() });
    let world = World { client: daemon.client(), daemon };
    let known = visitor(EACH[1]);
    assert_eq!([world.visit(&known), world.visit(&known)], [false, true], "{}", world.daemon.log());
}
