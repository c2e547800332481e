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

mod begin;
mod ending;
mod manager;
mod reload;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::configuration::Keyring;
use super::confinement::Confinement;
use super::holder::{Holder, Needs};
use super::logs::{LogChoice, Logs};
use super::operator::ConfigPlace;
use super::outside::Dialing;
use super::parts::{FromWorker, Happened, Kept, Part, Running};
use super::remains::Remains;
use super::socket::Listener;
use super::start::{Options, StartError};
use crate::config::Timeouts;
use begin::{again, said};
use ending::end;
use manager::Manager;
use reload::Told;

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

impl Daemon {
    async fn supervise(mut self, mut signals: Signals) -> Result<(), StartError> {
        let manager = Manager { ours: self.options.private.is_none() };
        let mut worker = Kept::new(Part::Worker, self.start_worker()?);
        // Whether callers were served before, and what is to be told when they are (again).
        let (mut served, mut unready) = (false, true);
        let mut reloads: VecDeque<Told> = VecDeque::new();
        let mut last_words = None;
        loop {
            tokio::select! {
                happened = worker.happened() => match happened {
                    Happened::Said(FromWorker::Ready) => {
                        self.tell_serving(served, worker.pid());
                        served = true;
                        if std::mem::take(&mut unready) {
                            manager.tell(NotifyState::Ready);
                        }
                    }
                    Happened::Said(FromWorker::Reloaded(answer)) => {
                        if let Some(told) = reloads.pop_front() {
                            self.reloaded(told, answer);
                        }
                        if reloads.is_empty() {
                            manager.tell(NotifyState::Ready);
                        }
                    }
                    Happened::Said(FromWorker::Ended(how)) => last_words = Some(how),
                    Happened::Said(FromWorker::Draining { .. }) => {}
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
                        Ok(running) => worker.start(running),
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
