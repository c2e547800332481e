//! Sessions that resume, against rustls' server with tickets on, and with a clock that is turned by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::UnixTime;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;
use rustls::{ServerConfig, ServerConnection};

use super::cases::{NAME, Ours, Pair, Talk, Theirs};
use crate::session::{Facts, Session};
use crate::tls::pair::{Authority, VERSIONS, client_spec, defaults, only, params, server_spec};
use crate::tls::{
    Blame, ClientProfile, ClientSpec, Code, Failure, Identity, Params, ParamsSpec, Pin, ReferenceId,
    Resuming, Roots, ServerNameChoice, ServerProfile, ServerSpec, Tickets, Trust, Version, Witness,
};

pub(super) const DAY: u64 = 24 * 60 * 60;
/// 2026-01-01.
pub(super) const START: u64 = 1_767_225_600;
const ME: u32 = 1000;

/// A clock that is turned by hand.
#[derive(Debug)]
pub(super) struct Clock(pub(super) AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = self.0.load(Ordering::Relaxed);
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(now)))
    }
}

/// Counts the tickets that clients show.
#[derive(Debug)]
struct Counting {
    inner: Arc<dyn ProducesTickets>,
    shown: AtomicUsize,
}

impl ProducesTickets for Counting {
    fn enabled(&self) -> bool {
        true
    }
    fn lifetime(&self) -> u32 {
        30 * DAY as u32
    }
    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(plain)
    }
    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.shown.fetch_add(1, Ordering::Relaxed);
        self.inner.decrypt(cipher)
    }
}

/// A server, and the daemon's memory.
struct World {
    ca: Authority,
    clock: Arc<Clock>,
    tickets: Tickets,
    ticketer: Arc<Counting>,
    server: ServerConfig,
    version: Version,
}

/// What a caller says.
#[derive(Clone)]
struct Asked {
    uid: u32,
    store: Option<&'static str>,
    name: &'static str,
    sni: ServerNameChoice,
    params: Params,
    trust: Trust,
    pins: Vec<Pin>,
    identity: Option<Identity>,
    exports: bool,
}

impl World {
    fn new(version: Version) -> Self {
        let ca = Authority::new("ca");
        let identity = ca.issue(&KeyPair::generate().unwrap(), dated(2025, 2027));
        let inner = Ticketer::new().unwrap();
        let ticketer = Arc::new(Counting { inner, shown: AtomicUsize::new(0) });
        let clock = Arc::new(Clock(AtomicU64::new(START)));
        let server = config(version, identity, &ticketer, &clock);
        Self { ca, clock, tickets: Tickets::new(), ticketer, server, version }
    }

    fn asked(&self) -> Asked {
        Asked {
            uid: ME,
            store: Some("mine"),
            name: NAME,
            sni: ServerNameChoice::FirstDns,
            params: only(self.version),
            trust: self.ca.trust(),
            pins: Vec::new(),
            identity: None,
            exports: false,
        }
    }

    fn begin(&self, asked: &Asked) -> (Pair<Theirs>, Option<Resuming>) {
        let spec = ClientSpec {
            params: asked.params.clone(),
            pins: asked.pins.clone(),
            identity: asked.identity.clone(),
            ..client_spec(asked.trust.clone(), &[])
        };
        let mut profile = ClientProfile::build(spec).unwrap();
        profile.set_clock(self.clock.clone());
        let names = [ReferenceId::parse(asked.name).unwrap()];
        let (witness, sni) = (Witness::new(), profile.sni(&names, &asked.sni));
        let (config, resuming) = match asked.store {
            None => (profile.session_config(&names, &witness, None).unwrap(), None),
            Some(store) => {
                let store = self.tickets.store(asked.uid, store);
                let made =
                    profile.resuming_config(&names, &sni, &witness, None, &store, asked.exports).unwrap();
                (made.0, Some(made.1))
            }
        };
        let session = Session::client(config, sni.name, witness, asked.exports, resuming.clone()).unwrap();
        let server = ServerConnection::new(Arc::new(self.server.clone())).unwrap();
        (Pair { ours: Ours::begun(session), peer: Theirs::new(server.into()) }, resuming)
    }

    /// A session whose bytes went both ways.
    fn open(&self, asked: &Asked) -> Facts {
        self.open_with(asked).1
    }

