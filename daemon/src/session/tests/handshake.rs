//! Opening, however the bytes come.

use super::cases::*;
use crate::session::{Half, SessionState};
use crate::tls::Version;

#[test]
fn a_handshake_that_comes_byte_by_byte_opens() {
    for case in cases() {
        let mut pair = case.pair();
        pair.run_in(|| 1);
        pair.assert_open(&format!("{case:?}"));
        assert_eq!(pair.ours.session.rest(), b"", "{case:?}: something is kept at rest");
        pair.peer.write(b"to us");
        pair.ours.write(b"to them");
        pair.run_in(|| 1);
        assert_eq!(
            (&pair.ours.received[..], &pair.peer.received[..]),
            (&b"to us"[..], &b"to them"[..]),
            "{case:?}"
        );
    }
}

/// The ClientHello is read twice where the configuration depends on it: wherever it is cut, nothing of it is lost.
#[test]
fn the_peers_first_flight_cut_in_two_anywhere_opens() {
    for case in cases() {
        let setup = case.setup();
        let first_flight = || {
            let mut pair = setup.pair(case.role, case.exports());
            let said = pair.ours.said();
            pair.peer.hear(&said);
            let said = pair.peer.said();
            (pair, said)
        };
        let step = if case.shape == Shape::Hello { 1 } else { 13 };
        for cut in (1..first_flight().1.len()).step_by(step) {
            let (mut pair, said) = first_flight();
            // Flights differ in length by a byte or two: signatures.
            let (start, end) = said.split_at(cut.min(said.len() - 1));
            pair.ours.hear(start);
            pair.ours.hear(end);
            pair.run();
            pair.assert_open(&format!("{case:?} cut at {cut}"));
        }
    }
}

/// A client may speak in the same packet as its Finished, and be done with it.
#[test]
fn data_and_the_end_behind_the_last_flight_are_not_lost() {
    for case in cases().into_iter().filter(|case| case.role == Role::Server) {
        let mut pair = case.pair();
        // In TLS 1.2 the last word of a handshake is ours, in TLS 1.3 the client's.
        while pair.peer.connection.is_handshaking() && pair.ours.session.state().is_handshaking() {
            let said = pair.peer.said();
            pair.ours.hear(&said);
            let said = pair.ours.said();
            pair.peer.hear(&said);
        }
        assert_eq!(pair.ours.session.state().is_handshaking(), case.version == Version::Tls13, "{case:?}");
        pair.peer.write(b"at once");
        pair.peer.end();
        let said = pair.peer.said();
        pair.ours.hear(&said);
        assert_eq!(pair.ours.received, b"at once", "{case:?}");
        assert_eq!(pair.ours.session.state(), SessionState::Closing(Half::Inbound), "{case:?}");
    }
}

/// In the clear, a goodbye may be anybody's: rustls ends the handshake, or goes on and waits for the FIN. No way leads to
/// an end that looks clean.
#[test]
fn a_goodbye_in_the_middle_of_a_handshake_is_no_clean_end() {
    // warning, close_notify
    const GOODBYE: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];
    for case in cases() {
        let mut pair = case.pair();
        pair.ours.hear(&GOODBYE);
        let state = pair.ours.session.state();
        assert!(matches!(state, SessionState::Handshaking | SessionState::Failed(_)), "{case:?}: {state:?}");
        assert_eq!(state.is_handshaking(), pair.ours.failure.is_none(), "{case:?}");
        assert!(!state.may_receive() && !state.may_send(), "{case:?}");
    }
}
