//! The keyholder, as the supervisor has it: from the start, or from when the first key comes; and who makes its connections
//! to somebody else's signers.
//!
//! ```text
//!  asleep ── a worker knocks, or the configuration has keys ─▶ Keeping ── crash ─▶ a pause ─▶ another, with all keys again
//! ```
//!
//! A worker has its door before there is a keyholder: what it says there waits in the socket for the first one. So a private
//! daemon has one from its first key on, which takes 2.5 ms, and one without keys starts none.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;

use super::configuration::Keyring;
use super::keys::Door;
use super::logs::LogChoice;
use super::parts::{Keeping, Moved};
use super::permits::Pin;
use super::sandbox::Settings;
use super::signers::{self, Signers};
use super::socket::Listener;
use super::start::StartError;
use crate::config::Signer;
use crate::io::between::Channel;
use crate::sys;

/// The keyholder of a daemon.
#[derive(Default)]
pub(super) struct Holder {
    /// `None`: nobody has needed it yet.
    keeping: Option<Keeping>,
    /// The keyholder's end of the worker's door, while there is nobody to give it to.
    waiting: Option<OwnedFd>,
    /// Who makes its connections to somebody else's signers; `None`: the configuration has had none so far.
    signers: Option<Signers>,
    /// Those of the configuration in use.
    in_use: Vec<Signer>,
    /// Where the keyholder asks, while nobody is there to hear it.
    unheard: Option<OwnedFd>,
    /// What it gives away; `None`: nothing.
    sandbox: Option<Settings>,
    /// The same of the processes with tokens.
    tokens: Option<Settings>,
}

/// What is to be done.
pub(super) enum Needs {
    /// A key waits for the first keyholder: [`Holder::start`].
    Start,
    /// It has crashed, and this is another: [`Holder::back`].
    Keys(Door),
    /// Nothing: it has crashed, and another comes.
    Nothing,
}

impl Holder {
    /// Nobody has needed one yet, and it will be confined like this, and tokens' processes like that.
    pub(super) fn new(sandbox: Option<Settings>, tokens: Option<Settings>) -> Self {
        Self { sandbox, tokens, ..Self::default() }
    }

    /// Whether there is one, or was one a moment ago.
    pub(super) fn is_awake(&self) -> bool {
        self.keeping.is_some()
    }

