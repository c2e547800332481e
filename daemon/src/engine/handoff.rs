//! A session on its way to its worker, and as it lives there.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlsify_protocol::{Address, AskDefault, Bind, EchDone, OutboundEnd, Role};

use super::link::Link;
use super::operator::{Label, Profile};
use crate::io::{Cache, Dial, Ends, Given, Net, Relay, Timeouts, Token};
use crate::policy::{HandshakeSlot, SessionSlot};
use crate::session::Session;
use crate::tls::{
    Cached, Ech, Failure, KeyLimits, KeyStore, Level, ReferenceId, Roots, ServerNameChoice, ServerResumption,
    TicketStore, Witness,
};

/// Everything of an accepted request; any thread may carry it.
pub(super) struct Handoff {
    pub(super) opening: Box<Opening>,
    pub(super) net: Net,
    /// What the caller had read from the socket already.
    pub(super) received: Vec<u8>,
    /// When it was handed over.
    pub(super) since: Instant,
    /// Its SYN goes out with the first bytes.
    pub(super) deferred: bool,
    /// It is over before it begins: the peer and the caller are to hear why.
    pub(super) refused: Option<Box<Failure>>,
}

/// The same, with a ClientHello that somebody wants to see first. The socket is as the caller gave it.
pub(super) struct Waiting {
    pub(super) opening: Box<Opening>,
    pub(super) net: OwnedFd,
    pub(super) ends: Ends,
    pub(super) received: Vec<u8>,
    pub(super) since: Instant,
    pub(super) wants: Wants,
}

/// Who wants to see the ClientHello.
pub(super) struct Wants {
    /// The caller.
    pub(super) ask: Option<Ask>,
}

/// How the caller is asked.
pub(super) struct Ask {
    /// How long to wait for the ClientHello, and then as long for the choice.
    pub(super) timeout: Duration,
    /// What is done without one.
    pub(super) default: AskDefault,
    /// The request names a store, which counts whatever profile is chosen.
    pub(super) has_store: bool,
}

/// The same, with a socket that is to be connected first.
pub(super) struct Deferred {
    pub(super) opening: Box<Opening>,
    pub(super) dial: Dial,
    pub(super) since: Instant,
}

/// A request that nothing refuses any more.
pub(super) enum Prepared {
    Connected(Handoff),
    Deferred(Deferred),
    Waiting(Waiting),
}

/// What only the handshake and its report need. Freed at `established`.
pub(super) struct Opening {
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    pub(super) profile: Profile,
    /// Its name, if it has one.
    pub(super) label: Option<Label>,
    /// The request's reference identifiers (client role).
    pub(super) names: Vec<ReferenceId>,
    pub(super) server_name: ServerNameChoice,
    /// What is sent of Encrypted Client Hello (client role).
    pub(super) ech: Option<Ech>,
    /// The store that the request names, if it does.
    pub(super) resume: Option<Store>,
    /// The cache that the profile's sessions are kept in, for one that resumes.
    pub(super) cache: Option<Arc<Cache>>,
    /// What this session found there, and is to leave there.
    pub(super) cached: Option<Arc<Cached>>,
    /// The system's CA pool, if the profile checks against it.
    pub(super) system: Option<Roots>,
    /// The program's side, if the caller gave it.
    pub(super) plain: Option<Given>,
    pub(super) exports: Vec<Export>,
    pub(super) channel_binding: bool,
    /// Whether nothing is to be opened, and the peer's key is to be learned.
    pub(super) learn: bool,
    /// Whether `established` brings the peer's chain.
    pub(super) chain: bool,
    pub(super) bind: Bind,
    pub(super) outbound_end: OutboundEnd,
    pub(super) timeouts: Timeouts,
    pub(super) session_slot: SessionSlot,
    /// Our end of the network socket, from its adoption on.
    pub(super) local: Option<Address>,
    /// Given back before the caller is told that the handshake is over.
    pub(super) handshake_slot: Option<HandshakeSlot>,
}

/// What a session resumes with.
pub(super) enum Store {
    /// A client's tickets.
    Tickets(TicketStore),
    /// The keys of a server's.
    Keys(KeyStore),
}

/// An exporter value that was asked for.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) label: String,
    pub(super) context: Option<Vec<u8>>,
    pub(super) length: u8,
}

impl Opening {
    pub(super) fn role(&self) -> Role {
        match self.profile {
            Profile::Server(_) => Role::Server,
            Profile::Client(_) => Role::Client,
        }
    }

    /// The TLS side at its start.
    pub(super) fn session(&self) -> Result<Session, Failure> {
        let witness = Witness::new();
        let exports = self.channel_binding || !self.exports.is_empty();
        match &self.profile {
            Profile::Server(profile) => {
                let resume = self.resumption();
                Session::server(profile, self.system.as_ref(), witness, exports, resume.as_ref())
            }
            Profile::Client(profile) => {
                let sni = profile.sni(&self.names, &self.server_name);
                let (names, system) = (&self.names, self.system.as_ref());
                if self.learn {
                    let config = profile.learning_config(names, &witness, system)?;
                    return Session::learner(config, sni.name, witness);
                }
                let store = match &self.resume {
                    Some(Store::Tickets(store)) => Some(store),
                    _ => None,
                };
                let (config, resuming) = match (&self.ech, store) {
                    (Some(ech), _) => {
                        profile.ech_config(ech, names, &sni, &witness, system, store, exports)?
                    }
                    (None, Some(store)) => {
                        let (config, resuming) =
                            profile.resuming_config(names, &sni, &witness, system, store, exports)?;
                        (config, Some(resuming))
                    }
                    (None, None) => (profile.session_config(names, &witness, system)?, None),
                };
                Session::client(config, sni.name, witness, exports, resuming)
            }
        }
    }

