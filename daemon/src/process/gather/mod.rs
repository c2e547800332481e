//! What the loader reads, and from where: the same loader runs where the files can be opened and where they cannot.
//!
//! ```text
//!  supervisor:  loader ─▶ Recording ─▶ Disk            files, folders, users and groups by name, the time
//!                            │
//!                            └▶ Gathered ── sealed memory file ──▶ worker:  loader ─▶ Record
//!                                 every answer, and of each key its public half
//! ```
//!
//! What the supervisor accepted, the worker accepts, because both run the same code on the same answers. The worker needs
//! no file for it, also when it is started anew long after the files have changed: it serves what was loaded.
//!
//! A [`Gathered`] holds passwords, because the worker speaks with the caches, and never a byte of a private key: what
//! becomes of keys is in [`super::keys`].

mod bytes;
mod gathered;
mod record;
mod recording;
mod sources;

pub use bytes::{Bytes, Secret};
pub use gathered::{Gathered, GatheredError};
pub use record::Record;
pub(super) use record::missing;
pub use recording::Recording;
pub use sources::{Disk, Sources};
