//! One session that may resume: where its tickets lie, and what is checked before one is used.

use core::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::client::danger::ServerCertVerified;
use rustls::client::{
    ClientSessionStore, ResolvesClientCert, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, CommonState, Error, HandshakeKind, NamedGroup};

use super::TicketStore;
use super::anchor::at_work;
use super::shelf::{Kept, Place, Shelf, is_good};
use crate::tls::verify_server::ServerVerifier;
use crate::tls::witness::{Seen, Witness};

/// The length of a ticket is not to be had from rustls. It cannot be longer than what it came in, and never than
/// this: its length has 16 bits.
const LONGEST: usize = 0xffff;
/// What a ticket takes besides its bytes and its chain.
const OVERHEAD: usize = 256;

/// A session that resumes from a store and keeps new tickets there.
#[derive(Clone)]
pub struct Resuming(Arc<Inner>);

/// Of which version a ticket is decides how often it may be used.
pub(super) enum Value {
    /// TLS 1.3: once, so that nobody who watches can tell that two sessions are one client's (RFC 9846
    /// appendix C.4).
    Once(Tls13ClientSessionValue),
    /// TLS 1.2: until the server gives a new one.
    Often(Tls12ClientSessionValue),
}

/// What rustls and the session share of it.
pub(super) struct Inner {
    pub(super) verifier: ServerVerifier,
    pub(super) identity: Arc<dyn ResolvesClientCert>,
    store: TicketStore,
    shelf: Arc<Shelf<Value>>,
    place: Place,
    time: Arc<dyn TimeProvider>,
    /// Bytes that came since no message was begun and not finished.
    arrived: AtomicUsize,
    /// Whether the server asked for a second ClientHello, and the first was encrypted.
    retried: AtomicBool,
    peer: Mutex<Peer>,
}

