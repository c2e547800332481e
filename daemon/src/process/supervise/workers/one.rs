//! One worker for all callers, which is always there, or soon again.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use sd_notify::NotifyState;

use super::Turn;
use crate::process::keys::Door;
use crate::process::parts::{self, Cause, FromWorker, Happened, Kept, Part, ToWorker};
use crate::process::remains::Remains;
use crate::process::start::StartError;
use crate::process::supervise::begin::{again, said};
use crate::process::supervise::ending::{FIRST_WORD, LAST_STEPS, end, in_time, until_death, until_draining};
use crate::process::supervise::manager::Manager;
use crate::process::supervise::reload::Told;
use crate::process::supervise::{Daemon, Making, Signals};

pub(in super::super) struct One {
    worker: Kept<FromWorker>,
    /// What it will leave behind, if it is one that can be outlived.
    remains: Option<Remains>,
    /// Whether it is still to say that it serves.
    starting: bool,
    /// Whether callers were served before.
    served: bool,
    /// Whether that is to be told when they are (again).
    unready: bool,
    /// Configurations that it was told, and has not answered yet.
    reloads: VecDeque<Told>,
    last_words: Option<Result<(), String>>,
}

impl One {
    pub(super) fn begin(daemon: &mut Daemon) -> Result<Self, StartError> {
        let (running, remains) = daemon.start_worker()?;
        let worker = Kept::new(Part::Worker, running);
        let reloads = VecDeque::new();
        let (starting, served, unready) = (true, false, true);
        Ok(Self { worker, remains, starting, served, unready, reloads, last_words: None })
    }

    pub(super) async fn happened(&mut self) -> Happened<FromWorker> {
        let Self { worker, remains, .. } = self;
        tokio::select! {
            happened = worker.happened() => happened,
            () = listen(remains) => std::future::pending().await,
        }
    }

    pub(super) fn note(
        &mut self,
        happened: Happened<FromWorker>,
        daemon: &mut Daemon,
    ) -> Result<Turn, StartError> {
        match happened {
            Happened::Said(FromWorker::Ready) if std::mem::take(&mut self.starting) => {
                daemon.tell_serving(self.served, self.worker.pid());
                self.served = true;
                if std::mem::take(&mut self.unready) {
                    return Ok(Turn::Ready);
                }
            }
            Happened::Said(FromWorker::Reloaded(answer)) if !self.reloads.is_empty() => {
                if let Some(told) = self.reloads.pop_front() {
                    daemon.reloaded(told, answer);
                }
                if self.reloads.is_empty() {
                    return Ok(Turn::Ready);
                }
            }
            Happened::Said(FromWorker::Ended(how)) if self.last_words.is_none() => {
                self.last_words = Some(how);
            }
            Happened::Said(unasked) => {
                // It is broken, or in somebody else's hands: each such word would cost us a line or more.
                tracing::error!("the worker said {} when it was not to, and is ended", unasked.verb());
                self.worker.kill();
            }
            Happened::Died(cause) => {
                self.tell_remains();
                let last_words = self.last_words.take();
                // One that says why it cannot begin would say so again. One that crashed, perhaps after its first callers came
                // and before its word did, is replaced like any other.
                let cannot_begin = !self.served && last_words.is_some();
                if cannot_begin || !matches!(daemon.making, Making::Spawned) {
                    return Ok(Turn::Over(end(last_words, cause)));
                }
                // What it did not answer any more, the next one starts with.
                for told in self.reloads.drain(..) {
                    daemon.take_for_the_next(told);
                    self.unready = true;
                }
                again(&mut self.worker, &said(last_words, &cause))?;
            }
            Happened::Due => match daemon.start_worker() {
                Ok((running, remains)) => {
                    self.worker.start(running);
                    self.starting = true;
                    self.remains = remains;
                }
                Err(error) => again(&mut self.worker, &format!("could not be started: {error}"))?,
            },
        }
        Ok(Turn::Nothing)
    }

    pub(super) fn reload(&mut self, loaded: Option<Told>, daemon: &mut Daemon) -> Turn {
        match loaded {
            Some(told) if told.tell(&self.worker) => self.reloads.push_back(told),
            Some(told) => {
                daemon.take_for_the_next(told);
                self.unready = true;
            }
            None if self.reloads.is_empty() => return Turn::Ready,
            None => {}
        }
        Turn::Nothing
    }

    pub(super) fn keys_are_back(&mut self, door: Door, daemon: &mut Daemon) {
        let Some(holder) = &mut daemon.holder else { return };
        if let Some(door) = holder.back(door, &mut daemon.keyring) {
            self.worker.tell_with(&ToWorker::Keyholder, &[door.as_fd()]);
        }
    }

    /// What a dead worker has left behind: its sessions are over, and their callers are told so.
    fn tell_remains(&mut self) {
        tell_remains(self.remains.take());
    }

    pub(super) async fn end(
        mut self,
        mut daemon: Daemon,
        manager: Manager,
        mut signals: Signals,
    ) -> Result<(), StartError> {
        manager.tell(NotifyState::Stopping);
        let limit = daemon.timeouts.drain;
        let worker = &mut self.worker;
        if worker.channel().is_none() {
            // One that crashed and was not started again: nobody has a session.
            self.tell_remains();
            return Ok(());
        }
        worker.tell(&ToWorker::Drain);
        let mut last_words = None;
        // Whoever sees that the socket is gone finds that the worker takes nothing any more: its word comes first.
        let heard = until_draining(worker, &mut last_words);
        let heard = in_time(heard, FIRST_WORD, std::future::pending()).await;
        daemon.listeners.clear();
        if let Some(holder) = &mut daemon.holder {
            holder.leave();
        }
        match heard {
            Some(Ok(sessions)) if sessions > 0 => {
                let limit_s = limit.as_secs();
                tracing::info!(sessions, limit_s, "ending when the open sessions have ended");
            }
            Some(Err(cause)) => {
                self.tell_remains();
                return end(last_words, cause);
            }
            Some(Ok(_)) | None => {}
        }
        let ended = daemon.dialing.beside(&daemon.log, until_death(worker, &mut last_words));
        let mut cause = in_time(ended, limit, signals.end()).await;
        if cause.is_none() {
            worker.tell(&ToWorker::End);
            let limit = parts::worker::GOODBYE + LAST_STEPS;
            let ended = until_death(worker, &mut last_words);
            cause = in_time(ended, limit, std::future::pending()).await;
        }
        if cause.is_none() {
            worker.kill();
            until_death(worker, &mut last_words).await;
        }
        // Nobody, if it ended as it should.
        self.tell_remains();
        end(last_words, cause.unwrap_or(Cause::Deaf))
    }
}

/// Notes what the worker says of its connections, for as long as it does.
pub(super) async fn listen(remains: &mut Option<Remains>) {
    if let Some(remains) = remains {
        remains.listen().await;
    }
    // Its end is seen elsewhere.
    std::future::pending().await
}

/// Tells the callers of a dead worker that their sessions are over.
pub(super) fn tell_remains(remains: Option<Remains>) {
    let sessions = remains.map_or(0, Remains::tell);
    if sessions > 0 {
        tracing::warn!(sessions, "callers were told that their sessions ended with the worker");
    }
}
