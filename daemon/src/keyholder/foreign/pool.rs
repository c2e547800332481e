//! The connections to one signer: each carries one request at a time, and few are enough, since most signers work on one
//! request at a time whatever is open.

use std::os::fd::AsFd;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::io::agent::Stream;

/// Connections at the same time. A token in a box elsewhere signs several at once; an ssh-agent has one thread.
pub(super) const MOST: usize = 8;

/// The connections.
#[derive(Debug, Default)]
pub(super) struct Pool {
    inner: Mutex<Inner>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    idle: Vec<Stream>,
    /// Lent, or being opened.
    lent: usize,
    /// Connections from before are closed when they come back.
    epoch: u64,
}

/// The right to one connection. What is not given back is closed.
#[derive(Debug)]
pub(super) struct Lent<'a> {
    pool: &'a Pool,
    epoch: u64,
}

impl Pool {
    /// A connection that is there, or the right to open one; waits until `deadline` while there are as many as may be.
    /// `None`: it took too long.
    pub(super) fn take(&self, deadline: Instant) -> Option<(Lent<'_>, Option<Stream>)> {
        let mut inner = self.lock();
        while inner.lent >= MOST {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let waited = self.freed.wait_timeout(inner, left);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.lent += 1;
        let lent = Lent { pool: self, epoch: inner.epoch };
        while let Some(stream) = inner.idle.pop() {
            if is_quiet(&stream) {
                return Some((lent, Some(stream)));
            }
        }
        Some((lent, None))
    }

    /// Closes what is there, and what is lent when it comes back.
    pub(super) fn begin(&self, epoch: u64) {
        let mut inner = self.lock();
        if inner.epoch != epoch {
            inner.epoch = epoch;
            inner.idle.clear();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent<'_> {
    /// Gives the connection back: nothing is asked on it, and nothing comes.
    pub(super) fn give_back(self, stream: Stream) {
        let mut inner = self.pool.lock();
        if inner.epoch == self.epoch {
            inner.idle.push(stream);
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.lock().lent -= 1;
        self.pool.freed.notify_one();
    }
}

/// Nothing to read and not closed. What an agent says unasked would be taken for the next answer.
fn is_quiet(stream: &Stream) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut polled, Some(&now)), Ok(0))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    fn pair() -> (Stream, OwnedFd) {
        Stream::pair().expect("pair")
    }

    #[test]
    fn a_connection_is_used_again_and_one_that_spoke_or_closed_is_not() {
        let pool = Pool::default();
        let (stream, other) = pair();
        let number = std::os::fd::AsRawFd::as_raw_fd(&stream.as_fd());
        let (lent, none) = pool.take(soon()).expect("room");
        assert!(none.is_none());
        lent.give_back(stream);
        let (lent, stream) = pool.take(soon()).expect("room");
        let stream = stream.expect("the same");
        assert_eq!(std::os::fd::AsRawFd::as_raw_fd(&stream.as_fd()), number);
        lent.give_back(stream);
        drop(other);
        assert!(pool.take(soon()).expect("room").1.is_none(), "closed");
        let (stream, other) = pair();
        pool.take(soon()).expect("room").0.give_back(stream);
        std::fs::File::from(other).write_all(b"unasked").expect("written");
        assert!(pool.take(soon()).expect("room").1.is_none(), "it spoke");
    }

    #[test]
    fn when_all_are_lent_the_wait_has_an_end_and_one_given_back_ends_it() {
        let pool = Pool::default();
        let mut lent: Vec<_> = (0..MOST).map(|_| pool.take(soon()).expect("room").0).collect();
        assert!(pool.take(soon()).is_none());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| pool.take(Instant::now() + Duration::from_secs(10)).is_some());
            lent.pop();
            assert!(waiting.join().expect("no panic"));
        });
    }

    #[test]
    fn connections_from_before_a_reload_are_closed() {
        let pool = Pool::default();
        let ((idle, _a), (busy, _b)) = (pair(), pair());
        pool.take(soon()).expect("room").0.give_back(idle);
        let (working, _) = pool.take(soon()).expect("room");
        pool.begin(7);
        working.give_back(busy);
        assert!(pool.take(soon()).expect("room").1.is_none());
        pool.begin(7);
        let (stream, _c) = pair();
        pool.take(soon()).expect("room").0.give_back(stream);
        pool.begin(7);
        assert!(pool.take(soon()).expect("room").1.is_some(), "the same configuration closes nothing");
    }
}
