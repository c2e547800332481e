//! First contact: sessions that learn who is there, and that nothing makes open.

use std::sync::Arc;

use rcgen::{KeyPair, date_time_ymd};
use rustls::{AlertDescription, ServerConfig, ServerConnection};

use super::cases::{NAME, Ours, Pair, Talk, Theirs};
use crate::session::{Facts, Session, SessionState};
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, params, server_spec, stolen};
use crate::tls::{
    Blame, CertificateType, ClientCertificate, ClientProfile, ClientSpec, Code, Failure, Identity, Party,
    Pin, ServerNameChoice, ServerProfile, ServerSpec, Trust, Version, Witness,
};

/// access_denied (RFC 9846 section 6.2).
const DENIED: u8 = 49;
/// A record's first byte, and a handshake message's.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// Who is asked, and how.
struct World {
    ca: Authority,
    version: Version,
    client: ClientSpec,
    server: ServerSpec,
}

impl World {
    fn new(version: Version) -> Self {
        let ca = Authority::new("ca");
        let client = ClientSpec { params: only(version), ..client_spec(ca.trust(), &[NAME]) };
        let server = server_spec(vec![ca.identity(&[NAME])]);
        Self { ca, version, client, server }
    }

    /// A server that says something at the first moment at which it may.
    fn server(&self, change: impl FnOnce(&mut ServerConfig)) -> Theirs {
        let profile = ServerProfile::build(self.server.clone()).unwrap();
        let config = profile.session_config(&Witness::new(), None, false).unwrap();
        let mut config = ServerConfig::clone(&config);
        config.send_half_rtt_data = true;
        change(&mut config);
        let mut server = Theirs::new(ServerConnection::new(config.into()).unwrap().into());
        server.write(b"not to be read by anybody");
        server
    }

    fn learner(&self) -> Ours {
        let profile = ClientProfile::build(self.client.clone()).unwrap();
        let witness = Witness::new();
        let config = profile.learning_config(&[], &witness, None).unwrap();
        let name = profile.sni(&[], &ServerNameChoice::FirstDns).name;
        Ours::begun(Session::learner(config, name, witness).unwrap())
    }

    fn learn(&self) -> Looked {
        self.learn_from(|_| {}, usize::MAX)
    }

    fn learn_from(&self, change: impl FnOnce(&mut ServerConfig), step: usize) -> Looked {
        let mut pair = Pair { ours: self.learner(), peer: self.server(change) };
        let mut said = Vec::new();
        for _ in 0..6 {
            let ours = pair.ours.said();
            pair.peer.hear(&ours);
            said.extend(ours);
            for part in pair.peer.said().chunks(step) {
                pair.ours.hear(part);
            }
        }
        let failure = pair.ours.failure.clone().expect("nobody passes");
        let facts = pair.ours.session.take_facts();
        Looked { pair, said, failure, facts, version: self.version }
    }
}

/// What came of it.
struct Looked {
    pair: Pair<Theirs>,
    /// All that we said.
    said: Vec<u8>,
    failure: Failure,
    facts: Facts,
    version: Version,
}

impl Looked {
    /// Whatever happened, nothing was opened.
    #[track_caller]
    fn shut(self) -> Self {
        let Pair { ours, peer } = &self.pair;
        assert!(matches!(ours.session.state(), SessionState::Failed(_)), "{:?}", ours.session.state());
        assert_eq!((&ours.received[..], &peer.received[..]), (&b""[..], &b""[..]), "{:?}", self.version);
        assert!(peer.connection.is_handshaking(), "the server never gets a Finished");
        assert!(peer.connection.peer_certificates().is_none(), "a certificate of ours was sent");
        self
    }

