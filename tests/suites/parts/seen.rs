//! What can be seen of each process from outside: its name, its descriptors, its environment, the signals it ignores.

use std::collections::BTreeSet;
use std::fs;
use std::net::Shutdown;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsify_client::{Client, How};
use tlsifyd_tests::daemon::seqpacket_pair;
use tlsifyd_tests::family::{WORKER, children, comm, status};
use tlsifyd_tests::handover::{open, open_as};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Census, Options, Program, TempDir, TestDaemon, built, exclusive};

use super::config;

/// The worker among the processes that this one has started.
fn worker_of(supervisor: u32) -> u32 {
    let is_worker = |pid: &u32| comm(*pid).as_deref() == Some(WORKER);
    until(LIMIT, || children(supervisor).into_iter().find(is_worker)).expect("it has a worker")
}

#[test]
fn each_process_has_its_name_in_ps() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let worker = daemon.worker();
    let parts = daemon.parts();
    let names: Vec<&str> = parts.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["tlsifyd-keys", WORKER]);
    for ((pid, _), title) in parts.iter().zip(["tlsifyd: keyholder\0", "tlsifyd: worker\0"]) {
        assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs"), title);
    }
    assert_eq!(parts[1].0, worker);
    assert_eq!(status(daemon.pid(), "Name"), "tlsifyd");
    // A private daemon's is a copy of it under the same command line, and has its name.
    let private = TestDaemon::private();
    assert!(private.parts().contains(&(private.worker(), WORKER.to_owned())));
}

#[test]
fn a_worker_has_the_descriptors_that_it_needs_and_no_others() {
    let _alone = exclusive();
    let dir = TempDir::new("descriptors");
    let socket = dir.path().join("sock");
    let config = dir.path().join("tlsifyd.toml");
    fs::write(&config, "").expect("the folder is ours");
    // Somebody left a file open for whatever the daemon starts.
    let script = "exec 7</etc/passwd; exec \"$0\" \"$@\" 2>/dev/null";
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", script]).arg(built::daemon());
    command.arg("--workers").arg("1").arg("--socket").arg(&socket).arg("--config").arg(&config);
    let daemon = Program::start(&mut command);
    until(LIMIT, || Client::connect_to(&socket).ok()).expect("it serves");
    let supervisor = Census::of(daemon.pid()).expect("it runs");
    assert!(
        supervisor.iter().any(|(number, to)| number == 7 && to == "/etc/passwd"),
        "the test leaves nothing open: {supervisor:?}"
    );
    let worker = worker_of(daemon.pid());
    // The listening socket; three to the supervisor: its channel, where it asks and where it tells of connections; three to
    // the keyholder: the door and two lines; both ends of the pair that its runtime takes for signals.
    let most = 9;
    let held = until(LIMIT, || {
        let held = Census::of(worker).expect("it runs");
        let sockets: BTreeSet<&str> =
            held.iter().map(|(_, to)| to).filter(|to| to.starts_with("socket:")).collect();
        // The connection that showed that it serves goes with its caller, and not at once.
        (sockets.len() <= most).then(|| held.clone())
    });
    let held = held.unwrap_or_else(|| panic!("more sockets than it needs: {:?}", Census::of(worker)));
    let local = fs::read_to_string("/proc/net/unix").expect("/proc is mounted");
    for (number, to) in held.iter() {
        let inode = to.strip_prefix("socket:[").and_then(|inode| inode.strip_suffix(']'));
        let fits = match (number, inode) {
            // Standard input and output are nobody's, standard error is for the log.
            (0..=2, _) => to == "/dev/null",
            (_, Some(inode)) => local.contains(&format!(" {inode}")),
            // What its loops wait with.
            (_, None) => matches!(to, "anon_inode:[eventpoll]" | "anon_inode:[eventfd]"),
        };
        assert!(fits, "{number} is {to} in {held:?}");
    }
    // The supervisor's: no worker has the lock of the socket's path.
    assert!(supervisor.iter().any(|(_, to)| to.ends_with(".lock")), "{supervisor:?}");
}

