//! The worker, with everything that it starts with; and what is said when it crashes.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;

use super::workers::MAX_WORKERS;
use super::{Daemon, Making};
use crate::process::descriptors;
use crate::process::holder::Holder;
use crate::process::parts::{
    self, CRASHES, Cause, Decisions, Gift, Kept, Parcel, Part, Running, Start, ToWorker, WINDOW,
};
use crate::process::permits::Pin;
use crate::process::remains::{MOST, Remains, Shares};
use crate::process::sandbox;
use crate::process::socket::Listener;
use crate::process::start::StartError;

/// How the keyholder's log calls the worker of a user.
pub(super) fn name_of(uid: u32) -> String {
    format!("worker of uid {uid}")
}

/// The ways that a worker has to others, and what it serves.
struct Ways<'a> {
    record: Option<BorrowedFd<'a>>,
    door: Option<OwnedFd>,
    outside: Option<OwnedFd>,
    shares: Option<Shares>,
}

/// Whom a worker is for, where each user has one.
pub(super) struct Whose<'a> {
    pub(super) uid: u32,
    /// Another one for each worker.
    pub(super) number: u64,
    pub(super) profiles: &'a BTreeSet<String>,
    /// Keys of the operator's that it may use.
    pub(super) pins: &'a [Pin],
    /// With what these profiles name.
    pub(super) record: Option<BorrowedFd<'a>>,
}

impl Daemon {
    /// A worker, with everything that it starts with on the way.
    pub(super) fn start_worker(&mut self) -> Result<(Running, Option<Remains>), StartError> {
        let alone = matches!(self.making, Making::Thread);
        let running = match std::mem::replace(&mut self.making, Making::Spawned) {
            Making::Spawned => parts::spawn(Part::Worker),
            Making::Forked(running) => {
                self.making = Making::Thread;
                Ok(running)
            }
            Making::Thread => {
                self.making = Making::Thread;
                parts::thread(Part::Worker, |channel| {
                    parts::worker::serve(channel, parts::worker::Log::Supervisors)
                })
            }
        };
        let running = running.map_err(StartError::system("starting the worker"))?;
        let (remains, shares) = match self.making {
            // One that is not started again, or is this process, leaves nobody to speak for it.
            Making::Thread | Making::Forked(_) => (None, None),
            Making::Spawned => self.share(MOST).map(|(remains, shares)| (Some(remains), Some(shares)))?,
        };
        let mut parcel = Parcel::default();
        for listener in &self.listeners {
            parcel.add(Gift::Listener, listener.as_fd());
        }
        if let Some(caller) = &self.private {
            parcel.add(Gift::Caller, caller.as_fd());
        }
        let door = self.holder.as_mut().map(|holder| holder.door(&self.keyring)).transpose()?;
        // In one process there is nobody to ask.
        let outside = if alone { None } else { Some(self.outside(None)?) };
        let ways = Ways { record: self.record.as_ref().map(AsFd::as_fd), door, outside, shares };
        self.send_start(&running, parcel, &ways, None)?;
        // Its end has to be seen, by whoever has the other one.
        self.private = None;
        Ok((running, remains))
    }

    /// The same for the callers of one user: it gets no listening socket, and of the configuration and of the keyholder what
    /// is for that user.
    pub(super) fn start_worker_of(&mut self, whose: &Whose<'_>) -> Result<(Running, Remains), StartError> {
        let running = parts::spawn_worker_of(whose.uid);
        let running = running.map_err(StartError::system("starting the worker"))?;
        // So that all of them together cannot take all descriptors.
        let share = usize::try_from(descriptors::limit()).unwrap_or(usize::MAX) / 2 / MAX_WORKERS;
        let (remains, shares) = self.share(share.clamp(16, 1024))?;
        let name = name_of(whose.uid);
        let door = |holder: &Holder| holder.door_for(&name, whose.number, whose.pins, &self.keyring);
        let door = self.holder.as_ref().map(door).transpose()?;
        let outside = Some(self.outside(Some(whose.uid))?);
        let ways = Ways { record: whose.record, door, outside, shares: Some(shares) };
        self.send_start(&running, Parcel::default(), &ways, Some(whose.profiles.clone()))?;
        Ok((running, remains))
    }

    fn send_start<'a>(
        &'a self,
        running: &Running,
        mut parcel: Parcel<'a>,
        ways: &'a Ways<'a>,
        profiles: Option<BTreeSet<String>>,
    ) -> Result<(), StartError> {
        if let Some(record) = ways.record {
            parcel.add(Gift::Configuration, record);
        }
        if let Some(door) = &ways.door {
            parcel.add(Gift::KeyholderDoor, door.as_fd());
        }
        if let Some(outside) = &ways.outside {
            parcel.add(Gift::Outside, outside.as_fd());
        }
        if let Some(Shares { memory, channel }) = &ways.shares {
            parcel.add(Gift::Sessions, memory.as_fd());
            parcel.add(Gift::Connections, channel.as_fd());
        }
        let Parcel { names, fds } = parcel;
        let sandbox =
            self.confinement.as_ref().map(|confinement| confinement.settings(sandbox::Part::Worker));
        let start = Start {
            log: self.log.clone(),
            workers: self.workers,
            others: profiles.is_some(),
            decisions: Decisions { directives: self.log.directives.clone(), profiles },
            gifts: names,
            sandbox,
        };
        let sent = running.channel.send(&ToWorker::Start(start), &fds);
        sent.map_err(std::io::Error::other).map_err(StartError::system("starting the worker"))
    }

    fn outside(&self, only: Option<u32>) -> Result<OwnedFd, StartError> {
        self.dialing.answer(only).map_err(StartError::system("answering the worker"))
    }

    /// What will be left of a worker.
    fn share(&self, most: usize) -> Result<(Remains, Shares), StartError> {
        let sessions = u32::try_from(descriptors::limit()).unwrap_or(u32::MAX);
        let shared = Remains::new(self.workers, sessions, most);
        shared.map_err(StartError::system("sharing what outlives the worker"))
    }

    pub(super) fn tell_serving(&self, again: bool, worker: Option<i32>) {
        let workers = self.workers;
        match self.listeners.first().map(Listener::path) {
            _ if again => tracing::info!(worker, "serving again"),
            Some(Some(path)) => tracing::info!(socket = %path.display(), workers, "serving"),
            Some(None) => tracing::info!(socket = "inherited", workers, "serving"),
            None => tracing::debug!(workers, "serving one caller"),
        }
    }
}

/// A part has crashed and is to be started again, if that makes sense still.
pub(super) fn again<M: DeserializeOwned>(kept: &mut Kept<M>, how: &str) -> Result<(), StartError> {
    let part = kept.part();
    match kept.crashed() {
        Some(pause) => {
            tracing::error!("the {part} {how}; it is started again in {} ms", pause.as_millis());
            Ok(())
        }
        None => {
            tracing::error!("the {part} {how}");
            Err(StartError::Crashed(format!(
                "the {part} crashed more than {CRASHES} times in {} s, at last it {how}; this is a bug or an attack, see \
                 the lines before",
                WINDOW.as_secs()
            )))
        }
    }
}

/// In words behind "the worker".
pub(super) fn said(last_words: Option<Result<(), String>>, cause: &Cause) -> String {
    match last_words {
        Some(Err(why)) => format!("ended: {why}"),
        Some(Ok(())) => "ended without being told".to_owned(),
        None => cause.to_string(),
    }
}
