//! The operator's `[[rule]]`s: who may what.
//!
//! ```text
//!  CallerCred ─┐             first that is about the caller         ┌─ may it? (profile, store, role, …) ─▶ Forbidden
//!              ├─▶ Rules::of ──────────────────────────▶ Ruling ────┼─ floor, the stricter of host's and rule's
//!  executable ─┘             none: what [limits] and [tls] say      └─ limits, filled in from [limits]
//! ```
//!
//! **The first rule that is about a caller counts, alone.** Rules are not added up: what a rule does not say is as if
//! there were no rule. So a person who reads the file from the top finds the one that counts where ssh's and haproxy's
//! readers would look for it.
//!
//! A rule is about a caller that is one of its users or in one of its groups, and runs one of its executables if it
//! names any. The last is a convenience and no boundary: whoever has a uid can be any process of that uid.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tlsify_protocol::{Level, Role, Version};

use super::limits::Limits;
use super::{CallerCred, Grant};

/// One rule, complete: what it does not say is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What refusals call it.
    pub name: Arc<str>,
    /// Users and groups.
    pub who: Grant,
    /// The executables it is about, as `/proc/PID/exe` names them; empty: whatever it runs.
    pub executables: Vec<PathBuf>,
    /// Nothing at all may be asked.
    pub deny: bool,
    /// Which of the operator's profiles may be used; `None`: all that are for this user.
    pub profiles: Option<Vec<String>>,
    /// Whether callers may say parameters of their own, in `define` and in requests without a profile.
    pub define: bool,
    /// Whom callers' own parameters may trust; `None`: whom they like.
    pub stores: Option<Vec<String>>,
    /// The roles that sessions may have.
    pub roles: Vec<Role>,
    /// Whether sockets are connected for the caller (`to`).
    pub connect_to: bool,
    /// Sessions have at least this version.
    pub minimum: Option<Version>,
    /// Sessions have at least this level.
    pub level: Option<Level>,
    /// Quotas, the host's where the rule says none.
    pub limits: Limits,
}

/// All rules, in the operator's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules(Vec<Arc<Rule>>);

impl Rules {
    /// In this order; names are unique.
    pub fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        Rules(rules.into_iter().map(Arc::new).collect())
    }

    /// In the order in which they are asked.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.0.iter()
    }

    /// What counts for a caller. An `executable` that could not be found out is none: no rule that names executables
    /// is about it.
    pub fn of(&self, caller: &CallerCred, executable: Option<&Path>) -> Ruling {
        Ruling(self.0.iter().find(|rule| rule.is_about(caller, executable)).cloned())
    }

    /// Whether what the caller runs decides which rule counts: otherwise nobody needs to look.
    pub fn ask_what_it_runs(&self, caller: &CallerCred) -> bool {
        let about = |rule: &&Arc<Rule>| rule.who.allows(caller);
        self.0.iter().find(about).is_some_and(|rule| !rule.executables.is_empty())
    }
}

impl Rule {
    fn is_about(&self, caller: &CallerCred, executable: Option<&Path>) -> bool {
        self.who.allows(caller)
            && (self.executables.is_empty()
                || executable.is_some_and(|path| self.executables.iter().any(|named| named == path)))
    }
}

/// What counts for one caller: a rule, or that there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruling(Option<Arc<Rule>>);

/// Where a caller's own parameters take their trust from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUse {
    /// `trust=system`
    System,
    /// `trust=descriptor`
    Descriptor,
    /// `trust=pins`
    Pins,
    /// `trust=store:NAME`
    Named(Box<str>),
}

impl StoreUse {
    /// As `stores` in a rule calls it.
    pub fn word(&self) -> &str {
        match self {
            StoreUse::System => "system",
            StoreUse::Descriptor => "descriptor",
            StoreUse::Pins => "pins",
            StoreUse::Named(name) => name,
        }
    }
}

impl From<Arc<Rule>> for Ruling {
    fn from(rule: Arc<Rule>) -> Self {
        Ruling(Some(rule))
    }
}

impl Ruling {
    /// The rule, if there is one.
    pub fn rule(&self) -> Option<&Arc<Rule>> {
        self.0.as_ref()
    }

    /// The rule's name, if there is one.
    pub fn name(&self) -> Option<&Arc<str>> {
        self.0.as_ref().map(|rule| &rule.name)
    }

    /// The quotas that count, with the host's for who has no rule.
    pub fn limits(&self, host: &Limits) -> Limits {
        self.0.as_ref().map_or(*host, |rule| rule.limits)
    }

