//! The session machine without sockets and without a clock: bytes are moved by hand, in any pieces.

mod agreements;
mod broken;
pub(crate) mod cases;
mod closing;
mod garbage;
mod handshake;
pub(crate) mod pair;
mod pieces;
mod records;
mod streams;
