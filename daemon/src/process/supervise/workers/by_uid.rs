//! A worker for each user who calls.
//!
//! ```text
//!  nobody ─ a caller ─▶ starting (callers wait) ─ Ready ─▶ serving ─ idle for a minute ─▶ draining ─▶ nobody
//!     ▲                     │ crash ◀──────────────────────────┘        (a caller who comes then gets another worker)
//!     └── pause, or refused for a minute: this user alone ◀┘
//! ```
//!
//! What one user's worker does, crashing included, is that user's: nobody else waits for it, and it ends nobody else.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::arrivals::{Arrival, Arrivals, turn_away};
use super::overviews::{Overviews, told_all};
use super::rest::{PATIENCE, Rest};
use super::upkeep::{Reloading, next};
use super::user::{AGAIN, Current, Heard, Leaving, Live, MAX_WAITING, User};
use super::{MAX_WORKERS, Turn};
use crate::io::between::ChannelError;
use crate::process::parts::{CRASHES, Cause, FromWorker, WINDOW};
use crate::process::permits::{Pin, record_for};
use crate::process::start::StartError;
use crate::process::supervise::begin::{Whose, said};
use crate::process::supervise::{Daemon, due};

/// What workers have said and nobody has heard yet. They wait for their turn; more would be memory for nothing.
const UNHEARD: usize = 64;
/// Different records at most, one for each set of profiles that some user may use. They are made again when needed.
const MAX_RECORDS: usize = 64;

pub(in super::super) struct ByUid {
    /// Whether the service manager was told that callers are served.
    pub(super) begun: bool,
    pub(super) arrivals: Arrivals,
    pub(super) heard: mpsc::Receiver<(u64, Heard)>,
    to: mpsc::Sender<(u64, Heard)>,
    pub(super) users: BTreeMap<u32, User>,
    pub(super) lives: BTreeMap<u64, Live>,
    last: u64,
    records: HashMap<BTreeSet<String>, Rc<OwnedFd>>,
    pub(super) reloading: Vec<Reloading>,
    pub(super) overviews: Overviews,
    /// How long a worker may have nothing to do.
    patience: Duration,
}

/// Something happened.
pub(in super::super) enum Event {
    Begun,
    Arrived(Arrival),
    Heard(u64, Heard),
    /// It is time for something.
    Due,
}

impl ByUid {
    pub(super) fn begin(daemon: &mut Daemon) -> Result<Self, StartError> {
        let arrivals =
            Arrivals::watch(&daemon.listeners).map_err(StartError::system("letting callers in"))?;
        let (to, heard) = mpsc::channel(UNHEARD);
        Ok(Self {
            begun: false,
            arrivals,
            heard,
            to,
            users: BTreeMap::new(),
            lives: BTreeMap::new(),
            last: 0,
            records: HashMap::new(),
            reloading: Vec::new(),
            overviews: Overviews::default(),
            patience: patience(),
        })
    }

    pub(super) async fn happened(&mut self) -> Event {
        if !self.begun {
            return Event::Begun;
        }
        let next = next(self);
        tokio::select! {
            Some((number, heard)) = self.heard.recv() => Event::Heard(number, heard),
            arrival = self.arrivals.next() => Event::Arrived(arrival),
            () = due(next) => Event::Due,
        }
    }

    pub(super) fn note(&mut self, event: Event, daemon: &mut Daemon) -> Turn {
        match event {
            Event::Begun => {
                self.begun = true;
                daemon.tell_serving(false, None);
                return Turn::Ready;
            }
            Event::Arrived(arrival) => self.arrived(arrival, daemon),
            Event::Heard(number, Heard::Said(message, fds)) => self.said(number, message, &fds, daemon),
            Event::Heard(number, Heard::Died(cause)) => self.died(number, &cause, daemon),
            Event::Due => self.upkeep(daemon),
        }
        self.reloaded()
    }