    /// The signer that the handshake may have to wait for, if that is anybody. Who learns shows no certificate.
    pub(super) fn waits_for(&self) -> Option<&str> {
        match &self.profile {
            Profile::Server(profile) => profile.waits_for(),
            Profile::Client(profile) => profile.waits_for().filter(|_| !self.learn),
        }
    }

    /// When the key that the session sends with is replaced.
    pub(super) fn key_limits(&self) -> KeyLimits {
        match &self.profile {
            Profile::Server(profile) => profile.params().key_limits(),
            Profile::Client(profile) => profile.params().key_limits(),
        }
    }

    /// What came of Encrypted Client Hello in a session that is open: rustls lets none open that was rejected, and says of
    /// those on its unbuffered interface no more than that.
    pub(super) fn ech_done(&self) -> Option<EchDone> {
        self.ech.as_ref().map(|ech| if ech.hides() { EchDone::Accepted } else { EchDone::Grease })
    }

    /// What a server's session resumes with.
    pub(super) fn resumption(&self) -> Option<ServerResumption> {
        match (&self.resume, &self.cached) {
            (Some(Store::Keys(_)), Some(cached)) => Some(ServerResumption::Cached(Arc::clone(cached))),
            (Some(Store::Keys(store)), None) => Some(ServerResumption::Tickets(store.clone())),
            _ => None,
        }
    }

    /// The SNI that a client sends.
    pub(super) fn sent_name(&self) -> Option<String> {
        match &self.profile {
            Profile::Server(_) => None,
            Profile::Client(profile) => profile.sni(&self.names, &self.server_name).sent,
        }
    }
}

/// A session on its worker.
pub(super) struct Live {
    pub(super) relay: Relay,
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    pub(super) bind: Bind,
    /// Whether it waits in the worker's queue.
    pub(super) queued: bool,
    /// Until `established`.
    pub(super) opening: Option<Box<Opening>>,
    /// Given back when the last of the session's descriptors is closed.
    pub(super) slot: Option<SessionSlot>,
    /// When the peer's certificate ends. Here, in what alignment leaves over, and not in the brief: a session at rest
    /// is as small as it was.
    pub(super) peer_until: Until,
    pub(super) brief: Brief,
}

/// What is remembered of an open session for `status` and the log, beside what its TLS side knows.
#[derive(Debug)]
pub(super) struct Brief {
    pub(super) role: Role,
    pub(super) peer: Address,
    pub(super) server_name: Option<Box<str>>,
    pub(super) level: Option<Level>,
    /// The profile's name, if it has one.
    pub(super) label: Option<Label>,
    /// When our certificate ends.
    pub(super) certificate_until: Until,
}

/// A moment in whole minutes since 1970, or none: half of what seconds would take, good beyond the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Until(u32);

impl Until {
    /// Of seconds since 1970; the moment is never later than said.
    pub(super) fn seconds(seconds: Option<u64>) -> Self {
        // 0 is none: 1970 is nobody's certificate's end.
        Self(seconds.map_or(0, |seconds| u32::try_from(seconds / 60).unwrap_or(u32::MAX)))
    }

    /// In seconds since 1970.
    pub(super) fn as_seconds(self) -> Option<u64> {
        (self.0 != 0).then_some(u64::from(self.0) * 60)
    }
}

impl Live {
    pub(super) fn new(relay: Relay, mut opening: Box<Opening>, ends: Ends) -> Self {
        opening.local = Some(ends.local);
        Self {
            relay,
            link: Arc::clone(&opening.link),
            id: opening.id,
            bind: opening.bind,
            queued: false,
            peer_until: Until::default(),
            brief: Brief {
                role: opening.role(),
                peer: ends.peer,
                server_name: None,
                level: None,
                label: opening.label.clone(),
                certificate_until: Until::default(),
            },
            opening: Some(opening),
            slot: None,
        }
    }

    pub(super) fn token(&self) -> Token {
        self.relay.token()
    }

    /// The rule that the session was let in under.
    pub(super) fn rule(&self) -> Option<&Arc<str>> {
        self.opening.as_ref().map(|opening| &opening.session_slot).or(self.slot.as_ref())?.rule()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_at_rest_is_no_larger_than_it_was_without_an_inventory() {
        // The allocator gives 1,456 bytes for this, and 16 more for the next byte: 8,000 sessions at rest are 4 KiB each
        // with them (benches, row idle), and that is the bar. Whoever adds to it finds the room elsewhere.
        assert!(size_of::<Live>() <= 1448, "{}", size_of::<Live>());
    }

    #[test]
    fn minutes_are_enough_for_the_end_of_a_certificate() {
        let year_9999 = 253_402_300_799;
        let until = Until::seconds(Some(year_9999)).as_seconds().unwrap();
        assert!(until <= year_9999 && year_9999 - until < 60, "{until}");
        assert_eq!(Until::seconds(None).as_seconds(), None);
    }
}
