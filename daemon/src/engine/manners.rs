//! A worker that has much to do shares its core with the programs that it works for.
//!
//! Handshakes keep a core busy for as long as they come. A program on the same core that has been given a request
//! then waits for the end of the worker's time slice, or for the next tick of the clock: 4 ms, several times what its answer
//! takes. So a worker that has given something to a program lets others run now and then. Where others want the
//! core for themselves, that costs the worker the rest of its slice each time: it asks for short ones, and where it
//! cannot have them, it does not step aside.

use std::time::{Duration, Instant};

use crate::sys::ask_for_slices;

/// What stepping aside costs at most: the shortest slice that Linux gives.
const SLICE: Duration = Duration::from_micros(100);
/// How long a worker goes on before it steps aside: a request waits no longer, and the price is a quarter of the core at
/// most.
const STRETCH: Duration = Duration::from_micros(300);

/// When to step aside.
#[derive(Debug, Default)]
pub(super) struct Manners {
    /// Nothing, where it would cost too much.
    since: Option<Instant>,
    /// A program was given something.
    fed: bool,
}

impl Manners {
    /// For the calling thread, whose slices are short from now on.
    pub(super) fn begin(now: Instant) -> Self {
        Self { since: ask_for_slices(SLICE).then_some(now), fed: false }
    }

    /// A program was given something.
    pub(super) fn has_fed(&mut self) {
        self.fed = true;
    }

    /// Whether it is time to step aside; the next time is counted from now then.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        match &mut self.since {
            Some(since) if self.fed && now.saturating_duration_since(*since) >= STRETCH => {
                *since = now;
                self.fed = false;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_steps_aside_for_those_it_fed_and_not_too_often() {
        let start = Instant::now();
        let mut manners = Manners { since: Some(start), fed: false };
        assert!(!manners.ask(start + STRETCH), "nobody was given anything");
        manners.has_fed();
        assert!(!manners.ask(start + STRETCH / 2), "too soon");
        assert!(manners.ask(start + STRETCH));
        manners.has_fed();
        assert!(!manners.ask(start + STRETCH + STRETCH / 2));
        assert!(manners.ask(start + STRETCH * 2));
        assert!(!manners.ask(start + STRETCH * 9), "nobody was given anything since");
    }

    #[test]
    fn a_worker_without_short_slices_stays() {
        let mut manners = Manners::default();
        manners.has_fed();
        assert!(!manners.ask(Instant::now() + STRETCH * 9));
    }
}
