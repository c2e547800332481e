//! What of a configuration is for whom, where each user has a worker of its own: it gets the profiles that it may use, and
//! the keyholder signs for it with their keys and no others.
//!
//! ```text
//!  loader ─▶ Noting ─▶ Permits ─ of(caller) ─▶ Permitted { profiles, pins }
//!                         whole record ─ record_for(profiles) ─▶ a record with what these profiles name, and nothing else
//! ```

use std::collections::{BTreeSet, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::gather::{Gathered, Record, Recording};
use super::keys::{FromRecord, KeySource, Nobodys, Wanted};
use super::operator::Loaded;
use crate::config::{Config, Identity, IdentityKey};
use crate::policy::{CallerCred, Grant};
use crate::tls::PrivateKey;

/// SHA-256 of a key's SubjectPublicKeyInfo.
pub(super) type Pin = [u8; 32];

/// The profiles of a configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Permits(Vec<Permit>);

#[derive(Clone, Debug)]
struct Permit {
    profile: String,
    grant: Grant,
    pins: Vec<Pin>,
}

/// What one caller may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Permitted {
    /// Names of profiles.
    pub(super) profiles: BTreeSet<String>,
    /// Their keys.
    pub(super) pins: BTreeSet<Pin>,
}

impl Permits {
    /// What this caller may use.
    pub(super) fn of(&self, caller: &CallerCred) -> Permitted {
        let mut permitted = Permitted::default();
        for permit in self.0.iter().filter(|permit| permit.grant.allows(caller)) {
            permitted.profiles.insert(permit.profile.clone());
            permitted.pins.extend(&permit.pins);
        }
        permitted
    }
}

/// Notes which keys the identities have, as they are loaded.
pub(super) struct Noting<'a> {
    inner: &'a mut dyn KeySource,
    pins: HashMap<(IdentityKey, Option<PathBuf>), Pin>,
}

impl<'a> Noting<'a> {
    /// Nothing is loaded yet.
    pub(super) fn new(inner: &'a mut dyn KeySource) -> Self {
        Self { inner, pins: HashMap::new() }
    }

    /// What is for whom in what was loaded.
    pub(super) fn permits(self, loaded: &Loaded) -> Permits {
        let permit = |said: &crate::config::Profile| {
            let grant = loaded.operator.profiles.get(&said.name)?.grant.clone();
            let pins = said.identities.iter().filter_map(|identity| self.pins.get(&of(identity)).copied());
            Some(Permit { profile: said.name.clone(), grant, pins: pins.collect() })
        };
        Permits(loaded.config.profiles.iter().filter_map(permit).collect())
    }
}

impl KeySource for Noting<'_> {
    fn key(&mut self, wanted: Wanted<'_>) -> Result<PrivateKey, String> {
        let key = self.inner.key(wanted)?;
        // One without a public half is refused by who uses it.
        if let Ok(public) = key.public() {
            self.pins.insert(of(wanted.identity), public.spki_sha256);
        }
        Ok(key)
    }

    fn certificates(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        self.inner.certificates(path)
    }
}

fn of(identity: &Identity) -> (IdentityKey, Option<PathBuf>) {
    (identity.key.clone(), identity.certificate.clone())
}

/// The record of a configuration with what these profiles name, and nothing of the others but their names: no password of
/// a cache, no certificate. It is loaded anew, so that what was read for them, and only that, is in it.
///
/// # Errors
/// A sentence: the record makes no sense, or cannot be made.
pub(super) fn record_for(profiles: &BTreeSet<String>, whole: &OwnedFd) -> Result<OwnedFd, String> {
    let whole = whole.try_clone().map_err(|error| error.to_string())?;
    let whole = Gathered::unseal(whole).map_err(|error| error.to_string())?;
    let place = whole.place().ok_or("the configuration has no place")?;
    let part = Recording::new(Record(&whole), Some(&place));
    let mut keys = FromRecord::new(&whole, &Nobodys);
    let loaded = Loaded::load_only(&place, Some(profiles), &part, &mut keys);
    let loaded = loaded.map_err(|error| error.to_string())?;
    let halves: Vec<_> = files(&loaded.config)
        .filter_map(|path| Some((path.clone(), whole.public_half(path)?.to_vec())))
        .collect();
    part.gathered(halves).seal().map_err(|error| error.to_string())
}

/// The key files that a configuration names.
fn files(config: &Config) -> impl Iterator<Item = &PathBuf> {
    let identities = config.profiles.iter().flat_map(|profile| &profile.identities);
    identities.filter_map(|identity| match &identity.key {
        IdentityKey::File(path) => Some(path),
        IdentityKey::Held(_) | IdentityKey::Signer(_) => None,
    })
}

#[cfg(test)]
#[path = "permits_tests.rs"]
mod tests;
