//! Client sessions that resume where more than a chain and a name is checked: raw public keys, staples.

use std::sync::Arc;

use rcgen::KeyPair;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::{ServerConfig, ServerConnection};

use super::cases::{NAME, Ours, Pair, Theirs};
use crate::session::{Facts, Session};
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, server_spec};
use crate::tls::tests::staples::{good, stapling};
use crate::tls::{
    CertificateType, ClientProfile, ClientSpec, Code, Identity, Pin, ServerNameChoice, ServerProfile,
    StapledOcsp, Tickets, Trust, Witness,
};

/// A server with tickets; those with the same configuration are one server.
fn server(identity: Identity) -> ServerConfig {
    let profile = ServerProfile::build(server_spec(vec![identity])).unwrap();
    let config = profile.session_config(&Witness::new(), None, false).unwrap();
    let mut config = ServerConfig::clone(&config);
    config.ticketer = Ticketer::new().unwrap();
    config.send_tls13_tickets = 2;
    config
}

/// A session with tickets of this store: what was agreed on, or why it did not open.
fn session(tickets: &Tickets, spec: &ClientSpec, server: &ServerConfig) -> Result<Facts, Code> {
    let profile = ClientProfile::build(spec.clone()).unwrap();
    let (witness, sni) = (Witness::new(), profile.sni(&[], &ServerNameChoice::FirstDns));
    let store = tickets.store(1000, "mine");
    let (config, resuming) =
        profile.resuming_config(&[], &sni, &witness, None, &store, false).expect("it says whom it means");
    let session = Session::client(config, sni.name, witness, false, Some(resuming)).unwrap();
    let server = ServerConnection::new(Arc::new(server.clone())).unwrap();
    let mut pair = Pair { ours: Ours::begun(session), peer: Theirs::new(server.into()) };
    pair.run();
    if let Some(failure) = pair.ours.failure {
        return Err(failure.code);
    }
    Ok(pair.ours.session.take_facts())
}

#[test]
fn a_raw_public_key_is_known_again_and_only_while_it_is_pinned() {
    let key = Identity::from_key(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
    let (tickets, server) = (Tickets::new(), server(key.clone()));
    let spec = ClientSpec {
        certificate_type: CertificateType::RawPublicKey,
        pins: vec![Pin::Spki(key.spki_sha256())],
        ..client_spec(Trust::Pins, &[])
    };
    let first = session(&tickets, &spec, &server).unwrap();
    assert!(!first.resumed && first.raw_key && first.level.is_some());
    for _ in 0..3 {
        let facts = session(&tickets, &spec, &server).unwrap();
        assert!(facts.resumed && facts.raw_key && facts.chain.is_empty());
        assert_eq!((facts.spki_sha256, facts.certificate_sha256), (Some(key.spki_sha256()), None));
        assert_eq!((facts.matched, facts.level), (first.matched.clone(), first.level));
    }
    let other = ClientSpec { pins: vec![Pin::Spki([7; 32])], ..spec.clone() };
    assert_eq!(session(&tickets, &other, &server).unwrap_err(), Code::PinMismatch);
    // With certificates in mind, the ticket of a raw public key is nobody's.
    let x509 = ClientSpec { certificate_type: CertificateType::X509, ..spec };
    assert_eq!(session(&tickets, &x509, &server).unwrap_err(), Code::AlertReceived);
}

#[test]
fn a_staple_that_was_good_is_not_asked_for_again_and_one_that_never_came_does_not_resume() {
    for version in VERSIONS {
        let (ca, tickets) = (Authority::new("ca"), Tickets::new());
        let spec = |stapled_ocsp| ClientSpec {
            stapled_ocsp,
            params: only(version),
            ..client_spec(ca.trust(), &[NAME])
        };
        let (optional, required) = (spec(StapledOcsp::Optional), spec(StapledOcsp::Required));
        let must = server(stapling(&ca, true, Some(good(&ca))));
        let first = session(&tickets, &optional, &must).unwrap();
        let second = session(&tickets, &optional, &must).unwrap();
        assert_eq!((first.resumed, second.resumed), (false, true), "{version:?}");
        assert_eq!((second.chain, second.matched), (first.chain, first.matched));
        // Whoever wants one has not seen one yet.
        assert!(!session(&tickets, &required, &must).unwrap().resumed, "{version:?}");
        assert!(session(&tickets, &required, &must).unwrap().resumed, "{version:?}");
        // A certificate that promises one, and a server that has none: in no store is a way around it.
        let tickets = Tickets::new();
        let silent = server(stapling(&ca, true, None));
        for _ in 0..2 {
            assert_eq!(
                session(&tickets, &optional, &silent).unwrap_err(),
                Code::StapleMissing,
                "{version:?}"
            );
        }
        let plain = server(stapling(&ca, false, None));
        assert!(!session(&tickets, &optional, &plain).unwrap().resumed);
        assert_eq!(session(&tickets, &required, &plain).unwrap_err(), Code::StapleMissing, "{version:?}");
        assert!(session(&tickets, &optional, &plain).unwrap().resumed, "{version:?}");
    }
}
