//! The end: a drain with its deadline, and what is made of how the worker ended.

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;

use super::manager::Manager;
use super::{Daemon, Signals};
use crate::process::parts::{self, Cause, FromWorker, Happened, Kept, ToWorker};
use crate::process::start::StartError;

/// After its goodbyes the worker ends. One that does not is killed.
const LAST_STEPS: Duration = Duration::from_secs(2);

impl Daemon {
    /// SIGTERM or SIGINT: the worker takes nothing new, and has until the deadline to finish what there is.
    pub(super) async fn drain(
        mut self,
        mut worker: Kept<FromWorker>,
        manager: Manager,
        mut signals: Signals,
    ) -> Result<(), StartError> {
        manager.tell(NotifyState::Stopping);
        let limit = self.timeouts.drain;
        self.listeners.clear();
        if worker.channel().is_none() {
            // One that crashed and was not started again: nobody has a session.
            return Ok(());
        }
        worker.tell(&ToWorker::Drain);
        let told = |sessions| {
            if sessions > 0 {
                let limit_s = limit.as_secs();
                tracing::info!(sessions, limit_s, "ending when the open sessions have ended");
            }
        };
        let mut last_words = None;
        let ended = self.dialing.beside(&self.log, until_death(&mut worker, &mut last_words, told));
        let mut cause = in_time(ended, limit, signals.end()).await;
        if cause.is_none() {
            worker.tell(&ToWorker::End);
            let limit = parts::worker::GOODBYE + LAST_STEPS;
            let ended = until_death(&mut worker, &mut last_words, |_| {});
            cause = in_time(ended, limit, std::future::pending()).await;
        }
        if cause.is_none() {
            worker.kill();
            until_death(&mut worker, &mut last_words, |_| {}).await;
        }
        // Nobody, if it ended as it should.
        self.remains();
        end(last_words, cause.unwrap_or(Cause::Deaf))
    }
}

/// Waits for the worker's end, and keeps its last words.
pub(super) async fn until_death(
    worker: &mut Kept<FromWorker>,
    last_words: &mut Option<Result<(), String>>,
    draining: impl Fn(u64),
) -> Cause {
    loop {
        match worker.happened().await {
            Happened::Said(FromWorker::Ended(how)) => *last_words = Some(how),
            Happened::Said(FromWorker::Draining { sessions }) => draining(sessions),
            Happened::Said(FromWorker::Ready | FromWorker::Reloaded(_)) | Happened::Due => {}
            Happened::Died(cause) => return cause,
        }
    }
}

/// What comes before the limit and before `stop`.
pub(super) async fn in_time<T>(
    ended: impl Future<Output = T>,
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> Option<T> {
    tokio::select! {
        ended = ended => Some(ended),
        () = tokio::time::sleep(limit) => None,
        () = stop => None,
    }
}

/// How a worker that is not started again has ended.
pub(super) fn end(last_words: Option<Result<(), String>>, cause: Cause) -> Result<(), StartError> {
    match last_words {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(StartError::Worker(why)),
        None => Err(StartError::Crashed(format!("the worker {cause}"))),
    }
}
