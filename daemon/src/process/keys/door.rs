//! The supervisor's way to the keyholder.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{KeyDoor, PublicHalf};
use crate::io::agent::wire::{Answer, Extension, Failure, Knock, Reason, Reply, Request};
use crate::io::agent::{Stream, StreamError};
use crate::io::between::Channel;
use crate::io::sealed_memfd;
use crate::tls::{PublicKey, Uses};

/// How long the keyholder may take to read a key file, which may be on a slow disk, and to look at the key in it: one of
/// RSA takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a purpose at most, as the keyholder takes them.
const MAX_PURPOSE: usize = 256;

/// The door of a keyholder, as the supervisor has it. For a thread that may wait.
#[derive(Debug)]
pub struct Door {
    channel: Channel,
    line: Option<Stream>,
}

/// Why nothing came of a request.
enum Trouble {
    /// The keyholder is gone, slow, or makes no sense.
    Away,
    /// It says why it does not do it.
    Refused { reason: Reason, text: String },
}

impl Door {
    /// Asks through this channel, which the keyholder knows to be the supervisor's.
    #[must_use]
    pub fn new(channel: Channel) -> Self {
        Self { channel, line: None }
    }

    /// Makes this end of a channel another door, for a worker with this name in the log: what callers of that worker give is
    /// forgotten when the other end closes. With a number, no other key may be used through it before [`Door::permit`].
    /// Says whether the keyholder was there.
    pub fn admit(&self, name: &str, number: Option<u64>, end: BorrowedFd<'_>) -> bool {
        let knock = Knock::Door { name: name.to_owned(), number };
        self.channel.send_by(&knock, &[end], deadline()).is_ok()
    }

    /// Of the operator's keys, those with these hashes of their SubjectPublicKeyInfo, and no others, may be used through the
    /// door of this number from now on. Says whether the keyholder was there.
    pub fn permit(&self, number: u64, pins: &[[u8; 32]]) -> bool {
        let Ok(list) = sealed_memfd("tlsifyd-permitted", pins.as_flattened()) else { return false };
        self.channel.send_by(&Knock::Permit(number), &[list.as_fd()], deadline()).is_ok()
    }

    fn ask<T>(
        &mut self,
        extension: Extension<'_>,
        fds: &[BorrowedFd<'_>],
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, Trouble> {
        let framed = Request::Extension(extension).framed().map_err(|_| Trouble::Away)?;
        let body = self.exchange(&framed, fds)?;
        match Answer::parse(&body) {
            Ok(Answer::Failure | Answer::ExtensionFailure) => Err(self.why()),
            answer => answer.ok().and_then(read).ok_or(Trouble::Away),
        }
    }

    /// The answer; a connection on which there was none is of no more use.
    fn exchange(
        &mut self,
        framed: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Trouble> {
        let mut line = match self.line.take() {
            Some(line) => line,
            None => self.connect().map_err(away)?,
        };
        let body = line.ask(framed, fds, deadline()).map_err(away)?;
        self.line = Some(line);
        Ok(body)
    }

    fn connect(&self) -> Result<Stream, StreamError> {
        let (line, theirs) = Stream::pair()?;
        let sent = self.channel.send_by(&Knock::Connect, &[theirs.as_fd()], deadline());
        sent.map_err(io::Error::other)?;
        Ok(line)
    }

    /// Why the last request was refused.
    fn why(&mut self) -> Trouble {
        let Ok(framed) = Request::Extension(Extension::LastFailure).framed() else { return Trouble::Away };
        let Ok(body) = self.exchange(&framed, &[]) else { return Trouble::Away };
        match Answer::parse(&body) {
            Ok(Answer::Extension(Reply::LastFailure(Failure { reason, text, .. }))) => {
                Trouble::Refused { reason, text: text.to_owned() }
            }
            _ => Trouble::Away,
        }
    }
}

impl KeyDoor for Door {
    fn add(&mut self, key: OwnedFd, uses: Uses, what: &Path) -> Result<PublicHalf, String> {
        let what = what.display().to_string();
        let extension = Extension::AddDescriptor { uses, life: None, purpose: end_of(&what) };
        let added = self.ask(extension, &[key.as_fd()], |answer| match answer {
            Answer::Extension(Reply::Added { handle, spki, .. }) => {
                Some(PublicHalf { handle, spki_der: spki.to_vec() })
            }
            _ => None,
        });
        added.map_err(sentence)
    }

    fn certificates(&mut self, file: OwnedFd, _: &Path) -> Result<Vec<u8>, String> {
        let read = self.ask(Extension::Certificates, &[file.as_fd()], |answer| match answer {
            Answer::Extension(Reply::Certificates(text)) => Some(text.to_vec()),
            _ => None,
        });
        read.map_err(sentence)
    }

    fn add_foreign(&mut self, signer: &str, public: &PublicKey, uses: Uses) -> Result<u64, String> {
        let purpose = format!("signer {signer}");
        let extension =
            Extension::AddForeign { signer, spki: &public.spki_der, uses, purpose: end_of(&purpose) };
        let added = self.ask(extension, &[], |answer| match answer {
            Answer::Extension(Reply::Foreign { handle, .. }) => Some(handle),
            _ => None,
        });
        added.map_err(sentence)
    }

    fn forget(&mut self, handle: u64) {
        let forgotten = self
            .ask(Extension::Forget { handle }, &[], |answer| matches!(answer, Answer::Success).then_some(()));
        // Gone with the keyholder, or it is: it counts them by door.
        if let Err(Trouble::Refused { text, .. }) = forgotten {
            tracing::debug!("a key that is to be forgotten was not known: {text}");
        }
    }
}

fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

fn away(error: StreamError) -> Trouble {
    tracing::debug!(%error, "asking the keyholder failed");
    Trouble::Away
}

fn sentence(trouble: Trouble) -> String {
    match trouble {
        Trouble::Away => "the process that holds the private keys does not answer".to_owned(),
        Trouble::Refused { text, .. } if !text.is_empty() => text,
        Trouble::Refused { reason, .. } => {
            format!("the process that holds the private keys refuses it ({reason:?})")
        }
    }
}

/// As much of the end of a path as fits: that is what tells it from others.
fn end_of(text: &str) -> &str {
    let start = text.len().saturating_sub(MAX_PURPOSE);
    let start = (start..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_long_path_is_told() {
        let long = format!("/{}/shop.key", "ü".repeat(200));
        let end = end_of(&long);
        assert!(end.len() <= MAX_PURPOSE && end.ends_with("ü/shop.key"), "{end}");
        assert_eq!(end_of("/shop.key"), "/shop.key");
    }

    #[test]
    fn a_keyholder_that_is_gone_is_said_to_be() {
        let (channel, theirs) = Channel::pair().expect("pair");
        drop(theirs);
        let mut door = Door::new(channel);
        let file = std::fs::File::open("/dev/null").expect("null");
        let said = door.add(file.into(), Uses::SERVER, Path::new("/k")).unwrap_err();
        assert_eq!(said, "the process that holds the private keys does not answer");
        door.forget(7);
        let (_worker, end) = Channel::pair().expect("pair");
        assert!(!door.admit("worker", None, end.as_fd()));
    }
}
