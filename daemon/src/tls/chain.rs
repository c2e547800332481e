//! From an end-entity certificate to an authority that is trusted (RFC 5280 section 6), for both roles.
//!
//! webpki builds the path and checks signatures, dates, names, basic constraints, purposes and revocation. What it leaves
//! out is checked on the path that it found: what a key may be used for, and what an authority says of itself. A path that
//! does not pass is not the end: webpki then tries the next one.
//!
//! ```text
//!  end entity, intermediates, Roots ─▶ webpki: a path ─▶ fits(): keyUsage, the anchor's own limits ─▶ good
//!                                        └──── none ───▶ Fault: a sentence that names who is at fault, where it can
//! ```

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertRevocationListError, CertificateError, Error, OtherError};
use tlsify_protocol::{Code, CrlCheck};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions, VerifiedPath};

use super::crls::Revocation;
use super::explain::explain;
use super::facts::Facts;
use super::roots::Roots;
use super::witness::{Verdict, Witness};

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
    /// What is wrong with the path that came furthest; what rustls has no words for goes into `witness`.
    pub(super) fn verify<'p>(
        &'p self,
        witness: &Witness,
        end_entity: &'p EndEntityCert<'p>,
        intermediates: &'p [CertificateDer<'p>],
        usage: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Result<VerifiedPath<'p>, Error> {
        let anchors = &self.roots.store().roots;
        let fits = |path: &VerifiedPath<'_>| fits(path, &self.roots, now);
        let verify = |revocation: Option<RevocationOptions<'_>>| {
            let fits = Some(&fits as &dyn Fn(&VerifiedPath<'_>) -> Result<(), webpki::Error>);
            end_entity.verify_for_usage(algorithms.all, anchors, intermediates, now, usage, revocation, fits)
        };
        let verified = match &self.revocation {
            None => verify(None),
            Some(revocation) => revocation.at_work(|options| verify(Some(options))),
        };
        let path = verified.map_err(|error| {
            // Whose number it was that stands in a list, webpki does not say.
            let passes_alone = |own: Revocation| own.at_work(|options| verify(Some(options))).is_ok();
            let fault = match error {
                webpki::Error::CertRevoked if self.of_peer_alone().is_some_and(passes_alone) => {
                    Fault::of_issuer(CertificateError::Revoked)
                }
                _ => Fault::find(&error, &end_entity.der(), intermediates, &self.roots),
            };
            fault.map_or_else(|| in_rustls_words(error), |fault| fault.told(witness))
        })?;
        can_sign_handshakes(&end_entity.der()).map_err(|fault| fault.told(witness))?;
        Ok(path)
    }
}

impl Chain {
    /// The same lists, with which only the end entity is looked up.
    fn of_peer_alone(&self) -> Option<Revocation> {
        let revocation = self.revocation.as_deref()?;
        Some(Revocation { check: CrlCheck::EndEntity, ..revocation.clone() })
    }
}

/// Why nobody vouches for a certificate, where rustls' reason does not say it. Its alert is the one that rustls sends for
/// `error`.
#[derive(Clone, Debug, PartialEq)]
struct Fault {
    error: CertificateError,
    code: Code,
    text: String,
}

/// Below this, keys of RSA are not taken: what webpki's algorithms have as their least.
const RSA_BITS: usize = 2048;

/// RFC 9846 section 4.4.2.2: the key signs the handshake, in all suites that are spoken here.
fn can_sign_handshakes(end_entity: &CertificateDer<'_>) -> Result<(), Fault> {
    let Some(facts) = Facts::read(end_entity) else { return Err(Fault::of(CertificateError::BadEncoding)) };
    if !facts.may_sign {
        let text =
            "peer's certificate is not meant for this: its key usage does not include digital signatures";
        let (error, code) = (CertificateError::InvalidPurpose, Code::CertificatePurpose);
        return Err(Fault { error, code, text: text.to_owned() });
    }
    match facts.rsa_bits {
        // Without this, the handshake's signature would fail, and nobody would know why. The same alert as then.
        Some(bits) if bits < RSA_BITS => {
            let (error, text) = (
                CertificateError::BadSignature,
                format!("peer's key is of RSA with {bits} bits, and {RSA_BITS} are the least"),
            );
            Err(Fault { error, code: Code::KeyUnproven, text })
        }
        _ => Ok(()),
    }
}

