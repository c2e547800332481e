//! Who was revoked does not pass, and who may have been does not either, unless somebody said so.

use std::sync::Arc;

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::pki_types::{CertificateDer, UnixTime};

use crate::tls::pair::*;
use crate::tls::*;

/// What comes of the server below `root` when its own certificate alone is looked up in this list.
fn looked_up(root: &Authority, chain: &[CertificateDer<'static>], list: &[u8]) -> Result<(), Code> {
    let crls = Crls::read([list]).map_err(|error| error.code())?;
    let revocation = Revocation { check: CrlCheck::EndEntity, ..Revocation::strict(crls) };
    let chain_check = chain::Chain { roots: root.roots(), revocation: Some(Arc::new(revocation)) };
    let algorithms = params::provider().signature_verification_algorithms;
    let purpose = webpki::KeyUsage::server_auth();
    let verified = chain_check.verify(&chain[0], &chain[1..], purpose, &algorithms, UnixTime::now());
    verified.map(|_| ()).map_err(|fault| fault.code)
}

/// A server with the serial number 7, below an authority with the number 70.
struct World {
    root: Authority,
    middle: Authority,
    server: ServerProfile,
}

fn world() -> World {
    let root = Authority::new("root");
    let (middle, middle_pem) = root.below_numbered("middle", 70);
    let (leaf, key) = middle.pems(&KeyPair::generate().unwrap(), numbered(7));
    let identity =
        Identity::from_pem(format!("{leaf}{middle_pem}").as_bytes(), key.as_bytes(), None).unwrap();
    World { root, middle, server: server(vec![identity]) }
}

fn numbered(serial: u64) -> rcgen::CertificateParams {
    let mut params = params(&["a.example"]);
    params.serial_number = Some(serial.into());
    params
}

fn lists(of: &[rcgen::CertificateRevocationList]) -> Crls {
    Crls::read(of.iter().map(|list| list.der().as_ref())).unwrap()
}

impl World {
    fn met_with(&self, revocation: Revocation) -> Pair {
        let mut spec = client_spec(self.root.trust(), &["a.example"]);
        spec.revocation = Some(revocation);
        handshake(&ClientProfile::build(spec).unwrap(), &self.server)
    }
}

#[test]
fn a_server_that_is_in_no_list_passes() {
    let world = world();
    let crls = lists(&[world.root.crl(&[7], 0), world.middle.crl(&[70, 8], 0)]);
    world.met_with(Revocation::strict(crls)).open();
}

#[test]
fn whoever_is_in_the_list_of_the_issuer_is_refused() {
    let world = world();
    for (root, middle) in [(&[][..], &[7][..]), (&[70], &[])] {
        let crls = lists(&[world.root.crl(root, 0), world.middle.crl(middle, 0)]);
        let failure = world.met_with(Revocation::strict(crls)).client_failure();
        assert_eq!((failure.code, failure.blame), (Code::CertificateRevoked, Blame::Peer));
        assert_eq!(failure.alert, Some((44, Party::Us)));
    }
}

#[test]
fn an_authority_above_is_looked_for_only_if_the_whole_chain_is_meant() {
    let world = world();
    let crls = lists(&[world.root.crl(&[70], 0), world.middle.crl(&[], 0)]);
    let check = CrlCheck::EndEntity;
    world.met_with(Revocation { check, ..Revocation::strict(crls.clone()) }).open();
    let crls = lists(&[world.middle.crl(&[7], 0)]);
    let failure = world.met_with(Revocation { check, ..Revocation::strict(crls) }).client_failure();
    assert_eq!(failure.code, Code::CertificateRevoked);
}

#[test]
fn a_list_that_is_missing_leaves_a_doubt() {
    let world = world();
    for crls in
        [vec![world.middle.crl(&[], 0)], vec![world.root.crl(&[], 0)], vec![Authority::new("x").crl(&[], 0)]]
    {
        let strict = Revocation::strict(lists(&crls));
        let failure = world.met_with(strict.clone()).client_failure();
        assert_eq!((failure.code, failure.blame), (Code::RevocationUnknown, Blame::Caller));
        assert_eq!(failure.alert, Some((48, Party::Us)));
        world.met_with(Revocation { unknown: CrlDoubt::Allow, ..strict }).open();
    }
    // What is known counts all the same.
    let crls = lists(&[world.middle.crl(&[7], 0)]);
    let failure =
        world.met_with(Revocation { unknown: CrlDoubt::Allow, ..Revocation::strict(crls) }).client_failure();
    assert_eq!(failure.code, Code::CertificateRevoked);
}

#[test]
fn a_list_of_yesterday_leaves_a_doubt() {
    let world = world();
    let strict = Revocation::strict(lists(&[world.root.crl(&[], 0), world.middle.crl(&[], 3)]));
    let failure = world.met_with(strict.clone()).client_failure();
    assert_eq!((failure.code, failure.blame), (Code::RevocationStale, Blame::Caller));
    assert!(failure.text.contains("should have been replaced 2 days ago"), "{failure}");
    world.met_with(Revocation { stale: CrlDoubt::Allow, ..strict }).open();
    let crls = lists(&[world.root.crl(&[], 9), world.middle.crl(&[7], 9)]);
    let failure =
        world.met_with(Revocation { stale: CrlDoubt::Allow, ..Revocation::strict(crls) }).client_failure();
    assert_eq!(failure.code, Code::CertificateRevoked);
}

#[test]
fn of_two_lists_of_one_issuer_the_newer_counts_whatever_their_order() {
    let world = world();
    let (old, new) = (world.middle.crl(&[], 0), world.middle.crl(&[7], 3));
    for order in [[&old, &new], [&new, &old]] {
        let [one, two] = order.map(|list| list.der().to_vec());
        let root = world.root.crl(&[], 0);
        let crls = Crls::read([one.as_slice(), &two, root.der()]).unwrap();
        world.met_with(Revocation::strict(crls)).open();
    }
}

#[test]
fn a_list_under_the_issuers_name_that_the_issuer_has_not_signed_is_none() {
    let world = world();
    let crls = lists(&[world.root.crl(&[], 0), Authority::new("middle").crl(&[], 0)]);
    let failure = world.met_with(Revocation::strict(crls)).client_failure();
    assert_eq!((failure.code, failure.blame), (Code::CrlInvalid, Blame::Caller));
    assert_eq!(failure.alert, Some((46, Party::Us)));
}

/// Somebody on the way to the list can make it useless, and nothing else.
#[test]
fn no_changed_bit_of_a_list_revokes_or_clears_anybody() {
    let root = Authority::new("root");
    let (leaf, _) = root.pems(&KeyPair::generate().unwrap(), numbered(7));
    let chain = pem::certificates(leaf.as_bytes()).unwrap();
    // One bit makes 7 of 6, and the other way round.
    let [names_another, names_it] = [root.crl(&[6, 9], 0), root.crl(&[7, 9], 0)];
    assert_eq!(looked_up(&root, &chain, names_another.der()), Ok(()));
    assert_eq!(looked_up(&root, &chain, names_it.der()), Err(Code::CertificateRevoked));
    for list in [names_another, names_it] {
        for at in 0..list.der().len() {
            for bit in 0..8 {
                let mut changed = list.der().to_vec();
                changed[at] ^= 1 << bit;
                let said = looked_up(&root, &chain, &changed);
                let useless = [Err(Code::CrlInvalid), Err(Code::RevocationUnknown)];
                assert!(useless.contains(&said), "byte {at} bit {bit}: {said:?}");
            }
        }
    }
}

#[test]
fn the_reason_before_revocation_stays_the_reason() {
    let world = world();
    let mut spec = client_spec(Authority::new("other").trust(), &["a.example"]);
    spec.revocation = Some(Revocation::strict(lists(&[world.root.crl(&[], 0)])));
    let failure = handshake(&ClientProfile::build(spec).unwrap(), &world.server).client_failure();
    assert_eq!(failure.code, Code::UnknownIssuer);
}

#[test]
fn a_revoked_client_does_not_come_in() {
    let clients = Authority::new("clients");
    let hosts = Authority::new("hosts");
    for (serial, refused) in [(7, true), (8, false)] {
        let mut spec = server_spec(vec![hosts.identity(&["a.example"])]);
        spec.client_certificate = ClientCertificate::Required;
        spec.trust = Some(clients.trust());
        spec.revocation = Some(Revocation::strict(lists(&[clients.crl(&[7], 0)])));
        let server = ServerProfile::build(spec).unwrap();
        let mut spec = client_spec(hosts.trust(), &["a.example"]);
        spec.identity = Some(clients.issue(&KeyPair::generate().unwrap(), numbered(serial)));
        let pair = handshake(&ClientProfile::build(spec).unwrap(), &server);
        if refused {
            let failure = pair.server_failure();
            assert_eq!((failure.code, failure.alert), (Code::CertificateRevoked, Some((44, Party::Us))));
        } else {
            pair.open();
        }
    }
}

#[test]
fn lists_without_client_certificates_would_check_nothing() {
    let ca = Authority::new("ca");
    let mut spec = server_spec(vec![ca.identity(&["a.example"])]);
    spec.revocation = Some(Revocation::strict(lists(&[ca.crl(&[], 0)])));
    let error = ServerProfile::build(spec).unwrap_err();
    assert_eq!(error, SpecError::WithoutClientCertificate("crl"));
}

#[test]
fn a_self_signed_server_under_an_authoritys_name_has_no_known_issuer() {
    for (algorithm, ours) in [
        (&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P256_SHA256),
        (&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256),
    ] {
        let named = |params: &mut rcgen::CertificateParams| {
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(rcgen::DnType::CommonName, "authority");
        };
        let mut authority = rcgen::CertificateParams::default();
        named(&mut authority);
        authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = authority.self_signed(&KeyPair::generate_for(ours).unwrap()).unwrap();
        let mut own = params(&["a.example"]);
        named(&mut own);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let pem = own.self_signed(&key).unwrap().pem();
        let identity = Identity::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes(), None).unwrap();
        let trust = Trust::Roots(Roots::from_pem(authority.pem().as_bytes()).unwrap());
        let failure = handshake(&client(trust, &["a.example"]), &server(vec![identity])).client_failure();
        assert_eq!((failure.code, failure.alert), (Code::UnknownIssuer, Some((48, Party::Us))));
    }
}

