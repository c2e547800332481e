//! Garbage at every step of a handshake: a typed failure, never a clean end, never a panic.

use super::cases::*;
use crate::session::SessionState;
use crate::tls::pair::only;
use crate::tls::{Blame, Code, Party, Version};

/// What a peer could say that is no handshake, and that cannot be waited for.
const GARBAGE: [(&str, &[u8]); 8] = [
    ("http", b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"),
    ("zeros", &[0; 64]),
    ("a handshake message that nobody knows", &[22, 3, 3, 0, 4, 99, 0, 0, 0]),
    ("a Finished out of turn", &[22, 3, 3, 0, 16, 20, 0, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
    ("data in plaintext", &[23, 3, 3, 0, 5, b'h', b'e', b'l', b'l', b'o']),
    ("an empty handshake record", &[22, 3, 3, 0, 0]),
    ("an alert of an unknown level", &[21, 3, 3, 0, 2, 9, 40]),
    ("a record that nobody can open", BAD_RECORD),
];

#[test]
fn garbage_after_any_record_of_a_handshake_is_a_failure_of_the_peer() {
    for case in cases() {
        let setup = case.setup();
        for (what, garbage) in GARBAGE {
            for size in [1, usize::MAX] {
                let mut keep = 0;
                while let Some(mut pair) = after(setup.pair(case.role, case.exports()), keep) {
                    garbage.chunks(size).for_each(|piece| pair.ours.hear(piece));
                    let what = format!("{what} after {keep} records, {case:?}");
                    let failure = pair.ours.failure.clone().unwrap_or_else(|| panic!("no failure: {what}"));
                    assert!(failure.blame == Blame::Peer && !failure.text.is_empty(), "{what}: {failure:?}");
                    assert_eq!(pair.ours.session.rest(), b"", "{what}");
                    // Which alert an encrypted one was is not always known: then none is named.
                    let (told, heard) = pair.last_words();
                    assert!(heard.is_some() && (told.is_none() || told == heard), "{what}: {failure:?}");
                    keep += 1;
                }
                assert!(keep > 0);
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

/// The pair when our session has heard so many records, or `None` when it is open by then.
fn after(mut pair: Pair<Theirs>, records: usize) -> Option<Pair<Theirs>> {
    let mut heard = 0;
    loop {
        let flight = flight(&mut pair);
        assert!(!flight.is_empty(), "the handshake stands still");
        for record in flight {
            if heard == records {
                break;
            }
            pair.ours.hear(&record);
            heard += 1;
        }
        if !pair.ours.session.state().is_handshaking() {
            return None;
        }
        if heard == records {
            let said = pair.ours.said();
            pair.peer.hear(&said);
            return Some(pair);
        }
    }
}

/// The next flight of the peer, record by record.
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
