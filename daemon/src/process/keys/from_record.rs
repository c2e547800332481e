//! Keys that are elsewhere, as the worker knows them.

use std::path::Path;
use std::sync::Arc;

use super::{KeySource, Wanted, known_only, public_of, shown};
use crate::config::{IdentityKey, Signer};
use crate::io::agent::Keyholder;
use crate::process::gather::{Gathered, missing};
use crate::tls::{IdentityError, PrivateKey, PublicKey};

/// Who signs in a worker.
pub trait Signatories {
    /// A key that the keyholder has, or will have.
    ///
    /// # Errors
    /// It is of a kind that the keyholder does not know.
    fn own(&self, public: PublicKey) -> Result<PrivateKey, IdentityError>;

    /// A key of somebody else's signer.
    ///
    /// # Errors
    /// As [`Signatories::own`].
    fn foreign(&self, public: PublicKey, signer: &Signer) -> Result<PrivateKey, IdentityError>;
}

impl Signatories for Arc<Keyholder> {
    fn own(&self, public: PublicKey) -> Result<PrivateKey, IdentityError> {
        Keyholder::own(self, public)
    }

    fn foreign(&self, public: PublicKey, signer: &Signer) -> Result<PrivateKey, IdentityError> {
        Keyholder::foreign(self, public, &signer.name, signer.deadline)
    }
}

/// Where keys only have to be known about.
#[derive(Clone, Copy, Debug)]
pub struct Nobodys;

impl Signatories for Nobodys {
    fn own(&self, public: PublicKey) -> Result<PrivateKey, IdentityError> {
        Ok(known_only(public))
    }

    fn foreign(&self, public: PublicKey, _signer: &Signer) -> Result<PrivateKey, IdentityError> {
        Ok(known_only(public))
    }
}

/// Public halves from the record, and who is asked for signatures.
pub struct FromRecord<'a> {
    record: &'a Gathered,
    signatories: &'a dyn Signatories,
}

impl<'a> FromRecord<'a> {
    /// The keys of this record, with which these sign.
    pub fn new(record: &'a Gathered, signatories: &'a dyn Signatories) -> Self {
        Self { record, signatories }
    }
}

impl KeySource for FromRecord<'_> {
    fn certificates(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        // They are in the record, among the files.
        Err(missing(path.display()))
    }

    fn key(&mut self, wanted: Wanted<'_>) -> Result<PrivateKey, String> {
        let key = match (&wanted.identity.key, wanted.signer) {
            (IdentityKey::File(path), _) => {
                let spki = self.record.public_half(path).ok_or_else(|| missing(path.display()))?;
                PublicKey::from_spki_der(spki).and_then(|public| self.signatories.own(public))
            }
            (IdentityKey::Held(_), _) => self.signatories.own(public_of(wanted)?),
            (IdentityKey::Signer(_), Some(signer)) => self.signatories.foreign(public_of(wanted)?, signer),
            (IdentityKey::Signer(name), None) => return Err(missing(format_args!("signer \"{name}\""))),
        };
        key.map_err(|error| format!("{}: {error}", shown(&wanted.identity.key)))
    }
}

impl std::fmt::Debug for FromRecord<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromRecord").finish_non_exhaustive()
    }
}
