//! Handshakes whose key somebody else's signer has: their steps are done beside the loops, so many at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::command::Command;
use super::worker::{Sessions, Worker, find};
use crate::io::{Done, Step, Token, Turn};

/// Steps at the same time, of all workers. Each has a thread, and a connection to the keyholder while it signs. A signer
/// that hangs gives them back at its deadline, and is left alone then; fewer would let two that hang stop a third, more
/// would let them take the threads that read callers' files.
const MOST: usize = 64;

/// How many there are.
#[derive(Clone, Debug, Default)]
pub(super) struct Asides(Arc<AtomicUsize>);

/// One of them, until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Asides {
    fn enter(&self) -> Option<Place> {
        let more = |count: usize| (count < MOST).then_some(count + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Place(Arc::clone(&self.0)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Has a thread do this; or, when there are too many, says how the session ends instead.
    pub(super) fn step_aside(&self, sessions: &mut Sessions, token: Token, step: Box<Step>) -> Option<Turn> {
        let Some(place) = self.shared.asides.enter() else {
            let live = find(&mut sessions.live, token)?;
            let signer = live.opening.as_ref().and_then(|opening| opening.waits_for());
            let signer = signer.unwrap_or_default().to_owned();
            return Some(live.relay.stay(&signer, &mut sessions.scratch));
        };
        let commands = self.commands(self.index).clone();
        tokio::task::spawn_blocking(move || {
            let done = step.take();
            drop(place);
            // The worker has ended, and with it the session.
            let _ = commands.send(Command::Back(token, Box::new(done)));
        });
        None
    }

    /// What a thread did comes back.
    pub(super) fn back(&self, token: Token, done: Done) {
        let sessions = &mut *self.sessions.borrow_mut();
        let Some(live) = find(&mut sessions.live, token) else { return };
        let turn = live.relay.back(done, &mut sessions.scratch, Instant::now());
        self.after(sessions, token, turn);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_at_a_time_and_who_leaves_makes_room() {
        let asides = Asides::default();
        let mut places: Vec<_> = (0..MOST).map(|_| asides.enter().expect("room")).collect();
        assert!(asides.enter().is_none());
        drop(places.pop());
        assert!(asides.enter().is_some());
    }
}
