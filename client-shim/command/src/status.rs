//! How the command ends, for whoever started it. After `--` it is the program's own status instead.

/// A clean end; with `--handoff`, an open session.
pub(crate) const CLEAN: u8 = 0;
/// The request was refused, or there is no daemon.
pub(crate) const REFUSED: u8 = 97;
/// TLS failed, or the stream was cut short.
pub(crate) const TLS: u8 = 98;
/// Time was up.
pub(crate) const TIMEOUT: u8 = 99;
/// Wrong usage (as in djb's programs and s6).
pub(crate) const USAGE: u8 = 100;
/// A system call failed, here or for us: looking up and connecting included (as in djb's programs and s6).
pub(crate) const SYSTEM: u8 = 111;

/// Why a run ended before its session did: what was said, and the status that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop(pub(crate) u8);
