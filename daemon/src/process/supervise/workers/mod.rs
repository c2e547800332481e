//! The workers: one for all callers, or one for each user who calls (`isolation = "uid"`).
//!
//! ```text
//!  One    kept running: it has the listening sockets, and lets callers in itself
//!
//!  ByUid  listening sockets ─ Arrivals ─▶ whose? ─▶ User ─ Caller ─▶ worker of that uid      started when first needed
//!                                                     └─ AreYouIdle … Drain                    ended when idle for a minute
//! ```
//!
//! The supervisor's loop asks [`Workers::happened`], and has what comes of it [noted](Workers::note).

mod arrivals;
mod by_uid;
mod one;
mod overviews;
mod rest;
mod upkeep;
mod user;

use super::manager::Manager;
use super::reload::Told;
use super::{Daemon, Signals};
use crate::config::Isolation;
use crate::process::keys::Door;
use crate::process::parts::{FromWorker, Happened};
use crate::process::start::StartError;
use by_uid::{ByUid, Event};
use one::One;

/// Workers of users at most. Each is a process of a few MiB with a thread for each core, and each such thread has a
/// connection to the keyholder, which takes 1024. Who comes when there are as many, none of them idle, is closed.
pub(super) const MAX_WORKERS: usize = 128;

/// However many there are.
pub(super) enum Workers {
    One(Box<One>),
    ByUid(Box<ByUid>),
}

/// Something happened, which nobody has noted yet.
pub(super) enum Happening {
    One(Happened<FromWorker>),
    ByUid(Event),
}

/// What comes of it for the daemon.
pub(super) enum Turn {
    Nothing,
    /// The service manager may be told: callers are served, with the configuration that there is.
    Ready,
    /// The daemon ends.
    Over(Result<(), StartError>),
}

impl Workers {
    /// Those that there are from the start on.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin(daemon: &mut Daemon) -> Result<Self, StartError> {
        match daemon.isolation {
            Isolation::None => Ok(Self::One(Box::new(One::begin(daemon)?))),
            Isolation::Uid => Ok(Self::ByUid(Box::new(ByUid::begin(daemon)?))),
        }
    }

    /// Waits for what happens next. Dropping the future loses nothing.
    pub(super) async fn happened(&mut self) -> Happening {
        match self {
            Self::One(one) => Happening::One(one.happened().await),
            Self::ByUid(users) => Happening::ByUid(users.happened().await),
        }
    }

    /// Does what is to be done about it.
    ///
    /// # Errors
    /// The daemon has to end.
    pub(super) fn note(&mut self, happening: Happening, daemon: &mut Daemon) -> Result<Turn, StartError> {
        match (self, happening) {
            (Self::One(one), Happening::One(happened)) => one.note(happened, daemon),
            (Self::ByUid(users), Happening::ByUid(event)) => Ok(users.note(event, daemon)),
            (Self::One(_), Happening::ByUid(_)) | (Self::ByUid(_), Happening::One(_)) => Ok(Turn::Nothing),
        }
    }

    /// SIGHUP: what came of loading the configuration.
    pub(super) fn reload(&mut self, loaded: Option<Told>, daemon: &mut Daemon) -> Turn {
        match self {
            Self::One(one) => one.reload(loaded, daemon),
            Self::ByUid(users) => users.reload(loaded, daemon),
        }
    }

    /// There is another keyholder: it gets the configuration's keys, and each worker a door to it.
    pub(super) fn keys_are_back(&mut self, door: Door, daemon: &mut Daemon) {
        match self {
            Self::One(one) => one.keys_are_back(door, daemon),
            Self::ByUid(users) => users.keys_are_back(door, daemon),
        }
        tracing::info!("keys are held again");
    }

    /// The keyholder is to know again which keys are whose.
    pub(super) fn permit(&self, daemon: &Daemon) {
        if let Self::ByUid(users) = self {
            users.permit_all(daemon);
        }
    }

    /// SIGTERM or SIGINT: nothing new is taken, and what there is has until the deadline to finish.
    ///
    /// # Errors
    /// How the one worker ended, if not as it should.
    pub(super) async fn end(
        self,
        daemon: Daemon,
        manager: Manager,
        signals: Signals,
    ) -> Result<(), StartError> {
        match self {
            Self::One(one) => one.end(daemon, manager, signals).await,
            Self::ByUid(users) => {
                users.end(daemon, manager, signals).await;
                Ok(())
            }
        }
    }
}
