//! Raw public keys (RFC 7250): two ends that know each other's keys, and nobody else.

use rcgen::KeyPair;

use crate::tls::pair::*;
use crate::tls::*;

fn raw(key: &KeyPair) -> Identity {
    Identity::from_key(key.serialize_pem().as_bytes()).unwrap()
}

fn fresh() -> Identity {
    raw(&KeyPair::generate().unwrap())
}

fn pin(identity: &Identity) -> Vec<Pin> {
    vec![Pin::Spki(identity.spki_sha256())]
}

/// A client that shows `ours` and expects the raw public key of `theirs`.
fn client_of(ours: Option<&Identity>, theirs: &Identity) -> ClientSpec {
    ClientSpec {
        identity: ours.cloned(),
        certificate_type: CertificateType::RawPublicKey,
        pins: pin(theirs),
        ..client_spec(Trust::Pins, &[])
    }
}

/// A server that shows `ours` and lets in who has the key of `theirs`.
fn server_of(ours: &Identity, theirs: &Identity) -> ServerSpec {
    ServerSpec {
        certificate_type: CertificateType::RawPublicKey,
        client_certificate: ClientCertificate::Required,
        trust: Some(Trust::Pins),
        pins: pin(theirs),
        ..server_spec(vec![ours.clone()])
    }
}

fn meet(client: ClientSpec, server: ServerSpec) -> Pair {
    handshake(&ClientProfile::build(client).unwrap(), &ServerProfile::build(server).unwrap())
}

#[test]
fn two_ends_that_know_each_others_keys_need_nobody_else() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let [near, far] = [0, 1].map(|_| raw(&KeyPair::generate_for(algorithm).unwrap()));
        let pair = meet(client_of(Some(&near), &far), server_of(&far, &near)).open();
        for (seen, peer) in [(&pair.client.seen, &far), (&pair.server.seen, &near)] {
            assert!(seen.raw_key);
            assert_eq!(seen.spki_sha256(), Some(peer.spki_sha256()));
            assert_eq!(seen.certificate_sha256(), None);
            assert_eq!(seen.matched, [Match::Pin(pin(peer)[0])]);
        }
    }
}

#[test]
fn a_key_pins_the_same_with_a_certificate_and_without() {
    let key = KeyPair::generate().unwrap();
    let certified = Authority::new("ca").issue(&key, params(&["a.example"]));
    assert_eq!(raw(&key).spki_sha256(), certified.spki_sha256());
}

#[test]
fn each_end_chooses_by_itself_what_it_shows() {
    let ca = Authority::new("ca");
    let (key, certified) = (fresh(), ca.identity(&["a.example"]));
    // A raw server, a client with a certificate.
    let server = ServerSpec {
        certificate_type: CertificateType::X509,
        trust: Some(ca.trust()),
        pins: Vec::new(),
        ..server_of(&key, &key)
    };
    let pair = meet(client_of(Some(&certified), &key), server).open();
    assert!(pair.client.seen.raw_key && !pair.server.seen.raw_key);
    assert_eq!(pair.server.seen.certificate_sha256(), Some(certificate_sha256(&certified.chain()[0])));
    // A server with a certificate, a raw client.
    let server = ServerSpec { identities: vec![certified], ..server_of(&key, &key) };
    let client = ClientSpec { identity: Some(key.clone()), ..client_spec(ca.trust(), &["a.example"]) };
    let pair = meet(client, server).open();
    assert!(!pair.client.seen.raw_key && pair.server.seen.raw_key);
}

#[test]
fn another_key_is_refused_with_its_hash_on_both_sides() {
    let (near, far, other) = (fresh(), fresh(), fresh());
    let pair = meet(client_of(Some(&near), &other), server_of(&far, &near));
    assert_eq!(pair.client.seen.spki_sha256(), Some(far.spki_sha256()), "to look at and pin");
    let failure = pair.client_failure();
    assert_eq!((failure.code, failure.alert), (Code::PinMismatch, Some((46, Party::Us))));
    assert_eq!(failure.text, "peer's public key is not the pinned one");

    let pair = meet(client_of(Some(&near), &far), server_of(&far, &other));
    assert_eq!(pair.server.seen.spki_sha256(), Some(near.spki_sha256()));
    let failure = pair.server_failure();
    assert_eq!((failure.code, failure.alert), (Code::PinMismatch, Some((46, Party::Us))));
}

#[test]
fn a_key_that_cannot_sign_is_no_identity() {
    // The thief has seen the public key, and signs with one of their own.
    let (near, far, thief) = (fresh(), fresh(), fresh());
    let client = ClientProfile::build(client_of(Some(&near), &far)).unwrap();
    let server = ServerProfile::build(server_of(&far, &near)).unwrap();
    let fake = AlwaysRaw(stolen(&far, &thief));
    let change = |config: &mut rustls::ServerConfig| config.cert_resolver = std::sync::Arc::new(fake);
    let choice = ServerNameChoice::FirstDns;
    let failure = handshake_changed(&client, &choice, &server, |_| {}, change).client_failure();
    assert_eq!(failure.code, Code::KeyUnproven, "{failure}");
}

