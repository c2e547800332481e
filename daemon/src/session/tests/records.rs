//! Records as peers send them: cut anywhere, empty, too large, with new keys, or not records at all.

use super::cases::*;
use crate::session::{MAX_REST, SessionState};
use crate::tls::{Code, Party, Version};

#[test]
fn a_record_may_be_cut_at_every_byte() {
    for case in cases() {
        let mut pair = case.open();
        let mut sent = Vec::new();
        let length = {
            pair.peer.write(&[0; 40]);
            sent.extend([0; 40]);
            let said = pair.peer.said();
            pair.ours.hear(&said);
            said.len()
        };
        for cut in 1..length {
            let text = [u8::try_from(cut).unwrap(); 40];
            sent.extend(text);
            pair.peer.write(&text);
            let said = pair.peer.said();
            let (start, end) = said.split_at(cut);
            pair.ours.hear(start);
            if case.shape == Shape::Unbuffered {
                assert_eq!(pair.ours.session.rest(), start, "{case:?}: exactly what came is kept");
            }
            // Writing in between must not touch what is kept.
            pair.ours.write(&text);
            pair.ours.hear(end);
            assert_eq!(pair.ours.session.rest(), b"", "{case:?} cut at {cut}");
        }
        pair.run();
        assert_eq!(pair.ours.received, sent, "{case:?}");
        assert_eq!(pair.peer.received, sent[40..], "{case:?}");
    }
}

/// While half of the peer's record waits, our own go out; while a ticket of several records comes in, too.
#[test]
fn sending_while_half_a_record_waits_disturbs_neither() {
    for case in cases() {
        let setup = Setup { peers_fragment: Some(64), ..case.setup() };
        let mut pair = setup.pair(case.role, case.exports());
        let mut sent = Vec::new();
        pair.peer.write(&[b't'; 1000]);
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
                    pair.ours.write(&[byte]);
                    sent.push(byte);
                }
                let said = pair.ours.said();
                pair.peer.hear(&said);
            }
        }
        pair.assert_open(&format!("{case:?}"));
        assert_eq!(pair.ours.received, [b't'; 1000], "{case:?}");
        assert_eq!(pair.peer.received, sent, "{case:?}");
    }
}

#[test]
fn several_records_and_a_part_come_in_one_read() {
    for case in cases() {
        let mut pair = case.open();
        let text: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
        pair.peer.write(&text);
        let said = pair.peer.said();
        let (start, end) = said.split_at(said.len() - 10);
        pair.ours.hear(start);
        assert!(pair.ours.received.len() >= 5 * 16384, "{case:?}: whole records are delivered at once");
        pair.ours.hear(end);
        assert_eq!(pair.ours.received, text, "{case:?}");
    }
}

#[test]
fn new_keys_of_the_peer_are_followed_and_answered() {
    for case in cases().into_iter().filter(|case| case.version == Version::Tls13) {
        let mut pair = case.open();
        for round in 0..100_u8 {
            pair.peer.connection.refresh_traffic_keys().unwrap();
            pair.peer.write(&[round]);
            pair.ours.write(&[round]);
            pair.run_in(|| 3);
        }
        let all: Vec<u8> = (0..100).collect();
        assert_eq!((&pair.ours.received, &pair.peer.received), (&all, &all), "{case:?}");
        assert_eq!(pair.ours.session.state(), SessionState::Established, "{case:?}");
    }
}

#[test]
fn new_keys_without_end_are_refused() {
    for case in cases().into_iter().filter(|case| case.version == Version::Tls13) {
        let mut pair = case.open();
        for _ in 0..100 {
            pair.peer.connection.refresh_traffic_keys().unwrap();
            let said = pair.peer.said();
            pair.ours.hear(&said);
            if pair.ours.failure.is_some() {
                break;
            }
        }
        let failure = pair.ours.failure.as_ref().expect("a flood of key_update is refused");
        assert_eq!(failure.code, Code::ProtocolViolation, "{case:?} {failure:?}");
        assert_told_the_truth(&mut pair, case);
    }
}

#[test]
fn a_record_that_says_it_is_too_large_is_refused_at_its_header() {
    for case in cases() {
        let mut pair = case.open();
        // RFC 9846 §5.2: 16384 bytes and 256 of overhead; RFC 5246 §6.2.3: and 2048.
        pair.ours.hear(&[23, 3, 3, 0x50, 0x00]);
        let failure = pair.ours.failure.as_ref().expect("refused at the header");
        assert_eq!(failure.code, Code::ProtocolViolation, "{case:?} {failure:?}");
        assert_eq!(pair.ours.session.rest(), b"", "{case:?}");
        assert_told_the_truth(&mut pair, case);
    }
}

