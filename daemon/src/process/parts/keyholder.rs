//! The keyholder: what the process does, and how the supervisor has one.
//!
//! ```text
//!  supervisor ─ Start ─▶ keyholder ─ (memory locked, confined) ─▶ serves ─▶ … Settings, Listen …
//!   Keeping ══ its door: the configuration's keys, and a door for each worker
//! ```
//!
//! When it crashes it is started again with the configuration's keys. What ssh-add has added is lost then: it was in its memory
//! alone, which is what it is for. A lock is not lost: the supervisor has the hash of its passphrase.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::kept::{Happened, Kept};
use super::messages::{Gift, Gifts, Parcel};
use super::restart::{CRASHES, WINDOW};
use super::spawn::{Running, spawn};
use super::{Part, StartError};
use crate::io::between::{Asker, Channel};
use crate::keyholder::{Holder, Memory, Sealed};
use crate::process::keys::Door;
use crate::process::logs::{LogChoice, Logs};
use crate::process::sandbox::{self, Settings};
use crate::process::socket::Listener;

/// To the keyholder.
#[derive(Debug, Serialize, Deserialize)]
enum ToKeyholder {
    /// The first message, with the descriptors that it names.
    Start { log: LogChoice, sandbox: Option<Settings>, gifts: Vec<Gift>, locked: Option<Sealed> },
    /// The configuration says: which events are logged, and who may use `keys.sock`.
    Settings { directives: String, users: Vec<u32> },
    /// With a listening socket: `keys.sock`.
    Listen,
}

/// From the keyholder.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromKeyholder {
    /// It was locked, with this, or unlocked.
    Locked(Option<Sealed>),
    /// It cannot do what it is for.
    Ended(String),
}

/// Holds keys until the supervisor is gone.
pub(super) fn serve(channel: OwnedFd) {
    let Ok(channel) = Channel::new(channel) else { return };
    let Ok((ToKeyholder::Start { log, sandbox, gifts, locked }, fds)) = channel.receive_by(None) else {
        return;
    };
    let Some(gifts) = Gifts::new(gifts, fds) else { return };
    let channel = Arc::new(channel);
    if let Err(error) = started(&channel, &log, sandbox.as_ref(), gifts, locked) {
        let _ = channel.send(&FromKeyholder::Ended(error.to_string()), &[]);
    }
}

fn started(
    channel: &Arc<Channel>,
    log: &LogChoice,
    sandbox: Option<&Settings>,
    mut gifts: Gifts,
    locked: Option<Sealed>,
) -> Result<(), StartError> {
    // 1. The log, so that what follows can be told.
    let logs = Logs::start(log)?;
    // 2. The memory, with the rights that we still have.
    let memory = Memory::protect();
    // 3. From here on keys and nothing else, while there is one thread.
    if let Some(settings) = sandbox {
        super::confined(sandbox::Part::Keyholder, settings)?;
    }
    let failed = StartError::system("starting the keyholder");
    let asker = gifts.take(Gift::AskSupervisor).map(Asker::new).transpose().map_err(&failed)?;
    let door = gifts.take(Gift::SupervisorsDoor).ok_or_else(|| io::Error::other("it has no door"));
    let door = door.and_then(Channel::new).map_err(&failed)?;
    // 4. The keys, and what the supervisor says of them.
    let holder = Arc::new(Holder::new(asker, memory).map_err(&failed)?);
    let tell = Arc::clone(channel);
    holder.lock_as(locked, move |sealed| {
        if let Err(error) = tell.send(&FromKeyholder::Locked(sealed), &[]) {
            tracing::error!(%error, "the supervisor does not know of the lock, which would not outlive a crash");
        }
    });
    let (orders, told) = (Arc::clone(channel), Arc::clone(&holder));
    let obey = move || obey(&orders, &told, &logs);
    let thread = std::thread::Builder::new().name("keys orders".to_owned());
    thread.stack_size(256 * 1024).spawn(obey).map_err(&failed)?;
    // 5. Until the end.
    holder.keep(&door);
    Ok(())
}

/// Does what the supervisor says, until it is gone.
fn obey(channel: &Channel, holder: &Holder, logs: &Logs) {
    while let Ok((order, fds)) = channel.receive_by::<ToKeyholder>(None) {
        match order {
            ToKeyholder::Settings { directives, users } => {
                // The supervisor has the same directives, and says what is wrong with them.
                let _ = logs.set_directives(&directives);
                holder.let_in(users);
            }
            ToKeyholder::Listen => {
                let listening = fds.into_iter().next().map(|socket| holder.listen(socket));
                if let Some(Err(error)) = listening {
                    tracing::error!(%error, "keys.sock is not served");
                }
            }
            ToKeyholder::Start { .. } => return,
        }
    }
}

