//! The keyholder: what it is given before it serves. Its folder does the rest.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::messages::{Gift, Gifts};
use crate::io::between::{Asker, Channel};
use crate::keyholder::{self, Memory, Setup};
use crate::process::logs::{LogChoice, Logs};
use crate::process::start::StartError;

/// The one message to a keyholder: from then on its door speaks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct KeyholderStart {
    /// Its log; standard error is the supervisor's.
    pub(crate) log: LogChoice,
    /// Who may use `keys.sock`, beside root and the keyholder's own user.
    pub(crate) users: Vec<u32>,
    /// What each descriptor is, in their order.
    pub(crate) gifts: Vec<Gift>,
}

/// What a keyholder says over its channel: nothing. That it is open tells that it runs.
#[derive(Debug, Deserialize)]
pub(crate) enum FromKeyholder {}

/// Keeps keys until the supervisor is gone.
///
/// # Errors
/// The log cannot be written, or the system's.
pub(crate) fn serve(channel: OwnedFd) -> Result<(), StartError> {
    let channel =
        Channel::new(channel).map_err(StartError::system("taking the channel to the supervisor"))?;
    let Ok((KeyholderStart { log, users, gifts }, fds)) = channel.receive_by(None) else { return Ok(()) };
    let Some(mut gifts) = Gifts::new(gifts, fds) else { return Ok(()) };
    let Some(door) = gifts.take(Gift::KeyholderDoor) else { return Ok(()) };
    let _logs = Logs::start(&log)?;
    // While there is one thread.
    let memory = Memory::protect();
    let door = Channel::new(door).map_err(StartError::system("opening the keyholder's door"))?;
    let supervisor = gifts.take(Gift::Signers).map(Asker::new).transpose();
    let supervisor = supervisor.map_err(StartError::system("opening the way to signers"))?;
    let setup = Setup { door, keys_socket: gifts.take(Gift::KeysSocket), users, supervisor, memory };
    keyholder::serve(setup).map_err(StartError::system("starting the keyholder's threads"))
}
