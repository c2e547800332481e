//! The start, step by step. The order matters: descriptors that were inherited are taken before any of
//! our own exist, limits are raised before quotas are computed from them, and nobody is let in
//! before everything that can fail has not.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::configuration::{Gathering, Keyring, New};
use super::confinement::Confinement;
use super::descriptors;
use super::holder::Holder;
use super::inherited::{InheritError, inherited_listeners, private_control};
use super::logs::{self, LogChoice, LogError, Logs};
use super::operator::ConfigPlace;
use super::outside::Dialing;
use super::parts::{self, Fork, Part};
use super::permits::Permits;
use super::sandbox::{self, SandboxError};
use super::socket::{ListenError, Listener, Place};
use super::supervise::{Daemon, Making, Supervisor};
use crate::config::{Config, ConfigError, Isolation, KeysSocket, LogFormat, LogLevel};

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
    /// `--single-process`
    pub single_process: bool,
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
    /// The worker cannot do what it is for; its words.
    #[error("{0}")]
    Worker(String),
    /// A part of the daemon crashed, and is not started again.
    #[error("{0}")]
    Crashed(String),
    /// A process cannot be confined.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
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
    // 2. The worker of a private daemon, while there is one thread, and little to copy and to close.
    let (making, private) = match private {
        private if options.single_process => (Making::Thread, private),
        None => (Making::Spawned, None),
        Some(caller) => {
            match parts::fork(Part::Worker, caller).map_err(StartError::system("forking the worker"))? {
                // It gets the caller when it is time.
                Fork::Supervisor(worker, caller) => (Making::Forked(worker), Some(caller)),
                Fork::Part(channel) => {
                    parts::worker::serve(channel, parts::worker::Log::Own);
                    return Ok(());
                }
            }
        }
    };
    // 3. As many descriptors as we may have, because quotas follow from them; and the configuration: a private daemon has
    //    one only if its parent says so.
    let uid = rustix::process::geteuid().as_raw();
    let place = match (&options.config, &private) {
        (None, Some(_)) => None,
        (path, _) => Some(ConfigPlace::choose(path.as_deref(), uid, |name| std::env::var_os(name))),
    };
    descriptors::raise();
    let gathering = place.as_ref().map(Gathering::begin);
    let config = match &gathering {
        Some(gathering) => gathering.config()?,
        None => {
            let mut config = Config::defaults(&PathBuf::new());
            // Its standard error is that of somebody's command: nobody who fetches a page asked for a log.
            config.log.level = LogLevel::Warn;
            config
        }
    };
    // 4. The log, so that what follows can be told.
    let log = log_choice(options, &config);
    let logs = Logs::start(&log)?;
    if options.single_process {
        tracing::warn!(
            "everything is in one process (--single-process): for debugging only, nothing is separated"
        );
    }
    //    Privileges go while there is one thread, and before a part is there that could have them.
    let mut confinement = match &making {
        Making::Thread => None,
        making => Some(Confinement::begin(&config, matches!(making, Making::Forked(_)))?),
    };
    // 5. Everything that the configuration names: what we do not accept, no worker has to.
    //    In an ordinary daemon the keyholder is there before; a private one has it when there is a key.
    let settings = |part| confinement.as_ref().map(|confinement| confinement.settings(part));
    let (mut keyring, mut holder) = (Keyring::default(), None);
    if !options.single_process {
        let (keys, tokens) = (settings(sandbox::Part::Keyholder), settings(sandbox::Part::Token));
        let holder = holder.insert(Holder::new(keys, tokens));
        if private.is_none() || has_keys(&config) {
            holder.start(&log, &mut keyring)?;
        }
        holder.try_signers(&config.signers, &log)?;
    }
    let (config, record, observers, permits) = match gathering {
        Some(gathering) => {
            let New { config, warnings, key_users, observers, permits, record, keys } =
                gathering.all(config, &mut keyring)?;
            for warning in &warnings {
                tracing::warn!("{warning}");
            }
            keyring.accept(keys, Duration::ZERO);
            if let Some(holder) = &mut holder {
                holder.accept_signers(config.signers.clone());
                holder.settings(&log.directives, key_users);
            }
            (config, Some(record), observers, permits)
        }
        None => (config, None, Vec::new(), Permits::default()),
    };
    // 6. Signals, before anybody can find us.
    let supervisor = Supervisor::new()?;
    // 7. Where callers come from.
    if private.is_none() && listeners.is_empty() {
        let place = Place::choose(options.socket.as_deref(), &config, uid, |name| std::env::var_os(name))?;
        listeners.push(Listener::bind(&place)?);
    }
    let mut keys_socket = None;
    if let (Some(holder), None) = (&mut holder, &private) {
        let callers = listeners.first().and_then(Listener::path);
        if let Some(place) = Place::of_keys(&config, callers, uid, |name| std::env::var_os(name)) {
            match Listener::bind_stream(&place) {
                Ok(socket) => {
                    keys_socket = socket.path().map(Path::to_owned);
                    holder.listen(socket);
                }
                // Nobody has asked for it by name, and callers are served without.
                Err(error) if config.keys.socket == KeysSocket::Usual => {
                    tracing::warn!("no socket for ssh-add: {error}");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    // 8. What else we do not need: places and system calls. What holds for us then holds for the parts that we start later.
    if let Some(confinement) = &mut confinement {
        let keys = keys_socket.as_deref();
        let sockets: Vec<&Path> = listeners.iter().filter_map(Listener::path).chain(keys).collect();
        confinement.finish(&config, &sockets)?;
    }
    // 9. The worker, until the end.
    supervisor.run(Daemon {
        dialing: Dialing::new(&config, private.is_some(), confinement.as_ref()),
        confinement,
        workers: worker_count(options, &config, private.is_some()),
        timeouts: config.timeouts,
        options: options.clone(),
        place,
        record,
        holder,
        keyring,
        log,
        logs,
        listeners,
        private,
        making,
        isolation: isolation(options, &config),
        observers,
        permits,
        fading: Vec::new(),
        reloads: 0,
    })
}

/// Whether a configuration names any private key.
pub(super) fn has_keys(config: &Config) -> bool {
    config.profiles.iter().any(|profile| !profile.identities.is_empty())
}

/// A private daemon has one caller, and one process has one worker.
fn isolation(options: &Options, config: &Config) -> Isolation {
    let one = options.private.is_some() || options.single_process;
    if one { Isolation::None } else { config.sandbox.isolation }
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
