//! The rig: what suites about sockets, processes and time are written with, so that they read as prose.
//!
//! ```text
//!                    ┌──────────────── TestDaemon (real processes) ───────────────┐
//!  test ── Client ──▶│ tlsifyd, its worker (family.rs)                            │
//!    │               └──────▲──────────────────────────────────▲──────────────────┘
//!    │ plain descriptor     │ net, one end of tcp_pair()       │ fds(), rss_kib(), signal()
//!    ▼                      ▼
//!  read, write            Peer (rustls in a thread) or a Tool (curl, openssl, …)
//! ```
//!
//! What it promises: nothing waits for ever ([`wait::LIMIT`], with a panic that says for what), no process and no
//! folder is left behind, and the environment of the person who runs the tests does not reach the daemon. What it does
//! not do: it knows no suite, and takes no short cut into the daemon's code.

pub mod agent;
pub mod built;
pub mod caches;
pub mod command;
pub mod daemon;
pub mod door;
pub mod ech;
pub mod family;
pub mod fds;
pub mod figures;
pub mod forger;
pub mod gnutls;
pub mod handover;
pub mod lists;
pub mod network;
pub mod openssl;
pub mod outgoing;
pub mod packets;
pub mod peer;
pub mod pki;
pub mod program;
pub mod raw;
pub mod signers;
pub mod temp;
pub mod terminal;
pub mod tickets;
pub mod tools;
pub mod user;
pub mod wait;

pub use caches::{CACHES, CacheKind, CacheServer, Liar, Lie};
pub use command::{Done, Process, Tlsify};
pub use daemon::{Options, TestDaemon};
pub use door::{Door, Open, Typed, reach};
pub use fds::{Census, OwnFds, exclusive};
pub use network::{BlackHole, Network};
pub use peer::{End, Peer, tcp_pair};
pub use pki::{KeyKind, Pki, pki};
pub use program::{Output, Program};
pub use raw::{RawAnswer, RawCaller};
pub use signers::{FakeAgent, SoftToken, SshAgent};
pub use temp::TempDir;
pub use tickets::TicketServer;
pub use tools::tool;
pub use user::User;
pub use wait::{Running, running, within};
