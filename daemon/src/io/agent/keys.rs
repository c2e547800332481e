//! The keys that the keyholder signs with, as identities have them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::keyholder::{Keyholder, Trouble};
use super::wire::{Answer, Extension, How, Reason, Reply, Request, how, signature_to_tls};
use crate::tls::{PublicKey, Signatory, Unsigned};

/// What the keyholder may take on top of its signer's own deadline, to say that it was missed.
const MARGIN: Duration = Duration::from_millis(500);

/// Handshakes that wait for one signer at the same time. All that may be beside the loops are twice as many: one signer
/// that hangs leaves room for another. A token signs some hundred times a second, one after the other, so that more than
/// this would wait longer than its deadline anyway.
const MOST: usize = 32;

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

/// Somebody else's signer, of all keys that it has. When it is in trouble the keyholder says so without asking it: that
/// is where the one home of its back-off is.
#[derive(Debug)]
pub(super) struct Signer {
    name: String,
    /// In milliseconds.
    deadline: AtomicU64,
    /// Handshakes that wait for it.
    asking: AtomicUsize,
}

/// A place at the signer, until it is dropped.
struct Asking<'a>(&'a Signer);

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
        let _asking = self.signer.enter().ok_or_else(|| Unsigned::SignerBusy(name()))?;
        let read = |answer: Answer<'_>| signature(answer, &self.blob, scheme);
        let deadline = Instant::now() + self.signer.deadline() + MARGIN;
        self.keyholder.on_a_line(&request, &[], deadline, read).map_err(|trouble| match trouble {
            Trouble::Late => Unsigned::SignerSlow(name()),
            other => unsigned(other, &self.signer.name),
        })
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
        Arc::new(Self { name: name.to_owned(), deadline: 0.into(), asking: 0.into() })
    }

    pub(super) fn set_deadline(&self, deadline: Duration) {
        let deadline = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline.load(Ordering::Relaxed))
    }

    fn enter(&self) -> Option<Asking<'_>> {
        let more = |count: usize| (count < MOST).then_some(count + 1);
        self.asking.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Asking(self))
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asking.fetch_sub(1, Ordering::Relaxed);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_wait_for_a_signer_at_a_time_and_who_has_its_answer_makes_room() {
        let signer = Signer::new("token");
        let mut asking: Vec<_> = (0..MOST).map(|_| signer.enter().expect("room")).collect();
        assert!(signer.enter().is_none());
        drop(asking.pop());
        assert!(signer.enter().is_some());
    }
}
