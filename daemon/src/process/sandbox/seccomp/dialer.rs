//! The dialer: the host's name service with its modules, and connections.

use super::Rule::{Always, When};
use super::{Call, base, calls, is};

pub(super) const TABLES: &[&[Call]] = &[
    base::PROCESS,
    base::SOCKETS,
    base::MODULES,
    base::NAMES,
    base::LIBRARIES,
    base::CONNECTING,
    base::LOCAL,
    base::NETWORK,
    OWN,
];

const OWN: &[Call] = calls! {
    SYS_socket: When(&[&[is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)]]), "which addresses this host has, to sort answers by";
    SYS_bind: Always, "a netlink socket's address, a source port for a question; TCP is landlock's to forbid";
};
