//! `tlsifyd check --for USER`: which rule counts for a user, and what follows from it.

use std::ffi::CString;
use std::io::Write;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User, getgrouplist};
use tlsify_protocol::Role;

use super::check::CheckError;
use super::gather::Disk;
use super::keys::InProcess;
use super::operator::{ConfigPlace, Loaded};
use crate::engine::Operator;
use crate::policy::{CallerCred, Limits, Rule, Ruling};

/// Whom the question is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// A user's name or number.
    pub user: String,
    /// What it runs; `None`: something that no rule names.
    pub executable: Option<PathBuf>,
}

/// Loads what `place` names and writes which rule counts, and what the user then may.
///
/// # Errors
/// Something cannot be used, or there is no such user.
pub fn check_for(place: &ConfigPlace, asked: &Asked, out: &mut impl Write) -> Result<(), CheckError> {
    let loaded = Loaded::load(place, &Disk::default(), &mut InProcess::to_check())?;
    let operator = &loaded.operator;
    let cred = credentials(&asked.user)?;
    let runs = asked.executable.as_ref().map(|path| path.canonicalize().unwrap_or_else(|_| path.clone()));
    let ruling = operator.rules.of(&cred, runs.as_deref());
    let groups: Vec<String> = cred.groups.iter().map(u32::to_string).collect();
    let which = match ruling.name() {
        Some(name) => format!("rule \"{name}\" counts"),
        None => "no rule is about it, so [limits] and [tls] count".to_owned(),
    };
    writeln!(out, "{} (uid {}, groups {}): {which}", asked.user, cred.uid, groups.join(" "))?;
    if asked.executable.is_none() {
        for rule in operator.rules.iter().take_while(|rule| Some(*rule) != ruling.rule()) {
            if rule.who.allows(&cred) {
                let paths: Vec<_> = rule.executables.iter().map(|path| path.display().to_string()).collect();
                writeln!(out, "  but rule \"{}\" when it runs {}", rule.name, paths.join(" or "))?;
            }
        }
    }
    if let Err(forbidden) = ruling.enter(&cred) {
        writeln!(out, "  {forbidden}")?;
        return Ok(out.flush()?);
    }
    writeln!(out, "  profiles of the operator: {}", usable(operator, &ruling, &cred))?;
    for line in ruling.rule().map(|rule| what_it_says(rule)).unwrap_or_default() {
        writeln!(out, "  {line}")?;
    }
    let (version, level) = ruling.floor(operator.floor, operator.level);
    let level = level.map_or(String::new(), |level| format!(", level {}", level.as_str()));
    writeln!(out, "  no session below TLS {}{level}", version.as_str())?;
    writeln!(out, "  {}", numbers(&ruling.limits(&operator.limits)))?;
    Ok(out.flush()?)
}

/// What a rule forbids, a sentence each.
pub(super) fn what_it_says(rule: &Rule) -> Vec<String> {
    let mut says = Vec::new();
    if !rule.define {
        says.push("no parameters of its own".to_owned());
    }
    if let Some(stores) = &rule.stores {
        let listed = if stores.is_empty() { "nobody".to_owned() } else { stores.join(", ") };
        says.push(format!("its own parameters may trust: {listed}"));
    }
    match rule.roles[..] {
        [Role::Server] => says.push("TLS server only".to_owned()),
        [Role::Client] => says.push("TLS client only".to_owned()),
        _ => {}
    }
    if !rule.connect_to {
        says.push("no sockets are connected for it".to_owned());
    }
    says
}

/// Quotas as a sentence.
pub(super) fn numbers(limits: &Limits) -> String {
    let pace = limits.handshake_rate.map_or(String::new(), |rate| {
        format!(", {} handshakes a second ({} at once)", rate.per_second, rate.burst)
    });
    format!(
        "{} sessions, {} handshakes in flight{pace}, {} profiles of {} bytes, {} control connections",
        limits.sessions, limits.handshakes, limits.profiles, limits.profile_bytes, limits.connections
    )
}

fn usable(operator: &Operator, ruling: &Ruling, cred: &CallerCred) -> String {
    let mut names: Vec<&str> = operator
        .profiles
        .iter()
        .filter(|(name, known)| known.grant.allows(cred) && ruling.profile(cred, name).is_ok())
        .filter(|(name, known)| operator.profile(name, known, ruling).is_ok())
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A user as the kernel would show it, with the groups of the user database.
fn credentials(user: &str) -> Result<CallerCred, CheckError> {
    let unknown = || CheckError::NoUser(user.to_owned());
    let number = user.parse::<u32>().ok();
    let found = match number {
        Some(uid) => User::from_uid(Uid::from_raw(uid)),
        None => User::from_name(user),
    };
    match (found, number) {
        (Ok(Some(user)), _) => {
            let name = CString::new(user.name).map_err(|_| unknown())?;
            let groups = getgrouplist(&name, user.gid).unwrap_or_else(|_| vec![user.gid]);
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            Ok(CallerCred { uid, gid, groups: groups.into_iter().map(Gid::as_raw).collect(), pid: 0 })
        }
        // A number needs no entry: a container's users have none here.
        (_, Some(uid)) => Ok(CallerCred { uid, gid: uid, groups: vec![uid], pid: 0 }),
        (_, None) => Err(unknown()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::test_folder::Folder;

    fn asked(text: &str, user: &str, executable: Option<&str>) -> String {
        let folder = Folder::new();
        let path = folder.path("tlsifyd.toml");
        fs::write(&path, text).unwrap();
        let mut out = Vec::new();
        let question = Asked { user: user.to_owned(), executable: executable.map(PathBuf::from) };
        check_for(&ConfigPlace { path, required: true }, &question, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const RULES: &str = "[[profile]]\nname = \"db\"\nrole = \"client\"\nusers = [\"*\"]\n\
        [[profile]]\nname = \"other\"\nrole = \"client\"\nusers = [4000001]\n\
        [[rule]]\nname = \"cat\"\nusers = [4000000]\nexecutables = [\"/bin/cat\"]\nsessions = 1\n\
        [[rule]]\nname = \"web\"\nusers = [4000000]\nroles = [\"client\"]\nstores = [\"pins\"]\nconnect-to = false\n\
        level = \"modern\"\nhandshakes-per-second = 5\n\
        [[rule]]\nname = \"guests\"\nusers = [4000001]\ndeny = true\n";

    #[test]
    fn the_rule_that_counts_is_named_with_what_follows() {
        let out = asked(RULES, "4000000", None);
        for line in [
            "4000000 (uid 4000000, groups 4000000): rule \"web\" counts",
            "  but rule \"cat\" when it runs /",
            "  profiles of the operator: db\n",
            "  its own parameters may trust: pins\n",
            "  TLS client only\n",
            "  no sockets are connected for it\n",
            "  no session below TLS 1.3, level modern\n",
            ", 5 handshakes a second (5 at once), ",
        ] {
            assert!(out.contains(line), "{line} is not in {out}");
        }
        let out = asked(RULES, "4000000", Some("/bin/cat"));
        assert!(out.contains(": rule \"cat\" counts\n") && out.contains("  1 sessions, "), "{out}");
    }

    #[test]
    fn who_is_denied_or_has_no_rule_is_told_so() {
        let out = asked(RULES, "4000001", None);
        assert!(out.ends_with("\n  uid 4000001 may not use this daemon (rule \"guests\")\n"), "{out}");
        let out = asked(RULES, "root", None);
        assert!(out.starts_with("root (uid 0, groups 0") && out.contains("no rule is about it"), "{out}");
    }
}
