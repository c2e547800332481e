//! What supervisor and worker say to each other, and which descriptors go along.
//!
//! ```text
//!  supervisor ─ Start ─▶ worker ─ Ready ─▶ … Reload ─▶ … Reloaded … Drain ─▶ … Draining … End ─▶ … Ended
//!                                      └ one for each user: Caller ─▶ …  AreYouIdle ─▶ Idle   Tell ─▶ Overview   Ask ─▶ Told … ToldAll
//! ```
//!
//! The worker parses what strangers send: it is not believed. Nothing that it says can do more than end or delay its own
//! sessions; what makes no sense ends it.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::engine::{Counts, Wanted};
use crate::process::logs::LogChoice;
use crate::process::sandbox::Settings;

/// To a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// The first message, with the descriptors that [`Start::gifts`] names.
    Start(Start),
    /// The configuration has changed; its record comes along, as [`Gift::Configuration`]. Answered with
    /// [`FromWorker::Reloaded`].
    Reload(Decisions),
    /// The keyholder was started again; a door of it comes along, as [`Gift::KeyholderDoor`].
    Keyholder,
    /// A caller has connected and is this worker's; its control connection comes along, unread. Answered with
    /// [`FromWorker::Taken`].
    Caller,
    /// Is there anything to do here? Answered with [`FromWorker::Idle`].
    AreYouIdle,
    /// What is there? Answered with [`FromWorker::Overview`].
    Tell { number: u64, wanted: Wanted },
    /// A part of the answer to [`FromWorker::Ask`]: what there is of this user. Lists come along, in the order of [`Wanted`].
    Told { number: u64, uid: u32, counts: Counts },
    /// That was all of the answer.
    ToldAll { number: u64 },
    /// Take no new callers and sessions, and end when the last has. Answered with [`FromWorker::Draining`].
    Drain,
    /// End the sessions that are left, politely where possible, and then yourself.
    End,
}

/// From a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromWorker {
    /// Callers are served.
    Ready,
    /// The new configuration is in use: so many profiles. Or it is not, and the old one stays.
    Reloaded(Result<usize, String>),
    /// So many callers have come along since the start. Said for each, so that nobody is lost with a worker that dies before.
    Taken(u64),
    /// Whether nobody is connected and no session is open, so many callers having come along since the start.
    Idle { taken: u64, idle: bool },
    /// What there is. Lists come along, in the order of [`Wanted`].
    Overview { number: u64, counts: Counts },
    /// Somebody who may see it all wants to know what others serve. Answered with [`ToWorker::Told`] for each of them, and
    /// [`ToWorker::ToldAll`].
    Ask { number: u64, wanted: Wanted },
    /// Nothing new is taken; so many sessions are open.
    Draining { sessions: u64 },
    /// The last message: what was to be done is done, or why it cannot be. The rest of the process is its memory.
    Ended(Result<(), String>),
}

impl FromWorker {
    /// What kind of message this is, for the log.
    pub(crate) fn verb(&self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Reloaded(_) => "reloaded",
            Self::Taken(_) => "taken",
            Self::Idle { .. } => "idle",
            Self::Overview { .. } => "overview",
            Self::Ask { .. } => "ask",
            Self::Draining { .. } => "draining",
            Self::Ended(_) => "ended",
        }
    }
}

/// What a worker starts with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    /// Its log; standard error is the supervisor's.
    pub(crate) log: LogChoice,
    /// Worker threads.
    pub(crate) workers: usize,
    /// The operator's decisions.
    pub(crate) decisions: Decisions,
    /// Whether there are others, which serve other users: who asks for everything is told of them.
    pub(crate) others: bool,
    /// What it gives away; `None`: it is a thread of the supervisor's, and confined in no way.
    pub(crate) sandbox: Option<Settings>,
    /// What each descriptor is, in their order.
    pub(crate) gifts: Vec<Gift>,
}

/// The operator's decisions beside the configuration's record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Decisions {
    /// Which events are logged.
    pub(crate) directives: String,
    /// The profiles that are for this worker's callers; `None`: all.
    pub(crate) profiles: Option<BTreeSet<String>>,
}

/// What a descriptor that comes with [`ToWorker::Start`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Gift {
    /// A listening socket for callers; any number of them.
    Listener,
    /// The one control connection of a private daemon.
    Caller,
    /// The [`Gathered`](crate::process::gather::Gathered) configuration; without it there is none, and the defaults count.
    Configuration,
    /// A door of the keyholder's; without it private keys are in the worker itself.
    KeyholderDoor,
    /// To the keyholder: the supervisor's own door.
    SupervisorsDoor,
    /// To the keyholder: where it asks the supervisor for connections to signers.
    AskSupervisor,
    /// The way to ask others for what a worker cannot do; without it this process does everything.
    Outside,
    /// The shared memory of its [`Registry`](crate::io::Registry).
    Sessions,
    /// Where it tells of its control connections ([`Noted`](crate::engine::Noted)).
    Connections,
}

/// Descriptors by name.
#[derive(Debug, Default)]
pub(crate) struct Gifts(Vec<(Gift, OwnedFd)>);

impl Gifts {
    /// Gives each descriptor its name; `None` when the numbers of both differ.
    pub(crate) fn new(names: Vec<Gift>, fds: Vec<OwnedFd>) -> Option<Self> {
        (names.len() == fds.len()).then(|| Self(names.into_iter().zip(fds).collect()))
    }

    /// The first of this name.
    pub(crate) fn take(&mut self, name: Gift) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(at).1)
    }

    /// All of this name.
    pub(crate) fn take_all(&mut self, name: Gift) -> Vec<OwnedFd> {
        self.0.extract_if(.., |(other, _)| *other == name).map(|(_, fd)| fd).collect()
    }
}

/// Descriptors that are to go along, by name.
#[derive(Debug, Default)]
pub(crate) struct Parcel<'a> {
    pub(crate) names: Vec<Gift>,
    pub(crate) fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Parcel<'a> {
    /// Adds one; it stays the sender's.
    pub(crate) fn add(&mut self, name: Gift, fd: BorrowedFd<'a>) {
        self.names.push(name);
        self.fds.push(fd);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_descriptor_is_what_it_was_called() {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let third = reader.try_clone().expect("a descriptor is free");
        let names = vec![Gift::Listener, Gift::Caller, Gift::Listener];
        assert!(Gifts::new(names.clone(), Vec::new()).is_none());
        let mut gifts = Gifts::new(names, vec![reader, writer, third]).expect("as many");
        assert_eq!(gifts.take_all(Gift::Listener).len(), 2);
        assert!(gifts.take(Gift::Caller).is_some() && gifts.take(Gift::Caller).is_none());
    }
}
