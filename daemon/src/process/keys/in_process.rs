//! Keys in this process.

use std::path::Path;

use super::{KeySource, Wanted, known_only, public_of, shown};
use crate::config::IdentityKey;
use crate::process::files;
use crate::tls::PrivateKey;

/// Reads key files into this process.
#[derive(Clone, Copy, Debug)]
pub struct InProcess {
    serves: bool,
}

impl InProcess {
    /// To serve sessions with: keys that only a keyholder could have are refused.
    #[must_use]
    pub const fn to_serve() -> Self {
        Self { serves: true }
    }

    /// To see whether they can be used: nobody will sign with them. What a keyholder or a signer would have is taken to be
    /// there.
    #[must_use]
    pub const fn to_check() -> Self {
        Self { serves: false }
    }
}

impl KeySource for InProcess {
    fn certificates(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        // The same complaints about it as about the key.
        files::open_key(path).and_then(|_| files::read_public(path, files::LARGEST_KEY))
    }

    fn key(&mut self, wanted: Wanted<'_>) -> Result<PrivateKey, String> {
        let why = match &wanted.identity.key {
            IdentityKey::File(path) => {
                let text = files::read_key(path)?;
                return PrivateKey::from_pem(&text).map_err(|error| format!("{}: {error}", path.display()));
            }
            IdentityKey::Held(_) => "there is no keyholder that could have it",
            IdentityKey::Signer(_) => "there is no keyholder to ask it",
        };
        let public = public_of(wanted)?;
        if self.serves {
            Err(format!("{}: {why}", shown(&wanted.identity.key)))
        } else {
            Ok(known_only(public))
        }
    }
}
