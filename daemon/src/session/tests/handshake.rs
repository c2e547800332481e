//! Opening, however the bytes come.

use rustls::AlertDescription;
use tlsify_protocol::{Blame, Code, Party, Version};

use super::pair::{Case, End, Pair, Shape, first_record, is_alert};
use crate::session::SessionState;

#[test]
fn a_handshake_that_comes_byte_by_byte_opens() {
    for case in Case::all() {
        let mut pair = Pair::new(case);
        pair.settle_in(|_| 1);
        assert!(pair.ours.is_open() && pair.theirs.is_open(), "{case:?}: {:?}", pair.ours.failure);
        assert!(pair.ours.session.rest().is_empty(), "{case:?}: something is kept at rest");
        pair.they_write(b"to us");
        pair.we_write(b"to them");
        pair.settle_in(|_| 1);
        assert_eq!((pair.ours.got(), pair.theirs.got()), (&b"to us"[..], &b"to them"[..]), "{case:?}");
    }
}

/// The ClientHello is read twice where the configuration depends on it: wherever it is cut, nothing of it is lost.
#[test]
fn a_first_flight_cut_in_two_anywhere_opens() {
    for case in Case::all().into_iter().filter(|case| case.server) {
        let length = Pair::new(case).to_us.len();
        let step = if case.shape == Shape::Hello { 1 } else { 17 };
        for cut in (1..length).step_by(step) {
            let mut pair = Pair::new(case);
            let mut first = Some(cut);
            pair.settle_in(|rest| first.take().unwrap_or(rest));
            assert!(
                pair.ours.is_open() && pair.theirs.is_open(),
                "{case:?} cut at {cut}: {:?}",
                pair.ours.failure
            );
        }
    }
}

#[test]
fn a_client_takes_the_servers_flight_cut_in_two_anywhere() {
    for case in Case::all().into_iter().filter(|case| !case.server) {
        let mut pair = Pair::new(case);
        let hello = std::mem::take(&mut pair.to_them);
        let length = pair.theirs.receive(&hello).len();
        for cut in (1..length).step_by(13) {
            let mut pair = Pair::new(case);
            let mut first = Some(cut);
            pair.settle_in(|rest| if rest == length { first.take().unwrap_or(rest) } else { rest });
            assert!(
                pair.ours.is_open() && pair.theirs.is_open(),
                "{case:?} cut at {cut}: {:?}",
                pair.ours.failure
            );
        }
    }
}

/// A client may speak in the same packet as its Finished, and be done with it.
#[test]
fn data_and_the_end_behind_the_last_flight_are_not_lost() {
    for case in Case::all().into_iter().filter(|case| case.server) {
        let mut pair = Pair::new(case);
        while !pair.theirs.is_open() {
            let bytes = std::mem::take(&mut pair.to_us);
            let answer = pair.ours.receive(&bytes);
            pair.to_us = pair.theirs.receive(&answer);
            if case.version == Version::Tls12 && pair.ours.is_open() {
                break;
            }
        }
        pair.they_write(b"at once");
        pair.they_finish();
        let bytes = std::mem::take(&mut pair.to_us);
        pair.ours.receive(&bytes);
        assert_eq!(pair.ours.got(), b"at once", "{case:?}");
        assert_eq!(
            pair.ours.session.state(),
            SessionState::Closing(crate::session::Half::Inbound),
            "{case:?}"
        );
    }
}

/// RFC 6066 section 3: the alert is unrecognized_name, on both interfaces, before and after a look at the ClientHello.
#[test]
fn a_name_that_nobody_serves_gets_its_own_alert() {
    for case in Case::all().into_iter().filter(|case| case.server) {
        let mut pair = Pair::changed(case, |far| far.name = "nobody.example");
        pair.settle_in(|_| 3);
        assert_eq!(pair.ours.failed().code, Code::UnknownServerName, "{case:?}");
        let told = Some(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName));
        assert_eq!(pair.theirs.error, told, "{case:?}");
    }
}