#[derive(Debug)]
struct AlwaysRaw(std::sync::Arc<rustls::sign::SingleCertAndKey>);

impl rustls::server::ResolvesServerCert for AlwaysRaw {
    fn resolve(
        &self,
        hello: rustls::server::ClientHello<'_>,
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        rustls::server::ResolvesServerCert::resolve(&*self.0, hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

#[test]
fn two_pins_let_a_peer_change_its_key() {
    let (near, old, new, other) = (fresh(), fresh(), fresh(), fresh());
    for (key, enters) in [(&old, true), (&new, true), (&other, false)] {
        let client = ClientSpec { pins: [pin(&old), pin(&new)].concat(), ..client_of(Some(&near), &old) };
        let pair = meet(client, server_of(key, &near));
        assert_eq!(pair.client.failure.is_none(), enters);
    }
}

#[test]
fn who_does_not_do_raw_keys_hears_what_is_wrong() {
    let ca = Authority::new("ca");
    let (key, certified) = (fresh(), ca.identity(&["a.example"]));
    let plain = || client_spec(ca.trust(), &["a.example"]);
    let meetings = [
        // A client that wants a raw public key, and a server that has a certificate.
        (client_of(None, &key), server_spec(vec![certified.clone()])),
        // A client that wants a certificate, and a server that has none.
        (plain(), server_spec(vec![key.clone()])),
        // A client that has a raw public key only, and a server that asks for certificates, or for nothing.
        (ClientSpec { identity: Some(key.clone()), ..plain() }, server_spec(vec![certified.clone()])),
        // A client that has nothing or a certificate, and a server that asks for raw public keys.
        (client_of(None, &key), server_of(&key, &key)),
        (client_of(Some(&certified), &key), server_of(&key, &key)),
    ];
    for (at, (client, server)) in meetings.into_iter().enumerate() {
        let pair = meet(client, server);
        assert_eq!(pair.client.failure.as_ref().and_then(|failure| failure.alert), Some((40, Party::Peer)));
        let failure = pair.server_failure();
        assert_eq!(
            (failure.code, failure.alert),
            (Code::NoSharedParameters, Some((40, Party::Us))),
            "{at}: {failure}"
        );
        assert!(failure.text.contains("raw public key"), "{at}: {failure}");
    }
}

#[test]
fn a_client_without_a_key_gets_in_only_where_it_may() {
    let (key, near) = (fresh(), fresh());
    for (choice, enters) in [(ClientCertificate::Optional, true), (ClientCertificate::Required, false)] {
        let server = ServerSpec { client_certificate: choice, ..server_of(&key, &near) };
        let server = ServerProfile::build(server).unwrap();
        let client = ClientProfile::build(client_of(Some(&near), &key)).unwrap();
        // It offers the type, and then has no key that the server takes.
        let change = |config: &mut rustls::ClientConfig| {
            config.client_auth_cert_resolver = std::sync::Arc::new(Offers);
        };
        let pair = handshake_changed(&client, &ServerNameChoice::FirstDns, &server, change, |_| {});
        let failure = pair.server.failure.map(|failure| (failure.code, failure.alert));
        let refused = Some((Code::CertificateMissing, Some((116, Party::Us))));
        assert_eq!(failure, if enters { None } else { refused });
        assert_eq!(pair.server.seen.spki_sha256(), None);
    }
}

#[derive(Debug)]
struct Offers;

impl rustls::client::ResolvesClientCert for Offers {
    fn resolve(
        &self,
        _: &[&[u8]],
        _: &[rustls::SignatureScheme],
    ) -> Option<std::sync::Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        true
    }

    fn only_raw_public_keys(&self) -> bool {
        true
    }
}

#[test]
fn a_key_has_no_name_so_that_every_name_gets_it() {
    let (near, far) = (fresh(), fresh());
    let client = ClientProfile::build(client_of(Some(&near), &far)).unwrap();
    let asks = |server: &ServerProfile| {
        handshake_with(&client, &ServerNameChoice::parse("any.example").unwrap(), server).server.failure
    };
    assert_eq!(asks(&ServerProfile::build(server_of(&far, &near)).unwrap()), None);
    let named = far.clone().with_names(vec!["b.example".to_owned()]);
    let failure = asks(&ServerProfile::build(server_of(&named, &near)).unwrap());
    assert_eq!(failure.map(|failure| failure.code), Some(Code::UnknownServerName));
}

#[test]
fn several_keys_are_chosen_among_by_what_the_client_verifies() {
    let (near, first) = (fresh(), fresh());
    let second = raw(&KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap());
    let spec = ParamsSpec { signature_schemes: Some(vec!["ed25519".into()]), ..ParamsSpec::default() };
    let client =
        ClientSpec { params: Params::build(&spec).unwrap(), identity: None, ..client_of(None, &second) };
    let server = ServerSpec {
        client_certificate: ClientCertificate::None,
        certificate_type: CertificateType::X509,
        trust: None,
        pins: Vec::new(),
        identities: vec![first, second.clone()],
        ..server_of(&second, &near)
    };
    let pair = meet(client, server).open();
    assert_eq!(pair.client.seen.spki_sha256(), Some(second.spki_sha256()));
}

/// Which key a specification is refused about.
fn about(result: Result<(), SpecError>) -> Option<(Code, &'static str)> {
    result.err().map(|error| (error.code(), error.about()))
}

#[test]
fn what_needs_a_certificate_is_refused_by_name() {
    let ca = Authority::new("ca");
    let (near, far) = (fresh(), fresh());
    let client = |spec: ClientSpec| about(ClientProfile::build(spec).map(|_| ()));
    let server = |spec: ServerSpec| about(ServerProfile::build(spec).map(|_| ()));
    let conflict = |key| Some((Code::KeyConflict, key));
    let usual = || client_of(Some(&near), &far);
    assert_eq!(client(usual()), None);
    assert_eq!(client(ClientSpec { trust: ca.trust(), ..usual() }), conflict("trust"));
    let names = vec![ReferenceId::parse("a.example").unwrap()];
    assert_eq!(client(ClientSpec { names: names.clone(), ..usual() }), conflict("name"));
    assert_eq!(client(ClientSpec { pins: vec![Pin::Certificate([0; 32])], ..usual() }), conflict("pin"));
    assert_eq!(client(ClientSpec { params: only(Version::Tls12), ..usual() }), conflict("max"));
    assert_eq!(client(ClientSpec { pins: Vec::new(), ..usual() }), Some((Code::MissingKey, "pin")));
    let profile = ClientProfile::build(usual()).unwrap();
    let failure = profile.session_config(&names, &Witness::new(), None).unwrap_err();
    assert_eq!(failure.code, Code::KeyConflict, "names of a request");
    assert_eq!(profile.params().versions(), (Version::Tls13, Version::Tls13));

    let usual = || server_of(&far, &near);
    assert_eq!(server(usual()), None);
    let mixed = vec![far.clone(), ca.identity(&["a.example"])];
    assert_eq!(server(ServerSpec { identities: mixed, ..usual() }), conflict("certificate"));
    assert_eq!(server(ServerSpec { allow: vec![AllowRule::Dns("a".into())], ..usual() }), conflict("allow"));
    assert_eq!(server(ServerSpec { allow: vec![AllowRule::Pin(pin(&near)[0])], ..usual() }), None);
    let unasked =
        ServerSpec { client_certificate: ClientCertificate::None, trust: None, pins: Vec::new(), ..usual() };
    assert_eq!(server(unasked), conflict("certificate-type"));
    let own = ServerSpec { params: only(Version::Tls12), ..server_spec(vec![far.clone()]) };
    assert_eq!(server(own), conflict("max"));
}

#[test]
fn who_is_not_among_those_let_in_stays_out() {
    let (near, far, other) = (fresh(), fresh(), fresh());
    let server = |allowed: &Identity| ServerSpec {
        pins: [pin(&near), pin(&other)].concat(),
        allow: vec![AllowRule::Pin(pin(allowed)[0])],
        ..server_of(&far, &near)
    };
    let pair = meet(client_of(Some(&near), &far), server(&near)).open();
    let rule = AllowRule::Pin(pin(&near)[0]);
    assert_eq!(pair.server.seen.matched, [Match::Pin(pin(&near)[0]), Match::Allow(rule)]);
    let failure = meet(client_of(Some(&near), &far), server(&other)).server_failure();
    assert_eq!((failure.code, failure.alert), (Code::NotAllowed, Some((49, Party::Us))));
    assert_eq!(failure.text, "peer's public key is pinned, but no allow rule lets it in");
}

#[test]
fn another_floor_or_level_of_the_hosts_leaves_raw_keys_what_they_are() {
    let (near, far) = (fresh(), fresh());
    let mut client = ClientProfile::build(client_of(Some(&near), &far)).unwrap();
    let mut server = ServerProfile::build(server_of(&far, &near)).unwrap();
    for (floor, level) in [
        (Version::Tls13, None),
        (Version::Tls12, Some(Level::Intermediate)),
        (Version::Tls12, Some(Level::PostQuantumRequired)),
        (Version::Tls12, None),
    ] {
        client = client.under(floor, level).unwrap().expect("it is another");
        server = server.under(floor, level).unwrap().expect("it is another");
        for params in [client.params(), server.params()] {
            assert_eq!(params.versions(), (Version::Tls13, Version::Tls13), "{floor} {level:?}");
        }
        let pair = handshake(&client, &server).open();
        assert_eq!(pair.client.seen.matched, [Match::Pin(pin(&far)[0])]);
        assert_eq!(pair.server.seen.matched, [Match::Pin(pin(&near)[0])]);
        assert!(pair.client.seen.raw_key && pair.server.seen.raw_key);
    }
}
