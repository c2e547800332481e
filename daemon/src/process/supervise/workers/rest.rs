//! When a worker that has nothing to do is ended. Pure: the time comes in as an argument.
//!
//! ```text
//!  gave ─▶ busy ─ a quarter of the patience ─▶ ask ─▶ answered: idle, and all callers have arrived ─▶ resting ─ patience ─▶ end
//!            ▲                                             └ anything else ─▶ busy                        │
//!            └───────────────────────────────── gave ─────────────────────────────────────────────────────┘
//! ```
//!
//! No caller is lost between a worker that says that it is idle and one that is given to it at the same time: the worker
//! says how many it has got, and only who has got all that were given is idle. Callers come from nowhere else.

use std::time::{Duration, Instant};

/// How long a worker may have nothing to do. What it has learned goes with it, tickets above all, so that it is long
/// compared with the pauses of a program that works; it holds a few MiB, so that it is not an hour.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// One worker's.
#[derive(Debug)]
pub(super) struct Rest {
    patience: Duration,
    given: u64,
    since: Option<Instant>,
    next: Instant,
    asked: bool,
}

impl Rest {
    /// Of a worker that was started at `now`.
    pub(super) fn new(patience: Duration, now: Instant) -> Self {
        Self { patience, given: 0, since: None, next: now + patience / 4, asked: false }
    }

    /// A caller was given to it.
    pub(super) fn gave(&mut self) {
        self.given += 1;
        self.since = None;
    }

    /// When [`Rest::is_to_be_asked`] may say so.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Whether it is to be asked now. One that has not answered yet is not asked again: its queue is not filled.
    pub(super) fn is_to_be_asked(&mut self, now: Instant) -> bool {
        if now < self.next {
            return false;
        }
        self.next = now + self.patience / 4;
        !std::mem::replace(&mut self.asked, true)
    }

    /// It has answered. Whether it is to be ended.
    pub(super) fn answered(&mut self, taken: u64, idle: bool, now: Instant) -> bool {
        self.asked = false;
        if !idle || taken != self.given {
            self.since = None;
            return false;
        }
        now.saturating_duration_since(*self.since.get_or_insert(now)) >= self.patience
    }

    /// Since when it has had nothing to do, if it has.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn one_that_has_had_nothing_to_do_for_a_minute_ends_and_none_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut rest = Rest::new(MINUTE, start);
        rest.gave();
        assert!(!rest.is_to_be_asked(at(14)));
        let ends: Vec<u64> = (0..200)
            .filter(|second| {
                // Its one caller leaves after half a minute.
                rest.is_to_be_asked(at(*second)) && rest.answered(1, *second > 30, at(*second))
            })
            .collect();
        assert_eq!(ends.first(), Some(&105), "idle when asked at 45 s, and a minute later still");
    }

    #[test]
    fn a_caller_on_its_way_to_a_worker_that_says_that_it_is_idle_is_not_lost() {
        let start = Instant::now();
        let mut rest = Rest::new(MINUTE, start);
        rest.gave();
        assert!(!rest.answered(1, true, start));
        assert!(rest.since().is_some());
        // Given while its answer was on the way: it has not seen it.
        rest.gave();
        assert!(!rest.answered(1, true, start + 2 * MINUTE), "one of two has arrived");
        assert_eq!(rest.since(), None);
        assert!(!rest.answered(2, true, start + 3 * MINUTE), "the minute begins anew");
        assert!(rest.answered(2, true, start + 4 * MINUTE));
    }

    #[test]
    fn one_that_does_not_answer_is_asked_once() {
        let start = Instant::now();
        let mut rest = Rest::new(MINUTE, start);
        let asked = (0..10).filter(|minute| rest.is_to_be_asked(start + *minute * MINUTE)).count();
        assert_eq!(asked, 1);
    }
}
