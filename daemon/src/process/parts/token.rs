//! The process with a token: from its first message on, [`crate::keyholder::token`] does the rest.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::io::between::Channel;
use crate::keyholder::token::{self, Place};
use crate::process::logs::{LogChoice, Logs};
use crate::process::sandbox::{self, May, Settings};

/// What it starts with: its first message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TokenStart {
    /// Its log; standard error is the supervisor's.
    pub(crate) log: LogChoice,
    /// Who it becomes, and what is done where the kernel lacks something.
    pub(crate) sandbox: Settings,
    /// Which token.
    pub(crate) place: Place,
    /// What the module may read and write, beside reading itself and what it is linked with.
    pub(crate) paths: Vec<PathBuf>,
    /// Whether it may use the network.
    pub(crate) network: bool,
}

/// Serves until the supervisor is gone.
pub(crate) fn serve(channel: OwnedFd) {
    let Ok(channel) = Channel::new(channel) else { return };
    let Ok((start, _)) = channel.receive_by::<TokenStart>(None) else { return };
    // 1. The log. Without one nobody learns anything, and signatures are made all the same.
    let logs = Logs::start(&start.log);
    if let Err(error) = &logs {
        tracing::warn!(%error, "no log");
    }
    // 2. From here on nothing but the module, while there is one thread.
    let TokenStart { sandbox, place, paths, network, .. } = start;
    let module = place.module.parent().map(|folder| sandbox::Place::new(folder, May::Read));
    let places = paths.into_iter().map(|path| sandbox::Place::new(path, May::Change)).chain(module).collect();
    let settings = Settings { places, network, ..sandbox };
    if let Err(error) = super::confined(sandbox::Part::Token, &settings) {
        tracing::error!(%error, "no token");
        return;
    }
    // 3. Until the end.
    if let Err(error) = token::serve(place, channel) {
        tracing::error!(%error, "the supervisor cannot be understood");
    }
}
