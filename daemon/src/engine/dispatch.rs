//! Which core gets a new session.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A hand-over stays where it was received unless another core has this much less to do: waking an
/// idle core cost 111 µs where it was measured, about one handshake.
const MARGIN: usize = 8;
/// Open sessions are mostly at rest: this many weigh as much as one handshake.
const AT_REST: usize = 16;
/// A session that has more to do than a turn allows keeps a core busy as several handshakes would.
const BUSY: usize = 4;

/// What a worker has to do. Written by the worker, read by all; approximate, and enough for this.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Handshakes in flight.
    pub(super) handshakes: AtomicUsize,
    /// Sessions, handshakes included.
    pub(super) sessions: AtomicUsize,
    /// Sessions that wait for their next turn.
    pub(super) busy: AtomicUsize,
}

impl Load {
    fn score(&self) -> usize {
        self.handshakes.load(Ordering::Relaxed)
            + self.busy.load(Ordering::Relaxed) * BUSY
            + self.sessions.load(Ordering::Relaxed) / AT_REST
    }
}

/// The worker for a session that was received on `here`.
pub(super) fn choose<'a>(loads: impl Iterator<Item = &'a Load> + Clone, here: usize) -> usize {
    let mut scores = loads.map(Load::score);
    let Some((least, score)) = scores.clone().enumerate().min_by_key(|(_, score)| *score) else {
        return here;
    };
    if scores.nth(here).is_none_or(|mine| score + MARGIN < mine) { least } else { here }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(handshakes: usize, sessions: usize, busy: usize) -> Load {
        Load { handshakes: handshakes.into(), sessions: sessions.into(), busy: busy.into() }
    }

    #[test]
    fn an_even_load_wakes_nobody() {
        let loads = [load(3, 3, 0), load(0, 0, 0)];
        assert_eq!(choose(loads.iter(), 0), 0);
        assert_eq!(choose(loads.iter(), 1), 1);
    }

    #[test]
    fn a_busy_core_hands_on_to_the_one_with_least_to_do() {
        let loads = [load(40, 40, 0), load(5, 5, 0), load(0, 0, 3), load(1, 1, 0)];
        assert_eq!(choose(loads.iter(), 0), 3);
        assert_eq!(choose(loads.iter(), 1), 1);
    }

    #[test]
    fn sessions_at_rest_weigh_little_and_bulk_weighs_much() {
        assert_eq!(choose([load(0, 100, 0), load(0, 0, 0)].iter(), 0), 0);
        assert_eq!(choose([load(0, 1000, 0), load(0, 0, 0)].iter(), 0), 1);
        assert_eq!(choose([load(0, 3, 3), load(0, 0, 0)].iter(), 0), 1);
    }
}
