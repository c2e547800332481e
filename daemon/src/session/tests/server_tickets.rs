//! Server sessions that resume, against rustls' client with its tickets in memory, and with a clock that is turned
//! by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rcgen::{KeyPair, date_time_ymd};
use rustls::client::{Resumption, TicketRequest};
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::cases::{NAME, Ours, Pair, Theirs};
use super::resumption::{Clock, DAY, START};
use crate::session::{Facts, Session};
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, params, server_spec};
use crate::tls::{
    AlpnMismatch, ClientProfile, ClientSpec, Identity, Params, ParamsSpec, Roots, ServerProfile,
    ServerResumption, ServerSpec, TicketKeys, Version, Witness,
};

const HOUR: u64 = 60 * 60;
const ME: u32 = 1000;

/// A client that keeps tickets, and the daemon's memory.
pub(super) struct World {
    pub(super) ca: Authority,
    identity: Identity,
    pub(super) clock: Arc<Clock>,
    keys: TicketKeys,
    pub(super) client: Arc<ClientConfig>,
    version: Version,
    /// The host's pool.
    pub(super) system: Option<Roots>,
}

/// What a caller says.
#[derive(Clone)]
pub(super) struct Asked {
    uid: u32,
    store: Option<&'static str>,
    pub(super) spec: ServerSpec,
    pub(super) exports: bool,
    /// Whom the client means.
    name: &'static str,
}

impl World {
    pub(super) fn new(version: Version) -> Self {
        Self::with(version, |_| {})
    }

    fn with(version: Version, change: impl FnOnce(&mut ClientSpec)) -> Self {
        let ca = Authority::new("ca");
        let identity = Self::issue(&ca);
        let mut spec = ClientSpec { params: only(version), ..client_spec(ca.trust(), &[NAME, "b.example"]) };
        change(&mut spec);
        let profile = ClientProfile::build(spec).unwrap();
        let config = profile.session_config(&[], &Witness::new(), None).unwrap();
        let mut client = ClientConfig::clone(&config);
        let clock = Arc::new(Clock(AtomicU64::new(START)));
        client.time_provider = clock.clone();
        client.resumption = Resumption::in_memory_sessions(32);
        let (keys, client) = (TicketKeys::new(), client.into());
        Self { ca, identity, clock, keys, client, version, system: None }
    }

    fn issue(ca: &Authority) -> Identity {
        let mut params = params(&[NAME, "b.example"]);
        (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2030, 1, 1));
        ca.issue(&KeyPair::generate().unwrap(), params)
    }

    pub(super) fn asked(&self) -> Asked {
        let spec = ServerSpec { params: only(self.version), ..server_spec(vec![self.identity.clone()]) };
        Asked { uid: ME, store: Some("mine"), spec, exports: false, name: NAME }
    }

    pub(super) fn begin(&self, asked: &Asked) -> Pair<Theirs> {
        let mut profile = ServerProfile::build(asked.spec.clone()).unwrap();
        profile.set_clock(self.clock.clone());
        let store = asked.store.map(|name| ServerResumption::Tickets(self.keys.store(asked.uid, name)));
        let (profile, witness) = (Arc::new(profile), Witness::new());
        let session =
            Session::server(&profile, self.system.as_ref(), witness, asked.exports, store.as_ref()).unwrap();
        let name = asked.name.try_into().unwrap();
        let client = ClientConnection::new(self.client.clone(), name).unwrap();
        Pair { ours: Ours::new(session), peer: Theirs::new(client.into()) }
    }

    /// A session whose bytes went both ways: whether it resumed, as both ends see it.
    pub(super) fn open(&self, asked: &Asked) -> Facts {
        let mut pair = self.begin(asked);
        pair.run();
        pair.assert_open("a session");
        let facts = pair.ours.session.take_facts();
        pair.ours.write(b"there");
        pair.peer.write(b"back");
        pair.run();
        assert_eq!((&pair.ours.received[..], &pair.peer.received[..]), (&b"back"[..], &b"there"[..]));
        let theirs = pair.peer.connection.handshake_kind() == Some(HandshakeKind::Resumed);
        assert_eq!(facts.resumed, theirs, "both ends say the same");
        facts
    }

    pub(super) fn resumed(&self, asked: &Asked) -> bool {
        self.open(asked).resumed
    }

    pub(super) fn sleep(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    fn with_params(&self, spec: ParamsSpec) -> Asked {
        let spec = ParamsSpec { min: Some(self.version), max: Some(self.version), ..spec };
        let mut asked = self.asked();
        asked.spec.params = Params::build(&spec).unwrap();
        asked
    }
}

