//! The worker: TLS between sockets that others made. It makes no socket but pairs, and has no name for anything.

use super::Rule::{Always, When};
use super::{Call, base, calls, is};

pub(super) const TABLES: &[&[Call]] = &[base::PROCESS, base::SOCKETS, base::CODE, base::NO_NAMES, OWN];

const OWN: &[Call] = calls! {
    SYS_pipe2: Always, "the thread that moves the bytes of a file or a terminal of a caller's is told through one to end";
    SYS_fdatasync: Always, "a caller's file of ticket keys is on disk before a key is used";
    SYS_setsockopt: When(&[&[is(1, libc::IPPROTO_TCP), is(2, libc::TCP_FASTOPEN_CONNECT)]]), "the first bytes go with the connection";
};