    /// And this is what was learned: the key, and what would have come of it.
    #[track_caller]
    fn learned(self, identity: &Identity) -> Option<Code> {
        let Self { pair, failure, facts, .. } = self.shut();
        assert_eq!((failure.code, failure.blame), (Code::Learned, Blame::Caller), "{failure}");
        assert_eq!(failure.alert, Some((DENIED, Party::Us)));
        let heard = rustls::Error::AlertReceived(AlertDescription::AccessDenied);
        assert_eq!(pair.peer.failure, Some(heard));
        assert_eq!(facts.spki_sha256, Some(identity.spki_sha256()));
        assert_eq!(facts.chain, identity.chain());
        facts.learned.expect("there is more to tell").complaint.map(|failure| failure.code)
    }

    /// Nothing was learned, and nothing is there that could be pinned.
    #[track_caller]
    fn nothing(self, code: Code) {
        let Self { failure, facts, .. } = self.shut();
        assert_eq!((failure.code, failure.blame), (code, Blame::Peer), "{failure}");
        assert_eq!((facts.spki_sha256, facts.certificate_sha256, facts.chain.len()), (None, None, 0));
        assert_eq!(facts.learned, None);
    }
}

#[test]
fn a_key_is_learned_and_nothing_is_opened() {
    for version in VERSIONS {
        let world = World::new(version);
        let identity = world.server.identities[0].clone();
        for step in [usize::MAX, 1, 7] {
            assert_eq!(world.learn_from(|_| {}, step).learned(&identity), None, "{version:?} {step}");
        }
    }
}

