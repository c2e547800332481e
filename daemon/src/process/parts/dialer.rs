//! The dialer: the one part that looks names up and connects, and has neither keys nor anybody's plaintext.
//!
//! ```text
//!  supervisor ── Start, Caches, Desk … ──▶ dialer ◀── questions ── worker        one desk for each worker that asked for one
//! ```
//!
//! It runs the host's name service, whose modules parse what name servers say. What it says is believed by nobody: a worker asks
//! its own socket what became of it.

use std::os::fd::{AsFd, OwnedFd};

use serde::{Deserialize, Serialize};
use tokio::task::LocalSet;

use super::worker::Log;
use crate::config::CachePlace;
use crate::io::Dialer;
use crate::io::between::{Channel, Desk};
use crate::process::descriptors;
use crate::process::logs::{LogChoice, Logs};
use crate::process::sandbox::{self, Settings};
use crate::process::start::StartError;

/// Caches that one message names: each is 300 bytes at most.
const CACHES: usize = 128;

/// To a dialer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToDialer {
    /// The first message.
    Start {
        /// Its log; standard error is the supervisor's.
        log: LogChoice,
        /// Whether it is a thread in the process of one caller.
        private: bool,
        /// What it gives away; `None`: nothing, as a thread.
        sandbox: Option<Settings>,
    },
    /// Connections to these caches may be asked for: all that there are, or more of them.
    Caches { more: bool, places: Vec<CachePlace> },
    /// A [`Desk`] comes along. `only`: its look-ups are this user's, whatever it says.
    Desk { only: Option<u32> },
}

/// From a dialer: it has nothing to say.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromDialer {}

/// The messages that name these caches.
pub(crate) fn caches(places: &[CachePlace]) -> Vec<ToDialer> {
    let mut chunks: Vec<&[CachePlace]> = places.chunks(CACHES).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let say =
        |(at, places): (usize, &[CachePlace])| ToDialer::Caches { more: at > 0, places: places.to_vec() };
    chunks.into_iter().enumerate().map(say).collect()
}

/// Serves until the supervisor is gone.
///
/// # Errors
/// The system's.
pub(crate) fn serve(channel: OwnedFd, log: Log) -> Result<(), StartError> {
    let Ok(channel) = Channel::new(channel) else { return Ok(()) };
    let Ok((ToDialer::Start { log: choice, private, sandbox }, _)) = channel.receive_by(None) else {
        return Ok(());
    };
    // 1. The log, so that what follows can be told.
    let _logs = match log {
        Log::Own => Some(Logs::start(&choice)?),
        Log::Supervisors => None,
    };
    // 2. As many descriptors as we may have: what comes with questions, and what look-ups need, is bounded by them.
    descriptors::raise();
    // 3. From here on names and connections alone, while there is one thread.
    if let Some(settings) = &sandbox {
        super::confined(sandbox::Part::Dialer, settings)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::system("starting the dialer's runtime"))?;
    // 4. Until the end.
    LocalSet::new().block_on(&runtime, obey(&channel, private));
    // A look-up that does not come back must not keep the process.
    runtime.shutdown_background();
    Ok(())
}

async fn obey(channel: &Channel, private: bool) {
    let dialer = Dialer::new(private);
    let mut caches = Vec::new();
    // It is ours: what is no order is the end, and so is its own.
    while let Ok((order, fds)) = channel.next::<ToDialer>().await {
        match order {
            ToDialer::Start { .. } => return,
            ToDialer::Caches { more, places } => {
                if !more {
                    caches.clear();
                }
                caches.extend(places);
                dialer.set_caches(caches.clone());
            }
            ToDialer::Desk { only } => match fds.into_iter().next().map(Desk::new) {
                Some(Ok(desk)) => drop(tokio::task::spawn_local(dialer.clone().serve(desk, only))),
                Some(Err(error)) => tracing::error!(%error, "a worker cannot be served"),
                None => return,
            },
        }
    }
}

/// Tells a dialer something.
pub(crate) fn tell(kept: &super::Kept<FromDialer>, order: &ToDialer, desk: Option<&OwnedFd>) -> bool {
    let fds: Vec<_> = desk.iter().map(|desk| desk.as_fd()).collect();
    kept.tell_with(order, &fds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_caches_there_are_they_fit_and_the_first_message_clears() {
        let places: Vec<_> = (0..1000).map(|n| CachePlace::Name("x".repeat(253), n)).collect();
        for count in [0, 1, CACHES, CACHES + 1, 1000] {
            let messages = caches(&places[..count]);
            let named: Vec<_> = messages
                .iter()
                .map(|message| match message {
                    ToDialer::Caches { more, places } => (*more, places.len()),
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(named.iter().map(|(_, count)| count).sum::<usize>(), count);
            assert!(!named[0].0 && named[1..].iter().all(|(more, _)| *more));
            let (ours, theirs) = Channel::pair().unwrap();
            let theirs = Channel::new(theirs).unwrap();
            for message in messages {
                ours.send(&message, &[]).expect("it fits");
                theirs.receive::<ToDialer>().expect("it is read");
            }
        }
    }
}
