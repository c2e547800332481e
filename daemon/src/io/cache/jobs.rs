//! What a worker wants of a cache: commands out, answers in, in order. No I/O: the connection moves the bytes.
//!
//! A look-up asks for each name that the entry may have. What is used once is deleted in the same breath, and counts only
//! for whom the cache tells that it was there to be deleted: of several that ask at once, one has it, as far as the cache
//! keeps its word. (GETDEL would do this in one command, on one of the two caches and not on its older versions.)

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::codec::{Asked, Broken, Dialect, Reply};
use crate::tls::{CacheEntry, CacheEvent, CacheFigures};

/// Bytes of commands that wait to be sent: some 100 sessions' worth. What is more is not kept.
const MOST_BYTES: usize = 64 * 1024;
/// Commands that wait for their answers. 1,000 look-ups within a deadline are 20,000 in a second, more than a core does.
const MOST_UNDER_WAY: usize = 1024;

/// What a look-up found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A value, and nothing is known of it but that somebody put it there.
    Value(Vec<u8>),
    /// The cache has none.
    Absent,
    /// No answer in time.
    Late,
    /// It refused, broke off, or could not be reached.
    Broken,
    /// It was not asked, because it is away or silent.
    Skipped,
}

/// An entry to be put away.
#[derive(Debug)]
pub struct CachePut {
    /// What, and under which name.
    pub entry: CacheEntry,
    /// Where to count what became of it.
    pub figures: Arc<CacheFigures>,
}

/// What is under way.
#[derive(Default)]
pub(super) struct Jobs {
    out: Vec<u8>,
    under_way: VecDeque<Job>,
}

struct Job {
    since: Instant,
    what: What,
}

enum What {
    LookUp {
        names: Vec<String>,
        once: bool,
        /// Answers that have come.
        at: usize,
        /// The value, and under which of the names.
        found: Option<(usize, Vec<u8>)>,
        refused: bool,
        answer: oneshot::Sender<Found>,
    },
    Put(Arc<CacheFigures>),
}

impl Jobs {
    /// Asks for the value that has one of these names. `None` when there is too much under way already.
    pub(super) fn look_up(
        &mut self,
        dialect: Dialect,
        names: Vec<String>,
        once: bool,
        now: Instant,
    ) -> Option<oneshot::Receiver<Found>> {
        if self.is_full() {
            return None;
        }
        for name in &names {
            dialect.get(&mut self.out, name);
        }
        for name in names.iter().filter(|_| once) {
            dialect.delete(&mut self.out, name);
        }
        let (answer, receiver) = oneshot::channel();
        let what = What::LookUp { names, once, at: 0, found: None, refused: false, answer };
        self.under_way.push_back(Job { since: now, what });
        Some(receiver)
    }

    /// Puts an entry away, or counts it as dropped when there is too much under way already.
    pub(super) fn put(&mut self, dialect: Dialect, put: CachePut, now: Instant) {
        if self.is_full() {
            put.figures.count(CacheEvent::Dropped);
            return;
        }
        dialect.set(&mut self.out, &put.entry.name, &put.entry.value, put.entry.life);
        self.under_way.push_back(Job { since: now, what: What::Put(put.figures) });
    }

    fn is_full(&self) -> bool {
        self.out.len() >= MOST_BYTES || self.under_way.len() >= MOST_UNDER_WAY
    }

    /// Since when the oldest of them waits.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.under_way.front().map(|job| job.since)
    }

    /// What is to be sent.
    pub(super) fn out(&self) -> &[u8] {
        &self.out
    }

    /// So much of it was sent.
    pub(super) fn sent(&mut self, count: usize) {
        self.out.drain(..count);
        if self.out.is_empty() && self.out.capacity() > MOST_BYTES {
            self.out = Vec::new();
        }
    }

    /// Reads the answers at the front of `bytes`. How many bytes were used up.
    pub(super) fn read(&mut self, dialect: Dialect, bytes: &[u8]) -> Result<usize, Broken> {
        let mut used = 0;
        while used < bytes.len() {
            // Somebody who speaks without being asked is out of step.
            let Some(job) = self.under_way.front_mut() else { return Err(Broken::Nonsense) };
            let Some((reply, count)) = dialect.read(&bytes[used..], job.what.asked())? else { break };
            used += count;
            if job.what.is_done_with(reply) {
                let job = self.under_way.pop_front();
                job.into_iter().for_each(|job| job.what.answer());
            }
        }
        Ok(used)
    }

    /// Nothing of it will be answered.
    pub(super) fn give_up(&mut self) {
        self.out = Vec::new();
        for job in self.under_way.drain(..) {
            match job.what {
                // Nobody waits any more where this fails: it was late.
                What::LookUp { answer, .. } => drop(answer.send(Found::Broken)),
                What::Put(figures) => figures.count(CacheEvent::Dropped),
            }
        }
    }
}

impl What {
    /// What the next answer is to.
    fn asked(&self) -> Asked<'_> {
        match self {
            Self::LookUp { names, at, .. } => names.get(*at).map_or(Asked::Delete, |name| Asked::Get(name)),
            Self::Put(_) => Asked::Set,
        }
    }

    /// Takes the next answer. Whether it was the last.
    fn is_done_with(&mut self, reply: Reply<'_>) -> bool {
        match self {
            Self::LookUp { names, once, at, found, refused, .. } => {
                match reply {
                    Reply::Value(value) if found.is_none() => *found = Some((*at, value.to_vec())),
                    // Somebody else has it.
                    Reply::Deleted(false)
                        if found.as_ref().is_some_and(|(of, _)| of + names.len() == *at) =>
                    {
                        *found = None;
                    }
                    Reply::Refused(_) => *refused = true,
                    _ => {}
                }
                *at += 1;
                *at == names.len() * if *once { 2 } else { 1 }
            }
            Self::Put(figures) => {
                figures.count(if reply == Reply::Done { CacheEvent::Kept } else { CacheEvent::Dropped });
                true
            }
        }
    }

    fn answer(self) {
        if let Self::LookUp { found, refused, answer, .. } = self {
            let found = match found {
                _ if refused => Found::Broken,
                Some((_, value)) => Found::Value(value),
                None => Found::Absent,
            };
            // Nobody waits any more: it was late.
            drop(answer.send(found));
        }
    }
}

#[cfg(test)]
#[path = "jobs_tests.rs"]
mod tests;
