//! What the daemon's own processes say to each other: typed messages with descriptors on AF_UNIX SOCK_SEQPACKET socketpairs.
//!
//! ```text
//!  Channel ◀───────────── messages, one packet each ─────────────▶ Channel
//!
//!  Asker ── question + fds + one end of a fresh pair ──▶ Desk ─▶ Asked { question, fds, reply }
//!    └─ Pending ◀────────────── the answer ─────────────────────── Reply
//! ```
//!
//! Both ends are ours, and still neither trusts the other: a worker that was taken over says what it likes. Messages are
//! bounded, parsed into types before anything is done, and what does not parse closes the channel. Bulk travels as a sealed
//! memory file. What the messages are is said where they are meant: this folder moves them.

mod ask;
mod channel;

pub use ask::{Asked, Asker, Desk, Pending, Reply};
pub use channel::{Channel, ChannelError};
