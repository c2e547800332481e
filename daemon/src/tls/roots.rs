//! Certificate authorities, parsed once and shared by every session that trusts them.

use core::fmt;
use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, Der, TrustAnchor};
use rustls::{DistinguishedName, RootCertStore};
use tlsify_protocol::Code;

use super::facts::Facts;
use super::pem::{self, PemError};
use super::tickets::Fingerprint;

/// Trust anchors. A clone shares them.
#[derive(Clone)]
pub struct Roots(Arc<Inner>);

struct Inner {
    store: Arc<RootCertStore>,
    weight: u32,
    skipped: usize,
    /// Made when a server first needs them.
    names: OnceLock<Vec<DistinguishedName>>,
    few_names: bool,
    /// What each anchor says of itself, in their order.
    limits: Vec<Limits>,
    /// A hash of what the anchors are, made when a session that may resume first needs it.
    fingerprint: OnceLock<[u8; 32]>,
}

/// What the certificate of an anchor says of itself. webpki keeps name, key and name constraints only.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    /// Seconds since 1970.
    pub(super) not_after: u64,
    /// How many intermediates may follow.
    pub(super) path_length: Option<u32>,
    facts: Facts,
}

/// What a server tells each client about the authorities that it takes, in bytes. More would cost every handshake
/// more than it says, and above 65,535 the certificate_authorities extension cannot hold them: rustls then writes a
/// broken message.
const MOST_HINTS: usize = 16 * 1024;

/// Why certificates cannot serve as certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootsError {
    /// The PEM text is broken.
    #[error("cannot read the CA bundle: {0}")]
    Pem(#[from] PemError),
    /// No section is a certificate.
    #[error("the CA bundle has no certificate{}", pem::what_instead(.0))]
    Empty(Vec<String>),
    /// There were certificates, and none can be a trust anchor.
    #[error(
        "none of the {0} certificates of the CA bundle can be used as a trust anchor, the first because {1}"
    )]
    Unusable(usize, String),
}

impl RootsError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        Code::TrustUnusable
    }
}

impl Roots {
    /// Reads every `CERTIFICATE` section of a PEM bundle; other sections are skipped.
    ///
    /// # Errors
    /// [`RootsError`] when the text is broken or holds nothing usable. Single certificates that rustls cannot
    /// use are skipped and counted ([`Roots::skipped`]), as old bundles have some.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, RootsError> {
        let certificates = pem::certificates(bundle)?;
        if certificates.is_empty() {
            return Err(RootsError::Empty(pem::labels(bundle)));
        }
        Self::from_ders(certificates)
    }

    /// Takes certificates in DER, for example from the host's own pool.
    ///
    /// # Errors
    /// [`RootsError`] when there is none, or none is usable.
    pub fn from_ders<'a>(
        certificates: impl IntoIterator<Item = CertificateDer<'a>>,
    ) -> Result<Self, RootsError> {
        Self::from_anchors(certificates, |certificate| owned(certificate))
    }

    /// The same with certificates that stay where they are until the process ends: the anchors borrow from them.
    ///
    /// # Errors
    /// As [`Roots::from_ders`].
    pub fn from_static(certificates: impl IntoIterator<Item = &'static [u8]>) -> Result<Self, RootsError> {
        Self::from_anchors(certificates, |certificate| borrowed(certificate))
    }

    fn from_anchors<C: AsRef<[u8]>>(
        certificates: impl IntoIterator<Item = C>,
        anchor: impl Fn(&C) -> Result<TrustAnchor<'static>, String>,
    ) -> Result<Self, RootsError> {
        let (mut store, mut limits) = (RootCertStore::empty(), Vec::new());
        let (mut skipped, mut weight, mut first_reason) = (0, 0_usize, None);
        for certificate in certificates {
            let size = certificate.as_ref().len();
            let facts = Facts::read(certificate.as_ref());
            match anchor(&certificate) {
                Ok(anchor) => {
                    store.roots.push(anchor);
                    // Name and key are in the anchor and in its limits.
                    weight += 2 * size + size_of::<Limits>();
                    limits.push(facts.map_or_else(Limits::none, Limits::of));
                }
                Err(reason) => {
                    skipped += 1;
                    first_reason.get_or_insert(reason);
                }
            }
        }
        if store.is_empty() {
            return Err(match first_reason {
                Some(reason) => RootsError::Unusable(skipped, reason),
                None => RootsError::Empty(Vec::new()),
            });
        }
        // Each name with the two bytes of its length.
        let hints: usize = store.subjects().iter().map(|name| name.as_ref().len() + 2).sum();
        Ok(Self(Arc::new(Inner {
            few_names: hints <= MOST_HINTS,
            limits,
            store: Arc::new(store),
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            skipped,
            names: OnceLock::new(),
            fingerprint: OnceLock::new(),
        })))
    }

    /// How many trust anchors there are; never 0.
    pub fn count(&self) -> usize {
        self.0.store.len()
    }

    /// How many certificates were skipped because they cannot be trust anchors.
    pub fn skipped(&self) -> usize {
        self.0.skipped
    }

    /// About how many bytes the anchors hold in memory, for bounded stores. An upper estimate: of each
    /// certificate only names, key and name constraints are kept, names and key twice.
    pub fn weight(&self) -> u32 {
        self.0.weight
    }

    /// What these authorities are, whatever they are called and wherever they came from: whoever trusts the same
    /// has the same.
    pub(super) fn fingerprint(&self) -> &[u8; 32] {
        self.0.fingerprint.get_or_init(|| {
            let mut print = Fingerprint::new();
            for anchor in &self.0.store.roots {
                print.field(&anchor.subject).field(&anchor.subject_public_key_info);
                print.list(anchor.name_constraints.as_deref());
            }
            print.finish()
        })
    }

    /// Whether the names of these authorities are few enough to be told to every client.
    pub(super) fn has_few_names(&self) -> bool {
        self.0.few_names
    }

    /// What this anchor, which is one of these, says of itself.
    pub(super) fn limits(&self, anchor: &TrustAnchor<'_>) -> Option<&Limits> {
        // Two certificates of one name and key are two anchors, so it is the place that tells them apart.
        let at = self.0.store.roots.iter().position(|one| core::ptr::addr_eq(one, anchor))?;
        self.0.limits.get(at)
    }

    /// Whether an anchor has this name, a Name in DER.
    pub(super) fn has_name(&self, name: &[u8]) -> bool {
        self.0.limits.iter().any(|limits| limits.facts.subject == name)
    }

    /// Whether an anchor has the name of this certificate's issuer, and another key than the issuer's.
    pub(super) fn is_anothers(&self, certificate: &Facts) -> bool {
        self.0.limits.iter().any(|limits| limits.facts.is_not_of(certificate))
    }

    /// The anchors in rustls' form.
    pub(super) fn store(&self) -> &Arc<RootCertStore> {
        &self.0.store
    }

    /// The names of these authorities, for clients that choose a certificate by them.
    pub(super) fn names(&self) -> &[DistinguishedName] {
        self.0.names.get_or_init(|| self.0.store.subjects())
    }
}