#[test]
fn constraints_and_purposes_have_their_own_words() {
    let root = Authority::new("root");
    let refused = |authority: rcgen::CertificateParams, params: rcgen::CertificateParams| {
        let (middle, pem) = root.below_with(authority);
        let (leaf, key) = middle.pems(&KeyPair::generate().unwrap(), params);
        let identity = Identity::from_pem(format!("{leaf}{pem}").as_bytes(), key.as_bytes(), None).unwrap();
        handshake(&client(root.trust(), &["a.example"]), &server(vec![identity]))
    };
    let authority = || {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let constrained = |name: &str| rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName(name.to_owned())],
        excluded_subtrees: Vec::new(),
    };
    let mut names = authority();
    names.name_constraints = Some(constrained("b.example"));
    let mut no_authority = authority();
    no_authority.is_ca = rcgen::IsCa::ExplicitNoCa;
    let mut only_lists = authority();
    only_lists.key_usages = vec![KeyUsagePurpose::CrlSign];
    let mut client_only = params(&["a.example"]);
    client_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (authority, leaf, code, words) in [
        (names, params(&["a.example"]), Code::BadCertificate, "a name that its issuer may not vouch for"),
        (no_authority, params(&["a.example"]), Code::BadCertificate, "issued by one that may not issue any"),
        (authority(), client_only, Code::CertificatePurpose, "extended key usage"),
    ] {
        let pair = refused(authority, leaf);
        assert!(pair.client.failure.is_some(), "{words}");
        let failure = pair.client_failure();
        assert_eq!((failure.code, failure.blame), (code, Blame::Peer), "{failure}");
        assert!(failure.text.contains(words), "{failure}");
    }
    let failure = refused(only_lists, params(&["a.example"])).client_failure();
    assert_eq!((failure.code, failure.blame), (Code::BadCertificate, Blame::Peer), "{failure}");
}

