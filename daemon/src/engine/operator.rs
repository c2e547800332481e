//! What the operator has decided: profiles, stores, limits, times. Replaced whole at a reload.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::io::{Cache, Timeouts};
use crate::policy::{CallerCred, Grant, Limits, Rules, Ruling};
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
    /// The same under this floor; `None`: this one is as it would be then.
    ///
    /// # Errors
    /// [`ParamsError`] when what the profile asks for is below it.
    pub fn under(&self, floor: Version, level: Option<Level>) -> Result<Option<Self>, ParamsError> {
        Ok(match self {
            Self::Server(server) => server.under(floor, level)?.map(|new| Self::Server(Arc::new(new))),
            Self::Client(client) => client.under(floor, level)?.map(|new| Self::Client(Arc::new(new))),
        })
    }
}

impl Profile {
    /// About how many bytes of certificates, lists and, if `trust` is not somebody else's, authorities it holds.
    #[must_use]
    pub fn weight(&self, trust: bool) -> u64 {
        match self {
            Self::Server(server) => server.weight(trust),
            Self::Client(client) => client.weight(trust),
        }
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
    /// What its sessions are listed under.
    pub label: Label,
}

/// The name of a profile, shared by its sessions: each holds no more of it than a pointer.
pub(super) type Label = Arc<String>;

/// The operator's profiles under the floors of rules, made when they are loaded and not once for each session.
#[derive(Clone, Debug, Default)]
pub struct Raised(HashMap<(Arc<str>, String), Profile>);

impl Raised {
    /// Makes those that differ. With a sentence for each profile that a rule names and its floor leaves nothing of.
    #[must_use]
    pub fn new(
        rules: &Rules,
        profiles: &HashMap<String, OperatorProfile>,
        floor: (Version, Option<Level>),
    ) -> (Self, Vec<String>) {
        let (mut raised, mut unusable) = (HashMap::new(), Vec::new());
        for rule in rules.iter() {
            let (version, level) = Ruling::from(Arc::clone(rule)).floor(floor.0, floor.1);
            let named =
                |name: &str| rule.profiles.as_ref().is_none_or(|list| list.iter().any(|one| one == name));
            for (name, known) in profiles.iter().filter(|(name, _)| (version, level) != floor && named(name))
            {
                match known.profile.under(version, level) {
                    Ok(Some(profile)) => {
                        raised.insert((Arc::clone(&rule.name), name.clone()), profile);
                    }
                    Ok(None) => {}
                    Err(error) if rule.profiles.is_some() => {
                        unusable.push(format!("rule \"{}\": profile \"{name}\": {error}", rule.name));
                    }
                    Err(_) => {}
                }
            }
        }
        unusable.sort();
        (Self(raised), unusable)
    }
}

/// The operator's decisions, checked and loaded.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Profiles by name.
    pub profiles: HashMap<String, OperatorProfile>,
    /// Names of profiles that are not here because no caller of this process may use them.
    pub withheld: Vec<String>,
    /// Trust stores by name, for `trust=store:NAME`.
    pub stores: HashMap<String, Roots>,
    /// Who may what.
    pub rules: Rules,
    /// The profiles under the floors of rules.
    pub raised: Raised,
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
    /// The profile of this name for whom `ruling` counts.
    ///
    /// # Errors
    /// [`ParamsError`] when what the profile asks for is below the rule's floor.
    pub fn profile(
        &self,
        name: &str,
        known: &OperatorProfile,
        ruling: &Ruling,
    ) -> Result<Profile, ParamsError> {
        let (floor, level) = ruling.floor(self.floor, self.level);
        if (floor, level) == (self.floor, self.level) {
            return Ok(known.profile.clone());
        }
        let made = ruling.name().and_then(|rule| self.raised.0.get(&(Arc::clone(rule), name.to_owned())));
        match made {
            Some(profile) => Ok(profile.clone()),
            // For its error: what is not below the floor was made.
            None => Ok(known.profile.under(floor, level)?.unwrap_or_else(|| known.profile.clone())),
        }
    }

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
