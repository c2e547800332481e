//! What the supervisor does for workers, which can do nothing but TLS: it answers what they ask ([`crate::io::Host`]), and keeps
//! a dialer for them.
//!
//! ```text
//!  worker ── question ─▶ its own thread here (io::answer) ─┬─▶ a folder, a program       on threads of their own
//!                                                          ├─▶ PublishedPool
//!                                                          ├─▶ Caches: one connect to a path that the configuration has
//!                                                          └─▶ Dialing: the supervisor's loop, which starts the dialer
//!                                                                 when it is first asked for, and again when it has died
//! ```
//!
//! A private daemon's dialer is a thread of its supervisor, which is the caller's own process anyway.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, mpsc as wait};
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::mpsc;

use super::caches::Caches;
use super::confinement::Confinement;
use super::logs::LogChoice;
use super::parts::dialer::{self, FromDialer, ToDialer};
use super::parts::worker::Log;
use super::parts::{self, CRASHES, Happened, Kept, Part, Running, WINDOW};
use super::pool::PublishedPool;
use super::sandbox::{self, Beside, Settings};
use super::start::StartError;
use crate::config::Config;
use crate::io::between::Desk;
use crate::io::{Host, Pool, answer_beside};

/// How long a worker's question may wait for the dialer: longer than any pause after a crash. Whoever waits in the worker has its own
/// deadline.
const PATIENCE: Duration = Duration::from_secs(10);

/// A worker wants a way to the dialer.
struct Wanted {
    /// The user whom the worker is for, if it is for one.
    only: Option<u32>,
    /// Where the asker's end goes.
    to: wait::Sender<io::Result<OwnedFd>>,
}

/// The dialer, and what it is told. One for a daemon.
pub(super) struct Dialing {
    /// `None`: nobody has asked for it yet.
    dialer: Option<Kept<FromDialer>>,
    /// Those who wait while there is none.
    waiting: Vec<Wanted>,
    wanted: mpsc::UnboundedReceiver<Wanted>,
    wants: mpsc::UnboundedSender<Wanted>,
    pool: Arc<PublishedPool>,
    caches: Arc<Caches>,
    private: bool,
    /// Where what workers ask is answered; `None`: on any thread.
    beside: Option<Beside>,
    /// What the dialer gives away.
    sandbox: Option<Settings>,
}

impl Dialing {
    /// Nothing is started yet. `private`: the daemon is its one caller's own.
    pub(super) fn new(config: &Config, private: bool, confinement: Option<&Confinement>) -> Self {
        let (wants, wanted) = mpsc::unbounded_channel();
        Self {
            dialer: None,
            waiting: Vec::new(),
            wanted,
            wants,
            pool: Arc::new(PublishedPool::new()),
            caches: Arc::new(Caches::of(config)),
            private,
            beside: confinement.and_then(|confinement| confinement.beside.clone()),
            sandbox: confinement.map(|confinement| confinement.settings(sandbox::Part::Dialer)),
        }
    }

