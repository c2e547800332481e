//! The session machine without sockets and without a clock: bytes are moved by hand, in any pieces.

mod broken;
mod closing;
mod handshake;
pub(crate) mod pair;
mod pieces;
