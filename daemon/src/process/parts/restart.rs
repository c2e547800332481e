//! When a part that crashed is started again, and when no more.
//!
//! ```text
//!  crash ─▶ 0.1 s ─▶ again ─ crash ─▶ 0.2 s ─▶ again ─ … ─▶ 5 s at most
//!                      └─ a minute without a crash: as if there had been none
//!  more than five crashes in a minute ─▶ the daemon ends
//! ```

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Callers wait meanwhile: long enough that a part which dies at once does not take a core.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longer would only make callers wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A part that ran this long was well.
const HEALTHY: Duration = Duration::from_secs(60);
/// Crashes that are taken in [`WINDOW`]. More, and starting again is no answer: each would be another attempt for whoever
/// breaks it on purpose.
pub(crate) const CRASHES: usize = 5;
/// The time in which they are counted.
pub(crate) const WINDOW: Duration = Duration::from_secs(60);

/// The crashes of one part.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    crashes: VecDeque<Instant>,
    pause: Option<Duration>,
}

impl Restarts {
    /// Notes a crash at `now`: how long to wait before the next start, or `None` when there is to be none.
    pub(crate) fn after_crash(&mut self, now: Instant) -> Option<Duration> {
        let last = self.crashes.back().copied();
        self.crashes.push_back(now);
        self.crashes.retain(|crash| now.duration_since(*crash) < WINDOW);
        if self.crashes.len() > CRASHES {
            return None;
        }
        let was_well = last.is_none_or(|last| now.duration_since(last) >= HEALTHY);
        let pause = match self.pause {
            Some(pause) if !was_well => (pause * 2).min(LONGEST_PAUSE),
            _ => FIRST_PAUSE,
        };
        self.pause = Some(pause);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_the_sixth_crash_in_a_minute_is_the_last() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let pauses: Vec<_> =
            (0..6).map(|second| restarts.after_crash(start + Duration::from_secs(second))).collect();
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pauses, [ms(100), ms(200), ms(400), ms(800), ms(1600), None]);
    }

    #[test]
    fn crashes_far_apart_never_end_the_daemon_and_wait_little() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        for minute in 0..100 {
            let pause = restarts.after_crash(start + Duration::from_secs(61 * minute));
            assert_eq!(pause, Some(FIRST_PAUSE), "{minute}");
        }
    }

    #[test]
    fn crashes_that_keep_below_the_limit_wait_five_seconds_at_most() {
        let (mut restarts, start) = (Restarts::default(), Instant::now());
        let last = (0..20).map(|crash| restarts.after_crash(start + Duration::from_secs(13 * crash))).last();
        assert_eq!(last, Some(Some(LONGEST_PAUSE)));
    }
}
