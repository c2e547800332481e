//! How often the PIN of a token is tried: until it is refused, once.
//!
//! ```text
//!  Fresh ─ asked for ─▶ Lent ─ accepted ─▶ Right ─ asked for ─▶ Lent …
//!                        ├─ not looked at ─▶ Fresh
//!                        ├─ refused ───────▶ Refused       until a reload
//!                        └─ asked for again, unjudged: the process died with it ─▶ Refused
//! ```
//!
//! Kept by the supervisor: the processes that try come and go. A token locks itself after a few wrong tries, some for ever.

use crate::keyholder::token::Verdict;

/// The account of one token's PIN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Pin {
    /// Not tried, or the token did not look.
    #[default]
    Fresh,
    /// Being tried.
    Lent,
    /// Taken the last time.
    Right,
    /// Not to be tried any more.
    Refused(Refused),
}

/// Why it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The token said so.
    ByToken,
    /// The process that tried ended before it said what came of it.
    Unknown,
}

impl Pin {
    /// A process asks for it: whether it gets it.
    pub(super) fn ask(&mut self) -> Result<(), Refused> {
        match *self {
            Self::Fresh | Self::Right => {
                *self = Self::Lent;
                Ok(())
            }
            Self::Lent => {
                *self = Self::Refused(Refused::Unknown);
                Err(Refused::Unknown)
            }
            Self::Refused(why) => Err(why),
        }
    }

    /// It was not tried, because it could not be read or sent.
    pub(super) fn untried(&mut self) {
        self.judged(Verdict::Untried);
    }

    /// What the token made of it. Of one that was not lent, nobody can say anything.
    pub(super) fn judged(&mut self, verdict: Verdict) {
        if *self != Self::Lent {
            return;
        }
        *self = match verdict {
            Verdict::Accepted => Self::Right,
            Verdict::Refused => Self::Refused(Refused::ByToken),
            Verdict::Untried => Self::Fresh,
        };
    }
}

impl Refused {
    /// For the log and for callers.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::ByToken => "the token has refused its PIN, which is not tried again before a reload",
            Self::Unknown => {
                "the process with the token ended while it tried the PIN, which is not tried again before a reload"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_pin_is_never_lent_again_whatever_a_process_says() {
        let mut pin = Pin::default();
        assert_eq!(pin.ask(), Ok(()));
        pin.judged(Verdict::Refused);
        for verdict in [Verdict::Accepted, Verdict::Untried, Verdict::Refused] {
            pin.judged(verdict);
            assert_eq!(pin.ask(), Err(Refused::ByToken), "{verdict:?}");
        }
    }

    #[test]
    fn a_try_that_nobody_saw_the_end_of_was_one() {
        let mut pin = Pin::default();
        assert_eq!(pin.ask(), Ok(()));
        assert_eq!(pin.ask(), Err(Refused::Unknown));
        pin.judged(Verdict::Accepted);
        assert_eq!(pin.ask(), Err(Refused::Unknown));
    }

    #[test]
    fn the_right_pin_is_lent_as_often_as_the_device_breaks() {
        let mut pin = Pin::default();
        for verdict in [Verdict::Accepted, Verdict::Untried, Verdict::Accepted] {
            assert_eq!(pin.ask(), Ok(()));
            pin.judged(verdict);
        }
        assert_eq!(pin.ask(), Ok(()));
        pin.untried();
        assert_eq!(pin, Pin::Fresh);
    }

    #[test]
    fn a_verdict_on_what_was_not_lent_counts_for_nothing() {
        let mut pin = Pin::default();
        pin.judged(Verdict::Accepted);
        pin.judged(Verdict::Refused);
        assert_eq!(pin, Pin::Fresh);
    }
}
