//! A caller in a process of its own: this very test binary, started again to run one part only. It can be killed, and
//! it can be somebody else.

use std::env;
use std::io::Write;
use std::process::Command;

use nix::unistd::{Gid, Uid, getuid, setgid, setgroups, setuid};

use crate::program::Program;

/// Says which part the process plays; nothing without it.
const PART: &str = "TLSIFY_TEST_PART";
/// The uid and gid that it takes on first.
const UID: &str = "TLSIFY_TEST_UID";

/// Starts this test binary again: only `test`, with this part to play and these variables.
pub fn child(test: &str, part: &str, variables: &[(&str, &str)]) -> Program {
    let mut command = Command::new(env::current_exe().expect("a process knows its program"));
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(PART, part);
    Program::start(command.envs(variables.iter().copied()))
}

/// The same as another user, whose only group has the same number. Needs root.
pub fn child_as(uid: u32, test: &str, part: &str, variables: &[(&str, &str)]) -> Program {
    let uid = uid.to_string();
    let mut all = vec![(UID, uid.as_str())];
    all.extend(variables);
    child(test, part, &all)
}

/// In the child: the part that it plays, as the user that it is to be. In any other run of the test: nothing.
///
/// # Panics
/// When it cannot become that user.
pub fn part() -> Option<String> {
    let part = env::var(PART).ok()?;
    if let Some(id) = env::var(UID).ok().and_then(|uid| uid.parse().ok()) {
        setgroups(&[]).and_then(|()| setgid(Gid::from_raw(id))).expect("root may leave its groups");
        setuid(Uid::from_raw(id)).expect("root may become anybody");
    }
    Some(part)
}

/// In the child: a variable that it was given.
///
/// # Panics
/// When it was not.
pub fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// In the child: a line for [`Program::line_with`].
pub fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "\n{line}");
}

/// Whether this process may become somebody else. If not, one line says what is skipped.
pub fn is_root(what: &str) -> bool {
    let root = getuid().is_root();
    if !root {
        // Past the test harness, as for missing tools.
        let _ = writeln!(std::io::stderr(), "skipped: {what} needs root");
    }
    root
}
