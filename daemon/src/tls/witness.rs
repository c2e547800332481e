//! What one handshake's resolver and verifier saw, kept for the answer that the caller gets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::SignatureScheme;
use rustls::pki_types::CertificateDer;

use super::digest;
use super::names::signature_scheme_name;
use super::trust::Match;

/// The notebook of one session. rustls wants its callbacks to be usable from any thread, so there is a lock;
/// a session stays on one thread, so nobody ever waits for it. Written during the handshake only.
#[derive(Debug, Default)]
pub struct Witness(Mutex<Seen>);

/// What was seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Server: the server_name that the client sent.
    pub sni: Option<String>,
    /// Registry name of the scheme that the server signed with: the peer's when we are client, ours when we
    /// are server.
    pub signature_scheme: Option<&'static str>,
    /// The certificates that the peer sent, end-entity first; kept also when they are refused.
    pub chain: Vec<CertificateDer<'static>>,
    /// What made the peer acceptable.
    pub matched: Vec<Match>,
    /// Why we refused, when it was our own decision.
    pub verdict: Option<Verdict>,
}

/// Our own reasons to refuse a peer, which rustls has no words for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No identity goes with the server_name that the client asked for. rustls sends access_denied then; the
    /// right alert is unrecognized_name (RFC 6066 section 3), and [`super::Failure`] says so.
    UnknownServerName(String),
    /// The certificate is for somebody else.
    NameMismatch {
        /// Whom the caller wanted.
        wanted: Vec<String>,
        /// Whom the certificate names.
        presented: Presented,
    },
    /// The chain is right, and none of the pins is.
    PinMismatch {
        /// How many pins there are.
        pins: usize,
    },
    /// The server has to staple, and has not.
    StapleMissing,
    /// The server has to staple, and what it stapled proves nothing.
    StapleInvalid {
        /// Why not.
        why: &'static str,
    },
    /// The client is who it says, and no access rule lets it in.
    NotAllowed {
        /// Whom the certificate names.
        presented: Presented,
    },
}

/// The names in a certificate, for a sentence: printable, at most five.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Presented {
    /// The first five.
    pub names: Vec<String>,
    /// How many more there are.
    pub more: usize,
    /// The subject's common name, given only where there is nothing else.
    pub common_name: Option<String>,
}

impl Witness {
    /// An empty notebook for one session.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// What was seen so far. Let go of it before the handshake goes on.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        // A panic while it was held leaves whole fields behind; they are only reported.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything out and leaves the notebook empty.
    pub fn take(&self) -> Seen {
        core::mem::take(&mut *self.seen())
    }

    /// Keeps the peer's certificates, before anything is decided about them.
    pub(super) fn keep_chain(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) {
        let chain = core::iter::once(end_entity).chain(intermediates);
        self.seen().chain = chain.map(|certificate| certificate.clone().into_owned()).collect();
    }

    /// Takes over what was found when these certificates were checked in another notebook.
    pub(super) fn adopt(&self, found: Seen) {
        let mut seen = self.seen();
        (seen.chain, seen.matched) = (found.chain, found.matched);
    }

    pub(super) fn note_scheme(&self, scheme: SignatureScheme) {
        self.seen().signature_scheme = Some(signature_scheme_name(scheme));
    }

    pub(super) fn note_match(&self, matched: Match) {
        self.seen().matched.push(matched);
    }

    pub(super) fn refuse(&self, verdict: Verdict) {
        self.seen().verdict = Some(verdict);
    }
}

impl Seen {
    /// SHA-256 of the public key of the peer's end-entity certificate.
    pub fn spki_sha256(&self) -> Option<[u8; 32]> {
        self.chain.first().and_then(digest::spki_sha256)
    }

    /// SHA-256 of the peer's end-entity certificate.
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.chain.first().map(digest::certificate_sha256)
    }
}
