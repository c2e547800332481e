//! What a client believes about a server.

use rcgen::{BasicConstraints, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd};

use crate::tls::pair::*;
use crate::tls::*;

#[test]
fn a_name_in_the_certificate_is_believed_and_reported() {
    let ca = Authority::new("ca");
    let server = server(vec![ca.identity(&["shop.example"])]);
    for version in VERSIONS {
        let mut spec = client_spec(ca.trust(), &["other.example", "Shop.Example"]);
        spec.params = only(version);
        let client = ClientProfile::build(spec).unwrap();
        let choice = ServerNameChoice::parse("shop.example").unwrap();
        let pair = handshake_with(&client, &choice, &server).open();
        assert_eq!(pair.client.seen.matched, [Match::Name("shop.example".into())]);
        assert_eq!(pair.client.seen.signature_scheme, Some("ecdsa_secp256r1_sha256"));
        assert_eq!(pair.server.seen.signature_scheme, Some("ecdsa_secp256r1_sha256"));
        assert_eq!(pair.server.seen.sni.as_deref(), Some("shop.example"));
        assert_eq!(pair.client.seen.spki_sha256(), Some(server.identities()[0].spki_sha256()));
    }
}

#[test]
fn an_address_is_checked_and_not_sent() {
    let ca = Authority::new("ca");
    for address in ["192.0.2.1", "2001:db8::1"] {
        let server = server(vec![ca.identity(&[address])]);
        let pair = handshake(&client(ca.trust(), &[address]), &server).open();
        assert_eq!(pair.client.seen.matched, [Match::Name(address.into())]);
        assert_eq!(pair.server.seen.sni, None);
    }
    let server = server(vec![ca.identity(&["192.0.2.1"])]);
    let failure = handshake(&client(ca.trust(), &["192.0.2.2"]), &server).client_failure();
    assert_eq!(failure.code, Code::NameMismatch);
}

#[test]
fn a_certificate_for_somebody_else_is_refused_and_kept() {
    let ca = Authority::new("ca");
    let mut spec = server_spec(vec![ca.identity(&["web.example", "*.web.example"])]);
    spec.unknown_name_first = true;
    let server = ServerProfile::build(spec).unwrap();
    let pair = handshake(&client(ca.trust(), &["db.example"]), &server);
    assert_eq!(pair.client.seen.chain, server.identities()[0].chain());
    assert_eq!(pair.server.failure.as_ref().unwrap().alert, Some((42, Party::Peer)));
    let failure = pair.client_failure();
    assert_eq!((failure.code, failure.alert), (Code::NameMismatch, Some((42, Party::Us))));
    assert_eq!(
        failure.text,
        "peer's certificate is not valid for \"db.example\": it names web.example, *.web.example"
    );
}

#[test]
fn a_wildcard_covers_one_label_only() {
    let ca = Authority::new("ca");
    let server = server(vec![ca.identity(&["*.example.org"])]);
    handshake(&client(ca.trust(), &["www.example.org"]), &server).open();
    for name in ["a.b.example.org", "example.org"] {
        let client = client(ca.trust(), &[name]);
        let failure = handshake_with(&client, &ServerNameChoice::Omit, &server).client_failure();
        assert_eq!(failure.code, Code::NameMismatch, "{name}");
    }
}

#[test]
fn a_common_name_is_not_a_name() {
    let ca = Authority::new("ca");
    let mut params = params(&[]);
    params.distinguished_name.push(DnType::CommonName, "db.example");
    let server = server(vec![ca.issue(&KeyPair::generate().unwrap(), params)]);
    let client = client(ca.trust(), &["db.example"]);
    let failure = handshake_with(&client, &ServerNameChoice::Omit, &server).client_failure();
    assert_eq!(failure.code, Code::NameMismatch);
    assert!(failure.text.contains("only a common name, \"db.example\""), "{failure}");
}

#[test]
fn an_unknown_issuer_is_refused_with_a_hint_to_pin() {
    let server = server(vec![Authority::new("theirs").identity(&["a.example"])]);
    let pair = handshake(&client(Authority::new("ours").trust(), &["a.example"]), &server);
    assert_eq!(pair.client.seen.spki_sha256(), Some(server.identities()[0].spki_sha256()));
    assert!(pair.client.seen.matched.is_empty());
    let failure = pair.client_failure();
    assert_eq!((failure.code, failure.alert), (Code::UnknownIssuer, Some((48, Party::Us))));
    assert!(failure.text.ends_with("pin its spki-sha256"), "{failure}");
}

#[test]
fn dates_and_purposes_are_checked() {
    let ca = Authority::new("ca");
    let refused = |change: &dyn Fn(&mut rcgen::CertificateParams)| {
        let mut params = params(&["a.example"]);
        change(&mut params);
        let server = server(vec![ca.issue(&KeyPair::generate().unwrap(), params)]);
        handshake(&client(ca.trust(), &["a.example"]), &server).client_failure().code
    };
    assert_eq!(refused(&|params| params.not_after = date_time_ymd(2020, 1, 1)), Code::CertificateExpired);
    assert_eq!(
        refused(&|params| params.not_before = date_time_ymd(4000, 1, 1)),
        Code::CertificateNotYetValid
    );
    let client_only = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    };
    assert_eq!(refused(&client_only), Code::CertificatePurpose);
    let authority =
        |params: &mut rcgen::CertificateParams| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(refused(&authority), Code::BadCertificate);
}