#[test]
fn a_record_that_cannot_be_opened_is_told_with_bad_record_mac() {
    for case in cases() {
        let mut pair = case.open();
        pair.peer.write(b"words");
        let mut said = pair.peer.said();
        pair.peer.write(b"changed on the way");
        let mut changed = pair.peer.said();
        *changed.last_mut().unwrap() ^= 1;
        said.extend(changed);
        pair.ours.hear(&said);
        assert_eq!(pair.ours.received, b"words", "{case:?}");
        let failure = pair.ours.failure.as_ref().expect("a changed record is refused");
        assert_eq!(
            (failure.code, failure.alert),
            (Code::ProtocolViolation, Some((20, Party::Us))),
            "{case:?}"
        );
        assert_told_the_truth(&mut pair, case);
    }
}

/// What came whole before the end was the peer's word: the program gets it.
#[test]
fn data_in_front_of_an_alert_is_delivered() {
    for case in cases() {
        let mut pair = case.open();
        pair.peer.write(b"good");
        // The peer refuses this record and says so with an alert under its own keys.
        pair.peer.hear(BAD_RECORD);
        let said = pair.peer.said();
        pair.ours.hear(&said);
        assert_eq!(pair.ours.received, b"good", "{case:?}");
        let code = pair.ours.failure.as_ref().map(|failure| failure.code);
        assert_eq!(code, Some(Code::AlertReceived), "{case:?}");
    }
}

#[test]
fn empty_records_deliver_nothing_and_hold_nothing() {
    for case in cases() {
        let mut pair = case.open();
        for _ in 0..1000 {
            // Of our sessions, an empty write makes an empty record or nothing.
            pair.ours.write(b"");
        }
        pair.ours.write(b"words");
        pair.run();
        assert_eq!(pair.peer.received, b"words", "{case:?}");
    }
}

#[test]
fn a_flood_of_warnings_during_the_handshake_is_refused() {
    // user_canceled, which even TLS 1.3 lets pass, in plaintext.
    const WARNING: [u8; 7] = [21, 3, 3, 0, 2, 1, 90];
    for case in cases() {
        let mut pair = case.pair();
        pair.ours.said();
        for _ in 0..50 {
            pair.ours.hear(&WARNING);
            if pair.ours.failure.is_some() {
                break;
            }
        }
        assert!(pair.ours.failure.is_some(), "{case:?}: warnings are counted");
        assert_eq!(pair.ours.session.rest(), b"", "{case:?}");
    }
}

#[test]
fn a_handshake_message_without_end_is_refused_before_it_fills_memory() {
    for case in cases() {
        let mut pair = case.pair();
        pair.ours.said();
        // A Certificate or ClientHello of 16 MiB - 1, begun in records of 16 KiB.
        let kind = if case.role == Role::Server { 1 } else { 2 };
        let mut head = vec![22, 3, 3, 0x40, 0, kind, 0xff, 0xff, 0xff];
        head.resize(5 + 16384, 0);
        pair.ours.hear(&head);
        let mut more = vec![22, 3, 3, 0x40, 0];
        more.resize(5 + 16384, 0);
        let mut records = 1;
        while pair.ours.failure.is_none() {
            assert!(records * 16384 <= MAX_REST, "{case:?}: {records} records are kept");
            pair.ours.hear(&more);
            records += 1;
        }
        assert_eq!(pair.ours.failure.as_ref().unwrap().code, Code::ProtocolViolation, "{case:?}");
        assert_eq!(pair.ours.session.rest(), b"", "{case:?}");
        assert_told_the_truth(&mut pair, case);
    }
}

#[test]
fn a_handshake_message_in_the_smallest_records_is_bounded_too() {
    for case in cases() {
        let mut pair = case.pair();
        pair.ours.said();
        let kind = if case.role == Role::Server { 1 } else { 2 };
        for byte in [kind, 0, 0xff, 0xff] {
            pair.ours.hear(&[22, 3, 3, 0, 1, byte]);
        }
        for _ in 0..70_000 {
            if pair.ours.failure.is_some() {
                break;
            }
            pair.ours.hear(&[22, 3, 3, 0, 1, 0]);
        }
        let failure = pair.ours.failure.as_ref().expect("refused");
        assert_eq!(failure.code, Code::ProtocolViolation, "{case:?} {failure:?}");
        assert_told_the_truth(&mut pair, case);
    }
}

/// The peer heard exactly the alert that the failure says it was told, or none.
fn assert_told_the_truth(pair: &mut Pair<Theirs>, case: Case) {
    let (told, heard) = pair.last_words();
    assert_eq!(told, heard, "{case:?}: {:?}", pair.ours.failure);
}
