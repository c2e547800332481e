//! What the operator has decided: profiles, stores, limits, times. Replaced whole at a reload.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::io::{Cache, Timeouts};
use crate::policy::{CallerCred, Grant, Limits};
use crate::tls::{ClientProfile, Level, ParamsError, Roots, ServerProfile, Version};

/// A profile, ready for use, of a caller's or the operator's.
#[derive(Clone, Debug)]
pub enum Profile {
    /// For `accept`.
    Server(Arc<ServerProfile>),
    /// For `connect`.
    Client(Arc<ClientProfile>),
}

impl Profile {
    /// The same under the floor that `operator` sets; `None`: this one is as it would be then.
    ///
    /// # Errors
    /// [`ParamsError`] when what the profile asks for is below it.
    pub fn under(&self, operator: &Operator) -> Result<Option<Self>, ParamsError> {
        let (floor, level) = (operator.floor, operator.level);
        Ok(match self {
            Self::Server(server) => server.under(floor, level)?.map(|new| Self::Server(Arc::new(new))),
            Self::Client(client) => client.under(floor, level)?.map(|new| Self::Client(Arc::new(new))),
        })
    }
}

/// A profile of the operator's, and who may use it.
#[derive(Clone, Debug)]
pub struct OperatorProfile {
    /// Who may use it.
    pub grant: Grant,
    /// The profile.
    pub profile: Profile,
    /// Where its sessions are kept, for a server's that has a cache.
    pub cache: Option<Arc<Cache>>,
}

/// The operator's decisions, checked and loaded.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Profiles by name.
    pub profiles: HashMap<String, OperatorProfile>,
    /// Trust stores by name, for `trust=store:NAME`.
    pub stores: HashMap<String, Roots>,
    /// Quotas.
    pub limits: Limits,
    /// How long to wait for what, unless a request says otherwise.
    pub timeouts: Timeouts,
    /// How long sessions may go on after SIGTERM.
    pub drain: Duration,
    /// No session goes below this version.
    pub floor: Version,
    /// No session goes below this level; `None`: the version alone counts.
    pub level: Option<Level>,
    /// Users who may see everybody's sessions; root always may.
    pub observers: Vec<u32>,
}

impl Operator {
    /// Whether `caller` may see everybody's sessions.
    #[must_use]
    pub fn may_observe(&self, caller: &CallerCred) -> bool {
        caller.uid == 0 || self.observers.contains(&caller.uid)
    }
}

/// The host's pool of certificate authorities. Kept by the process room, which knows the files.
pub trait SystemPool: Send + Sync {
    /// The pool, if it is loaded and was looked at lately. Never waits.
    fn fresh(&self) -> Option<Roots>;

    /// The pool, loaded or loaded again as needed. May wait for the disk.
    ///
    /// # Errors
    /// A sentence for the operator: no pool, or nothing usable in it.
    fn load(&self) -> Result<Roots, String>;
}
