//! Connections to signers come from the supervisor: this process has no files, and so no paths.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use crate::io::agent::wire::{About, Asks, Opened};
use crate::io::between::{Asker, ChannelError, Pending};

/// How long the supervisor may take to say what the configuration says. It has it in memory.
const ABOUT: Duration = Duration::from_secs(2);
/// Between two tries at a signer that has no time to accept.
const BUSY: Duration = Duration::from_millis(20);

/// Who makes connections.
pub(crate) trait Opener: fmt::Debug + Send + Sync {
    /// What the configuration says of a signer; `None`: there is no such signer.
    fn about(&self, name: &str) -> Option<About>;

    /// A connected stream socket to the signer, by `deadline`.
    ///
    /// # Errors
    /// [`Shut`].
    fn open(&self, name: &str, deadline: Instant) -> Result<OwnedFd, Shut>;
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shut {
    /// Nobody is there; why, for the log.
    Away(String),
    /// Nobody accepted by the deadline.
    Slow,
}

impl Opener for Asker {
    fn about(&self, name: &str) -> Option<About> {
        let pending: Pending<Option<About>> = self.ask(&Asks::AboutSigner(name.to_owned()), &[]).ok()?;
        pending.wait(Some(Instant::now() + ABOUT)).ok()?.0
    }

    fn open(&self, name: &str, deadline: Instant) -> Result<OwnedFd, Shut> {
        loop {
            match once(self, name, deadline) {
                Ok((Opened::Here, Some(fd))) => return Ok(fd),
                Ok((Opened::Away(why), None)) => return Err(Shut::Away(why)),
                Ok((Opened::Busy, None)) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(Shut::Slow);
                    }
                    std::thread::sleep(BUSY.min(left));
                }
                Err(ChannelError::Late) => return Err(Shut::Slow),
                Ok(_) | Err(_) => {
                    return Err(Shut::Away("the supervisor does not make connections".to_owned()));
                }
            }
        }
    }
}

fn once(asker: &Asker, name: &str, deadline: Instant) -> Result<(Opened, Option<OwnedFd>), ChannelError> {
    let pending: Pending<Opened> = asker.ask(&Asks::OpenSigner(name.to_owned()), &[])?;
    let (opened, mut fds) = pending.wait(Some(deadline))?;
    Ok((opened, fds.pop()))
}
