//! Real processes, confined as each part, that try to get out. What each attempt comes to is in one table.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::*;
use crate::sys::{Prepared, attempt, in_a_child};

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Killed,
    Refused,
    Succeeds,
}
use End::{Killed, Refused, Succeeds};

/// Each attempt, and what it comes to in the worker and the keyholder, the dialer, a token, and the supervisor of a root.
const TABLE: [(&str, [End; 4]); 23] = [
    ("open-passwd", [Refused, Succeeds, Succeeds, Succeeds]),
    ("open-shadow", [Refused, Refused, Refused, Refused]),
    ("open-own-memory", [Refused, Refused, Refused, Refused]),
    ("write-file", [Refused, Refused, Refused, Refused]),
    ("open-in-a-callers-folder", [Refused, Refused, Refused, Refused]),
    ("socket-internet", [Killed, Succeeds, Refused, Succeeds]),
    ("socket-unix", [Killed, Succeeds, Succeeds, Succeeds]),
    ("socket-packet", [Killed, Refused, Refused, Refused]),
    ("datagram-pair", [Killed, Refused, Refused, Refused]),
    ("connect", [Killed, Succeeds, Refused, Succeeds]),
    ("execute", [Killed, Killed, Killed, Refused]),
    ("trace", [Killed, Killed, Killed, Killed]),
    ("read-others-memory", [Killed, Killed, Killed, Killed]),
    ("signal-supervisor", [Killed, Refused, Refused, Succeeds]),
    ("map-writable-code", [Killed, Refused, Refused, Refused]),
    ("make-data-code", [Killed, Refused, Refused, Refused]),
    ("become-root", [Killed, Refused, Refused, Succeeds]),
    ("more-descriptors", [Killed, Refused, Refused, Refused]),
    ("io-uring", [Killed, Killed, Killed, Killed]),
    ("bpf", [Killed, Killed, Killed, Killed]),
    ("process", [Killed, Refused, Refused, Succeeds]),
    ("namespace", [Killed, Killed, Killed, Killed]),
    ("mount", [Killed, Killed, Killed, Killed]),
];

/// Tells a child which part it plays and what it tries.
const ROLE: &str = "TLSIFYD_TEST_SANDBOX";

/// Runs `work` in a process without threads, and ends as it did.
fn alone(work: impl FnOnce()) -> ! {
    let ended = in_a_child(work).expect("a child");
    std::process::exit(ended.unwrap_or_else(|signal| KILLED + signal));
}

/// As shells say it: with the signal's number added.
const KILLED: i32 = 128;
const OUT: i32 = 10;
const KEPT_IN: i32 = 11;

fn command(test: &str, role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("a program"));
    command.args(["--exact", "--nocapture", "--test-threads=1"]);
    command.arg(format!("process::sandbox::tests::{test}")).env(ROLE, role);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn settings(part: Part) -> Settings {
    let root = rustix::process::geteuid().is_root();
    let users = Users::choose(&crate::config::Sandbox::default()).expect("users");
    Settings { ids: users.filter(|_| root).and_then(|(users, _)| users.of(part)), ..Settings::default() }
}

fn role() -> Option<(Part, String)> {
    let role = env::var(ROLE).ok()?;
    let (part, what) = role.split_once(' ')?;
    let part = Part::ALL.into_iter().find(|known| known.name() == part)?;
    Some((part, what.to_owned()))
}

fn expected(part: Part, ends: [End; 4]) -> End {
    match part {
        Part::Worker | Part::Keyholder => ends[0],
        Part::Dialer => ends[1],
        Part::Token => ends[2],
        Part::Supervisor => ends[3],
    }
}

