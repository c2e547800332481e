//! What is agreed on: names, application protocols, exporter values.

use super::cases::*;
use crate::session::SessionState;
use crate::tls::pair::only;
use crate::tls::{AlpnMismatch, Code, Params, ParamsSpec, Party, Version};

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

fn alpn(version: Version, names: &[&str], mismatch: Option<AlpnMismatch>) -> Params {
    Params::build(&ParamsSpec {
        min: Some(version),
        max: Some(version),
        alpn: names.iter().map(|name| name.as_bytes().to_vec()).collect(),
        alpn_mismatch: mismatch,
        ..ParamsSpec::default()
    })
    .unwrap()
}

#[test]
fn a_name_that_nobody_serves_is_answered_with_unrecognized_name() {
    for version in VERSIONS {
        for exports in [false, true] {
            let setup = Setup::new(only(version));
            let mut pair = Pair { ours: setup.our_server(exports), peer: setup.their_client("b.example") };
            pair.run_in(|| 100);
            let failure = pair.ours.failure.as_ref().expect("refused");
            assert_eq!((failure.code, failure.alert), (Code::UnknownServerName, Some((112, Party::Us))));
            assert_eq!(
                pair.peer.failure,
                Some(rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName)),
                "TLS {version}, exports {exports}: on the wire too"
            );
            assert_eq!(pair.ours.session.take_facts().server_name.as_deref(), Some("b.example"));
        }
    }
}

#[test]
fn a_server_that_ignores_a_mismatch_opens_wherever_the_hello_is_cut() {
    for version in VERSIONS {
        for exports in [false, true] {
            let ours = alpn(version, &["h2"], Some(AlpnMismatch::Ignore));
            for (offer, agreed) in [(&["imap"][..], None), (&["imap", "h2"], Some(&b"h2"[..])), (&[], None)] {
                let setup = Setup::with(alpn(version, offer, None), ours.clone());
                let hello = setup.their_client(NAME).said();
                for cut in (1..hello.len()).filter(|cut| *cut < 20 || cut % 41 == 0) {
                    let mut pair = setup.pair(Role::Server, exports);
                    let said = pair.peer.said();
                    let (start, end) = said.split_at(cut.min(said.len() - 1));
                    pair.ours.hear(start);
                    assert_eq!(pair.ours.session.state(), SessionState::Handshaking);
                    pair.ours.hear(end);
                    pair.run();
                    assert_eq!(pair.ours.failure, None, "{offer:?} cut at {cut}");
                    assert_eq!(
                        pair.ours.session.take_facts().alpn.as_deref(),
                        agreed,
                        "{offer:?} cut at {cut}"
                    );
                    assert_eq!(pair.peer.connection.alpn_protocol(), agreed);
                    assert_eq!(pair.ours.session.rest(), b"");
                }
            }
        }
    }
}

#[test]
fn such_a_server_opens_byte_by_byte_and_moves_data() {
    for version in VERSIONS {
        for exports in [false, true] {
            let ours = alpn(version, &["h2"], Some(AlpnMismatch::Ignore));
            let mut pair = Setup::with(alpn(version, &["imap"], None), ours).pair(Role::Server, exports);
            pair.peer.write(b"question");
            pair.run_in(|| 1);
            pair.ours.write(b"answer");
            pair.run_in(|| 1);
            assert_eq!(
                (&pair.ours.received[..], &pair.peer.received[..]),
                (&b"question"[..], &b"answer"[..])
            );
        }
    }
}

#[test]
fn garbage_to_such_a_server_is_refused_and_answered() {
    let ours = alpn(Version::Tls13, &["h2"], Some(AlpnMismatch::Ignore));
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 3, 0, 4, 99, 0, 0, 0], &[23, 3, 3, 0, 1, 0]] {
        let mut pair = Setup::new(ours.clone()).pair(Role::Server, false);
        for byte in garbage {
            pair.ours.hear(&[*byte]);
        }
        assert!(matches!(pair.ours.session.state(), SessionState::Failed(_)), "{garbage:?}");
        let said = pair.ours.said();
        let failure = pair.ours.failure.as_ref().expect("failed");
        let alert = failure.alert.map(|(alert, _)| alert);
        assert_eq!(said.get(6).copied(), alert, "{garbage:?}: the alert is the one on the wire, {failure:?}");
        assert!(alert.is_some());
    }
}

#[test]
fn such_a_server_keeps_no_more_of_a_hello_without_end_than_others() {
    let ours = alpn(Version::Tls13, &["h2"], Some(AlpnMismatch::Ignore));
    let mut pair = Setup::new(ours).pair(Role::Server, false);
    pair.ours.hear(&[22, 3, 3, 0, 4, 1, 0, 0xff, 0xff]);
    for _ in 0..100_000 {
        if pair.ours.failure.is_some() {
            break;
        }
        pair.ours.hear(&[22, 3, 3, 0, 1, 0]);
    }
    assert_eq!(pair.ours.failure.map(|failure| failure.code), Some(Code::ProtocolViolation));
}

#[test]
fn exporter_values_are_the_peers() {
    for case in cases().into_iter().filter(|case| case.exports) {
        let mut pair = case.open();
        for (label, context) in
            [(&b"EXPORTER-Channel-Binding"[..], None), (b"EXPERIMENTAL-x", Some(&b"context"[..]))]
        {
            for length in [1, 32, 255] {
                let (mut ours, mut theirs) = (vec![0; length], vec![0; length]);
                pair.ours.session.export(&mut ours, label, context).unwrap();
                pair.peer.connection.export_keying_material(&mut theirs, label, context).unwrap();
                assert_eq!(ours, theirs, "{case:?}");
                assert!(length == 1 || ours.iter().any(|byte| *byte != 0));
            }
        }
        pair.ours.write(b"still open");
        pair.run();
        assert_eq!(pair.peer.received, b"still open");
    }
}

#[test]
fn exporter_values_are_not_had_before_the_handshake_or_without_asking() {
    for case in cases() {
        let mut value = [0; 32];
        let pair = if case.exports { case.pair() } else { case.open() };
        let failure = pair.ours.session.export(&mut value, b"EXPORTER-Channel-Binding", None).unwrap_err();
        assert_eq!((failure.code, value), (Code::Internal, [0; 32]), "{case:?}");
    }
}

#[test]
fn the_facts_are_those_of_the_peer() {
    for case in cases() {
        let mut pair = case.open();
        let facts = pair.ours.session.take_facts();
        assert_eq!(facts.protocol, format!("TLSv{}", case.version), "{case:?}");
        let suite = pair.peer.connection.negotiated_cipher_suite().unwrap().suite();
        assert_eq!(facts.cipher, crate::tls::cipher_suite_name(suite), "{case:?}");
        assert!(facts.group.is_some() && facts.signature.is_some() && !facts.resumed, "{case:?} {facts:?}");
        assert_eq!(facts.server_name.as_deref(), (case.role == Role::Server).then_some(NAME), "{case:?}");
        assert_eq!(facts.chain.len(), usize::from(case.role == Role::Client), "{case:?}");
    }
}
