//! `tlsifyd`: TLS as a service of the host. Programs hand it open sockets and get plaintext descriptors back.
//!
//! ```text
//! program ── tlsify ──(1) accept/connect + socket ──▶ control ─▶ policy ─▶ dispatch ─▶ worker (one per core)
//!    ▲                                                                                   │ adopt
//!    │                                                                                   ▼
//!    └───────(2) established + plaintext descriptor ◀────────────── relay: four arms around one Session
//!                                     plain read/write ⇄ Session (no I/O, no clock) ⇄ net read/write ⇄ peer
//! ```
//!
//! Three kinds of process take part, and more for what few need; the picture above is inside of one of them:
//!
//! ```text
//!  tlsifyd ── supervisor: configuration, listening sockets, signals; parses no byte from the network or of a caller
//!    ├── tlsifyd-worker: all of the picture above, and nothing but TLS          replaced when it crashes
//!    └── tlsifyd-keys: private keys; signs for the worker what TLS signs        `keyholder`
//! ```
//!
//! `process/start.rs` has the order of the start, `process/supervise.rs` what the supervisor does until the end, and
//! `process/parts` how a part comes to be. With `--private` the supervisor forks once, with `--single-process` not at all.
//!
//! To follow one session, read in this order:
//!
//! 1. `client-shim/`: what the person asked for becomes one packet; request and descriptor leave together.
//! 2. [`io`], `control.rs`: a packet becomes bytes and owned descriptors, or a refusal.
//! 3. [`engine`], `caller.rs`: who asks, may they ([`policy`]), with which profile.
//! 4. `engine/request.rs` and `dispatch.rs`: which core.
//! 5. `engine/worker.rs`, `adopt`: the session is made.
//! 6. [`io`], `relay.rs`: the only loop: plain out, net out, plain in, net in.
//! 7. [`session`]: what may happen now: handshaking, established, closing, closed.
//! 8. `engine/report.rs`: the last word: one `ended` message, one log line, the counts.
//!
//! Layers, lowest first; a file imports its own folder and what stands before it: `config`, `policy`, `tls`,
//! `session` (pure: no system call, no clock, no task), `sys`, `io` (move bytes, decide nothing), `keyholder` (private keys,
//! in a process of their own), `engine` (cores, tasks, counts, drain, reload), `process` (start, the other processes,
//! sockets from outside, signals), `cli` and `main`. rustls is named in `tls`
//! and `session` alone, unsafe code is in `sys` alone; `tests/layers.rs` checks all three.

pub mod cli;
pub mod config;
pub mod demo;
pub mod engine;
pub mod io;
pub mod keyholder;
pub mod policy;
pub mod process;
pub mod session;
pub mod sys;
pub mod tls;
