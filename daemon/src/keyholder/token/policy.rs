//! When a token is opened, opened again, and never again.
//!
//! ```text
//!            poll                      opened
//!  ┌───────┐ ────▶ Open ┌─────────┐ ─────────▶ ┌─────────┐
//!  │ Fresh │            │ Opening │            │ Working │ ── device trouble ──┐
//!  └───────┘            └─────────┘            └─────────┘                     ▼
//!                         │     ▲                                         ┌────────┐
//!                         │     └── poll, 30 s after it was last opened ─ │ Broken │
//!                         │                                               └────────┘
//!                         │  device trouble ────────────────────────────────▲
//!                         └─ the PIN was refused ─▶ Forbidden    (a reload starts another process)
//! ```
//!
//! Initialising a token takes up to seconds and resets it for everybody who uses it, so it is not done for each handshake
//! that fails. A PIN is tried once: tokens lock themselves after a few wrong ones, and then a person has to come. No clock:
//! `now` comes in.

use std::time::{Duration, Instant};

/// From one opening to the next at least.
pub(super) const BETWEEN_OPENINGS: Duration = Duration::from_secs(30);

/// What a module reports, as far as it matters what is done next. The texts are for the log and for callers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// The token, or the way to it, is gone or broken: what helps is to open it anew.
    #[error("{0}")]
    Device(String),
    /// The PIN was refused: no second try.
    #[error("{0}")]
    Pin(String),
    /// It does not do that, with this key: asking again changes nothing.
    #[error("{0}")]
    Refused(String),
}

/// The machine.
#[derive(Debug, Default)]
pub(super) struct Policy {
    state: State,
    /// When the last opening began.
    last: Option<Instant>,
    /// How often it was opened. Sessions of earlier openings are worth nothing.
    generation: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Fresh,
    Opening,
    Working,
    Broken(String),
    Forbidden(String),
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Open it, and say what came of it.
    Open,
    /// Somebody is at it: wait for them.
    Wait,
    /// Use it, with sessions of this generation.
    Use(u64),
    /// Nothing, for so long: this is the trouble.
    Not(Trouble, Duration),
    /// Nothing, ever.
    Never(Trouble),
}

impl Policy {
    /// Asks what to do.
    pub(super) fn poll(&mut self, now: Instant) -> Step {
        let due = self.last.map_or(Duration::ZERO, |last| {
            BETWEEN_OPENINGS.saturating_sub(now.saturating_duration_since(last))
        });
        match &self.state {
            State::Opening => Step::Wait,
            State::Working => Step::Use(self.generation),
            State::Forbidden(why) => Step::Never(Trouble::Pin(why.clone())),
            State::Broken(why) if !due.is_zero() => Step::Not(Trouble::Device(why.clone()), due),
            State::Fresh | State::Broken(_) => {
                self.state = State::Opening;
                self.last = Some(now);
                self.generation += 1;
                Step::Open
            }
        }
    }

    /// Whether what was opened as this generation is open still.
    pub(super) fn is_open(&self, generation: u64) -> bool {
        matches!(self.state, State::Working) && generation == self.generation
    }

    /// The opening that was asked for has an end.
    pub(super) fn handle_opened(&mut self, result: Result<(), &Trouble>) {
        self.state = match result {
            Ok(()) => State::Working,
            Err(Trouble::Pin(why)) => State::Forbidden(why.clone()),
            Err(Trouble::Device(why) | Trouble::Refused(why)) => State::Broken(why.clone()),
        };
    }

    /// A call with a session of `generation` met trouble. That of an earlier opening is old news.
    pub(super) fn handle_trouble(&mut self, generation: u64, trouble: &Trouble) {
        if generation != self.generation || !matches!(self.state, State::Working) {
            return;
        }
        match trouble {
            Trouble::Device(why) => self.state = State::Broken(why.clone()),
            Trouble::Pin(why) => self.state = State::Forbidden(why.clone()),
            Trouble::Refused(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Trouble {
        Trouble::Device("the device is gone".to_owned())
    }

    fn opened(now: Instant) -> Policy {
        let mut policy = Policy::default();
        assert_eq!(policy.poll(now), Step::Open);
        policy.handle_opened(Ok(()));
        policy
    }

    #[test]
    fn a_broken_device_is_opened_again_every_half_minute_and_not_oftener() {
        let start = Instant::now();
        let mut policy = opened(start);
        policy.handle_trouble(1, &device());
        let mut openings = 0;
        for second in 0..=300 {
            match policy.poll(start + Duration::from_secs(second)) {
                Step::Open => {
                    openings += 1;
                    policy.handle_opened(Err(&device()));
                }
                Step::Not(trouble, left) => {
                    assert_eq!(trouble, device());
                    assert!(left <= BETWEEN_OPENINGS);
                }
                step => panic!("{step:?}"),
            }
        }
        assert_eq!(openings, 10);
    }

    #[test]
    fn trouble_long_after_the_last_opening_is_mended_at_once() {
        let start = Instant::now();
        let mut policy = opened(start);
        policy.handle_trouble(1, &device());
        assert_eq!(policy.poll(start + BETWEEN_OPENINGS), Step::Open);
        policy.handle_opened(Ok(()));
        assert_eq!(policy.poll(start + BETWEEN_OPENINGS), Step::Use(2));
    }

    #[test]
    fn a_refused_pin_is_never_tried_again() {
        let start = Instant::now();
        let mut policy = Policy::default();
        assert_eq!(policy.poll(start), Step::Open);
        policy.handle_opened(Err(&Trouble::Pin("wrong".to_owned())));
        for hours in [0, 1, 24, 24 * 365] {
            let step = policy.poll(start + Duration::from_secs(3600 * hours));
            assert_eq!(step, Step::Never(Trouble::Pin("wrong".to_owned())));
        }
    }

    #[test]
    fn while_one_opens_the_others_wait() {
        let now = Instant::now();
        let mut policy = Policy::default();
        assert_eq!(policy.poll(now), Step::Open);
        assert_eq!(policy.poll(now), Step::Wait);
        assert_eq!(policy.poll(now + 2 * BETWEEN_OPENINGS), Step::Wait);
    }

    #[test]
    fn late_news_of_an_earlier_opening_breaks_nothing() {
        let start = Instant::now();
        let mut policy = opened(start);
        policy.handle_trouble(1, &device());
        assert_eq!(policy.poll(start + BETWEEN_OPENINGS), Step::Open);
        policy.handle_opened(Ok(()));
        policy.handle_trouble(1, &device());
        assert_eq!(policy.poll(start + BETWEEN_OPENINGS), Step::Use(2));
        policy.handle_trouble(2, &Trouble::Refused("not this key".to_owned()));
        assert_eq!(policy.poll(start + BETWEEN_OPENINGS), Step::Use(2));
    }
}