#[test]
fn pins_can_stand_instead_of_the_chain() {
    let mut params = params(&["a.example"]);
    params.not_after = date_time_ymd(2020, 1, 1);
    let identity = Authority::new("nobody knows").issue(&KeyPair::generate().unwrap(), params);
    let pins =
        [Pin::Spki(identity.spki_sha256()), Pin::Certificate(certificate_sha256(&identity.chain()[0]))];
    let server = server(vec![identity]);
    for pin in pins {
        let mut spec = client_spec(Trust::Pins, &[]);
        spec.pins = vec![Pin::Spki([7; 32]), pin];
        let pair = handshake(&ClientProfile::build(spec.clone()).unwrap(), &server).open();
        assert_eq!(pair.client.seen.matched, [Match::Pin(pin)]);
        // A name that is given is checked even then.
        spec.names = vec![ReferenceId::parse("b.example").unwrap()];
        let client = ClientProfile::build(spec).unwrap();
        let failure = handshake_with(&client, &ServerNameChoice::Omit, &server).client_failure();
        assert_eq!(failure.code, Code::NameMismatch);
    }
}

#[test]
fn a_wrong_pin_refuses_even_a_right_chain() {
    let ca = Authority::new("ca");
    let server = server(vec![ca.identity(&["a.example"])]);
    for (trust, names) in [(ca.trust(), &["a.example"][..]), (Trust::Pins, &[])] {
        let mut spec = client_spec(trust, names);
        spec.pins = vec![Pin::Spki([7; 32])];
        let failure = handshake(&ClientProfile::build(spec).unwrap(), &server).client_failure();
        assert_eq!((failure.code, failure.alert), (Code::PinMismatch, Some((46, Party::Us))));
    }
}

#[test]
fn pins_add_to_the_chain_and_do_not_replace_it() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for (issuer, passes) in [(&ours, true), (&theirs, false)] {
        let server = server(vec![issuer.identity(&["a.example"])]);
        let mut spec = client_spec(ours.trust(), &["a.example"]);
        let pin = Pin::Spki(server.identities()[0].spki_sha256());
        spec.pins = vec![pin];
        let pair = handshake(&ClientProfile::build(spec).unwrap(), &server);
        if passes {
            assert_eq!(pair.open().client.seen.matched, [Match::Name("a.example".into()), Match::Pin(pin)]);
        } else {
            assert_eq!(pair.client_failure().code, Code::UnknownIssuer);
        }
    }
}

#[test]
fn nothing_can_be_built_that_checks_nothing() {
    let ca = Authority::new("ca");
    assert_eq!(
        ClientProfile::build(client_spec(Trust::Pins, &["a.example"])).unwrap_err(),
        SpecError::NoPins
    );
    let profile = client(ca.trust(), &[]);
    let failure = profile.session_config(&[], &Witness::new(), None).unwrap_err();
    assert_eq!((failure.code, failure.blame), (Code::MissingKey, Blame::Caller));
    let failure =
        client(Trust::System, &["a.example"]).session_config(&[], &Witness::new(), None).unwrap_err();
    assert_eq!((failure.code, failure.blame), (Code::TrustUnusable, Blame::Operator));
}

#[test]
fn the_hosts_pool_is_used_only_when_it_is_meant() {
    let ca = Authority::new("ca");
    let profile = client(Trust::System, &["a.example"]);
    assert!(profile.needs_system_roots());
    assert!(profile.session_config(&[], &Witness::new(), Some(&ca.roots())).is_ok());
    assert!(!client(ca.trust(), &["a.example"]).needs_system_roots());
}

#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    let ca = Authority::new("ca");
    let (victim, thief) = (ca.identity(&["a.example"]), ca.identity(&["thief.example"]));
    let server = server(vec![victim.clone()]);
    let pins = vec![Pin::Spki(victim.spki_sha256())];
    for version in VERSIONS {
        for (trust, names) in [(ca.trust(), &["a.example"][..]), (Trust::Pins, &[])] {
            let spec = ClientSpec { params: only(version), pins: pins.clone(), ..client_spec(trust, names) };
            let client = ClientProfile::build(spec).unwrap();
            let choice = ServerNameChoice::FirstDns;
            handshake_with(&client, &choice, &server).open();
            let pair = handshake_changed(
                &client,
                &choice,
                &server,
                |_| {},
                |config| {
                    config.cert_resolver = stolen(&victim, &thief);
                },
            );
            assert_eq!(pair.client.seen.signature_scheme, None);
            assert_eq!(pair.client_failure().code, Code::KeyUnproven);
        }
    }
}

#[test]
fn intermediates_of_the_server_complete_the_chain() {
    let root = Authority::new("root");
    let (middle, pem) = root.below("middle");
    let key = KeyPair::generate().unwrap();
    let (leaf, key) = middle.pems(&key, params(&["a.example"]));
    for (chain, passes) in [(format!("{leaf}{pem}"), true), (leaf, false)] {
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes(), None).unwrap();
        let pair = handshake(&client(root.trust(), &["a.example"]), &server(vec![identity]));
        if passes {
            assert_eq!(pair.open().client.seen.chain.len(), 2);
        } else {
            assert_eq!(pair.client_failure().code, Code::UnknownIssuer);
        }
    }
}
