//! Whose question is answered when: so many threads at once for one user, so many for all, and the others wait.
//!
//! A caller's folder can be on a file system in user space that never answers: it then holds the threads of its user, and
//! nobody else's.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use rustix::process::{Resource, getrlimit};

use crate::io::between::Reply;

/// Threads of one user. Reading a folder takes milliseconds, and there are two cores or eight.
const PER_USER: usize = 8;

/// Threads of all: 32 users whose folders hang leave the next one waiting, and a thread at rest costs about 20 KiB.
const TOTAL: usize = 256;

/// Questions of one user that wait, of each eight that may: no user fills the room alone.
const WAITING_SHARE: usize = 8;

/// Questions that wait, of all. Each holds two descriptors.
const WAITING: usize = 4096;

/// The stack of a thread: it reads files.
const STACK: usize = 256 * 1024;

/// Whose a question is: it waits for others of the same, and for no others but when all threads are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// A caller's.
    User(u32),
    /// Of the worker itself that asks at this desk.
    Desk(u64),
}

/// A question with what is done about it.
pub(super) struct Job {
    whose: Whose,
    reply: Reply,
    work: Box<dyn FnOnce(Reply) + Send>,
}

impl Job {
    pub(super) fn new(whose: Whose, reply: Reply, work: impl FnOnce(Reply) + Send + 'static) -> Self {
        Self { whose, reply, work: Box::new(work) }
    }
}

/// Who has a thread, and who waits for one.
pub(super) struct Turns {
    state: Mutex<State>,
}

struct State {
    /// How many may run, and how many wait.
    most: (usize, usize),
    /// Whose jobs are on threads.
    running: Vec<Whose>,
    waiting: VecDeque<Job>,
}

impl Turns {
    /// Those of this process: what workers can make it hold is bounded however many there are.
    pub(super) fn of_process() -> Arc<Self> {
        static TURNS: OnceLock<Arc<Turns>> = OnceLock::new();
        let descriptors = || usize::try_from(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
        Arc::clone(TURNS.get_or_init(|| Self::with(descriptors().unwrap_or(usize::MAX))))
    }

    /// With so many descriptors that the process may have: a quarter for questions that run, with a folder and a file open and
    /// two that came with it, and half for those that wait.
    fn with(descriptors: usize) -> Arc<Self> {
        let most = (TOTAL.min(descriptors / 16), WAITING.min(descriptors / 4));
        Arc::new(Self { state: Mutex::new(State { most, running: Vec::new(), waiting: VecDeque::new() }) })
    }

    /// Does a job now, or when its turn comes. `refuse` is what is done instead when it cannot even wait.
    pub(super) fn run(self: &Arc<Self>, job: Job, refuse: impl FnOnce(Reply)) {
        let mut state = self.state();
        if state.has_room(job.whose) {
            state.running.push(job.whose);
            drop(state);
            return self.start(job);
        }
        // Who has given up leaves its place to others.
        state.waiting.retain(|job| !job.reply.is_given_up());
        let waits = state.waiting.iter().filter(|other| other.whose == job.whose).count();
        let (_, most) = state.most;
        if waits < most / WAITING_SHARE && state.waiting.len() < most {
            return state.waiting.push_back(job);
        }
        drop(state);
        refuse(job.reply);
    }

    fn start(self: &Arc<Self>, job: Job) {
        let (turns, whose) = (Arc::clone(self), job.whose);
        let work = move || {
            let mut next = Some(job);
            while let Some(Job { whose, reply, work }) = next {
                // A panic is one question's: it has no answer.
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(reply)));
                next = turns.next(whose);
            }
        };
        if thread::Builder::new().name("answer".to_owned()).stack_size(STACK).spawn(work).is_err() {
            // Its question went with it, unanswered.
            self.state().done(whose);
        }
    }

    /// A job of this user is done: the next one that has a turn.
    fn next(&self, done: Whose) -> Option<Job> {
        let mut state = self.state();
        state.done(done);
        let next = state.waiting.iter().position(|job| state.has_room(job.whose))?;
        let job = state.waiting.remove(next)?;
        state.running.push(job.whose);
        Some(job)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, whose: Whose) -> bool {
        let (most, _) = self.most;
        self.running.len() < most && self.running.iter().filter(|other| **other == whose).count() < PER_USER
    }

    fn done(&mut self, whose: Whose) {
        if let Some(at) = self.running.iter().position(|other| *other == whose) {
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
        let turns = Turns::with(1024);
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
            turns.run(Job::new(Whose::User(uid), reply, work), |_| *refused.lock().unwrap() += 1);
            pending
        };
        let hanging: Vec<_> = (0..PER_USER + 1024 / 4 / WAITING_SHARE + 3).map(|_| hang(1)).collect();
        assert_eq!(*refused.lock().unwrap(), 3, "it cannot even wait");
        let quick = |whose| {
            let (pending, reply) = question(&asker, &desk);
            turns.run(Job::new(whose, reply, |reply| drop(reply.answer(&2_u32, &[]))), drop);
            pending
        };
        assert_eq!(quick(Whose::User(2)).wait(None).expect("an answer").0, 2, "somebody else");
        assert_eq!(quick(Whose::Desk(1)).wait(None).expect("an answer").0, 2, "the worker itself");
        drop(hanging);
        drop(hang(1));
        assert_eq!(turns.state().waiting.len(), 1, "all but the last have left");
        drop(release);
        let last = quick(Whose::User(1));
        assert_eq!(last.wait(None).expect("an answer").0, 2);
    }
}