/// The supervisor's keyholder, which is always there, or soon again.
pub(crate) struct Keeping {
    part: Kept<FromKeyholder>,
    log: LogChoice,
    sandbox: Option<Settings>,
    users: Vec<u32>,
    /// `keys.sock`; its path is removed when this is dropped.
    socket: Option<Listener>,
    locked: Option<Sealed>,
    last_words: Option<String>,
}

/// Something happened to the keyholder that others have to know.
pub(crate) enum Moved {
    /// It is no more. Handshakes with its keys fail until there is another.
    Away,
    /// Here is another, which has no keys yet.
    Back(Door),
}

impl Keeping {
    /// Starts one, and gives the supervisor's door to it. `asks` is where it asks for connections to signers.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn start(
        log: LogChoice,
        sandbox: Option<Settings>,
        asks: Option<BorrowedFd<'_>>,
    ) -> Result<(Self, Door), StartError> {
        let (running, door) = begin(&log, sandbox.clone(), asks, None)?;
        let part = Kept::new(Part::Keyholder, running);
        let keeping =
            Self { part, log, sandbox, users: Vec::new(), socket: None, locked: None, last_words: None };
        Ok((keeping, door))
    }

    /// Has it serve users at this socket.
    pub(crate) fn listen(&mut self, socket: Listener) {
        let path = socket.path().map(|path| path.display().to_string());
        tracing::info!(socket = path, "keys are added and listed here, with ssh-add");
        self.part.tell_with(&ToKeyholder::Listen, &[socket.as_fd()]);
        self.socket = Some(socket);
    }

    /// What the configuration says from now on.
    pub(crate) fn settings(&mut self, directives: &str, users: Vec<u32>) {
        self.log.directives = directives.to_owned();
        self.users = users;
        self.tell_settings();
    }

    fn tell_settings(&self) {
        let (directives, users) = (self.log.directives.clone(), self.users.clone());
        self.part.tell(&ToKeyholder::Settings { directives, users });
    }

    /// Waits until something happens to it. Dropping the future loses nothing. `asks` is for the next one, for which there may
    /// have to be another pair.
    ///
    /// # Errors
    /// It crashed too often.
    pub(crate) async fn moved(
        &mut self,
        mut asks: impl FnMut() -> Option<OwnedFd>,
    ) -> Result<Moved, StartError> {
        loop {
            match self.part.happened().await {
                Happened::Said(FromKeyholder::Locked(sealed)) => self.locked = sealed,
                Happened::Said(FromKeyholder::Ended(why)) => self.last_words = Some(why),
                Happened::Died(cause) => {
                    let how = self
                        .last_words
                        .take()
                        .map_or_else(|| cause.to_string(), |why| format!("ended: {why}"));
                    self.again(&how)?;
                    return Ok(Moved::Away);
                }
                Happened::Due => {
                    let asks = asks();
                    let (sandbox, locked) = (self.sandbox.clone(), self.locked.clone());
                    match begin(&self.log, sandbox, asks.as_ref().map(AsFd::as_fd), locked) {
                        Ok((running, door)) => {
                            self.part.start(running);
                            self.tell_settings();
                            if let Some(socket) = &self.socket {
                                self.part.tell_with(&ToKeyholder::Listen, &[socket.as_fd()]);
                            }
                            return Ok(Moved::Back(door));
                        }
                        Err(error) => self.again(&format!("could not be started: {error}"))?,
                    }
                }
            }
        }
    }

    fn again(&mut self, how: &str) -> Result<(), StartError> {
        let Some(pause) = self.part.crashed() else {
            tracing::error!("the keyholder {how}");
            return Err(StartError::Crashed(format!(
                "the keyholder crashed more than {CRASHES} times in {} s, at last it {how}; this is a bug or an attack, \
                 see the lines before",
                WINDOW.as_secs()
            )));
        };
        tracing::error!(
            "the keyholder {how}; it is started again in {} ms, without the keys that ssh-add had added",
            pause.as_millis()
        );
        Ok(())
    }
}

/// A process, with everything that it starts with on the way, and the door to it.
fn begin(
    log: &LogChoice,
    sandbox: Option<Settings>,
    asks: Option<BorrowedFd<'_>>,
    locked: Option<Sealed>,
) -> Result<(Running, Door), StartError> {
    let failed = StartError::system("starting the keyholder");
    let running = spawn(Part::Keyholder).map_err(&failed)?;
    let (door, theirs) = Channel::pair().map_err(&failed)?;
    let mut parcel = Parcel::default();
    parcel.add(Gift::SupervisorsDoor, theirs.as_fd());
    if let Some(asks) = asks {
        parcel.add(Gift::AskSupervisor, asks);
    }
    let Parcel { names: gifts, fds } = parcel;
    let start = ToKeyholder::Start { log: log.clone(), sandbox, gifts, locked };
    running.channel.send(&start, &fds).map_err(|error| failed(io::Error::other(error)))?;
    Ok((running, Door::new(door)))
}
