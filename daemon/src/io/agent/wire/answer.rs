//! What an agent answers (RFC 9987 section 4).

use zeroize::Zeroizing;

use super::parts::{Put, Rest, framed};
use super::request::MAX_COMMENT;
use super::{Reply, WireError};

const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION_FAILURE: u8 = 28;
const EXTENSION_RESPONSE: u8 = 29;

/// Keys of one agent at most, as OpenSSH's ssh-add takes them.
pub const MAX_IDENTITIES: usize = 2048;

/// An answer. Borrows from the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// Refused, or not known.
    Failure,
    /// Done.
    Success,
    /// The extension is known, and was refused.
    ExtensionFailure,
    /// The keys.
    Identities(Vec<Listed<'a>>),
    /// The signature, as SSH writes it: see [`super::signature_to_tls`].
    Signature(&'a [u8]),
    /// What an extension answers.
    Extension(Reply<'a>),
    /// A kind that is not known.
    Other(u8),
}

/// A key of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// The public key, as SSH writes it. Of any kind.
    pub blob: &'a [u8],
    /// What people call it; any bytes.
    pub comment: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Reads a message without its length.
    ///
    /// # Errors
    /// [`WireError`]: the other end does not speak the protocol.
    pub fn parse(body: &'a [u8]) -> Result<Self, WireError> {
        let mut rest = Rest::new(body, "an answer");
        let answer = match rest.byte()? {
            FAILURE => Self::Failure,
            SUCCESS => Self::Success,
            EXTENSION_FAILURE => Self::ExtensionFailure,
            IDENTITIES_ANSWER => identities(&mut rest)?,
            SIGN_RESPONSE => Self::Signature(rest.string()?),
            EXTENSION_RESPONSE => return Reply::parse(rest).map(Self::Extension),
            other => return Ok(Self::Other(other)),
        };
        rest.end()?;
        Ok(answer)
    }

    /// The message, behind its length.
    ///
    /// # Errors
    /// [`WireError::Length`] when it is too long to be sent.
    pub fn framed(&self) -> Result<Zeroizing<Vec<u8>>, WireError> {
        framed(|out| self.put(out))
    }

    fn put(&self, out: &mut dyn Put) -> ssh_encoding::Result<()> {
        match self {
            Self::Failure => out.byte(FAILURE),
            Self::Success => out.byte(SUCCESS),
            Self::ExtensionFailure => out.byte(EXTENSION_FAILURE),
            Self::Identities(listed) => {
                out.byte(IDENTITIES_ANSWER)?;
                out.number(u32::try_from(listed.len()).map_err(|_| ssh_encoding::Error::Length)?)?;
                for Listed { blob, comment } in listed {
                    out.string(blob)?;
                    out.string(comment)?;
                }
                Ok(())
            }
            Self::Signature(signature) => {
                out.byte(SIGN_RESPONSE)?;
                out.string(signature)
            }
            Self::Extension(reply) => {
                out.byte(EXTENSION_RESPONSE)?;
                reply.put(out)
            }
            Self::Other(kind) => out.byte(*kind),
        }
    }
}

fn identities<'a>(rest: &mut Rest<'a>) -> Result<Answer<'a>, WireError> {
    let count = rest.number()?;
    if usize::try_from(count).is_ok_and(|count| count > MAX_IDENTITIES) {
        return Err(WireError::Nonsense("the number of keys"));
    }
    let mut listed = Vec::new();
    for _ in 0..count {
        let (blob, comment) = (rest.string()?, rest.string()?);
        listed.push(Listed { blob, comment: &comment[..comment.len().min(MAX_COMMENT)] });
    }
    Ok(Answer::Identities(listed))
}
