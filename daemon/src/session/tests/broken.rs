//! Peers that break rules, and what is kept of what they sent.

use tlsify_protocol::{Blame, Code, Party, Version};

use super::pair::{Case, End, Pair, Shape};
use crate::session::MAX_REST;

/// What came whole before the bad record was the peer's word: the program gets it on both interfaces.
#[test]
fn data_in_front_of_a_bad_record_is_delivered() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        pair.they_write(b"good");
        pair.to_us.extend(b"\x17\x03\x03\x00\x20no record of this session at all");
        pair.settle();
        assert_eq!(pair.ours.got(), b"good", "{case:?}");
        assert_eq!(pair.ours.failed().blame, Blame::Peer, "{case:?}");
        assert_eq!(pair.ours.failed().alert, Some((20, Party::Us)), "{case:?}");
        let told = Some(rustls::Error::AlertReceived(rustls::AlertDescription::BadRecordMac));
        assert_eq!(pair.theirs.error, told, "{case:?}");
    }
}

/// The same with the peer's fatal alert.
#[test]
fn data_in_front_of_an_alert_is_delivered() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        pair.they_write(b"good");
        // The far end refuses this record and says so with an alert under its own keys.
        let alert = pair.theirs.receive(b"\x17\x03\x03\x00\x20no record of this session at all");
        pair.to_us.extend(alert);
        pair.settle();
        assert_eq!(pair.ours.got(), b"good", "{case:?}");
        assert_eq!(pair.ours.failed().code, Code::AlertReceived, "{case:?}");
    }
}

/// A handshake message may say that it has 16 MiB, and come slowly.
#[test]
fn an_endless_handshake_message_is_refused_and_never_kept_whole() {
    for case in Case::all() {
        let mut pair = Pair::new(case);
        let mut sent = 0;
        let header: &[u8] = if case.server { &[1, 255, 255, 255] } else { &[2, 255, 255, 255] };
        while pair.ours.failure.is_none() {
            let mut body = vec![0; 16_000];
            if sent == 0 {
                body[..4].copy_from_slice(header);
            }
            let mut record = vec![22, 3, 3];
            record.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
            record.extend(&body);
            for piece in record.chunks(5000) {
                pair.ours.receive(piece);
            }
            sent += record.len();
            assert!(sent <= 2 * MAX_REST, "{case:?}: {sent} bytes are taken");
        }
        assert_eq!(pair.ours.failed().blame, Blame::Peer, "{case:?}");
        assert!(pair.ours.session.rest().is_empty(), "{case:?}: a failed session keeps bytes");
    }
}

#[test]
fn a_record_longer_than_the_protocol_allows_is_refused_before_it_is_whole() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        // RFC 9846 section 5.2: at most 2^14 + 256 bytes; TLS 1.2 allows 2^14 + 2048.
        pair.ours.receive(&[23, 3, 3, 0xff, 0xff]);
        assert_eq!(pair.ours.failed().blame, Blame::Peer, "{case:?}");
    }
}

/// New keys without end cost the peer its session, and us one answer at most each.
#[test]
fn a_flood_of_new_keys_is_bounded() {
    for case in Case::all().into_iter().filter(|case| case.version == Version::Tls13) {
        let mut pair = Pair::open(case);
        let mut said = 0;
        for _ in 0..10_000 {
            if pair.theirs.tls.refresh_traffic_keys().is_err() {
                break;
            }
            let bytes = pair.theirs.send();
            said += pair.ours.receive(&bytes).len();
            if pair.ours.failure.is_some() {
                break;
            }
        }
        assert!(said <= 10_000 * 64, "{case:?}: {said} bytes of answers");
        assert!(pair.ours.session.rest().is_empty(), "{case:?}");
    }
}

/// TLS 1.2's ways to waste time: warnings without end.
#[test]
fn a_flood_of_warnings_ends_the_session_or_says_nothing() {
    for version in [Version::Tls12, Version::Tls13] {
        let case = Case { server: true, version, shape: Shape::Unbuffered };
        let mut pair = Pair::new(case);
        let mut said = 0;
        // warning, user_canceled
        for _ in 0..10_000 {
            said += pair.ours.receive(&[21, 3, 3, 0, 2, 1, 90]).len();
        }
        assert!(said <= 64, "{case:?}: {said} bytes of answers");
        assert!(pair.ours.session.rest().is_empty(), "{case:?}");
    }
}
