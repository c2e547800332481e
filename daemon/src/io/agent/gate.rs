//! Who may ask somebody else's signer now: so many at a time, and after a failure nobody for a while.
//!
//! ```text
//!  open ──failed──▶ paused 1 s ──over──▶ one probe ──signed or refused──▶ open
//!    ▲                 ▲                     └─failed─▶ paused twice as long, 30 s at most ─┐
//!    └─ an answer      └────────────────────────────────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

/// Handshakes that wait for one signer at the same time. All that may be beside the loops are twice as many: one signer
/// that hangs leaves room for another. A token signs some hundred times a second, one after the other, so that more than
/// this would wait longer than its deadline anyway.
const MOST: usize = 32;

/// The first pause, and the longest: a signer that is started again is found within so long.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(30);

/// What one signer's askers have seen.
#[derive(Debug, Default)]
pub(super) struct Gate {
    asking: usize,
    pause: Option<Pause>,
}

#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Instant,
    probing: bool,
}

/// A place at the signer, to be given back with [`Gate::leave`].
#[derive(Debug)]
#[must_use]
pub(super) struct Asking {
    probe: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// So many ask already.
    Busy,
    /// It has failed a moment ago, and is left alone; or one asks it whether it is back.
    Paused,
}

impl Gate {
    pub(super) fn enter(&mut self, now: Instant) -> Result<Asking, Closed> {
        if self.asking >= MOST {
            return Err(Closed::Busy);
        }
        let probe = match &mut self.pause {
            None => false,
            Some(pause) if pause.probing || now < pause.until => return Err(Closed::Paused),
            Some(pause) => {
                pause.probing = true;
                true
            }
        };
        self.asking += 1;
        Ok(Asking { probe })
    }

    /// `answered`: it said yes or no. Otherwise it could not be reached, or not in time.
    pub(super) fn leave(&mut self, asking: Asking, answered: bool, now: Instant) {
        self.asking -= 1;
        match (&mut self.pause, answered) {
            // Also the late answer to one who asked before the pause.
            (pause, true) => *pause = None,
            (None, false) => self.pause = Some(Pause { length: FIRST, until: now + FIRST, probing: false }),
            (Some(pause), false) if asking.probe => {
                let length = (pause.length * 2).min(LONGEST);
                *pause = Pause { length, until: now + length, probing: false };
            }
            // Others asked when the first one failed, and are no news.
            (Some(_), false) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_that_fails_is_left_alone_and_asked_by_one_when_the_pause_ends() {
        let (mut gate, start) = (Gate::default(), Instant::now());
        let (one, other) = (gate.enter(start).expect("open"), gate.enter(start).expect("open"));
        gate.leave(one, false, start);
        gate.leave(other, false, start);
        assert_eq!(gate.enter(start).unwrap_err(), Closed::Paused);
        let mut at = start + FIRST;
        for seconds in [2, 4, 8, 16, 30, 30] {
            let probe = gate.enter(at).expect("the pause is over");
            assert_eq!(gate.enter(at).unwrap_err(), Closed::Paused, "one at a time");
            gate.leave(probe, false, at);
            at += Duration::from_secs(seconds);
            assert_eq!(gate.enter(at - Duration::from_millis(1)).unwrap_err(), Closed::Paused);
        }
        let probe = gate.enter(at).expect("the pause is over");
        gate.leave(probe, true, at);
        let again = gate.enter(at).expect("it is back");
        gate.leave(again, false, at);
        assert!(gate.enter(at + FIRST).is_ok(), "the next pause is short again");
    }

    #[test]
    fn so_many_may_ask_at_a_time() {
        let (mut gate, now) = (Gate::default(), Instant::now());
        let mut asking: Vec<_> = (0..MOST).map(|_| gate.enter(now).expect("room")).collect();
        assert_eq!(gate.enter(now).unwrap_err(), Closed::Busy);
        gate.leave(asking.pop().expect("one"), true, now);
        assert!(gate.enter(now).is_ok());
    }
}
