//! Versions, schemes, application protocols, record sizes and server_name between two of us.

use rcgen::KeyPair;
use rustls::client::WebPkiServerVerifier;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};

use crate::tls::pair::*;
use crate::tls::params::provider;
use crate::tls::*;

fn with(change: impl FnOnce(&mut ParamsSpec)) -> Params {
    let mut spec = ParamsSpec::default();
    change(&mut spec);
    Params::build(&spec).unwrap()
}

fn schemes(name: &str) -> Params {
    with(|spec| spec.signature_schemes = Some(vec![name.to_owned()]))
}

fn ends(client_params: Params, server_params: Params, identity: impl FnOnce(&Authority) -> Identity) -> Pair {
    let ca = Authority::new("ca");
    let client = ClientSpec { params: client_params, ..client_spec(ca.trust(), &["a.example"]) };
    let server = ServerSpec { params: server_params, ..server_spec(vec![identity(&ca)]) };
    handshake(&ClientProfile::build(client).unwrap(), &ServerProfile::build(server).unwrap())
}

fn p256(ca: &Authority) -> Identity {
    ca.identity(&["a.example"])
}

#[test]
fn two_of_us_speak_tls13_with_post_quantum_exchange() {
    let pair = ends(defaults(), defaults(), p256).open();
    let connection = &pair.server.connection;
    assert_eq!(connection.protocol_version().map(protocol_version_name), Some("TLSv1.3"));
    let group = connection.negotiated_key_exchange_group().unwrap();
    assert_eq!(group_name(group.name()), "X25519MLKEM768");
    let suite = connection.negotiated_cipher_suite().unwrap();
    assert_eq!(cipher_suite_name(suite.suite()), "TLS_AES_256_GCM_SHA384");
}

#[test]
fn nothing_is_resumed_even_with_a_peer_that_would() {
    let ca = Authority::new("ca");
    let server = server(vec![ca.identity(&["a.example"])]);
    let keeps = rustls::client::Resumption::in_memory_sessions(8);
    let storage = rustls::server::ServerSessionMemoryCache::new(8);
    // rustls resumes only under the verifier of the first time, and ours are new each time: this one stays.
    let roots = ca.roots().store().clone();
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build().unwrap();
    for version in VERSIONS {
        let spec = client_spec(ca.trust(), &["a.example"]);
        let client = ClientProfile::build(ClientSpec { params: only(version), ..spec }).unwrap();
        let kind = |change_client: &dyn Fn(&mut ClientConfig), change_server: &dyn Fn(&mut ServerConfig)| {
            let choice = ServerNameChoice::FirstDns;
            let pair = handshake_changed(&client, &choice, &server, change_client, change_server).open();
            pair.client.connection.handshake_kind().unwrap()
        };
        let our_client = |config: &mut ClientConfig| {
            config.dangerous().set_certificate_verifier(verifier.clone());
        };
        let eager_client = |config: &mut ClientConfig| {
            our_client(config);
            config.resumption = keeps.clone();
        };
        let eager_server = |config: &mut ServerConfig| {
            config.session_storage = storage.clone();
            config.send_tls13_tickets = 2;
        };
        for _ in 0..2 {
            assert_eq!(kind(&eager_client, &|_| {}), HandshakeKind::Full, "our server");
            assert_eq!(kind(&our_client, &eager_server), HandshakeKind::Full, "our client");
        }
        // That the two would resume with each other shows that the above says something.
        let kinds = [kind(&eager_client, &eager_server), kind(&eager_client, &eager_server)];
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed]);
    }
}

#[test]
fn every_setting_reaches_both_roles() {
    let ca = Authority::new("ca");
    let params = with(|spec| {
        spec.require_ems = true;
        spec.max_fragment = Some(1024);
        spec.alpn = vec![b"h2".to_vec()];
    });
    let spec = ServerSpec { params: params.clone(), ..server_spec(vec![p256(&ca)]) };
    for client_certificate in [ClientCertificate::None, ClientCertificate::Required] {
        let trust = (client_certificate != ClientCertificate::None).then(|| ca.trust());
        let spec = ServerSpec { client_certificate, trust, ..spec.clone() };
        let profile = ServerProfile::build(spec).unwrap();
        let config = profile.session_config(&Witness::new(), None, false).unwrap();
        assert!(config.require_ems && !config.enable_secret_extraction && !config.send_half_rtt_data);
        assert!(!config.session_storage.can_cache() && !config.ticketer.enabled());
        assert_eq!((config.send_tls13_tickets, config.max_early_data_size), (0, 0));
        assert_eq!(config.max_fragment_size, Some(1024 + 5));
        assert_eq!(config.alpn_protocols, [b"h2"]);
    }
    let spec = ClientSpec { params, ..client_spec(ca.trust(), &["a.example"]) };
    let profile = ClientProfile::build(spec).unwrap();
    let config = profile.session_config(&[], &Witness::new(), None).unwrap();
    assert!(config.require_ems && !config.enable_secret_extraction && !config.enable_early_data);
    assert_eq!(config.max_fragment_size, Some(1024 + 5));
    assert_eq!(config.alpn_protocols, [b"h2"]);
}

