//! What can go wrong, sorted by who must act.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use tlsify_protocol::{Alert, Blame, Code, Sha256, Socket};

/// Why a call of this library did not give what was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No daemon answers at this path. [`Error::hint`] says what to look at.
    NoDaemon {
        /// The socket that was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon did not take the request. The descriptors that went with it are closed on the daemon's side
    /// and were not touched.
    Refused(Box<Refused>),
    /// The session did not open: the TLS handshake, or something on the way to it, failed.
    Failed(Box<Failed>),
    /// The daemon closed the control connection before it answered. Requests without an answer are lost;
    /// sessions that are open with [`Bind::Descriptors`](crate::Bind) live as long as the daemon does.
    Gone,
    /// An answer came, but the kernel dropped its descriptors, as it does when this process has no free
    /// descriptor number. Those that did arrive are closed, so the session ends.
    DescriptorsTruncated,
    /// The request has a value that the protocol cannot carry, so it was not sent: what was wrong with it.
    Unwritable(String),
    /// The daemon's words cannot be understood, or make no sense here.
    Protocol(String),
    /// A system call on the control connection failed.
    Io(io::Error),
}

/// The daemon's answer to a request that it did not take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// Stable name of the reason.
    pub code: Code,
    /// Who must act.
    pub blame: Blame,
    /// The key or the descriptor that the reason is about.
    pub about: Option<String>,
    /// A sentence for a person.
    pub text: String,
}

/// Why a session did not open.
#[non_exhaustive]
pub struct Failed {
    /// Stable name of the reason.
    pub code: Code,
    /// Who must act.
    pub blame: Blame,
    /// What became of the network socket.
    pub socket: Socket,
    /// The TLS alert that was sent or received (RFC 9846 section 6).
    pub alert: Option<Alert>,
    /// SHA-256 of the peer's SubjectPublicKeyInfo, when it showed a certificate or a raw public key: what to pin after a
    /// look.
    pub spki_sha256: Option<Sha256>,
    /// SHA-256 of the peer's end-entity certificate, when it showed one.
    pub certificate_sha256: Option<Sha256>,
    /// With `ech-rejected`: the ECHConfigList to try again with, from the verified server of the public name.
    pub ech_retry: Option<Vec<u8>>,
    /// The chain that the peer showed, PEM in a sealed memfd that belongs to whoever holds this value.
    pub chain: Option<OwnedFd>,
    /// A sentence for a person.
    pub text: String,
}

impl Error {
    /// The stable name of the reason, when the daemon gave one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(refused) => Some(refused.code),
            Self::Failed(failed) => Some(failed.code),
            _ => None,
        }
    }

    /// Who must act, when the daemon said so.
    #[must_use]
    pub fn blame(&self) -> Option<Blame> {
        match self {
            Self::Refused(refused) => Some(refused.blame),
            Self::Failed(failed) => Some(failed.blame),
            _ => None,
        }
    }

    /// What to try, as one line for a person, where we know something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDaemon { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Some("is tlsifyd.socket started? TLSIFY_SOCK names another path")
                }
                io::ErrorKind::PermissionDenied => Some(
                    "this user may not use that socket; a personal tlsifyd needs no permission of anybody",
                ),
                _ => None,
            },
            Self::DescriptorsTruncated => Some("raise the limit of open files (ulimit -n) of this process"),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon { path, source } => {
                write!(f, "cannot reach tlsifyd at {}: {}", path.display(), Reason(source))
            }
            Self::Refused(refused) => write!(f, "refused ({}): {}", refused.code, refused.text),
            Self::Failed(failed) => write!(f, "failed ({}): {}", failed.code, failed.text),
            Self::Gone => f.write_str("tlsifyd closed the control connection before it answered"),
            Self::DescriptorsTruncated => {
                f.write_str("the answer's descriptors were dropped: this process has too many open files")
            }
            Self::Unwritable(what) => write!(f, "cannot write the request: {what}"),
            Self::Protocol(what) => {
                write!(f, "tlsifyd and this library do not understand each other: {what}")
            }
            Self::Io(error) => write!(f, "control connection to tlsifyd: {}", Reason(error)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NoDaemon { source, .. } => Some(source),
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::Refused(Box::new(refused))
    }
}

impl fmt::Debug for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failed")
            .field("code", &self.code)
            .field("blame", &self.blame)
            .field("socket", &self.socket)
            .field("alert", &self.alert)
            .field("chain", &self.chain.is_some())
            .field("text", &self.text)
            .finish_non_exhaustive()
    }
}

/// The system's words in the project's manner: lower case, and no "(os error 111)" at the end.
struct Reason<'a>(&'a io::Error);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        let mut letters = text.chars();
        match letters.next() {
            Some(first) => write!(f, "{}{}", first.to_lowercase(), letters.as_str()),
            None => f.write_str("unknown reason"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_daemon_is_named_with_its_path_cause_and_hint() {
        let source = io::Error::from_raw_os_error(111);
        let error = Error::NoDaemon { path: "/run/tlsifyd/tlsifyd.sock".into(), source };
        assert_eq!(
            error.to_string(),
            "cannot reach tlsifyd at /run/tlsifyd/tlsifyd.sock: connection refused"
        );
        assert_eq!(error.hint(), Some("is tlsifyd.socket started? TLSIFY_SOCK names another path"));
    }
}
