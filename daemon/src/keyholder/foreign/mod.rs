//! Keys that somebody else has: an ssh-agent, or one of our own processes with a token, which speaks as one.
//!
//! ```text
//!  connection of a worker ─▶ keyholder ─▶ Foreign ─▶ Signer ─▶ Pool ─▶ Stream ─▶ agent, or `tlsifyd: token NAME`
//!     (a thread)             may it?                  │ Backoff            ▲
//!                                                     │ verifies           │ a descriptor
//!                                                     └─ Opener ──── the supervisor (has the paths; this process has none)
//! ```
//!
//! A call takes its signer's deadline at most, all waiting included, on the thread that asks: nobody else waits for it. What
//! the signer answers is not believed: a message is bounded and parsed into types, and a signature goes on only if it
//! verifies with the public half that was asked for. One faulty signature of RSA gives the key away to whoever sees it.
//!
//! Whether a key may sign what is to be signed was decided before anybody comes here.

mod backoff;
mod opener;
mod pool;
mod signer;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::io::agent::wire::{KeyKind, Reason, kind_of_blob};
pub(crate) use opener::Opener;
#[cfg(test)]
pub(crate) use opener::Shut;
use signer::Signer;

/// Why there is no signature, with a sentence for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct NotSigned {
    /// As the keyholder says it on.
    pub(crate) reason: Reason,
    /// Names the signer; no secrets.
    pub(crate) text: String,
}

/// All signers that a key was ever said to be with. Shared by all threads.
#[derive(Debug)]
pub struct Foreign {
    opener: Arc<dyn Opener>,
    signers: Mutex<HashMap<String, Arc<Signer>>>,
}

impl Foreign {
    /// Nobody yet; connections are made by `opener`.
    pub(crate) fn new(opener: Arc<dyn Opener>) -> Self {
        Self { opener, signers: Mutex::default() }
    }

    /// A key is with this signer. Learns what the configuration says now of the signer, whom nobody asks yet: it need not
    /// be there.
    ///
    /// # Errors
    /// There is no such signer, or it cannot sign with such a key as TLS wants it.
    pub(crate) fn expect(&self, name: &str, blob: &[u8]) -> Result<(), NotSigned> {
        let not = |reason, text| Err(NotSigned { reason, text });
        let Some(about) = self.opener.about(name) else {
            return not(Reason::Unsupported, format!("there is no signer \"{name}\""));
        };
        match kind_of_blob(blob) {
            Ok(KeyKind::Rsa) if !about.token => {
                return not(Reason::KeyInvalid, rsa_at_an_agent(name));
            }
            Ok(_) => {}
            Err(error) => return not(Reason::KeyInvalid, format!("a key at signer \"{name}\": {error}")),
        }
        let mut signers = self.signers.lock().unwrap_or_else(PoisonError::into_inner);
        match signers.get(name) {
            Some(signer) => signer.update(about),
            None => {
                let signer = Signer::new(name.to_owned(), about, Arc::clone(&self.opener));
                signers.insert(name.to_owned(), Arc::new(signer));
            }
        }
        Ok(())
    }

    /// Signs `message` with the key `blob` and IANA's signature scheme `scheme`, as TLS has signatures. Waits for the
    /// signer's deadline at most.
    ///
    /// # Errors
    /// [`NotSigned`], with one of the reasons that name signers.
    pub(crate) fn sign(
        &self,
        name: &str,
        blob: &[u8],
        scheme: u16,
        message: &[u8],
    ) -> Result<Vec<u8>, NotSigned> {
        let signer = self.signers.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match signer {
            Some(signer) => signer.sign(blob, scheme, message),
            None => {
                Err(NotSigned { reason: Reason::SignerAway, text: format!("there is no signer \"{name}\"") })
            }
        }
    }
}

/// Why an RSA key cannot be with an agent.
pub(crate) fn rsa_at_an_agent(name: &str) -> String {
    format!(
        "signer \"{name}\" is an agent, and agents do not sign with RSA as TLS 1.3 wants it (RSASSA-PSS): use an ECDSA or \
         Ed25519 key there, or a token (\"pkcs11\")"
    )
}
