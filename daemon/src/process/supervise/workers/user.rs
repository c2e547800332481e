//! One user who calls: the worker that serves it, and who waits for it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;

use super::arrivals::turn_away;
use super::rest::Rest;
use crate::io::between::{Channel, ChannelError};
use crate::policy::CallerCred;
use crate::process::parts::{Cause, FromWorker, Happened, Kept, Killer, Part, Restarts, Running, ToWorker};
use crate::process::remains::Remains;

/// Callers of one user who wait for their worker at most: it is being started, or is busy. Enough for a server whose
/// programs all come back at once after a crash; each is a descriptor of ours.
pub(super) const MAX_WAITING: usize = 128;
/// Callers that were given to a worker and that it has not taken yet, at most: those who wait behind them are given when
/// these are taken.
const MAX_UNTAKEN: usize = 32;
/// A worker that has no room in spite of that is asked again a moment later.
pub(super) const AGAIN: Duration = Duration::from_millis(20);

/// A user who has called.
pub(super) struct User {
    /// Its uid, and all groups that it came with. (Its gid is the first caller's.)
    pub(super) cred: CallerCred,
    pub(super) worker: Option<Current>,
    pub(super) waiting: VecDeque<OwnedFd>,
    pub(super) restarts: Restarts,
    /// No worker is started before, or given anything.
    pub(super) pause: Option<Instant>,
    /// Its callers are closed until then.
    pub(super) refused: Option<Instant>,
    /// When its worker crashed last.
    pub(super) crashed: Option<Instant>,
}

/// The worker that its callers are given to.
pub(super) struct Current {
    pub(super) number: u64,
    /// Whether it has said that it serves.
    pub(super) ready: bool,
    /// The profiles that it was told of.
    pub(super) profiles: BTreeSet<String>,
    pub(super) rest: Rest,
    untaken: VecDeque<OwnedFd>,
    taken: u64,
}

impl Current {
    pub(super) fn new(number: u64, profiles: BTreeSet<String>, rest: Rest) -> Self {
        Self { number, ready: false, profiles, rest, untaken: VecDeque::new(), taken: 0 }
    }

    /// Whether it may be given another caller.
    pub(super) fn has_room(&self) -> bool {
        self.ready && self.untaken.len() < MAX_UNTAKEN
    }

    /// A caller was given to it. It is kept until it is taken.
    pub(super) fn gave(&mut self, control: OwnedFd) {
        self.rest.gave();
        self.untaken.push_back(control);
    }

    /// It has taken so many since its start.
    pub(super) fn took(&mut self, taken: u64) {
        let new = usize::try_from(taken.saturating_sub(self.taken)).unwrap_or(usize::MAX);
        self.taken = self.taken.max(taken);
        self.untaken.drain(..new.min(self.untaken.len()));
    }
}

impl User {
    pub(super) fn new(cred: CallerCred) -> Self {
        let (waiting, restarts) = (VecDeque::new(), Restarts::default());
        Self { cred, worker: None, waiting, restarts, pause: None, refused: None, crashed: None }
    }

    /// Notes the groups of another caller of this uid: a grant to one of them counts for the worker, which looks at each
    /// caller's own once more.
    pub(super) fn meet(&mut self, cred: &CallerCred) {
        for group in cred.groups.iter().chain([&cred.gid]) {
            if *group != self.cred.gid && !self.cred.groups.contains(group) {
                self.cred.groups.push(*group);
            }
        }
    }

    pub(super) fn is_refused(&self, now: Instant) -> bool {
        self.refused.is_some_and(|until| now < until)
    }

    /// When something is to be done for it that nobody tells.
    pub(super) fn next(&self) -> Option<Instant> {
        let waits = self.pause.filter(|_| !self.waiting.is_empty());
        let asks = self.worker.as_ref().map(|worker| worker.rest.next());
        [waits, asks].into_iter().flatten().min()
    }

    /// Its worker is no more. Who was given to it and not taken waits again, before all others.
    pub(super) fn bereave(&mut self) {
        if let Some(Current { untaken, .. }) = self.worker.take() {
            for control in untaken.into_iter().rev() {
                self.waiting.push_front(control);
            }
        }
    }

    /// Closes everybody who waits.
    pub(super) fn turn_all_away(&mut self) {
        self.waiting.drain(..).for_each(turn_away);
    }
}

/// A worker that lives: the way to speak to it.
pub(super) struct Live {
    pub(super) uid: u32,
    channel: Arc<Channel>,
    killer: Killer,
    /// Reloads that it has not answered yet: their numbers, or none for one of this user's alone.
    pub(super) reloads: VecDeque<Option<u64>>,
    pub(super) last_words: Option<Result<(), String>>,
    /// It gets no more callers, and is pressed to end then.
    pub(super) leaving: Option<Leaving>,
}