#[test]
fn the_second_session_resumes_and_is_told_everything_the_first_was() {
    for version in VERSIONS {
        for exports in [false, true] {
            let world = World::new(version);
            let asked = Asked { exports, ..world.asked() };
            let (first, second) = (world.open(&asked), world.open(&asked));
            assert_eq!((first.resumed, second.resumed), (false, true), "{version:?} exports: {exports}");
            assert_eq!((first.protocol, first.cipher), (second.protocol, second.cipher));
            assert_eq!((first.server_name.as_deref(), &first.server_name), (Some(NAME), &second.server_name));
            assert_eq!(second.signature, None, "nobody signed");
            // A ticket of TLS 1.3 came with each session.
            assert!((0..4).all(|_| world.resumed(&asked)), "{version:?}");
        }
    }
}

#[test]
fn nothing_is_given_or_taken_for_a_caller_that_does_not_ask() {
    for version in VERSIONS {
        let world = World::new(version);
        let silent = Asked { store: None, ..world.asked() };
        assert!(!world.resumed(&silent) && !world.resumed(&silent), "{version:?}");
        assert!(!world.resumed(&world.asked()), "{version:?}: there was a ticket");
        assert!(!world.resumed(&silent), "{version:?}: it was taken");
    }
}

#[test]
fn a_session_that_looks_at_the_hello_first_resumes_too() {
    for version in VERSIONS {
        let alpn = vec![b"h2".to_vec()];
        let wants = alpn.clone();
        let world = World::with(version, |spec| {
            let params = ParamsSpec { min: Some(version), max: Some(version), ..ParamsSpec::default() };
            spec.params = Params::build(&ParamsSpec { alpn: wants, ..params }).unwrap();
        });
        for (ours, chosen) in [(alpn, Some(b"h2".to_vec())), (vec![b"x".to_vec()], None)] {
            let spec =
                ParamsSpec { alpn: ours, alpn_mismatch: Some(AlpnMismatch::Ignore), ..ParamsSpec::default() };
            let asked = world.with_params(spec);
            let (first, second) = (world.open(&asked), world.open(&asked));
            assert_eq!((first.resumed, second.resumed), (false, true), "{version:?}");
            assert_eq!((first.alpn, second.alpn), (chosen.clone(), chosen), "{version:?}");
        }
    }
}

