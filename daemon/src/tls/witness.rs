//! What one handshake's resolver and verifier saw, kept for the answer that the caller gets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::CertificateDer;
use rustls::{AlertDescription, SignatureScheme};
use tlsify_protocol::Code;

use super::digest;
use super::learn::Learned;
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
    /// Server: when the certificate that was chosen for the client ends, in seconds since 1970.
    pub certificate_until: Option<u64>,
    /// The certificates that the peer sent, end-entity first; kept also when they are refused.
    pub chain: Vec<CertificateDer<'static>>,
    /// The peer was to show a raw public key (RFC 7250): what is in the chain is its SubjectPublicKeyInfo.
    pub raw_key: bool,
    /// What made the peer acceptable.
    pub matched: Vec<Match>,
    /// Client with Encrypted Client Hello: the public name that the peer has to prove, because it has rejected ours.
    pub public: Option<String>,
    /// Client: whom the peer has proven to be, for a sentence; for the public name no other field says it.
    pub proven: Option<String>,
    /// Client: the ECHConfigList that came with a rejection.
    pub ech_retry: Option<Vec<u8>>,
    /// Why we refused, when it was our own decision.
    pub verdict: Option<Verdict>,
    /// What was learned, by a session that is for nothing else.
    pub learned: Option<Learned>,
}

/// Our own reasons to refuse a peer, which rustls has no words for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No identity goes with the server_name that the client asked for. rustls sends access_denied then; the
    /// right alert is unrecognized_name (RFC 6066 section 3), and [`super::Failure`] says so.
    UnknownServerName(String),
    /// No trusted authority vouches for the certificate, for this use and now.
    Unvouched {
        /// The protocol's code.
        code: Code,
        /// What rustls sends.
        alert: AlertDescription,
        /// Lower case, no full stop, printable.
        text: String,
    },
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
    /// Nobody was to pass: the peer's certificate was learned, with a proof of its key.
    Learned,
    /// Nobody was to pass, and there is no valid proof of the key.
    KeyUnproven {
        /// What rustls sends.
        alert: AlertDescription,
        /// Why it is not valid.
        why: String,
    },
    /// The server has stapled no OCSP response.
    StapleMissing {
        /// Its own certificate says that it does (RFC 7633); else it is the caller who wants it.
        promised: bool,
    },
    /// The server has stapled an OCSP response that says nothing of its certificate.
    StapleInvalid {
        /// What is wrong with it.
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

    /// Keeps the peer's raw public key, before anything is decided about it.
    pub(super) fn keep_key(&self, spki: &CertificateDer<'_>) {
        let mut seen = self.seen();
        (seen.chain, seen.raw_key) = (vec![spki.clone().into_owned()], true);
    }

    /// Takes over what was found when these certificates were checked in another notebook.
    pub(super) fn adopt(&self, found: Seen) {
        let mut seen = self.seen();
        (seen.chain, seen.raw_key, seen.matched) = (found.chain, found.raw_key, found.matched);
    }

    /// Takes over all that was seen in another notebook.
    pub(super) fn take_over(&self, found: Seen) {
        *self.seen() = found;
    }

    /// What the session was for is done.
    pub(super) fn learn(&self, learned: Learned) {
        let mut seen = self.seen();
        (seen.verdict, seen.learned) = (Some(Verdict::Learned), Some(learned));
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
    /// SHA-256 of the public key of the peer's end-entity certificate, or of its raw public key.
    pub fn spki_sha256(&self) -> Option<[u8; 32]> {
        let shown = self.chain.first()?;
        if self.raw_key { Some(digest::sha256(shown)) } else { digest::spki_sha256(shown) }
    }

    /// SHA-256 of the peer's end-entity certificate.
    pub fn certificate_sha256(&self) -> Option<[u8; 32]> {
        self.chain.first().filter(|_| !self.raw_key).map(digest::certificate_sha256)
    }
}
