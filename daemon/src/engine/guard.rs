//! One session's bug ends that session, and its caller has an answer.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use crate::tls::Failure;

/// Runs `work`, which is done for one session; `doing` says what it is, if it panics.
///
/// # Errors
/// It panicked.
pub(super) async fn guarded<T>(doing: &str, work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut work = Box::pin(work);
    std::future::poll_fn(move |cx| {
        // Unwind safety: after a panic the future is only dropped.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => {
                tracing::error!("{doing} panicked; this is a bug in tlsifyd");
                let text = "a bug in the daemon ended this session; please report it".to_owned();
                Poll::Ready(Err(Failure::internal(text)))
            }
        }
    })
    .await
}
