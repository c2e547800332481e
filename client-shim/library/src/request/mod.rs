//! Requests as builders. A builder owns its descriptors until it is dropped: the daemon gets copies of them, so a
//! request can be sent again, and dropping the builder is what closes this program's copies.
//!
//! Nothing is checked here that the daemon checks: it refuses by name, and one place decides.
//!
//! | file | builders and their parts |
//! | --- | --- |
//! | `mod` | [`Profile`]: parameters that repeat |
//! | `accept` | [`Accept`]: TLS server |
//! | `connect` | [`Connect`]: TLS client |
//! | `inventory` | [`Inventory`]: which lists `status` brings |
//! | `start` | what `accept` and `connect` share |
//! | `tls` | the TLS keys, which each builder has |

mod accept;
mod connect;
mod inventory;
mod start;
mod tls;

use std::os::fd::OwnedFd;

use tlsify_protocol::Role;

pub use accept::Accept;
pub use connect::Connect;
pub use inventory::Inventory;
pub(crate) use start::Start;
pub(crate) use tls::Tls;
pub use tls::{AccessRule, Trust};

/// Parameters that repeat, defined once on a control connection and named in requests: they go when it closes.
#[derive(Debug)]
#[must_use]
pub struct Profile {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) resume: Option<String>,
    pub(crate) tickets: Option<OwnedFd>,
    pub(crate) tls: Tls,
}

impl Profile {
    /// A profile for [`Accept`]. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn server(name: impl Into<String>) -> Self {
        Self::new(name.into(), Role::Server)
    }

    /// A profile for [`Connect`]. The name has 1 to 64 of `A-Z a-z 0-9 . _ -`.
    pub fn client(name: impl Into<String>) -> Self {
        Self::new(name.into(), Role::Client)
    }

    fn new(name: String, role: Role) -> Self {
        Self { name, role, resume: None, tickets: None, tls: Tls::default() }
    }

    /// Lets the profile's sessions resume in this store, unless a request names another: [`Accept::resume`],
    /// [`Connect::resume`].
    pub fn resume(mut self, store: impl Into<String>) -> Self {
        self.resume = Some(store.into());
        self
    }

    /// The same with a store that is a file or directory: [`Accept::resume_file`], [`Connect::resume_file`]. The daemon
    /// keeps a copy of the descriptor of a server's file for as long as it has the profile, and looks at the file once a
    /// minute.
    pub fn resume_file(mut self, store: impl Into<OwnedFd>) -> Self {
        self.tickets = Some(store.into());
        self
    }
}
