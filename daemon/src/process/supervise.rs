//! The supervisor, from the start to the end: signals, reload, drain, and a worker that is always there.
//!
//! ```text
//!  SIGHUP ─▶ load everything ─▶ all good: the worker takes it ─▶ in use from the next request on
//!                           └▶ any error: said, and what was there stays
//!  SIGTERM, SIGINT ─▶ no new sessions ─▶ deadline ─▶ close_notify to the rest ─▶ end
//!                                     └▶ second signal: at once
//!  the worker crashed ─▶ what it left behind ─▶ a pause ─▶ another one; callers wait in the listening sockets' queues
//!                                            └▶ too often: the daemon ends
//! ```

use std::collections::VecDeque;
use std::future::Future;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::{Gathering, Keyring, New};
use super::confinement::Confinement;
use super::descriptors;
use super::holder::{Holder, Needs};
use super::keys::Door;
use super::logs::{LogChoice, Logs};
use super::operator::ConfigPlace;
use super::outside::Dialing;
use super::parts::{
    self, CRASHES, Cause, Decisions, FromWorker, Gift, Happened, Kept, Parcel, Part, Running, Start,
    ToWorker, WINDOW,
};
use super::remains::{Remains, Shares};
use super::sandbox;
use super::socket::Listener;
use super::start::{Options, StartError, has_keys, log_choice};
use crate::config::Timeouts;

/// After its goodbyes the worker ends. One that does not is killed.
const LAST_STEPS: Duration = Duration::from_secs(2);

/// The worker answers at once when it is told to drain. For one that hangs, the socket stays no longer than this.
const FIRST_WORD: Duration = Duration::from_secs(1);

/// The signals, watched. Those that come before [`Supervisor::run`] are acted on there.
pub(super) struct Supervisor {
    runtime: Runtime,
    signals: Signals,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// SIGTERM or SIGINT.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

impl Supervisor {
    /// Watches for signals from now on. To be called before anybody can find us: whoever sees the socket may send
    /// SIGHUP, and until it is watched that kills.
    pub(super) fn new() -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(StartError::system("starting the supervisor's runtime"))?;
        let inside = runtime.enter();
        let watching = |kind| signal(kind).map_err(StartError::system("watching for signals"));
        let (terminate, interrupt) = (watching(SignalKind::terminate())?, watching(SignalKind::interrupt())?);
        let hangup = watching(SignalKind::hangup())?;
        drop(inside);
        Ok(Self { runtime, signals: Signals { terminate, interrupt, hangup } })
    }

    /// Serves until the end.
    pub(super) fn run(self, daemon: Daemon) -> Result<(), StartError> {
        let Self { runtime, signals } = self;
        let result = runtime.block_on(daemon.supervise(signals));
        // A thread that waits for something must not keep the process.
        runtime.shutdown_background();
        result
    }
}

/// How the worker comes to be.
pub(super) enum Making {
    /// A process of its own, as often as needed.
    Spawned,
    /// It was forked already; there is no second one.
    Forked(Running),
    /// A thread of this process, once.
    Thread,
}

/// What the supervisor has and knows.
pub(super) struct Daemon {
    pub(super) options: Options,
    /// `None`: there is no configuration file.
    pub(super) place: Option<ConfigPlace>,
    /// What was loaded from it, for workers.
    pub(super) record: Option<OwnedFd>,
    /// `None`: keys are in the worker, which is in this process.
    pub(super) holder: Option<Holder>,
    /// The keys that it names.
    pub(super) keyring: Keyring,
    pub(super) log: LogChoice,
    pub(super) logs: Logs,
    /// Given up when draining begins, so that their paths are free.
    pub(super) listeners: Vec<Listener>,
    /// The one caller of a private daemon, until the worker has it.
    pub(super) private: Option<OwnedFd>,
    /// Worker threads.
    pub(super) workers: usize,
    /// How long handshakes may take, and sessions go on after SIGTERM.
    pub(super) timeouts: Timeouts,
    pub(super) making: Making,
    /// `None`: everything is in one process.
    pub(super) confinement: Option<Confinement>,
    /// What workers ask for.
    pub(super) dialing: Dialing,
    /// What the worker will leave behind, if it is one that can be outlived.
    pub(super) remains: Option<Remains>,
}

