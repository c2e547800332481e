//! When a signer in trouble is asked again.
//!
//! ```text
//!             lost, or slow three times in a row            the wait is over: one call goes through
//!  ┌────────┐ ─────────────────────────────────▶ ┌──────┐ ───────────────────────────▶ ┌──────────┐
//!  │ Closed │                                     │ Open │                              │ HalfOpen │
//!  └────────┘ ◀── an answer ─┐                    └──────┘ ◀── lost or slow: twice as ─ └──────────┘
//!       ▲                    │                       │         long, 30 s at most           │
//!       └────────────────────┴───────────────────────┘◀──────── an answer ─────────────────┘
//! ```
//!
//! While it is open nobody waits: handshakes fail at once with the reason that there was. Any answer closes it, a refusal
//! too: who refuses is there. No clock: `now` comes in.

use std::time::{Duration, Instant};

/// The first wait. Shorter than a service manager takes to restart an agent, long enough that a crowd of handshakes does
/// not become a crowd of connections to nobody.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest: so long an agent that is back may stay unnoticed.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// So many calls in a row may take too long before it counts: one slow signature is no reason to fail others.
const PATIENCE: u32 = 3;

/// A call that found out nothing for so long was lost with its thread: another one tries. No deadline is longer than half.
const PROBE_LOST: Duration = Duration::from_secs(60);

/// What was wrong with a call that got no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It is not there, went away, or speaks nonsense.
    Away,
    /// No answer by the deadline.
    Slow,
}

/// The machine.
#[derive(Debug)]
pub(crate) struct Backoff {
    state: State,
    /// How long the next wait is.
    wait: Duration,
}

#[derive(Debug)]
enum State {
    /// Calls go through; so many in a row were slow.
    Closed { slow: u32 },
    /// Nobody is asked before `until`.
    Open { until: Instant, why: Trouble },
    /// One call is on its way, since `since`; the others are told `why`.
    HalfOpen { since: Instant, why: Trouble },
}

/// Whether a call may be made now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may, and says what came of it with [`Backoff::handle_answer`] or [`Backoff::handle_trouble`].
    Go,
    /// It may not: this was the trouble, and it is looked at again after so long.
    No(Trouble, Duration),
}

impl Default for Backoff {
    fn default() -> Self {
        Self { state: State::Closed { slow: 0 }, wait: FIRST_WAIT }
    }
}

impl Backoff {
    /// Asks whether a call may be made now.
    pub(crate) fn poll(&mut self, now: Instant) -> Admission {
        match self.state {
            State::Closed { .. } => Admission::Go,
            State::Open { until, why } if now >= until => {
                self.state = State::HalfOpen { since: now, why };
                Admission::Go
            }
            State::HalfOpen { since, why } if now >= since + PROBE_LOST => {
                self.state = State::HalfOpen { since: now, why };
                Admission::Go
            }
            State::Open { until, why } => Admission::No(why, until - now),
            State::HalfOpen { why, .. } => Admission::No(why, Duration::ZERO),
        }
    }

    /// A call got an answer, whatever it says. Returns whether that is news: nobody was asked before it.
    pub(crate) fn handle_answer(&mut self) -> bool {
        let news = !matches!(self.state, State::Closed { .. });
        *self = Self::default();
        news
    }

    /// A call got none. Returns how long nobody asks now, if that has just been decided.
    pub(crate) fn handle_trouble(&mut self, why: Trouble, now: Instant) -> Option<Duration> {
        match (&mut self.state, why) {
            (State::Closed { slow }, Trouble::Slow) if *slow + 1 < PATIENCE => {
                *slow += 1;
                None
            }
            // A call that began before the others found out: known already.
            (State::Open { .. }, _) => None,
            (State::Closed { .. } | State::HalfOpen { .. }, _) => {
                let wait = self.wait;
                self.state = State::Open { until: now + wait, why };
                self.wait = (wait * 2).min(LONGEST_WAIT);
                Some(wait)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_waits_double_to_half_a_minute_and_an_answer_ends_them() {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        for wait in [1, 2, 4, 8, 16, 30, 30] {
            assert_eq!(backoff.poll(now), Admission::Go);
            assert_eq!(backoff.handle_trouble(Trouble::Away, now), Some(wait * SECOND));
            now += wait * SECOND - Duration::from_millis(1);
            let left = Duration::from_millis(1);
            assert_eq!(backoff.poll(now), Admission::No(Trouble::Away, left), "after {wait} s");
            now += left;
        }
        assert_eq!(backoff.poll(now), Admission::Go);
        assert!(backoff.handle_answer());
        assert!(!backoff.handle_answer());
        assert_eq!(backoff.handle_trouble(Trouble::Away, now), Some(SECOND), "from the beginning again");
    }

    #[test]
    fn one_call_alone_finds_out_whether_it_is_back() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.handle_trouble(Trouble::Away, now);
        let later = now + SECOND;
        assert_eq!(backoff.poll(later), Admission::Go);
        for _ in 0..100 {
            assert_eq!(backoff.poll(later), Admission::No(Trouble::Away, Duration::ZERO));
        }
        assert!(backoff.handle_answer());
        assert_eq!(backoff.poll(later), Admission::Go);
        assert_eq!(backoff.poll(later), Admission::Go);
    }

    #[test]
    fn one_slow_signature_does_not_fail_others() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        for _ in 0..10 {
            assert_eq!(backoff.handle_trouble(Trouble::Slow, now), None);
            assert_eq!(backoff.handle_trouble(Trouble::Slow, now), None);
            assert_eq!(backoff.poll(now), Admission::Go);
            assert!(!backoff.handle_answer());
        }
        let decided: Vec<_> = (0..3).map(|_| backoff.handle_trouble(Trouble::Slow, now)).collect();
        assert_eq!(decided, [None, None, Some(SECOND)]);
        assert_eq!(backoff.poll(now), Admission::No(Trouble::Slow, SECOND));
    }

    #[test]
    fn a_crowd_that_fails_together_counts_once() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        let decided: Vec<_> = (0..50).map(|_| backoff.handle_trouble(Trouble::Away, now)).collect();
        assert_eq!(decided.iter().flatten().count(), 1);
        assert_eq!(backoff.poll(now + SECOND), Admission::Go);
        assert_eq!(
            backoff.handle_trouble(Trouble::Slow, now + SECOND),
            Some(2 * SECOND),
            "one probe is enough"
        );
    }

    #[test]
    fn a_probe_that_never_ends_does_not_shut_the_signer_out() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.handle_trouble(Trouble::Away, now);
        assert_eq!(backoff.poll(now + SECOND), Admission::Go);
        assert!(matches!(backoff.poll(now + PROBE_LOST), Admission::No(..)));
        assert_eq!(backoff.poll(now + SECOND + PROBE_LOST), Admission::Go);
        assert!(matches!(backoff.poll(now + SECOND + PROBE_LOST), Admission::No(..)));
    }

    #[test]
    fn a_late_answer_of_an_older_call_is_an_answer() {
        let mut backoff = Backoff::default();
        let now = Instant::now();
        backoff.handle_trouble(Trouble::Away, now);
        assert!(backoff.handle_answer());
        assert_eq!(backoff.poll(now), Admission::Go);
    }
}