#[test]
fn peers_without_a_common_version_part() {
    let pair = ends(only(Version::Tls12), only(Version::Tls13), p256);
    assert_eq!(pair.client.failure.as_ref().unwrap().code, Code::AlertReceived);
    let failure = pair.server_failure();
    assert_eq!((failure.code, failure.alert), (Code::NoSharedVersion, Some((70, Party::Us))));
    let failure = ends(only(Version::Tls13), only(Version::Tls12), p256).server_failure();
    assert_eq!((failure.code, failure.alert), (Code::NoSharedVersion, Some((70, Party::Us))));
}

#[test]
fn groups_and_suites_of_the_request_are_the_ones_used() {
    let params = with(|spec| {
        spec.groups = Some(vec!["secp384r1".to_owned()]);
        spec.ciphers = Some(vec!["TLS_CHACHA20_POLY1305_SHA256".to_owned()]);
    });
    let pair = ends(params, defaults(), p256).open();
    let connection = &pair.client.connection;
    assert_eq!(group_name(connection.negotiated_key_exchange_group().unwrap().name()), "secp384r1");
    let suite = connection.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(cipher_suite_name(suite), "TLS_CHACHA20_POLY1305_SHA256");
}

#[test]
fn every_kind_of_key_serves() {
    let rsa = |ca: &Authority| {
        let key = KeyPair::from_pem(include_str!("../fixtures/test-only-rsa-pkcs8.pem")).unwrap();
        ca.issue(&key, params(&["a.example"]))
    };
    let ed25519 = |ca: &Authority| ca.ed25519(&["a.example"]);
    for version in VERSIONS {
        for (identity, scheme) in [
            (&p256 as &dyn Fn(&Authority) -> Identity, "ecdsa_secp256r1_sha256"),
            (&ed25519, "ed25519"),
            (&rsa, "rsa_pss_rsae_sha512"),
        ] {
            let pair = ends(only(version), defaults(), identity).open();
            assert_eq!(pair.client.seen.signature_scheme, Some(scheme));
            assert_eq!(pair.server.seen.signature_scheme, Some(scheme));
        }
    }
}

#[test]
fn signature_schemes_bind_the_peer_and_our_own_key() {
    let rsa = |ca: &Authority| {
        let key = KeyPair::from_pem(include_str!("../fixtures/test-only-rsa-pkcs8.pem")).unwrap();
        ca.issue(&key, params(&["a.example"]))
    };
    let pair = ends(schemes("rsa_pss_rsae_sha256"), defaults(), rsa).open();
    assert_eq!(pair.server.seen.signature_scheme, Some("rsa_pss_rsae_sha256"));
    let pair = ends(defaults(), schemes("rsa_pss_rsae_sha384"), rsa).open();
    assert_eq!(pair.client.seen.signature_scheme, Some("rsa_pss_rsae_sha384"));
    let failure = ends(schemes("ed25519"), defaults(), p256).server_failure();
    assert_eq!((failure.code, failure.alert), (Code::NoSharedParameters, Some((40, Party::Us))));
    let ca = Authority::new("ca");
    let spec = ServerSpec { params: schemes("ed25519"), ..server_spec(vec![p256(&ca)]) };
    assert_eq!(ServerProfile::build(spec).unwrap_err(), SpecError::KeyCannotSign(1));
}

#[test]
fn the_servers_preference_decides_the_application_protocol() {
    let alpn =
        |names: &[&str]| with(|spec| spec.alpn = names.iter().map(|name| name.as_bytes().to_vec()).collect());
    let pair = ends(alpn(&["http/1.1", "h2"]), alpn(&["h2", "http/1.1"]), p256).open();
    assert_eq!(pair.client.connection.alpn_protocol(), Some(&b"h2"[..]));
    let failure = ends(alpn(&["imap"]), alpn(&["h2"]), p256).server_failure();
    assert_eq!((failure.code, failure.alert), (Code::NoSharedAlpn, Some((120, Party::Us))));
    // A side that says nothing does not mind.
    ends(alpn(&[]), alpn(&["h2"]), p256).open();
    ends(alpn(&["h2"]), alpn(&[]), p256).open();
}

#[test]
fn an_alpn_mismatch_can_be_ignored() {
    let ca = Authority::new("ca");
    let params = with(|spec| {
        spec.alpn = vec![b"h2".to_vec()];
        spec.alpn_mismatch = Some(AlpnMismatch::Ignore);
    });
    let server = ServerProfile::build(ServerSpec { params, ..server_spec(vec![p256(&ca)]) }).unwrap();
    assert!(server.needs_hello());
    let matches = |offered: &[&[u8]]| server.alpn_matches(Some(offered.iter().copied()));
    assert!(matches(&[b"imap", b"h2"]) && !matches(&[b"imap"]) && !matches(&[]));
    assert!(server.alpn_matches(None::<core::iter::Empty<&[u8]>>));
    let without = server.session_config(&Witness::new(), None, true).unwrap();
    assert!(without.alpn_protocols.is_empty());
}

