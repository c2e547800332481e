//! The servers that the load goes to. None can be started yet: each row of the report says so.

use std::net::SocketAddr;
use std::time::Duration;

/// In the order of the report.
pub(crate) const NAMES: [&str; 7] =
    ["tlsifyd", "inside", "nginx https", "nginx stream", "haproxy", "hitch", "stunnel"];

/// The version that is spoken, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    V12,
    V13,
}

/// The group of the key exchange, and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    X25519,
    Hybrid,
}

/// What a site is beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(dead_code, reason = "no site is made yet")]
pub(crate) enum Kind {
    Ours,
    InProcess,
    Itself,
    Proxy,
}

/// What a site is started with.
#[derive(Clone, Copy, Debug)]
#[expect(dead_code, reason = "no site is made yet")]
pub(crate) struct SiteOptions {
    pub(crate) version: Tls,
    pub(crate) group: Group,
    /// Sessions can be resumed.
    pub(crate) tickets: bool,
    /// Where all its processes run.
    pub(crate) core: Option<usize>,
}

/// A site that runs.
pub(crate) struct Site {
    kind: Kind,
    address: SocketAddr,
}

impl Site {
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::ZERO
    }

    /// Of the process that does TLS.
    pub(crate) fn tls_private_kib(&self) -> u64 {
        0
    }
}

/// Memory of the kernel that sessions can grow.
pub(crate) fn kernel_kib() -> u64 {
    0
}

/// Starts one.
pub(crate) fn start(name: &str, _: &SiteOptions) -> Result<Site, String> {
    Err(format!("{name} cannot be started yet"))
}
