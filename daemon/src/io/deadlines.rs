//! When each session has to be looked at although nothing came.

use std::collections::BTreeSet;
use std::time::Instant;

use super::poller::Token;

/// One deadline per session at most; setting one replaces the last.
#[derive(Debug, Default)]
pub struct Deadlines {
    order: BTreeSet<(Instant, Token)>,
}

impl Deadlines {
    /// Replaces `old` by `new`; `None` is no deadline.
    pub fn replace(&mut self, token: Token, old: Option<Instant>, new: Option<Instant>) {
        if old == new {
            return;
        }
        if let Some(old) = old {
            self.order.remove(&(old, token));
        }
        if let Some(new) = new {
            self.order.insert((new, token));
        }
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one session whose deadline is not after `now`.
    pub fn expired(&mut self, now: Instant) -> Option<Token> {
        let first = *self.order.first()?;
        if first.0 > now {
            return None;
        }
        self.order.remove(&first);
        Some(first.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_replaced_deadline_never_fires() {
        let start = Instant::now();
        let token = Token { slot: 3, life: 7 };
        let mut deadlines = Deadlines::default();
        let first = start + Duration::from_secs(1);
        let second = start + Duration::from_secs(2);
        deadlines.replace(token, None, Some(first));
        deadlines.replace(token, Some(first), Some(second));
        assert_eq!(deadlines.next(), Some(second));
        assert_eq!(deadlines.expired(first), None);
        assert_eq!(deadlines.expired(second), Some(token));
        assert_eq!(deadlines.next(), None);
    }
}
