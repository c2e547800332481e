//! Which clients a server lets in.

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, SanType};

use crate::tls::pair::*;
use crate::tls::*;

struct Hosts {
    servers: Authority,
    clients: Authority,
}

impl Hosts {
    fn new() -> Self {
        Self { servers: Authority::new("servers"), clients: Authority::new("clients") }
    }

    fn spec(&self, client_certificate: ClientCertificate) -> ServerSpec {
        let identities = vec![self.servers.identity(&["a.example"])];
        ServerSpec { client_certificate, trust: Some(self.clients.trust()), ..server_spec(identities) }
    }

    fn meet(&self, server: ServerSpec, identity: Option<Identity>, version: Version) -> Pair {
        let spec = client_spec(self.servers.trust(), &["a.example"]);
        let client = ClientProfile::build(ClientSpec { identity, params: only(version), ..spec }).unwrap();
        handshake(&client, &ServerProfile::build(server).unwrap())
    }
}

/// A certificate with a DNS name, a URI and a mail address.
fn robot() -> CertificateParams {
    let mut params = params(&["robot.clients.example"]);
    let text = |text: &str| text.try_into().unwrap();
    params.subject_alt_names.push(SanType::URI(text("spiffe://clients.example/robot")));
    params.subject_alt_names.push(SanType::Rfc822Name(text("robot@Clients.Example")));
    params
}

#[test]
fn an_optional_certificate_may_be_missing() {
    let hosts = Hosts::new();
    for version in VERSIONS {
        let pair = hosts.meet(hosts.spec(ClientCertificate::Optional), None, version).open();
        assert!(pair.server.seen.chain.is_empty() && pair.server.seen.matched.is_empty());
    }
}

#[test]
fn a_required_certificate_may_not_be_missing() {
    let hosts = Hosts::new();
    for version in VERSIONS {
        let failure = hosts.meet(hosts.spec(ClientCertificate::Required), None, version).server_failure();
        assert_eq!((failure.code, failure.alert), (Code::CertificateMissing, Some((116, Party::Us))));
    }
}

#[test]
fn a_certificate_of_the_named_authority_is_let_in() {
    let hosts = Hosts::new();
    for version in VERSIONS {
        let identity = hosts.clients.identity(&["robot.example"]);
        let pair =
            hosts.meet(hosts.spec(ClientCertificate::Required), Some(identity.clone()), version).open();
        assert_eq!(pair.server.seen.spki_sha256(), Some(identity.spki_sha256()));
        assert_eq!(pair.server.seen.signature_scheme, Some("ecdsa_secp256r1_sha256"), "the server's own");
    }
}

#[test]
fn an_optional_certificate_that_is_sent_must_be_right() {
    let hosts = Hosts::new();
    for version in VERSIONS {
        let stranger = Authority::new("strangers").identity(&["robot.example"]);
        let pair = hosts.meet(hosts.spec(ClientCertificate::Optional), Some(stranger), version);
        assert_eq!(pair.server.seen.chain.len(), 1, "kept for the report");
        assert_eq!(pair.server_failure().code, Code::UnknownIssuer);
    }
}

