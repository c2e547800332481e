//! The keys that the keyholder signs with, as identities have them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::gate::{Closed, Gate};
use super::keyholder::{Keyholder, Trouble};
use super::wire::{Answer, Extension, How, Reason, Reply, Request, how, signature_to_tls};
use crate::tls::{PublicKey, Signatory, Unsigned};

/// What the keyholder may take on top of its signer's own deadline, to say that it was missed.
const MARGIN: Duration = Duration::from_millis(500);

/// A key that is in the keyholder: the operator's, or one that a caller gave.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) keyholder: Arc<Keyholder>,
    /// The public key, as SSH writes it.
    pub(super) blob: Vec<u8>,
    /// Behind which door a caller's is, and its number there.
    pub(super) given: Option<(u64, u64)>,
}

/// A key that somebody else's signer has, which the keyholder asks.
#[derive(Debug)]
pub(super) struct Foreign {
    pub(super) keyholder: Arc<Keyholder>,
    pub(super) blob: Vec<u8>,
    pub(super) signer: Arc<Signer>,
}

/// Somebody else's signer, of all keys that it has.
#[derive(Debug)]
pub(super) struct Signer {
    name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    deadline: Duration,
    gate: Gate,
}

impl Signatory for Own {
    fn sign(&self, _: &PublicKey, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        if self.given.is_some_and(|(generation, _)| generation != self.keyholder.generation()) {
            return Err(Unsigned::GivenForgotten);
        }
        let request = request(&self.blob, scheme, message)?;
        let read = |answer: Answer<'_>| signature(answer, &self.blob, scheme);
        self.keyholder.on_own_line(&request, read).map_err(|trouble| match unsigned(trouble, "keyholder") {
            Unsigned::Forgotten if self.given.is_some() => Unsigned::GivenForgotten,
            other => other,
        })
    }

    fn may_wait(&self) -> bool {
        false
    }

    fn knows(&self, scheme: u16) -> bool {
        how(scheme).is_some()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some((generation, handle)) = self.given
            && generation == self.keyholder.generation()
        {
            self.keyholder.forget(generation, handle);
        }
    }
}

impl Signatory for Foreign {
    fn sign(&self, _: &PublicKey, scheme: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        let request = request(&self.blob, scheme, message)?;
        let name = || self.signer.name.clone();
        let (asking, deadline) = self.signer.with(|state| {
            let asking = state.gate.enter(Instant::now()).map_err(|closed| match closed {
                Closed::Busy => Unsigned::SignerBusy(name()),
                Closed::Paused => Unsigned::SignerPaused(name()),
            })?;
            Ok((asking, state.deadline))
        })?;
        let read = |answer: Answer<'_>| signature(answer, &self.blob, scheme);
        let result = self.keyholder.on_a_line(&request, &[], Instant::now() + deadline + MARGIN, read);
        let result = result.map_err(|trouble| match trouble {
            Trouble::Late => Unsigned::SignerSlow(name()),
            other => unsigned(other, &self.signer.name),
        });
        let answered = !matches!(result, Err(Unsigned::SignerSlow(_) | Unsigned::SignerAway(_)));
        self.signer.with(|state| state.gate.leave(asking, answered, Instant::now()));
        result
    }

    fn may_wait(&self) -> bool {
        true
    }

    fn name(&self) -> &str {
        &self.signer.name
    }

    fn knows(&self, scheme: u16) -> bool {
        how(scheme).is_some()
    }
}

impl Signer {
    pub(super) fn new(name: &str) -> Arc<Self> {
        let state = State { deadline: Duration::ZERO, gate: Gate::default() };
        Arc::new(Self { name: name.to_owned(), state: Mutex::new(state) })
    }

    pub(super) fn set_deadline(&self, deadline: Duration) {
        self.with(|state| state.deadline = deadline);
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // Counts and times: a panic leaves them as good as before.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn request<'a>(blob: &'a [u8], scheme: u16, message: &'a [u8]) -> Result<Request<'a>, Unsigned> {
    match how(scheme) {
        Some(How::Request { flags }) => Ok(Request::Sign { blob, data: message, flags }),
        Some(How::RsaPss) => Ok(Request::Extension(Extension::RsaPss { blob, scheme, message })),
        // `knows` sees to it that nobody asks.
        None => Err(Unsigned::UseRefused),
    }
}

fn signature(answer: Answer<'_>, blob: &[u8], scheme: u16) -> Option<Vec<u8>> {
    match answer {
        Answer::Signature(signature) => signature_to_tls(scheme, blob, signature).ok(),
        Answer::Extension(Reply::RsaPss(signature)) => Some(signature.to_vec()),
        _ => None,
    }
}

/// `name` is of whom was asked, where the answer does not say.
fn unsigned(trouble: Trouble, name: &str) -> Unsigned {
    let Trouble::Refused { reason, signer, text } = trouble else { return Unsigned::KeyholderAway };
    let name = if signer.is_empty() { name.to_owned() } else { signer };
    tracing::debug!(signer = name, ?reason, "not signed: {text}");
    match reason {
        Reason::Locked => Unsigned::Locked,
        Reason::Forgotten => Unsigned::Forgotten,
        Reason::UseRefused => Unsigned::UseRefused,
        Reason::SignerAway => Unsigned::SignerAway(name),
        Reason::SignerSlow => Unsigned::SignerSlow(name),
        Reason::PinRefused => Unsigned::PinRefused(name),
        Reason::None
        | Reason::SignerRefused
        | Reason::KeyInvalid
        | Reason::Unreadable
        | Reason::Full
        | Reason::Unsupported => Unsigned::SignerRefused(name),
    }
}
