//! The end: how long is waited for what, and what is made of how the worker ended.

use std::future::Future;
use std::time::Duration;

use crate::process::parts::{Cause, FromWorker, Happened, Kept};
use crate::process::start::StartError;

/// After its goodbyes the worker ends. One that does not is killed.
pub(super) const LAST_STEPS: Duration = Duration::from_secs(2);

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
            Happened::Said(_) | Happened::Due => {}
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
