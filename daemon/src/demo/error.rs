//! Why a demonstration did not show what it should.

use std::fmt;
use std::io;

use crate::process::{ListenError, reason};
use crate::tls::{IdentityError, SpecError};

/// Why the demonstration failed.
#[derive(Debug)]
pub enum DemoError {
    /// Another program listens on this port of localhost.
    PortInUse(u16),
    /// The web server could not do its part: its own words.
    Website(String),
    /// The web server ended before its time.
    WebsiteGone,
    /// The engine's socket could not be made.
    Listen(ListenError),
    /// The certificate or the profile could not be made.
    Identity(String),
    /// The client's session was refused, failed, or its daemon went away.
    Session(tlsify_client::Error),
    /// The round trip went through and something about it is not as it should be.
    Wrong(String),
    /// A signal came before the round trip was done.
    Interrupted,
    /// The transcript could not be written.
    Write(io::Error),
    /// A system call failed.
    System {
        /// What we could not do, as "start a thread".
        what: &'static str,
        /// The system's word for it.
        cause: io::Error,
    },
}

impl DemoError {
    pub(super) fn system(what: &'static str) -> impl Fn(io::Error) -> Self {
        move |cause| Self::System { what, cause }
    }

    /// Whether TLS, or what it carried, was at fault, and not the machine.
    #[must_use]
    pub fn is_about_tls(&self) -> bool {
        matches!(self, Self::Session(_) | Self::Wrong(_) | Self::Identity(_))
    }

    /// What to try, as one line for a person, where we know something.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::PortInUse(_) => Some("--port 0 takes any free port"),
            Self::Listen(ListenError::TooLong(_)) => Some("TMPDIR can name a folder with a shorter path"),
            Self::Session(error) => error.hint(),
            _ => None,
        }
    }
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PortInUse(port) => {
                write!(f, "demo: cannot listen on localhost:{port}: another program does")
            }
            Self::Website(why) => write!(f, "demo: the web server failed: {why}"),
            Self::WebsiteGone => f.write_str("demo: the web server ended before its time"),
            Self::Listen(error) => write!(f, "demo: {error}"),
            Self::Identity(why) => write!(f, "demo: cannot make a certificate: {why}"),
            Self::Session(error) => write!(f, "demo: the client's session: {error}"),
            Self::Wrong(what) => write!(f, "demo: the round trip is not as it should be: {what}"),
            Self::Interrupted => f.write_str("demo: interrupted before the round trip was done"),
            Self::Write(cause) => write!(f, "demo: cannot write the transcript: {}", reason(cause)),
            Self::System { what, cause } => write!(f, "demo: cannot {what}: {}", reason(cause)),
        }
    }
}

impl std::error::Error for DemoError {}

impl From<tlsify_client::Error> for DemoError {
    fn from(error: tlsify_client::Error) -> Self {
        Self::Session(error)
    }
}

impl From<ListenError> for DemoError {
    fn from(error: ListenError) -> Self {
        Self::Listen(error)
    }
}

impl From<rcgen::Error> for DemoError {
    fn from(error: rcgen::Error) -> Self {
        Self::Identity(error.to_string())
    }
}

impl From<IdentityError> for DemoError {
    fn from(error: IdentityError) -> Self {
        Self::Identity(error.to_string())
    }
}

impl From<SpecError> for DemoError {
    fn from(error: SpecError) -> Self {
        Self::Identity(error.to_string())
    }
}
