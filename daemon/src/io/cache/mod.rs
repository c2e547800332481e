//! A cache of the operator's beside the daemon: memcached or Redis, asked by each worker on one connection of its own.
//!
//! ```text
//!  look_up(names) ──▶ ┌────────────┐ ──▶ commands, one behind the other ──▶ cache
//!  put(entry) ──────▶ │ CacheClient│
//!  Found ◀─────────── └────────────┘ ◀── answers, in the same order ◀────── cache
//!
//!  New ──first request──▶ Connecting ──▶ Up ──▶ (closed by the cache, or at rest for a minute) ──▶ New
//!                             └───────────┴── refused, silent, nonsense ──▶ Away ──our own probe──▶ Up
//! ```
//!
//! What a cache can cost:
//! - a look-up waits as long as the operator said (`deadline`), and then is [`Found::Late`]. From then on, until the cache
//!   has answered, look-ups are [`Found::Skipped`] at once: one silence is paid for once, by those that were waiting;
//! - after a failure nobody waits for a connection either: somebody's look-up starts our own probe, at most every 100 ms,
//!   less often the longer it lasts, and look-ups go there again when it was answered;
//! - what is under way is bounded in number, what is to be sent in bytes, and an answer by [`codec`];
//! - nothing here ever waits on the loop: sockets do not block, and a name is looked up on the resolver's threads.
//!
//! What this folder does not do: it knows no session, seals nothing, and believes nothing: values go to
//! [`crate::tls::Cached`], which opens what it has sealed and nothing else. So there is no TLS on the way to a cache: who
//! listens there learns what the cache itself does, when entries come and go and how long they are, and the password of a
//! Redis, which is worth as much as the network it is sent over.

mod client;
pub mod codec;
mod connection;
mod jobs;
mod named;

pub use client::CacheClient;
pub use jobs::{CachePut, Found};
pub use named::Cache;