    fn open_with(&self, asked: &Asked) -> (Pair<Theirs>, Facts) {
        let (mut pair, _) = self.begin(asked);
        pair.run();
        pair.assert_open("a session");
        let facts = pair.ours.session.take_facts();
        pair.ours.write(b"there");
        pair.peer.write(b"back");
        pair.run();
        assert_eq!((&pair.ours.received[..], &pair.peer.received[..]), (&b"back"[..], &b"there"[..]));
        (pair, facts)
    }

    fn fail(&self, asked: &Asked) -> Failure {
        let (mut pair, _) = self.begin(asked);
        pair.run();
        pair.ours.failure.expect("it fails")
    }

    /// Tickets that were shown to the server since the last call.
    fn shown(&self) -> usize {
        self.ticketer.shown.swap(0, Ordering::Relaxed)
    }

    fn sleep(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

fn dated(from: i32, to: i32) -> CertificateParams {
    let mut params = params(&[NAME, "b.example"]);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    params
}

fn config(
    version: Version,
    identity: Identity,
    ticketer: &Arc<Counting>,
    clock: &Arc<Clock>,
) -> ServerConfig {
    let alpn = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let spec = ParamsSpec { min: Some(version), max: Some(version), alpn, ..ParamsSpec::default() };
    let spec = ServerSpec { params: Params::build(&spec).unwrap(), ..server_spec(vec![identity]) };
    let profile = ServerProfile::build(spec).unwrap();
    let mut config = ServerConfig::clone(&profile.session_config(&Witness::new(), None, true).unwrap());
    config.ticketer = ticketer.clone();
    config.time_provider = clock.clone();
    config.send_tls13_tickets = 2;
    config
}

#[test]
fn the_second_session_resumes_and_is_told_everything_the_first_was() {
    for version in VERSIONS {
        for exports in [false, true] {
            let world = World::new(version);
            let asked = Asked { exports, ..world.asked() };
            let first = world.open(&asked);
            let (pair, second) = world.open_with(&asked);
            assert_eq!((first.resumed, second.resumed), (false, true), "{version:?} exports: {exports}");
            assert_eq!((first.matched.len(), &first.matched), (1, &second.matched));
            assert_eq!((first.chain.len(), &first.chain), (1, &second.chain));
            assert_eq!(
                (first.spki_sha256, first.certificate_sha256),
                (second.spki_sha256, second.certificate_sha256)
            );
            assert_eq!((first.protocol, first.cipher), (second.protocol, second.cipher));
            assert_eq!(second.signature, None, "nobody signed");
            if exports {
                let (mut ours, mut theirs) = ([0; 32], [0; 32]);
                pair.ours.session.export(&mut ours, b"label", Some(b"context")).unwrap();
                pair.peer.connection.export_keying_material(&mut theirs, b"label", Some(b"context")).unwrap();
                assert_eq!(ours, theirs);
            }
        }
    }
}

#[test]
fn nothing_is_remembered_for_a_caller_that_does_not_ask() {
    for version in VERSIONS {
        let world = World::new(version);
        let silent = Asked { store: None, ..world.asked() };
        for asked in [&silent, &silent, &world.asked(), &silent] {
            assert!(!world.open(asked).resumed);
        }
        assert_eq!(world.shown(), 0, "{version:?}");
    }
}

#[test]
fn a_ticket_is_for_those_who_would_check_the_same_and_for_nobody_else() {
    for version in VERSIONS {
        let world = World::new(version);
        let me = world.asked();
        let first = world.open(&me);
        let with = |spec: ParamsSpec| {
            Params::build(&ParamsSpec { min: Some(version), max: Some(version), ..spec }).unwrap()
        };
        let pick = |tls12, tls13| if version == Version::Tls12 { tls12 } else { tls13 };
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let ciphers = list(&[pick("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256")]);
        let others = [
            ("uid", Asked { uid: 0, ..me.clone() }),
            ("store", Asked { store: Some("other"), ..me.clone() }),
            ("name", Asked { name: "b.example", sni: ServerNameChoice::parse(NAME).unwrap(), ..me.clone() }),
            ("server-name", Asked { sni: ServerNameChoice::Omit, ..me.clone() }),
            ("pin", Asked { pins: vec![Pin::Spki(first.spki_sha256.unwrap())], ..me.clone() }),
            (
                "trust",
                Asked { trust: Trust::Pins, pins: vec![Pin::Spki(first.spki_sha256.unwrap())], ..me.clone() },
            ),
            ("identity", Asked { identity: Some(world.ca.identity(&["me.example"])), ..me.clone() }),
            (
                "alpn",
                Asked {
                    params: with(ParamsSpec { alpn: vec![b"h2".to_vec()], ..ParamsSpec::default() }),
                    ..me.clone()
                },
            ),
            (
                "ciphers",
                Asked { params: with(ParamsSpec { ciphers, ..ParamsSpec::default() }), ..me.clone() },
            ),
            (
                "groups",
                Asked {
                    params: with(ParamsSpec { groups: list(&["x25519"]), ..ParamsSpec::default() }),
                    ..me.clone()
                },
            ),
            (
                "schemes",
                Asked {
                    params: with(ParamsSpec {
                        signature_schemes: list(&["ecdsa_secp256r1_sha256"]),
                        ..ParamsSpec::default()
                    }),
                    ..me.clone()
                },
            ),
            (
                "ems",
                Asked {
                    params: with(ParamsSpec { require_ems: true, ..ParamsSpec::default() }),
                    ..me.clone()
                },
            ),
            ("versions", Asked { params: defaults(), ..me.clone() }),
            ("exports", Asked { exports: true, ..me.clone() }),
        ];
        world.shown();
        for (what, other) in &others {
            assert!(!world.open(other).resumed, "{version:?}: another {what} resumed");
            assert_eq!(world.shown(), 0, "{version:?}: another {what} showed a ticket");
        }
        // It is there all the time, and the same authorities from elsewhere are the same authorities.
        let again = Asked { trust: world.ca.trust(), ..me.clone() };
        assert!(world.open(&again).resumed, "{version:?}");

        // Another authority: the same certificate, and nobody who vouches for it.
        let stranger = Asked { trust: Authority::new("stranger").trust(), ..me.clone() };
        world.shown();
        assert_eq!((world.fail(&stranger).code, world.shown()), (Code::UnknownIssuer, 0));
        assert!(world.open(&me).resumed, "{version:?}: somebody who trusts others costs nothing");
        // One authority more: it would have passed, and it was not what was asked.
        let both = [world.ca.pem(), Authority::new("stranger").pem()].concat();
        let both = Asked { trust: Trust::Roots(Roots::from_pem(both.as_bytes()).unwrap()), ..me.clone() };
        world.shown();
        assert_eq!((world.open(&both).resumed, world.shown()), (false, 0), "{version:?}");
        // Two lists of groups.
        let groups = |group| Asked {
            params: with(ParamsSpec { groups: list(&[group]), ..ParamsSpec::default() }),
            ..me.clone()
        };
        assert!(world.open(&groups("x25519")).resumed, "{version:?}");
        assert_eq!((world.open(&groups("secp256r1")).resumed, world.shown()), (false, 1), "{version:?}");
    }
}

#[test]
fn a_ticket_of_tls_1_3_is_used_once() {
    let mut world = World::new(Version::Tls13);
    let asked = world.asked();
    world.open(&asked);
    world.server.send_tls13_tickets = 0;
    let resumed: Vec<bool> = (0..4).map(|_| world.open(&asked).resumed).collect();
    assert_eq!((resumed, world.shown()), (vec![true, true, false, false], 2), "it gave two");
}

#[test]
fn a_session_of_tls_1_2_is_used_until_there_is_a_new_one() {
    let world = World::new(Version::Tls12);
    let asked = world.asked();
    world.open(&asked);
    assert!((0..4).all(|_| world.open(&asked).resumed));
}

/// The certificate that was good yesterday is looked at again today.
#[test]
fn a_certificate_that_has_ended_is_not_resumed_from_and_a_renewed_one_opens() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let ending = world.ca.issue(&KeyPair::generate().unwrap(), dated(2025, 2026));
        let start = START - 3 * DAY;
        world.clock.0.store(start, Ordering::Relaxed);
        world.server = config(version, ending, &world.ticketer, &world.clock);
        let asked = world.asked();
        world.open(&asked);
        assert!(world.open(&asked).resumed);
        world.shown();
        world.sleep(4 * DAY);
        let failure = world.fail(&asked);
        assert_eq!((failure.code, world.shown()), (Code::CertificateExpired, 0), "{version:?}");

        let renewed = world.ca.issue(&KeyPair::generate().unwrap(), dated(2025, 2027));
        world.server = config(version, renewed, &world.ticketer, &world.clock);
        assert!(!world.open(&asked).resumed);
        assert!(world.open(&asked).resumed, "{version:?}");
    }
}