    /// Starts the first one, if there is none yet, and gives it the keys in use.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn start(&mut self, log: &LogChoice, keyring: &mut Keyring) -> Result<(), StartError> {
        if self.is_awake() {
            return Ok(());
        }
        let asks = self.asks();
        let (keeping, door) =
            Keeping::start(log.clone(), self.sandbox.clone(), asks.as_ref().map(AsFd::as_fd))?;
        self.keeping = Some(keeping);
        // There was no door before, so that there is no worker with a closed one.
        let _new = self.back(door, keyring);
        Ok(())
    }

    /// This is another keyholder, or the first: it gets the keys in use. The worker is to be told of its new door, if one is
    /// returned.
    pub(super) fn back(&mut self, door: Door, keyring: &mut Keyring) -> Option<OwnedFd> {
        for error in keyring.moved(door) {
            tracing::error!("a private key is not in the keyholder: {error}");
        }
        match self.waiting.take() {
            Some(waiting) => {
                self.admit(waiting, keyring);
                None
            }
            None => self
                .door(keyring)
                .inspect_err(|error| tracing::error!("the worker has no way to the keyholder: {error}"))
                .ok(),
        }
    }

    /// This is another keyholder, where each worker is of one user: it gets the keys in use, and every worker is to have a new
    /// door ([`Holder::door_for`]).
    pub(super) fn back_for_users(&mut self, door: Door, keyring: &mut Keyring) {
        for error in keyring.moved(door) {
            tracing::error!("a private key is not in the keyholder: {error}");
        }
    }

    /// The end of a new door for the worker of this number, which is of one user: of the operator's keys, these alone may be
    /// used through it. While there is no keyholder, nobody is behind it.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn door_for(
        &self,
        name: &str,
        number: u64,
        pins: &[Pin],
        keyring: &Keyring,
    ) -> Result<OwnedFd, StartError> {
        let doing = StartError::system("opening the keyholder's door for a worker");
        let (keyholders, workers) = Channel::ends().map_err(doing)?;
        if let Some(keyholder) = keyring.door() {
            let _ = keyholder.admit(name, Some(number), keyholders.as_fd()) && keyholder.permit(number, pins);
        }
        Ok(workers)
    }

    /// Has it serve users at this socket.
    pub(super) fn listen(&mut self, socket: Listener) {
        if let Some(keeping) = &mut self.keeping {
            keeping.listen(socket);
        }
    }

    /// Gives the path of that socket up.
    pub(super) fn leave(&mut self) {
        if let Some(keeping) = &mut self.keeping {
            keeping.leave();
        }
    }

    /// What the configuration says from now on: which events are logged, and who may use `keys.sock`.
    pub(super) fn settings(&mut self, directives: &str, users: Vec<u32>) {
        if let Some(keeping) = &mut self.keeping {
            keeping.settings(directives, users);
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
        let given = keyring.door().is_some_and(|keyholder| keyholder.admit("worker", None, door.as_fd()));
        self.waiting = (!given).then_some(door);
    }

    /// Waits until something is to be done. Dropping the future loses nothing.
    ///
    /// # Errors
    /// It crashed too often.
    pub(super) async fn needs(&mut self) -> Result<Needs, StartError> {
        let Self { keeping, waiting, signers, unheard, .. } = self;
        match (keeping, waiting) {
            (None, Some(waiting)) => {
                if let Ok(waiting) = sys::watch(waiting.as_fd(), Interest::READABLE) {
                    let _ = waiting.readable().await;
                }
                if is_closed(waiting) {
                    // The worker has ended and never had a key.
                    return std::future::pending().await;
                }
                Ok(Needs::Start)
            }
            (None, None) => std::future::pending().await,
            (Some(keeping), _) => match keeping.moved(|| way(signers.as_ref(), unheard)).await? {
                Moved::Away => Ok(Needs::Nothing),
                Moved::Back(door) => Ok(Needs::Keys(door)),
            },
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
                let signers = Signers::start(said.to_vec(), log.clone(), self.tokens.clone());
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

    fn asks(&mut self) -> Option<OwnedFd> {
        way(self.signers.as_ref(), &mut self.unheard)
    }
}

/// The keyholder's end of a way to `signers`. While there are none, what it asks is not heard.
fn way(signers: Option<&Signers>, unheard: &mut Option<OwnedFd>) -> Option<OwnedFd> {
    let (asker, desk) = signers::way()
        .inspect_err(|error| tracing::error!(%error, "the keyholder has no way to signers"))
        .ok()?;
    match signers {
        Some(signers) => signers.admit(desk),
        None => *unheard = Some(desk),
    }
    Some(asker)
}

/// Whether nobody can say anything on this socket any more, and nothing that was said waits there.
fn is_closed(socket: &OwnedFd) -> bool {
    let mut byte = [0; 1];
    let peeked = recv(socket, byte.as_mut_slice(), RecvFlags::PEEK | RecvFlags::DONTWAIT);
    matches!(peeked, Ok((_, 0)))
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;

    fn asleep() -> (Holder, OwnedFd) {
        let (ours, workers) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
        (Holder { waiting: Some(ours), ..Holder::new(None, None) }, workers)
    }

    #[tokio::test]
    async fn a_knock_wakes_it_and_a_worker_that_ends_without_one_does_not() {
        let (mut holder, worker) = asleep();
        send(&worker, b"knock", SendFlags::empty()).expect("room");
        drop(worker);
        assert!(matches!(holder.needs().await, Ok(Needs::Start)), "what was said before the end counts");
        let (mut holder, worker) = asleep();
        drop(worker);
        tokio::select! {
            biased;
            _ = holder.needs() => panic!("a keyholder for nobody"),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    }
}