#[test]
fn a_ticket_is_for_its_user_store_and_profile_and_others_get_a_full_handshake() {
    for version in VERSIONS {
        let world = World::new(version);
        let me = world.asked();
        let list = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let change = |change: &dyn Fn(&mut ServerSpec)| {
            let mut asked = me.clone();
            change(&mut asked.spec);
            asked
        };
        let renewed = World::issue(&world.ca);
        let default = ParamsSpec::default;
        let others = [
            ("uid", Asked { uid: 0, ..me.clone() }),
            ("store", Asked { store: Some("other"), ..me.clone() }),
            ("identity", change(&|spec| spec.identities = vec![renewed.clone()])),
            ("identities", change(&|spec| spec.identities.push(renewed.clone()))),
            (
                "names",
                change(&|spec| {
                    let names = vec![NAME.to_owned()];
                    spec.identities = vec![spec.identities[0].clone().with_names(names)];
                }),
            ),
            ("unknown-name", change(&|spec| spec.unknown_name_first = true)),
            ("alpn", world.with_params(ParamsSpec { alpn: vec![b"h2".to_vec()], ..default() })),
            ("groups", world.with_params(ParamsSpec { groups: list(&["x25519"]), ..default() })),
            ("ems", world.with_params(ParamsSpec { require_ems: true, ..default() })),
            (
                "schemes",
                world.with_params(ParamsSpec {
                    signature_schemes: list(&["ecdsa_secp256r1_sha256"]),
                    ..default()
                }),
            ),
            ("versions", change(&|spec| spec.params = crate::tls::pair::defaults())),
        ];
        for (what, other) in &others {
            // With the ticket of the latest session, whose it may be.
            world.open(&me);
            assert!(!world.resumed(other), "{version:?}: another {what} resumed");
            assert!(!world.resumed(&me), "{version:?}: with the ticket of another {what}");
        }
        // What says the same is the same, however often it is built, and with exporter values too.
        world.open(&me);
        assert!(
            world.resumed(&world.asked()) && world.resumed(&Asked { exports: true, ..me }),
            "{version:?}"
        );
    }
}

#[test]
fn a_ticket_is_for_the_name_that_was_asked_for() {
    for version in VERSIONS {
        let world = World::new(version);
        let me = world.asked();
        let other = Asked { name: "b.example", ..me.clone() };
        for (asked, resumed) in [(&me, false), (&other, false), (&me, true), (&other, true)] {
            assert_eq!(world.resumed(asked), resumed, "{version:?} {}", asked.name);
        }
    }
}

#[test]
fn tickets_outlive_two_changes_of_keys_and_no_third() {
    for version in VERSIONS {
        let world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        for _ in 0..8 {
            world.sleep(11 * HOUR);
            assert!(world.resumed(&asked), "{version:?}");
        }
        world.sleep(12 * HOUR);
        assert!(!world.resumed(&asked), "{version:?}");
    }
}

#[test]
fn nobody_resumes_for_ever() {
    for version in VERSIONS {
        let world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        for hours in (10..7 * 24).step_by(10) {
            world.sleep(10 * HOUR);
            assert!(world.resumed(&asked), "{version:?} after {hours} hours");
        }
        world.clock.0.store(START + 7 * DAY, Ordering::Relaxed);
        assert!(!world.resumed(&asked), "{version:?}");
        assert!(world.resumed(&asked), "{version:?}: it begins anew");
    }
}

/// Also keys that are gone with a daemon, and those of another.
#[test]
fn a_ticket_of_other_keys_costs_a_full_handshake_and_no_session() {
    for version in VERSIONS {
        let mut world = World::new(version);
        let asked = world.asked();
        world.open(&asked);
        world.keys = TicketKeys::new();
        assert!(!world.resumed(&asked), "{version:?}");
        assert!(world.resumed(&asked), "{version:?}");
    }
}

#[test]
fn a_client_gets_one_ticket_or_as_many_as_it_asks_for_within_bounds() {
    for (wanted, comes) in [(None, 1), (Some(0), 0), (Some(3), 3), (Some(200), 4)] {
        let mut world = World::new(Version::Tls13);
        let mut client = ClientConfig::clone(&world.client);
        client.send_ticket_request =
            wanted.map(|count| TicketRequest { new_session_count: count, resumption_count: 0 });
        world.client = client.into();
        let asked = world.asked();
        world.open(&asked);
        // Each takes a ticket when it begins.
        let mut pairs: Vec<_> = (0..6).map(|_| world.begin(&asked)).collect();
        let resumed = pairs.iter_mut().map(|pair| {
            pair.run();
            pair.assert_open("a session");
            pair.ours.session.take_facts().resumed
        });
        assert_eq!(resumed.filter(|resumed| *resumed).count(), comes, "{wanted:?}");
    }
}
