//! What is agreed on: names, application protocols, exporter values.

use super::cases::*;
use crate::session::SessionState;
use crate::tls::pair::VERSIONS;
use crate::tls::{AlpnMismatch, Code, Params, ParamsSpec, Party, Version};

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

/// RFC 6066 section 3: the alert is unrecognized_name, on both interfaces, before and after a look at the ClientHello.
#[test]
fn a_name_that_nobody_serves_is_answered_with_unrecognized_name() {
    for case in cases().into_iter().filter(|case| case.role == Role::Server) {
        let setup = case.setup();
        let mut pair = Pair { ours: setup.our_server(case.exports()), peer: setup.their_client("b.example") };
        pair.run_in(|| 3);
        let failure = pair.ours.failure.as_ref().expect("refused");
        assert_eq!((failure.code, failure.alert), (Code::UnknownServerName, Some((112, Party::Us))));
        assert_eq!(
            pair.peer.failure,
            Some(rustls::Error::AlertReceived(rustls::AlertDescription::UnrecognisedName)),
            "{case:?}: on the wire too"
        );
        assert_eq!(pair.ours.session.take_facts().server_name.as_deref(), Some("b.example"));
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
fn exporter_values_are_the_peers() {
    for case in cases().into_iter().filter(|case| case.exports()) {
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
        let pair = if case.exports() { case.pair() } else { case.open() };
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
