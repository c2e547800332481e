//! The sense of `[[rule]]`: whom it is about, and what it says of them.

use std::collections::HashMap;
use std::path::PathBuf;

use toml::Spanned;

use super::check::{limits, unique_name};
use super::error::{ConfigError, Lines, nearest};
use super::file;
use super::values::{Level, Principal, Role, Version};
use super::{Limits, Profile, Store};

/// Where a caller's own parameters may take their trust from, beside the operator's stores by their names.
const SOURCES: [&str; 3] = ["system", "descriptor", "pins"];

/// `[[rule]]`: what some callers may. The first that is about a caller counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// The line of the name, from 1.
    pub line: usize,
    /// Users it is about; with `groups` empty too: every user who runs one of `executables`.
    pub users: Vec<Principal>,
    /// Groups whose members it is about.
    pub groups: Vec<Principal>,
    /// Absolute paths of what it is about; empty: whatever is run.
    pub executables: Vec<PathBuf>,
    /// Nothing may be asked for; then nothing else is said.
    pub deny: bool,
    /// Names of `[[profile]]`s that may be used; `None`: all that are for the user.
    pub profiles: Option<Vec<String>>,
    /// Whether callers may say parameters of their own.
    pub define: bool,
    /// Whom those may trust: `system`, `descriptor`, `pins` and names of `[[store]]`s; `None`: whom they like.
    pub stores: Option<Vec<String>>,
    /// Roles that sessions may have: at least one.
    pub roles: Vec<Role>,
    /// Whether sockets are connected for the caller.
    pub connect_to: bool,
    /// Lowest version, above the host's.
    pub minimum: Option<Version>,
    /// Least level, above the host's.
    pub level: Option<Level>,
    /// Quotas; what is `None` is the host's.
    pub limits: Limits,
}

/// What a rule is checked against.
pub(super) struct RuleCheck<'a> {
    pub(super) stores: &'a [Store],
    pub(super) profiles: &'a [Profile],
    pub(super) floor: (Version, Option<Level>),
    pub(super) host: &'a Limits,
    pub(super) lines: &'a Lines<'a>,
}

