//! Our extensions: see the module's table.

use super::WireError;
use super::parts::{Put, Rest};

const QUERY: &str = "query";
const RSA_PSS: &str = "rsa-pss@tlsifyd";
const ADD_DESCRIPTOR: &str = "add-descriptor@tlsifyd";
const ADD_FOREIGN: &str = "add-foreign@tlsifyd";
const FORGET: &str = "forget@tlsifyd";
const LAST_FAILURE: &str = "last-failure@tlsifyd";
const CORE: &str = "core@tlsifyd";

/// Bytes of a name or a purpose at most, and of the text of a failure.
const MAX_TEXT: usize = 256;
const MAX_FAILURE: usize = 4096;

pub use crate::tls::Uses;

/// An extension that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extension<'a> {
    /// Which extensions there are.
    Query,
    /// A signature by RSASSA-PSS, which SSH has not.
    RsaPss {
        /// The public key, as SSH writes it.
        blob: &'a [u8],
        /// IANA's number of the signature scheme.
        scheme: u16,
        /// What to sign.
        message: &'a [u8],
    },
    /// A key from the file whose descriptor comes along.
    AddDescriptor {
        /// What it may sign.
        uses: Uses,
        /// Seconds until it is forgotten.
        life: Option<u32>,
        /// Whose key it is, for people.
        purpose: &'a str,
    },
    /// A key that somebody else's agent has.
    AddForeign {
        /// The operator's name for the agent.
        signer: &'a str,
        /// The public half.
        spki: &'a [u8],
        /// What it may sign.
        uses: Uses,
        /// Whose key it is, for people.
        purpose: &'a str,
    },
    /// Forget what was added under this number.
    Forget {
        /// As it was answered.
        handle: u64,
    },
    /// Why the last request of this connection was refused.
    LastFailure,
    /// Who asks on this connection runs on this core, and waits for its answers.
    Core {
        /// As the kernel counts them, from 0.
        core: u32,
    },
    /// Another, as `session-bind@openssh.com`.
    Other(&'a str),
}

impl<'a> Extension<'a> {
    pub(super) fn parse(mut rest: Rest<'a>) -> Result<Self, WireError> {
        let extension = match rest.text(MAX_TEXT)? {
            QUERY => Self::Query,
            RSA_PSS => Self::RsaPss { blob: rest.string()?, scheme: rest.short()?, message: rest.string()? },
            ADD_DESCRIPTOR => Self::AddDescriptor {
                uses: uses(&mut rest)?,
                life: Some(rest.number()?).filter(|life| *life != 0),
                purpose: rest.text(MAX_TEXT)?,
            },
            ADD_FOREIGN => Self::AddForeign {
                signer: rest.text(MAX_TEXT)?,
                spki: rest.string()?,
                uses: uses(&mut rest)?,
                purpose: rest.text(MAX_TEXT)?,
            },
            FORGET => Self::Forget { handle: rest.long()? },
            LAST_FAILURE => Self::LastFailure,
            CORE => Self::Core { core: rest.number()? },
            other => return Ok(Self::Other(other)),
        };
        rest.end()?;
        Ok(extension)
    }

    pub(super) fn put(&self, out: &mut dyn Put) -> ssh_encoding::Result<()> {
        out.string(self.name().as_bytes())?;
        match self {
            Self::Query | Self::LastFailure | Self::Other(_) => Ok(()),
            Self::RsaPss { blob, scheme, message } => {
                out.string(blob)?;
                out.raw(&scheme.to_be_bytes())?;
                out.string(message)
            }
            Self::AddDescriptor { uses, life, purpose } => {
                out.byte(uses.bits())?;
                out.number(life.unwrap_or(0))?;
                out.string(purpose.as_bytes())
            }
            Self::AddForeign { signer, spki, uses, purpose } => {
                out.string(signer.as_bytes())?;
                out.string(spki)?;
                out.byte(uses.bits())?;
                out.string(purpose.as_bytes())
            }
            Self::Forget { handle } => out.long(*handle),
            Self::Core { core } => out.number(*core),
        }
    }

    /// Its name, as it stands in the message.
    #[must_use]
    pub fn name(&self) -> &'a str {
        match self {
            Self::Query => QUERY,
            Self::RsaPss { .. } => RSA_PSS,
            Self::AddDescriptor { .. } => ADD_DESCRIPTOR,
            Self::AddForeign { .. } => ADD_FOREIGN,
            Self::Forget { .. } => FORGET,
            Self::LastFailure => LAST_FAILURE,
            Self::Core { .. } => CORE,
            Self::Other(name) => name,
        }
    }
}

fn uses(rest: &mut Rest<'_>) -> Result<Uses, WireError> {
    Uses::from_bits(rest.byte()?).ok_or(WireError::Nonsense("what a key may sign"))
}

