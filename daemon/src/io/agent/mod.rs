//! The ssh-agent protocol, as the daemon's own processes, OpenSSH's tools and other people's agents speak it.
//!
//! ```text
//!  worker ──Stream──▶ keyholder ──Stream──▶ somebody's agent
//!  ssh-add ─────────────▲         wire: what the bytes between them mean
//! ```
//!
//! Who may do what, and what keys there are, is not known here.

mod stream;
pub mod wire;

pub use stream::{Stream, StreamError};
