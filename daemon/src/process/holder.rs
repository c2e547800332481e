//! The keyholder, as the supervisor keeps it: started at once, or when the first key comes; started again when it crashed.
//!
//! ```text
//!  Asleep ── a worker knocks, or the configuration has keys ─▶ Awake ── crash ─▶ a pause ─▶ Awake, with all keys again
//! ```
//!
//! A worker has its door before there is a keyholder: what it says there waits in the socket for the first one.

use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;

use super::configuration::Keyring;
use super::keys::Door;
use super::logs::LogChoice;
use super::parts::{self, FromKeyholder, Gift, Happened, Kept, KeyholderStart, Parcel, Part, Running};
use super::signers::{self, Signers};
use super::start::StartError;
use crate::config::Signer;
use crate::io::between::Channel;
use crate::sys;

/// The keyholder of a daemon.
#[derive(Debug, Default)]
pub(super) struct Holder {
    /// `None`: nobody has needed it yet.
    kept: Option<Kept<FromKeyholder>>,
    /// The keyholder's end of the worker's door, while there is nobody to give it to.
    waiting: Option<OwnedFd>,
    /// Who makes its connections to somebody else's signers; `None`: the configuration has had none so far.
    signers: Option<Signers>,
    /// Those of the configuration in use.
    in_use: Vec<Signer>,
    /// Where the keyholder asks, while nobody is there to hear it.
    unheard: Option<OwnedFd>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Needs {
    /// It is to be started: a key waits for it, or the pause after a crash is over.
    Start,
    /// It has crashed: so it ended. [`Holder::crashed`].
    Again(parts::Cause),
}

impl Holder {
    /// Whether there is one, or was one a moment ago.
    pub(super) fn is_awake(&self) -> bool {
        self.kept.is_some()
    }

    /// Starts it, and gives it the keys in use. The worker is told of its new door, if it has none that waits.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(
        &mut self,
        log: &LogChoice,
        keyring: &mut Keyring,
    ) -> Result<Option<OwnedFd>, StartError> {
        let (asker, desk) = signers::way().map_err(StartError::system("starting the keyholder"))?;
        let (running, door) = start(log, &asker)?;
        // Before it gets its keys: it asks what there is to know of their signers.
        match &self.signers {
            Some(signers) => signers.admit(desk),
            None => self.unheard = Some(desk),
        }
        match &mut self.kept {
            Some(kept) => kept.start(running),
            None => self.kept = Some(Kept::new(Part::Keyholder, running)),
        }
        for error in keyring.moved(Door::new(door)) {
            tracing::error!("a private key is not in the keyholder: {error}");
        }
        match self.waiting.take() {
            Some(waiting) => {
                self.admit(waiting, keyring);
                Ok(None)
            }
            None => self.door(keyring).map(Some),
        }
    }

    /// A configuration with these signers is about to be loaded: the keyholder may ask for them.
    ///
    /// # Errors
    /// The system's: no thread can be started.
    pub(super) fn try_signers(&mut self, said: &[Signer], log: &LogChoice) -> Result<(), StartError> {
        match &self.signers {
            Some(signers) => signers.replace(said.to_vec()),
            None if said.is_empty() => {}
            None => {
                let signers = Signers::start(said.to_vec(), log.clone());
                let signers = signers.map_err(StartError::system("starting the thread for signers"))?;
                if let Some(desk) = self.unheard.take() {
                    signers.admit(desk);
                }
                self.signers = Some(signers);
            }
        }
        Ok(())
    }

    /// The configuration that was loaded is in use.
    pub(super) fn accept_signers(&mut self, said: Vec<Signer>) {
        self.in_use = said;
    }

    /// It is not, and the one before stays.
    pub(super) fn reject_signers(&self) {
        if let Some(signers) = &self.signers {
            signers.replace(self.in_use.clone());
        }
    }

    /// A worker's end of a new door.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn door(&mut self, keyring: &Keyring) -> Result<OwnedFd, StartError> {
        let doing = StartError::system("opening the keyholder's door for the worker");
        let (keyholders, workers) = Channel::ends().map_err(doing)?;
        self.admit(keyholders, keyring);
        Ok(workers)
    }

    /// Gives the keyholder its end of a worker's door, now or when it is there.
    fn admit(&mut self, door: OwnedFd, keyring: &Keyring) {
        let given = keyring.door().is_some_and(|keyholder| keyholder.admit("worker", door.as_fd()));
        self.waiting = (!given).then_some(door);
    }

    /// Waits until something is to be done. Dropping the future loses nothing.
    pub(super) async fn needs(&mut self) -> Needs {
        match (&mut self.kept, &self.waiting) {
            (None, Some(waiting)) => {
                if let Ok(waiting) = sys::watch(waiting.as_fd(), Interest::READABLE) {
                    let _ = waiting.readable().await;
                }
                Needs::Start
            }
            (None, None) => std::future::pending().await,
            (Some(kept), _) => match kept.happened().await {
                Happened::Said(nothing) => match nothing {},
                Happened::Died(cause) => Needs::Again(cause),
                Happened::Due => Needs::Start,
            },
        }
    }

    /// It has crashed, and is to be started again if that makes sense still.
    ///
    /// # Errors
    /// [`StartError::Crashed`]: it has crashed too often.
    pub(super) fn crashed(&mut self, how: &str) -> Result<(), StartError> {
        self.kept.as_mut().map_or(Ok(()), |kept| super::supervise::again(kept, how))
    }
}

/// One that runs, and the supervisor's door of it.
fn start(log: &LogChoice, asker: &OwnedFd) -> Result<(Running, Channel), StartError> {
    let doing = StartError::system("starting the keyholder");
    let running = parts::spawn(Part::Keyholder).map_err(&doing)?;
    let (door, theirs) = Channel::pair().map_err(&doing)?;
    let mut parcel = Parcel::default();
    parcel.add(Gift::KeyholderDoor, theirs.as_fd());
    parcel.add(Gift::Signers, asker.as_fd());
    let Parcel { names, fds } = parcel;
    let start = KeyholderStart { log: log.clone(), users: Vec::new(), gifts: names };
    let sent = running.channel.send(&start, &fds);
    sent.map_err(std::io::Error::other).map_err(&doing)?;
    Ok((running, door))
}
