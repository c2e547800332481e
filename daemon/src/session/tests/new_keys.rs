//! New keys for old sessions (RFC 9846 section 4.7.3): when it is time, and never in the way of anything else.

use std::time::Duration;

use super::cases::*;
use crate::session::{Session, SessionState};
use crate::tls::pair::short_lived;
use crate::tls::{Code, KeyLimits, Version, Witness};

/// After each byte, as far as the peer bears it.
const EAGER: KeyLimits = KeyLimits { bytes: 1, records: 1, age: None, fragment: 16384 };
/// More than there has to be between two.
const PAUSE: Duration = Duration::from_secs(1);

/// Two ends before their handshake, ours with these limits.
fn pair(case: Case, setup: &Setup, limits: KeyLimits) -> Pair<Theirs> {
    let now = std::time::Instant::now();
    let session = match case.role {
        Role::Client => setup.our_client_session(case.exports()),
        Role::Server => Session::server(&setup.server, None, Witness::new(), case.exports(), None).unwrap(),
    };
    let session = session.with_key_limits(limits, now);
    match case.role {
        Role::Client => Pair { ours: Ours::begun(session), peer: setup.their_server() },
        Role::Server => Pair { ours: Ours::new(session), peer: setup.their_client(NAME) },
    }
}

fn open(case: Case, limits: KeyLimits) -> Pair<Theirs> {
    let mut pair = pair(case, &case.setup(), limits);
    pair.run();
    pair.assert_open(&format!("{case:?}"));
    pair
}

fn tls13() -> impl Iterator<Item = Case> {
    cases().into_iter().filter(|case| case.version == Version::Tls13)
}

#[test]
fn a_key_is_replaced_after_its_bytes_and_the_stream_goes_on() {
    for case in tls13() {
        let mut pair = open(case, KeyLimits { bytes: 1000, ..EAGER });
        let mut sent = Vec::new();
        for round in 0..100_u8 {
            pair.ours.now += PAUSE;
            let text = [round; 500];
            pair.ours.write(&text);
            sent.extend(text);
            pair.peer.write(&text);
            pair.run_in(|| 77);
        }
        // Records count, too: each write makes one, and one was said to be enough.
        assert_eq!(pair.ours.session.key_updates(), 99, "{case:?}");
        assert_eq!((&pair.ours.received, &pair.peer.received), (&sent, &sent), "{case:?}");

        let mut pair = open(case, KeyLimits { bytes: 1000, records: 1 << 22, ..EAGER });
        for _ in 0..10 {
            pair.ours.now += PAUSE;
            pair.ours.write(&[0; 500]);
            pair.run();
        }
        assert_eq!(pair.ours.session.key_updates(), 4, "{case:?}: not before the bytes are sent");
    }
}

#[test]
fn a_key_that_is_old_is_not_used_again_and_one_that_rests_does_nothing() {
    for case in tls13() {
        let age = Some(Duration::from_secs(3600));
        let mut pair = open(case, KeyLimits { bytes: 1 << 36, records: 1 << 22, age, fragment: 16384 });
        pair.ours.write(b"young");
        assert_eq!(pair.ours.session.key_updates(), 0, "{case:?}");
        pair.ours.now += Duration::from_secs(24 * 3600);
        pair.run();
        assert_eq!((pair.ours.said(), pair.ours.session.key_updates()), (Vec::new(), 0), "{case:?}");
        pair.ours.write(b" old");
        pair.ours.write(b" and new");
        assert_eq!(pair.ours.session.key_updates(), 1, "{case:?}: once, however long it was");
        pair.run();
        assert_eq!(pair.peer.received, b"young old and new", "{case:?}");
    }
}

/// Its answers are all that comes of it: rustls would end the session at the 33rd.
#[test]
fn a_peer_that_only_listens_is_not_asked_until_the_session_breaks() {
    for case in tls13() {
        let mut pair = open(case, EAGER);
        for _ in 0..1000 {
            pair.ours.now += PAUSE;
            pair.ours.write(b"x");
            pair.run();
        }
        assert_eq!(pair.ours.failure, None, "{case:?}");
        let asked = pair.ours.session.key_updates();
        assert!((4..=16).contains(&asked), "{case:?}: {asked}");
        // A word of it, and there can be more.
        pair.peer.write(b"word");
        pair.run();
        pair.ours.write(b"y");
        assert_eq!(pair.ours.session.key_updates(), asked + 1, "{case:?}");
    }
}

