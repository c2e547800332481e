//! Is this server the one the caller means? The verifier of one client session.

use core::cell::LazyCell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme};
use tlsify_protocol::StapledOcsp;
use webpki::KeyUsage;

use super::chain::{Chain, Good};
use super::digest::sha256;
use super::presented::PresentedIds;
use super::reference::ReferenceId;
use super::staple::{self, Word};
use super::trust::{Match, Pin};
use super::witness::{Verdict, Witness};

/// What a server has to show. At least a name or a pin is there: its maker has checked that.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// The server is to show a raw public key (RFC 7250): there are pins of keys, no roots and no names.
    pub(super) raw: bool,
    /// `None`: pins stand instead of the chain.
    pub(super) chain: Option<Chain>,
    pub(super) stapled_ocsp: StapledOcsp,
    pub(super) names: Vec<ReferenceId>,
    pub(super) pins: Arc<[Pin]>,
    pub(super) signatures: Signatures,
    pub(super) witness: Arc<Witness>,
    /// The name that Encrypted Client Hello hides: rustls asks for another one when the server has rejected it.
    pub(super) hidden: Option<ServerName<'static>>,
}

/// Which handshake signatures are accepted.
#[derive(Clone, Debug)]
pub(super) struct Signatures {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) schemes: Arc<[SignatureScheme]>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(server_name, end_entity, intermediates, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = self.signatures.verify_tls12(message, certificate, signature)?;
        self.witness.note_scheme(signature.scheme);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let valid = self.signatures.verify_tls13(self.raw, message, certificate, signature)?;
        self.witness.note_scheme(signature.scheme);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl ServerVerifier {
    /// Whom rustls has to authenticate: the server that is meant, or the one of the public name.
    ///
    /// The names of the request decide, not the one that server_name was made of. Only a rejected ClientHello is another
    /// matter (RFC 9849 section 6.1.7): the public name alone counts then, and the session does not open.
    pub(super) fn judge(
        &self,
        server_name: &ServerName<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.hidden {
            Some(hidden) if hidden != server_name => {
                self.check_public(server_name, end_entity, intermediates, staple, now)
            }
            _ => {
                let verified = self.check(&self.witness, end_entity, intermediates, Some(staple), now)?;
                // If both have one name, this was for either.
                self.witness.seen().proven = Some("the peer".to_owned());
                Ok(verified)
            }
        }
    }

    /// The server of the public name: vouched for as any server, its staple with it, or pinned where pins stand instead of
    /// that. Its certificate is not kept: nobody is to pin it as the one that was meant.
    fn check_public(
        &self,
        public: &ServerName<'_>,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = public.to_str().into_owned();
        self.witness.seen().public = Some(name.clone());
        if self.raw {
            // In a notebook that nobody reads.
            check_raw_key(&self.pins, end_entity, intermediates, &Witness::new())?;
            self.witness.seen().proven = Some(format!("the server of \"{name}\""));
            return Ok(ServerCertVerified::assertion());
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if let Some(chain) = &self.chain {
            let good = self.check_chain(&self.witness, chain, end_entity, intermediates, now)?;
            verify_server_name(&parsed, public)?;
            self.check_staple(&self.witness, end_entity, &good, staple, now)?;
        } else {
            check_pins(&self.pins, &parsed, end_entity, &self.witness)?;
        }
        self.witness.seen().proven = Some(format!("the server of \"{name}\""));
        Ok(ServerCertVerified::assertion())
    }

    fn check_chain(
        &self,
        witness: &Witness,
        chain: &Chain,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Good, Error> {
        let (usage, algorithms) = (KeyUsage::server_auth(), &self.signatures.algorithms);
        let verified = chain.verify(end_entity, intermediates, usage, algorithms, now);
        verified.map_err(|fault| fault.told(witness))
    }

    /// Everything that is asked of a certificate; what is found goes into `witness`. `staple`: what came with it, which may
    /// be nothing; `None` when nothing could come, because the session resumes.
    pub(super) fn check(
        &self,
        witness: &Witness,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.raw {
            check_raw_key(&self.pins, end_entity, intermediates, witness)?;
            return Ok(ServerCertVerified::assertion());
        }
        witness.keep_chain(end_entity, intermediates);
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let good = match &self.chain {
            None => None,
            Some(chain) => Some(self.check_chain(witness, chain, end_entity, intermediates, now)?),
        };
        if !self.names.is_empty() {
            self.check_names(witness, &parsed, end_entity)?;
        }
        if !self.pins.is_empty() {
            check_pins(&self.pins, &parsed, end_entity, witness)?;
        }
        if let (Some(good), Some(staple)) = (good, staple) {
            self.check_staple(witness, end_entity, &good, staple, now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    /// What the server stapled: revoked refuses, good passes, and anything else is nothing, which some have to have more
    /// than.
    fn check_staple(
        &self,
        witness: &Witness,
        end_entity: &CertificateDer<'_>,
        good: &Good,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Good { issuer, must_staple: promised } = good;
        let verdict = match staple {
            [] => Verdict::StapleMissing { promised: *promised },
            staple => match staple::judge(staple, end_entity, issuer, self.signatures.algorithms.all, now) {
                Word::Good => return Ok(()),
                Word::Revoked => return Err(CertificateError::Revoked.into()),
                Word::Nothing(why) => Verdict::StapleInvalid { why },
            },
        };
        if self.stapled_ocsp == StapledOcsp::Optional && !*promised {
            return Ok(());
        }
        witness.refuse(verdict);
        Err(CertificateError::InvalidOcspResponse.into())
    }

    fn check_names(
        &self,
        witness: &Witness,
        parsed: &ParsedCertificate<'_>,
        end_entity: &CertificateDer<'_>,
    ) -> Result<(), Error> {
        let presented = LazyCell::new(|| PresentedIds::read(end_entity).unwrap_or_default());
        let matching = self.names.iter().find(|name| match name.server_name() {
            Some(name) => verify_server_name(parsed, &name).is_ok(),
            None => name.is_among(&presented),
        });
        let Some(name) = matching else {
            let presented = presented.summary();
            let wanted = self.names.iter().map(|name| name.to_string()).collect();
            witness.refuse(Verdict::NameMismatch { wanted, presented });
            return Err(CertificateError::NotValidForName.into());
        };
        witness.note_match(Match::Name(name.to_string()));
        Ok(())
    }
}

impl Signatures {
    pub(super) fn new(provider: &CryptoProvider, schemes: Vec<SignatureScheme>) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, schemes: schemes.into() }
    }

    pub(super) fn verify_tls12(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_scheme(signature.scheme)?;
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    /// `raw`: the "certificate" is a SubjectPublicKeyInfo. There is no such thing in TLS 1.2 here: rustls does not agree on
    /// raw public keys there, and parameters leave it out.
    pub(super) fn verify_tls13(
        &self,
        raw: bool,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_scheme(signature.scheme)?;
        if raw {
            let spki = SubjectPublicKeyInfoDer::from(certificate.as_ref());
            return verify_tls13_signature_with_raw_key(message, &spki, signature, &self.algorithms);
        }
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    // A peer may ignore what we offered, so offering is not enough.
    fn check_scheme(&self, scheme: SignatureScheme) -> Result<(), Error> {
        match self.schemes.contains(&scheme) {
            true => Ok(()),
            false => Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into()),
        }
    }
}

/// One of the pins is this raw public key, which comes alone (RFC 9846 section 4.4.2). Whether it is a key at all shows
/// when it verifies the handshake's signature.
pub(super) fn check_raw_key(
    pins: &[Pin],
    spki: &CertificateDer<'_>,
    more: &[CertificateDer<'_>],
    witness: &Witness,
) -> Result<(), Error> {
    witness.keep_key(spki);
    if !more.is_empty() {
        return Err(CertificateError::BadEncoding.into());
    }
    let hash = sha256(spki);
    let Some(pin) = pins.iter().find(|pin| matches!(pin, Pin::Spki(pinned) if *pinned == hash)) else {
        return Err(not_pinned(pins, witness));
    };
    witness.note_match(Match::Pin(*pin));
    Ok(())
}

/// One of the pins is the end-entity certificate or its key.
pub(super) fn check_pins(
    pins: &[Pin],
    parsed: &ParsedCertificate<'_>,
    end_entity: &CertificateDer<'_>,
    witness: &Witness,
) -> Result<(), Error> {
    let (spki, certificate) = (sha256(&parsed.subject_public_key_info()), sha256(end_entity));
    let Some(pin) = pins.iter().find(|pin| pin.matches(&spki, &certificate)) else {
        return Err(not_pinned(pins, witness));
    };
    witness.note_match(Match::Pin(*pin));
    Ok(())
}

fn not_pinned(pins: &[Pin], witness: &Witness) -> Error {
    witness.refuse(Verdict::PinMismatch { pins: pins.len() });
    // certificate_unknown: "some other issue ... rendering it unacceptable" (RFC 9846 section 6.2).
    CertificateError::Other(OtherError(Arc::new(NotPinned))).into()
}

#[derive(Debug, thiserror::Error)]
#[error("none of the pins is the peer's certificate")]
struct NotPinned;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::params::provider;

    #[test]
    fn a_scheme_that_was_not_offered_is_not_accepted() {
        let signatures = Signatures::new(&provider(), vec![SignatureScheme::ED25519]);
        assert!(signatures.check_scheme(SignatureScheme::ED25519).is_ok());
        assert!(signatures.check_scheme(SignatureScheme::RSA_PSS_SHA256).is_err());
    }
}
