//! From an end-entity certificate to an authority that is trusted: webpki, for both roles.

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{CertRevocationListError, CertificateError, Error, OtherError};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions, VerifiedPath};

use super::crls::Revocation;
use super::roots::Roots;

/// What a chain is checked against.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) roots: Roots,
    pub(super) revocation: Option<Arc<Revocation>>,
}

impl Chain {
    /// The way from `end_entity` to one of the authorities, for this `usage`. Names are not looked at.
    ///
    /// # Errors
    /// What is wrong, as rustls' own verifier says it.
    pub(super) fn verify<'p>(
        &'p self,
        end_entity: &'p EndEntityCert<'p>,
        intermediates: &'p [CertificateDer<'p>],
        usage: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Result<VerifiedPath<'p>, Error> {
        let anchors = &self.roots.store().roots;
        let verify = |revocation: Option<RevocationOptions<'_>>| {
            end_entity.verify_for_usage(algorithms.all, anchors, intermediates, now, usage, revocation, None)
        };
        let verified = match &self.revocation {
            None => verify(None),
            Some(revocation) => revocation.at_work(|options| verify(Some(options))),
        };
        verified.map_err(in_rustls_words)
    }
}

/// What rustls makes of it, which keeps this to itself. The alert depends on it.
pub(super) fn in_rustls_words(error: webpki::Error) -> Error {
    use webpki::Error as E;
    let reason = match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { time, not_before } => CertificateError::NotValidYetContext { time, not_before },
        E::CertExpired { time, not_after } => CertificateError::ExpiredContext { time, not_after },
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }
        }
        E::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        E::UnsupportedSignatureAlgorithmContext(found) => {
            CertificateError::UnsupportedSignatureAlgorithmContext {
                signature_algorithm_id: found.signature_algorithm_id,
                supported_algorithms: found.supported_algorithms,
            }
        }
        E::UnsupportedSignatureAlgorithmForPublicKeyContext(found) => {
            CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: found.signature_algorithm_id,
                public_key_algorithm_id: found.public_key_algorithm_id,
            }
        }
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::UnsupportedCriticalExtension => CertificateError::UnhandledCriticalExtension,
        E::IssuerNotCrlSigner => return CertRevocationListError::IssuerInvalidForCrl.into(),
        E::InvalidCrlSignatureForPublicKey => return CertRevocationListError::BadSignature.into(),
        E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            return CertRevocationListError::ParseError.into();
        }
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    reason.into()
}
