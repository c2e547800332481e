//! From `[[rule]]`s to what the engine asks: names become numbers, paths what the kernel calls them, gaps are filled.

use std::path::PathBuf;

use tlsify_protocol::Role;

use super::gather::Sources;
use super::{asked, principals, specs};
use crate::config::{self, Config, ConfigError};
use crate::policy::{Grant, Limits, Rule, Rules};

/// The rules of a configuration; `host` is what counts for who has none. What will not do what it says is added to
/// `warnings`.
///
/// # Errors
/// A user or group that is not known here, with the rule's line.
pub(super) fn load(
    config: &Config,
    host: &Limits,
    sources: &dyn Sources,
    warnings: &mut Vec<String>,
) -> Result<Rules, ConfigError> {
    let rules: Result<Vec<Rule>, _> =
        config.rules.iter().map(|said| rule(config, said, host, sources, warnings)).collect();
    Ok(Rules::new(rules?))
}

/// The rules for `tlsifyd check`, in the order in which they are asked.
pub(super) fn described(config: &Config, rules: &Rules) -> Vec<String> {
    let mut lines = Vec::new();
    for (said, rule) in config.rules.iter().zip(rules.iter()) {
        let users = said.users.iter().map(|user| format!("user {user}"));
        let groups = said.groups.iter().map(|group| format!("group {group}"));
        let mut who: Vec<String> = users.chain(groups).collect();
        if who.is_empty() {
            who.push("everybody".to_owned());
        }
        let runs: Vec<String> = said.executables.iter().map(|path| path.display().to_string()).collect();
        let runs = if runs.is_empty() { String::new() } else { format!(", running {}", runs.join(" or ")) };
        lines.push(format!("rule \"{}\": for {}{runs}", said.name, who.join(", ")));
        if rule.deny {
            lines.push("  denied".to_owned());
            continue;
        }
        if let Some(profiles) = &rule.profiles {
            lines.push(format!("  profiles of the operator: {}", profiles.join(", ")));
        }
        lines.extend(asked::what_it_says(rule).into_iter().map(|line| format!("  {line}")));
        let floor = [rule.minimum.map(|version| version.as_str()), rule.level.map(|level| level.as_str())];
        let floor: Vec<&str> = floor.into_iter().flatten().collect();
        if !floor.is_empty() {
            lines.push(format!("  no session below {}", floor.join(", ")));
        }
        if said.limits != config::Limits::default() {
            lines.push(format!("  {}", asked::numbers(&rule.limits)));
        }
    }
    lines
}

fn rule(
    config: &Config,
    said: &config::Rule,
    host: &Limits,
    sources: &dyn Sources,
    warnings: &mut Vec<String>,
) -> Result<Rule, ConfigError> {
    let who = if said.users.is_empty() && said.groups.is_empty() {
        // There are executables: the file was checked for that.
        Grant::everyone()
    } else {
        principals::grant(&said.users, &said.groups, sources).map_err(|cause| {
            ConfigError::new(&config.path, Some(said.line), format!("rule \"{}\": {cause}", said.name))
        })?
    };
    let mut named = |path: &PathBuf| match sources.real(path) {
        Ok(real) => real,
        Err(error) => {
            warnings.push(format!("rule \"{}\": {}: {error}; nobody runs it", said.name, path.display()));
            path.clone()
        }
    };
    Ok(Rule {
        name: said.name.as_str().into(),
        who,
        executables: said.executables.iter().map(&mut named).collect(),
        deny: said.deny,
        profiles: said.profiles.clone(),
        define: said.define,
        stores: said.stores.clone(),
        roles: said.roles.iter().copied().map(role).collect(),
        connect_to: said.connect_to,
        minimum: said.minimum.map(specs::version),
        level: said.level.map(specs::level),
        limits: host.with(&said.limits),
    })
}

fn role(role: config::Role) -> Role {
    match role {
        config::Role::Server => Role::Server,
        config::Role::Client => Role::Client,
    }
}
