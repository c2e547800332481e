//! What all workers together serve, for an observer at one of them.
//!
//! ```text
//!  observer's worker ─ Ask ─▶ (may its user?) ─ Tell ─▶ each other worker
//!          ▲                                              │ Overview, lists
//!          └──────────── Told … ToldAll ◀────── as it is ─┘   or the deadline
//! ```
//!
//! Lists go from one worker to the other as they are; the observer's believes each of its own user alone.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::user::Live;
use crate::engine::{Counts, Wanted};
use crate::process::parts::ToWorker;

/// How long the others may take. One that is busy for longer, or silent on purpose, is left out.
const PATIENCE: Duration = Duration::from_secs(2);
/// Questions at a time: observers are few, and each of them waits for its answer.
const MAX_OPEN: usize = 64;

/// Questions that are not answered yet.
#[derive(Debug, Default)]
pub(super) struct Overviews {
    last: u64,
    open: BTreeMap<u64, Open>,
}

#[derive(Debug)]
struct Open {
    asker: u64,
    /// Its own number of the question.
    number: u64,
    outstanding: BTreeSet<u64>,
    until: Instant,
}

impl Overviews {
    /// An observer's worker asks.
    pub(super) fn ask(
        &mut self,
        asker: u64,
        number: u64,
        wanted: Wanted,
        lives: &BTreeMap<u64, Live>,
        now: Instant,
    ) {
        let others: BTreeSet<u64> = lives.keys().copied().filter(|other| *other != asker).collect();
        if others.is_empty() || self.open.len() >= MAX_OPEN {
            return told_all(asker, number, lives);
        }
        self.last += 1;
        for other in &others {
            lives[other].tell(&ToWorker::Tell { number: self.last, wanted }, &[]);
        }
        self.open.insert(self.last, Open { asker, number, outstanding: others, until: now + PATIENCE });
    }

    /// One of the others has answered: once is enough.
    pub(super) fn answered(
        &mut self,
        from: u64,
        question: u64,
        counts: Counts,
        lists: &[OwnedFd],
        lives: &BTreeMap<u64, Live>,
    ) {
        let Some(open) = self.open.get_mut(&question) else { return };
        if open.outstanding.remove(&from)
            && let (Some(asker), Some(other)) = (lives.get(&open.asker), lives.get(&from))
        {
            // As many as can be wanted.
            let lists: Vec<BorrowedFd<'_>> = lists.iter().take(3).map(AsFd::as_fd).collect();
            asker.tell(&ToWorker::Told { number: open.number, uid: other.uid, counts }, &lists);
        }
        self.finish(lives, Instant::now());
    }

    /// A worker is no more: nobody waits for it, and it for nobody.
    pub(super) fn gone(&mut self, worker: u64, lives: &BTreeMap<u64, Live>, now: Instant) {
        self.open.retain(|_, open| open.asker != worker);
        for open in self.open.values_mut() {
            open.outstanding.remove(&worker);
        }
        self.finish(lives, now);
    }

    /// When [`Overviews::finish`] has something to do at the latest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.open.values().map(|open| open.until).min()
    }

    /// Ends what everybody has answered, or had the time to.
    pub(super) fn finish(&mut self, lives: &BTreeMap<u64, Live>, now: Instant) {
        self.open.retain(|_, open| {
            let waits = !open.outstanding.is_empty() && now < open.until;
            if !waits {
                told_all(open.asker, open.number, lives);
            }
            waits
        });
    }
}

/// That was all.
pub(super) fn told_all(asker: u64, number: u64, lives: &BTreeMap<u64, Live>) {
    if let Some(asker) = lives.get(&asker) {
        asker.tell(&ToWorker::ToldAll { number }, &[]);
    }
}
