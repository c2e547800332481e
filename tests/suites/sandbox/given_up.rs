//! What the kernel says of each process.

use std::fs;

use tlsifyd_tests::family::status;
use tlsifyd_tests::{Options, TestDaemon};

use super::{DIALER, KEYHOLDER, WORKER, is_root, logged, part, start_dialer};

const NONE: &str = "0000000000000000";

/// Each process but the supervisor, by name.
fn parts(daemon: &TestDaemon) -> [(u32, &'static str); 3] {
    let parts = [
        (part(daemon, WORKER), WORKER),
        (part(daemon, KEYHOLDER), KEYHOLDER),
        (start_dialer(daemon), DIALER),
    ];
    for said in ["the worker is confined", "the keyholder is confined", "the dialer is confined"] {
        logged(daemon, said);
    }
    parts
}

fn daemon() -> TestDaemon {
    let args = vec!["--log-level".to_owned(), "debug".to_owned()];
    TestDaemon::with(Options { args, ..Options::default() })
}

#[test]
fn no_process_can_get_privileges_or_leave_its_memory_behind() {
    let daemon = daemon();
    let supervisor = (daemon.pid(), "tlsifyd");
    for (pid, name) in parts(&daemon).into_iter().chain([supervisor]) {
        assert_eq!(status(pid, "NoNewPrivs"), "1", "{name}");
        assert_eq!(status(pid, "Seccomp"), "2", "{name}");
        assert_eq!(status(pid, "CoreDumping"), "0", "{name}");
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("it runs");
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
        let core: Vec<&str> = core.split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "{name}");
        let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a line");
        let files: Vec<&str> = files.split_whitespace().collect();
        assert_eq!(files[3], files[4], "{name}: as many as it may have");
    }
}

#[test]
fn each_part_of_a_root_is_a_user_of_its_own_without_capabilities() {
    if !is_root() {
        return;
    }
    let daemon = daemon();
    let mut users = Vec::new();
    for (pid, name) in parts(&daemon) {
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status(pid, set), NONE, "{name}: {set}");
        }
        let ids = status(pid, "Uid");
        let ids: Vec<&str> = ids.split_whitespace().collect();
        assert!(ids.iter().all(|id| *id == ids[0] && *id != "0"), "{name}: {ids:?}");
        assert_eq!(status(pid, "Groups"), "", "{name}");
        users.push(ids[0].to_owned());
    }
    users.sort();
    users.dedup();
    assert_eq!(users.len(), 3, "each is somebody else");
    // setgid, setuid, setpcap, kill, dac_read_search: the five of packaging/SECURITY.md.
    let kept = format!("{:016x}", 1_u64 << 6 | 1 << 7 | 1 << 8 | 1 << 5 | 1 << 2);
    assert_eq!([status(daemon.pid(), "CapEff"), status(daemon.pid(), "CapBnd")], [kept.clone(), kept]);
}

#[test]
fn a_private_daemons_worker_is_confined_as_well() {
    let daemon = TestDaemon::private();
    let worker = daemon.worker();
    assert_eq!((status(worker, "NoNewPrivs"), status(worker, "Seccomp")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(status(worker, "CapEff"), NONE);
    assert_eq!(status(worker, "Threads"), "1", "it costs no thread");
}
