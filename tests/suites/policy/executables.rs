//! Rules by what a caller runs. Only a convenience: these tests show that it works, not that it stops anybody.

use std::path::Path;
use std::process::Command;

use tlsifyd_tests::user::{User, is_root};
use tlsifyd_tests::{Program, TempDir, TestDaemon, built};

use super::reload;

/// A program under another name, which asks the daemon who it is.
fn asks(program: &Path, daemon: &TestDaemon) -> tlsifyd_tests::program::Output {
    let mut command = Command::new(program);
    Program::run(command.args(["status", "--mine", "--callers", "--json", "--socket"]).arg(daemon.socket()))
}

/// The rule that the program is under.
fn rule_of(program: &Path, daemon: &TestDaemon) -> Option<String> {
    let said = asks(program, daemon).ok();
    let answer: serde_json::Value = serde_json::from_str(&said).unwrap();
    let callers = answer["callers"].as_array().unwrap();
    assert_eq!(callers.len(), 1, "the one who asks: {answer}");
    callers[0]["rule"].as_str().map(str::to_owned)
}

#[test]
fn a_rule_by_executable_is_about_that_file_and_no_copy_of_it() {
    let dir = TempDir::new("executable");
    let copy = dir.path().join("copied");
    std::fs::copy(built::daemon(), &copy).unwrap();
    // By a link to it: what the kernel calls it counts.
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&copy, &link).unwrap();
    let rules = |path: &Path, says: &str| {
        let path = path.display();
        format!(
            "[[rule]]\nname = \"copied\"\nusers = [\"*\"]\nexecutables = [\"{path}\"]\n{says}\n\
             [[rule]]\nname = \"rest\"\nusers = [\"*\"]\n"
        )
    };
    let daemon = TestDaemon::with_config(rules(&link, ""));
    assert_eq!(rule_of(&copy, &daemon).as_deref(), Some("copied"));
    assert_eq!(rule_of(&link, &daemon).as_deref(), Some("copied"));
    assert_eq!(rule_of(built::daemon(), &daemon).as_deref(), Some("rest"));
    let baseline = daemon.baseline();
    reload(&daemon, &rules(&copy, "deny = true"));
    let refused = asks(&copy, &daemon);
    assert_eq!(refused.status.code(), Some(97), "{refused:?}");
    assert!(refused.stderr.contains("may not use this daemon (rule \"copied\")"), "{refused:?}");
    assert_eq!(rule_of(built::daemon(), &daemon).as_deref(), Some("rest"));
    // The descriptors of processes that were looked at are not kept.
    daemon.settled_fds(&baseline);
}

#[test]
fn a_rule_by_executable_is_about_other_users_too_where_root_has_started_the_daemon() {
    if !is_root("a rule by executable about somebody else") {
        return;
    }
    let own = std::env::current_exe().unwrap();
    let rule = format!("[[rule]]\nname = \"tests\"\nexecutables = [\"{}\"]\ndefine = false\n", own.display());
    let daemon = TestDaemon::with_config(rule);
    let client = User::new(4711).client(&daemon);
    let identity = tlsifyd_tests::pki().server(tlsifyd_tests::KeyKind::EcdsaP256);
    let told = super::refused(super::define(&client, "own", identity));
    assert!(told.text.ends_with("(rule \"tests\")"), "{told:?}");
}

#[test]
fn a_rule_by_executable_that_comes_with_a_reload_is_about_callers_who_are_there() {
    // Root's daemon looks at programs only if it has started with a rule that asks.
    let daemon = TestDaemon::with_config("[[rule]]\nname = \"none\"\nexecutables = [\"/nonexistent/x\"]\n");
    let client = daemon.client();
    super::define(&client, "own", tlsifyd_tests::pki().server(tlsifyd_tests::KeyKind::EcdsaP256)).unwrap();
    let own = std::env::current_exe().unwrap();
    reload(
        &daemon,
        &format!("[[rule]]\nname = \"tests\"\nexecutables = [\"{}\"]\ndefine = false\n", own.display()),
    );
    let told = super::refused(super::try_profile(&client, "own"));
    assert!(told.text.ends_with("(rule \"tests\")"), "{told:?}");
}