    fn arrived(&mut self, Arrival { control, cred }: Arrival, daemon: &mut Daemon) {
        let (uid, now) = (cred.uid, Instant::now());
        let user = self.users.entry(uid).or_insert_with(|| User::new(cred.clone()));
        user.meet(&cred);
        if user.is_refused(now) || user.waiting.len() >= MAX_WAITING {
            tracing::debug!(
                uid,
                pid = cred.pid,
                "a caller was closed: its user is refused, or too many wait"
            );
            return turn_away(control);
        }
        user.waiting.push_back(control);
        self.serve(uid, daemon);
    }

    /// Gives everybody of this user who waits to its worker, which is started if there is none.
    pub(super) fn serve(&mut self, uid: u32, daemon: &mut Daemon) {
        let now = Instant::now();
        let Some(user) = self.users.get(&uid) else { return };
        if user.waiting.is_empty() || user.pause.is_some_and(|until| now < until) {
            return;
        }
        let permitted = daemon.permits.of(&user.cred).profiles;
        match user.worker.as_ref().map(|worker| permitted == worker.profiles) {
            None if !self.make_room(uid) => return,
            None => {
                if let Err(error) = self.start(uid, &permitted, daemon) {
                    return self.crashed(uid, &format!("could not be started: {error}"));
                }
            }
            // Somebody came with another group than all before.
            Some(false) => self.tell_configuration(uid, None, daemon),
            Some(true) => {}
        }
        let Some(user) = self.users.get_mut(&uid) else { return };
        user.pause = None;
        let Some(worker) = user.worker.as_mut() else { return };
        let Some(live) = self.lives.get(&worker.number) else { return };
        while worker.has_room()
            && let Some(control) = user.waiting.pop_front()
        {
            match live.give(&control) {
                Ok(()) => worker.gave(control),
                Err(error) => {
                    // Gone: its end is on its way to us.
                    let again =
                        if matches!(error, ChannelError::Gone) { Duration::from_secs(1) } else { AGAIN };
                    user.waiting.push_front(control);
                    user.pause = Some(now + again);
                    return;
                }
            }
        }
    }

    /// Whether there may be another worker. One that has nothing to do goes for it.
    fn make_room(&mut self, uid: u32) -> bool {
        let serving = self.users.values().filter(|user| user.worker.is_some()).count();
        if serving < MAX_WORKERS && self.lives.len() < 2 * MAX_WORKERS {
            return true;
        }
        let idle = |user: &User| Some((user.worker.as_ref()?.rest.since()?, user.cred.uid));
        let longest = self.users.values().filter_map(idle).min();
        if let Some((_, longest)) = longest.filter(|_| self.lives.len() < 2 * MAX_WORKERS) {
            self.retire(longest, PATIENCE);
            return true;
        }
        tracing::warn!(
            uid,
            "callers were closed: there are {MAX_WORKERS} users' workers already, and none is idle"
        );
        if let Some(user) = self.users.get_mut(&uid) {
            user.turn_all_away();
        }
        false
    }

    fn start(
        &mut self,
        uid: u32,
        profiles: &BTreeSet<String>,
        daemon: &mut Daemon,
    ) -> Result<(), StartError> {
        let record = self.record(profiles, daemon).map_err(StartError::Worker)?;
        self.last += 1;
        let number = self.last;
        let pins = self.users.get(&uid).map_or_else(Vec::new, |user| pins_of(user, daemon));
        let whose = Whose {
            uid,
            number,
            profiles,
            pins: &pins,
            record: record.as_ref().map(|record| record.as_fd()),
        };
        let (running, remains) = daemon.start_worker_of(&whose)?;
        let pid = running.life.pid();
        let live = Live::listen(uid, number, running, remains, self.to.clone());
        let live = live.map_err(StartError::system("watching a worker"))?;
        self.lives.insert(number, live);
        if let Some(user) = self.users.get_mut(&uid) {
            let rest = Rest::new(self.patience, Instant::now());
            user.worker = Some(Current::new(number, profiles.clone(), rest));
        }
        tracing::debug!(uid, pid, "a worker was started for a user");
        Ok(())
    }

