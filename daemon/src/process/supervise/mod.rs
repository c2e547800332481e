//! The supervisor, from the start to the end: signals, reload, drain, and a worker that is always there.
//!
//! ```text
//!  SIGHUP ─▶ load everything ─▶ all good: the worker takes it ─▶ in use from the next request on
//!                           └▶ any error: said, and what was there stays
//!  SIGTERM, SIGINT ─▶ no new sessions ─▶ deadline ─▶ close_notify to the rest ─▶ end
//!                                     └▶ second signal: at once
//!  a worker crashed ─▶ what it left behind ─▶ a pause ─▶ another one; callers wait in the listening sockets' queues
//!                                            └▶ too often: the daemon ends
//! ```

mod begin;
mod ending;
mod manager;
mod reload;
mod workers;

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
use super::parts::Running;
use super::permits::Permits;
use super::socket::Listener;
use super::start::{Options, StartError};
use crate::config::{Isolation, Timeouts};
use manager::Manager;
use workers::{Turn, Workers};

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
    /// Whether each user has a worker of its own. Decided at the start.
    pub(super) isolation: Isolation,
    /// Who may see what everybody has, beside root.
    pub(super) observers: Vec<u32>,
    /// What of the configuration is for whom.
    pub(super) permits: Permits,
    /// Those of configurations from before, and until when handshakes that began then may need their keys.
    pub(super) fading: Vec<(Instant, Permits)>,
    /// Reloads so far, where they are counted.
    pub(super) reloads: u64,
}

impl Daemon {
    async fn supervise(mut self, mut signals: Signals) -> Result<(), StartError> {
        let manager = Manager { ours: self.options.private.is_none() };
        let mut workers = Workers::begin(&mut self)?;
        loop {
            let turn = tokio::select! {
                happened = workers.happened() => workers.note(happened, &mut self)?,
                () = due(self.keyring.next()) => {
                    self.keyring.retire();
                    Turn::Nothing
                }
                () = due(self.fading.first().map(|(until, _)| *until)) => {
                    self.fading.remove(0);
                    workers.permit(&self);
                    Turn::Nothing
                }
                needs = needs(&mut self.holder) => {
                    match needs? {
                        Needs::Start => self.start_keyholder()?,
                        Needs::Keys(door) => workers.keys_are_back(door, &mut self),
                        Needs::Nothing => {}
                    }
                    Turn::Nothing
                }
                happened = self.dialing.happened(&self.log) => {
                    happened?;
                    Turn::Nothing
                }
                _ = signals.hangup.recv() => {
                    manager.tell(NotifyState::Reloading);
                    let loaded = self.load();
                    if let Some(told) = &loaded {
                        self.dialing.allow(&told.new.config);
                    }
                    workers.reload(loaded, &mut self)
                }
                _ = signals.terminate.recv() => return workers.end(self, manager, signals).await,
                _ = signals.interrupt.recv() => return workers.end(self, manager, signals).await,
            };
            match turn {
                Turn::Nothing => {}
                Turn::Ready => manager.tell(NotifyState::Ready),
                Turn::Over(how) => return how,
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