/// An anchor that holds copies of what it needs of its certificate.
fn owned(certificate: &CertificateDer<'_>) -> Result<TrustAnchor<'static>, String> {
    let mut one = RootCertStore::empty();
    one.add(certificate.clone()).map_err(|reason| reason.to_string())?;
    one.roots.pop().ok_or_else(String::new)
}

/// An anchor that points into its certificate.
fn borrowed(whole: &'static [u8]) -> Result<TrustAnchor<'static>, String> {
    let certificate = CertificateDer::from(whole);
    // Where it cannot be used, the other says why.
    let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate) else { return owned(&certificate) };
    // webpki's anchor borrows from the name that we call the certificate by, which goes with this function: the same
    // places are found anew in what stays.
    let place = |part: &[u8]| within(whole, part).map_or_else(|| part.to_vec().into(), Der::from_slice);
    Ok(TrustAnchor {
        subject: place(&anchor.subject),
        subject_public_key_info: place(&anchor.subject_public_key_info),
        name_constraints: anchor.name_constraints.as_deref().map(place),
    })
}

/// The same bytes as `part`, which is a part of `whole`.
fn within<'a>(whole: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    whole.get(start..start.checked_add(part.len())?)
}

impl Limits {
    fn of(facts: Facts) -> Self {
        Self { not_after: facts.not_after, path_length: facts.path_length, facts }
    }

    /// Of an anchor that webpki reads and x509-parser does not.
    fn none() -> Self {
        Self { not_after: u64::MAX, ..Self::default() }
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Roots").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::Authority;

    #[test]
    fn a_bundle_with_comments_and_other_sections_is_read() {
        let bundle = format!("# ours\n{}\n{}", Authority::new("one").pem(), Authority::new("two").pem());
        let roots = Roots::from_pem(bundle.as_bytes()).unwrap();
        assert_eq!((roots.count(), roots.skipped()), (2, 0));
        assert!(roots.weight() > 500);
    }

    #[test]
    fn anchors_that_borrow_are_those_that_own_and_point_where_they_should() {
        let authorities = [Authority::new("one"), Authority::new("two")];
        let ders: Vec<Vec<u8>> = authorities
            .iter()
            .map(|one| pem::certificates(one.pem().as_bytes()).unwrap()[0].to_vec())
            .collect();
        let stay: Vec<&'static [u8]> = ders.iter().map(|der| &*der.clone().leak()).collect();
        let own = Roots::from_ders(ders.iter().map(|der| der.as_slice().into())).unwrap();
        let borrow = Roots::from_static(stay.iter().copied()).unwrap();
        assert_eq!(own.store().roots, borrow.store().roots);
        assert_eq!(own.fingerprint(), borrow.fingerprint());
        for (anchor, certificate) in borrow.store().roots.iter().zip(stay) {
            let place = certificate.as_ptr_range();
            assert!(place.contains(&anchor.subject.as_ptr()));
            assert!(place.contains(&anchor.subject_public_key_info.as_ptr()));
        }
        let broken: &[u8] = b"\x30\x03\x02\x01\x01";
        assert_eq!(Roots::from_static([broken]).unwrap_err(), Roots::from_ders([broken.into()]).unwrap_err());
    }

    #[test]
    fn a_key_given_as_a_bundle_is_named() {
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        let error = Roots::from_pem(key.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the CA bundle has no certificate, it holds PRIVATE KEY");
        assert_eq!(Roots::from_pem(b"").unwrap_err(), RootsError::Empty(Vec::new()));
    }

    #[test]
    fn garbage_between_the_markers_is_not_a_root() {
        let text = "-----BEGIN CERTIFICATE-----\nAAECAw==\n-----END CERTIFICATE-----\n";
        assert!(matches!(Roots::from_pem(text.as_bytes()), Err(RootsError::Unusable(1, _))));
        let open = "-----BEGIN CERTIFICATE-----\nAAECAw==\n";
        assert!(matches!(Roots::from_pem(open.as_bytes()), Err(RootsError::Pem(_))));
    }
}