    /// The configuration with what these profiles name; `None`: there is none.
    fn record(
        &mut self,
        profiles: &BTreeSet<String>,
        daemon: &Daemon,
    ) -> Result<Option<Rc<OwnedFd>>, String> {
        let Some(whole) = &daemon.record else { return Ok(None) };
        if let Some(record) = self.records.get(profiles) {
            return Ok(Some(Rc::clone(record)));
        }
        let record = Rc::new(record_for(profiles, whole)?);
        if self.records.len() >= MAX_RECORDS {
            self.records.clear();
        }
        self.records.insert(profiles.clone(), Rc::clone(&record));
        Ok(Some(record))
    }

    /// The records are of another configuration than the one in use.
    pub(super) fn forget_records(&mut self) {
        self.records.clear();
    }

    /// Tells a user's worker what is for it of the configuration in use, with the number of the reload if it is one.
    pub(super) fn tell_configuration(&mut self, uid: u32, reload: Option<u64>, daemon: &Daemon) {
        let Some(user) = self.users.get(&uid) else { return };
        let Some(number) = user.worker.as_ref().map(|worker| worker.number) else { return };
        let profiles = daemon.permits.of(&user.cred).profiles;
        self.permit(number, daemon);
        match self.record(&profiles, daemon) {
            Ok(Some(record)) => {
                let Some(live) = self.lives.get_mut(&number) else { return };
                live.reloads.push_back(reload);
                live.tell(&daemon.reload_for(profiles.clone()), &[record.as_fd()]);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(uid, "a worker could not be told of the configuration: {error}");
                return self.retire(uid, daemon.timeouts.drain);
            }
        }
        if let Some(worker) = self.users.get_mut(&uid).and_then(|user| user.worker.as_mut()) {
            worker.profiles = profiles;
        }
    }

    /// The keyholder is to know which of the operator's keys are for this worker.
    pub(super) fn permit(&self, number: u64, daemon: &Daemon) {
        let Some(user) = self.lives.get(&number).and_then(|live| self.users.get(&live.uid)) else { return };
        if let Some(keyholder) = daemon.keyring.door() {
            // One that is gone gets it anew when it is back.
            let _ = keyholder.permit(number, &pins_of(user, daemon));
        }
    }

    fn said(&mut self, number: u64, message: FromWorker, fds: &[OwnedFd], daemon: &mut Daemon) {
        let now = Instant::now();
        let Some(live) = self.lives.get_mut(&number) else { return };
        let uid = live.uid;
        let user = self.users.get_mut(&uid);
        let current = user.and_then(|user| user.worker.as_mut()).filter(|worker| worker.number == number);
        match message {
            FromWorker::Ready => {
                if let Some(worker) = current {
                    worker.ready = true;
                    self.serve(uid, daemon);
                }
            }
            FromWorker::Reloaded(answer) => {
                let Some(reload) = live.reloads.pop_front() else {
                    // It is broken, or in somebody else's hands: each such word would cost us a line or more.
                    return live.kill();
                };
                self.reloading.iter_mut().for_each(|one| one.answered(reload, number));
                if let Err(error) = answer {
                    tracing::error!(
                        uid,
                        "a worker does not take the configuration, another one will: {error}"
                    );
                    self.retire(uid, daemon.timeouts.drain);
                }
            }
            FromWorker::Taken(taken) => {
                if let Some(worker) = current {
                    worker.took(taken);
                    self.serve(uid, daemon);
                }
            }
            FromWorker::Idle { taken, idle } => {
                if current.is_some_and(|worker| worker.rest.answered(taken, idle, now)) {
                    tracing::debug!(uid, "a worker with nothing to do is ended");
                    self.retire(uid, PATIENCE);
                }
            }
            FromWorker::Ask { number: question, wanted } => {
                // The worker has looked, too, and is not believed.
                if uid == 0 || daemon.observers.contains(&uid) {
                    self.overviews.ask(number, question, wanted, &self.lives, now);
                } else {
                    told_all(number, question, &self.lives);
                }
            }
            FromWorker::Overview { number: question, counts } => {
                self.overviews.answered(number, question, counts, fds, &self.lives);
            }
            FromWorker::Ended(how) => live.last_words = Some(how),
            FromWorker::Draining { .. } => {}
        }
    }

