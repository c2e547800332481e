//! What an ordinary session would have come to.

use super::{Code, Value};
use crate::write::{Fault, Out};

/// What the same `connect` without `learn` would have come to, as far as the peer's certificate decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Would {
    /// The certificate passes: nothing about it would have kept the session from opening.
    Established,
    /// It does not, and this would have been said.
    Failed(Code),
}

/// The word for what passes. No code is called so.
const ESTABLISHED: &str = "established";

impl core::fmt::Display for Would {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Established => f.write_str(ESTABLISHED),
            Self::Failed(code) => code.fmt(f),
        }
    }
}

impl Value<'_> for Would {
    const EXPECTED: &'static str = "established or a code";

    fn read(text: &str) -> Option<Self> {
        if text == ESTABLISHED { Some(Self::Established) } else { Code::read(text).map(Self::Failed) }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self {
            Self::Established => out.push(ESTABLISHED.as_bytes()),
            Self::Failed(code) => code.write(out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_taken_for_a_pass() {
        assert_eq!(Would::read("established"), Some(Would::Established));
        assert!(Code::ALL.iter().all(|code| code.as_str() != ESTABLISHED));
        for other in ["unknown-issuer", "a-code-of-next-year"] {
            assert!(matches!(Would::read(other), Some(Would::Failed(_))), "{other}");
        }
        assert_eq!((Would::read("Established"), Would::read("")), (None, None));
    }
}
