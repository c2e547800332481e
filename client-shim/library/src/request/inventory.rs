//! Which inventory is asked for.

use tlsify_protocol::Scope;

/// What [`Client::inventory`](crate::Client::inventory) asks for: the counts, and any of three lists. Each list is text,
/// with one line of `key=value` words for each thing in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Inventory {
    pub(crate) scope: Scope,
    pub(crate) sessions: bool,
    pub(crate) stores: bool,
    pub(crate) callers: bool,
}

impl Inventory {
    /// This user's own counts ([`Scope::Own`]), or everybody's ([`Scope::All`]) for root and the operator.
    pub fn of(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// With a line for each session: [`Status::list_text`](crate::Status::list_text).
    pub fn sessions(mut self) -> Self {
        self.sessions = true;
        self
    }

    /// With a line for each store of tickets or ticket keys: [`Status::stores_text`](crate::Status::stores_text).
    pub fn stores(mut self) -> Self {
        self.stores = true;
        self
    }

    /// With a line for each process that asks the daemon for something: [`Status::callers_text`](crate::Status::callers_text).
    pub fn callers(mut self) -> Self {
        self.callers = true;
        self
    }
}
