//! What is asked and answered, of the supervisor and of the dialer.
//!
//! | question | descriptors | answers | descriptors |
//! |---|---|---|---|
//! | [`Question::Folder`] | the folder, the caller's control connection | [`Contents`] | the files, packed, in a sealed memory file |
//! | [`Question::SystemPool`] | | [`PoolAnswer`] | the pool, when it is new |
//! | [`Question::Executable`] | a pidfd | [`Executable`] | |
//! | [`Question::Dialer`] | | [`DialerAnswer`] | the [`Asker`](crate::io::between::Asker)'s end of a way to the dialer |
//! | [`Question::Cache`] | | [`CacheAnswer`] | the connection |
//! | [`DialQuestion::Connect`] | sockets, 1 to 8 | [`DialNews`], several | |
//! | [`DialQuestion::Cache`] | | [`CacheAnswer`] | the connection |
//!
//! Who asks may be in somebody else's hands, and who answers, too: the dialer reads what name servers say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tlsify_protocol::{Blame, Code};

use super::Suffixes;
use crate::config::CachePlace;
use crate::io::dial::Destination;
use crate::io::handoff::{DescriptorError, OPEN_DIRECTORY, PATH_ONLY};
use crate::tls::Failure;

/// Of the supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Question {
    /// The files of a folder.
    Folder(Suffixes),
    /// The system's CA pool, unless it is this one still.
    SystemPool {
        /// The generation that the asker has.
        have: Option<u64>,
    },
    /// The program of a process.
    Executable,
    /// A way to the dialer.
    Dialer,
    /// A connection to the cache that the operator has at this path.
    Cache(PathBuf),
}

/// What came of [`Question::Folder`].
pub(super) type Contents = Result<(), FolderTrouble>;

/// Why there is nothing of a folder.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum FolderTrouble {
    /// It is no folder that is open for reading, but opened as a path only.
    PathOnly,
    /// It is no folder.
    NoFolder,
    /// The system's word.
    System(i32),
    /// More than is taken.
    TooLarge { limit: u32, files: bool },
    /// So many folders of this user's are being read, or wait, that this one cannot even wait.
    Busy,
    /// Anything else, which is none of the caller's business.
    Other,
}

/// What came of [`Question::SystemPool`].
pub(super) type PoolAnswer = Result<PoolNews, String>;

/// How the pool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PoolNews {
    /// As the asker has it.
    Unchanged,
    /// The descriptor that comes along is this generation.
    New(u64),
}

/// What came of [`Question::Executable`]: the bytes of the path, or the system's word.
pub(super) type Executable = Result<Vec<u8>, i32>;

/// What came of [`Question::Dialer`]: the descriptor, or a sentence.
pub(super) type DialerAnswer = Result<(), String>;

/// Of the dialer.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::io) enum DialQuestion {
    /// Connect one of the sockets that come along.
    Connect {
        to: Destination,
        fast_open: bool,
        /// How long it may take from now on.
        within: Duration,
        /// Whose turn it is to look names up.
        uid: u32,
    },
    /// Connect to a cache that the operator has named, by an address or a name.
    Cache { place: CachePlace, uid: u32 },
}

/// What becomes of [`DialQuestion::Connect`]. All but the first are the last word.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::io) enum DialNews {
    /// The name is looked up, and the first attempt begins. Only where there was a name: with an address it begins at once.
    Begun,
    /// The socket at this place leads there.
    Connected { socket: u8, to: SocketAddr },
    /// The asker has given up, and the sockets are as they were.
    Stopped,
    /// It came to nothing.
    Failed(Told),
}

/// What came of [`Question::Cache`] and [`DialQuestion::Cache`]: the connection comes along, or a sentence.
pub(in crate::io) type CacheAnswer = Result<(), String>;

/// A [`Failure`] of connecting on its way.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::io) struct Told {
    code: String,
    /// Whether it is the caller's fault, where the code alone does not say so.
    caller: bool,
    text: String,
}

