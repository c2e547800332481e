//! Which daemon it is: the running one, or one of our own that comes and goes with its session and leaves nothing.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{
    Census, End, Peer, Program, TempDir, TestDaemon, Tlsify, built, outgoing, pki, tcp_pair,
};

/// A folder with a `tlsify` and a `tlsifyd` beside it that tells how it was started.
struct Home {
    dir: TempDir,
    socket: PathBuf,
}

impl Home {
    /// With the daemon in this folder of it; `.` is beside the command.
    fn with_daemon_in(folder: &str) -> Self {
        let dir = TempDir::new("home");
        let copy = Program::run(Command::new("cp").arg(built::command()).arg(dir.path().join("tlsify")));
        assert!(copy.status.success(), "{copy:?}");
        let home = Self { socket: dir.path().join("sock"), dir };
        let folder = home.path(folder);
        fs::create_dir_all(&folder).unwrap();
        // The shell becomes the daemon, under the same number.
        let (log, daemon) = (home.path("log"), built::daemon());
        let told = format!("printf '%s %s\\n' $$ \"$*\" >> '{}'", log.display());
        let script = format!("#!/bin/sh\n{told}\nexec '{}' \"$@\"\n", daemon.display());
        let file = folder.join("tlsifyd");
        fs::write(&file, script).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `tlsify connect` of this folder, and the server.
    fn connect(&self) -> (Tlsify, Peer) {
        let (ours, theirs) = tcp_pair();
        let call = Tlsify::new(["connect", "--fd", "5", SERVER_NAME]).binary(self.path("tlsify"));
        let call = call.trusting(&pki().ca.file).net(ours).env("TLSIFY_SOCK", &self.socket);
        (call, outgoing::server_peer(theirs))
    }

    /// The number of each daemon that was started, and its arguments.
    fn started(&self) -> Vec<(u32, String)> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines = log.split_inclusive('\n').filter_map(|line| line.trim_end().split_once(' '));
        lines.map(|(pid, arguments)| (pid.parse().unwrap(), arguments.to_owned())).collect()
    }

    /// The one daemon that was started.
    fn daemon(&self) -> u32 {
        let started = until(LIMIT, || Some(self.started()).filter(|started| !started.is_empty()));
        match started.as_deref() {
            Some([(pid, arguments)]) if arguments == "--private 3" => *pid,
            other => panic!("{other:?}"),
        }
    }

    /// Nothing is left of it but what was there before.
    fn is_left_as_it_was(&self) {
        let daemon = self.daemon();
        let gone = until(LIMIT, || (!runs(daemon)).then_some(()));
        assert!(gone.is_some(), "the private daemon runs on");
        let mut left: Vec<_> =
            fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["log", "tlsify", "tlsifyd"]);
    }
}

/// Whether it runs; one that has ended and that nobody has waited for does not.
fn runs(pid: u32) -> bool {
    status(pid, "State:").is_some_and(|state| !state.starts_with('Z'))
}

/// A line of a process' status.
fn status(pid: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
}

/// The processes that have this one as their parent.
fn children(pid: u32) -> Vec<u32> {
    let all = fs::read_dir("/proc").unwrap().flatten();
    let numbers = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|child| status(*child, "PPid:").is_some_and(|parent| parent == pid.to_string())).collect()
}

/// The peer says this and leaves, and the command ends well.
#[track_caller]
fn goes_well(call: Tlsify, mut peer: Peer) {
    let mut process = call.start();
    process.shakes(&mut peer);
    peer.write_all(b"good").unwrap();
    peer.half_close().unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    assert_eq!(process.wait().clean().stdout, "good");
}

#[test]
fn without_a_socket_one_of_our_own_is_started_beside_the_command() {
    let home = Home::with_daemon_in(".");
    let (call, peer) = home.connect();
    goes_well(call, peer);
    home.is_left_as_it_was();
}

#[test]
fn it_writes_no_log_where_people_read_messages() {
    let home = Home::with_daemon_in(".");
    let (ours, theirs) = tcp_pair();
    // With the host's authorities, whose number a daemon that serves everybody logs when it has read them.
    let call = Tlsify::new(["connect", "--fd", "5", SERVER_NAME]).binary(home.path("tlsify"));
    let call = call.net(ours).env("TLSIFY_SOCK", &home.socket);
    let mut peer = outgoing::server_peer(theirs);
    let process = call.start();
    assert!(peer.handshake().is_err());
    let done = process.wait().saying(98, "tlsify: peer's certificate is not issued by a trusted authority");
    assert!(
        done.said.lines().all(|line| line.starts_with("tlsify: ") || line.starts_with("hint: ")),
        "{done:?}"
    );
    home.is_left_as_it_was();
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_no_daemon() {
    let home = Home::with_daemon_in(".");
    let stale = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None).unwrap();
    let address = UnixAddr::new(&home.socket).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&stale), &address).unwrap();
    listen(&stale, Backlog::new(1).unwrap()).unwrap();
    drop(stale);
    let (call, peer) = home.connect();
    goes_well(call, peer);
    fs::remove_file(&home.socket).unwrap();
    home.is_left_as_it_was();
}