    /// This user's worker gets no more callers, and ends with what it has, or when `limit` has passed.
    pub(super) fn retire(&mut self, uid: u32, limit: Duration) {
        let Some(worker) = self.users.get_mut(&uid).and_then(|user| user.worker.take()) else { return };
        if let Some(live) = self.lives.get_mut(&worker.number) {
            live.leave(limit);
        }
    }

    fn died(&mut self, number: u64, cause: &Cause, daemon: &mut Daemon) {
        let Some(live) = self.lives.remove(&number) else { return };
        self.overviews.gone(number, &self.lives, Instant::now());
        self.reloading.iter_mut().for_each(|one| one.gone(number));
        if live.leaving.is_some() {
            if !matches!(live.last_words, Some(Ok(()))) {
                tracing::warn!(
                    uid = live.uid,
                    "a user's worker, which was to end, {}",
                    said(live.last_words, cause)
                );
            }
            return;
        }
        let user = self.users.get_mut(&live.uid);
        if let Some(user) = user.filter(|user| user.worker.as_ref().is_some_and(|one| one.number == number)) {
            user.bereave();
        }
        self.crashed(live.uid, &said(live.last_words, cause));
        self.serve(live.uid, daemon);
    }

    /// A user's worker has crashed. This is nobody else's concern, however often it does.
    fn crashed(&mut self, uid: u32, how: &str) {
        let now = Instant::now();
        let Some(user) = self.users.get_mut(&uid) else { return };
        user.crashed = Some(now);
        match user.restarts.after_crash(now) {
            Some(pause) => {
                let pause_ms = pause.as_millis();
                tracing::error!(
                    uid,
                    "the worker of uid {uid} {how}; another one is started when it is needed, in {pause_ms} ms at the earliest"
                );
                user.pause = Some(now + pause);
            }
            None => {
                let window_s = WINDOW.as_secs();
                tracing::error!(
                    uid,
                    "the worker of uid {uid} {how}, and crashed more than {CRASHES} times in {window_s} s: this user is refused \
                     for {window_s} s, and nobody else is"
                );
                (user.refused, user.pause) = (Some(now + WINDOW), None);
                user.restarts = crate::process::parts::Restarts::default();
                user.turn_all_away();
            }
        }
    }
}

/// The operator's keys that are for a user, those of configurations from before included while handshakes may need them.
pub(super) fn pins_of(user: &User, daemon: &Daemon) -> Vec<Pin> {
    let before = daemon.fading.iter().map(|(_, permits)| permits);
    let pins: BTreeSet<Pin> =
        before.chain([&daemon.permits]).flat_map(|permits| permits.of(&user.cred).pins).collect();
    pins.into_iter().collect()
}

/// A test of a debug build does not wait for minutes.
fn patience() -> Duration {
    #[cfg(debug_assertions)]
    if let Some(ms) = std::env::var("TLSIFYD_TEST_IDLE_MS").ok().and_then(|ms| ms.parse().ok()) {
        return Duration::from_millis(ms);
    }
    PATIENCE
}

impl Live {
    /// It is to end.
    pub(super) fn leave(&mut self, limit: Duration) {
        self.tell(&crate::process::parts::ToWorker::Drain, &[]);
        self.leaving = Some(Leaving::Drains(Instant::now() + limit));
    }
}
