//! Whose question is answered when: so many threads at once for one user, so many for all, and the others wait.
//!
//! A caller's folder can be on a file system in user space that never answers: it then holds the threads of its user, and
//! nobody else's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::io::between::Reply;

/// Threads of one user. Reading a folder takes milliseconds, and there are two cores or eight.
const PER_USER: usize = 8;

/// Threads of all: 32 users whose folders hang leave the next one waiting, and a thread at rest costs about 20 KiB.
const TOTAL: usize = 256;

/// Questions of one user that wait, each with two descriptors.
const WAITING_PER_USER: usize = 512;

/// Questions that wait, of all.
const WAITING: usize = 4096;

/// The stack of a thread: it reads files.
const STACK: usize = 256 * 1024;

/// A question with what is done about it.
pub(super) struct Job {
    /// Whose it is; `None`: the worker's own, which waits for no user's.
    uid: Option<u32>,
    reply: Reply,
    work: Box<dyn FnOnce(Reply) + Send>,
}

impl Job {
    pub(super) fn new(uid: Option<u32>, reply: Reply, work: impl FnOnce(Reply) + Send + 'static) -> Self {
        Self { uid, reply, work: Box::new(work) }
    }
}

/// Who has a thread, and who waits for one.
#[derive(Default)]
pub(super) struct Turns {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose jobs are on threads.
    running: Vec<Option<u32>>,
    waiting: VecDeque<Job>,
}

impl Turns {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Does a job now, or when its turn comes. `refuse` is what is done instead when it cannot even wait.
    pub(super) fn run(self: &Arc<Self>, job: Job, refuse: impl FnOnce(Reply)) {
        let mut state = self.state();
        if state.has_room(job.uid) {
            state.running.push(job.uid);
            drop(state);
            return self.start(job);
        }
        // Who has given up leaves its place to others.
        state.waiting.retain(|job| !job.reply.is_given_up());
        let waits = state.waiting.iter().filter(|other| other.uid == job.uid).count();
        if waits < WAITING_PER_USER && state.waiting.len() < WAITING {
            return state.waiting.push_back(job);
        }
        drop(state);
        refuse(job.reply);
    }

    fn start(self: &Arc<Self>, job: Job) {
        let (turns, uid) = (Arc::clone(self), job.uid);
        let work = move || {
            let mut next = Some(job);
            while let Some(Job { uid, reply, work }) = next {
                // A panic is one question's: it has no answer.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(reply)));
                next = turns.next(uid);
            }
        };
        if thread::Builder::new().name("answer".to_owned()).stack_size(STACK).spawn(work).is_err() {
            // Its question went with it, unanswered.
            self.state().done(uid);
        }
    }

    /// A job of this user is done: the next one that has a turn.
    fn next(&self, done: Option<u32>) -> Option<Job> {
        let mut state = self.state();
        state.done(done);
        let next = state.waiting.iter().position(|job| state.has_room(job.uid))?;
        let job = state.waiting.remove(next)?;
        state.running.push(job.uid);
        Some(job)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, uid: Option<u32>) -> bool {
        self.running.len() < TOTAL && self.running.iter().filter(|other| **other == uid).count() < PER_USER
    }

    fn done(&mut self, uid: Option<u32>) {
        if let Some(at) = self.running.iter().position(|other| *other == uid) {
            let _ = self.running.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::io::between::{Asker, Desk, Pending};

    /// A question that has an asker.
    fn question(asker: &Asker, desk: &Desk) -> (Pending<u32>, Reply) {
        let pending = asker.ask::<u32>(&0_u32, &[]).expect("room");
        (pending, desk.wait::<u32>().expect("it is there").reply)
    }

    #[test]
    fn who_hangs_holds_up_its_own_and_who_gave_up_leaves_its_place() {
        let (asker, desk) = Asker::pair().expect("pair");
        let desk = Desk::new(desk).expect("desk");
        let turns = Turns::new();
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let refused = Arc::new(Mutex::new(0));
        let hang = |uid| {
            let (pending, reply) = question(&asker, &desk);
            let (held, refused) = (Arc::clone(&held), Arc::clone(&refused));
            let work = move |reply: Reply| {
                let _ = held.lock().unwrap().recv();
                let _ = reply.answer(&1_u32, &[]);
            };
            turns.run(Job::new(Some(uid), reply, work), |_| *refused.lock().unwrap() += 1);
            pending
        };
        let hanging: Vec<_> = (0..PER_USER + WAITING_PER_USER + 3).map(|_| hang(1)).collect();
        assert_eq!(*refused.lock().unwrap(), 3, "it cannot even wait");
        let quick = |uid| {
            let (pending, reply) = question(&asker, &desk);
            turns.run(Job::new(uid, reply, |reply| drop(reply.answer(&2_u32, &[]))), drop);
            pending
        };
        assert_eq!(quick(Some(2)).wait(None).expect("an answer").0, 2, "somebody else");
        assert_eq!(quick(None).wait(None).expect("an answer").0, 2, "the worker itself");
        drop(hanging);
        drop(hang(1));
        assert_eq!(turns.state().waiting.len(), 1, "all but the last have left");
        drop(release);
        let last = quick(Some(1));
        assert_eq!(last.wait(None).expect("an answer").0, 2);
    }
}
