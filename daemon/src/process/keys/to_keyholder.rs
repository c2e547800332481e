//! The operator's keys on their way from their files to the keyholder, without being read here.
//!
//! ```text
//!  load ─▶ ToKeyholder ── add, add, … ─▶ NewKeys ─┬─ the worker has accepted ─▶ replace ─▶ the old set: discard, soon
//!            └─ fails ─▶ forget what was added     └─ it has not ─────────────▶ discard: the old set stays
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::{KeySource, Wanted, known_only, public_of};
use crate::config::IdentityKey;
use crate::process::files;
use crate::tls::{PrivateKey, PublicKey, Uses};

/// The way to the keyholder, as the supervisor has it.
pub trait KeyDoor {
    /// Has the keyholder read the key in this file, and keep it until it is forgotten by its handle. `what` is the file's
    /// path, for logs and listings.
    ///
    /// # Errors
    /// A sentence without the path: what is wrong with the key, or that the keyholder cannot be reached.
    fn add(&mut self, key: OwnedFd, uses: Uses, what: &Path) -> Result<PublicHalf, String>;

    /// Has the keyholder read what is beside the key in this file: of the key only the frame is left. `what` is its path.
    ///
    /// # Errors
    /// As [`KeyDoor::add`].
    fn certificates(&mut self, file: OwnedFd, what: &Path) -> Result<Vec<u8>, String>;

    /// Has the keyholder ask the `[[signer]]` of this name for this key's signatures, until it is forgotten.
    ///
    /// # Errors
    /// As [`KeyDoor::add`].
    fn add_foreign(&mut self, signer: &str, public: &PublicKey, uses: Uses) -> Result<u64, String>;

    /// Forgets what was added under this handle. A keyholder that is gone has forgotten it.
    fn forget(&mut self, handle: u64);
}

/// What the keyholder says of a key that it has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicHalf {
    /// To forget it by: one for each time that it was added.
    pub handle: u64,
    /// SubjectPublicKeyInfo in DER.
    pub spki_der: Vec<u8>,
}

/// The keys that profiles in use name.
#[derive(Debug, Default)]
pub struct OperatorKeys(Vec<Added>);

/// The keys of a configuration that is not in use yet, or no more. To be given to [`OperatorKeys::replace`] or
/// [`OperatorKeys::discard`]; until then the keyholder has them.
#[derive(Debug)]
#[must_use = "the keyholder keeps these keys until they are discarded"]
pub struct NewKeys(Vec<Added>);

#[derive(Debug)]
struct Added {
    /// `None`: a keyholder that was started again did not get it.
    handle: Option<u64>,
    what: What,
    uses: Uses,
    public: PublicKey,
}

#[derive(Debug)]
enum What {
    File(PathBuf),
    Foreign(String),
}

impl OperatorKeys {
    /// These are the keys in use now. Returned are those that were: to be discarded when no handshake needs them any more. A
    /// key of both stays: the keyholder counts.
    #[must_use = "the keyholder keeps these keys until they are discarded"]
    pub fn replace(&mut self, new: NewKeys) -> NewKeys {
        NewKeys(std::mem::replace(&mut self.0, new.0))
    }

    /// Forgets keys that are not used, or no more.
    pub fn discard(door: &mut dyn KeyDoor, keys: NewKeys) {
        forget(door, &keys.0);
    }

    /// Gives all keys in use to a keyholder that has none: it was started again. Returns a sentence for each that it does
    /// not have now; handshakes with those fail until the next load.
    pub fn add_all_again(&mut self, door: &mut dyn KeyDoor) -> Vec<String> {
        self.0.iter_mut().filter_map(|added| added.again(door).err()).collect()
    }
}