#[test]
fn a_critical_extension_that_nobody_knows_is_not_passed_over() {
    let ca = Authority::new("ca");
    let key = KeyPair::generate().unwrap();
    let mut odd = params(&["a.example"]);
    let mut extension = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
    extension.set_criticality(true);
    odd.custom_extensions.push(extension);
    let (pem, _) = ca.pems(&key, odd);
    // Our own server would not take it.
    let good = ca.issue(&key, params(&["a.example"]));
    let chain = pem::certificates(pem.as_bytes()).unwrap();
    let signer = good.certified().key.clone();
    let shown = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, signer));
    let pair = handshake_changed(
        &client(ca.trust(), &["a.example"]),
        &ServerNameChoice::Omit,
        &server(vec![good]),
        |_| {},
        |config| config.cert_resolver = Arc::new(shown),
    );
    let failure = pair.client_failure();
    assert_eq!((failure.code, failure.blame), (Code::BadCertificate, Blame::Peer));
    assert!(failure.text.contains("critical extension that is not understood"), "{failure}");
}

#[test]
fn other_lists_and_other_wishes_have_other_tickets() {
    let world = world();
    let lists = [lists(&[world.root.crl(&[], 0)]), lists(&[world.root.crl(&[9], 0)])];
    let strict = |list: &Crls| Some(Revocation::strict(list.clone()));
    let one = Revocation::strict(lists[0].clone());
    let all = [
        (None, StapledOcsp::Optional),
        (None, StapledOcsp::Required),
        (strict(&lists[0]), StapledOcsp::Optional),
        (strict(&lists[1]), StapledOcsp::Optional),
        (Some(Revocation { check: CrlCheck::EndEntity, ..one.clone() }), StapledOcsp::Optional),
        (Some(Revocation { unknown: CrlDoubt::Allow, ..one.clone() }), StapledOcsp::Optional),
        (Some(Revocation { stale: CrlDoubt::Allow, ..one }), StapledOcsp::Optional),
    ];
    let prints = all.map(|(revocation, stapled_ocsp)| {
        let spec = client_spec(world.root.trust(), &["a.example"]);
        ClientProfile::build(ClientSpec { revocation, stapled_ocsp, ..spec }).unwrap().print_for_tests()
    });
    for (at, one) in prints.iter().enumerate() {
        assert!(!prints[at + 1..].contains(one), "{at}");
    }
    // The same lists in another order and another file are the same.
    let [one, two] = [world.root.crl(&[], 0).der().to_vec(), world.middle.crl(&[], 0).der().to_vec()];
    let print = |files: [&[u8]; 2]| {
        let mut spec = client_spec(world.root.trust(), &["a.example"]);
        spec.revocation = Some(Revocation::strict(Crls::read(files).unwrap()));
        ClientProfile::build(spec).unwrap().print_for_tests()
    };
    assert_eq!(print([&one, &two]), print([&two, &one]));
}