#[test]
fn a_peer_that_does_not_read_finds_few_of_them_when_it_does() {
    for case in tls13() {
        let mut pair = open(case, EAGER);
        for _ in 0..1000 {
            pair.ours.now += PAUSE;
            pair.ours.write(b"x");
        }
        assert!(pair.ours.session.key_updates() <= 4, "{case:?}: {}", pair.ours.session.key_updates());
        pair.run();
        assert_eq!(pair.peer.received.len(), 1000, "{case:?}");
        assert_eq!(pair.ours.session.state(), SessionState::Established, "{case:?}");
    }
}

/// A ticket in many records comes in byte by byte while it is always time for a new key.
#[test]
fn half_a_message_of_the_peers_is_not_in_the_way() {
    for case in tls13().filter(|case| !case.exports()) {
        let setup = Setup { peers_fragment: Some(64), ..case.setup() };
        let mut pair = pair(case, &setup, EAGER);
        pair.peer.write(&[b't'; 1000]);
        let mut sent = 0;
        loop {
            let said = pair.ours.said();
            pair.peer.hear(&said);
            let said = pair.peer.said();
            if said.is_empty() {
                break;
            }
            for byte in said {
                pair.ours.hear(&[byte]);
                if !pair.ours.session.state().is_handshaking() {
                    pair.ours.now += PAUSE;
                    pair.ours.write(&[byte]);
                    sent += 1;
                }
                let said = pair.ours.said();
                pair.peer.hear(&said);
            }
        }
        pair.assert_open(&format!("{case:?}"));
        assert_eq!(pair.ours.received, [b't'; 1000], "{case:?}");
        assert_eq!(pair.peer.received.len(), sent, "{case:?}");
        assert!(pair.ours.session.key_updates() > 20, "{case:?}: {}", pair.ours.session.key_updates());
    }
}

#[test]
fn both_ends_may_replace_their_keys_at_once() {
    for case in tls13() {
        let mut pair = open(case, EAGER);
        for round in 0..200_u8 {
            pair.ours.now += PAUSE;
            pair.peer.connection.refresh_traffic_keys().unwrap();
            pair.peer.write(&[round]);
            pair.ours.write(&[round]);
            pair.run_in(|| 5);
        }
        let all: Vec<u8> = (0..200).collect();
        assert_eq!((&pair.ours.received, &pair.peer.received), (&all, &all), "{case:?}");
        assert_eq!(pair.ours.session.key_updates(), 199, "{case:?}");
    }
}

#[test]
fn a_stream_that_is_half_closed_goes_on_with_new_keys() {
    for case in tls13() {
        let mut pair = open(case, EAGER);
        pair.peer.end();
        pair.run();
        for _ in 0..10 {
            pair.ours.now += PAUSE;
            pair.ours.write(b"x");
            pair.run();
        }
        assert!(pair.ours.session.key_updates() > 0, "{case:?}");
        pair.ours.end();
        pair.run();
        assert_eq!(pair.peer.received.len(), 10, "{case:?}");
        assert!(pair.peer.closed && pair.ours.session.state() == SessionState::Closed, "{case:?}");
    }
}

#[test]
fn tls12_has_no_new_keys_and_goes_on() {
    for case in cases().into_iter().filter(|case| case.version == Version::Tls12) {
        let mut pair = open(case, EAGER);
        for _ in 0..10 {
            pair.ours.now += PAUSE;
            pair.ours.write(b"x");
            pair.run();
        }
        assert_eq!(pair.ours.session.key_updates(), 0, "{case:?}");
        assert_eq!(pair.peer.received.len(), 10, "{case:?}");
    }
}

/// rustls' limit, made small: what happens where everything else has waited.
#[test]
fn at_the_end_of_what_is_safe_tls13_goes_on_and_tls12_ends_without_a_goodbye() {
    for case in cases().into_iter().filter(|case| case.shape != Shape::Hello) {
        let setup = Setup::new(short_lived(case.version, 10));
        let mut pair = setup.pair(case.role, case.exports());
        pair.run();
        pair.assert_open(&format!("{case:?}"));
        let mut sent = 0;
        let ended = loop {
            match pair.ours.try_write(b"x") {
                Ok(()) => sent += 1,
                Err(failure) => break Some(failure),
            }
            pair.run();
            if sent == 100 {
                break None;
            }
        };
        pair.run();
        assert_eq!(pair.peer.received.len(), sent, "{case:?}");
        match case.version {
            Version::Tls13 => assert_eq!(ended, None, "{case:?}"),
            Version::Tls12 => {
                let failure = ended.expect("there is no new key");
                assert_eq!(failure.code, Code::KeysExhausted, "{case:?}: {failure}");
                assert!(sent < 10, "{case:?}: {sent}, and a Finished");
                assert!(!pair.peer.closed, "{case:?}: it is no whole stream");
            }
        }
    }
}
