//! Programs of others that interoperability is tested with. A machine without one of them skips those tests and says
//! so; where `TLSIFY_REQUIRE_TOOLS=1`, it fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, io::Write};

use std::os::unix::fs::PermissionsExt;

/// The programs that suites may ask for, and the Debian package of each.
pub const PACKAGES: &[(&str, &str)] = &[
    ("curl", "curl"),
    ("openssl", "openssl"),
    ("gnutls-cli", "gnutls-bin"),
    ("gnutls-serv", "gnutls-bin"),
    ("python3", "python3"),
    ("cc", "gcc"),
    ("setpriv", "util-linux"),
    ("strace", "strace"),
    ("nginx", "nginx-light"),
    ("ip", "iproute2"),
    ("busybox", "busybox-static"),
    ("git", "git"),
    ("bash", "bash"),
    ("tcpserver", "ucspi-tcp"),
    ("tcpclient", "ucspi-tcp"),
    ("socat", "socat"),
    ("aiosmtpd", "python3-aiosmtpd"),
    ("mandoc", "mandoc"),
    ("selfserv", "libnss3-tools"),
    ("certutil", "libnss3-tools"),
    ("pk12util", "libnss3-tools"),
    ("memcached", "memcached"),
    ("redis-server", "redis-server"),
    ("ssh-agent", "openssh-client"),
    ("ssh-add", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("gpg-agent", "gpg-agent"),
    ("softhsm2-util", "softhsm2"),
];

/// The program, if this machine has it. If not, one line says what is skipped: a test then returns early.
///
/// # Panics
/// When it is missing and `TLSIFY_REQUIRE_TOOLS=1`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        missing(name, are_required());
    }
    found
}

/// A program that no package has, if it was built: by this command, which CI runs before the tests. If not, one line says
/// what is skipped.
///
/// # Panics
/// When it is missing and `TLSIFY_REQUIRE_TOOLS=1`.
pub fn built_by(command: &str, file: &Path) -> Option<PathBuf> {
    let found = Some(file.to_owned()).filter(|file| is_program(file));
    if found.is_none() {
        skip(&format!("{}, which {command} builds", file.display()), are_required());
    }
    found
}

/// The program, if this machine has it.
pub fn find(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

/// Whether a missing program is a failure: `TLSIFY_REQUIRE_TOOLS=1`.
pub fn are_required() -> bool {
    env::var_os("TLSIFY_REQUIRE_TOOLS").is_some_and(|value| value == "1")
}

fn missing(name: &str, required: bool) {
    let package = PACKAGES.iter().find(|(program, _)| *program == name).map_or(name, |(_, package)| package);
    skip(&format!("{name} (Debian package {package})"), required);
}

fn skip(what: &str, required: bool) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    assert!(!required, "needs {what}, and TLSIFY_REQUIRE_TOOLS=1");
    let mut said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if said.insert(what.to_owned()) {
        // Past the test harness, which keeps what a test that passes prints to itself.
        let _ = writeln!(std::io::stderr(), "skipped: needs {what}");
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_everybody_has_is_found() {
        assert!(tool("sh").is_some());
    }

    #[test]
    #[should_panic(expected = "needs gnutls-cli (Debian package gnutls-bin)")]
    fn a_missing_program_fails_where_all_are_required() {
        missing("gnutls-cli", true);
    }
}
