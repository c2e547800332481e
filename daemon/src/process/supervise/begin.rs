//! The worker, with everything that it starts with; and what is said when it crashes.

use std::os::fd::AsFd;

use serde::de::DeserializeOwned;

use super::{Daemon, Making};
use crate::process::descriptors;
use crate::process::parts::{
    self, CRASHES, Cause, Decisions, Gift, Kept, Parcel, Part, Running, Start, ToWorker, WINDOW,
};
use crate::process::remains::{Remains, Shares};
use crate::process::sandbox;
use crate::process::socket::Listener;
use crate::process::start::StartError;

impl Daemon {
    /// A worker, with everything that it starts with on the way.
    pub(super) fn start_worker(&mut self) -> Result<Running, StartError> {
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
        let shares = self.share().map_err(StartError::system("sharing what outlives the worker"))?;
        let mut parcel = Parcel::default();
        for listener in &self.listeners {
            parcel.add(Gift::Listener, listener.as_fd());
        }
        if let Some(caller) = &self.private {
            parcel.add(Gift::Caller, caller.as_fd());
        }
        if let Some(record) = &self.record {
            parcel.add(Gift::Configuration, record.as_fd());
        }
        let door = self.holder.as_mut().map(|holder| holder.door(&self.keyring)).transpose()?;
        if let Some(door) = &door {
            parcel.add(Gift::KeyholderDoor, door.as_fd());
        }
        // In one process there is nobody to ask.
        let outside = match alone {
            true => None,
            false => Some(self.dialing.answer(None)),
        };
        let outside = outside.transpose().map_err(StartError::system("answering the worker"))?;
        if let Some(outside) = &outside {
            parcel.add(Gift::Outside, outside.as_fd());
        }
        if let Some(Shares { memory, channel }) = &shares {
            parcel.add(Gift::Sessions, memory.as_fd());
            parcel.add(Gift::Connections, channel.as_fd());
        }
        let Parcel { names, fds } = parcel;
        let sandbox =
            self.confinement.as_ref().map(|confinement| confinement.settings(sandbox::Part::Worker));
        let decisions = Decisions { directives: self.log.directives.clone() };
        let start = Start { log: self.log.clone(), workers: self.workers, decisions, gifts: names, sandbox };
        let sent = running.channel.send(&ToWorker::Start(start), &fds);
        sent.map_err(std::io::Error::other).map_err(StartError::system("starting the worker"))?;
        // Its end has to be seen, by whoever has the other one.
        self.private = None;
        Ok(running)
    }

    /// What will be left of the worker. One that is not started again, or is this process, leaves nobody to speak for it.
    pub(super) fn share(&mut self) -> std::io::Result<Option<Shares>> {
        if !matches!(self.making, Making::Spawned) {
            return Ok(None);
        }
        let sessions = u32::try_from(descriptors::limit()).unwrap_or(u32::MAX);
        let (remains, shares) = Remains::new(self.workers, sessions)?;
        self.remains = Some(remains);
        Ok(Some(shares))
    }

    /// What a dead worker has left behind: its sessions are over, and their callers are told so.
    pub(super) fn remains(&mut self) {
        let sessions = self.remains.take().map_or(0, Remains::tell);
        if sessions > 0 {
            tracing::warn!(sessions, "callers were told that their sessions ended with the worker");
        }
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
