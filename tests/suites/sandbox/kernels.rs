//! Kernels that lack something, which debug builds can be told to be on.

use tlsifyd_tests::family::status;
use tlsifyd_tests::{Options, Program, TempDir, TestDaemon, built};

use super::{WORKER, part};

fn on(kernel: &str, config: &str) -> Options {
    let env = vec![("TLSIFYD_TEST_KERNEL".to_owned(), kernel.to_owned())];
    Options { config: Some(config.to_owned()), env, ..Options::default() }
}

#[test]
fn what_an_old_kernel_lacks_is_said_once_and_the_rest_is_done() {
    let daemon = TestDaemon::with(on("landlock=3 mdwe=no", ""));
    let log = daemon.log();
    let count = |text: &str| log.matches(text).count();
    assert_eq!(count("this kernel has no landlock's rules for TCP (Linux 6.7): "), 1, "{log}");
    assert_eq!(count("this kernel has no landlock's scopes"), 1, "{log}");
    assert_eq!(count("this kernel has no PR_SET_MDWE (Linux 6.3): "), 1, "{log}");
    assert_eq!(count("this kernel has no "), 3, "{log}");
    assert_eq!(status(part(&daemon, WORKER), "Seccomp"), "2");
}

#[test]
fn without_filters_and_rules_it_still_serves_and_says_what_is_lost() {
    let daemon = TestDaemon::with(on("landlock=0 seccomp=no", ""));
    assert!(daemon.log().contains("every part can make every system call that its user may make"));
    assert_eq!(status(part(&daemon, WORKER), "Seccomp"), "0");
    assert_eq!(status(part(&daemon, WORKER), "NoNewPrivs"), "1");
}

#[test]
fn where_it_is_required_an_old_kernel_is_none() {
    let dir = TempDir::new("required");
    let config = dir.path().join("tlsifyd.toml");
    std::fs::write(&config, "[sandbox]\nmode = \"required\"\n").expect("the temporary folder can be written");
    let mut command = std::process::Command::new(built::daemon());
    command.arg("--config").arg(&config).arg("--socket").arg(dir.path().join("sock"));
    command.env_clear().env("TLSIFYD_TEST_KERNEL", "landlock=5");
    let output = Program::run(&mut command);
    assert_eq!(output.status.code(), Some(96), "{output:?}");
    let said = output.stderr.clone();
    assert!(said.contains("this kernel has no landlock's scopes"), "{said}");
    assert!(said.contains("[sandbox] mode = \"required\" asks for it"), "{said}");
}

#[test]
fn where_it_is_required_a_new_kernel_serves() {
    let daemon = TestDaemon::with(on("", "[sandbox]\nmode = \"required\"\n"));
    assert_eq!(status(part(&daemon, WORKER), "Seccomp"), "2");
}