#[test]
fn a_raw_public_key_is_learned_as_one() {
    let mut world = World::new(Version::Tls13);
    let key = Identity::from_key(KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap();
    world.server.identities = vec![key.clone()];
    // Nobody knows it yet: this pin is none of its.
    let (pins, names) = (vec![Pin::Spki([0; 32])], Vec::new());
    let certificate_type = CertificateType::RawPublicKey;
    world.client = ClientSpec { certificate_type, trust: Trust::Pins, pins, names, ..world.client };
    let Looked { failure, facts, .. } = world.learn().shut();
    assert_eq!((failure.code, facts.spki_sha256), (Code::Learned, Some(key.spki_sha256())), "{failure}");
    assert!(facts.raw_key && facts.chain.is_empty() && facts.certificate_sha256.is_none());
    let complaint = facts.learned.unwrap().complaint.unwrap();
    assert_eq!(complaint.code, Code::PinMismatch, "{complaint}");
}

#[test]
fn we_say_hello_and_goodbye_and_nothing_else() {
    for version in VERSIONS {
        let mut world = World::new(version);
        world.client.identity = Some(world.ca.identity(&["me.example"]));
        world.server.client_certificate = ClientCertificate::Required;
        world.server.trust = Some(world.ca.trust());
        let looked = world.learn();
        let mut rest = &looked.said[..];
        let mut kinds = Vec::new();
        while let [kind, _, _, high, low, body @ ..] = rest {
            let length = usize::from(*high) << 8 | usize::from(*low);
            if *kind == HANDSHAKE {
                assert_eq!(body[0], CLIENT_HELLO, "{version:?}: a handshake message of ours in the clear");
            }
            kinds.push((*kind, length));
            rest = &body[length..];
        }
        // TLS 1.3: change_cipher_spec for middle boxes, and an alert in its disguise: 2 bytes, its type, a tag.
        let goodbye = match version {
            Version::Tls12 => vec![(21, 2)],
            Version::Tls13 => vec![(20, 1), (23, 2 + 1 + 16)],
        };
        assert_eq!((kinds[0].0, &kinds[1..]), (HANDSHAKE, &goodbye[..]), "{version:?}");
        let identity = world.server.identities[0].clone();
        assert_eq!(looked.learned(&identity), None);
    }
}

#[test]
fn somebody_elses_certificate_is_no_pin() {
    for version in VERSIONS {
        let world = World::new(version);
        let thief = stolen(&world.server.identities[0], &world.ca.identity(&["thief.example"]));
        let looked = world.learn_from(|config| config.cert_resolver = thief, usize::MAX);
        // decrypt_error, as from any client (RFC 9846 section 4.5.2).
        assert_eq!(looked.failure.alert, Some((51, Party::Us)), "{version:?}");
        looked.nothing(Code::KeyUnproven);
    }
}

#[test]
fn a_server_that_leaves_before_its_proof_leaves_no_pin() {
    for version in VERSIONS {
        let world = World::new(version);
        let mut end = 0;
        loop {
            let mut pair = Pair { ours: world.learner(), peer: world.server(|_| {}) };
            let said = pair.ours.said();
            pair.peer.hear(&said);
            let said = pair.peer.said();
            // Cut anywhere before the proof, which is in the last quarter of the flight or comes after it.
            if end > said.len() / 2 {
                break;
            }
            pair.ours.hear(&said[..end]);
            pair.ours.session.handle_failure(Blame::Peer);
            let facts = pair.ours.session.take_facts();
            assert_eq!((facts.spki_sha256, facts.chain.len()), (None, 0), "{version:?} {end}");
            end += 97;
        }
    }
}

#[test]
fn what_would_have_come_of_it_is_told_and_changes_nothing() {
    for version in VERSIONS {
        let world = |change: &dyn Fn(&mut World)| {
            let mut world = World::new(version);
            change(&mut world);
            let identity = world.server.identities[0].clone();
            world.learn().learned(&identity)
        };
        let issued = |world: &mut World, change: &dyn Fn(&mut rcgen::CertificateParams)| {
            let mut params = params(&[NAME]);
            change(&mut params);
            world.server.identities = vec![world.ca.issue(&KeyPair::generate().unwrap(), params)];
        };
        let stranger = |world: &mut World| world.client.trust = Authority::new("other").trust();
        assert_eq!(world(&stranger), Some(Code::UnknownIssuer));
        let expired =
            |world: &mut World| issued(world, &|params| params.not_after = date_time_ymd(2020, 1, 1));
        assert_eq!(world(&expired), Some(Code::CertificateExpired));
        let elsewhere = |world: &mut World| {
            world.server.identities = vec![world.ca.identity(&["b.example"])];
            world.server.unknown_name_first = true;
        };
        assert_eq!(world(&elsewhere), Some(Code::NameMismatch));
        let other_pin = |world: &mut World| world.client.pins = vec![Pin::Spki([7; 32])];
        assert_eq!(world(&other_pin), Some(Code::PinMismatch));
        let pinned = |world: &mut World| {
            world.client.trust = Trust::Pins;
            world.client.pins = vec![Pin::Spki(world.server.identities[0].spki_sha256())];
        };
        assert_eq!(world(&pinned), None);
        let no_pool = |world: &mut World| world.client.trust = Trust::System;
        assert_eq!(world(&no_pool), Some(Code::TrustUnusable));
    }
}

/// Learning is no way around the checks: not for whoever says it by mistake, and not for a bug of ours.
#[test]
fn a_session_that_is_to_learn_does_not_open_whatever_it_is_made_with() {
    for version in VERSIONS {
        let world = World::new(version);
        let profile = ClientProfile::build(world.client.clone()).unwrap();
        let witness = Witness::new();
        let config = profile.session_config(&[], &witness, None).unwrap();
        let name = profile.sni(&[], &ServerNameChoice::FirstDns).name;
        let ours = Ours::begun(Session::learner(config, name, witness).unwrap());
        let mut pair = Pair { ours, peer: world.server(|_| {}) };
        pair.run();
        let failure = pair.ours.failure.expect("it does not open");
        assert_eq!((failure.code, pair.ours.received.len()), (Code::Internal, 0), "{version:?}: {failure}");
        assert!(!pair.ours.session.state().may_send() && !pair.ours.session.state().may_receive());
    }
}

#[test]
fn who_means_nobody_learns_nothing() {
    let spec = client_spec(Authority::new("ca").trust(), &[]);
    let profile = ClientProfile::build(spec).unwrap();
    let failure = profile.learning_config(&[], &Arc::new(Witness::default()), None).unwrap_err();
    assert_eq!((failure.code, failure.blame), (Code::MissingKey, Blame::Caller));
}
