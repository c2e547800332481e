//! The worker: TLS between sockets that others made. It makes no socket but pairs, and has no name for anything.

use super::Rule::{Always, When};
use super::{Call, base, calls, is};

pub(super) const TABLES: &[&[Call]] = &[base::PROCESS, base::SOCKETS, base::CODE, base::NO_NAMES, OWN];

const OWN: &[Call] = calls! {
    SYS_getcpu: Always, "where the keyholder is to answer, where the C library cannot say it by itself";
    SYS_pipe2: Always, "a caller's file or terminal: its thread is told through one to end; and whether this kernel can say that a pipe would wait";
    SYS_fdatasync: Always, "a caller's file of ticket keys is on disk before a key is used";
    SYS_setsockopt: When(&[&[is(1, libc::IPPROTO_TCP), is(2, libc::TCP_FASTOPEN_CONNECT)]]), "the first bytes go with the connection";
};
