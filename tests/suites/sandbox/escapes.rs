//! Attempts from inside the real processes, after their start.

use std::os::unix::process::ExitStatusExt;

use nix::libc::SIGSYS;
use tlsifyd_tests::{Options, TestDaemon};

use super::{DIALER, KEYHOLDER, Plan, WORKER, end, is_root, logged, part, start_dialer};

/// Has the next process of this name make the attempt, and waits for what the log says of it.
fn tried(process: &str, word: &str, attempt: &str, said: &str) {
    let plan = Plan::new();
    let daemon = plan.daemon();
    let first = if process == DIALER { start_dialer(&daemon) } else { part(&daemon, process) };
    plan.set(word, attempt);
    end(first);
    if process == DIALER {
        // Another one is started when it is needed.
        logged(&daemon, "the dialer was killed by SIGKILL");
        start_dialer(&daemon);
    }
    logged(&daemon, said);
    assert!(!daemon.log().contains("it came out"), "{word}: {attempt}\n{}", daemon.log());
    // The daemon goes on: callers are served, and the part is there again.
    if process == DIALER {
        start_dialer(&daemon);
    }
    part(&daemon, process);
    drop(daemon.client());
}

fn killed(process: &str, word: &str, attempts: &[&str]) {
    for attempt in attempts {
        tried(process, word, attempt, &format!("{word} was killed by its sandbox (SIGSYS)"));
    }
}

fn refused(process: &str, word: &str, attempts: &[&str]) {
    for attempt in attempts {
        tried(process, word, attempt, &format!("{word}: {attempt}: refused"));
    }
}

#[test]
fn a_worker_that_was_taken_over_opens_nothing() {
    refused(WORKER, "worker", &["open-passwd", "open-in-a-callers-folder", "open-own-memory"]);
}

#[test]
fn a_worker_that_was_taken_over_is_killed_at_its_first_socket_program_or_trace() {
    killed(WORKER, "worker", &["socket-internet", "execute", "trace", "process"]);
}

#[test]
fn a_keyholder_that_was_taken_over_tells_nobody() {
    refused(KEYHOLDER, "keyholder", &["open-passwd", "write-file"]);
    killed(KEYHOLDER, "keyholder", &["socket-unix", "connect", "execute", "read-others-memory"]);
}

#[test]
fn a_dialer_that_was_taken_over_connects_and_nothing_else() {
    refused(DIALER, "dialer", &["open-shadow", "map-writable-code"]);
    killed(DIALER, "dialer", &["execute", "trace"]);
}

#[test]
fn a_supervisor_reaches_its_places_only_and_no_other_process() {
    if !is_root() {
        return;
    }
    let plan = Plan::new();
    plan.set("supervisor", "open-shadow");
    let daemon = plan.daemon();
    logged(&daemon, "supervisor: open-shadow: refused");
    drop(daemon);
    plan.set("supervisor", "trace");
    let dir = tlsifyd_tests::TempDir::new("alone");
    let mut command = std::process::Command::new(tlsifyd_tests::built::daemon());
    command.arg("--socket").arg(dir.path().join("sock")).env("TLSIFYD_TEST_ESCAPE", plan.file());
    let status = command.stderr(std::process::Stdio::null()).status().expect("it starts");
    assert_eq!(status.signal(), Some(SIGSYS));
}

#[test]
fn a_plan_for_somebody_else_is_nobodys() {
    let plan = Plan::new();
    plan.set("nobody", "open-passwd");
    let file = plan.file().to_str().expect("a path of letters").to_owned();
    let env = vec![("TLSIFYD_TEST_ESCAPE".to_owned(), file)];
    let daemon = TestDaemon::with(Options { env, ..Options::default() });
    assert!(plan.file().exists() && !daemon.log().contains("nobody"), "{}", daemon.log());
}
