//! Where it listens: ours alone, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use tlsify_client::Client;
use tlsifyd_tests::built;
use tlsifyd_tests::{Options, Program, TempDir, TestDaemon, tool};

use super::{text, tlsifyd, wait_for};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

/// Runs a second daemon at this socket, which must not start; what it says.
fn refused_at(socket: &Path) -> String {
    let said = Program::run(&mut tlsifyd(&["--socket", text(socket)]));
    assert_eq!(said.status.code(), Some(111), "{}", said.stderr);
    said.stderr
}

#[test]
fn a_socket_that_a_dead_daemon_left_is_replaced() {
    let dead = TestDaemon::start();
    dead.kill();
    dead.wait();
    assert!(dead.socket().exists() && Client::connect_to(dead.socket()).is_err());
    let mut next = Program::start(&mut tlsifyd(&["--socket", text(&dead.socket())]));
    wait_for(&dead.socket());
    next.signal(Signal::SIGTERM);
    next.wait().ok();
    assert!(!dead.socket().exists(), "a daemon that ended in order leaves its socket");
}

#[test]
fn the_socket_of_a_living_daemon_is_not_taken() {
    let living = TestDaemon::start();
    let client = living.client();
    let said = refused_at(&living.socket());
    let expected =
        format!("tlsifyd: another tlsifyd listens at {} (it holds the lock)\n", living.socket().display());
    assert_eq!(said, expected);
    assert_eq!(living.client().hello(), client.hello());
}

#[test]
fn the_socket_of_another_program_is_not_taken() {
    let dir = TempDir::new("other");
    let path = dir.path().join("sock");
    let other = UnixListener::bind(&path).expect("the folder is ours");
    let said = refused_at(&path);
    assert!(said.contains("or another program: the socket is of another type"), "{said}");
    drop(other);
}

#[test]
fn what_is_no_socket_is_named_and_left_alone() {
    let dir = TempDir::new("taken");
    let file = dir.path().join("file");
    fs::write(&file, "somebody's letters").expect("the folder is ours");
    let said = refused_at(&file);
    let expected = format!(
        "tlsifyd: cannot listen at {}: there is a file and not a socket, move it away or choose another path\n",
        file.display()
    );
    assert_eq!(said, expected);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "somebody's letters");

    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&file, &link).expect("the folder is ours");
    assert!(refused_at(&link).contains("there is a symbolic link and not a socket"));
    assert!(refused_at(dir.path()).contains("there is a folder and not a socket"));
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let dir = TempDir::new("open");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("the folder is ours");
    let said = refused_at(&dir.path().join("sock"));
    assert!(said.contains("others may write to it (mode 0777), so somebody else could take"), "{said}");
}

#[test]
fn a_path_that_no_address_holds_is_named() {
    let dir = TempDir::new("long");
    let said = refused_at(&dir.path().join("x".repeat(120)));
    assert!(said.contains("the path is longer than 103 bytes"), "{said}");
}

#[test]
fn the_mode_is_the_one_that_fits_or_the_one_that_the_operator_wants() {
    let daemon = TestDaemon::start();
    // The system's daemon is open to all, and policy decides; a personal one is its user's alone.
    let fits = if nix::unistd::geteuid().is_root() { 0o666 } else { 0o600 };
    assert_eq!(mode(&daemon.socket()), fits);
    let daemon = TestDaemon::with_config("socket-mode = \"0640\"\n");
    assert_eq!(mode(&daemon.socket()), 0o640);
}

#[test]
fn a_personal_daemon_keeps_its_socket_to_its_user() {
    // Root has to become somebody for it; everybody else is somebody.
    let setpriv = if nix::unistd::geteuid().is_root() { tool("setpriv") } else { None };
    if nix::unistd::geteuid().is_root() && setpriv.is_none() {
        return;
    }
    let dir = TempDir::new("personal");
    let runtime = dir.path().join("run");
    fs::create_dir(&runtime).expect("the folder is ours");
    let mut command = match setpriv {
        None => tlsifyd(&[]),
        Some(setpriv) => {
            // Where the tests were built, nobody may be able to look.
            let copy = dir.path().join("tlsifyd");
            fs::copy(built::daemon(), &copy).expect("the folder is ours");
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("the folder is ours");
            std::os::unix::fs::chown(&runtime, Some(65534), Some(65534)).expect("root may");
            let mut command = Command::new(setpriv);
            command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(copy).env_clear();
            command
        }
    };
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).expect("it is ours, or we are root");
    let mut daemon = Program::start(command.env("XDG_RUNTIME_DIR", &runtime).env("HOME", &runtime));
    let socket = runtime.join("tlsifyd.sock");
    wait_for(&socket);
    assert_eq!(mode(&socket), 0o600);
    daemon.signal(Signal::SIGTERM);
    daemon.wait().ok();
    assert!(!socket.exists());
}

#[test]
fn the_variable_names_the_socket_and_the_flag_wins() {
    let dir = TempDir::new("named");
    let (by_variable, by_flag) = (dir.path().join("variable"), dir.path().join("flag"));
    let variable = Program::start(tlsifyd(&[]).env("TLSIFY_SOCK", &by_variable));
    wait_for(&by_variable);
    let flag = Program::start(tlsifyd(&["--socket", text(&by_flag)]).env("TLSIFY_SOCK", &by_variable));
    wait_for(&by_flag);
    drop((variable, flag));
}

#[test]
fn a_user_without_a_place_for_the_socket_is_told_what_to_name() {
    if nix::unistd::geteuid().is_root() {
        // Root has /run/tlsifyd.
        return;
    }
    let said = Program::run(&mut tlsifyd(&[]));
    assert_eq!(said.status.code(), Some(111));
    assert!(said.stderr.contains("XDG_RUNTIME_DIR is not set, name a path with --socket"), "{}", said.stderr);
}

#[test]
fn callers_who_come_while_it_starts_find_a_socket_that_answers_or_none() {
    // The socket appears ready: whoever sees the path is never refused.
    for _ in 0..5 {
        let dir = TempDir::new("start");
        let path = dir.path().join("sock");
        let daemon = Program::start(&mut tlsifyd(&["--socket", text(&path)]));
        tlsifyd_tests::wait::until(tlsifyd_tests::wait::LIMIT, || path.exists().then_some(()))
            .expect("it starts");
        Client::connect_to(&path).expect("what is seen answers");
        drop(daemon);
    }
}

#[test]
fn two_daemons_live_side_by_side() {
    let (one, two) = (TestDaemon::start(), TestDaemon::with(Options::default()));
    assert_ne!(one.socket(), two.socket());
    assert_eq!(one.client().hello().daemon, two.client().hello().daemon);
}