/// A configuration that the worker was told, and has not answered yet.
struct Told {
    decisions: Decisions,
    new: New,
}

impl Told {
    /// Tells it, and says whether that was possible.
    fn tell(&self, worker: &Kept<FromWorker>) -> bool {
        worker.tell_with(&ToWorker::Reload(self.decisions.clone()), &[self.new.record.as_fd()])
    }
}

impl Daemon {
    async fn supervise(mut self, mut signals: Signals) -> Result<(), StartError> {
        let manager = Manager { ours: self.options.private.is_none() };
        let mut worker = Kept::new(Part::Worker, self.start_worker()?);
        // Whether this worker is still to say that it serves, whether one has before, and whether the service manager waits
        // to hear it.
        let (mut starting, mut served, mut unready) = (true, false, true);
        let mut reloads: VecDeque<Told> = VecDeque::new();
        let mut last_words = None;
        loop {
            tokio::select! {
                happened = worker.happened() => match happened {
                    Happened::Said(FromWorker::Ready) if std::mem::take(&mut starting) => {
                        self.tell_serving(served, worker.pid());
                        served = true;
                        if std::mem::take(&mut unready) {
                            manager.tell(NotifyState::Ready);
                        }
                    }
                    Happened::Said(FromWorker::Reloaded(answer)) if !reloads.is_empty() => {
                        if let Some(told) = reloads.pop_front() {
                            self.reloaded(told, answer);
                        }
                        if reloads.is_empty() {
                            manager.tell(NotifyState::Ready);
                        }
                    }
                    Happened::Said(FromWorker::Ended(how)) if last_words.is_none() => last_words = Some(how),
                    Happened::Said(unasked) => {
                        // It is broken, or in somebody else's hands: each such word would cost us a line or more.
                        tracing::error!("the worker said {} when it was not to, and is ended", unasked.verb());
                        worker.kill();
                    }
                    Happened::Died(cause) => {
                        self.remains();
                        let last_words = last_words.take();
                        if !served || !matches!(self.making, Making::Spawned) {
                            return end(last_words, cause);
                        }
                        // What it did not answer any more, the next one starts with.
                        for told in reloads.drain(..) {
                            tracing::info!("configuration reloaded, for the next worker");
                            self.take(told);
                            unready = true;
                        }
                        again(&mut worker, &said(last_words, &cause))?;
                    }
                    Happened::Due => match self.start_worker() {
                        Ok(running) => {
                            worker.start(running);
                            starting = true;
                        }
                        Err(error) => again(&mut worker, &format!("could not be started: {error}"))?,
                    },
                },
                () = due(self.keyring.next()) => self.keyring.retire(),
                needs = needs(&mut self.holder) => match needs? {
                    Needs::Start => self.start_keyholder()?,
                    Needs::Keys(door) => self.keys_are_back(door, &worker),
                    Needs::Nothing => {}
                },
                happened = self.dialing.happened(&self.log) => happened?,
                () = listen(&mut self.remains) => {}
                _ = signals.hangup.recv() => {
                    manager.tell(NotifyState::Reloading);
                    let loaded = self.load();
                    if let Some(told) = &loaded {
                        self.dialing.allow(&told.new.config);
                    }
                    match loaded {
                        Some(told) if told.tell(&worker) => reloads.push_back(told),
                        Some(told) => {
                            tracing::info!("configuration reloaded, for the next worker");
                            self.take(told);
                            unready = true;
                        }
                        None if reloads.is_empty() => manager.tell(NotifyState::Ready),
                        None => {}
                    }
                }
                _ = signals.terminate.recv() => return self.drain(worker, manager, signals).await,
                _ = signals.interrupt.recv() => return self.drain(worker, manager, signals).await,
            }
        }
    }

