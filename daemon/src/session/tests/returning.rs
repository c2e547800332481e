//! Clients that show certificates and come back with tickets: who they are is known as at the first time, and nobody gets
//! in with a ticket who would not get in without it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rcgen::{KeyPair, date_time_ymd};
use rustls::ClientConfig;
use rustls::client::Resumption;

use super::cases::NAME;
use super::resumption::{DAY, START};
use super::server_tickets::{Asked, World};
use crate::session::Facts;
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, params};
use crate::tls::{
    AllowRule, CertificateType, ClientCertificate, ClientProfile, ClientSpec, Code, Identity, Params,
    ParamsSpec, Pin, Trust, Version, Witness, certificate_sha256, to_pem,
};

const ME: &str = "me.example";

/// A client's certificate from 2025 to this year.
fn client_of(ca: &Authority, until: i32) -> Identity {
    let mut params = params(&[ME]);
    (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(until, 1, 1));
    ca.issue(&KeyPair::generate().unwrap(), params)
}

/// From now on the client shows this certificate. It keeps the tickets it has.
fn show(world: &mut World, version: Version, identity: Option<Identity>) {
    let spec = ClientSpec { identity, params: only(version), ..client_spec(world.ca.trust(), &[NAME]) };
    let profile = ClientProfile::build(spec).unwrap();
    let prepared = profile.session_config(&[], &Witness::new(), None).unwrap();
    let mut config = ClientConfig::clone(&prepared);
    config.time_provider = world.clock.clone();
    config.resumption = Resumption::in_memory_sessions(32);
    world.client = Arc::new(config);
}

/// A client that shows a certificate which is good until 2030.
fn visited(version: Version) -> (World, Identity) {
    let mut world = World::new(version);
    let identity = client_of(&world.ca, 2030);
    show(&mut world, version, Some(identity.clone()));
    (world, identity)
}

fn asking(world: &World, choice: ClientCertificate) -> Asked {
    let mut asked = world.asked();
    asked.spec.client_certificate = choice;
    asked.spec.trust = Some(world.ca.trust());
    asked
}

/// Why a session does not open.
#[track_caller]
fn refused(world: &World, asked: &Asked) -> Code {
    let mut pair = world.begin(asked);
    pair.run();
    pair.ours.failure.expect("it fails").code
}

type Who = (Option<[u8; 32]>, Option<[u8; 32]>, usize, usize);

fn who(facts: &Facts) -> Who {
    (facts.spki_sha256, facts.certificate_sha256, facts.matched.len(), facts.chain.len())
}

#[test]
fn a_client_with_a_certificate_resumes_and_is_known_as_at_the_first_time() {
    for version in VERSIONS {
        for choice in [ClientCertificate::Optional, ClientCertificate::Required] {
            for exports in [false, true] {
                let (world, identity) = visited(version);
                let mut asked = asking(&world, choice);
                asked.exports = exports;
                asked.spec.allow = vec![AllowRule::Dns(ME.to_owned())];
                asked.spec.pins = vec![Pin::Spki(identity.spki_sha256())];
                let first = world.open(&asked);
                assert_eq!(first.certificate_sha256, Some(certificate_sha256(&identity.chain()[0])));
                assert_eq!((first.resumed, first.matched.len()), (false, 2));
                for _ in 0..4 {
                    let facts = world.open(&asked);
                    assert!(facts.resumed, "{version:?} {choice:?} exports: {exports}");
                    assert_eq!((who(&facts), &facts.chain), (who(&first), &first.chain));
                    assert_eq!(facts.matched, first.matched);
                }
            }
        }
    }
}