#[test]
fn it_is_found_in_path_when_it_is_not_beside_the_command() {
    let home = Home::with_daemon_in("bin");
    let (call, peer) = home.connect();
    let path = std::env::join_paths([&home.path("absent"), &home.path("bin"), Path::new("/bin")]).unwrap();
    goes_well(call.env("PATH", path), peer);
    home.daemon();
}

#[test]
fn the_current_folder_is_no_place_to_take_a_daemon_from() {
    let home = Home::with_daemon_in("trap");
    let (call, _peer) = home.connect();
    let enter = format!("cd '{}'", home.path("trap").display());
    let done = call.script(&enter).script("PATH=:/nowhere:").env("PATH", "/bin").run();
    // What an empty folder in PATH means to a shell is an accident for us.
    assert_eq!(done.status.code(), Some(97), "{done:?}");
    assert_eq!(home.started(), []);
}

#[test]
fn without_any_it_is_97_with_a_hint() {
    let home = Home::with_daemon_in("elsewhere");
    // As a filter, leaving it behind, and about to become another program.
    for words in [&[][..], &["--handoff"], &["--", "cat"], &["--control=1", "--", "cat"]] {
        let (call, _peer) = home.connect();
        let call = words.iter().fold(call, |call, word| call.word(*word));
        call.env("PATH", "/nowhere").run().with(
            97,
            "tlsify: cannot start tlsifyd: no such file or directory\n\
             hint: it is looked for beside tlsify and in PATH; TLSIFY_SOCK names a running one\n",
        );
    }
    // One that is there and cannot be run says more.
    let here = Home::with_daemon_in(".");
    fs::set_permissions(here.path("tlsifyd"), fs::Permissions::from_mode(0o644)).unwrap();
    let (call, _peer) = here.connect();
    call.run().with(97, "tlsify: cannot start tlsifyd: permission denied\n");
}

#[test]
fn no_fallback_is_97_and_starts_nothing() {
    let home = Home::with_daemon_in(".");
    let (call, _peer) = home.connect();
    call.word("--no-fallback").run().with(
        97,
        &format!(
            "tlsify: cannot reach tlsifyd at {}: nobody listens there\n\
             hint: is tlsifyd.socket started? TLSIFY_SOCK names another path\n",
            home.socket.display()
        ),
    );
    assert_eq!(home.started(), []);
}

#[test]
fn something_else_at_the_path_is_no_reason_to_start_another() {
    // Somebody has put it there, and it is not a daemon that has ended: going round that would hide it.
    let home = Home::with_daemon_in(".");
    let _stream = std::os::unix::net::UnixListener::bind(&home.socket).unwrap();
    let (call, _peer) = home.connect();
    let cannot = format!("tlsify: cannot reach tlsifyd at {}: ", home.socket.display());
    call.run().with(97, &format!("{cannot}a socket of another type\n"));
    let (call, _peer) = home.connect();
    let long = format!("/tmp/{}", "x".repeat(200));
    call.env("TLSIFY_SOCK", &long)
        .run()
        .with(97, &format!("tlsify: cannot reach tlsifyd at {long}: name too long\n"));
    assert_eq!(home.started(), []);
}

#[test]
fn private_leaves_a_running_daemon_alone() {
    let running = TestDaemon::start();
    let baseline = running.baseline();
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    let mut process = call.word("--private").asking(&running).start();
    process.shakes(&mut peer);
    assert_eq!(running.fds().count(), baseline.count(), "nobody has called");
    peer.half_close().unwrap();
    peer.read_to_end().unwrap();
    process.wait().clean();
    home.is_left_as_it_was();
    // And the other way round: with one that runs, none is started.
    let home = Home::with_daemon_in(".");
    let (call, peer) = home.connect();
    goes_well(call.asking(&running), peer);
    assert_eq!(home.started(), []);
}

#[test]
fn it_ends_with_the_command_and_the_peer_sees_it() {
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    let (stdin, _to) = std::io::pipe().unwrap();
    let mut process = call.stdin(stdin).start();
    process.shakes(&mut peer);
    process.signal(Signal::SIGKILL);
    process.wait();
    assert_eq!(peer.read_to_end().unwrap().1, End::Truncated);
    home.is_left_as_it_was();
}

