//! Certificate revocation lists (RFC 5280 section 5), parsed once and shared by every session that heeds them.

use core::fmt;
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use tlsify_protocol::{Code, CrlCheck, CrlStale, CrlUnknown};
use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptions,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};

use super::pem;
use super::tickets::Fingerprint;

/// Revocation lists, at least one. A clone shares them.
#[derive(Clone)]
pub struct Crls(Arc<Inner>);

struct Inner {
    lists: Vec<CertRevocationList<'static>>,
    weight: u32,
    fingerprint: [u8; 32],
}

/// Lists, and what to do where they say nothing.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// The lists.
    pub crls: Crls,
    /// Which certificates of a chain are looked up.
    pub check: CrlCheck,
    /// What becomes of a certificate that no list covers.
    pub unknown: CrlUnknown,
    /// What becomes of a certificate whose list should have been replaced by a newer one.
    pub stale: CrlStale,
}

/// Why a text holds no revocation lists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlsError {
    /// The PEM text is broken.
    #[error("cannot read the revocation lists: a PEM section is damaged or cut off")]
    Pem,
    /// There is no list in it.
    #[error("there is no certificate revocation list in it{}", pem::what_instead(.0))]
    Empty(Vec<String>),
    /// A list is damaged, or of a kind that cannot be used alone.
    #[error("revocation list {index} cannot be used: {reason}")]
    Unusable {
        /// Its place, from 1.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl CrlsError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        Code::CrlInvalid
    }
}

impl Crls {
    /// Reads the lists of several files, each in PEM (`X509 CRL`, any number) or DER (one).
    ///
    /// # Errors
    /// [`CrlsError`]; one list that cannot be used refuses them all, because what is revoked there would be let in.
    pub fn read<'a>(files: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, CrlsError> {
        let mut ders = Vec::new();
        let mut labels = Vec::new();
        for file in files {
            if file.trim_ascii_start().first() == Some(&DER_SEQUENCE) {
                ders.push(CertificateRevocationListDer::from(file.trim_ascii_start().to_vec()));
                continue;
            }
            labels.extend(pem::labels(file));
            for der in CertificateRevocationListDer::pem_slice_iter(file) {
                ders.push(der.map_err(|_| CrlsError::Pem)?);
            }
        }
        if ders.is_empty() {
            labels.truncate(5);
            return Err(CrlsError::Empty(labels));
        }
        let (mut lists, mut weight, mut print) =
            (Vec::with_capacity(ders.len()), 0_usize, Fingerprint::new());
        for (at, der) in ders.iter().enumerate() {
            let list = OwnedCertRevocationList::from_der(der)
                .map_err(|error| CrlsError::Unusable { index: at + 1, reason: unusable(&error) })?;
            lists.push(CertRevocationList::Owned(list));
            // Each entry is kept with its number as a key: about three times what it takes in the file.
            weight = weight.saturating_add(3 * der.len());
            print.field(der);
        }
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Ok(Self(Arc::new(Inner { lists, weight, fingerprint: print.finish() })))
    }

    /// About how many bytes they hold in memory, for bounded stores.
    pub fn weight(&self) -> u32 {
        self.0.weight
    }
}

impl Revocation {
    /// Does `work` with these rules in webpki's form.
    pub(super) fn at_work<T>(&self, work: impl FnOnce(RevocationOptions<'_>) -> T) -> T {
        let lists: Vec<&CertRevocationList<'_>> = self.crls.0.lists.iter().collect();
        let depth = match self.check {
            CrlCheck::Chain => RevocationCheckDepth::Chain,
            CrlCheck::EndEntity => RevocationCheckDepth::EndEntity,
        };
        let unknown = match self.unknown {
            CrlUnknown::Refuse => UnknownStatusPolicy::Deny,
            CrlUnknown::Allow => UnknownStatusPolicy::Allow,
        };
        let stale = match self.stale {
            CrlStale::Refuse => ExpirationPolicy::Enforce,
            CrlStale::Allow => ExpirationPolicy::Ignore,
        };
        match RevocationOptionsBuilder::new(&lists) {
            Ok(builder) => work(
                builder.with_depth(depth).with_status_policy(unknown).with_expiration_policy(stale).build(),
            ),
            Err(_) => unreachable!("Crls::read gives at least one list"),
        }
    }

    /// What a ticket has to be got under again.
    pub(super) fn add_to(&self, print: &mut Fingerprint) {
        print.field(&self.crls.0.fingerprint);
        print.field(&[
            u8::from(self.check == CrlCheck::Chain),
            u8::from(self.unknown == CrlUnknown::Refuse),
            u8::from(self.stale == CrlStale::Refuse),
        ]);
    }
}

impl fmt::Debug for Crls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crls").field("count", &self.0.lists.len()).finish_non_exhaustive()
    }
}

/// A text never begins with it.
const DER_SEQUENCE: u8 = 0x30;

/// The sentence's end for what webpki finds wrong with a list.
fn unusable(error: &webpki::Error) -> &'static str {
    use webpki::Error as E;
    match error {
        E::UnsupportedDeltaCrl => "it has only what changed since another one (a delta), take the whole one",
        E::UnsupportedIndirectCrl => "it speaks for other authorities than its own (indirect)",
        E::UnsupportedCrlVersion => "it is not of version 2",
        E::UnsupportedCriticalExtension => "it has a critical extension that is not understood",
        E::UnsupportedRevocationReason | E::UnsupportedRevocationReasonsPartitioning => {
            "it covers only some reasons for a revocation, or has one that is not known"
        }
        _ => "it is not correctly encoded",
    }
}