/// Characters of a sentence of the dialer's that are passed on.
const MAX_TEXT: usize = 1000;

impl Told {
    pub(in crate::io) fn new(failure: &Failure) -> Self {
        Self {
            code: failure.code.as_str().to_owned(),
            caller: failure.blame == Blame::Caller,
            text: short(&failure.text),
        }
    }

    /// As the worker tells its caller: nothing but what connecting can come to.
    pub(in crate::io) fn failure(self) -> Failure {
        let code = match Code::parse(&self.code) {
            Some(
                code @ (Code::HostNotFound
                | Code::NameLookupFailed
                | Code::ConnectionRefused
                | Code::Unreachable
                | Code::ConnectTimeout
                | Code::NetworkError),
            ) => code,
            _ => Code::Internal,
        };
        let mut failure = Failure::new(code, short(&self.text));
        if self.caller {
            failure.blame = Blame::Caller;
        }
        failure
    }
}

/// A sentence with an end.
pub(super) fn short(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(MAX_TEXT).collect()
}

impl From<DescriptorError> for FolderTrouble {
    fn from(error: DescriptorError) -> Self {
        match error {
            DescriptorError::Kind { is: PATH_ONLY, .. } => Self::PathOnly,
            DescriptorError::Kind { .. } => Self::NoFolder,
            DescriptorError::Unusable(error) => error.raw_os_error().map_or(Self::Other, Self::System),
            DescriptorError::TooLarge { limit, unit } => {
                Self::TooLarge { limit: u32::try_from(limit).unwrap_or(u32::MAX), files: unit == "files" }
            }
        }
    }
}

impl From<FolderTrouble> for DescriptorError {
    fn from(trouble: FolderTrouble) -> Self {
        let kind = |is| Self::Kind { is, wanted: OPEN_DIRECTORY };
        let other = |text: &str| Self::Unusable(std::io::Error::other(text.to_owned()));
        match trouble {
            FolderTrouble::PathOnly => kind(PATH_ONLY),
            FolderTrouble::NoFolder => kind("something else"),
            FolderTrouble::System(errno) => Self::Unusable(Errno::from_raw_os_error(errno).into()),
            FolderTrouble::TooLarge { limit, files } => Self::TooLarge {
                limit: usize::try_from(limit).unwrap_or(usize::MAX),
                unit: if files { "files" } else { "bytes" },
            },
            FolderTrouble::Busy => other("too many folders of this user's are being read"),
            FolderTrouble::Other => other("a file in it cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_arrives_as_it_was_and_what_connecting_cannot_come_to_does_not() {
        let mut failure = Failure::new(Code::NetworkError, "cannot connect".to_owned());
        failure.blame = Blame::Caller;
        assert_eq!(Told::new(&failure).failure(), failure);
        for code in [Code::HostNotFound, Code::ConnectTimeout, Code::Internal] {
            let failure = Failure::new(code, "no".to_owned());
            assert_eq!(Told::new(&failure).failure(), failure);
        }
        let lie = Failure::new(Code::NotAllowed, format!("\u{1b}[31m{}", "x".repeat(10_000)));
        let told = Told::new(&lie).failure();
        assert_eq!((told.code, told.text.len()), (Code::Internal, MAX_TEXT));
        assert!(told.text.starts_with("[31mx"));
    }

    #[test]
    fn what_is_wrong_with_a_folder_is_told_in_the_same_words() {
        let errors = [
            DescriptorError::Kind { is: PATH_ONLY, wanted: OPEN_DIRECTORY },
            DescriptorError::TooLarge { limit: 1024, unit: "files" },
            DescriptorError::TooLarge { limit: 8, unit: "bytes" },
            Errno::ACCESS.into(),
        ];
        for error in errors {
            let text = error.to_string();
            assert_eq!(DescriptorError::from(FolderTrouble::from(error)).to_string(), text);
        }
    }
}
