//! The start, step by step. The order matters: descriptors that were inherited are taken before any of
//! our own exist, limits are raised before quotas are computed from them, and nobody is let in
//! before everything that can fail has not.

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use super::descriptors;
use super::inherited::{InheritError, inherited_listeners, private_control};
use super::logs::{self, LogChoice, LogError, Logs};
use super::operator::{ConfigPlace, Loaded};
use super::pool::SystemPool;
use super::socket::{ListenError, Listener, Place};
use super::supervise::{Reload, Supervisor};
use crate::config::{Config, ConfigError, LogFormat, LogLevel};
use crate::engine::{Engine, Setup};
use crate::io::Outside;

/// What the command line said.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--config`
    pub config: Option<PathBuf>,
    /// `--socket`
    pub socket: Option<PathBuf>,
    /// `--workers`
    pub workers: Option<usize>,
    /// `--log-level`
    pub log_level: Option<LogLevel>,
    /// `--log-format`
    pub log_format: Option<LogFormat>,
    /// `--private`
    pub private: Option<RawFd>,
}

/// Why the daemon did not start, or ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration, or something it names. The operator's to put right.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// The log cannot be set up as asked.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Nowhere to listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A descriptor from the parent that is not what it should be.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// A system call failed.
    #[error("{doing}: {}", super::reason(cause))]
    System {
        /// What we were doing.
        doing: &'static str,
        /// The system's word for it.
        cause: std::io::Error,
    },
}

impl StartError {
    pub(super) fn system(doing: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |cause| Self::System { doing, cause }
    }
}

/// Starts the daemon and serves until it is told to end, and the last session has.
///
/// # Errors
/// [`StartError`]; nothing is left behind then.
pub fn run(options: &Options) -> Result<(), StartError> {
    // 1. Descriptors that the parent left for us.
    let private = options.private.map(private_control).transpose()?;
    let mut listeners = if private.is_some() { Vec::new() } else { inherited_listeners()? };
    // 2. The configuration: a private daemon has one only if its parent says so.
    let uid = rustix::process::geteuid().as_raw();
    let place = match (&options.config, &private) {
        (None, Some(_)) => None,
        (path, _) => Some(ConfigPlace::choose(path.as_deref(), uid, |name| std::env::var_os(name))),
    };
    let config = match &place {
        Some(place) => place.read()?,
        None => {
            let mut config = Config::defaults(&PathBuf::new());
            // Its standard error is that of somebody's command: nobody who fetches a page asked for a log.
            config.log.level = LogLevel::Warn;
            config
        }
    };
    // 3. The log, so that what follows can be told.
    let choice = log_choice(options, &config);
    let logs = Logs::start(&choice)?;
    // 4. As many descriptors as we may have; the quotas follow from them.
    descriptors::raise();
    // 5. Everything that the configuration names.
    let loaded = Loaded::from_config(config, std::time::SystemTime::now())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    // 6. Signals, before anybody can find us.
    let supervisor = Supervisor::new()?;
    // 7. Where callers come from.
    if private.is_none() && listeners.is_empty() {
        let place =
            Place::choose(options.socket.as_deref(), &loaded.config, uid, |name| std::env::var_os(name))?;
        listeners.push(Listener::bind(&place)?);
    }
    // 8. The engine.
    let workers = worker_count(options, &loaded.config, private.is_some());
    let alone = private.is_some() && workers == 1;
    let setup = Setup {
        operator: loaded.operator,
        system: Arc::new(SystemPool::new()),
        outside: Arc::new(Outside::default()),
        workers,
        listeners: copies(&listeners)?,
        private,
    };
    let reload = Reload { place, logs, options: options.clone() };
    // A private daemon does everything on this thread.
    if alone {
        tracing::debug!("serving one caller");
        let (engine, worker) = Engine::here(setup);
        return supervisor.run_here(engine, worker, reload);
    }
    let engine = Engine::start(setup).map_err(StartError::system("starting the workers"))?;
    match listeners.first().map(Listener::path) {
        Some(Some(path)) => tracing::info!(socket = %path.display(), workers, "serving"),
        Some(None) => tracing::info!(socket = "inherited", workers, "serving"),
        None => tracing::debug!(workers, "serving one caller"),
    }
    // 9. Until the end.
    supervisor.run(engine, reload, listeners)
}

pub(super) fn log_choice(options: &Options, config: &Config) -> LogChoice {
    LogChoice::new(options.log_level, options.log_format, std::env::var(logs::VARIABLE).ok(), &config.log)
}

/// One worker per core that the process may use; a private daemon has one caller and one worker.
fn worker_count(options: &Options, config: &Config, private: bool) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let configured = config.workers.map(std::num::NonZero::get);
    options.workers.or(configured).unwrap_or_else(|| if private { 1 } else { cores() })
}

/// The engine's own copies of the listening sockets: ours go at the end, with their paths.
fn copies(listeners: &[Listener]) -> Result<Vec<OwnedFd>, StartError> {
    listeners
        .iter()
        .map(|listener| listener.as_fd().try_clone_to_owned())
        .collect::<Result<_, _>>()
        .map_err(StartError::system("copying the listening socket"))
}