#[test]
fn ctrl_c_reaches_the_command_and_not_its_daemon() {
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    // The program goes on: SIGINT is its own affair. The daemon is not asked.
    let call = call
        .with_default_signals()
        .in_group()
        .shell("trap 'echo caught' INT; echo ready; until read line; do :; done; echo \"$line\"");
    let mut process = call.start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_exact(6).unwrap(), b"ready\n");
    let daemon = home.daemon();
    let session = |pid: u32| nix::unistd::getsid(Some(nix::unistd::Pid::from_raw(pid as i32))).unwrap();
    assert_ne!(session(daemon), session(process.pid()), "a session of its own");
    process.signal_group(Signal::SIGINT);
    let caught = peer.read_exact(7).unwrap();
    assert_eq!(caught, b"caught\n");
    assert!(runs(daemon));
    peer.write_all(b"still here\n").unwrap();
    assert_eq!(peer.read_to_end().unwrap(), (b"still here\n".to_vec(), End::CloseNotify));
    process.wait();
    home.is_left_as_it_was();
}

#[test]
fn a_program_finds_no_child_that_it_never_started_and_no_zombie() {
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    let mut process = call.shell("echo ready; read line").start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_exact(6).unwrap(), b"ready\n");
    let daemon = home.daemon();
    assert!(runs(daemon));
    // The shell is the command's process, and has started nothing.
    assert_eq!(children(process.pid()), []);
    peer.write_all(b"\n").unwrap();
    process.wait().clean();
    home.is_left_as_it_was();
}

#[test]
fn its_end_of_a_pipe_comes_when_the_command_ends() {
    // `tlsify … | next`: a copy in the daemon would keep the pipe open.
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    let ((mut from, stdout), (stdin, _to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
    let mut process = call.stdin(stdin).stdout(stdout).shell("echo ready; exec sleep 60").start();
    process.shakes(&mut peer);
    assert_eq!(peer.read_exact(6).unwrap(), b"ready\n");
    // The program has its output at the peer: nobody holds the caller's pipe any more, neither it nor the daemon.
    assert_eq!(from.read(&mut [0; 16]).unwrap(), 0);
    assert!(runs(home.daemon()));
    process.signal(Signal::SIGKILL);
    process.wait();
}

#[test]
fn it_inherits_no_descriptor_of_strangers() {
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    let (near, far) = UnixStream::pair().unwrap();
    let stray = home.path("stray");
    File::create(&stray).unwrap();
    let call = call.script(&format!("exec 8>'{0}' 9<'{0}'", stray.display()));
    let mut process = call.stdin(far.try_clone().unwrap()).stdout(far).start();
    process.shakes(&mut peer);
    let held = Census::of(home.daemon()).unwrap();
    let own: Vec<&str> =
        held.iter().map(|(_, target)| target).filter(|target| target.contains("stray")).collect();
    assert_eq!(own, [""; 0], "{held:?}");
    for (number, target) in held.iter().filter(|(number, _)| *number < 2) {
        assert_eq!(target, "/dev/null", "{number}");
    }
    drop(near);
    peer.reset();
    process.wait();
}

#[test]
fn a_hand_off_outlives_the_command_and_its_messages_end_with_it() {
    let home = Home::with_daemon_in(".");
    let (call, mut peer) = home.connect();
    let (mut near, far) = UnixStream::pair().unwrap();
    near.set_read_timeout(Some(LIMIT)).unwrap();
    let (mut messages, stderr) = std::io::pipe().unwrap();
    // The pipe for what is said comes on 0, and the data on 1.
    let call = call.word("--handoff").stdin(stderr).stdout(far).script("exec 2>&0 0<&1");
    let mut process = call.start();
    process.shakes(&mut peer);
    process.wait().clean();
    // `said=$(tlsify --handoff … 2>&1)` returns.
    assert_eq!(messages.read(&mut [0; 16]).unwrap(), 0);
    let daemon = home.daemon();
    peer.write_all(b"later").unwrap();
    peer.half_close().unwrap();
    let mut got = Vec::new();
    near.read_to_end(&mut got).unwrap();
    assert_eq!(got, b"later");
    assert!(runs(daemon));
    drop(near);
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    home.is_left_as_it_was();
}

#[test]
fn it_serves_with_certificates_and_events_as_any_other() {
    let home = Home::with_daemon_in(".");
    let (ours, theirs) = tcp_pair();
    let server = pki().server(tlsifyd_tests::KeyKind::EcdsaP256);
    let call = Tlsify::new(["accept", "--fd", "5"]).binary(home.path("tlsify")).net(theirs);
    let call = call.option("--cert", &server.certificate_file).option("--key", &server.key_file);
    let call = call.env("TLSIFY_SOCK", &home.socket).events().shell("exit 5");
    let mut process = call.start();
    let mut peer = tlsifyd_tests::handover::client_peer(ours);
    process.shakes(&mut peer);
    peer.half_close().unwrap();
    let done = process.wait();
    assert_eq!(done.status.code(), Some(5), "{done:?}");
    assert!(done.events.contains("\nhow=close-notify\n"), "{}", done.events);
    home.is_left_as_it_was();
}