impl NewKeys {
    /// None at all: the keyholder has no part in it.
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// The path and the SubjectPublicKeyInfo in DER of each file's key, for the record.
    pub fn public_halves(&self) -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
        self.0.iter().filter_map(|added| match &added.what {
            What::File(path) => Some((path.clone(), added.public.spki_der.to_vec())),
            What::Foreign(_) => None,
        })
    }
}

impl Added {
    fn again(&mut self, door: &mut dyn KeyDoor) -> Result<(), String> {
        self.handle = None;
        let path = match &self.what {
            What::File(path) => path,
            What::Foreign(signer) => {
                let handle = door.add_foreign(signer, &self.public, self.uses);
                self.handle = Some(handle.map_err(|why| format!("signer \"{signer}\": {why}"))?);
                return Ok(());
            }
        };
        let (handle, public) = add(door, path, self.uses)?;
        if public == self.public {
            self.handle = Some(handle);
            return Ok(());
        }
        // The profiles in use show the other one: this one has no business there before a reload.
        door.forget(handle);
        Err(format!("{} holds another key than when it was loaded, reload to use it", path.display()))
    }
}

fn forget(door: &mut dyn KeyDoor, keys: &[Added]) {
    keys.iter().filter_map(|added| added.handle).for_each(|handle| door.forget(handle));
}

fn add(door: &mut dyn KeyDoor, path: &Path, uses: Uses) -> Result<(u64, PublicKey), String> {
    let file: File = files::open_key(path)?;
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let PublicHalf { handle, spki_der } = door.add(file.into(), uses, path).map_err(|why| wrong(&why))?;
    match PublicKey::from_spki_der(&spki_der) {
        Ok(public) => Ok((handle, public)),
        Err(error) => {
            door.forget(handle);
            Err(wrong(&error))
        }
    }
}

/// The loader's keys, given to the keyholder one by one.
pub struct ToKeyholder<'a> {
    door: &'a mut dyn KeyDoor,
    added: Vec<Added>,
    /// Where in `added` a file's key is: profiles share keys.
    files: HashMap<PathBuf, usize>,
}

impl<'a> ToKeyholder<'a> {
    /// Begins with no key.
    pub fn new(door: &'a mut dyn KeyDoor) -> Self {
        Self { door, added: Vec::new(), files: HashMap::new() }
    }

    /// What was added, after all of the configuration was loaded. Without this, it is forgotten.
    pub fn done(mut self) -> NewKeys {
        NewKeys(std::mem::take(&mut self.added))
    }
}

impl KeySource for ToKeyholder<'_> {
    fn certificates(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        let file = files::open_key(path)?;
        self.door.certificates(file.into(), path).map_err(|why| format!("{}: {why}", path.display()))
    }

    fn key(&mut self, wanted: Wanted<'_>) -> Result<PrivateKey, String> {
        let uses = wanted.uses;
        let (what, handle, public) = match &wanted.identity.key {
            IdentityKey::File(path) => {
                if let Some(at) = self.files.get(path) {
                    return Ok(known_only(self.added[*at].public.clone()));
                }
                let (handle, public) = add(self.door, path, uses)?;
                self.files.insert(path.clone(), self.added.len());
                (What::File(path.clone()), handle, public)
            }
            // Whoever brings it by ssh-add says what it may be used for.
            IdentityKey::Held(_) => return public_of(wanted).map(known_only),
            IdentityKey::Signer(name) => {
                let public = public_of(wanted)?;
                let handle = self.door.add_foreign(name, &public, uses);
                let handle = handle.map_err(|why| format!("signer \"{name}\": {why}"))?;
                (What::Foreign(name.clone()), handle, public)
            }
        };
        self.added.push(Added { handle: Some(handle), what, uses, public: public.clone() });
        Ok(known_only(public))
    }
}

impl Drop for ToKeyholder<'_> {
    fn drop(&mut self) {
        forget(self.door, &self.added);
    }
}

impl std::fmt::Debug for ToKeyholder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToKeyholder").field("added", &self.added).finish_non_exhaustive()
    }
}
