//! Why a packet was not accepted, and why a message was not written.

use core::fmt;

use crate::keys::{self, Verb};
use crate::limits::PROTOCOL_VERSION;
use crate::message::Refused;
use crate::value::{Blame, Code};

/// Why a packet is not a message: what a `refused` needs. Display is the sentence for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError<'a> {
    /// The packet's id line, if that much was readable.
    pub id: Option<u64>,
    /// What is wrong.
    pub code: Code,
    /// The key it is about; of `unknown-verb` the verb, of `version` the version. At most 64 bytes of it.
    pub about: Option<&'a str>,
    /// The verb, once it was read.
    pub verb: Option<Verb>,
    /// What was expected, or what is wrong, without the value that was there.
    pub why: &'static str,
}

impl<'a> ParseError<'a> {
    /// The refusal, with `text` for the person: usually this error's own Display.
    #[must_use]
    pub const fn refused(&self, text: &'a str) -> Refused<'a> {
        Refused { id: self.id, code: self.code, blame: self.blame(), about: self.about, text }
    }

    /// Who has to act.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        self.code.blame()
    }
}

impl fmt::Display for ParseError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.about.unwrap_or_default();
        let verb = self.verb.map_or("packet", Verb::as_str);
        match self.code {
            Code::Version => {
                write!(f, "protocol version \"{about}\" is unknown here, try tlsify/{PROTOCOL_VERSION}")
            }
            Code::UnknownVerb => write!(f, "unknown verb \"{about}\""),
            Code::UnknownKey => {
                write!(f, "unknown key \"{about}\" in {verb}")?;
                match self.verb.and_then(|verb| keys::nearest(verb, about)) {
                    Some(near) => write!(f, ", did you mean \"{near}\"?"),
                    None => Ok(()),
                }
            }
            Code::MissingKey => write!(f, "{verb} needs \"{about}\": {}", self.why),
            Code::BadValue => write!(f, "bad value of \"{about}\" in {verb}: expected {}", self.why),
            Code::KeyConflict => write!(f, "\"{about}\" in {verb}: {}", self.why),
            _ => write!(f, "cannot read the packet: {}", self.why),
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for ParseError<'_> {}

/// Why a message was not written. What the buffer holds is then of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The buffer is too small, or the packet would pass [`MAX_PACKET`](crate::MAX_PACKET).
    NoRoom,
    /// The other side would refuse it.
    Refused {
        /// With this code.
        code: Code,
        /// About this key.
        about: &'static str,
        /// Because of this.
        why: &'static str,
    },
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoom => {
                f.write_str("cannot write the packet: it is longer than the buffer or than a packet may be")
            }
            Self::Refused { about, why, .. } => {
                write!(f, "cannot write the packet: \"{about}\": {why}")
            }
        }
    }
}

#[cfg(feature = "std")]
impl std::error::Error for WriteError {}

/// A fault as parser and rules see it: the packet's id and verb are added where they are known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flaw<'a> {
    pub(crate) code: Code,
    pub(crate) about: Option<&'a str>,
    pub(crate) why: &'static str,
}

impl<'a> Flaw<'a> {
    pub(crate) const fn new(code: Code, why: &'static str) -> Self {
        Self { code, about: None, why }
    }

    /// `about` may be as long as a packet: what goes into an answer is cut.
    pub(crate) fn about(code: Code, about: &'a str, why: &'static str) -> Self {
        let mut end = about.len().min(64);
        while !about.is_char_boundary(end) {
            end -= 1;
        }
        Self { code, about: about.get(..end).filter(|about| !about.is_empty()), why }
    }
}
