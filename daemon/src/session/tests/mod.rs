//! The session machine without sockets and without a clock: bytes are moved by hand, in any pieces.

mod agreements;
pub(crate) mod away_keys;
pub(crate) mod cases;
mod closing;
mod garbage;
mod handshake;
mod learning;
mod new_keys;
mod pieces;
mod records;
mod resumed_checks;
mod resumption;
mod returning;
mod server_cached;
mod server_tickets;