#[test]
fn a_server_certificate_is_not_a_client_certificate() {
    let hosts = Hosts::new();
    let mut params = params(&["robot.example"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let identity = hosts.clients.issue(&KeyPair::generate().unwrap(), params);
    let pair = hosts.meet(hosts.spec(ClientCertificate::Required), Some(identity), Version::Tls13);
    assert_eq!(pair.server_failure().code, Code::CertificatePurpose);
}

#[test]
fn one_rule_that_matches_is_enough() {
    let hosts = Hosts::new();
    let identity = hosts.clients.issue(&KeyPair::generate().unwrap(), robot());
    for rule in [
        AllowRule::Dns("robot.clients.example".into()),
        AllowRule::Dns("*.clients.example".into()),
        AllowRule::Uri("spiffe://clients.example/robot".into()),
        AllowRule::Mail("robot@clients.example".into()),
        AllowRule::Pin(Pin::Spki(identity.spki_sha256())),
        AllowRule::Pin(Pin::Certificate(certificate_sha256(&identity.chain()[0]))),
    ] {
        let mut spec = hosts.spec(ClientCertificate::Required);
        spec.allow = vec![AllowRule::Dns("other.example".into()), rule.clone()];
        let pair = hosts.meet(spec, Some(identity.clone()), Version::Tls13).open();
        assert_eq!(pair.server.seen.matched, [Match::Allow(rule)]);
    }
}

#[test]
fn a_valid_certificate_that_no_rule_names_is_denied() {
    let hosts = Hosts::new();
    let identity = hosts.clients.issue(&KeyPair::generate().unwrap(), robot());
    for rule in [
        AllowRule::Dns("*.example".into()),
        AllowRule::Uri("spiffe://clients.example/robot/2".into()),
        AllowRule::Mail("Robot@clients.example".into()),
        AllowRule::Pin(Pin::Spki([7; 32])),
    ] {
        let mut spec = hosts.spec(ClientCertificate::Optional);
        spec.allow = vec![rule];
        let pair = hosts.meet(spec, Some(identity.clone()), Version::Tls12);
        assert_eq!(pair.client.failure.as_ref().unwrap().alert, Some((49, Party::Peer)));
        let failure = pair.server_failure();
        assert_eq!((failure.code, failure.alert), (Code::NotAllowed, Some((49, Party::Us))));
        assert!(failure.text.contains("it names robot.clients.example, spiffe://"), "{failure}");
    }
}

#[test]
fn two_that_pinned_each_other_need_no_authority() {
    let (ours, theirs) = (Authority::new("a").identity(&["a.example"]), Authority::new("b").identity(&[]));
    for (pinned, passes) in [(theirs.spki_sha256(), true), ([7; 32], false)] {
        let server = ServerSpec {
            client_certificate: ClientCertificate::Required,
            trust: Some(Trust::Pins),
            pins: vec![Pin::Spki(pinned)],
            ..server_spec(vec![ours.clone()])
        };
        let client = ClientSpec {
            identity: Some(theirs.clone()),
            pins: vec![Pin::Spki(ours.spki_sha256())],
            ..client_spec(Trust::Pins, &[])
        };
        let pair = handshake(&ClientProfile::build(client).unwrap(), &ServerProfile::build(server).unwrap());
        if passes {
            assert_eq!(pair.open().server.seen.matched, [Match::Pin(Pin::Spki(pinned))]);
        } else {
            assert_eq!(pair.server_failure().code, Code::PinMismatch);
        }
    }
}

#[test]
fn pins_and_rules_must_both_be_satisfied() {
    let hosts = Hosts::new();
    let identity = hosts.clients.issue(&KeyPair::generate().unwrap(), robot());
    let mut spec = hosts.spec(ClientCertificate::Required);
    spec.pins = vec![Pin::Spki(identity.spki_sha256())];
    spec.allow = vec![AllowRule::Dns("other.example".into())];
    let pair = hosts.meet(spec, Some(identity), Version::Tls13);
    assert_eq!(pair.server_failure().code, Code::NotAllowed);
}

#[test]
fn a_server_that_asks_says_whom_it_means() {
    let hosts = Hosts::new();
    let build = |spec| ServerProfile::build(spec).unwrap_err();
    let spec = || hosts.spec(ClientCertificate::Required);
    assert_eq!(build(ServerSpec { trust: None, ..spec() }), SpecError::NoTrust);
    assert_eq!(build(ServerSpec { trust: Some(Trust::Pins), ..spec() }), SpecError::NoPins);
    assert_eq!(build(ServerSpec { identities: Vec::new(), ..spec() }), SpecError::NoIdentity);
    let none = || ServerSpec { client_certificate: ClientCertificate::None, ..spec() };
    assert_eq!(build(none()), SpecError::WithoutClientCertificate("trust"));
    let allow = vec![AllowRule::Uri("x:".into())];
    assert_eq!(
        build(ServerSpec { trust: None, allow, ..none() }),
        SpecError::WithoutClientCertificate("allow")
    );
}

#[test]
fn the_hosts_pool_vouches_for_clients_only_when_said() {
    let hosts = Hosts::new();
    assert!(!ServerProfile::build(hosts.spec(ClientCertificate::Required)).unwrap().needs_system_roots());
    let spec = ServerSpec { trust: Some(Trust::System), ..hosts.spec(ClientCertificate::Required) };
    let server = ServerProfile::build(spec).unwrap();
    assert!(server.needs_system_roots());
    assert_eq!(server.session_config(&Witness::new(), None, false).unwrap_err().code, Code::TrustUnusable);
    assert!(server.session_config(&Witness::new(), Some(&hosts.clients.roots()), false).is_ok());
}

#[test]
fn a_client_certificate_without_its_key_is_worth_nothing() {
    let hosts = Hosts::new();
    let victim = hosts.clients.identity(&["robot.example"]);
    let thief = hosts.clients.identity(&["thief.example"]);
    for version in VERSIONS {
        for (trust, pins) in
            [(hosts.clients.trust(), Vec::new()), (Trust::Pins, vec![Pin::Spki(victim.spki_sha256())])]
        {
            let spec = hosts.spec(ClientCertificate::Required);
            let spec = ServerSpec { trust: Some(trust), pins, ..spec };
            let server = ServerProfile::build(spec).unwrap();
            let client = ClientSpec {
                params: only(version),
                identity: Some(victim.clone()),
                ..client_spec(hosts.servers.trust(), &["a.example"])
            };
            let client = ClientProfile::build(client).unwrap();
            let choice = ServerNameChoice::FirstDns;
            handshake_with(&client, &choice, &server).open();
            let steal = |config: &mut rustls::ClientConfig| {
                config.client_auth_cert_resolver = stolen(&victim, &thief);
            };
            let pair = handshake_changed(&client, &choice, &server, steal, |_| {});
            assert_eq!(pair.server_failure().code, Code::KeyUnproven);
        }
    }
}

#[test]
fn a_bundle_with_more_names_than_tls_can_say_works_without_hints() {
    let hosts = Hosts::new();
    // 700 names of 100 letters do not fit into the 65,535 bytes that a list of authorities has.
    let many = (0..700).map(|count| Authority::new(&format!("{count:0100}")).pem()).collect::<String>();
    let bundle = Roots::from_pem((many + &hosts.clients.pem()).as_bytes()).unwrap();
    for version in VERSIONS {
        let spec = ServerSpec {
            trust: Some(Trust::Roots(bundle.clone())),
            ..hosts.spec(ClientCertificate::Required)
        };
        hosts.meet(spec, Some(hosts.clients.identity(&["robot.example"])), version).open();
    }
}
