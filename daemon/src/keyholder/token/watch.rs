//! A module that never comes back: nothing inside this process can end such a call, so the process ends.

use std::time::{Duration, Instant};

use super::serve::Threads;

/// Twice the longest deadline there is: who asked gave up long ago.
const LONGEST_CALL: Duration = Duration::from_secs(60);

/// Looks every second from now on, and ends the process with SIGABRT when the module has kept a call for a minute. The
/// supervisor starts another.
pub(super) fn start(threads: Threads) {
    let watch = move || {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            if threads.stuck(LONGEST_CALL, Instant::now()) {
                tracing::error!(
                    "the module has not come back from a call for {} s, the process with it is ended",
                    LONGEST_CALL.as_secs()
                );
                // Not exit(): that would run what the module has registered, which may hang as well.
                std::process::abort();
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("token-watch".to_owned()).spawn(watch) {
        tracing::warn!(%error, "nobody watches whether the module hangs");
    }
}
