//! Whose turn it is on a core: open sessions before handshakes.
//!
//! A turn of a handshake is mostly arithmetic, some 70 µs that nobody else has; one of an open session is a request
//! or an answer, and its program waits. In one queue a flood of handshakes would stand before each request: so a
//! pass serves every open session that waits, up to a bound, and only a few handshakes.
//!
//! ```text
//!  open    ──▶ up to 32 turns ──┐
//!  shaking ──▶ up to 4 turns ───┴─▶ poller, callers, commands ──▶ next pass
//! ```

use std::collections::VecDeque;

use crate::io::Token;

/// Turns of open sessions between two looks at the poller, the callers and the commands. One moves 256 KiB each
/// way at most, about 100 µs: so nobody waits much longer than a few milliseconds.
const TURNS: usize = 32;
/// Turns of handshakes in the same time. More would delay requests that come meanwhile; with fewer, looking around
/// would cost more than a hundredth of the time. It is also what handshakes get beside sessions that never pause.
const HANDSHAKES: usize = 4;

/// The sessions that wait.
#[derive(Debug, Default)]
pub(super) struct Queue {
    open: VecDeque<Token>,
    shaking: VecDeque<Token>,
}

/// What one pass has left.
#[derive(Debug)]
pub(super) struct Pass {
    turns: usize,
    handshakes: usize,
}

impl Pass {
    pub(super) fn new() -> Self {
        Self { turns: TURNS, handshakes: HANDSHAKES }
    }
}

impl Queue {
    pub(super) fn push(&mut self, token: Token, is_handshaking: bool) {
        if is_handshaking { self.shaking.push_back(token) } else { self.open.push_back(token) }
    }

    /// Who is next in this pass; nobody, when the pass is over.
    pub(super) fn next(&mut self, pass: &mut Pass) -> Option<Token> {
        if pass.turns > 0
            && let Some(token) = self.open.pop_front()
        {
            pass.turns -= 1;
            return Some(token);
        }
        pass.handshakes = pass.handshakes.checked_sub(1)?;
        self.shaking.pop_front()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.shaking.is_empty()
    }

    /// How many open sessions wait.
    pub(super) fn busy(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(slot: u32) -> Token {
        Token { slot, life: 1 }
    }

    fn pass(queue: &mut Queue) -> Vec<u32> {
        let mut pass = Pass::new();
        std::iter::from_fn(|| queue.next(&mut pass)).map(|token| token.slot).collect()
    }

    #[test]
    fn a_request_does_not_wait_behind_a_flood_of_handshakes() {
        let mut queue = Queue::default();
        (0..200).for_each(|slot| queue.push(token(slot), true));
        queue.push(token(900), false);
        assert_eq!(pass(&mut queue), [900, 0, 1, 2, 3]);
        queue.push(token(901), false);
        assert_eq!(pass(&mut queue), [901, 4, 5, 6, 7]);
    }

    #[test]
    fn handshakes_go_on_beside_sessions_that_never_pause() {
        let mut queue = Queue::default();
        (0..100).for_each(|slot| queue.push(token(slot), false));
        queue.push(token(500), true);
        let first = pass(&mut queue);
        assert_eq!((first.len(), first.last()), (TURNS + 1, Some(&500)));
        assert!(!queue.is_empty());
        assert_eq!(queue.busy(), 100 - TURNS);
    }
}
