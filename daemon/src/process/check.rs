//! `tlsifyd check`: everything is loaded as at a start, and nothing is served.

use std::io::{self, Write};

use rustix::process::geteuid;

use super::gather::Disk;
use super::keys::InProcess;
use super::operator::{ConfigPlace, Loaded};
use super::pool::SystemPool;
use super::rules;
use super::sandbox::{Part, Settings, Users};
use super::signers::{self, Looked};
use crate::config::ConfigError;

/// Why a check did not end well.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The configuration, or something it names, cannot be used.
    #[error(transparent)]
    Configuration(#[from] ConfigError),
    /// There is no such user to ask about.
    #[error("there is no user named \"{0}\"")]
    NoUser(String),
    /// The result cannot be written.
    #[error("cannot write the result: {0}")]
    Write(#[from] io::Error),
}

/// Loads what `place` names and writes what would be served, one fact a line, warnings last.
///
/// # Errors
/// Something cannot be used; nothing has been written then.
pub fn check(place: &ConfigPlace, pool: &SystemPool, out: &mut impl Write) -> Result<(), CheckError> {
    let loaded = Loaded::load(place, &Disk::default(), &mut InProcess::to_check())?;
    // Whoever asks: the daemon is started as root, or does not mind.
    let (users, note) =
        Users::for_root(&loaded.config.sandbox).map_err(|why| ConfigError::new(&place.path, None, why))?;
    let root = geteuid().is_root();
    let limits = &loaded.operator.limits;
    writeln!(
        out,
        "{}: {}",
        place.path.display(),
        if place.path.exists() { "good" } else { "absent, the defaults count" }
    )?;
    writeln!(out, "no session below TLS {}", loaded.config.floor)?;
    if let Some(level) = loaded.config.level {
        writeln!(out, "no session below level {level}")?;
    }
    writeln!(out, "each user: {}; {} sessions in all", super::asked::numbers(limits), limits.total_sessions)?;
    let mut warnings = loaded.warnings;
    match pool.get() {
        Ok(roots) => writeln!(out, "the system's CAs: {} certificates", roots.count())?,
        Err(error) => warnings.push(error.to_string()),
    }
    if let Some(note) = note.filter(|_| root) {
        writeln!(out, "{note}")?;
    }
    for line in loaded.inventory {
        writeln!(out, "{line}")?;
    }
    let token = Settings {
        mode: loaded.config.sandbox.mode,
        ids: users.of(Part::Token).filter(|_| root),
        ..Settings::default()
    };
    for signer in &loaded.config.signers {
        let Looked { line, warnings: found } = signers::look(signer, &loaded.config, &token);
        writeln!(out, "{line}")?;
        warnings.extend(found);
    }
    for line in rules::described(&loaded.config, &loaded.operator.rules) {
        writeln!(out, "{line}")?;
    }
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    out.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::pool::PoolPlace;
    use crate::process::test_folder::Folder;

    fn checked(folder: &Folder, text: &str) -> Result<String, CheckError> {
        let path = folder.path("tlsifyd.toml");
        fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        let place = ConfigPlace { path, required: true };
        check(&place, &SystemPool::at(PoolPlace::default()), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_would_be_served_is_said_and_a_missing_pool_is_a_warning() {
        let folder = Folder::new();
        let text =
            "[limits]\nsessions = 7\n[[profile]]\nname = \"db\"\nrole = \"client\"\nusers = [\"*\", 5]\n";
        let out = checked(&folder, text).unwrap();
        for part in [
            ": good\n",
            "no session below TLS 1.2\n",
            "each user: 7 sessions, ",
            "profile \"db\": client, for user *",
        ] {
            assert!(out.contains(part), "{part} is not in {out}");
        }
        assert!(
            out.lines().last().unwrap().starts_with("warning: cannot load the system's CA certificates"),
            "{out}"
        );
    }

    #[test]
    fn the_rules_are_printed_in_the_order_in_which_they_are_asked() {
        let folder = Folder::new();
        let text = "[[rule]]\nname = \"b\"\nusers = [5]\nexecutables = [\"/nonexistent/x\"]\ndefine = false\nsessions = 3\n\
                    [[rule]]\nname = \"a\"\nusers = [\"*\"]\ndeny = true\n";
        let out = checked(&folder, text).unwrap();
        let first =
            "rule \"b\": for user 5, running /nonexistent/x\n  no parameters of its own\n  3 sessions, ";
        let at = out.find(first).unwrap_or_else(|| panic!("{out}"));
        assert!(out[at..].contains("rule \"a\": for user *\n  denied\n"), "{out}");
        assert!(
            out.contains("warning: rule \"b\": /nonexistent/x: no such file or directory; nobody runs it"),
            "{out}"
        );
    }

    #[test]
    fn a_mistake_is_an_error_with_its_line() {
        let folder = Folder::new();
        let error = checked(&folder, "\nworker = 2\n").unwrap_err().to_string();
        assert!(
            error.ends_with("tlsifyd.toml:2: unknown key \"worker\", did you mean \"workers\"?"),
            "{error}"
        );
    }
}