    /// Answers a worker from now on, beside the loop: the worker's end. `only`: the one user whom it serves.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn answer(&self, only: Option<u32>) -> io::Result<OwnedFd> {
        let (asker, desk) = pair()?;
        let host = Supplies {
            only,
            wants: self.wants.clone(),
            pool: Arc::clone(&self.pool),
            caches: Arc::clone(&self.caches),
        };
        let (desk, host) = (Desk::new(desk)?, Arc::new(host));
        match &self.beside {
            None => answer_beside(desk, host)?,
            // Callers' folders are in no place that the configuration names.
            Some(beside) => beside.run(move || {
                if let Err(error) = answer_beside(desk, host) {
                    tracing::error!(%error, "nobody answers a worker");
                }
            }),
        }
        Ok(asker)
    }

    /// From now on the caches of this configuration may be connected to as well: a worker is about to have it.
    pub(super) fn allow(&mut self, config: &Config) {
        self.caches.add(config);
        self.tell_caches();
    }

    /// And from now on no others.
    pub(super) fn only(&mut self, config: &Config) {
        self.caches.only(config);
        self.tell_caches();
    }

    fn tell_caches(&self) {
        if let Some(dialer) = &self.dialer {
            // One that cannot be told is ended, and the next one is told when it starts.
            let _ = dialer::caches(&self.caches.far()).iter().all(|order| dialer::tell(dialer, order, None));
        }
    }

    /// Waits for what happens next, and does what is to be done about it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// It has crashed too often.
    pub(super) async fn happened(&mut self, log: &LogChoice) -> Result<(), StartError> {
        let died = async {
            match &mut self.dialer {
                Some(dialer) => dialer.happened().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(wanted) = self.wanted.recv() => {
                self.waiting.push(wanted);
                self.serve(log);
                Ok(())
            }
            happened = died => match happened {
                Happened::Said(never) => match never {},
                Happened::Died(cause) => self.crashed(&cause.to_string()),
                Happened::Due => {
                    self.serve(log);
                    Ok(())
                }
            },
        }
    }

    /// Does this while `work` goes on, for an end that is near: what crashes now is not started again for ever.
    pub(super) async fn beside<T>(&mut self, log: &LogChoice, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                // It has crashed too often, and is not there any more.
                _ = self.happened(log) => {}
            }
        }
    }

    /// Gives everybody who waits a way to the dialer, if there is one or can be one now.
    fn serve(&mut self, log: &LogChoice) {
        if self.waiting.is_empty() {
            return;
        }
        match &self.dialer {
            Some(dialer) if dialer.is_running() => {}
            // After a pause it is due.
            Some(dialer) if dialer.is_paused() => return,
            _ => match self.start(log) {
                Ok(running) => match &mut self.dialer {
                    Some(dialer) => dialer.start(running),
                    none => *none = Some(Kept::new(Part::Dialer, running)),
                },
                Err(error) => {
                    tracing::error!(%error, "the dialer cannot be started");
                    for wanted in self.waiting.drain(..) {
                        let _ = wanted.to.send(Err(io::Error::new(error.kind(), error.to_string())));
                    }
                    return;
                }
            },
        }
        let Some(dialer) = &self.dialer else { return };
        for Wanted { only, to } in self.waiting.drain(..) {
            let way = pair().and_then(|(asker, desk)| {
                let told = dialer::tell(dialer, &ToDialer::Desk { only }, Some(&desk));
                if told { Ok(asker) } else { Err(io::Error::other("it ended just now")) }
            });
            // Nobody waits any more: its worker is gone.
            let _ = to.send(way);
        }
    }

    fn start(&self, log: &LogChoice) -> io::Result<Running> {
        let running = if self.private {
            parts::thread(Part::Dialer, |channel| drop(dialer::serve(channel, Log::Supervisors)))
        } else {
            parts::spawn(Part::Dialer)
        }?;
        // A thread of ours is confined as we are.
        let sandbox = self.sandbox.clone().filter(|_| !self.private);
        let start = ToDialer::Start { log: log.clone(), private: self.private, sandbox };
        let orders = std::iter::once(start).chain(dialer::caches(&self.caches.far()));
        for order in orders {
            running.channel.send(&order, &[]).map_err(io::Error::other)?;
        }
        tracing::debug!(pid = running.life.pid(), "the dialer was started");
        Ok(running)
    }

    fn crashed(&mut self, how: &str) -> Result<(), StartError> {
        match self.dialer.as_mut().and_then(Kept::crashed) {
            Some(pause) => {
                let pause_ms = pause.as_millis();
                tracing::error!(
                    "the dialer {how}; it is started again when it is needed, in {pause_ms} ms at the earliest"
                );
                Ok(())
            }
            None => {
                tracing::error!("the dialer {how}");
                Err(StartError::Crashed(format!(
                    "the dialer crashed more than {CRASHES} times in {} s, at last it {how}; this is a bug or an attack, \
                     see the lines before",
                    WINDOW.as_secs()
                )))
            }
        }
    }
}

/// What answers one worker.
struct Supplies {
    only: Option<u32>,
    wants: mpsc::UnboundedSender<Wanted>,
    pool: Arc<PublishedPool>,
    caches: Arc<Caches>,
}

impl Host for Supplies {
    fn system_pool(&self, have: Option<u64>) -> Result<Option<Pool>, String> {
        let published = self.pool.newer_than(have).map_err(|error| error.to_string())?;
        let copy = |published: Arc<super::pool::Published>| {
            let ders = std::os::fd::AsFd::as_fd(&*published).try_clone_to_owned();
            let ders = ders.map_err(|error| format!("handing the CA certificates on: {error}"))?;
            Ok(Pool { generation: published.generation(), ders })
        };
        published.map(copy).transpose()
    }

    fn dialer(&self) -> io::Result<OwnedFd> {
        let (to, way) = wait::channel();
        let gone = || io::Error::other("the daemon is ending");
        self.wants.send(Wanted { only: self.only, to }).map_err(|_| gone())?;
        way.recv_timeout(PATIENCE).map_err(|_| gone())?
    }

    fn cache(&self, path: &Path) -> Result<OwnedFd, String> {
        self.caches.connect(path)
    }
}

/// The ends of a way from an asker to a desk. Not yet as the channels that they become: each is for another process, and our copy must
/// go without ending the connection.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}
