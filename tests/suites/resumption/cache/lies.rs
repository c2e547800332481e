//! A cache that says what it should not. The session goes on with a full handshake, and so does everybody else's.

use tlsifyd_tests::{Liar, Lie};

use super::super::EACH;
use super::super::served::visitor;
use super::World;

fn says(text: impl AsRef<[u8]>) -> Lie {
    Lie::Says(text.as_ref().to_vec())
}

#[test]
fn whatever_a_cache_says_the_session_opens_and_nothing_resumes() {
    let liar = Liar::start();
    let half = b"VALUE NAME 0 200\r\nhalf".to_vec();
    let lies = [
        says("garbage"),
        says("\r\n"),
        says("END\r\nEND\r\n"),
        says("STORED\r\n"),
        says("VALUE NAME 0 0\r\n\r\nEND\r\n"),
        says("VALUE NAME 0 5\r\nvalue\r\nEND\r\n"),
        says("VALUE tlsify:another 0 5\r\nvalue\r\nEND\r\n"),
        says("VALUE NAME 0 16385\r\n"),
        says("VALUE NAME 0 4294967296\r\n"),
        says("VALUE NAME 0 99999999999999999999999999\r\n"),
        says("VALUE NAME 0 -1\r\n"),
        says([&b"VALUE NAME 0 16384\r\n"[..], &[0xff; 16384], b"\r\nEND\r\n"].concat()),
        says(vec![b'x'; 1 << 20]),
        says("SERVER_ERROR no\r\n"),
        says("$5\r\nvalue\r\n"),
        says(&half),
        Lie::SaysAndLeaves(half),
        Lie::SaysAndLeaves(b"END".to_vec()),
        Lie::Leaves,
        Lie::Silent,
        Lie::Another,
    ];
    // What half an answer or a silence costs is the deadline: here one that a test can wait for.
    let world = World::with(super::config(&liar.address(), "deadline = \"300ms\""));
    for versions in EACH {
        world.visit(&visitor(versions));
    }
    let before = world.daemon.private_kib();
    for lie in lies {
        for versions in EACH {
            let visitor = visitor(versions);
            liar.lies(Lie::None);
            assert!(!world.visit(&visitor));
            liar.lies(lie.clone());
            assert!(!world.visit(&visitor), "{lie:?} {versions:?}");
            assert!(!world.visit(&visitor), "{lie:?} {versions:?}, and once more");
        }
    }
    let grown = world.daemon.private_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB");
}

/// Each kind of lie is counted where an operator looks for it.
#[test]
fn each_lie_is_counted_for_what_it_is() {
    for (lie, figure) in [
        (Lie::Another, "cache-refused"),
        (says("VALUE NAME 0 5\r\nvalue\r\nEND\r\n"), "cache-refused"),
        (says("END\r\n"), "cache-misses"),
        (says("SERVER_ERROR no\r\n"), "cache-errors"),
        (says("garbage\r\n"), "cache-errors"),
        (Lie::Leaves, "cache-errors"),
    ] {
        let liar = Liar::start();
        let world = World::new(&liar.address());
        // Somebody else's, that it can give instead.
        world.visit(&visitor(EACH[0]));
        let visitor = visitor(EACH[1]);
        world.visit(&visitor);
        liar.lies(lie.clone());
        assert!(!world.visit(&visitor));
        assert_eq!((world.counts([figure]), liar.asked()), ([1], 1), "{lie:?}");
    }
    let liar = Liar::start();
    let world = World::with(super::config(&liar.address(), "deadline = \"20ms\""));
    let visitor = visitor(EACH[1]);
    world.visit(&visitor);
    liar.lies(Lie::Silent);
    assert!(!world.visit_at_once(&visitor));
    let [timeouts, errors] = world.counts(["cache-timeouts", "cache-errors"]);
    assert_eq!(timeouts + errors, 1, "on a busy machine even the connection takes longer");
}

/// What a cache gives twice is no danger: the client has to show the ticket twice, and nothing is sent before the
/// handshake is done.
#[test]
fn a_cache_that_forgets_nothing_cannot_make_a_session_resume_that_nobody_shows() {
    let liar = Liar::start();
    let world = World::new(&liar.address());
    liar.lies(Lie::Forever);
    for versions in EACH {
        let visitor = visitor(versions);
        assert_eq!([world.visit(&visitor), world.visit(&visitor)], [false, true]);
        assert!(!world.visit(&super::super::served::visitor(versions)), "another visitor");
    }
}