/// What an extension answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The names of all extensions.
    Query(Vec<&'a str>),
    /// The signature, as TLS has it.
    RsaPss(&'a [u8]),
    /// The key was taken from its file.
    Added {
        /// To forget it by.
        handle: u64,
        /// The public key, as SSH writes it.
        blob: &'a [u8],
        /// And as X.509 does.
        spki: &'a [u8],
    },
    /// The key is known, and where its signatures come from.
    Foreign {
        /// To forget it by.
        handle: u64,
        /// The public key, as SSH writes it.
        blob: &'a [u8],
    },
    /// Why the last request was refused.
    LastFailure(Failure<'a>),
    /// The answer to an extension that is not ours.
    Other(&'a str),
}

impl<'a> Reply<'a> {
    /// All names that the keyholder answers `query` with.
    #[must_use]
    pub fn ours() -> Self {
        Self::Query(vec![QUERY, RSA_PSS, ADD_DESCRIPTOR, ADD_FOREIGN, FORGET, LAST_FAILURE, CORE])
    }

    pub(super) fn parse(mut rest: Rest<'a>) -> Result<Self, WireError> {
        let reply = match rest.text(MAX_TEXT)? {
            QUERY => {
                let mut names = Vec::new();
                while !rest.is_empty() {
                    // Nobody has more; each takes memory.
                    if names.len() == 64 {
                        return Err(WireError::Nonsense("a list of extensions"));
                    }
                    names.push(rest.text(MAX_TEXT)?);
                }
                Self::Query(names)
            }
            RSA_PSS => Self::RsaPss(rest.string()?),
            ADD_DESCRIPTOR => {
                Self::Added { handle: rest.long()?, blob: rest.string()?, spki: rest.string()? }
            }
            ADD_FOREIGN => Self::Foreign { handle: rest.long()?, blob: rest.string()? },
            LAST_FAILURE => Self::LastFailure(Failure {
                reason: Reason::from_byte(rest.byte()?),
                signer: rest.text(MAX_TEXT)?,
                text: rest.text(MAX_FAILURE)?,
            }),
            other => return Ok(Self::Other(other)),
        };
        rest.end()?;
        Ok(reply)
    }

    pub(super) fn put(&self, out: &mut dyn Put) -> ssh_encoding::Result<()> {
        out.string(self.name().as_bytes())?;
        match self {
            Self::Query(names) => names.iter().try_for_each(|name| out.string(name.as_bytes())),
            Self::RsaPss(signature) => out.string(signature),
            Self::Added { handle, blob, spki } => {
                out.long(*handle)?;
                out.string(blob)?;
                out.string(spki)
            }
            Self::Foreign { handle, blob } => {
                out.long(*handle)?;
                out.string(blob)
            }
            Self::LastFailure(Failure { reason, signer, text }) => {
                out.byte(*reason as u8)?;
                out.string(signer.as_bytes())?;
                out.string(cut(text).as_bytes())
            }
            Self::Other(_) => Ok(()),
        }
    }

    fn name(&self) -> &'a str {
        match self {
            Self::Query(_) => QUERY,
            Self::RsaPss(_) => RSA_PSS,
            Self::Added { .. } => ADD_DESCRIPTOR,
            Self::Foreign { .. } => ADD_FOREIGN,
            Self::LastFailure(_) => LAST_FAILURE,
            Self::Other(name) => name,
        }
    }
}

fn cut(text: &str) -> &str {
    let most = MAX_FAILURE.min(text.len());
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    /// Which reason.
    pub reason: Reason,
    /// The name of the signer that it is about, or empty.
    pub signer: &'a str,
    /// A sentence for a log; no secrets.
    pub text: &'a str,
}

/// The reasons. Their numbers are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Nothing was refused yet, or for a reason that is not known here.
    None = 0,
    /// The keyholder is locked.
    Locked = 1,
    /// There is no such key: forgotten, expired, or not there yet.
    Forgotten = 2,
    /// The key may not sign this.
    UseRefused = 3,
    /// The signer cannot be reached.
    SignerAway = 4,
    /// The signer did not answer in time.
    SignerSlow = 5,
    /// The signer answered that it does not sign this.
    SignerRefused = 6,
    /// The signer's token does not take the PIN; nobody tries again.
    PinRefused = 7,
    /// What is to be added is no key, or one that is not supported.
    KeyInvalid = 8,
    /// The descriptor cannot be read, or is missing.
    Unreadable = 9,
    /// There are too many keys.
    Full = 10,
    /// The request makes no sense, or asks what is not done here.
    Unsupported = 11,
}

impl Reason {
    /// From its byte; a newer keyholder's are [`Reason::None`].
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        [
            Self::Locked,
            Self::Forgotten,
            Self::UseRefused,
            Self::SignerAway,
            Self::SignerSlow,
            Self::SignerRefused,
            Self::PinRefused,
            Self::KeyInvalid,
            Self::Unreadable,
            Self::Full,
            Self::Unsupported,
        ]
        .into_iter()
        .find(|reason| *reason as u8 == byte)
        .unwrap_or(Self::None)
    }
}
