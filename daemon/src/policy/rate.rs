//! How often something may be done: a bucket of tokens that fills at an even pace.
//!
//! The bucket is kept as one moment, the one at which it will be full again (the generic cell rate algorithm). What
//! is done moves that moment on by one token's time, and is let through while it is no more than a bucketful away. So
//! a bucket is eight bytes, needs no timer, and one that nobody used for a while equals one that was never used: it
//! can be forgotten, and is.

use std::sync::atomic::{AtomicU64, Ordering};

const SECOND: u64 = 1_000_000_000;

/// So many in a second, and so many at once after a rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In each second, evenly: at least 1.
    pub per_second: u32,
    /// At once, when nothing was done for a while: at least 1.
    pub burst: u32,
}

impl Rate {
    /// Nanoseconds until one more is allowed.
    fn interval(self) -> u64 {
        (SECOND / u64::from(self.per_second.max(1))).max(1)
    }

    /// How far ahead the moment of the full bucket may be.
    fn depth(self) -> u64 {
        self.interval().saturating_mul(u64::from(self.burst.max(1)))
    }
}

/// When the bucket is full again, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Bucket(AtomicU64);

impl Bucket {
    /// One that was left behind.
    pub(super) fn full_from(full: u64) -> Self {
        Bucket(AtomicU64::new(full))
    }

    /// Takes a token at `now`, if there is one. A clock that goes back a little, as two threads' may, gives nobody more.
    pub(super) fn take(&self, rate: Rate, now: u64) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
                let next = full.max(now).saturating_add(rate.interval());
                (next - now.min(next) <= rate.depth()).then_some(next)
            })
            .is_ok()
    }

    /// When it will be full again.
    pub(super) fn full_at(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 7 * SECOND;

    /// How many of `asked` are let through at this moment.
    fn let_through(bucket: &Bucket, rate: Rate, now: u64, asked: u32) -> u32 {
        (0..asked).filter(|_| bucket.take(rate, now)).count().try_into().unwrap()
    }

    #[test]
    fn a_burst_and_then_the_pace_and_after_a_rest_no_more_than_a_burst() {
        let (bucket, rate) = (Bucket::default(), Rate { per_second: 10, burst: 3 });
        assert_eq!(let_through(&bucket, rate, START, 100), 3);
        assert_eq!(let_through(&bucket, rate, START + SECOND / 10 - 1, 100), 0);
        assert_eq!(let_through(&bucket, rate, START + SECOND / 10, 100), 1);
        assert_eq!(let_through(&bucket, rate, START + 3600 * SECOND, 100), 3);
    }

    #[test]
    fn whoever_asks_all_the_time_gets_the_pace_and_not_less() {
        let (bucket, rate) = (Bucket::default(), Rate { per_second: 50, burst: 50 });
        let through: u32 =
            (0..10_000).map(|step| let_through(&bucket, rate, START + step * SECOND / 1000, 3)).sum();
        // Ten seconds of 50 and the burst.
        assert!((548..=550).contains(&through), "{through}");
    }

    #[test]
    fn what_is_refused_costs_nothing_and_a_clock_that_goes_back_gives_nothing() {
        let (bucket, rate) = (Bucket::default(), Rate { per_second: 1, burst: 1 });
        assert!(bucket.take(rate, START));
        assert_eq!(let_through(&bucket, rate, START + 1, 1000), 0);
        assert_eq!(let_through(&bucket, rate, START - SECOND, 10), 0);
        assert!(bucket.take(rate, START + SECOND));
    }

    #[test]
    fn another_rate_counts_from_the_next_one_on() {
        let bucket = Bucket::default();
        assert_eq!(let_through(&bucket, Rate { per_second: 1, burst: 5 }, START, 9), 5);
        let fast = Rate { per_second: 1000, burst: 1000 };
        assert_eq!(let_through(&bucket, fast, START, 1), 0, "what was taken is still owed");
        assert!(bucket.take(fast, START + 5 * SECOND));
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let rate = Rate { per_second: u32::MAX, burst: u32::MAX };
        let bucket = Bucket::full_from(u64::MAX);
        assert!(!bucket.take(rate, 1));
        assert!(Bucket::default().take(Rate { per_second: 1, burst: u32::MAX }, u64::MAX - SECOND));
    }
}
