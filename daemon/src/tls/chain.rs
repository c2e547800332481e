//! Does a trusted authority vouch for this certificate, for this use, now (RFC 5280 section 6)?
//!
//! webpki builds the path and checks signatures, dates, names, basic constraints and purposes. What it leaves out is
//! checked on the path that it found: what a key may be used for, and what an authority says of itself. A path that does not
//! pass is not the end: webpki then tries the next one.
//!
//! ```text
//!  end entity, intermediates, Roots ─▶ webpki: a path ─▶ fits(): keyUsage, the anchor's own limits ─▶ good
//!                                        └──── none ───▶ Fault: code, alert, a sentence that names who is at fault
//! ```

use std::sync::Arc;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, OtherError};
use tlsify_protocol::{Code, CrlCheck};
use webpki::{EndEntityCert, KeyUsage, RevocationOptions, VerifiedPath};

use super::explain::explain;
use super::facts::Facts;
use super::presented::unix_time;
use super::revocation::Revocation;
use super::roots::Roots;
use super::sequences::in_sequence;
use super::witness::{Verdict, Witness};

/// What a chain is checked against.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    pub(super) roots: Roots,
    /// What has been revoked since, as far as it is known.
    pub(super) revocation: Option<Arc<Revocation>>,
}

/// What is known of the end entity of a good chain.
#[derive(Debug)]
pub(super) struct Good {
    pub(super) issuer: Issuer,
    /// It is for servers that staple only (RFC 7633).
    pub(super) must_staple: bool,
}

/// Who issued it.
#[derive(Debug)]
pub(super) struct Issuer {
    /// Its name, DER without the outer SEQUENCE.
    pub(super) name: Vec<u8>,
    /// Its SubjectPublicKeyInfo, DER.
    pub(super) spki: Vec<u8>,
}

/// Why nobody vouches for a certificate. Its alert is the one that rustls sends for `error`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) error: CertificateError,
    pub(super) code: Code,
    pub(super) text: String,
}

impl Chain {
    /// The end entity has a path to an anchor, for this `purpose`.
    ///
    /// # Errors
    /// [`Fault`], of the path that came furthest.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        purpose: KeyUsage,
        algorithms: &WebPkiSupportedAlgorithms,
        now: UnixTime,
    ) -> Result<Good, Fault> {
        let parsed = EndEntityCert::try_from(end_entity).map_err(|error| Fault::of_peer(&error))?;
        let roots = &self.roots;
        let fits = |path: &VerifiedPath<'_>| fits(path, roots, now);
        let verify = |revocation: Option<RevocationOptions<'_>>| {
            let anchors = &roots.store().roots;
            let path = parsed.verify_for_usage(
                algorithms.all,
                anchors,
                intermediates,
                now,
                purpose,
                revocation,
                Some(&fits),
            );
            path.map(|path| Issuer::of(&path))
        };
        let issuer = match &self.revocation {
            None => verify(None),
            Some(revocation) => revocation.with_options(|options| verify(Some(options))),
        };
        let issuer = issuer.map_err(|error| {
            let fault = Fault::find(&error, end_entity, intermediates, roots);
            // Whose number it was that stands in a list, webpki does not say.
            let passes_alone = |own: Revocation| own.with_options(|options| verify(Some(options))).is_ok();
            match error {
                webpki::Error::CertRevoked if self.of_peer_alone().is_some_and(passes_alone) => {
                    fault.of_issuer()
                }
                _ => fault,
            }
        })?;
        let facts = Facts::read(end_entity).ok_or_else(|| Fault::of_peer(&webpki::Error::BadDer))?;
        can_sign_handshakes(&facts)?;
        Ok(Good { issuer, must_staple: facts.must_staple })
    }

    /// The same lists, with which only the end entity is looked up.
    fn of_peer_alone(&self) -> Option<Revocation> {
        let revocation = self.revocation.as_deref()?;
        Some(Revocation { check: CrlCheck::EndEntity, ..revocation.clone() })
    }
}

impl Issuer {
    fn of(path: &VerifiedPath<'_>) -> Self {
        match path.intermediate_certificates().next() {
            Some(above) => {
                Self { name: above.subject().to_vec(), spki: above.subject_public_key_info().to_vec() }
            }
            None => Self {
                name: path.anchor().subject.to_vec(),
                spki: in_sequence(&path.anchor().subject_public_key_info),
            },
        }
    }
}

/// Below this, keys of RSA are not taken: what webpki's algorithms have as their least.
const RSA_BITS: usize = 2048;

/// RFC 9846 section 4.4.2.2: the key signs the handshake, in all suites that are spoken here.
fn can_sign_handshakes(facts: &Facts) -> Result<(), Fault> {
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
        return Err(webpki::Error::CertExpired { time: now, not_after: unix_time(limits.not_after) });
    }
    match limits.path_length {
        Some(length) if below > length => Err(webpki::Error::PathLenConstraintViolated),
        _ => Ok(()),
    }
}

impl Fault {
    /// Writes it down for the answer, and gives rustls what the alert comes from.
    pub(super) fn told(self, witness: &Witness) -> Error {
        let alert: AlertDescription = self.error.clone().into();
        witness.refuse(Verdict::Unvouched { code: self.code, alert, text: self.text });
        self.error.into()
    }

