//! From the start to the end: signals, reload, drain.
//!
//! ```text
//!  SIGHUP ─▶ load everything ─▶ all good: in use from the next request on
//!                           └▶ any error: said, and what was there stays
//!  SIGTERM, SIGINT ─▶ no new sessions ─▶ deadline ─▶ close_notify to the rest ─▶ end
//!                                     └▶ second signal: at once
//! ```

use std::future::Future;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use super::gather::Disk;
use super::keys::InProcess;
use super::logs::Logs;
use super::operator::{ConfigPlace, Loaded};
use super::socket::Listener;
use super::start::{Options, StartError, log_choice};
use crate::engine::{BLOCKING_THREADS, Engine, Here};

/// Sessions that were told to end get this long to say goodbye; what is left then ends with us.
const GOODBYE: Duration = Duration::from_secs(3);

/// What a reload needs.
pub(super) struct Reload {
    /// `None`: there is no configuration file.
    pub(super) place: Option<ConfigPlace>,
    pub(super) logs: Logs,
    pub(super) options: Options,
}

/// The signals, watched. Those that come before [`Supervisor::run`] are acted on there.
pub(super) struct Supervisor {
    runtime: Runtime,
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Supervisor {
    /// Watches for signals from now on. To be called before anybody can find us: whoever sees the socket may send
    /// SIGHUP, and until it is watched that kills.
    pub(super) fn new() -> Result<Self, StartError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            // Some are the worker's, where it has no thread of its own.
            .max_blocking_threads(BLOCKING_THREADS)
            .build()
            .map_err(StartError::system("starting the supervisor's runtime"))?;
        let inside = runtime.enter();
        let watching = |kind| signal(kind).map_err(StartError::system("watching for signals"));
        let (terminate, interrupt) = (watching(SignalKind::terminate())?, watching(SignalKind::interrupt())?);
        let hangup = watching(SignalKind::hangup())?;
        drop(inside);
        Ok(Self { runtime, terminate, interrupt, hangup })
    }

    /// Serves until the end. `listeners` are given up when draining begins, so that their paths are free.
    pub(super) fn run(
        self,
        engine: Engine,
        reload: Reload,
        listeners: Vec<Listener>,
    ) -> Result<(), StartError> {
        let Self { runtime, terminate, interrupt, hangup } = self;
        runtime.block_on(supervise(engine, reload, listeners, [terminate, interrupt, hangup]))
    }

    /// The same for the engine that has its one worker on this thread.
    pub(super) fn run_here(self, engine: Engine, worker: Here, reload: Reload) -> Result<(), StartError> {
        let Self { runtime, terminate, interrupt, hangup } = self;
        let tasks = LocalSet::new();
        let result = tasks.block_on(&runtime, async {
            let worker = tokio::task::spawn_local(worker.serve());
            supervise(engine, reload, Vec::new(), [terminate, interrupt, hangup]).await?;
            // Not yet: its peers did not take their goodbye, and end with us.
            if !worker.is_finished() {
                return Ok(());
            }
            let served = worker.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            served.map_err(StartError::system("serving"))
        });
        // A thread that waits on a caller's hanging file system must not keep the process.
        runtime.shutdown_background();
        result
    }
}

async fn supervise(
    mut engine: Engine,
    reload: Reload,
    listeners: Vec<Listener>,
    [mut terminate, mut interrupt, mut hangup]: [Signal; 3],
) -> Result<(), StartError> {
    let manager = Manager { ours: reload.options.private.is_none() };
    manager.tell(NotifyState::Ready);
    loop {
        tokio::select! {
            () = engine.ended() => break,
            _ = hangup.recv() => again(&engine, &reload, manager),
            _ = terminate.recv() => return drain(engine, listeners, manager, terminate, interrupt).await,
            _ = interrupt.recv() => return drain(engine, listeners, manager, terminate, interrupt).await,
        }
    }
    engine.join().map_err(StartError::system("serving"))
}

/// SIGHUP.
fn again(engine: &Engine, reload: &Reload, manager: Manager) {
    let Some(place) = &reload.place else {
        tracing::info!("there is no configuration file to reload");
        return;
    };
    manager.tell(NotifyState::Reloading);
    match Loaded::load(place, &Disk::default(), &mut InProcess::to_serve()) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                tracing::warn!("{warning}");
            }
            let choice = log_choice(&reload.options, &loaded.config);
            if let Err(error) = reload.logs.set_directives(&choice.directives) {
                tracing::warn!(%error, "the log stays as it is");
            }
            let profiles = loaded.operator.profiles.len();
            engine.reload(loaded.operator);
            tracing::info!(profiles, "configuration reloaded");
        }
        Err(error) => tracing::error!("configuration not reloaded, the old one stays: {error}"),
    }
    manager.tell(NotifyState::Ready);
}

async fn drain(
    mut engine: Engine,
    listeners: Vec<Listener>,
    manager: Manager,
    mut terminate: Signal,
    mut interrupt: Signal,
) -> Result<(), StartError> {
    manager.tell(NotifyState::Stopping);
    drop(listeners);
    engine.drain();
    let limit = engine.drain_time();
    let open = engine.sessions();
    if open > 0 {
        tracing::info!(
            sessions = open,
            limit_s = limit.as_secs(),
            "ending when the open sessions have ended"
        );
    }
    let again = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    if in_time(engine.ended(), limit, again).await {
        return engine.join().map_err(StartError::system("serving"));
    }
    engine.end_sessions();
    if !in_time(engine.ended(), GOODBYE, std::future::pending()).await {
        tracing::warn!(sessions = engine.sessions(), "some peers did not take their goodbye");
        return Ok(());
    }
    engine.join().map_err(StartError::system("serving"))
}

/// Whether `ended` comes before the limit and before `stop`.
async fn in_time(ended: impl Future<Output = ()>, limit: Duration, stop: impl Future<Output = ()>) -> bool {
    tokio::select! {
        () = ended => true,
        () = tokio::time::sleep(limit) => false,
        () = stop => false,
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
