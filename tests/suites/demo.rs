//! The newcomer's first command: it shows what it says, fails loudly, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use tlsifyd_tests::built;
use tlsifyd_tests::wait::until;
use tlsifyd_tests::{Program, TempDir, tool};

/// The demonstration in a world where only this folder is temporary.
fn demo(temp: &TempDir, args: &[&str]) -> Command {
    let mut command = Command::new(built::daemon());
    command.env_clear().env("TMPDIR", temp.path()).arg("demo").args(args);
    command
}

/// The folder of a demonstration under way.
fn folder(temp: &TempDir) -> PathBuf {
    let found =
        fs::read_dir(temp.path()).expect("our own folder").next().expect("the demonstration's folder");
    found.expect("an entry").path()
}

fn is_empty(temp: &TempDir) -> bool {
    fs::read_dir(temp.path()).expect("our own folder").next().is_none()
}

/// The process ids that a transcript names: the daemon's and the web server's.
fn pids(transcript: &str) -> Vec<u32> {
    let words: Vec<&str> = transcript.split_whitespace().collect();
    words.windows(2).filter(|two| two[0] == "pid").map(|two| two[1].parse().expect("a number")).collect()
}

fn is_gone(pid: u32) -> bool {
    until(Duration::from_secs(5), || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())).is_some()
}

/// A demonstration that serves, and the page's address.
fn serving(temp: &TempDir) -> (Program, String) {
    let mut program = Program::start(&mut demo(temp, &["--port", "0"]));
    let line = program.line_with("curl --cacert ");
    program.line_with("serving until Ctrl-C");
    (program, line.trim().to_owned())
}

#[test]
fn once_shows_a_verified_round_trip_and_ends_well() {
    let temp = TempDir::new("demo");
    let said = Program::run(&mut demo(&temp, &["--once", "--port", "0"]));
    let (transcript, problems) = (said.stdout.clone(), said.stderr.clone());
    said.ok();
    assert_eq!(problems, "");
    let told = [
        "version        TLSv1.3",
        "cipher suite   TLS_",
        "key exchange   X25519MLKEM768",
        "matched        name localhost",
        "connect fds=net ca name=localhost",
        "accept fds=net profile=demo",
        "| Hello from a web server that has no private key and speaks no TLS.",
    ];
    for what in told {
        assert!(transcript.contains(what), "no \"{what}\" in:\n{transcript}");
    }
    // On both sides, and the same bytes on both.
    assert_eq!(transcript.matches("ended with close-notify").count(), 2, "{transcript}");
    assert!(!transcript.contains("curl"), "nobody serves any more:\n{transcript}");
    assert!(is_empty(&temp), "a folder is left");
    let pids = pids(&transcript);
    assert_eq!(pids.len(), 2, "{transcript}");
    assert!(pids[0] != pids[1] && pids.into_iter().all(is_gone), "{transcript}");
}

#[test]
fn a_port_that_is_taken_is_an_error_with_a_way_out() {
    let temp = TempDir::new("demo");
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = taken.local_addr().expect("it listens").port().to_string();
    let said = Program::run(&mut demo(&temp, &["--once", "--port", &port]));
    assert_eq!(said.status.code(), Some(111), "{}", said.stderr);
    assert_eq!(
        said.stderr,
        format!(
            "tlsifyd: demo: cannot listen on localhost:{port}: another program does\n\
             hint: --port 0 takes any free port\n"
        )
    );
    assert!(is_empty(&temp), "a folder is left");
}

#[test]
fn a_folder_that_cannot_be_made_is_named_as_the_reason() {
    let temp = TempDir::new("demo");
    let mut command = demo(&temp, &["--once", "--port", "0"]);
    let said = Program::run(command.env("TMPDIR", temp.path().join("absent")));
    assert_eq!(said.status.code(), Some(111));
    let expected = "tlsifyd: demo: cannot make a temporary folder: no such file or directory\n";
    assert_eq!(said.stderr, expected);
}