impl RuleCheck<'_> {
    pub(super) fn all(&self, said: Vec<file::Rule>) -> Result<Vec<Rule>, ConfigError> {
        let mut seen = HashMap::new();
        let rules = said.into_iter().map(|rule| self.check(rule, &mut seen));
        rules.collect()
    }

    fn check(&self, said: file::Rule, seen: &mut HashMap<String, usize>) -> Result<Rule, ConfigError> {
        let span = said.name.span();
        let name = unique_name("rule", said.name.clone(), seen, self.lines)?;
        let here = |cause: &str| self.lines.at(&span, format!("rule \"{name}\": {cause}"));
        if let Some(everyone) = said.groups.iter().find(|group| *group.get_ref() == Principal::Everyone) {
            return Err(self.lines.at(&everyone.span(), "groups cannot be \"*\", write users = [\"*\"]"));
        }
        if said.users.is_empty() && said.groups.is_empty() && said.executables.is_empty() {
            return Err(here("it says not whom it is about; users = [\"*\"] is everybody"));
        }
        let deny = said.deny.as_ref().is_some_and(|deny| *deny.get_ref());
        if deny && let Some((key, span)) = beside_deny(&said) {
            let why = format!("\"{key}\" does nothing beside deny = true");
            return Err(self.lines.at(&span, why));
        }
        self.reaches(&said)?;
        let define = said.define.as_ref().is_none_or(|define| *define.get_ref());
        let limits = limits(&said.quotas(), Some(self.host), self.lines)?;
        let profiles = said.profiles.map(|list| self.profiles(list.into_inner())).transpose()?;
        if !define && profiles.as_ref().is_some_and(Vec::is_empty) {
            return Err(here("it leaves no profile to use; deny = true says so"));
        }
        Ok(Rule {
            line: self.lines.line(&span),
            users: said.users,
            groups: said.groups.into_iter().map(Spanned::into_inner).collect(),
            executables: self.executables(said.executables)?,
            deny,
            profiles,
            define,
            stores: said.stores.map(|list| self.stores(list)).transpose()?,
            roles: self.roles(said.roles)?,
            connect_to: said.connect_to.is_none_or(Spanned::into_inner),
            minimum: self.minimum(said.minimum, said.level.as_ref().map(|level| *level.get_ref()))?,
            level: self.level(said.level)?,
            limits,
            name,
        })
    }

    /// What is about callers' own parameters says nothing where they have none.
    fn reaches(&self, said: &file::Rule) -> Result<(), ConfigError> {
        let Some(define) = said.define.as_ref().filter(|define| !*define.get_ref()) else { return Ok(()) };
        let own = [
            ("stores", said.stores.as_ref().map(Spanned::span)),
            ("profiles-defined", said.profiles_defined.as_ref().map(Spanned::span)),
            ("profile-bytes", said.profile_bytes.as_ref().map(Spanned::span)),
        ];
        match own.into_iter().find_map(|(key, span)| span.map(|span| (key, span))) {
            None => Ok(()),
            Some((key, span)) => {
                let line = self.lines.line(&define.span());
                let why = format!("\"{key}\" does nothing with define = false (line {line})");
                Err(self.lines.at(&span, why))
            }
        }
    }

    fn executables(&self, said: Vec<Spanned<PathBuf>>) -> Result<Vec<PathBuf>, ConfigError> {
        let absolute = |path: Spanned<PathBuf>| {
            if path.get_ref().is_absolute() {
                return Ok(path.into_inner());
            }
            let why = format!("\"{}\" is no absolute path", path.get_ref().display());
            Err(self.lines.at(&path.span(), why))
        };
        said.into_iter().map(absolute).collect()
    }

    fn profiles(&self, said: Vec<Spanned<String>>) -> Result<Vec<String>, ConfigError> {
        let known: Vec<&str> = self.profiles.iter().map(|profile| profile.name.as_str()).collect();
        self.names(said, "[[profile]]", &known)
    }

    fn stores(&self, said: Spanned<Vec<Spanned<String>>>) -> Result<Vec<String>, ConfigError> {
        let named = self.stores.iter().map(|store| store.name.as_str());
        let known: Vec<&str> = SOURCES.into_iter().chain(named).collect();
        self.names(said.into_inner(), "[[store]]", &known)
    }

    fn names(
        &self,
        said: Vec<Spanned<String>>,
        what: &str,
        known: &[&str],
    ) -> Result<Vec<String>, ConfigError> {
        let there = |name: Spanned<String>| {
            let text = name.get_ref().as_str();
            if known.contains(&text) {
                return Ok(name.into_inner());
            }
            let meant =
                nearest(text, known).map_or(String::new(), |near| format!(", did you mean \"{near}\"?"));
            Err(self.lines.at(&name.span(), format!("there is no {what} named \"{text}\"{meant}")))
        };
        said.into_iter().map(there).collect()
    }

    fn roles(&self, said: Option<Spanned<Vec<Role>>>) -> Result<Vec<Role>, ConfigError> {
        match said {
            None => Ok(vec![Role::Server, Role::Client]),
            Some(none) if none.get_ref().is_empty() => Err(self
                .lines
                .at(&none.span(), "\"roles\" is empty, which leaves no session; deny = true says so")),
            Some(roles) => Ok(roles.into_inner()),
        }
    }

    fn minimum(
        &self,
        said: Option<Spanned<Version>>,
        level: Option<Level>,
    ) -> Result<Option<Version>, ConfigError> {
        let Some(said) = said else { return Ok(level.map(Level::least_version)) };
        let (version, floor) = (*said.get_ref(), self.floor.0);
        if version < floor {
            let why = format!("minimum {version} is below the host's floor {floor}, which counts");
            return Err(self.lines.at(&said.span(), why));
        }
        if let Some(level) = level.filter(|level| version < level.least_version()) {
            let least = level.least_version();
            let why = format!("minimum {version} is below level \"{level}\", which begins with {least}");
            return Err(self.lines.at(&said.span(), why));
        }
        Ok(Some(version))
    }

    fn level(&self, said: Option<Spanned<Level>>) -> Result<Option<Level>, ConfigError> {
        let Some(said) = said else { return Ok(None) };
        let level = *said.get_ref();
        match self.floor.1.filter(|host| level < *host) {
            None => Ok(Some(level)),
            Some(host) => {
                let why = format!("level \"{level}\" is below the host's \"{host}\", which counts");
                Err(self.lines.at(&said.span(), why))
            }
        }
    }
}

/// What a rule says beside `deny = true`, which nobody would ever hear of.
fn beside_deny(said: &file::Rule) -> Option<(&'static str, std::ops::Range<usize>)> {
    let small = |quota: &Option<Spanned<u32>>| quota.as_ref().map(Spanned::span);
    let all = [
        ("profiles", said.profiles.as_ref().map(Spanned::span)),
        ("define", said.define.as_ref().map(Spanned::span)),
        ("stores", said.stores.as_ref().map(Spanned::span)),
        ("roles", said.roles.as_ref().map(Spanned::span)),
        ("connect-to", said.connect_to.as_ref().map(Spanned::span)),
        ("minimum", said.minimum.as_ref().map(Spanned::span)),
        ("level", said.level.as_ref().map(Spanned::span)),
        ("sessions", small(&said.sessions)),
        ("handshakes", small(&said.handshakes)),
        ("handshakes-per-second", small(&said.handshakes_per_second)),
        ("handshake-burst", small(&said.handshake_burst)),
        ("profiles-defined", small(&said.profiles_defined)),
        ("profile-bytes", said.profile_bytes.as_ref().map(Spanned::span)),
        ("connections", small(&said.connections)),
    ];
    all.into_iter().find_map(|(key, span)| span.map(|span| (key, span)))
}

#[cfg(test)]
#[path = "rule_tests.rs"]
mod tests;
