//! Lists of revoked certificates (CRL, RFC 5280 section 5): parsed once, shared by every session that asks them.

use core::fmt;
use std::cmp::Reverse;
use std::sync::Arc;

use der::{AnyRef, Decode, Reader, SliceReader};
use rustls::pki_types::pem::{PemObject, SectionKind};
use tlsify_protocol::{Code, CrlCheck, CrlDoubt};
use webpki::{
    CertRevocationList, Error, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{ASN1Time, FromDer};

use super::digest::sha256;
use super::pem::{self, PemError};
use super::tickets::Fingerprint;

/// What a session asks of the certificates of a chain, besides that they are good.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// Where to look.
    pub crls: Crls,
    /// Whom to look for.
    pub check: CrlCheck,
    /// What a certificate gets about which no list says anything.
    pub unknown: CrlDoubt,
    /// What a certificate gets whose list is past its next update.
    pub stale: CrlDoubt,
}

/// One or more lists. A clone shares them.
#[derive(Clone)]
pub struct Crls(Arc<Inner>);

struct Inner {
    /// The newest first: webpki asks the first that is for a certificate.
    lists: Vec<Arc<Dated>>,
    fingerprint: [u8; 32],
    weight: u32,
}

struct Dated {
    list: CertRevocationList<'static>,
    /// thisUpdate and nextUpdate, seconds since 1970.
    issued: i64,
    until: i64,
    /// SHA-256 of what came, and its length.
    hash: [u8; 32],
    bytes: usize,
}

/// A revoked certificate is some 35 bytes in a list, and a node of a tree in memory.
const TREE: usize = 6;

/// Why bytes are no lists of revoked certificates.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlsError {
    /// The PEM text is broken.
    #[error("cannot read the certificate revocation lists: {0}")]
    Pem(#[from] PemError),
    /// No section is a list.
    #[error("there is no certificate revocation list{}", pem::what_instead(.0))]
    Empty(Vec<String>),
    /// One of them cannot be used. The others could be, and what this one says would pass unnoticed.
    #[error("certificate revocation list {0} cannot be used: {1}")]
    Unusable(usize, &'static str),
}

impl CrlsError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        Code::CrlInvalid
    }
}

impl Crls {
    /// Reads files: each is PEM with any number of `X509 CRL` sections, or one list in DER.
    ///
    /// # Errors
    /// [`CrlsError`] when there is no list, or one that cannot be used.
    pub fn read<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, CrlsError> {
        let (mut ders, mut instead) = (Vec::new(), Vec::new());
        for file in files {
            // No text begins with the tag of a SEQUENCE, which is the digit 0.
            if file.first() == Some(&0x30) && !file.starts_with(b"0-----") {
                ders.push(file.to_vec());
                continue;
            }
            for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(file) {
                let (kind, der) = section.map_err(pem::explain)?;
                if kind == SectionKind::Crl {
                    ders.push(der);
                }
            }
            instead.extend(pem::labels(file));
        }
        if ders.is_empty() {
            instead.truncate(5);
            return Err(CrlsError::Empty(instead));
        }
        Self::from_ders(&ders)
    }

    fn from_ders(ders: &[Vec<u8>]) -> Result<Self, CrlsError> {
        let read = |(index, der): (usize, &Vec<u8>)| {
            Dated::read(der).map(Arc::new).map_err(|error| CrlsError::Unusable(index + 1, words(&error)))
        };
        Ok(Self::of(ders.iter().enumerate().map(read).collect::<Result<_, _>>()?))
    }

    /// All lists of these; `None` when there is nobody.
    pub fn joined(parts: impl IntoIterator<Item = Self>) -> Option<Self> {
        let lists: Vec<_> = parts.into_iter().flat_map(|part| part.0.lists.clone()).collect();
        (!lists.is_empty()).then(|| Self::of(lists))
    }

    fn of(mut lists: Vec<Arc<Dated>>) -> Self {
        lists.sort_by_key(|dated| Reverse(dated.issued));
        let mut hashes: Vec<[u8; 32]> = lists.iter().map(|dated| dated.hash).collect();
        hashes.sort_unstable();
        let mut print = Fingerprint::new();
        print.list(&hashes);
        let bytes: usize = lists.iter().map(|dated| dated.bytes).sum();
        let weight = u32::try_from(bytes.saturating_mul(TREE)).unwrap_or(u32::MAX);
        Self(Arc::new(Inner { lists, fingerprint: print.finish(), weight }))
    }

    /// The dates of each list, seconds since 1970: when it was made, and when the next one is due.
    pub fn dates(&self) -> impl Iterator<Item = (i64, i64)> {
        self.0.lists.iter().map(|dated| (dated.issued, dated.until))
    }

    /// How many lists there are; never 0.
    pub fn count(&self) -> usize {
        self.0.lists.len()
    }

    /// About how many bytes they hold in memory, for bounded stores.
    pub fn weight(&self) -> u32 {
        self.0.weight
    }
}

impl Dated {
    fn read(der: &[u8]) -> Result<Self, Error> {
        let list = OwnedCertRevocationList::from_der(der)?.into();
        let (issued, until) = dates(der).ok_or(Error::BadDer)?;
        Ok(Self { list, issued, until, hash: sha256(der), bytes: der.len() })
    }
}

/// thisUpdate and nextUpdate of a list that webpki has taken: it is of version 2 and has both (RFC 5280 section 5.1.2). What
/// stands behind them is not looked at, as it can be long.
fn dates(der: &[u8]) -> Option<(i64, i64)> {
    let mut list = SliceReader::new(AnyRef::from_der(der).ok()?.value()).ok()?;
    let mut fields = SliceReader::new(AnyRef::decode(&mut list).ok()?.value()).ok()?;
    for _ in ["version", "signature", "issuer"] {
        fields.tlv_bytes().ok()?;
    }
    let mut next = || Some(ASN1Time::from_der(fields.tlv_bytes().ok()?).ok()?.1.timestamp());
    Some((next()?, next()?))
}