/// What rustls resumed is looked at, also when nothing of it was checked before.
#[test]
fn what_was_not_checked_before_is_checked_when_it_was_resumed() {
    for version in VERSIONS {
        let world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        for (years, code) in [(0, None), (2, Some(Code::CertificateExpired))] {
            let (mut pair, resuming) = world.begin(&asked);
            resuming.expect("there is a store").forget_what_was_checked();
            world.sleep(years * 365 * DAY);
            pair.run();
            assert_eq!(pair.ours.failure.as_ref().map(|failure| failure.code), code, "{version:?}");
            assert!(pair.peer.connection.handshake_kind() == Some(rustls::HandshakeKind::Resumed));
            let facts = pair.ours.session.take_facts();
            assert_eq!((facts.chain.len(), facts.matched.len()), (1, 1 - years as usize / 2));
        }
        world.shown();
        assert_eq!((world.fail(&asked).code, world.shown()), (Code::CertificateExpired, 0));
    }
}

/// Each ticket is good for 7 days, and so is all that came of one full handshake.
#[test]
fn nobody_resumes_for_ever() {
    for version in VERSIONS {
        let world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        for _ in 0..6 {
            world.sleep(DAY);
            assert!(world.open(&asked).resumed, "{version:?}");
        }
        // Just before its end, and then sooner than all tickets are looked at again.
        world.sleep(DAY - 1800);
        assert!(world.open(&asked).resumed, "{version:?}");
        world.sleep(1800);
        assert!(!world.open(&asked).resumed, "{version:?}");
        world.sleep(8 * DAY);
        assert!(!world.open(&asked).resumed, "{version:?}");
    }
}

