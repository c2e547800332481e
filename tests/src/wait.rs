//! Time limits: nothing in the rig waits for ever, so that a test that hangs says what it waited for.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long anything in the rig may take. Far above what a loaded machine of two cores needs, far below the patience
/// of a person.
pub const LIMIT: Duration = Duration::from_secs(20);

/// A thread of the test, with a time limit on waiting for it.
#[derive(Debug)]
#[must_use = "a thread that is not joined can fail unseen"]
pub struct Running<T> {
    name: String,
    done: mpsc::Receiver<T>,
    thread: thread::JoinHandle<()>,
}

/// Runs `work` in a thread of that name.
pub fn running<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Running<T> {
    let (tell, done) = mpsc::channel();
    let thread = thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let _ = tell.send(work());
        })
        .expect("a thread can be made");
    Running { name: name.to_owned(), done, thread }
}

impl<T> Running<T> {
    /// What the thread gave.
    ///
    /// # Panics
    /// When it panicked, and when it takes longer than [`LIMIT`].
    pub fn join(self) -> T {
        self.join_within(LIMIT)
    }

    /// What the thread gave, with another limit for work that is known to be long.
    ///
    /// # Panics
    /// When it panicked, and when it takes longer than `limit`.
    pub fn join_within(self, limit: Duration) -> T {
        match self.done.recv_timeout(limit) {
            Ok(result) => {
                let _ = self.thread.join();
                result
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                panic!("\"{}\" is not done after {limit:?}", self.name)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => match self.thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => panic!("\"{}\" ended without a result", self.name),
            },
        }
    }

    /// Whether it is done, one way or the other.
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Runs `work` with the rig's time limit.
///
/// # Panics
/// When `work` does, and when it takes longer than [`LIMIT`].
pub fn within<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    running(name, work).join()
}

/// Looks again and again until `look` gives something, for at most `limit`.
pub fn until<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "\"slow\" is not done after 10ms")]
    fn a_thread_that_hangs_is_named() {
        running("slow", || thread::sleep(LIMIT)).join_within(Duration::from_millis(10));
    }

    #[test]
    #[should_panic(expected = "its own words")]
    fn a_thread_that_panics_fails_the_test_in_its_own_words() {
        within("broken", || panic!("its own words"))
    }
}
