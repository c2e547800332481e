//! Private keys, in a process that does nothing else.
//!
//! ```text
//!  supervisor ── door ──▶ serve ─▶ a thread per connection ─▶ Connection: request in, answer out
//!  worker ────── door ──▶   │                                    │  content: is it what TLS signs?
//!  ssh-add ── keys.sock ─▶ uid?                                  │  Table: is the key there, for them, for this?
//!                                                                ├─▶ HolderKey signs
//!                                                                └─▶ foreign: somebody else's agent signs
//! ```
//!
//! All three speak the ssh-agent protocol (RFC 9987) with our extensions ([`crate::io::agent::wire`]); what each may do:
//!
//! | | supervisor | worker | user at keys.sock |
//! | --- | --- | --- | --- |
//! | list, sign | operator's keys | operator's and its own | operator's |
//! | add | from files of the configuration, also while locked; foreign ones | from callers' descriptors | ssh-add, `-t`; not `-c`, no certificates |
//! | forget | by number | by number, its own | `-d`, `-D`: the operator's |
//! | lock, unlock | no | no | `-x`, `-X` |
//!
//! Only what a TLS handshake signs is signed, on each of them (`content.rs`): so `ssh-add -T`, which has random bytes signed,
//! always fails here, and a key that is lent to this daemon lets nobody log in. Locked with `ssh-add -x`, nothing is listed,
//! signed or removed; a number may be forgotten at any time, and a worker's keys go when its door closes.
//!
//! Keys are in the provider's memory and nowhere else (`memory.rs`). A crash loses what ssh-add has added; a
//! lock outlives it, as the hash of its passphrase in the supervisor.
//!
//! Here is no file but by descriptor, no network, no TLS and no configuration: names of files and users were read elsewhere.

mod connection;
mod content;
pub mod foreign;
mod keys_socket;
mod lock;
mod memory;
mod numbers;
mod serve;
mod shared;
mod table;
pub mod token;

pub use lock::Sealed;
pub use memory::Memory;
pub use serve::Holder;