#[test]
fn other_rules_or_authorities_are_a_full_handshake() {
    for version in VERSIONS {
        let (mut world, identity) = visited(version);
        world.system = Some(world.ca.roots());
        let me = asking(&world, ClientCertificate::Required);
        let with = |change: &dyn Fn(&mut Asked)| {
            let mut asked = me.clone();
            change(&mut asked);
            asked
        };
        let both = [world.ca.pem(), Authority::new("other").pem()].concat();
        let pin = Pin::Spki(identity.spki_sha256());
        let rule = AllowRule::Dns(ME.to_owned());
        let schemes = Some(vec!["ecdsa_secp256r1_sha256".to_owned()]);
        let others = [
            ("mode", with(&|asked| asked.spec.client_certificate = ClientCertificate::Optional)),
            ("authorities", with(&|asked| asked.spec.trust = Some(roots(&both)))),
            ("source", with(&|asked| asked.spec.trust = Some(Trust::System))),
            ("pin", with(&|asked| asked.spec.pins = vec![pin])),
            ("rule", with(&|asked| asked.spec.allow = vec![rule.clone()])),
            (
                "schemes",
                with(&|asked| {
                    let (min, max) = (Some(version), Some(version));
                    let signature_schemes = schemes.clone();
                    let spec = ParamsSpec { min, max, signature_schemes, ..ParamsSpec::default() };
                    asked.spec.params = Params::build(&spec).unwrap();
                }),
            ),
            ("nobody is asked", world.asked()),
        ];
        for (what, other) in &others {
            world.open(&me);
            assert!(!world.resumed(other), "{version:?}: another {what} resumed");
            assert!(!world.resumed(&me), "{version:?}: with the ticket of another {what}");
        }
        assert!(world.resumed(&me), "{version:?}");
    }
}

fn roots(pem: &str) -> Trust {
    Trust::Roots(crate::tls::Roots::from_pem(pem.as_bytes()).unwrap())
}

#[test]
fn the_hosts_pool_is_the_one_of_today() {
    for version in VERSIONS {
        let (mut world, _) = visited(version);
        world.system = Some(world.ca.roots());
        let mut asked = asking(&world, ClientCertificate::Required);
        asked.spec.trust = Some(Trust::System);
        assert_eq!((world.resumed(&asked), world.resumed(&asked)), (false, true));
        world.system = Some(Authority::new("other").roots());
        assert_eq!(refused(&world, &asked), Code::UnknownIssuer, "{version:?}");
    }
}

#[test]
fn who_is_let_in_no_more_is_refused_whatever_ticket_it_has() {
    for version in VERSIONS {
        for (change, code) in [
            (
                &(|asked: &mut Asked| asked.spec.trust = Some(Authority::new("other").trust()))
                    as &dyn Fn(&mut _),
                Code::UnknownIssuer,
            ),
            (&|asked: &mut Asked| asked.spec.pins = vec![Pin::Spki([7; 32])], Code::PinMismatch),
            (
                &|asked: &mut Asked| asked.spec.allow = vec![AllowRule::Dns("you.example".into())],
                Code::NotAllowed,
            ),
        ] {
            let (world, _) = visited(version);
            let mut asked = asking(&world, ClientCertificate::Required);
            assert_eq!((world.resumed(&asked), world.resumed(&asked)), (false, true));
            change(&mut asked);
            assert_eq!(refused(&world, &asked), code, "{version:?}");
        }
    }
}

#[test]
fn a_ticket_ends_with_the_certificate_and_a_renewed_one_gets_in_anew() {
    for version in VERSIONS {
        let mut world = World::new(version);
        // Two hours before the end.
        let until = 1_893_456_000;
        world.clock.0.store(until - 2 * 60 * 60, Ordering::Relaxed);
        let ending = client_of(&world.ca, 2030);
        show(&mut world, version, Some(ending));
        let mut asked = asking(&world, ClientCertificate::Required);
        // The server's own, which the test's client would mind.
        let mut ours = params(&[NAME]);
        ours.not_after = date_time_ymd(2032, 1, 1);
        asked.spec.identities = vec![world.ca.issue(&KeyPair::generate().unwrap(), ours)];
        assert_eq!((world.resumed(&asked), world.resumed(&asked)), (false, true));
        world.clock.0.store(until - 1, Ordering::Relaxed);
        assert!(world.resumed(&asked), "{version:?}: it has a second left");
        world.clock.0.store(until + 1, Ordering::Relaxed);
        assert_eq!(refused(&world, &asked), Code::CertificateExpired, "{version:?}");
        let renewed = client_of(&world.ca, 2031);
        show(&mut world, version, Some(renewed));
        assert_eq!((world.resumed(&asked), world.resumed(&asked)), (false, true), "{version:?}");
    }
}

