//! Where callers' private keys go: into a process of their own, or, where there is none, into this one.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tlsify_protocol::{Code, MAX_IDENTITY_FILE};

use super::refusal::Refusal;
use crate::io::agent::{Keyholder, NotTaken};
use crate::io::{DescriptorError, check_file, read_public, read_regular};
use crate::policy::CallerCred;
use crate::tls::{IdentityError, PrivateKey, Uses};

/// Who takes the private keys that callers give by descriptor.
pub trait Keys: Send + Sync {
    /// Takes the key in a file of `owner`'s, for these uses. May wait for the file's disk. What is returned, with its
    /// clones, is all that keeps the key.
    ///
    /// # Errors
    /// [`KeyRefused`].
    fn take(&self, fd: OwnedFd, uses: Uses, owner: &CallerCred) -> Result<PrivateKey, KeyRefused>;

    /// What the file of a key has beside the key, which is for no other process than the key itself: certificates. May wait
    /// for the file's disk.
    ///
    /// # Errors
    /// [`KeyRefused`].
    fn certificates(&self, fd: &OwnedFd) -> Result<Vec<u8>, KeyRefused>;

    /// Called on each worker's thread at its start: it will ask for many signatures.
    fn settle_here(&self) {}
}

/// Why a caller's key was not taken.
#[derive(Debug, thiserror::Error)]
pub enum KeyRefused {
    /// The descriptor is of the wrong kind, or cannot be read.
    #[error("the descriptor \"key\" {0}")]
    Descriptor(#[from] DescriptorError),
    /// What is in it is not a key of ours.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// The keyholder did not take it.
    #[error("{}", not_taken(.0))]
    NotTaken(NotTaken),
}

/// Keys stay in this process: for debugging, for demonstrations, and where nobody else's are.
#[derive(Clone, Copy, Debug)]
pub struct KeysHere;

impl Keys for KeysHere {
    fn take(&self, fd: OwnedFd, _: Uses, _: &CallerCred) -> Result<PrivateKey, KeyRefused> {
        let text = read_regular(&fd, MAX_IDENTITY_FILE)?;
        Ok(PrivateKey::from_pem(&text)?)
    }

    fn certificates(&self, fd: &OwnedFd) -> Result<Vec<u8>, KeyRefused> {
        Ok(read_public(fd, MAX_IDENTITY_FILE)?.0)
    }
}

/// Keys never come into this process: the file goes to the keyholder as it is.
impl Keys for Arc<Keyholder> {
    fn take(&self, fd: OwnedFd, uses: Uses, owner: &CallerCred) -> Result<PrivateKey, KeyRefused> {
        check_file(&fd, MAX_IDENTITY_FILE)?;
        let purpose = format!("given by uid {} pid {}", owner.uid, owner.pid);
        self.add_descriptor(fd.as_fd(), uses, &purpose).map_err(KeyRefused::NotTaken)
    }

    fn certificates(&self, fd: &OwnedFd) -> Result<Vec<u8>, KeyRefused> {
        check_file(fd, MAX_IDENTITY_FILE)?;
        Keyholder::certificates(self, fd.as_fd()).map_err(KeyRefused::NotTaken)
    }

    fn settle_here(&self) {
        Keyholder::settle_here(self);
    }
}

fn not_taken(why: &NotTaken) -> String {
    match why {
        NotTaken::Away => "the process that holds the private keys does not answer, try again".to_owned(),
        NotTaken::Locked => "the keyholder is locked, and takes no key before it is unlocked".to_owned(),
        NotTaken::Full => "the keyholder has as many keys as it may have".to_owned(),
        NotTaken::Unreadable(text) | NotTaken::Invalid(text) => text.clone(),
    }
}

impl From<KeyRefused> for Refusal {
    fn from(refused: KeyRefused) -> Self {
        let code = match &refused {
            KeyRefused::Descriptor(error) => return Self::descriptor("key", error),
            KeyRefused::Identity(error) => {
                return Self::new(error.code(), Some(error.about()), error.to_string());
            }
            KeyRefused::NotTaken(NotTaken::Away) => Code::KeyholderUnavailable,
            KeyRefused::NotTaken(NotTaken::Locked) => Code::KeyLocked,
            KeyRefused::NotTaken(NotTaken::Full) => Code::Quota,
            KeyRefused::NotTaken(NotTaken::Unreadable(_)) => Code::DescriptorUnreadable,
            KeyRefused::NotTaken(NotTaken::Invalid(_)) => Code::KeyInvalid,
        };
        Self::new(code, Some("key"), refused.to_string())
    }
}
