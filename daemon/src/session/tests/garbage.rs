//! Garbage at every step of a handshake: a typed failure, never a clean end, never a panic.

use super::cases::*;
use crate::session::SessionState;
use crate::tls::pair::only;
use crate::tls::{Blame, Code, Party, Version};

/// What a peer could say that is no handshake, and that cannot be waited for.
const GARBAGE: [(&str, &[u8]); 7] = [
    ("http", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
    ("zeros", &[0; 64]),
    ("a handshake message that nobody knows", &[22, 3, 3, 0, 4, 99, 0, 0, 0]),
    ("a Finished out of turn", &[22, 3, 3, 0, 16, 20, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("data in plaintext", &[23, 3, 3, 0, 5, b'h', b'e', b'l', b'l', b'o']),
    ("an empty handshake record", &[22, 3, 3, 0, 0]),
    ("an alert of an unknown level", &[21, 3, 3, 0, 2, 9, 40]),
];

/// Our session after hearing `flights` of the peer's, or `None` when it is open by then.
fn after(case: Case, flights: usize) -> Option<Pair<Theirs>> {
    let mut pair = case.pair();
    for _ in 0..flights {
        let said = pair.ours.said();
        pair.peer.hear(&said);
        let said = pair.peer.said();
        pair.ours.hear(&said);
    }
    pair.ours.said();
    pair.ours.session.state().is_handshaking().then_some(pair)
}

#[test]
fn garbage_instead_of_a_flight_is_a_failure_of_the_peer() {
    for case in cases() {
        for (what, garbage) in GARBAGE {
            let mut steps = 0;
            while let Some(mut pair) = after(case, steps) {
                pair.ours.hear(garbage);
                check(&mut pair, &format!("{what} after {steps} flights, {case:?}"));
                steps += 1;
            }
            assert!(steps > 0);
        }
    }
}

#[test]
fn garbage_after_each_whole_record_of_a_flight_is_a_failure_of_the_peer() {
    for case in cases() {
        for (what, garbage) in GARBAGE {
            let mut keep = 1;
            loop {
                let mut pair = case.pair();
                let records = flight(&mut pair);
                if keep >= records.len() {
                    break;
                }
                records[..keep].iter().for_each(|record| pair.ours.hear(record));
                if pair.ours.session.state().is_handshaking() {
                    pair.ours.said();
                    pair.ours.hear(garbage);
                    check(&mut pair, &format!("{what} after {keep} records, {case:?}"));
                }
                keep += 1;
            }
        }
    }
}

#[test]
fn every_byte_of_a_flight_changed_is_a_failure_or_no_matter_and_never_a_panic() {
    for case in cases() {
        let length: usize = flight(&mut case.pair()).iter().map(Vec::len).sum();
        // Every byte of the headers and hello, then samples: signatures take time.
        for at in (0..length).filter(|at| *at < 60 || at % 37 == 0) {
            let mut pair = case.pair();
            let mut bytes = flight(&mut pair).concat();
            // Flights differ in length by a byte or two: signatures.
            let at = at.min(bytes.len() - 1);
            bytes[at] ^= 0x55;
            pair.ours.hear(&bytes);
            pair.run();
            let state = pair.ours.session.state();
            assert!(
                !matches!(state, SessionState::Closed | SessionState::Closing(_)),
                "{case:?} {at}: {state:?}"
            );
            if state == SessionState::Established {
                // The transcript is authenticated: only the record's own version number does not matter.
                pair.ours.write(b"words");
                pair.run();
                assert_eq!(pair.peer.received, b"words", "{case:?} byte {at} was changed");
            }
            assert_eq!(
                pair.ours.failure.is_some(),
                matches!(state, SessionState::Failed(_)),
                "{case:?} {at}"
            );
        }
    }
}

#[test]
fn http_to_a_server_is_named_as_such() {
    for case in cases().into_iter().filter(|case| case.role == Role::Server) {
        let mut pair = case.pair();
        pair.ours.hear(b"GET / HTTP/1.1\r\n\r\n");
        assert_eq!(pair.ours.failure.as_ref().map(|failure| failure.code), Some(Code::NotTls), "{case:?}");
    }
}

#[test]
fn after_a_failure_nothing_is_heard_kept_or_said() {
    for case in cases() {
        let mut pair = case.pair();
        pair.ours.hear(b"GET / HTTP/1.1\r\n\r\n");
        pair.ours.said();
        let before = pair.ours.session.state();
        pair.ours.hear(&[22, 3, 3]);
        pair.ours.end();
        assert_eq!(pair.ours.session.state(), before);
        assert_eq!((pair.ours.said(), pair.ours.session.rest()), (Vec::new(), &b""[..]));
    }
}

#[test]
fn a_peer_of_another_version_is_told_so() {
    for role in [Role::Client, Role::Server] {
        for exports in [false, true] {
            let (mine, other) = (only(Version::Tls13), only(Version::Tls12));
            let setup = match role {
                Role::Client => Setup::with(mine, other),
                Role::Server => Setup::with(other, mine),
            };
            let mut pair = setup.pair(role, exports);
            pair.run();
            let failure = pair.ours.failure.expect("no version in common");
            match role {
                Role::Client => assert_eq!(failure.alert, Some((70, Party::Peer))),
                Role::Server => {
                    assert_eq!((failure.code, failure.alert), (Code::NoSharedVersion, Some((70, Party::Us))));
                }
            }
        }
    }
}

/// The first flight of the peer, record by record.
fn flight(pair: &mut Pair<Theirs>) -> Vec<Vec<u8>> {
    let said = pair.ours.said();
    pair.peer.hear(&said);
    let said = pair.peer.said();
    let mut rest = &said[..];
    let mut records = Vec::new();
    while let [_, _, _, high, low, ..] = rest {
        let (record, tail) = rest.split_at(5 + usize::from(u16::from_be_bytes([*high, *low])));
        records.push(record.to_vec());
        rest = tail;
    }
    records
}

fn check(pair: &mut Pair<Theirs>, what: &str) {
    let failure = pair.ours.failure.clone().unwrap_or_else(|| panic!("no failure: {what}"));
    assert_eq!(pair.ours.session.state(), SessionState::Failed(Blame::Peer), "{what}");
    assert_eq!(pair.ours.session.rest(), b"", "{what}");
    assert!(failure.blame == Blame::Peer && !failure.text.is_empty(), "{what}: {failure:?}");
    let said = pair.ours.said();
    assert!(!said.is_empty(), "{what}: the peer is told: {failure:?}");
    pair.peer.hear(&said);
}