#[test]
fn a_server_that_ignores_a_mismatch_agrees_on_nothing_and_goes_on() {
    for version in [Version::Tls12, Version::Tls13] {
        let case = Case { server: true, version, shape: Shape::Hello };
        for (offered, agreed) in [(&b"other"[..], None), (&b"ours"[..], Some(&b"ours"[..]))] {
            let mut pair = Pair::changed(case, |far| far.alpn = vec![offered.to_vec()]);
            pair.settle_in(|_| 5);
            assert!(pair.ours.is_open() && pair.theirs.is_open(), "{:?}", pair.ours.failure);
            assert_eq!(pair.theirs.tls.alpn_protocol(), agreed);
            assert_eq!(pair.ours.session.take_facts().alpn.as_deref(), agreed);
        }
    }
}

#[test]
fn exporter_values_are_the_same_at_both_ends() {
    for case in Case::all().into_iter().filter(|case| case.shape == Shape::Exports) {
        let pair = Pair::open(case);
        let (mut ours, mut theirs) = ([0; 40], [0; 40]);
        pair.ours.session.export(&mut ours, b"EXPORTER-test", Some(b"context")).unwrap();
        match &pair.theirs.tls {
            rustls::Connection::Client(tls) => {
                tls.export_keying_material(&mut theirs, b"EXPORTER-test", Some(b"context"))
            }
            rustls::Connection::Server(tls) => {
                tls.export_keying_material(&mut theirs, b"EXPORTER-test", Some(b"context"))
            }
        }
        .unwrap();
        assert!(ours == theirs && ours != [0; 40], "{case:?}");
    }
}

/// Whatever a record was meant to be, garbage in its place is a failure with a reason, the peer is told by an alert,
/// and nothing looks like an end.
#[test]
fn garbage_at_any_step_is_a_failure_with_an_alert() {
    for case in Case::all() {
        for step in 0.. {
            let mut pair = Pair::new(case);
            let mut steps = 0;
            // Record by record up to the step, and then something else.
            while steps < step && !(pair.to_us.is_empty() && pair.to_them.is_empty()) {
                if !pair.to_us.is_empty() {
                    let length = first_record(&pair.to_us);
                    let record: Vec<u8> = pair.to_us.drain(..length).collect();
                    pair.to_them.extend(pair.ours.receive(&record));
                    steps += 1;
                }
                let bytes = std::mem::take(&mut pair.to_them);
                pair.to_us.extend(pair.theirs.receive(&bytes));
            }
            if steps < step {
                break;
            }
            let answer = pair.ours.receive(b"\x17\x03\x03\x00\x20HELLO? IS THERE ANYBODY LISTENING");
            let failure = pair.ours.failed();
            assert!(matches!(pair.ours.session.state(), SessionState::Failed(_)), "{case:?} step {step}");
            assert!(
                !failure.text.is_empty() && failure.blame == Blame::Peer,
                "{case:?} step {step}: {failure:?}"
            );
            assert!(is_alert(&answer), "{case:?} step {step}: {answer:?}");
            assert_eq!(pair.ours.receive(b"more"), b"", "{case:?} step {step}: it goes on");
            pair.theirs.receive(&answer);
            let Some(rustls::Error::AlertReceived(told)) = pair.theirs.error else {
                panic!("{case:?} step {step}: {:?}", pair.theirs.error);
            };
            assert!(!pair.theirs.closed, "{case:?} step {step}: the peer saw a clean end");
            // What the caller is told was said is what the peer heard.
            if let Some((alert, by)) = pair.ours.failed().alert {
                assert_eq!((alert, by), (u8::from(told), Party::Us), "{case:?} step {step}");
            }
        }
    }
}

/// In the clear, a goodbye may be anybody's: rustls ends the handshake, or goes on and waits for the FIN. No way leads to
/// an end that looks clean.
#[test]
fn a_goodbye_in_the_middle_of_a_handshake_is_no_clean_end() {
    // warning, close_notify
    const GOODBYE: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];
    for case in Case::all() {
        let mut pair = Pair::new(case);
        pair.ours.receive(&GOODBYE);
        let state = pair.ours.session.state();
        assert!(matches!(state, SessionState::Handshaking | SessionState::Failed(_)), "{case:?}: {state:?}");
        assert_eq!(state.is_handshaking(), pair.ours.failure.is_none(), "{case:?}");
        assert!(!state.may_receive() && !state.may_send(), "{case:?}");
    }
}
