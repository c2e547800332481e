//! Sockets from outside: a service manager's, and a parent's.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Command;

use nix::sys::signal::Signal;
use tlsify_client::Client;
use tlsifyd_tests::built;
use tlsifyd_tests::daemon::seqpacket_pair;
use tlsifyd_tests::handover::open_as;
use tlsifyd_tests::{KeyKind, Options, Program, TempDir, TestDaemon, pki};

use super::{listening, text, tlsifyd, wait_for, with_profile};

/// `tlsifyd` with this descriptor as number 3. It travels as the standard input, which needs no code between fork and
/// exec; the shell moves it and becomes the daemon.
fn with_third(fd: impl Into<OwnedFd>, variables: &str, args: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    let script = format!("exec 3<&0 0</dev/null; {variables} exec \"$0\" \"$@\"");
    command.env_clear().args(["-c", &script]).arg(built::daemon()).args(args).stdin(fd.into());
    command
}

/// As a service manager starts it.
const PASSED: &str = "LISTEN_PID=$$ LISTEN_FDS=1";

/// The words of a start that fails with status 111.
fn refusal(command: &mut Command) -> String {
    let said = Program::start(command).wait();
    assert_eq!(said.status.code(), Some(111), "{}", said.stderr);
    said.stderr
}

#[test]
fn a_service_managers_socket_is_served_and_left_in_place() {
    let dir = TempDir::new("activated");
    let path = dir.path().join("activated.sock");
    let mut daemon = Program::start(&mut with_third(listening(&path), PASSED, &[]));
    assert!(wait_for(&path).hello().versions.contains(&1));
    daemon.signal(Signal::SIGTERM);
    daemon.wait().ok();
    assert!(path.exists(), "the socket is the service manager's to remove");
}

#[test]
fn callers_who_came_before_the_daemon_are_served() {
    let dir = TempDir::new("queue");
    let path = dir.path().join("sock");
    let socket = listening(&path);
    let early = tlsifyd_tests::running("early caller", {
        let path = path.clone();
        move || Client::connect_to(path).expect("the socket keeps callers until the daemon is there")
    });
    let _daemon = Program::start(&mut with_third(socket, PASSED, &[]));
    assert!(early.join().hello().versions.contains(&1));
}

#[test]
fn variables_for_another_process_are_not_ours() {
    let dir = TempDir::new("others");
    let (theirs, ours) = (dir.path().join("theirs"), dir.path().join("ours"));
    let command =
        &mut with_third(listening(&theirs), "LISTEN_PID=1 LISTEN_FDS=1", &["--socket", text(&ours)]);
    let _daemon = Program::start(command);
    wait_for(&ours);
}

#[test]
fn a_socket_of_the_wrong_kind_names_the_line_of_the_unit() {
    let stream = UnixStream::pair().expect("descriptors are free").0;
    assert_eq!(
        refusal(&mut with_third(stream, PASSED, &[])),
        "tlsifyd: descriptor 3 from LISTEN_FDS is a SOCK_STREAM socket, expected a listening AF_UNIX \
         SOCK_SEQPACKET socket (ListenSequentialPacket= in the socket unit)\n"
    );
    let tcp = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    assert!(refusal(&mut with_third(tcp, PASSED, &[])).contains("is an IP socket, expected"));
}

#[test]
fn a_private_daemon_wants_one_end_of_a_pair_and_nothing_else() {
    let dir = TempDir::new("private");
    let private = |fd: OwnedFd| refusal(&mut with_third(fd, "", &["--private", "3"]));
    let file = File::open("/dev/null").expect("it is everywhere");
    assert_eq!(
        private(file.into()),
        "tlsifyd: descriptor 3 from --private is no socket, expected a connected AF_UNIX SOCK_SEQPACKET socket \
         (one end of a socketpair)\n"
    );
    assert!(private(listening(&dir.path().join("sock"))).contains("is listening, expected a connected"));
    let stream = UnixStream::pair().expect("descriptors are free").0;
    assert!(private(stream.into()).contains("is a SOCK_STREAM socket, expected"));
    let absent = Program::run(&mut tlsifyd(&["--private", "99"]));
    assert_eq!(absent.status.code(), Some(111), "{}", absent.stderr);
    assert!(absent.stderr.contains("99"), "{}", absent.stderr);
}

#[test]
fn a_private_daemon_whose_caller_is_gone_already_ends() {
    let (ours, theirs) = seqpacket_pair();
    drop(ours);
    let said = Program::start(&mut with_third(theirs, "", &["--private", "3"])).wait();
    // Either it saw the end, or the socket was no connection any more: it never waits.
    assert!(matches!(said.status.code(), Some(0 | 111)), "{}", said.stderr);
}

#[test]
fn a_private_daemon_stays_for_the_sessions_of_a_caller_who_left() {
    let config = with_profile("", "web", pki().server(KeyKind::EcdsaP256));
    let mut daemon = TestDaemon::private_with(Options { config: Some(config), ..Options::default() });
    let client = daemon.client();
    let mut open = open_as(&client, "web");
    drop((client, open.established));
    daemon.hang_up();
    use std::io::{Read, Write};
    open.plain.write_all(b"still here").expect("the session is open");
    assert_eq!(open.peer.read_exact(10).expect("the session is open"), b"still here");
    assert!(daemon.poll().is_none(), "it left a session alone: {}", daemon.log());
    open.plain.shutdown(std::net::Shutdown::Write).expect("the session is open");
    open.peer.close_notify().expect("the session is open");
    assert_eq!(open.plain.read(&mut [0; 1]).expect("a clean end"), 0);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn nothing_inherited_by_accident_reaches_the_daemons_children_or_callers() {
    // The daemon's descriptors are close-on-exec, all but the standard three and what came in without being meant.
    let daemon = TestDaemon::start();
    let _client = daemon.client();
    // What this process was given and gives on is its starter's doing.
    let links = |pid: u32| {
        let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten();
        entries.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect::<Vec<_>>()
    };
    let given = links(std::process::id());
    let folders = daemon.pids().into_iter().map(|pid| format!("/proc/{pid}"));
    for (process, entry) in folders.flat_map(|process| {
        let entries = std::fs::read_dir(format!("{process}/fdinfo")).expect("it runs");
        entries.map(move |entry| (process.clone(), entry))
    }) {
        let path = entry.expect("an entry").path();
        let number: u32 = text(&path).rsplit('/').next().and_then(|n| n.parse().ok()).expect("a number");
        let leads_to = std::fs::read_link(format!("{process}/fd/{number}")).unwrap_or_default();
        let is_ours = !text(&leads_to).starts_with('/') && !given.contains(&leads_to);
        let Some(flags) = std::fs::read_to_string(&path).ok().and_then(|info| {
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(flags.trim(), 8).ok()
        }) else {
            continue;
        };
        // O_CLOEXEC is 02000000 in /proc, on every architecture of interest.
        assert!(number < 3 || !is_ours || flags & 0o2_000_000 != 0, "{number} ({leads_to:?}) is inheritable");
    }
}
