//! Keys that are elsewhere, as the worker knows them.

use std::sync::Arc;

use super::{KeySource, public_of};
use crate::config::{self, IdentityKey};
use crate::process::gather::{Gathered, missing};
use crate::tls::{PrivateKey, PublicKey, Signatory, Uses};

/// Public halves from the record, and who is asked for signatures.
pub struct FromRecord<'a> {
    record: &'a Gathered,
    keyholder: Arc<dyn Signatory>,
    signer: &'a dyn Fn(&str) -> Arc<dyn Signatory>,
}

impl<'a> FromRecord<'a> {
    /// `keyholder` signs with the keyholder's own keys; `signer` gives who asks the `[[signer]]` of this name.
    pub fn new(
        record: &'a Gathered,
        keyholder: Arc<dyn Signatory>,
        signer: &'a dyn Fn(&str) -> Arc<dyn Signatory>,
    ) -> Self {
        Self { record, keyholder, signer }
    }
}

impl KeySource for FromRecord<'_> {
    fn key(
        &mut self,
        identity: &config::Identity,
        chain: Option<&[u8]>,
        _uses: Uses,
    ) -> Result<PrivateKey, String> {
        let (public, signatory) = match &identity.key {
            IdentityKey::File(path) => {
                let spki = self.record.public_half(path).ok_or_else(|| missing(path.display()))?;
                let public = PublicKey::from_spki_der(spki);
                let public = public.map_err(|error| format!("{}: {error}", path.display()))?;
                (public, Arc::clone(&self.keyholder))
            }
            IdentityKey::Held(_) => (public_of(identity, chain)?, Arc::clone(&self.keyholder)),
            IdentityKey::Signer(name) => (public_of(identity, chain)?, (self.signer)(name)),
        };
        Ok(PrivateKey::Away { public, signatory })
    }
}

impl std::fmt::Debug for FromRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromRecord").finish_non_exhaustive()
    }
}