/// The peer, as far as it is known.
#[derive(Default)]
struct Peer {
    /// Its certificates, checked in this session, and when it was met in a full handshake.
    checked: Option<(Arc<[CertificateDer<'static>]>, u64)>,
    /// What checking them gave, if a ticket was offered.
    offered: Option<Seen>,
}

impl Resuming {
    /// Lets a session of `config` resume from `store`, where the tickets with this fingerprint lie.
    pub(in crate::tls) fn new(
        store: &TicketStore,
        print: [u8; 32],
        verifier: ServerVerifier,
        config: &mut ClientConfig,
    ) -> Self {
        let shelf = store.tickets.shelf(store.uid);
        let time = Arc::clone(&config.time_provider);
        let now = time.current_time().map_or(0, |now| now.as_secs());
        let place = shelf.place(&store.name, print, now);
        let anchor = Arc::clone(&place.anchor);
        let resolver: Arc<dyn ResolvesClientCert> = anchor.clone();
        let identity = std::mem::replace(&mut config.client_auth_cert_resolver, resolver);
        config.dangerous().set_certificate_verifier(anchor);
        let inner = Arc::new(Inner {
            verifier,
            identity,
            store: store.clone(),
            shelf,
            place,
            time,
            arrived: AtomicUsize::new(0),
            retried: AtomicBool::new(false),
            peer: Mutex::default(),
        });
        config.resumption = Resumption::store(inner.clone());
        Self(inner)
    }

    /// Does what makes the connection or processes `arrived` bytes of the peer; `whole` says that what came
    /// before them was complete.
    pub(crate) fn at_work<T>(&self, arrived: usize, whole: bool, work: impl FnOnce() -> T) -> T {
        let before = if whole { 0 } else { self.0.arrived.load(Ordering::Relaxed) };
        self.0.arrived.store(before.saturating_add(arrived), Ordering::Relaxed);
        at_work(&self.0, work)
    }

    /// The peer broke the handshake off. A ticket that it was shown may be why, and would be shown again by the next
    /// session: it is forgotten, with the others of its place.
    pub(crate) fn gave_up(&self) {
        if self.0.peer().offered.take().is_some() {
            self.0.forget();
        }
    }

    /// Whether what is to be sent now must not be. With Encrypted Client Hello a ticket is inside of it. The server's
    /// HelloRetryRequest may reject it, and rustls would show the ticket in the second ClientHello, in the clear: who forged
    /// the request, as anybody on the way can, could ask each server whether it knows the ticket (RFC 9849 section 10.12.3).
    pub(crate) fn would_show_a_ticket(&self, common: &CommonState) -> bool {
        if self.0.verifier.hidden.is_none()
            || common.handshake_kind() != Some(HandshakeKind::FullWithHelloRetryRequest)
        {
            return false;
        }
        self.0.retried.store(true, Ordering::Relaxed);
        self.0.peer().offered.is_some()
    }

    /// The handshake is done. If a ticket was used, rustls has not looked at the peer's certificates: they are
    /// checked here, or were before the ticket was offered, and the session's notebook gets what was found.
    ///
    /// # Errors
    /// As of a full handshake; the tickets are forgotten.
    pub(crate) fn confirm(&self, common: &CommonState) -> Result<(), Error> {
        let offered = self.0.peer().offered.take();
        if common.handshake_kind() != Some(HandshakeKind::Resumed) {
            return Ok(());
        }
        let chain = common.peer_certificates().unwrap_or_default();
        match offered.filter(|offered| offered.chain == chain) {
            Some(offered) => self.0.verifier.witness.adopt(offered),
            None => self.0.confirm_anew(chain)?,
        }
        self.0.place.figures.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[cfg(test)]
impl Resuming {
    /// As if the ticket had been offered without a look at its chain.
    pub(crate) fn forget_what_was_checked(&self) {
        self.0.peer().offered = None;
    }
}

impl Inner {
    /// A full handshake: the peer shows its certificates.
    pub(super) fn verify(
        &self,
        server_name: &ServerName<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verifier.judge(server_name, end_entity, intermediates, staple, now)?;
        let chain = core::iter::once(end_entity).chain(intermediates);
        let chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
        *self.peer() = Peer { checked: Some((chain, now.as_secs())), offered: None };
        Ok(verified)
    }

    fn confirm_anew(&self, chain: &[CertificateDer<'_>]) -> Result<(), Error> {
        let now = self.time.current_time().ok_or(Error::FailedToGetCurrentTime);
        let checked = chain
            .split_first()
            .ok_or(Error::NoCertificatesPresented)
            .and_then(|(first, rest)| self.verifier.check(&self.verifier.witness, first, rest, None, now?));
        checked.map(|_| ()).inspect_err(|_| self.forget())
    }

    /// Whether a remembered peer would still pass; only then its ticket is offered.
    fn passes(&self, chain: &Arc<[CertificateDer<'static>]>, since: u64) -> bool {
        let Some(now) = self.time.current_time() else { return false };
        let Some((first, rest)) = chain.split_first() else { return false };
        // Not the session's own notebook: this peer has not shown anything yet.
        let witness = Witness::new();
        if !is_good(since, now.as_secs()) || self.verifier.check(&witness, first, rest, None, now).is_err() {
            return false;
        }
        *self.peer() = Peer { checked: Some((Arc::clone(chain), since)), offered: Some(witness.take()) };
        self.place.figures.offered.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn keep(&self, value: Value) {
        // The next session would be asked the same, and could not offer it; see `would_show_a_ticket`.
        if self.retried.load(Ordering::Relaxed) {
            return;
        }
        let Some((chain, since)) = self.peer().checked.clone() else { return };
        let ticket = self.arrived.load(Ordering::Relaxed).min(LONGEST);
        // rustls keeps the chain with each ticket of its own, and we for all of one session.
        let weight = OVERHEAD + ticket + 2 * chain.iter().map(|certificate| certificate.len()).sum::<usize>();
        let kept = Kept { value, chain, since, weight };
        self.change(|tickets| {
            if matches!(kept.value, Value::Often(_)) {
                tickets.retain(|other| matches!(other.value, Value::Once(_)));
            }
            tickets.push_back(kept);
        });
    }

    fn forget(&self) {
        self.change(|tickets| tickets.clear());
    }

    fn change<T>(&self, edit: impl FnOnce(&mut std::collections::VecDeque<Kept<Value>>) -> T) -> Option<T> {
        let done = self.shelf.edit(&self.place, edit);
        self.store.tickets.weigh(self.store.uid, &self.shelf);
        done
    }

    fn peer(&self) -> MutexGuard<'_, Peer> {
        // Whole values are stored; a panic leaves one or the other.
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// rustls' names of servers are not looked at: the place says more.
impl ClientSessionStore for Inner {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.keep(Value::Often(value));
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        let newest = self.shelf.edit(&self.place, |tickets| {
            tickets.iter().rev().find_map(|kept| match &kept.value {
                Value::Often(value) => Some((value.clone(), Arc::clone(&kept.chain), kept.since)),
                Value::Once(_) => None,
            })
        });
        let (value, chain, since) = newest??;
        if self.passes(&chain, since) {
            return Some(value);
        }
        self.forget();
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.change(|tickets| tickets.retain(|kept| matches!(kept.value, Value::Once(_))));
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.keep(Value::Once(value));
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let newest = self.change(|tickets| {
            let at = tickets.iter().rposition(|kept| matches!(kept.value, Value::Once(_)))?;
            tickets.remove(at)
        });
        let kept = newest??;
        let Value::Once(value) = kept.value else { return None };
        if self.passes(&kept.chain, kept.since) {
            return Some(value);
        }
        self.forget();
        None
    }
}

/// No ticket, no key.
impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resuming").field("store", &self.store.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Resuming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
