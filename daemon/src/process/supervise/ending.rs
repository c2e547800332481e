//! The end: how long is waited for what, and what is made of how the worker ended.

use std::future::Future;
use std::time::Duration;

use crate::process::parts::{Cause, FromWorker, Happened, Kept};
use crate::process::start::StartError;

/// After its goodbyes the worker ends. One that does not is killed.
pub(super) const LAST_STEPS: Duration = Duration::from_secs(2);

/// The worker answers at once when it is told to drain. For one that hangs, the socket stays no longer than this.
pub(super) const FIRST_WORD: Duration = Duration::from_secs(1);

/// Waits until the worker says how many sessions are open when it takes no more, or for its end.
pub(super) async fn until_draining(
    worker: &mut Kept<FromWorker>,
    last_words: &mut Option<Result<(), String>>,
) -> Result<u64, Cause> {
    loop {
        match worker.happened().await {
            Happened::Said(FromWorker::Draining { sessions }) => return Ok(sessions),
            Happened::Said(FromWorker::Ended(how)) => *last_words = Some(how),
            Happened::Said(_) | Happened::Due => {}
            Happened::Died(cause) => return Err(cause),
        }
    }
}

/// Waits for the worker's end, and keeps its last words.
pub(super) async fn until_death(
    worker: &mut Kept<FromWorker>,
    last_words: &mut Option<Result<(), String>>,
) -> Cause {
    // What else it says now is nothing to us.
    loop {
        if let Err(cause) = until_draining(worker, last_words).await {
            return cause;
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