    fn of_peer(error: &webpki::Error) -> Self {
        use webpki::Error as E;
        let reason = certificate_error(error);
        let (code, _, text) = explain(&reason.clone().into());
        // Where the alert comes from another reason than the words.
        let text = match error {
            E::UnsupportedSignatureAlgorithmContext(_)
            | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                "peer's certificates are signed with an algorithm that is not supported".to_owned()
            }
            _ => text,
        };
        Self { error: reason, code, text }
    }

    /// Looks for whose fault it is: the peer can renew its own certificate, and not that of its issuer.
    fn find(
        error: &webpki::Error,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        roots: &Roots,
    ) -> Self {
        use webpki::Error as E;
        let chain: Vec<Facts> =
            core::iter::once(end_entity).chain(intermediates).filter_map(|der| Facts::read(der)).collect();
        let fault = match error {
            // What cannot be read is nobody's issuer, and need not be there (RFC 9846 section 4.4.2).
            E::BadDer | E::TrailingData(_) if chain.len() <= intermediates.len() => {
                return Self::of_peer(&E::UnknownIssuer);
            }
            error => Self::of_peer(error),
        };
        let Some(peer) = chain.first() else { return fault };
        let is_issuers = match error {
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
            E::InvalidSignatureForPublicKey => return Self::signature(fault, &chain, roots),
            E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
                return Self::another_key(&chain, roots, fault);
            }
            _ => false,
        };
        if is_issuers { fault.of_issuer() } else { fault }
    }

    /// What is wrong with the peer's certificate in these words, is wrong with an issuer's.
    fn of_issuer(self) -> Self {
        match self.text.strip_prefix("peer's certificate ") {
            Some(rest) => Self { text: format!("an issuer of peer's certificate {rest}"), ..self },
            None => self,
        }
    }

    /// A signature that is not of the key that it should be.
    fn signature(fault: Self, chain: &[Facts], roots: &Roots) -> Self {
        if let Some(bits) = chain.iter().filter_map(|facts| facts.rsa_bits).find(|bits| *bits < RSA_BITS) {
            let text = format!(
                "an issuer of peer's certificate has a key of RSA with {bits} bits, and {RSA_BITS} are the least"
            );
            return Self { text, ..fault };
        }
        let is_foreign =
            |facts: &Facts| roots.is_anothers(facts) || chain.iter().any(|issuer| issuer.is_not_of(facts));
        match chain.iter().any(is_foreign) {
            true => Self::another_key(chain, roots, fault),
            false => Self {
                text: "a signature in peer's certificates is not that of the issuer: they were changed, or are broken"
                    .to_owned(),
                ..fault
            },
        }
    }

    /// Somebody has the name of a known authority, and another key.
    fn another_key(chain: &[Facts], roots: &Roots, fault: Self) -> Self {
        let known = |facts: &&Facts| {
            roots.has_name(&facts.issuer) || chain.iter().any(|one| one.subject == facts.issuer)
        };
        let Some(facts) = chain.iter().find(known) else { return fault };
        let name = facts.issuer_name.as_deref().unwrap_or("somebody without a name");
        Self {
            error: CertificateError::UnknownIssuer,
            code: Code::UnknownIssuer,
            text: format!(
                "peer's certificate is not issued by a trusted authority: \"{name}\" that issued it has the name of a \
                 known one and another key, to trust this peer alone pin its spki-sha256"
            ),
        }
    }
}

/// webpki's reasons in rustls' words. They decide the alert.
fn certificate_error(error: &webpki::Error) -> CertificateError {
    use webpki::Error as E;
    match error {
        E::BadDer | E::BadDerTime | E::TrailingData(_) => CertificateError::BadEncoding,
        E::CertNotValidYet { time, not_before } => {
            CertificateError::NotValidYetContext { time: *time, not_before: *not_before }
        }
        E::CertExpired { time, not_after } => {
            CertificateError::ExpiredContext { time: *time, not_after: *not_after }
        }
        E::InvalidCertValidity => CertificateError::Expired,
        E::UnknownIssuer => CertificateError::UnknownIssuer,
        E::RequiredEkuNotFoundContext(_) => CertificateError::InvalidPurpose,
        E::CertRevoked => CertificateError::Revoked,
        E::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        E::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time: *time, next_update: *next_update }
        }
        // RFC 9846 section 6.2: a certificate with "signatures that did not verify correctly" is bad_certificate; rustls
        // would send decrypt_error, which is for the handshake's signature.
        E::InvalidSignatureForPublicKey
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other.clone()))),
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, date_time_ymd,
    };

    use super::*;
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
    ) -> Result<(), Fault> {
        let keys = [(); 3].map(|()| KeyPair::generate().unwrap());
        let [root_key, key, last_key] = keys;
        let root = params("root", true, root);
        let intermediate = params("intermediate", true, intermediate);
        let anchor = root.self_signed(&root_key).unwrap();
        let issuer = intermediate.signed_by(&key, &Issuer::new(root, root_key)).unwrap();
        let last = params("peer", false, end_entity).signed_by(&last_key, &Issuer::new(intermediate, key));
        let roots = Roots::from_ders([anchor.der().clone()]).unwrap();
        let algorithms = provider().signature_verification_algorithms;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000));
        let chain = Chain { roots, revocation: None };
        let above = core::slice::from_ref(issuer.der());
        chain.verify(last.unwrap().der(), above, purpose, &algorithms, now).map(|_| ())
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
    fn what_cannot_be_read_is_nobodys_issuer_and_nobodys_fault() {
        let own = params("peer", false, SAME).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let anchor = params("root", true, SAME).self_signed(&KeyPair::generate().unwrap()).unwrap();
        let roots = Roots::from_ders([anchor.der().clone()]).unwrap();
        let chain = Chain { roots, revocation: None };
        let algorithms = provider().signature_verification_algorithms;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000));
        let garbage = [CertificateDer::from(vec![0x30, 0]), CertificateDer::from(vec![7; 40])];
        let fault = chain.verify(own.der(), &garbage, KeyUsage::server_auth(), &algorithms, now).unwrap_err();
        assert_eq!(fault.code, Code::UnknownIssuer);
        assert!(fault.text.starts_with("peer's certificate is not issued by a trusted"), "{fault:?}");
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
