//! Does a chain lead to an authority that is trusted? webpki decides; the reason that is told is the most telling one.

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertRevocationListError, CertificateError, Error, OtherError};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions, VerifiedPath};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::revocation::Revocation;
use super::roots::Roots;

/// What the end of a chain is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// A server: id-kp-serverAuth.
    Server,
    /// A client: id-kp-clientAuth.
    Client,
}

/// Whom a chain has to lead to, and how.
pub(super) struct Chain<'a> {
    pub(super) roots: &'a Roots,
    pub(super) revocation: Option<&'a Revocation>,
    pub(super) algorithms: &'a [&'a dyn SignatureVerificationAlgorithm],
    pub(super) usage: Usage,
    pub(super) now: UnixTime,
}

/// Who issued the end entity of a good chain.
#[derive(Debug)]
pub(super) struct Issuer {
    /// Its name, DER without the outer SEQUENCE.
    pub(super) name: Vec<u8>,
    /// Its SubjectPublicKeyInfo, DER.
    pub(super) spki: Vec<u8>,
}

impl Chain<'_> {
    /// Checks signatures, dates, purposes, constraints and revocation of the chain; `issuer` says whether to tell who
    /// issued the end entity.
    pub(super) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        issuer: bool,
    ) -> Result<Option<Issuer>, Error> {
        let parsed = match EndEntityCert::try_from(end_entity) {
            Ok(parsed) => parsed,
            Err(error) => return Err(self.reason(error, end_entity, intermediates, None)),
        };
        let found = match self.revocation {
            None => self.lead(&parsed, intermediates, issuer, None),
            Some(revocation) => {
                revocation.with_options(|options| self.lead(&parsed, intermediates, issuer, Some(options)))
            }
        };
        found.map_err(|error: webpki::Error| self.reason(error, end_entity, intermediates, Some(&parsed)))
    }

    fn lead(
        &self,
        parsed: &EndEntityCert<'_>,
        intermediates: &[CertificateDer<'_>],
        issuer: bool,
        revocation: Option<RevocationOptions<'_>>,
    ) -> Result<Option<Issuer>, webpki::Error> {
        let usage = match self.usage {
            Usage::Server => KeyUsage::server_auth(),
            Usage::Client => KeyUsage::client_auth(),
        };
        let anchors = &self.roots.store().roots;
        let path = parsed.verify_for_usage(
            self.algorithms,
            anchors,
            intermediates,
            self.now,
            usage,
            revocation,
            Some(&may_issue),
        )?;
        Ok(issuer.then(|| match path.intermediate_certificates().next() {
            Some(above) => {
                Issuer { name: above.subject().to_vec(), spki: above.subject_public_key_info().to_vec() }
            }
            None => Issuer {
                name: path.anchor().subject.to_vec(),
                spki: in_sequence(&path.anchor().subject_public_key_info),
            },
        }))
    }

    /// The error in rustls' words. Of several paths that lead nowhere webpki tells what is most special about one of
    /// them, and that need not be what is wrong.
    fn reason(
        &self,
        error: webpki::Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        parsed: Option<&EndEntityCert<'_>>,
    ) -> Error {
        use webpki::Error as E;
        let own_issuer = parsed.is_some_and(|parsed| parsed.issuer() == parsed.subject());
        match &error {
            E::CertRevoked => return CertificateError::Revoked.into(),
            E::UnknownRevocationStatus => return CertificateError::UnknownRevocationStatus.into(),
            E::CrlExpired { time, next_update } => {
                let (time, next_update) = (*time, *next_update);
                return CertificateError::ExpiredRevocationListContext { time, next_update }.into();
            }
            E::IssuerNotCrlSigner => return CertRevocationListError::IssuerInvalidForCrl.into(),
            E::InvalidCrlSignatureForPublicKey
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
                return CertRevocationListError::BadSignature.into();
            }
            // A signature of one kind cannot be by a key of another: whoever has the issuer's name here is not the
            // issuer.
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                return CertificateError::UnknownIssuer.into();
            }
            // Signed by itself, under the name of an authority that is trusted: not by that authority.
            E::InvalidSignatureForPublicKey | E::UnsupportedSignatureAlgorithmContext(_) if own_issuer => {
                return CertificateError::UnknownIssuer.into();
            }
            _ => {}
        }
        // The same again without lists, for rustls' own words, which webpki does not give away.
        let again = match self.usage {
            Usage::Server => ParsedCertificate::try_from(end_entity).and_then(|parsed| {
                let store = self.roots.store();
                verify_server_cert_signed_by_trust_anchor(
                    &parsed,
                    store,
                    intermediates,
                    self.now,
                    self.algorithms,
                )
            }),
            Usage::Client => {
                let chain = self.roots.client_chain();
                chain.verify_client_cert(end_entity, intermediates, self.now).map(|_| ())
            }
        };
        match again {
            Err(error) => error,
            Ok(()) => CertificateError::Other(OtherError(std::sync::Arc::new(error))).into(),
        }
    }
}

/// RFC 5280 section 6.1.4 (n): an authority of the chain that says what its key is for says that it signs certificates.
/// webpki does not look.
fn may_issue(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for authority in path.intermediate_certificates() {
        let der = authority.der();
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| webpki::Error::BadDer)?;
        let usage = parsed.key_usage().map_err(|_| webpki::Error::MalformedExtensions)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
    }
    Ok(())
}

/// DER of a SEQUENCE with this content.
pub(super) fn in_sequence(content: &[u8]) -> Vec<u8> {
    rustls::DistinguishedName::in_sequence(content).as_ref().to_vec()
}