    /// A worker, with everything that it starts with on the way.
    fn start_worker(&mut self) -> Result<Running, StartError> {
        let alone = matches!(self.making, Making::Thread);
        let running = match std::mem::replace(&mut self.making, Making::Spawned) {
            Making::Spawned => parts::spawn(Part::Worker),
            Making::Forked(running) => {
                self.making = Making::Thread;
                Ok(running)
            }
            Making::Thread => {
                self.making = Making::Thread;
                parts::thread(Part::Worker, |channel| {
                    parts::worker::serve(channel, parts::worker::Log::Supervisors)
                })
            }
        };
        let running = running.map_err(StartError::system("starting the worker"))?;
        let shares = self.share().map_err(StartError::system("sharing what outlives the worker"))?;
        let mut parcel = Parcel::default();
        for listener in &self.listeners {
            parcel.add(Gift::Listener, listener.as_fd());
        }
        if let Some(caller) = &self.private {
            parcel.add(Gift::Caller, caller.as_fd());
        }
        if let Some(record) = &self.record {
            parcel.add(Gift::Configuration, record.as_fd());
        }
        let door = self.holder.as_mut().map(|holder| holder.door(&self.keyring)).transpose()?;
        if let Some(door) = &door {
            parcel.add(Gift::KeyholderDoor, door.as_fd());
        }
        // In one process there is nobody to ask.
        let outside = match alone {
            true => None,
            false => Some(self.dialing.answer(None)),
        };
        let outside = outside.transpose().map_err(StartError::system("answering the worker"))?;
        if let Some(outside) = &outside {
            parcel.add(Gift::Outside, outside.as_fd());
        }
        if let Some(Shares { memory, channel }) = &shares {
            parcel.add(Gift::Sessions, memory.as_fd());
            parcel.add(Gift::Connections, channel.as_fd());
        }
        let Parcel { names, fds } = parcel;
        let sandbox =
            self.confinement.as_ref().map(|confinement| confinement.settings(sandbox::Part::Worker));
        let decisions = Decisions { directives: self.log.directives.clone() };
        let start = Start { log: self.log.clone(), workers: self.workers, decisions, gifts: names, sandbox };
        let sent = running.channel.send(&ToWorker::Start(start), &fds);
        sent.map_err(std::io::Error::other).map_err(StartError::system("starting the worker"))?;
        // Its end has to be seen, by whoever has the other one.
        self.private = None;
        Ok(running)
    }

    /// What will be left of the worker. One that is not started again, or is this process, leaves nobody to speak for it.
    fn share(&mut self) -> std::io::Result<Option<Shares>> {
        if !matches!(self.making, Making::Spawned) {
            return Ok(None);
        }
        let sessions = u32::try_from(descriptors::limit()).unwrap_or(u32::MAX);
        let (remains, shares) = Remains::new(self.workers, sessions)?;
        self.remains = Some(remains);
        Ok(Some(shares))
    }

    /// What a dead worker has left behind: its sessions are over, and their callers are told so.
    fn remains(&mut self) {
        let sessions = self.remains.take().map_or(0, Remains::tell);
        if sessions > 0 {
            tracing::warn!(sessions, "callers were told that their sessions ended with the worker");
        }
    }

    /// Starts the first keyholder.
    fn start_keyholder(&mut self) -> Result<(), StartError> {
        self.holder.as_mut().map_or(Ok(()), |holder| holder.start(&self.log, &mut self.keyring))
    }

    /// There is another keyholder: it gets the configuration's keys, and the worker a door to it.
    fn keys_are_back(&mut self, door: Door, worker: &Kept<FromWorker>) {
        let Some(holder) = &mut self.holder else { return };
        if let Some(door) = holder.back(door, &mut self.keyring) {
            worker.tell_with(&ToWorker::Keyholder, &[door.as_fd()]);
        }
        tracing::info!("keys are held again");
    }