#[test]
fn a_private_daemons_worker_has_nothing_that_its_starter_left_open() {
    let _alone = exclusive();
    let (ours, theirs) = seqpacket_pair();
    let script = "exec 3<&0 7</etc/passwd 0</dev/null; exec \"$0\" --private 3";
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", script]).arg(built::daemon()).stdin(theirs);
    let daemon = Program::start(&mut command);
    let client = Client::from_socket(ours).expect("it greets");
    let worker = worker_of(daemon.pid());
    let supervisor = Census::of(daemon.pid()).expect("it runs");
    assert!(
        supervisor.iter().any(|(_, to)| to == "/etc/passwd"),
        "the test leaves nothing open: {supervisor:?}"
    );
    let held = Census::of(worker).expect("it runs");
    for (number, to) in held.iter() {
        let fits = match number {
            0 | 1 => to == "/dev/null",
            // The log, wherever that goes.
            2 => true,
            _ => to.starts_with("socket:") || matches!(to, "anon_inode:[eventpoll]" | "anon_inode:[eventfd]"),
        };
        assert!(fits, "{number} is {to} in {held:?}");
    }
    // The caller's end of everything is in its own hands: nobody else keeps the connection open.
    drop(client);
    daemon.wait().ok();
}

#[test]
fn a_worker_knows_nothing_of_the_environment_but_what_it_needs() {
    let _alone = exclusive();
    let env = [("SOME_TOKEN", "hush"), ("RUST_BACKTRACE", "1"), ("NO_COLOR", "1")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let daemon = TestDaemon::with(Options { env, ..Options::default() });
    let environment = |pid| fs::read_to_string(format!("/proc/{pid}/environ")).expect("it runs");
    assert!(environment(daemon.pid()).contains("hush"));
    let worker = environment(daemon.worker());
    assert!(worker.contains("RUST_BACKTRACE=1") && !worker.contains("SOME_TOKEN"), "{worker}");
}

#[test]
fn ctrl_c_on_the_whole_process_group_drains_politely() {
    let _alone = exclusive();
    let daemons = [
        TestDaemon::with_config(config("[timeouts]\ndrain = \"1h\"\n", "web")),
        TestDaemon::private_with(Options { config: Some(config("", "web")), ..Options::default() }),
    ];
    for daemon in daemons {
        let client = daemon.client();
        let mut session = open_as(&client, "web");
        // A worker, and a keyholder for the profile's key.
        let pids = daemon.pids();
        assert_eq!(pids.len(), 3, "{pids:?}");
        for pid in &pids[1..] {
            // SigIgn has a bit for each signal, the first for signal 1.
            let ignored = u64::from_str_radix(&status(*pid, "SigIgn"), 16).expect("a mask");
            for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
                assert_ne!(ignored & (1 << (signal as i32 - 1)), 0, "{signal} is not ignored");
            }
        }
        // What a terminal does, the parts first.
        for pid in pids.iter().rev() {
            kill(Pid::from_raw((*pid).try_into().expect("it fits")), Signal::SIGINT).expect("our own");
        }
        session.assert_alive();
        session.plain.shutdown(Shutdown::Write).expect("the session is open");
        session.peer.close_notify().expect("the session is open");
        assert_eq!(session.established.session.ended().expect("it ends").how, How::CloseNotify);
        drop((session.plain, client));
        assert!(daemon.wait().success(), "{}", daemon.log());
    }
}

#[test]
fn a_single_process_serves_as_ever_and_says_that_it_is_for_debugging() {
    let _alone = exclusive();
    let options = || Options { args: vec!["--single-process".to_owned()], ..Options::default() };
    for daemon in [TestDaemon::with(options()), TestDaemon::private_with(options())] {
        assert_eq!(daemon.parts(), []);
        open(&daemon.client()).assert_alive();
        assert!(daemon.log().contains("for debugging only"), "{}", daemon.log());
        daemon.terminate();
        assert!(daemon.wait().success(), "{}", daemon.log());
    }
    let help = Program::run(Command::new(built::daemon()).arg("--help"));
    let said = help.stdout.lines().skip_while(|line| !line.contains("--single-process"));
    assert!(said.take(3).any(|line| line.contains("debugging only")), "{}", help.stdout);
}

#[test]
fn somebody_who_types_the_name_of_a_part_starts_nothing() {
    use std::os::unix::process::CommandExt;
    let mut typed = Command::new(built::daemon());
    typed.env_clear().arg0("tlsifyd: worker").arg("--version").stdin(std::process::Stdio::null());
    let said = Program::start(&mut typed).wait();
    assert_eq!(said.status.code(), Some(111), "{}", said.stderr);
    assert!(said.stderr.contains("this name is for a part of a daemon"), "{}", said.stderr);
}
