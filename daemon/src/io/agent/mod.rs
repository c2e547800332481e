//! The ssh-agent protocol, as the daemon's own processes, OpenSSH's tools and other people's agents speak it.
//!
//! ```text
//!  worker ──Stream──▶ keyholder ──Stream──▶ somebody's agent
//!  ssh-add ─────────────▲         wire: what the bytes between them mean
//! ```
//!
//! [`Keyholder`] is the worker's end of it: who signs for the profiles.
//!
//! Who may do what, and what keys there are, is not known here.

mod keyholder;
mod keys;
mod stream;
pub mod wire;

pub use keyholder::{Keyholder, NotTaken};
pub use stream::{Stream, StreamError};