    /// SIGHUP: loads everything, or says why not.
    fn load(&mut self) -> Option<Told> {
        let Some(place) = &self.place else {
            tracing::info!("there is no configuration file to reload");
            return None;
        };
        let gathering = Gathering::begin(place);
        let config = gathering.config();
        // Of a private daemon: nobody has needed it before.
        let asleep = self.holder.as_ref().is_some_and(|holder| !holder.is_awake());
        if asleep
            && config.as_ref().is_ok_and(has_keys)
            && let Err(error) = self.start_keyholder()
        {
            tracing::error!("configuration not reloaded, the old one stays: {error}");
            return None;
        }
        if let (Some(holder), Ok(config)) = (&mut self.holder, &config)
            && let Err(error) = holder.try_signers(&config.signers, &self.log)
        {
            tracing::error!("configuration not reloaded, the old one stays: {error}");
            return None;
        }
        match config.and_then(|config| gathering.all(config, &mut self.keyring)) {
            Ok(new) => {
                for warning in &new.warnings {
                    tracing::warn!("{warning}");
                }
                let directives = log_choice(&self.options, &new.config).directives;
                Some(Told { decisions: Decisions { directives }, new })
            }
            Err(error) => {
                self.reject_signers();
                tracing::error!("configuration not reloaded, the old one stays: {error}");
                None
            }
        }
    }

    fn reject_signers(&self) {
        if let Some(holder) = &self.holder {
            holder.reject_signers();
        }
    }

    /// The worker has answered.
    fn reloaded(&mut self, told: Told, answer: Result<usize, String>) {
        match answer {
            Ok(profiles) => {
                self.take(told);
                tracing::info!(profiles, "configuration reloaded");
            }
            Err(error) => {
                self.keyring.reject(told.new.keys);
                self.reject_signers();
                tracing::error!("configuration not reloaded, the old one stays: {error}");
            }
        }
    }

    /// This configuration is the one in use.
    fn take(&mut self, told: Told) {
        let Told { decisions, new } = told;
        if let Err(error) = self.logs.set_directives(&decisions.directives) {
            tracing::warn!(%error, "the log stays as it is");
        }
        self.log.directives = decisions.directives;
        self.dialing.only(&new.config);
        self.record = Some(new.record);
        self.keyring.accept(new.keys, self.timeouts.handshake);
        self.timeouts = new.config.timeouts;
        if let Some(holder) = &mut self.holder {
            holder.accept_signers(new.config.signers);
            holder.settings(&self.log.directives, new.key_users);
        }
    }

    fn tell_serving(&self, again: bool, worker: Option<i32>) {
        let workers = self.workers;
        match self.listeners.first().map(Listener::path) {
            _ if again => tracing::info!(worker, "serving again"),
            Some(Some(path)) => tracing::info!(socket = %path.display(), workers, "serving"),
            Some(None) => tracing::info!(socket = "inherited", workers, "serving"),
            None => tracing::debug!(workers, "serving one caller"),
        }
    }

    /// SIGTERM or SIGINT: the worker takes nothing new, and has until the deadline to finish what there is.
    async fn drain(
        mut self,
        mut worker: Kept<FromWorker>,
        manager: Manager,
        mut signals: Signals,
    ) -> Result<(), StartError> {
        manager.tell(NotifyState::Stopping);
        let limit = self.timeouts.drain;
        if worker.channel().is_none() {
            // One that crashed and was not started again: nobody has a session.
            self.remains();
            return Ok(());
        }
        worker.tell(&ToWorker::Drain);
        let mut last_words = None;
        // Whoever sees that the socket is gone finds that the worker takes nothing any more: its word comes first.
        let heard = until_draining(&mut worker, &mut last_words);
        let heard = in_time(heard, FIRST_WORD, std::future::pending()).await;
        self.listeners.clear();
        if let Some(holder) = &mut self.holder {
            holder.leave();
        }
        match heard {
            Some(Ok(sessions)) if sessions > 0 => {
                let limit_s = limit.as_secs();
                tracing::info!(sessions, limit_s, "ending when the open sessions have ended");
            }
            Some(Err(cause)) => {
                self.remains();
                return end(last_words, cause);
            }
            Some(Ok(_)) | None => {}
        }
        let ended = self.dialing.beside(&self.log, until_death(&mut worker, &mut last_words));
        let mut cause = in_time(ended, limit, signals.end()).await;
        if cause.is_none() {
            worker.tell(&ToWorker::End);
            let limit = parts::worker::GOODBYE + LAST_STEPS;
            let ended = until_death(&mut worker, &mut last_words);
            cause = in_time(ended, limit, std::future::pending()).await;
        }
        if cause.is_none() {
            worker.kill();
            until_death(&mut worker, &mut last_words).await;
        }
        // Nobody, if it ended as it should.
        self.remains();
        end(last_words, cause.unwrap_or(Cause::Deaf))
    }
}