#[test]
fn a_server_that_has_lost_its_keys_gets_a_full_handshake() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        let inner = Ticketer::new().unwrap();
        world.ticketer = Arc::new(Counting { inner, shown: AtomicUsize::new(0) });
        world.server.ticketer = world.ticketer.clone();
        let facts = world.open(&asked);
        assert_eq!((facts.resumed, facts.matched.len(), world.shown()), (false, 1, 1), "{version:?}");
    }
}

/// A server that cannot cope with its own ticket is not shown it for ever.
#[test]
fn a_handshake_that_breaks_with_a_ticket_is_tried_without_one_next_time() {
    for version in VERSIONS {
        let world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        let (mut pair, _) = world.begin(&asked);
        pair.ours.hear(b"HTTP/1.1 400 what is this\r\n");
        assert_eq!(pair.ours.failure.map(|failure| failure.code), Some(Code::NotTls));
        world.shown();
        assert_eq!((world.open(&asked).resumed, world.shown()), (false, 0), "{version:?}");
        // What is not the peer's fault costs nothing.
        let (mut pair, _) = world.begin(&asked);
        pair.ours.session.handle_failure(Blame::Caller);
        assert!(world.open(&asked).resumed, "{version:?}");
    }
}

/// They share what rustls compares, and nothing else: each has its own peer, verdict and key.
#[test]
fn sessions_of_one_place_do_not_see_each_others_peers() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let asked = world.asked();
        let (mut good, _) = world.begin(&asked);
        let stranger = Authority::new("stranger").identity(&[NAME]);
        world.server = config(version, stranger, &world.ticketer, &world.clock);
        let (mut bad, _) = world.begin(&asked);
        let hello = bad.ours.said();
        bad.peer.hear(&hello);
        good.run();
        good.assert_open("the good one");
        bad.run();
        assert_eq!(bad.ours.failure.map(|failure| failure.code), Some(Code::UnknownIssuer));
        let (ours, theirs) = (good.ours.session.take_facts(), bad.ours.session.take_facts());
        assert_ne!(ours.certificate_sha256, theirs.certificate_sha256);
        assert_eq!((ours.matched.len(), theirs.matched.len()), (1, 0));
    }
}
