//! The processes around the engine: where it listens, what it was configured to do, what it says, who keeps it running.
//!
//! ```text
//!  tlsifyd.toml ──operator──▶ Loaded { profiles, stores, limits, timeouts }   all or nothing
//!  /etc/ssl/…   ──pool──────▶ SystemPool                                       read once, re-read when it changes
//!  --socket, LISTEN_FDS ─socket, inherited─▶ Listener                          ours alone, or not at all
//!  --private FD ─inherited──▶ one control connection
//!
//!  start ─▶ supervise ─▶ parts ─▶ worker process: engine                       replaced when it crashes
//! ```
//!
//! Nothing here parses a byte that came from the network or from a caller, and no session passes through here.

mod asked;
mod caches;
mod check;
mod configuration;
mod confinement;
pub mod descriptors;
mod files;
pub mod gather;
mod holder;
mod inherited;
pub mod keys;
mod lists;
pub mod logs;
pub mod operator;
mod outside;
mod parts;
mod permits;
pub mod pool;
mod principals;
mod remains;
mod rules;
pub mod sandbox;
mod signers;
pub mod socket;
mod specs;
mod start;
mod status;
mod supervise;
#[cfg(test)]
pub(crate) mod test_folder;

pub(crate) use files::reason;

pub use asked::{Asked, check_for};
pub use check::{CheckError, check};
pub use inherited::{InheritError, inherited_listeners, private_control};
pub use logs::{LogChoice, LogError, Logs};
pub use operator::{ConfigPlace, Loaded};
pub use parts::played;
pub use pool::{PoolError, PoolPlace, SystemPool};
pub use socket::{ListenError, Listener, Place};
pub use start::{Options, StartError, run};
pub use status::{Question, StatusError, status, terminal_width};