impl Revocation {
    /// With every default: the whole chain, and no doubt.
    pub fn strict(crls: Crls) -> Self {
        Self { crls, check: CrlCheck::default(), unknown: CrlDoubt::default(), stale: CrlDoubt::default() }
    }

    /// Does `work` with all this in webpki's words.
    pub(super) fn with_options<T>(&self, work: impl FnOnce(RevocationOptions<'_>) -> T) -> T {
        let lists: Vec<&CertRevocationList<'_>> = self.crls.0.lists.iter().map(|dated| &dated.list).collect();
        let options = match RevocationOptionsBuilder::new(&lists) {
            Ok(builder) => builder
                .with_depth(match self.check {
                    CrlCheck::Chain => RevocationCheckDepth::Chain,
                    CrlCheck::EndEntity => RevocationCheckDepth::EndEntity,
                })
                .with_status_policy(match self.unknown {
                    CrlDoubt::Refuse => UnknownStatusPolicy::Deny,
                    CrlDoubt::Allow => UnknownStatusPolicy::Allow,
                })
                .with_expiration_policy(match self.stale {
                    CrlDoubt::Refuse => ExpirationPolicy::Enforce,
                    CrlDoubt::Allow => ExpirationPolicy::Ignore,
                })
                .build(),
            Err(_) => unreachable!("there is at least one list"),
        };
        work(options)
    }

    /// Adds what is asked to what a ticket is bound to.
    pub(super) fn add_to(&self, print: &mut Fingerprint) {
        print.field(&self.crls.0.fingerprint);
        print.list([self.check.as_str(), self.unknown.as_str(), self.stale.as_str()]);
    }
}

/// Number of lists only: they hold thousands of serial numbers.
impl fmt::Debug for Crls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crls").field("count", &self.count()).finish_non_exhaustive()
    }
}

fn words(error: &Error) -> &'static str {
    match error {
        Error::UnsupportedDeltaCrl => "it is a delta CRL, give the whole one",
        Error::UnsupportedIndirectCrl => "it is an indirect CRL, give the one of the issuer itself",
        Error::UnsupportedCrlVersion => "it is not of version 2",
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not understood",
        Error::UnsupportedRevocationReasonsPartitioning => {
            "it is for some reasons of revocation only, give the whole one"
        }
        Error::UnsupportedCrlIssuingDistributionPoint => "it is for certificates that cannot be told apart",
        _ => "it is not correctly encoded, or has no next update",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::pair::Authority;

    #[test]
    fn pem_der_and_several_in_one_file_are_read() {
        let (one, two) = (Authority::new("one").crl(&[], 0), Authority::new("two").crl(&[1], 0));
        let both = format!("{}\n{}", one.pem().unwrap(), two.pem().unwrap());
        assert_eq!(Crls::read([both.as_bytes()]).unwrap().count(), 2);
        assert_eq!(Crls::read([one.der().as_ref(), two.pem().unwrap().as_bytes()]).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_list_is_named() {
        let other = Authority::new("a").pem();
        let error = Crls::read([other.as_bytes()]).unwrap_err();
        assert_eq!(error.to_string(), "there is no certificate revocation list, it holds CERTIFICATE");
        assert_eq!(Crls::read([]).unwrap_err(), CrlsError::Empty(Vec::new()));
        assert_eq!(Crls::read([b"".as_slice()]).unwrap_err(), CrlsError::Empty(Vec::new()));
        let good = Authority::new("a").crl(&[], 0).der().to_vec();
        let error = Crls::read([good.as_slice(), b"\x30\x03\x02\x01\x01"]).unwrap_err();
        assert!(matches!(error, CrlsError::Unusable(2, _)), "{error}");
    }

    #[test]
    fn lists_that_were_read_one_by_one_are_the_same_as_read_together() {
        let all =
            [("one", 0), ("two", 3)].map(|(name, age)| Authority::new(name).crl(&[1], age).der().to_vec());
        let together = Crls::read(all.iter().map(Vec::as_slice)).unwrap();
        let joined = Crls::joined(all.iter().map(|one| Crls::read([one.as_slice()]).unwrap())).unwrap();
        assert_eq!(joined.0.fingerprint, together.0.fingerprint);
        assert_eq!((joined.count(), joined.weight()), (together.count(), together.weight()));
        assert!(
            joined.dates().eq(together.dates()) && joined.dates().all(|(made, due)| due == made + 86_400)
        );
        assert!(Crls::joined([]).is_none());
    }

    #[test]
    fn no_prefix_of_a_list_is_one() {
        let good = Authority::new("a").crl(&[7, 8], 0).der().to_vec();
        for cut in 0..good.len() {
            assert!(Crls::read([&good[..cut]]).is_err(), "{cut}");
        }
    }

    #[test]
    fn a_file_that_was_cut_is_not_taken_for_the_lists_that_are_left() {
        let [one, two] = ["one", "two"].map(|name| Authority::new(name).crl(&[7], 0).pem().unwrap());
        // A second list whose first line is not whole cannot be told from a remark.
        let begun = one.len() + two.find('\n').unwrap();
        let (end, both) = (one.trim_end().len(), one + &two);
        assert_eq!(Crls::read([&both.as_bytes()[..end]]).unwrap().count(), 1);
        for cut in 0..both.trim_end().len() {
            if let Ok(crls) = Crls::read([&both.as_bytes()[..cut]]) {
                assert!(crls.count() == 1 && (end..=begun).contains(&cut), "{cut}: {crls:?}");
            }
        }
    }
}
