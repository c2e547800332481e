//! What the supervisor and a token's process say to each other, on the channel that the process is born with.
//!
//! ```text
//!  supervisor                                         tlsifyd: token NAME
//!     (first what it starts with: the log, Place, confinement)
//!     Serve + one end of a stream pair ──────────────▶   (the other end goes to the keyholder)
//!     ◀─────────────────────────────────── WantsPin     before each login
//!     Pin(bytes) │ NoPin(why) │ PinLater(why) ────────▶
//!     ◀─────────────────────────────── Judged(verdict)
//! ```
//!
//! The supervisor counts the tries of the PIN: this process may be killed in the middle of one, and the next would not know.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::module::{Pins, Verdict};
use super::policy::Trouble;
use crate::io::between::Channel;

/// How long the supervisor may take to read a small file.
const PATIENCE: Duration = Duration::from_secs(5);

/// From the supervisor.
#[derive(Serialize, Deserialize)]
pub enum Order {
    /// The descriptor that comes along is a stream socket: the agent protocol is spoken on it.
    Serve,
    /// The PIN, for one try.
    Pin(Vec<u8>),
    /// There is no PIN, or none any more: why.
    NoPin(String),
    /// There is none now, as when its file cannot be read: why.
    PinLater(String),
}

/// To the supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// The PIN is needed, for one try.
    WantsPin,
    /// What became of the try.
    Judged(Verdict),
}

/// Asks the supervisor for the PIN, on whatever thread opens the token.
pub(super) struct AskedPins {
    channel: Arc<Channel>,
    answers: Mutex<Receiver<Result<Zeroizing<Vec<u8>>, Trouble>>>,
}

/// Where the thread that receives puts the supervisor's answers.
pub(super) type Answers = Sender<Result<Zeroizing<Vec<u8>>, Trouble>>;

impl AskedPins {
    pub(super) fn new(channel: Arc<Channel>) -> (Self, Answers) {
        let (sender, receiver) = mpsc::channel();
        (Self { channel, answers: Mutex::new(receiver) }, sender)
    }

    fn say(&self, said: Said) -> Result<(), Trouble> {
        let by = Instant::now() + PATIENCE;
        let sent = self.channel.send_by(&said, &[], by);
        sent.map_err(|error| Trouble::Device(format!("cannot ask for the PIN: {error}")))
    }
}

impl Pins for AskedPins {
    fn pin(&self) -> Result<Option<Zeroizing<Vec<u8>>>, Trouble> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        // One that came too late for the last try is not for this one.
        while answers.try_recv().is_ok() {}
        self.say(Said::WantsPin)?;
        match answers.recv_timeout(PATIENCE) {
            Ok(answer) => answer.map(Some),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(Trouble::Device("nobody answers what the PIN is".to_owned()))
            }
        }
    }

    fn judged(&self, verdict: Verdict) {
        // Unsaid, it counts as refused.
        if let Err(error) = self.say(Said::Judged(verdict)) {
            tracing::warn!(%error, "cannot say what became of the PIN");
        }
    }
}