#[test]
fn the_curl_line_works_as_printed() {
    if tool("curl").is_none() {
        return;
    }
    let temp = TempDir::new("demo");
    let (mut program, line) = serving(&temp);
    let page = Program::run(Command::new("sh").args(["-c", &line])).ok();
    assert!(page.contains("no private key") && page.contains("TLSv1.3"), "{page}");
    let unchecked = line.split(" --cacert ").next().expect("a first word").to_owned()
        + &line[line.rfind(' ').expect("an address")..];
    let refused = Program::run(Command::new("sh").args(["-c", &unchecked]));
    assert_eq!(refused.status.code(), Some(60), "curl trusts a stranger: {}", refused.stderr);
    // Both visits are told.
    program.line_with("ended with close-notify");
    program.line_with("failed (alert-received)");
    program.signal(Signal::SIGINT);
    program.wait().ok();
}

#[test]
fn ctrl_c_and_sigterm_leave_no_folder_and_no_process() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let temp = TempDir::new("demo");
        let (mut program, _) = serving(&temp);
        assert!(!is_empty(&temp));
        let pids = pids(&program.stdout());
        program.signal(signal);
        let said = program.wait().ok();
        assert!(said.ends_with("the folder are gone\n"), "{said}");
        assert!(is_empty(&temp), "a folder is left after {signal}");
        assert!(pids.into_iter().all(is_gone), "a process is left after {signal}");
    }
}

#[test]
fn the_web_server_does_not_outlive_a_demonstration_that_was_killed() {
    let temp = TempDir::new("demo");
    let (mut program, _) = serving(&temp);
    let pids = pids(&program.stdout());
    program.signal(Signal::SIGKILL);
    drop(program);
    assert!(pids.into_iter().all(is_gone), "the web server runs on");
}

#[test]
fn a_web_server_that_dies_ends_the_demonstration_with_an_error() {
    let temp = TempDir::new("demo");
    let (program, _) = serving(&temp);
    let server = pids(&program.stdout())[1];
    let pid = nix::unistd::Pid::from_raw(server.try_into().expect("a process id fits"));
    nix::sys::signal::kill(pid, Signal::SIGKILL).expect("it runs");
    let said = program.wait();
    assert_eq!(said.status.code(), Some(111));
    assert!(said.stderr.contains("the web server ended before its time"), "{}", said.stderr);
    assert!(is_empty(&temp), "a folder is left");
}

#[test]
fn the_web_server_is_given_nothing_it_could_tell() {
    let temp = TempDir::new("demo");
    let mut command = demo(&temp, &["--port", "0"]);
    let mut program = Program::start(command.env("SECRET", "of the person who tries it"));
    program.line_with("serving until Ctrl-C");
    let server = pids(&program.stdout())[1];
    let environment = fs::read_to_string(format!("/proc/{server}/environ")).expect("it runs");
    let socket = folder(&temp).join("sock");
    assert_eq!(environment, format!("TLSIFY_SOCK={}\0", socket.display()));
    // Its descriptors: standard ones, listeners, the control connection. No file is among them, so no key is.
    let fds = fs::read_dir(format!("/proc/{server}/fd")).expect("it runs");
    for fd in fds {
        let leads_to = fs::read_link(fd.expect("an entry").path()).unwrap_or_default();
        let leads_to = leads_to.to_string_lossy().into_owned();
        let is_stream = leads_to.starts_with("socket:") || leads_to.starts_with("pipe:");
        // Standard error is the demonstration's own; /dev/null may come from whoever runs the tests.
        assert!(
            is_stream || leads_to.ends_with("/stderr") || leads_to == "/dev/null",
            "the web server holds {leads_to}"
        );
    }
    let mode = |path: PathBuf| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(folder(&temp)), mode(socket)), (0o700, 0o600));
}