/// The end that is in a ticket is not what lets it in: the certificates are looked at again.
#[test]
fn a_clock_that_was_set_back_is_no_way_round_a_date() {
    for version in VERSIONS {
        let (world, _) = visited(version);
        let asked = asking(&world, ClientCertificate::Required);
        assert!(!world.resumed(&asked));
        // Before 2025, when the client's certificate was not good yet.
        world.clock.0.store(1_735_600_000, Ordering::Relaxed);
        let mut pair = world.begin(&asked);
        pair.peer.write(b"along with the Finished");
        pair.run();
        let failure = pair.ours.failure.expect("it fails");
        assert_eq!(failure.code, Code::CertificateNotYetValid, "{version:?}");
        assert_eq!(pair.ours.received, b"", "{version:?}: data of somebody who was not let in");
        assert_eq!(failure.alert, None, "{version:?}: rustls would have said one, in a full handshake");
    }
}

#[test]
fn with_pins_alone_a_ticket_outlives_the_dates_as_the_pin_does() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let ended = client_of(&world.ca, 2026);
        world.clock.0.store(START.max(1_767_312_000), Ordering::Relaxed);
        show(&mut world, version, Some(ended.clone()));
        let mut asked = asking(&world, ClientCertificate::Required);
        (asked.spec.trust, asked.spec.pins) = (Some(Trust::Pins), vec![Pin::Spki(ended.spki_sha256())]);
        for resumed in [false, true, true] {
            assert_eq!(world.resumed(&asked), resumed, "{version:?}");
        }
    }
}

#[test]
fn who_showed_nothing_comes_back_as_nobody_and_only_where_that_is_allowed() {
    for version in VERSIONS {
        let mut world = World::new(version);
        show(&mut world, version, None);
        let optional = asking(&world, ClientCertificate::Optional);
        for resumed in [false, true, true] {
            let facts = world.open(&optional);
            assert_eq!((facts.resumed, who(&facts)), (resumed, (None, None, 0, 0)), "{version:?}");
        }
        let required = asking(&world, ClientCertificate::Required);
        assert_eq!(refused(&world, &required), Code::CertificateMissing, "{version:?}");
        // A ticket of a time when nobody asked is no way in either.
        world.open(&world.asked());
        assert_eq!(refused(&world, &required), Code::CertificateMissing, "{version:?}");
    }
}

#[test]
fn nobody_resumes_for_ever_with_a_certificate_either() {
    for version in VERSIONS {
        let (world, _) = visited(version);
        let asked = asking(&world, ClientCertificate::Required);
        world.open(&asked);
        for hours in (10..7 * 24).step_by(10) {
            world.sleep(10 * 60 * 60);
            assert!(world.resumed(&asked), "{version:?} after {hours} hours");
        }
        world.clock.0.store(START + 7 * DAY, Ordering::Relaxed);
        assert!(!world.resumed(&asked), "{version:?}");
    }
}

/// The certificates are in the ticket, and a client may send as many as it likes.
#[test]
fn a_client_that_shows_too_much_gets_no_ticket_and_its_session() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let key = KeyPair::generate().unwrap();
        let mut chain = world.ca.issue(&key, params(&[ME])).chain().to_vec();
        let more: Vec<_> = (0..60).flat_map(|_| world.ca.identity(&[ME]).chain().to_vec()).collect();
        chain.extend(more);
        let long =
            Identity::from_pem(to_pem(&chain).as_bytes(), key.serialize_pem().as_bytes(), None).unwrap();
        show(&mut world, version, Some(long));
        let asked = asking(&world, ClientCertificate::Required);
        assert_eq!((world.resumed(&asked), world.resumed(&asked)), (false, false), "{version:?}");
    }
}

/// A client that shows a raw public key (RFC 7250) has no dates; it is checked again all the same.
#[test]
fn a_client_with_a_raw_public_key_resumes_while_its_key_is_pinned() {
    let version = Version::Tls13;
    let mut world = World::new(version);
    let key = Identity::from_key(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
    show(&mut world, version, Some(key.clone()));
    let mut asked = asking(&world, ClientCertificate::Required);
    (asked.spec.certificate_type, asked.spec.trust) = (CertificateType::RawPublicKey, Some(Trust::Pins));
    asked.spec.pins = vec![Pin::Spki(key.spki_sha256())];
    let first = world.open(&asked);
    for _ in 0..2 {
        let facts = world.open(&asked);
        assert_eq!((facts.resumed, who(&facts)), (true, who(&first)));
        assert_eq!(facts.spki_sha256, Some(key.spki_sha256()));
    }
    asked.spec.pins = vec![Pin::Spki([7; 32])];
    assert_eq!(refused(&world, &asked), Code::PinMismatch);
}
