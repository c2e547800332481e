//! What the keys that a configuration names become, in each of the processes that load it.
//!
//! ```text
//!  key = "shop.key" ─▶ InProcess ──── reads the file: the key is here           single process, `tlsifyd check`
//!                 └──▶ ToKeyholder ── opens the file, looks at owner and mode, and passes the descriptor on
//!                        │ KeyDoor         the supervisor never reads it, and gets the public half back
//!                        ▼
//!                     Gathered ─▶ FromRecord ── the public half, and a signatory        worker
//! ```
//!
//! Where `certificate` is the same file as `key`, both go this way: what is no key in it comes back, and that is what the
//! record has. A key in any other file is wiped while the file is read ([`crate::tls::without_keys`]).
//!
//! A key that the keyholder has already (`spki-sha256:…`, by ssh-add) and one of a `[[signer]]` are known by the
//! certificate that they belong to: in every process they are a public half and somebody who signs.

mod door;
mod from_record;
mod in_process;
#[cfg(test)]
mod tests;
mod to_keyholder;
mod uses;

use std::path::Path;
use std::sync::Arc;

use tlsify_protocol::value::{Pin as PinText, Value};

use crate::config::{self, IdentityKey, Signer, SignerPlace};
use crate::keyholder::foreign::rsa_at_an_agent;
use crate::tls::{PrivateKey, PublicKey, Signatory, Unsigned, Uses, public_of_chain};

pub use door::Door;
pub use from_record::{FromRecord, Nobodys, Signatories};
pub use in_process::InProcess;
pub use to_keyholder::{KeyDoor, NewKeys, OperatorKeys, PublicHalf, ToKeyholder};
pub(super) use uses::UsesOfAll;

/// Where the loader gets the keys of identities from.
pub trait KeySource {
    /// The key that is wanted.
    ///
    /// # Errors
    /// A sentence with the file or name that cannot be used.
    fn key(&mut self, wanted: Wanted<'_>) -> Result<PrivateKey, String>;

    /// What a file has beside the private key in it: of that only the frame is left.
    ///
    /// # Errors
    /// As [`KeySource::key`].
    fn certificates(&mut self, path: &Path) -> Result<Vec<u8>, String>;
}

/// The key of an identity.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The identity.
    pub identity: &'a config::Identity,
    /// The content of its certificate file; `None` for a raw public key.
    pub chain: Option<&'a [u8]>,
    /// What the key is used for by all profiles together that name it.
    pub uses: Uses,
    /// The `[[signer]]` that has it, for a key of one.
    pub signer: Option<&'a Signer>,
}

/// How a key is called in sentences: its path, its hash, or its signer.
pub(super) fn shown(key: &IdentityKey) -> String {
    match key {
        IdentityKey::File(path) => path.display().to_string(),
        IdentityKey::Held(hash) => hash.clone(),
        IdentityKey::Signer(name) => format!("signer \"{name}\""),
    }
}

/// The public half of a key that is known by its certificate; for a file's there is none before somebody has read it.
fn public_of(Wanted { identity, chain, signer, .. }: Wanted<'_>) -> Result<PublicKey, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", shown(&identity.key));
    let hash = match &identity.key {
        IdentityKey::Held(text) => match PinText::read(text) {
            Some(PinText::Spki(hash)) => Some(hash.0),
            _ => {
                let why = "this is no hash of a key, expected spki-sha256: and the base64 of 32 bytes";
                return Err(wrong(&why));
            }
        },
        _ => None,
    };
    let Some(chain) = chain else {
        return Err(wrong(&"a raw public key has to be known before it is there, name its file"));
    };
    let public =
        public_of_chain(chain, hash).map_err(|error| match (error.about(), &identity.certificate) {
            ("certificate", Some(path)) => format!("{}: {error}", path.display()),
            ("key", Some(path)) => {
                wrong(&format!("{error}, tlsifyd pin {} says which one does", path.display()))
            }
            _ => wrong(&error),
        })?;
    match signer {
        Some(Signer { name, place: SignerPlace::Agent(_), .. }) if public.schemes().contains(&RSA_PSS) => {
            Err(rsa_at_an_agent(name))
        }
        _ => Ok(public),
    }
}

/// rsa_pss_rsae_sha256 in the IANA registry "TLS SignatureScheme".
const RSA_PSS: u16 = 0x0804;

/// Where nobody is asked: a process that loads keys and serves no session.
#[derive(Debug)]
struct Nobody;

impl Signatory for Nobody {
    fn sign(&self, _public: &PublicKey, _scheme: u16, _message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        Err(Unsigned::KeyholderAway)
    }

    fn may_wait(&self) -> bool {
        false
    }
}

/// A key that this process only has to know about.
fn known_only(public: PublicKey) -> PrivateKey {
    PrivateKey::Away { public, signatory: Arc::new(Nobody) }
}
