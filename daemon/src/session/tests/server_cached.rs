//! Server sessions that are kept in a cache, against rustls' client, with a map instead of a cache and a clock that is
//! turned by hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustls::client::Resumption;
use rustls::{ClientConfig, ClientConnection, HandshakeKind};

use super::cases::{NAME, Ours, Pair, Talk, Theirs};
use super::resumption::{Clock, START};
use crate::session::Session;
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, server_spec};
use crate::tls::{
    CacheEvent, Cached, ClientCertificate, ClientHello, ClientProfile, ClientSpec, KeyStore, Look,
    ServerProfile, ServerResumption, ServerSpec, TicketKeys, Version, Witness,
};

const HOUR: u64 = 60 * 60;

/// A server whose sessions are in this map.
struct World {
    spec: ServerSpec,
    clock: Arc<Clock>,
    store: KeyStore,
    client: Arc<ClientConfig>,
    cache: HashMap<String, Vec<u8>>,
}

/// What a session came to.
#[derive(Debug, PartialEq, Eq)]
struct Was {
    resumed: bool,
    /// Entries that it left.
    left: usize,
}

impl World {
    fn new(version: Version) -> Self {
        let ca = Authority::new("ca");
        let spec = ServerSpec { params: only(version), ..server_spec(vec![ca.identity(&[NAME])]) };
        let theirs = ClientSpec { params: only(version), ..client_spec(ca.trust(), &[NAME]) };
        let profile = ClientProfile::build(theirs).unwrap();
        let mut client = ClientConfig::clone(&profile.session_config(&[], &Witness::new(), None).unwrap());
        let clock = Arc::new(Clock(AtomicU64::new(START)));
        client.time_provider = clock.clone();
        client.resumption = Resumption::in_memory_sessions(32);
        let store = TicketKeys::new().store(1000, "web");
        Self { spec, clock, store, client: client.into(), cache: HashMap::new() }
    }

    fn profile(&self) -> ServerProfile {
        let mut profile = ServerProfile::build(self.spec.clone()).unwrap();
        profile.set_clock(self.clock.clone());
        profile
    }

    /// A whole session, with what the cache gives for these names.
    fn session(&mut self, give: impl Fn(&Self, &[String]) -> Option<Vec<u8>>) -> Was {
        let profile = self.profile();
        let mut peer =
            Theirs::new(ClientConnection::new(self.client.clone(), NAME.try_into().unwrap()).unwrap().into());
        let said = peer.said();
        let Look::Whole(hello) = ClientHello::look(&said) else { panic!("{said:?}") };
        let cached = profile.cached(&self.store, &hello).expect("it asks for no client certificate");
        let names = cached.names();
        let value = give(self, &names);
        if cached.once() {
            names.iter().for_each(|name| drop(self.cache.remove(name)));
        }
        if let Some(value) = value {
            cached.found(&value);
        }
        self.run(profile, peer, &said, cached)
    }

    fn run(&mut self, profile: ServerProfile, peer: Theirs, said: &[u8], cached: Arc<Cached>) -> Was {
        let resumption = ServerResumption::Cached(cached.clone());
        let session = Session::server(&Arc::new(profile), None, Witness::new(), false, Some(&resumption));
        let mut pair = Pair { ours: Ours::new(session.unwrap()), peer };
        pair.ours.hear(said);
        pair.run();
        pair.assert_open("a session");
        let resumed = pair.ours.session.take_facts().resumed;
        assert_eq!(resumed, pair.peer.connection.handshake_kind() == Some(HandshakeKind::Resumed));
        pair.ours.write(b"there");
        pair.run();
        assert_eq!(pair.peer.received, b"there");
        let puts = cached.take_puts();
        let left = puts.len();
        self.cache.extend(puts.into_iter().map(|entry| (entry.name, entry.value)));
        Was { resumed, left }
    }

    /// With a cache that does what it should.
    fn honest(&mut self) -> Was {
        self.session(|world, names| names.iter().find_map(|name| world.cache.get(name).cloned()))
    }

    fn count(&self, event: CacheEvent) -> u64 {
        let keys = self.profile().cached(&self.store, &ClientHello::default()).unwrap();
        keys.figures().count_of(event)
    }
}

fn was(resumed: bool, left: usize) -> Was {
    Was { resumed, left }
}

#[test]
fn sessions_resume_by_what_the_cache_holds_and_a_ticket_of_tls13_is_gone_with_its_use() {
    for version in VERSIONS {
        let mut world = World::new(version);
        assert_eq!(world.honest(), was(false, 1), "{version:?}");
        for _ in 0..3 {
            // TLS 1.2 comes with the same id again; TLS 1.3 with the ticket of the last time.
            let left = usize::from(version == Version::Tls13);
            assert_eq!(world.honest(), was(true, left), "{version:?}");
            assert_eq!(world.cache.len(), 1, "{version:?}");
        }
        assert_eq!(world.count(CacheEvent::Hit), 3);
    }
}

#[test]
fn an_empty_or_lying_cache_costs_a_full_handshake_and_never_the_session() {
    for version in VERSIONS {
        let mut world = World::new(version);
        world.honest();
        let foreign = world.cache.values().next().unwrap().clone();
        for round in 0..6 {
            // Another visitor's session, good in itself.
            let mine = world.client.clone();
            let mut other = ClientConfig::clone(&mine);
            other.resumption = Resumption::in_memory_sessions(32);
            world.client = other.into();
            world.honest();
            let garbage =
                [Vec::new(), vec![0; 16 * 1024], foreign[..40].to_vec(), foreign.clone(), b"x".to_vec()];
            let given = garbage.get(round).cloned();
            assert!(!world.session(|_, _| given.clone()).resumed, "{version:?}, round {round}");
            world.client = mine;
        }
    }
}

#[test]
fn a_value_that_is_kept_past_its_life_is_no_use_to_anybody() {
    for version in VERSIONS {
        let mut world = World::new(version);
        world.honest();
        let kept = world.cache.values().next().unwrap().clone();
        world.clock.0.fetch_add(12 * HOUR, Ordering::Relaxed);
        assert!(!world.session(|_, _| Some(kept.clone())).resumed, "{version:?}");
        // The client may have thrown the session away for itself.
        assert!(world.count(CacheEvent::Refused) <= 1);
        assert!(world.honest().resumed);
    }
}

#[test]
fn who_asks_for_client_certificates_keeps_nothing() {
    let ca = Authority::new("ca");
    let identity = ca.identity(&[NAME]);
    let spec = ServerSpec {
        client_certificate: ClientCertificate::Optional,
        trust: Some(ca.trust()),
        ..server_spec(vec![identity])
    };
    let store = TicketKeys::new().store(1000, "web");
    assert!(ServerProfile::build(spec).unwrap().cached(&store, &ClientHello::default()).is_none());
}