#[test]
fn a_client_can_refuse_a_server_that_chooses_no_protocol() {
    let ca = Authority::new("ca");
    for (mismatch, refuses) in
        [(None, false), (Some(AlpnMismatch::Refuse), true), (Some(AlpnMismatch::Ignore), false)]
    {
        let params = with(|spec| {
            spec.alpn = vec![b"h2".to_vec()];
            spec.alpn_mismatch = mismatch;
        });
        let spec = ClientSpec { params, ..client_spec(ca.trust(), &["a.example"]) };
        assert_eq!(ClientProfile::build(spec).unwrap().refuses_alpn_mismatch(), refuses);
    }
    assert_eq!(Failure::no_shared_alpn().alert, None, "nothing is said that we then claim");
}

#[test]
fn records_are_as_small_as_asked() {
    use std::io::Write;
    let mut pair = ends(with(|spec| spec.max_fragment = Some(512)), defaults(), p256).open();
    pair.client.connection.writer().write_all(&[b'x'; 2000]).unwrap();
    let mut wire = Vec::new();
    while pair.client.connection.wants_write() {
        pair.client.connection.write_tls(&mut wire).unwrap();
    }
    let mut sizes = Vec::new();
    let mut rest = &wire[..];
    while let [_, _, _, high, low, tail @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low]));
        sizes.push(size);
        rest = &tail[size..];
    }
    // TLS 1.3 adds the inner type (1) and the AEAD tag (16).
    assert_eq!(sizes, [512 + 17, 512 + 17, 512 + 17, 464 + 17]);
}

#[test]
fn each_name_gets_its_own_identity() {
    let ca = Authority::new("ca");
    let server = server(vec![
        ca.identity(&["a.example"]),
        ca.identity(&["*.b.example"]),
        ca.identity(&["w.b.example"]),
    ]);
    for (name, index) in [("a.example", 0), ("x.b.example", 1), ("w.b.example", 2)] {
        let pair = handshake(&client(ca.trust(), &[name]), &server).open();
        assert_eq!(pair.client.seen.spki_sha256(), Some(server.identities()[index].spki_sha256()), "{name}");
    }
}

#[test]
fn an_unknown_server_name_is_refused_as_such() {
    let ca = Authority::new("ca");
    let server = server(vec![ca.identity(&["a.example"])]);
    let pair = handshake(&client(ca.trust(), &["b.example"]), &server);
    assert_eq!(pair.server.seen.sni.as_deref(), Some("b.example"));
    assert_eq!(pair.server.seen.verdict, Some(Verdict::UnknownServerName("b.example".into())));
    let failure = pair.server_failure();
    assert_eq!((failure.code, failure.blame), (Code::UnknownServerName, Blame::Peer));
    assert_eq!(failure.alert, Some((112, Party::Us)));
}

#[test]
fn whatever_is_accepted_as_parameters_makes_a_configuration() {
    let ca = Authority::new("ca");
    let identity = ca.identity(&["a.example"]);
    let words = |error: ParamsError| match error {
        ParamsError::UnknownName { known, .. } => known,
        other => panic!("{other}"),
    };
    let unknown = Some(vec!["?".to_owned()]);
    let known = |spec: ParamsSpec| words(Params::build(&spec).unwrap_err());
    let suites = known(ParamsSpec { ciphers: unknown.clone(), ..ParamsSpec::default() });
    let groups = known(ParamsSpec { groups: unknown.clone(), ..ParamsSpec::default() });
    let schemes = known(ParamsSpec { signature_schemes: unknown, ..ParamsSpec::default() });
    let one_or_none = |names: &str| -> Vec<Option<Vec<String>>> {
        core::iter::once(None).chain(names.split(' ').map(|name| Some(vec![name.to_owned()]))).collect()
    };
    let (mut built, mut refused) = (0, 0);
    for ciphers in one_or_none(&suites) {
        for groups in one_or_none(&groups) {
            for signature_schemes in one_or_none(&schemes) {
                let (ciphers, groups) = (ciphers.clone(), groups.clone());
                let spec = ParamsSpec { ciphers, groups, signature_schemes, ..ParamsSpec::default() };
                let Ok(params) = Params::build(&spec) else {
                    refused += 1;
                    continue;
                };
                let spec = ClientSpec { params: params.clone(), ..client_spec(ca.trust(), &["a.example"]) };
                ClientProfile::build(spec).unwrap().session_config(&[], &Witness::new(), None).unwrap();
                // A key that may not sign is an error, and never a panic.
                let _ = ServerProfile::build(ServerSpec { params, ..server_spec(vec![identity.clone()]) });
                built += 1;
            }
        }
    }
    assert!(built > 500 && refused > 100, "{built} built, {refused} refused");
}
