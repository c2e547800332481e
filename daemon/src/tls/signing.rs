//! Our private key in a handshake: signs only with the schemes that are wanted, and tells which it was.

use core::fmt;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;

use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use super::identity::Identity;
use super::witness::Witness;

/// A key behind a restriction and a notebook.
pub(super) struct RestrictedKey {
    inner: Arc<dyn SigningKey>,
    allowed: Option<Arc<[SignatureScheme]>>,
    witness: Option<Arc<Witness>>,
}

/// A client's only identity, or none.
#[derive(Debug)]
pub(super) struct ClientIdentity {
    certified: Option<Arc<CertifiedKey>>,
    raw: bool,
}

/// The identity with its key restricted; notes the scheme where there is a witness.
///
/// Costs a copy of the chain (rustls wants chain and key in one allocation) and two small allocations.
pub(super) fn restrict(
    certified: &CertifiedKey,
    allowed: Option<Arc<[SignatureScheme]>>,
    witness: Option<Arc<Witness>>,
) -> Arc<CertifiedKey> {
    let key = RestrictedKey { inner: certified.key.clone(), allowed, witness };
    Arc::new(CertifiedKey { cert: certified.cert.clone(), key: Arc::new(key), ocsp: certified.ocsp.clone() })
}

/// Whether the key can sign with one of the offered schemes that are also allowed.
pub(super) fn can_sign(
    key: &dyn SigningKey,
    offered: &[SignatureScheme],
    allowed: Option<&[SignatureScheme]>,
) -> bool {
    choose(key, offered, allowed).is_some()
}

impl ClientIdentity {
    pub(super) fn new(identity: Option<&Identity>, allowed: Option<&Arc<[SignatureScheme]>>) -> Self {
        let certified = identity.map(|identity| match allowed {
            None => identity.certified().clone(),
            Some(allowed) => restrict(identity.certified(), Some(allowed.clone()), None),
        });
        Self { certified, raw: identity.is_some_and(Identity::is_raw) }
    }
}

impl ResolvesClientCert for ClientIdentity {
    fn resolve(&self, _root_hints: &[&[u8]], offered: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // Hints are hints: with one identity, offering it tells the server more than silence. A key that can
        // sign with nothing the server takes is not offered; the server then says what it needs.
        self.certified.as_ref().filter(|certified| can_sign(&*certified.key, offered, None)).cloned()
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }

    fn only_raw_public_keys(&self) -> bool {
        self.raw
    }
}

impl SigningKey for RestrictedKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let signer = choose(&*self.inner, offered, self.allowed.as_deref())?;
        if let Some(witness) = &self.witness {
            witness.note_scheme(signer.scheme());
        }
        Some(signer)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.inner.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.inner.algorithm()
    }
}

impl fmt::Debug for RestrictedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestrictedKey").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

fn choose(
    key: &dyn SigningKey,
    offered: &[SignatureScheme],
    allowed: Option<&[SignatureScheme]>,
) -> Option<Box<dyn Signer>> {
    match allowed {
        None => key.choose_scheme(offered),
        Some(allowed) => {
            let both: Vec<_> = offered.iter().copied().filter(|scheme| allowed.contains(scheme)).collect();
            key.choose_scheme(&both)
        }
    }
}