/// How far a worker that is to end is pressed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Leaving {
    /// It may finish what it has until then.
    Drains(Instant),
    /// It was told to end, and is killed then.
    Ends(Instant),
}

/// What was heard of a worker.
#[derive(Debug)]
pub(in super::super) enum Heard {
    Said(FromWorker, Vec<OwnedFd>),
    Died(Cause),
}

impl Live {
    /// Listens to it on a task of its own, which tells what it hears under the worker's number, and its callers of its end.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub(super) fn listen(
        uid: u32,
        number: u64,
        running: Running,
        remains: Remains,
        to: mpsc::Sender<(u64, Heard)>,
    ) -> io::Result<Self> {
        let (channel, killer) = (Arc::clone(&running.channel), running.life.killer()?);
        tokio::spawn(listen(number, Kept::new(Part::Worker, running), remains, to));
        Ok(Self { uid, channel, killer, reloads: VecDeque::new(), last_words: None, leaving: None })
    }

    /// Says something to it. One that does not take it is killed: its end is told as any other.
    pub(super) fn tell(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) {
        // Gone: its end is on its way to us.
        if let Err(ChannelError::Late | ChannelError::Io(_)) = self.channel.send(message, fds) {
            tracing::error!(uid = self.uid, "a worker does not take what it is told and is killed");
            self.killer.kill();
        }
    }

    /// Gives it a caller.
    ///
    /// # Errors
    /// It has no room now, or is gone.
    pub(super) fn give(&self, control: &OwnedFd) -> Result<(), ChannelError> {
        self.channel.send(&ToWorker::Caller, &[control.as_fd()])
    }

    pub(super) fn kill(&self) {
        self.killer.kill();
    }
}

async fn listen(number: u64, mut worker: Kept<FromWorker>, remains: Remains, to: mpsc::Sender<(u64, Heard)>) {
    let mut remains = Some(remains);
    loop {
        let happened = tokio::select! {
            happened = worker.happened() => happened,
            () = super::one::listen(&mut remains) => return,
        };
        let heard = match happened {
            Happened::Said(message) => Heard::Said(message, worker.take_brought()),
            Happened::Died(cause) => {
                super::one::tell_remains(remains.take());
                Heard::Died(cause)
            }
            Happened::Due => return,
        };
        let died = matches!(heard, Heard::Died(_));
        // One that says more than is heard waits, and nobody else does.
        if to.send((number, heard)).await.is_err() || died {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cred(gid: u32, groups: &[u32]) -> CallerCred {
        CallerCred { uid: 33, gid, groups: groups.to_vec(), pid: 1 }
    }

    #[test]
    fn a_user_has_each_group_of_its_callers_once() {
        let mut user = User::new(cred(33, &[4]));
        for _ in 0..3 {
            user.meet(&cred(33, &[4, 5]));
            user.meet(&cred(100, &[]));
        }
        assert_eq!((user.cred.gid, user.cred.groups), (33, vec![4, 5, 100]));
    }

    #[test]
    fn who_was_given_to_a_worker_that_died_and_not_taken_is_not_lost() {
        let null = || -> OwnedFd { std::fs::File::open("/dev/null").expect("null").into() };
        let mut user = User::new(cred(33, &[]));
        let now = Instant::now();
        let mut worker = Current::new(1, BTreeSet::new(), Rest::new(Duration::from_secs(1), now));
        assert!(!worker.has_room(), "it has not said that it serves");
        worker.ready = true;
        let given = std::iter::from_fn(|| worker.has_room().then(|| worker.gave(null()))).count();
        assert_eq!(given, MAX_UNTAKEN);
        worker.took(2);
        worker.took(1);
        user.waiting.push_back(null());
        user.worker = Some(worker);
        user.bereave();
        assert_eq!(user.waiting.len(), MAX_UNTAKEN - 2 + 1);
        // One that says that it has got more than it was given has none to lose.
        let mut liar = Current::new(2, BTreeSet::new(), Rest::new(Duration::from_secs(1), now));
        liar.gave(null());
        liar.took(u64::MAX);
        assert!(liar.untaken.is_empty());
    }

    #[test]
    fn a_pause_of_a_user_for_whom_nobody_waits_wakes_nobody() {
        let mut user = User::new(cred(33, &[]));
        let now = Instant::now();
        user.pause = Some(now);
        assert_eq!(user.next(), None);
        user.waiting.push_back(std::fs::File::open("/dev/null").expect("null").into());
        assert_eq!(user.next(), Some(now));
    }
}
