//! The daemon's own processes: how each comes to be, what is said to it, how its end is noticed.
//!
//! ```text
//!  supervisor ─┬─ spawn: a fresh image of this program ─▶ part      an ordinary daemon; any number of times
//!              ├─ fork: this image, while it has one thread ─▶ worker      --private: once; a keyholder with the first key
//!              └─ a thread ─▶ worker                                       --single-process: for debugging
//!
//!  Kept { Running { channel, life }, Restarts } ─ happened ─▶ Said(message) | Died(cause) | Due
//! ```
//!
//! A part gets three things: its name, one end of a [`Channel`](crate::io::between::Channel), and standard error for its
//! log. Everything else comes as a message, descriptors included. It ignores the signals of terminals and service managers,
//! because the supervisor decides, and it is killed when the supervisor ends, however that came about.
//!
//! What a part does is said where it is done ([`worker`], [`keyholder`], [`dialer`]); nothing else here knows of TLS or of
//! keys.

pub(super) mod dialer;
mod kept;
pub(super) mod keyholder;
mod messages;
mod restart;
mod spawn;
pub(super) mod token;
pub(super) mod worker;

use std::ffi::OsStr;
use std::fmt;

pub(super) use kept::{Happened, Kept};
pub(super) use keyholder::{Keeping, Moved};
pub(super) use messages::{Decisions, FromWorker, Gift, Parcel, Start, ToWorker};
pub(super) use restart::{CRASHES, Restarts, WINDOW};
pub(super) use spawn::{
    Cause, Fork, Killer, Life, Running, fork, spawn, spawn_token, spawn_worker_of, thread,
};
pub(super) use token::TokenStart;

use super::sandbox;
use super::start::StartError;

/// A process of the daemon's beside the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// TLS, and nothing but TLS.
    Worker,
    /// Private keys.
    Keyholder,
    /// A token behind a PKCS #11 module; the signer's name stands behind its title.
    Token,
    /// Names and connections.
    Dialer,
}

impl Part {
    const ALL: [Self; 4] = [Self::Worker, Self::Keyholder, Self::Token, Self::Dialer];

    /// What `ps` shows as its command line; to this program, the word that makes it the part.
    fn title(self) -> &'static str {
        match self {
            Self::Worker => "tlsifyd: worker",
            Self::Keyholder => "tlsifyd: keyholder",
            Self::Token => "tlsifyd: token",
            Self::Dialer => "tlsifyd: dialer",
        }
    }

    /// Whether this is its title, with a name or a uid behind it where there are several.
    fn is_called(self, word: &str) -> bool {
        match self {
            Self::Token => word.strip_prefix(self.title()).is_some_and(|name| name.starts_with(' ')),
            // Alone, or one of several: then with the uid that it is for.
            Self::Worker => {
                word.strip_prefix(self.title()).is_some_and(|rest| match rest.strip_prefix(' ') {
                    None => rest.is_empty(),
                    Some(uid) => uid.parse::<u32>().is_ok(),
                })
            }
            Self::Keyholder | Self::Dialer => word == self.title(),
        }
    }

    /// What `ps` and `/proc` show as its name: 15 bytes at most.
    fn comm(self) -> &'static str {
        match self {
            Self::Worker => "tlsifyd-worker",
            Self::Keyholder => "tlsifyd-keys",
            Self::Token => "tlsifyd-token",
            Self::Dialer => "tlsifyd-dialer",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Worker => "worker",
            Self::Keyholder => "keyholder",
            Self::Token => "token",
            Self::Dialer => "dialer",
        })
    }
}

/// Whether this process was started as a part of a daemon, by the first word of its command line. If so it does what that
/// part does until its end, and this is how that went. To be asked before anything else is done.
pub fn played(first_word: Option<&OsStr>) -> Option<Result<(), StartError>> {
    let word = first_word?.to_str()?;
    let part = Part::ALL.into_iter().find(|part| part.is_called(word))?;
    let channel = spawn::own_end(part).map_err(StartError::system("taking the channel to the supervisor"));
    Some(channel.and_then(|channel| match part {
        Part::Worker => {
            worker::serve(channel, worker::Log::Own);
            Ok(())
        }
        Part::Keyholder => {
            keyholder::serve(channel);
            Ok(())
        }
        Part::Token => {
            token::serve(channel);
            Ok(())
        }
        Part::Dialer => dialer::serve(channel, worker::Log::Own),
    }))
}

/// Gives away everything that this part does not need, for good. To be called when it has one thread, and its log.
fn confined(part: sandbox::Part, settings: &sandbox::Settings) -> Result<(), StartError> {
    #[cfg(debug_assertions)]
    let escape = sandbox::Escape::planned(part);
    let report = sandbox::confine(part, settings)?;
    tracing::debug!(filters = report.filters, "the {part} is confined");
    #[cfg(debug_assertions)]
    if let Some(escape) = escape {
        escape.make();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_of_a_person_is_no_part() {
        for word in
            ["tlsifyd", "/usr/bin/tlsifyd", "tlsifyd:", "worker", "tlsifyd: token", "tlsifyd: worker x", ""]
        {
            assert!(played(Some(OsStr::new(word))).is_none(), "{word}");
        }
        assert!(played(None).is_none());
    }

    #[test]
    fn names_fit_where_the_kernel_keeps_them() {
        for part in Part::ALL {
            assert!(part.comm().len() <= 15, "{part}");
        }
    }
}