    /// The floor of the caller's sessions: of the host's and the rule's, the stricter counts.
    pub fn floor(&self, version: Version, level: Option<Level>) -> (Version, Option<Level>) {
        let Some(rule) = &self.0 else { return (version, level) };
        // None is below every level.
        (rule.minimum.map_or(version, |own| own.max(version)), rule.level.max(level))
    }

    /// Whether the caller may ask for anything.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn enter(&self, caller: &CallerCred) -> Result<(), Forbidden> {
        self.demand(caller, |rule| !rule.deny, || Matter::Everything)
    }

    /// Whether the caller may use this profile of the operator's, if that is for its user.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn profile(&self, caller: &CallerCred, name: &str) -> Result<(), Forbidden> {
        let listed =
            |rule: &Rule| rule.profiles.as_ref().is_none_or(|list| list.iter().any(|one| one == name));
        self.demand(caller, listed, || Matter::Profile(name.to_owned()))
    }

    /// Whether the caller may say parameters of its own.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn define(&self, caller: &CallerCred) -> Result<(), Forbidden> {
        self.demand(caller, |rule| rule.define, || Matter::Define)
    }

    /// Whether parameters of the caller's own may trust these.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn store(&self, caller: &CallerCred, store: &StoreUse) -> Result<(), Forbidden> {
        let word = store.word();
        let listed = |rule: &Rule| rule.stores.as_ref().is_none_or(|list| list.iter().any(|one| one == word));
        self.demand(caller, listed, || Matter::Store(store.clone()))
    }

    /// Whether the caller's sessions may have this role.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn role(&self, caller: &CallerCred, role: Role) -> Result<(), Forbidden> {
        self.demand(caller, |rule| rule.roles.contains(&role), || Matter::Role(role))
    }

    /// Whether a socket is connected for the caller.
    ///
    /// # Errors
    /// The rule that forbids it.
    pub fn connect_to(&self, caller: &CallerCred) -> Result<(), Forbidden> {
        self.demand(caller, |rule| rule.connect_to, || Matter::ConnectTo)
    }

    fn demand(
        &self,
        caller: &CallerCred,
        allows: impl FnOnce(&Rule) -> bool,
        matter: impl FnOnce() -> Matter,
    ) -> Result<(), Forbidden> {
        match &self.0 {
            // A rule that came with a reload and denies everything denies each thing to who is in already.
            Some(rule) if rule.deny => Err(Forbidden::new(caller, rule, Matter::Everything)),
            Some(rule) if !allows(rule) => Err(Forbidden::new(caller, rule, matter())),
            _ => Ok(()),
        }
    }
}

/// What a rule forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matter {
    /// Everything.
    Everything,
    /// This profile of the operator's.
    Profile(String),
    /// Parameters of the caller's own.
    Define,
    /// To trust these in parameters of the caller's own.
    Store(StoreUse),
    /// Sessions of this role.
    Role(Role),
    /// To have a socket connected.
    ConnectTo,
}

/// A rule forbids what a caller asked for. The operator's to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    /// Who asked.
    pub uid: u32,
    /// The rule's name.
    pub rule: Arc<str>,
    /// What was asked for.
    pub what: Matter,
}

impl Forbidden {
    fn new(caller: &CallerCred, rule: &Rule, what: Matter) -> Self {
        Forbidden { uid: caller.uid, rule: Arc::clone(&rule.name), what }
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} may not ", self.uid)?;
        match &self.what {
            Matter::Everything => f.write_str("use this daemon")?,
            Matter::Profile(name) => write!(f, "use profile \"{name}\"")?,
            Matter::Define => {
                f.write_str("say parameters of its own, only the operator's profiles are for it")?
            }
            Matter::Store(StoreUse::Named(name)) => write!(f, "trust the store \"{name}\"")?,
            Matter::Store(StoreUse::System) => f.write_str("trust the system's authorities")?,
            Matter::Store(StoreUse::Descriptor) => f.write_str("bring authorities of its own")?,
            Matter::Store(StoreUse::Pins) => f.write_str("trust pins alone")?,
            Matter::Role(Role::Server) => f.write_str("be a TLS server")?,
            Matter::Role(Role::Client) => f.write_str("be a TLS client")?,
            Matter::ConnectTo => f.write_str("have sockets connected")?,
        }
        write!(f, " (rule \"{}\")", self.rule)
    }
}

impl std::error::Error for Forbidden {}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
