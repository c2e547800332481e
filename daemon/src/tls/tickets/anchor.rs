//! What rustls compares, and the session that stands behind it.
//!
//! rustls uses a ticket only where verifier and client credentials are the very objects with which it was
//! got. Ours belong to one session each, because they write into its notebook and may hold its key. So the
//! sessions of one slot show rustls the same object, an [`Anchor`], which hands each question to the session
//! that is at work on this thread. rustls asks while it makes a connection and while it processes what came,
//! both of which happen within [`at_work`]; nothing of a session is left here between.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

use super::resuming::Inner;

thread_local! {
    static AT_WORK: RefCell<Option<Arc<Inner>>> = const { RefCell::new(None) };
}

/// Stands for every session of a slot. Without a session at work it trusts nobody and shows nothing.
#[derive(Debug)]
pub(super) struct Anchor;

/// Does `work` with `session` behind the anchors.
pub(super) fn at_work<T>(session: &Arc<Inner>, work: impl FnOnce() -> T) -> T {
    // Also when `work` panics: the next session on this thread must find its own place.
    struct Back(Option<Arc<Inner>>);
    impl Drop for Back {
        fn drop(&mut self) {
            AT_WORK.set(self.0.take());
        }
    }
    let _back = Back(AT_WORK.replace(Some(Arc::clone(session))));
    work()
}

fn session() -> Result<Arc<Inner>, Error> {
    AT_WORK.with_borrow(Clone::clone).ok_or_else(|| Error::General("no session is at work here".to_owned()))
}

impl ServerCertVerifier for Anchor {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        session()?.verify(server_name, end_entity, intermediates, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        session()?.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        session()?.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        session().map(|session| session.verifier.supported_verify_schemes()).unwrap_or_default()
    }

    fn requires_raw_public_keys(&self) -> bool {
        session().is_ok_and(|session| session.verifier.requires_raw_public_keys())
    }
}

impl ResolvesClientCert for Anchor {
    fn resolve(&self, root_hints: &[&[u8]], offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        session().ok()?.identity.resolve(root_hints, offered)
    }

    fn has_certs(&self) -> bool {
        session().is_ok_and(|session| session.identity.has_certs())
    }

    fn only_raw_public_keys(&self) -> bool {
        session().is_ok_and(|session| session.identity.only_raw_public_keys())
    }
}
