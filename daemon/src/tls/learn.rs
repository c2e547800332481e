//! First contact: who is there, and nothing opened. The verifier of a session that learns what could be pinned.
//!
//! ```text
//!  certificate ──▶ ServerVerifier, as in any session ──▶ what it says is kept, and decides nothing
//!  proof of the key (TLS 1.3 CertificateVerify, TLS 1.2 ServerKeyExchange) ──▶ valid? ─┬─▶ learned      ─┐
//!                                                                                      └─▶ key-unproven ─┴─▶ Err
//! ```
//!
//! It is no switch that turns checking off, because it lets nobody pass: what judges the proof returns an [`Error`] and not
//! a `Result`, so rustls stops there, in both versions before it sends a Finished or looks at the peer's. What a peer showed
//! reaches the session's notebook with its proof only: a pin of somebody's certificate that was replayed is never told. The
//! proof of TLS 1.2 is one of the key alone: somebody in between can put another certificate around the same key, which the
//! Finished would have shown. So it is the key that `tlsify pin` prints.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::SignatureScheme;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, Error};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::explain::{explain, our_alert};
use super::failure::{Failure, naming};
use super::presented::{PresentedIds, printable};
use super::verify_server::ServerVerifier;
use super::witness::{Verdict, Witness};

/// What a look at a server came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Learned {
    /// Why a session with the same checks would not have opened; `None`: the certificate passes them.
    pub complaint: Option<Failure>,
    /// Sentences for a person: whom the certificate names, who issued it, its dates, what became of the checks, what to do
    /// before it is trusted. Printable, whatever the peer wrote.
    pub notes: Vec<String>,
}

/// Lets nobody pass, and keeps what they showed.
#[derive(Debug)]
pub(super) struct LearningVerifier {
    /// What a session would have checked, with a notebook of its own.
    inner: ServerVerifier,
    /// Against whom, in the words of a sentence.
    against: &'static str,
    /// The session's own, which gets nothing before the proof.
    witness: Arc<Witness>,
    /// Why a session would not have opened, as far as is known.
    complaint: Mutex<Option<Failure>>,
}

impl LearningVerifier {
    /// `complaint`: what is wrong with the checks already, whatever the peer shows.
    pub(super) fn new(
        inner: ServerVerifier,
        against: &'static str,
        witness: &Arc<Witness>,
        complaint: Option<Failure>,
    ) -> Self {
        Self { inner, against, witness: Arc::clone(witness), complaint: Mutex::new(complaint) }
    }

    /// The end of the handshake, one way or the other.
    fn end(&self, proof: Result<HandshakeSignatureValid, Error>) -> Error {
        let seen = self.inner.witness.take();
        match proof {
            Ok(_) if seen.spki_sha256().is_some() => {
                let complaint = self.complaint().take();
                let notes = notes(seen.chain.first(), self.against, complaint.as_ref());
                self.witness.take_over(seen);
                self.witness.learn(Learned { complaint, notes });
                // access_denied: "a valid certificate [...] was received, but [...] the sender decided not to proceed"
                // (RFC 9846 section 6.2). user_canceled would say it better, and rustls cannot send it.
                CertificateError::ApplicationVerificationFailure.into()
            }
            Ok(_) => self.unproven(CertificateError::BadEncoding.into()),
            Err(error) => self.unproven(error),
        }
    }

    fn unproven(&self, error: Error) -> Error {
        let alert = match &error {
            Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
            error => our_alert(error).unwrap_or(AlertDescription::HandshakeFailure),
        };
        self.witness.refuse(Verdict::KeyUnproven { alert, why: explain(&error).2 });
        error
    }

    fn complaint(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        // Whole values are stored; a panic leaves one or the other.
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerCertVerifier for LearningVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked =
            self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if let Err(error) = checked {
            let failure = Failure::from_rustls(&error, &self.inner.witness);
            self.complaint().get_or_insert(failure);
        }
        // Not that it passes: nobody does. The proof of the key comes next, and the end with it.
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(self.end(self.inner.verify_tls12_signature(message, certificate, signature)))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(self.end(self.inner.verify_tls13_signature(message, certificate, signature)))
    }

    // The ClientHello is that of the session which comes after: a server cannot show one certificate to who learns and
    // another to who connects.

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}

/// What a person should know before the key is pinned.
fn notes(end_entity: Option<&CertificateDer<'_>>, against: &str, complaint: Option<&Failure>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(der) = end_entity
        && let Some(ids) = PresentedIds::read(der)
        && let Ok((_, certificate)) = X509Certificate::from_der(der)
    {
        notes
            .push(format!("the peer has shown a certificate and proved its key: {}", naming(&ids.summary())));
        let issuer = match certificate.issuer() == certificate.subject() {
            true => "itself".to_owned(),
            false => format!("\"{}\"", printable(&certificate.issuer().to_string())),
        };
        let [from, to] = [certificate.validity().not_before, certificate.validity().not_after]
            .map(|time| time.to_datetime().date());
        notes.push(format!("it was issued by {issuer}, and is valid from {from} to {to}"));
    } else {
        notes.push(
            "the peer has proved its key, and no certificate that can be read says whose it is".to_owned(),
        );
    }
    notes.push(match complaint {
        None => format!("checked against {against}, it passes"),
        Some(failure) => format!("checked against {against}, it does not pass: {failure}"),
    });
    notes.push(
        "who answers for the first time can be somebody in between: before it is used, compare the hash with the \
         peer's owner by another way, such as a telephone; there, tlsifyd pin FILE prints it of the certificate or key"
            .to_owned(),
    );
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::Authority;

    #[test]
    fn a_person_is_told_whom_it_names_who_issued_it_and_until_when() {
        let identity = Authority::new("Ca\u{202e}\n").identity(&["a.example", "192.0.2.1"]);
        let notes = notes(identity.chain().first(), "the pins", None);
        assert!(notes[0].ends_with("it names a.example, 192.0.2.1"), "{notes:?}");
        assert!(
            notes[1].starts_with("it was issued by \"CN=Ca??\", and is valid from 1975-01-01"),
            "{notes:?}"
        );
        assert_eq!(notes[2], "checked against the pins, it passes");
        assert!(notes.iter().all(|note| !note.contains(char::is_control)), "{notes:?}");
        let unreadable = super::notes(Some(&CertificateDer::from(vec![0x30, 0])), "the pins", None);
        assert!(unreadable[0].ends_with("says whose it is") && unreadable.len() == 3, "{unreadable:?}");
    }
}
