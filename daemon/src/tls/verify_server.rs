//! Is this server the one the caller means? The verifier of one client session.

use core::cell::LazyCell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme};
use tlsify_protocol::StapledOcsp;

use super::chain::{Chain, Issuer, Usage};
use super::digest::sha256;
use super::presented::PresentedIds;
use super::reference::ReferenceId;
use super::revocation::Revocation;
use super::roots::Roots;
use super::staple::{self, Word};
use super::trust::{Match, Pin};
use super::witness::{Verdict, Witness};

/// What a server has to show. At least a name or a pin is there: its maker has checked that.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    /// `None`: pins stand instead of the chain.
    pub(super) roots: Option<Roots>,
    /// Lists to ask about the chain.
    pub(super) revocation: Option<Revocation>,
    pub(super) stapled_ocsp: StapledOcsp,
    pub(super) names: Vec<ReferenceId>,
    pub(super) pins: Arc<[Pin]>,
    pub(super) signatures: Signatures,
    pub(super) witness: Arc<Witness>,
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
        // The names of the request decide, not the one that server_name was made of.
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(&self.witness, end_entity, intermediates, Some(ocsp_response), now)
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
        let valid = self.signatures.verify_tls13(message, certificate, signature)?;
        self.witness.note_scheme(signature.scheme);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes.to_vec()
    }
}

impl ServerVerifier {
    /// Everything that is asked of a certificate; what is found goes into `witness`. `staple` is what the server said
    /// with it, empty if nothing; `None` where it was not asked, in a resumed handshake.
    pub(super) fn check(
        &self,
        witness: &Witness,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        staple: Option<&[u8]>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        witness.keep_chain(end_entity, intermediates);
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let mut issuer = None;
        if let Some(roots) = &self.roots {
            let algorithms = self.signatures.algorithms.all;
            let revocation = self.revocation.as_ref();
            let chain = Chain { roots, revocation, algorithms, usage: Usage::Server, now };
            let wanted = staple.is_some_and(|staple| !staple.is_empty());
            issuer = chain.check(end_entity, intermediates, wanted)?;
        }
        if !self.names.is_empty() {
            self.check_names(witness, &parsed, end_entity)?;
        }
        if !self.pins.is_empty() {
            check_pins(&self.pins, &parsed, end_entity, witness)?;
        }
        if let Some(staple) = staple
            && self.roots.is_some()
        {
            self.check_staple(witness, staple, end_entity, issuer.as_ref(), now)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    /// What the server stapled: revoked refuses, good passes, and anything else is nothing, which some have to have more
    /// than.
    fn check_staple(
        &self,
        witness: &Witness,
        staple: &[u8],
        end_entity: &CertificateDer<'_>,
        issuer: Option<&Issuer>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let algorithms = self.signatures.algorithms.all;
        let word = issuer.map(|issuer| staple::judge(staple, end_entity, issuer, algorithms, now));
        let verdict = match word {
            Some(Word::Good) => return Ok(()),
            Some(Word::Revoked) => return Err(CertificateError::Revoked.into()),
            Some(Word::Nothing(why)) => Verdict::StapleInvalid { why },
            None => Verdict::StapleMissing,
        };
        if self.stapled_ocsp == StapledOcsp::Optional && !staple::is_required(end_entity) {
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

    pub(super) fn verify_tls13(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_scheme(signature.scheme)?;
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

/// One of the pins is the end-entity certificate or its key.
pub(super) fn check_pins(
    pins: &[Pin],
    parsed: &ParsedCertificate<'_>,
    end_entity: &CertificateDer<'_>,
    witness: &Witness,
) -> Result<(), Error> {
    let (spki, certificate) = (sha256(&parsed.subject_public_key_info()), sha256(end_entity));
    let Some(pin) = pins.iter().find(|pin| pin.matches(&spki, &certificate)) else {
        witness.refuse(Verdict::PinMismatch { pins: pins.len() });
        // certificate_unknown: "some other issue ... rendering it unacceptable" (RFC 9846 section 6.2).
        return Err(CertificateError::Other(OtherError(Arc::new(NotPinned))).into());
    };
    witness.note_match(Match::Pin(*pin));
    Ok(())
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
