//! What an agent is asked (RFC 9987 section 4).

use std::fmt;

use zeroize::Zeroizing;

use super::parts::{Put, Rest, framed};
use super::{Extension, SecretKey, WireError};

/// SSH_AGENT_RSA_SHA2_256: an RSA signature with SHA-256.
pub const RSA_SHA2_256: u32 = 2;
/// SSH_AGENT_RSA_SHA2_512: an RSA signature with SHA-512.
pub const RSA_SHA2_512: u32 = 4;

const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
const ADD_IDENTITY: u8 = 17;
const REMOVE_IDENTITY: u8 = 18;
const REMOVE_ALL_IDENTITIES: u8 = 19;
const LOCK: u8 = 22;
const UNLOCK: u8 = 23;
const ADD_ID_CONSTRAINED: u8 = 25;
const EXTENSION: u8 = 27;

const CONSTRAIN_LIFETIME: u8 = 1;
const CONSTRAIN_CONFIRM: u8 = 2;

/// Characters of a comment that are kept. OpenSSH's is a path or `user@host`.
pub(super) const MAX_COMMENT: usize = 1024;

/// A request. Borrows from the message; `Debug` has the kind alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which keys there are.
    Identities,
    /// Sign.
    Sign {
        /// The public key, as SSH writes it.
        blob: &'a [u8],
        /// What to sign.
        data: &'a [u8],
        /// [`RSA_SHA2_256`], [`RSA_SHA2_512`]; others have no meaning and are left to the receiver.
        flags: u32,
    },
    /// Add a key.
    Add {
        /// The key.
        key: SecretKey<'a>,
        /// What people call it; any bytes.
        comment: &'a [u8],
        /// Seconds until it is forgotten.
        life: Option<u32>,
        /// Whether somebody has to confirm each use.
        confirm: bool,
        /// Whether there is a constraint beside these two, as OpenSSH's for destinations.
        other: bool,
    },
    /// Forget this key.
    Remove {
        /// The public key, as SSH writes it.
        blob: &'a [u8],
    },
    /// Forget all keys.
    RemoveAll,
    /// Do nothing from now on but unlock with this passphrase.
    Lock(&'a [u8]),
    /// Unlock.
    Unlock(&'a [u8]),
    /// An extension.
    Extension(Extension<'a>),
    /// A kind that is not known, as those for smart cards.
    Other(u8),
}

impl<'a> Request<'a> {
    /// Reads a message without its length.
    ///
    /// # Errors
    /// [`WireError`]: an agent answers SSH_AGENT_FAILURE and goes on.
    pub fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = Rest::new(body, "a request");
        let request = match rest.byte()? {
            REQUEST_IDENTITIES => Self::Identities,
            SIGN_REQUEST => Self::Sign { blob: rest.string()?, data: rest.string()?, flags: rest.number()? },
            ADD_IDENTITY => return add(rest, false),
            ADD_ID_CONSTRAINED => return add(rest, true),
            REMOVE_IDENTITY => Self::Remove { blob: rest.string()? },
            REMOVE_ALL_IDENTITIES => Self::RemoveAll,
            LOCK => Self::Lock(rest.string()?),
            UNLOCK => Self::Unlock(rest.string()?),
            EXTENSION => return Extension::parse(rest).map(Self::Extension),
            other => return Ok(Self::Other(other)),
        };
        rest.end()?;
        Ok(request)
    }

    /// The message, behind its length; wiped when dropped.
    ///
    /// # Errors
    /// [`WireError::Length`] when it is too long to be sent.
    pub fn framed(&self) -> Result<Zeroizing<Vec<u8>>, WireError> {
        framed(|out| self.put(out))
    }

    fn put(&self, out: &mut dyn Put) -> ssh_encoding::Result<()> {
        match self {
            Self::Identities => out.byte(REQUEST_IDENTITIES),
            Self::Sign { blob, data, flags } => {
                out.byte(SIGN_REQUEST)?;
                out.string(blob)?;
                out.string(data)?;
                out.number(*flags)
            }
            Self::Add { key, comment, life, confirm, .. } => {
                let constrained = life.is_some() || *confirm;
                out.byte(if constrained { ADD_ID_CONSTRAINED } else { ADD_IDENTITY })?;
                key.put(out)?;
                out.string(comment)?;
                if let Some(life) = life {
                    out.byte(CONSTRAIN_LIFETIME)?;
                    out.number(*life)?;
                }
                if *confirm {
                    out.byte(CONSTRAIN_CONFIRM)?;
                }
                Ok(())
            }
            Self::Remove { blob } => {
                out.byte(REMOVE_IDENTITY)?;
                out.string(blob)
            }
            Self::RemoveAll => out.byte(REMOVE_ALL_IDENTITIES),
            Self::Lock(passphrase) => {
                out.byte(LOCK)?;
                out.string(passphrase)
            }
            Self::Unlock(passphrase) => {
                out.byte(UNLOCK)?;
                out.string(passphrase)
            }
            Self::Extension(extension) => {
                out.byte(EXTENSION)?;
                extension.put(out)
            }
            Self::Other(kind) => out.byte(*kind),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Identities => "Identities",
            Self::Sign { .. } => "Sign",
            Self::Add { .. } => "Add",
            Self::Remove { .. } => "Remove",
            Self::RemoveAll => "RemoveAll",
            Self::Lock(_) => "Lock",
            Self::Unlock(_) => "Unlock",
            Self::Extension(_) => "Extension",
            Self::Other(_) => "Other",
        }
    }
}

fn add<'a>(mut rest: Rest<'a>, constrained: bool) -> Result<Request<'a>, WireError> {
    let key = SecretKey::parse(&mut rest)?;
    if key == SecretKey::Other {
        // Where its comment begins is known to who knows the kind.
        return Ok(Request::Add { key, comment: b"", life: None, confirm: false, other: true });
    }
    let comment = rest.string()?;
    if comment.len() > MAX_COMMENT {
        return Err(WireError::Nonsense("a comment"));
    }
    let (mut life, mut confirm, mut other) = (None, false, false);
    while constrained && !rest.is_empty() {
        match rest.byte()? {
            CONSTRAIN_LIFETIME => life = Some(rest.number()?),
            CONSTRAIN_CONFIRM => confirm = true,
            _ => {
                // What a constraint asks that is not known cannot be promised, nor where it ends be seen.
                other = true;
                rest = Rest::new(&[], "a request");
            }
        }
    }
    rest.end()?;
    Ok(Request::Add { key, comment, life, confirm, other })
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.name()).finish_non_exhaustive()
    }
}
