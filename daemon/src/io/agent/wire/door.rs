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
    Door(String),
}

/// What the keyholder asks the supervisor (an [`Asker`](crate::io::between::Asker) and its desk).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asks {
    /// A new connection to the agent with this name in the configuration. Answered with `()` and one connected stream
    /// socket, or given up (no descriptor) when it cannot be reached.
    OpenSigner(String),
}