fn fits(path: &VerifiedPath<'_>, roots: &Roots, now: UnixTime) -> Result<(), webpki::Error> {
    let mut below = 0;
    for issuer in path.intermediate_certificates() {
        let facts = Facts::read(&issuer.der()).ok_or(webpki::Error::BadDer)?;
        // RFC 5280 section 6.1.4 (n).
        if !facts.may_issue {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
        // (l): what an authority issues to itself, such as a new key, does not count.
        if !facts.is_self_issued {
            below += 1;
        }
    }
    // RFC 5280 has an anchor as no more than a name and a key. Who trusts a certificate means what it says, as RFC 5937 does.
    let Some(limits) = roots.limits(path.anchor()) else { return Ok(()) };
    if now.as_secs() > limits.not_after {
        let not_after = UnixTime::since_unix_epoch(core::time::Duration::from_secs(limits.not_after));
        return Err(webpki::Error::CertExpired { time: now, not_after });
    }
    match limits.path_length {
        Some(length) if below > length => Err(webpki::Error::PathLenConstraintViolated),
        _ => Ok(()),
    }
}

impl Fault {
    /// Writes it down for the answer, and gives rustls what the alert comes from.
    fn told(self, witness: &Witness) -> Error {
        let alert: AlertDescription = self.error.clone().into();
        witness.refuse(Verdict::Unvouched { code: self.code, alert, text: self.text });
        self.error.into()
    }

    /// Looks for whose fault it is: the peer can renew its own certificate, and not that of its issuer. `None` where rustls'
    /// reason says it.
    fn find(
        error: &webpki::Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        roots: &Roots,
    ) -> Option<Self> {
        use webpki::Error as E;
        let ders = core::iter::once(end_entity).chain(intermediates);
        let chain: Vec<Facts> = ders.filter_map(|der| Facts::read(der)).collect();
        let peer = chain.first()?;
        let is_issuers = match error {
            // What cannot be read is nobody's issuer, and need not be there (RFC 9846 section 4.4.2).
            E::BadDer | E::TrailingData(_) if chain.len() <= intermediates.len() => {
                return Some(Self::of(CertificateError::UnknownIssuer));
            }
            E::CertExpired { not_after, .. } => not_after.as_secs() != peer.not_after,
            E::CertNotValidYet { not_before, .. } => not_before.as_secs() != peer.not_before,
            E::RequiredEkuNotFoundContext(context) => match context.required == KeyUsage::server_auth() {
                true => peer.may_serve,
                false => peer.may_call,
            },
            // The end entity was read before.
            E::UnsupportedCriticalExtension
            | E::UnsupportedCertVersion
            | E::ExtensionValueInvalid
            | E::BadDer => true,
            E::InvalidSignatureForPublicKey => return Some(Self::signature(&chain, roots)),
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                return Some(Self::another_key(&chain, roots).unwrap_or_else(Self::unsupported));
            }
            E::UnsupportedSignatureAlgorithmContext(_) => return Some(Self::unsupported()),
            _ => false,
        };
        match in_rustls_words(error.clone()) {
            Error::InvalidCertificate(error) if is_issuers => Self::of_issuer(error),
            _ => None,
        }
    }

    /// The words for the peer's certificate, of an issuer's.
    fn of_issuer(error: CertificateError) -> Option<Self> {
        let fault = Self::of(error);
        let rest = fault.text.strip_prefix("peer's certificate ")?;
        let text = format!("an issuer of peer's certificate {rest}");
        Some(Self { text, ..fault })
    }

    fn of(error: CertificateError) -> Self {
        let (code, _, text) = explain(&error.clone().into());
        Self { error, code, text }
    }

    /// RFC 9846 section 6.2: a certificate with "signatures that did not verify correctly" is bad_certificate. rustls would
    /// send decrypt_error, which is for the handshake's signature.
    fn of_signature(text: String) -> Self {
        Self { error: CertificateError::BadEncoding, code: Code::BadCertificate, text }
    }

    fn unsupported() -> Self {
        Self::of_signature(
            "peer's certificates are signed with an algorithm that is not supported".to_owned(),
        )
    }

    /// A signature that is not of the key that it should be.
    fn signature(chain: &[Facts], roots: &Roots) -> Self {
        if let Some(bits) = chain.iter().filter_map(|facts| facts.rsa_bits).find(|bits| *bits < RSA_BITS) {
            return Self::of_signature(format!(
                "an issuer of peer's certificate has a key of RSA with {bits} bits, and {RSA_BITS} are the least"
            ));
        }
        let is_foreign =
            |facts: &Facts| roots.is_anothers(facts) || chain.iter().any(|issuer| issuer.is_not_of(facts));
        let foreign = chain.iter().any(is_foreign).then(|| Self::another_key(chain, roots));
        foreign.flatten().unwrap_or_else(|| {
            Self::of_signature(
                "a signature in peer's certificates is not that of the issuer: they were changed, or are broken"
                    .to_owned(),
            )
        })
    }

    /// Somebody has the name of a known authority, and another key: an authority that was made anew, most of the time.
    fn another_key(chain: &[Facts], roots: &Roots) -> Option<Self> {
        let known = |facts: &&Facts| {
            roots.has_name(&facts.issuer) || chain.iter().any(|one| one.subject == facts.issuer)
        };
        let facts = chain.iter().find(known)?;
        let name = facts.issuer_name.as_deref().unwrap_or("somebody without a name");
        Some(Self {
            error: CertificateError::UnknownIssuer,
            code: Code::UnknownIssuer,
            text: format!(
                "peer's certificate is not issued by a trusted authority: \"{name}\" that issued it has the name of a \
                 known one and another key, to trust this peer alone pin its spki-sha256"
            ),
        })
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

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, date_time_ymd,
    };

    use super::*;
    use crate::tls::Failure;
    use crate::tls::params::provider;

    type Change = fn(&mut CertificateParams);
    const SAME: Change = |_| {};

    fn params(name: &str, is_ca: bool, change: Change) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        if is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        params
    }

    /// Root, intermediate and end entity, each with a change; what comes of it in the year 2026.
    fn verify(
        root: Change,
        intermediate: Change,
        end_entity: Change,
        purpose: KeyUsage,
    ) -> Result<(), Failure> {
        let [root_key, key, last_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let root = params("root", true, root);
        let intermediate = params("intermediate", true, intermediate);
        let anchor = root.self_signed(&root_key).unwrap();
        let issuer = intermediate.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        let last = params("peer", false, end_entity).signed_by(&last_key, &Issuer::new(intermediate, key));
        let (last, witness) = (last.unwrap(), Witness::default());
        let chain = Chain { roots: Roots::from_ders([anchor.der().clone()]).unwrap(), revocation: None };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000));
        let (entity, issuers) = (EndEntityCert::try_from(last.der()).unwrap(), [issuer.der().clone()]);
        let algorithms = provider().signature_verification_algorithms;
        let path = chain.verify(&witness, &entity, &issuers, purpose, &algorithms, now);
        path.map(|_| ()).map_err(|error| Failure::from_rustls(&error, &witness))
    }

    #[test]
    fn who_may_not_sign_certificates_vouches_for_nobody_in_either_role() {
        for purpose in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            assert_eq!(verify(SAME, SAME, SAME, purpose), Ok(()));
            let lists_only: Change = |params| params.key_usages = vec![KeyUsagePurpose::CrlSign];
            let fault = verify(SAME, lists_only, SAME, purpose).unwrap_err();
            assert!(fault.text.contains("may not issue"), "{fault:?}");
            let enciphers: Change = |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
            assert_eq!(verify(SAME, SAME, enciphers, purpose).unwrap_err().code, Code::CertificatePurpose);
        }
    }

    #[test]
    fn what_a_root_says_of_itself_counts() {
        let purpose = KeyUsage::server_auth();
        let ended: Change = |params| params.not_after = date_time_ymd(2025, 1, 1);
        assert_eq!(verify(ended, SAME, SAME, purpose).unwrap_err().code, Code::CertificateExpired);
        let alone: Change = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let fault = verify(alone, SAME, SAME, purpose).unwrap_err();
        assert!(fault.text.contains("longer than its authority allows"), "{fault:?}");
        let one: Change = |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        assert_eq!(verify(one, SAME, SAME, purpose), Ok(()));
    }

    #[test]
    fn the_fault_of_an_issuer_is_not_put_on_the_peer() {
        let server: Change = |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let purpose = KeyUsage::client_auth();
        let [peers, issuers] = [verify(SAME, SAME, server, purpose), verify(SAME, server, SAME, purpose)]
            .map(|result| result.unwrap_err().text);
        assert!(peers.starts_with("peer's certificate is not meant"), "{peers}");
        assert!(issuers.starts_with("an issuer of peer's certificate is not meant"), "{issuers}");
    }
}
