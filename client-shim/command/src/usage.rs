//! What is wrong with a command line, in words.

use core::fmt;

use tlsify_protocol::keys::nearest_of;

use crate::options::NAMES;
use crate::say::Shown;

/// A command line that asks for nothing that can be done. Values that were given are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    NoVerb,
    Verb(&'static [u8]),
    Unknown {
        option: &'static [u8],
        nearest: Option<&'static str>,
    },
    NoValue(&'static str),
    NoValueTaken(&'static str),
    Value {
        option: &'static str,
        value: &'static [u8],
        expected: &'static str,
    },
    Twice(&'static str),
    TooMany(&'static str),
    /// More than a packet takes.
    TooLong,
    /// One part of an identity without the other.
    Half(&'static str, &'static str),
    Both(&'static str, &'static str),
    Argument(&'static [u8]),
    Target(&'static [u8]),
    NoTarget,
    NoProgram,
    /// The network socket is at 0 or 1, where the plaintext would go.
    NoRoom,
    /// Of `ssl_client`: something that it cannot do without.
    Missing(&'static str),
    /// Of `ssl_client`: one to read and another to write.
    TwoSockets,
}

impl Wrong {
    pub(crate) fn unknown(option: &'static [u8]) -> Self {
        let bare = option.strip_prefix(b"--").unwrap_or(option);
        let name = bare.split(|&byte| byte == b'=').next().and_then(|name| core::str::from_utf8(name).ok());
        let nearest = name.and_then(|name| nearest_of(NAMES.iter().copied(), name));
        Self::Unknown { option, nearest }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NoVerb => f.write_str("connect, accept or pin?"),
            Self::Verb(verb) => write!(f, "unknown command \"{}\", it is connect, accept or pin", Shown(verb)),
            Self::Unknown { option, nearest } => {
                write!(f, "unknown option \"{}\"", Shown(option))?;
                match nearest {
                    Some(nearest) => write!(f, ", did you mean \"--{nearest}\"?"),
                    None => Ok(()),
                }
            }
            Self::NoValue(option) => write!(f, "{} needs a value", Dashed(option)),
            Self::NoValueTaken(option) => write!(f, "--{option} takes no value"),
            Self::Value { option, value, expected } => {
                write!(f, "bad value \"{}\" of {}: expected {expected}", Shown(value), Dashed(option))
            }
            Self::Twice(option) => write!(f, "--{option} is given twice"),
            Self::TooLong => f.write_str("the options are longer than one request may be"),
            Self::TooMany(option) => write!(f, "too many --{option}"),
            Self::Half(one, other) => write!(f, "--{one} without its --{other}"),
            Self::Both(one, other) => write!(f, "--{one} and {other} exclude each other"),
            Self::Argument(text) => write!(f, "unexpected argument \"{}\"", Shown(text)),
            Self::Target(text) => write!(
                f,
                "bad target \"{}\": expected HOST:PORT or [ADDRESS]:PORT, with the host's name in ASCII and a number for the port",
                Shown(text)
            ),
            Self::NoTarget => f.write_str("connect where? give HOST:PORT, or a connected socket with --fd"),
            Self::NoProgram => f.write_str("there is no program after --"),
            Self::Missing(what) => write!(f, "{what}, is missing"),
            Self::TwoSockets => f.write_str("-s and -r are two sockets, and TLS needs one"),
            Self::NoRoom => f.write_str(
                "the socket is where the plaintext would go: give a program after --, or another descriptor with --fd",
            ),
        }
    }
}

/// An option as it is written: letters are those of `ssl_client`.
struct Dashed(&'static str);

impl fmt::Display for Dashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.0.len() == 1 { "-" } else { "--" }, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn a_misspelt_option_is_recognised_with_its_value_and_without() {
        let said = |option: &'static [u8]| Wrong::unknown(option).to_string();
        assert_eq!(
            said(b"--servername=x"),
            "unknown option \"--servername=x\", did you mean \"--server-name\"?"
        );
        assert_eq!(said(b"-profile"), "unknown option \"-profile\", did you mean \"--profile\"?");
        assert_eq!(
            said(b"--no-fallbakc"),
            "unknown option \"--no-fallbakc\", did you mean \"--no-fallback\"?"
        );
        // A guess at what nobody meant would be worse than none.
        assert_eq!(said(b"--insecure"), "unknown option \"--insecure\"");
        assert_eq!(said(b"--"), "unknown option \"--\"");
    }

    #[test]
    fn what_was_typed_is_shown_without_its_tricks() {
        assert_eq!(Wrong::unknown(b"--\x1b[2J\xff").to_string(), "unknown option \"--?[2J?\"");
    }
}
