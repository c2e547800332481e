//! What goes over a door: a [`Channel`](crate::io::between::Channel) between the keyholder and another of our processes.
//!
//! ```text
//!  supervisor ══ its door ══▶ keyholder      Connect: the operator's keys     Door: one for each worker
//!  worker ══════ its door ══▶ keyholder      Connect: its callers' keys, forgotten when this door closes
//!  keyholder ════ Asks ═════▶ supervisor     a connection to somebody's agent
//! ```

use serde::{Deserialize, Serialize};

/// A message over a door, to the keyholder. Each has exactly one descriptor, which becomes the keyholder's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Knock {
    /// One end of an AF_UNIX stream pair, on which the sender will speak the agent protocol from the other end.
    Connect,
    /// One end of a channel, which becomes the door of a worker with this name in the log. Supervisor's door only: on
    /// another it closes that.
    Door {
        /// For people.
        name: String,
        /// With a number, which no other open door has: through it none of the operator's keys may be used until
        /// [`Knock::Permit`] says which.
        number: Option<u64>,
    },
    /// From now on these of the operator's keys, and no others, may be used through the door of this number: a memory file
    /// with the SHA-256 of each one's SubjectPublicKeyInfo, 32 bytes each. Supervisor's door only, as above. Of a door that
    /// is closed, it changes nothing.
    Permit(u64),
}

/// What the keyholder asks the supervisor (an [`Asker`](crate::io::between::Asker) and its desk).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asks {
    /// What the configuration says of the signer with this name. Answered with an `Option<`[`About`]`>`.
    AboutSigner(String),
    /// A new connection to the signer with this name, which is tried once and without waiting. Answered with [`Opened`].
    OpenSigner(String),
}

/// What the configuration says of a signer, as far as the keyholder needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// How long a signature may take, in milliseconds.
    pub deadline_ms: u32,
    /// Whether it is one of our own processes with a token, which knows RSA-PSS and why it refuses.
    pub token: bool,
    /// Another number each time that the configuration says something else of it: older connections are of no more use.
    pub epoch: u64,
}

/// What became of a connection to a signer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Opened {
    /// Its descriptor comes along: a connected stream socket.
    Here,
    /// Somebody listens, and has no time to accept: try again.
    Busy,
    /// Nobody is there; a sentence for the log.
    Away(String),
}