#[test]
fn nobody_gets_out() {
    if let Some((part, name)) = role() {
        let prepared = Prepared::new().expect("prepared");
        alone(|| {
            confine(part, &settings(part)).expect("confined");
            std::process::exit(if attempt(&name, &prepared).is_ok() { OUT } else { KEPT_IN });
        });
    }
    if !rustix::process::geteuid().is_root() || !Kernel::probe().lacks().is_empty() {
        // Who is not root has users' rights to begin with, and an old kernel has fewer ways to say no.
        return;
    }
    assert_eq!(TABLE.map(|(name, _)| name), Escape::ALL);
    let mut wrong = Vec::new();
    for part in Part::ALL {
        for (name, ends) in TABLE {
            let output = command("nobody_gets_out", &format!("{part} {name}")).output().expect("a child");
            let end = match output.status.code() {
                Some(OUT) => Succeeds,
                Some(KEPT_IN) => Refused,
                Some(code) if code == KILLED + libc::SIGSYS => Killed,
                _ => panic!(
                    "{part}: {name}: {}
{}",
                    output.status,
                    String::from_utf8_lossy(&output.stderr)
                ),
            };
            if end != expected(part, ends) {
                wrong.push(format!("{part}: {name}: {end:?}, not {:?}", expected(part, ends)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_kernel_says_of_each_part_what_was_given_away() {
    if let Some((part, _)) = role() {
        alone(|| {
            let own = std::process::id();
            confine(part, &settings(part)).expect("confined");
            std::io::Write::write_all(&mut std::io::stderr(), format!("confined {own}\n").as_bytes())
                .expect("told");
            let _ = std::io::stdin().read(&mut [0]);
        });
    }
    let root = rustix::process::geteuid().is_root();
    for part in Part::ALL {
        let mut command =
            command("the_kernel_says_of_each_part_what_was_given_away", &format!("{part} wait"));
        let mut child = command.stdin(Stdio::piped()).spawn().expect("a child");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains("confined") {
            line.clear();
            assert_ne!(said.read_line(&mut line).expect("a line"), 0, "{part}: it ended");
        }
        let folder = format!("/proc/{}", line.trim().trim_start_matches("confined "));
        let status = fs::read_to_string(format!("{folder}/status")).expect("status");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
            line.unwrap_or_else(|| panic!("{name} in {status}")).to_owned()
        };
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()), "{part}");
        let limits = fs::read_to_string(format!("{folder}/limits")).expect("limits");
        let core: Vec<&str> = limits
            .lines()
            .find(|line| line.starts_with("Max core"))
            .expect("a line")
            .split_whitespace()
            .collect();
        assert_eq!(core[4..6], ["0", "0"], "{part}: {limits}");
        if root {
            let none = "0000000000000000";
            let mask: u64 = privileges::kept_mask();
            let kept = if part == Part::Supervisor { format!("{mask:016x}") } else { none.to_owned() };
            assert_eq!([field("CapInh"), field("CapAmb")], [none, none], "{part}");
            assert_eq!(
                [field("CapPrm"), field("CapEff"), field("CapBnd")],
                [&kept; 3].map(String::as_str),
                "{part}"
            );
            let user = settings(part).ids.map_or(0, |ids| ids.uid).to_string();
            assert_eq!(field("Uid"), [user.as_str(); 4].join("\t"), "{part}");
            assert_eq!(
                field("Groups").trim(),
                if part == Part::Supervisor { field("Groups").trim().to_owned() } else { String::new() }
            );
        }
        drop(child.stdin.take());
        assert!(child.wait().expect("its end").success(), "{part}");
    }
}

#[test]
fn a_kernel_that_lacks_something_is_refused_where_everything_is_required() {
    if let Some((part, _)) = role() {
        alone(|| {
            let required = Settings { mode: SandboxMode::Required, ..settings(part) };
            let refused = confine(part, &required).expect_err("an old kernel").to_string();
            assert!(
                refused.contains("no landlock's rules for TCP (Linux 6.7), no landlock's scopes"),
                "{refused}"
            );
            assert!(refused.contains("\"best-effort\" goes on without"), "{refused}");
            let report = confine(part, &settings(part)).expect("confined as far as it goes");
            assert_eq!((report.lacking, report.filters), (vec![Feature::Tcp, Feature::Scopes], 3));
        });
    }
    let mut command =
        command("a_kernel_that_lacks_something_is_refused_where_everything_is_required", "worker old-kernel");
    let output = command.env("TLSIFYD_TEST_KERNEL", "landlock=3").output().expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_process_with_threads_is_not_confined_at_all() {
    if let Some((part, _)) = role() {
        alone(|| {
            let (stop, stopped) = std::sync::mpsc::channel::<()>();
            let other = std::thread::spawn(move || stopped.recv());
            let refused = confine(part, &Settings::default()).expect_err("two threads").to_string();
            assert_eq!(refused, "cannot confine the worker: it has 2 threads already");
            drop(stop);
            let _ = other.join();
            assert!(attempt("open-passwd", &Prepared::new().expect("prepared")).is_ok());
        });
    }
    let output = command("a_process_with_threads_is_not_confined_at_all", "worker threads").output();
    let output = output.expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn who_is_confined_still_makes_threads_and_waits_and_panics() {
    if let Some((part, _)) = role() {
        alone(|| {
            confine(part, &settings(part)).expect("confined");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let slept = tokio::time::sleep(std::time::Duration::from_millis(1));
                let beside = tokio::task::spawn_blocking(|| vec![1_u8; 1 << 20].len());
                let (_, length) = tokio::join!(slept, beside);
                assert_eq!(length.expect("a thread"), 1 << 20);
            });
            let panicked = std::thread::spawn(|| panic!("told with the names of its callers")).join();
            assert!(panicked.is_err());
        });
    }
    for part in Part::ALL {
        let mut command =
            command("who_is_confined_still_makes_threads_and_waits_and_panics", &format!("{part} work"));
        let output = command.env("RUST_BACKTRACE", "full").output().expect("a child");
        assert!(
            output.status.success(),
            "{part}: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