/// Waits until then, if there is a then.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// What the keyholder needs, if there is one.
async fn needs(holder: &mut Option<Holder>) -> Result<Needs, StartError> {
    match holder {
        Some(holder) => holder.needs().await,
        None => std::future::pending().await,
    }
}

/// Notes what the worker says of its connections, for as long as it does.
async fn listen(remains: &mut Option<Remains>) {
    if let Some(remains) = remains {
        remains.listen().await;
    }
    // Its end is seen elsewhere.
    std::future::pending().await
}

/// Waits until the worker says how many sessions are open when it takes no more, or for its end.
async fn until_draining(
    worker: &mut Kept<FromWorker>,
    last_words: &mut Option<Result<(), String>>,
) -> Result<u64, Cause> {
    loop {
        match worker.happened().await {
            Happened::Said(FromWorker::Draining { sessions }) => return Ok(sessions),
            Happened::Said(FromWorker::Ended(how)) => *last_words = Some(how),
            Happened::Said(_) | Happened::Due => {}
            Happened::Died(cause) => return Err(cause),
        }
    }
}

/// Waits for the worker's end, and keeps its last words.
async fn until_death(worker: &mut Kept<FromWorker>, last_words: &mut Option<Result<(), String>>) -> Cause {
    // What else it says now is nothing to us.
    loop {
        if let Err(cause) = until_draining(worker, last_words).await {
            return cause;
        }
    }
}

/// What comes before the limit and before `stop`.
async fn in_time<T>(
    ended: impl Future<Output = T>,
    limit: Duration,
    stop: impl Future<Output = ()>,
) -> Option<T> {
    tokio::select! {
        ended = ended => Some(ended),
        () = tokio::time::sleep(limit) => None,
        () = stop => None,
    }
}

/// A part has crashed and is to be started again, if that makes sense still.
fn again<M: DeserializeOwned>(kept: &mut Kept<M>, how: &str) -> Result<(), StartError> {
    let part = kept.part();
    match kept.crashed() {
        Some(pause) => {
            tracing::error!("the {part} {how}; it is started again in {} ms", pause.as_millis());
            Ok(())
        }
        None => {
            tracing::error!("the {part} {how}");
            Err(StartError::Crashed(format!(
                "the {part} crashed more than {CRASHES} times in {} s, at last it {how}; this is a bug or an attack, see \
                 the lines before",
                WINDOW.as_secs()
            )))
        }
    }
}

/// How a worker that is not started again has ended.
fn end(last_words: Option<Result<(), String>>, cause: Cause) -> Result<(), StartError> {
    match last_words {
        Some(Ok(())) => Ok(()),
        Some(Err(why)) => Err(StartError::Worker(why)),
        None => Err(StartError::Crashed(format!("the worker {cause}"))),
    }
}

/// In words behind "the worker".
fn said(last_words: Option<Result<(), String>>, cause: &Cause) -> String {
    match last_words {
        Some(Err(why)) => format!("ended: {why}"),
        Some(Ok(())) => "ended without being told".to_owned(),
        None => cause.to_string(),
    }
}

/// The service manager, if there is one.
#[derive(Clone, Copy)]
struct Manager {
    /// Whether it is ours: a private daemon has its environment from a program that may be somebody's service, and is not
    /// to speak for that.
    ours: bool,
}

impl Manager {
    fn tell(self, state: NotifyState<'_>) {
        if self.ours
            && let Err(error) = sd_notify::notify(&[state])
        {
            tracing::warn!(%error, "the service manager could not be told");
        }
    }
}
