//! From `[[rule]]`s to what the engine asks: names become numbers, paths what the kernel calls them, gaps are filled.

use std::path::{Path, PathBuf};

use tlsify_protocol::Role;

use super::{principals, specs};
use crate::config::{self, Config, ConfigError};
use crate::policy::{Grant, Limits, Rule, Rules};

/// The rules of a configuration; `host` is what counts for who has none. What will not do what it says is added to
/// `warnings`.
///
/// # Errors
/// A user or group that is not known here, with the rule's line.
pub(super) fn load(config: &Config, host: &Limits, warnings: &mut Vec<String>) -> Result<Rules, ConfigError> {
    let rules: Result<Vec<Rule>, _> =
        config.rules.iter().map(|said| rule(config, said, host, warnings)).collect();
    Ok(Rules::new(rules?))
}

fn rule(
    config: &Config,
    said: &config::Rule,
    host: &Limits,
    warnings: &mut Vec<String>,
) -> Result<Rule, ConfigError> {
    let who = if said.users.is_empty() && said.groups.is_empty() {
        // There are executables: the file was checked for that.
        Grant::everyone()
    } else {
        principals::grant(&said.users, &said.groups).map_err(|cause| {
            ConfigError::new(&config.path, Some(said.line), format!("rule \"{}\": {cause}", said.name))
        })?
    };
    let mut named = |path: &PathBuf| match real(path) {
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

/// As the kernel names a process's executable: without links on the way.
fn real(path: &Path) -> Result<PathBuf, String> {
    path.canonicalize().map_err(|error| super::reason(&error).to_string())
}

fn role(role: config::Role) -> Role {
    match role {
        config::Role::Server => Role::Server,
        config::Role::Client => Role::Client,
    }
}
