//! Moving bytes and descriptors. Nothing here decides who may do what.
//!
//! ```text
//!  caller ⇄ ControlSocket (packets with descriptors)        net ⇄ Relay ⇄ plain     one turn at a time
//!           Handoff: what each descriptor is, checked              └ Poller: which of them can go on
//! ```
//!
//! No descriptor that a caller shares gets O_NONBLOCK from us: the flag belongs to the open file
//! description and would change the caller's side too. Sockets are used with MSG_DONTWAIT, pipes with
//! RWF_NOWAIT, and what can do neither (terminals, regular files) is moved by a thread of its own
//! (`pump.rs`).

pub mod agent;
pub mod between;
pub mod cache;
mod control;
mod deadlines;
mod dial;
mod end;
mod given;
mod handoff;
mod held;
mod linger;
mod memfd;
mod outside;
mod own_file;
mod own_place;
mod peek;
mod poller;
mod pump;
mod registry;
mod relay;
mod scratch;
mod unix_path;
mod unread;

pub use cache::{Cache, CacheClient, CachePut, Found};
pub(crate) use control::UNTOUCHED;
pub use control::{ControlSocket, Packet, PacketError, SendError, credentials};
pub use deadlines::Deadlines;
pub use dial::{
    Destination, Dial, Dialed, Dialer, Family, State as DialState, Unconnected, is_same_socket,
    unconnected_tcp,
};
pub use end::{End, Plain};
pub use given::{BothWays, Given, OneWay};
pub use handoff::{
    DescriptorError, Ends, Net, check_file, connected_stream, is_at_hand, is_socket, read_public,
    read_regular, same_file, take_net,
};
pub use memfd::sealed_memfd;
pub use outside::{Asking, Host, Itself, Outside, Pool, Suffixes, answer, answer_beside, connect_cache_at};
pub use own_file::{OwnFile, locked, write_at};
pub use own_place::OwnPlace;
pub use peek::{Gone, Peek, closes_at_once};
pub(crate) use poller::LIFE_MASK;
pub use poller::{Poller, Readiness, Token, Which};
pub use registry::{Registry, Row};
pub use relay::{Done, Outcome, Relay, Start, Step, Timeouts, Turn};
pub use scratch::Scratch;
pub use unix_path::connect_path;
pub(crate) use unread::beside;
