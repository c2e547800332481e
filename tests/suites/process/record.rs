//! What the worker serves from: the record of what the supervisor has read, and the keys of the keyholder.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsify_client::{Accept, Client};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::family;
use tlsifyd_tests::handover::{client_peer, open_as};
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, TempDir, TestDaemon, pki, running, tcp_pair};

/// The name of the keyholder's process.
const KEYHOLDER: &str = "tlsifyd-keys";

/// A folder with the files of some profiles, which nobody but their owner may read.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new("record"))
    }

    /// A profile that everybody may use, with an identity of this kind.
    fn profile(&self, name: &str, kind: KeyKind) -> String {
        let identity = pki().server(kind);
        let [certificate, key] = ["pem", "key"].map(|end| self.0.path().join(format!("{name}.{end}")));
        fs::copy(&identity.certificate_file, &certificate).expect("the folder is ours");
        fs::copy(&identity.key_file, &key).expect("the folder is ours");
        for file in [&certificate, &key] {
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
        server_profile(name, "users = [\"*\"]", &certificate, &key)
    }

    fn remove_all(&self) {
        for file in fs::read_dir(self.0.path()).expect("the folder is ours") {
            fs::remove_file(file.expect("an entry").path()).expect("it is ours");
        }
    }
}

fn keyholder(daemon: &TestDaemon) -> u32 {
    let found = until(LIMIT, || Some(daemon.parts().into_iter().find(|(_, name)| name == KEYHOLDER)?.0));
    found.unwrap_or_else(|| panic!("there is no keyholder after {LIMIT:?}\n{}", daemon.log()))
}

fn end(pid: u32) {
    kill(Pid::from_raw(pid.try_into().expect("a process id fits")), Signal::SIGKILL).expect("it runs");
}

/// Sends SIGHUP and waits for the line about it.
fn reload(daemon: &TestDaemon, line: &str) {
    let before = daemon.log().len();
    daemon.signal(Signal::SIGHUP);
    let said = until(LIMIT, || daemon.log()[before..].contains(line).then_some(()));
    assert!(said.is_some(), "no \"{line}\" in:\n{}", daemon.log());
}

/// Whether a session with this profile can be opened.
fn is_served(client: &Client, profile: &str) -> bool {
    let (ours, theirs) = tcp_pair();
    let peer = running("client", move || client_peer(ours).handshake());
    let open = client.accept(&Accept::new(theirs).profile(profile)).is_ok();
    let _ = peer.join();
    open
}

/// Whether somebody has this file open.
fn is_open(pids: &[u32], file: &Path) -> bool {
    pids.iter().any(|pid| {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|path| path.starts_with(file))
    })
}

#[test]
fn a_worker_that_is_started_again_needs_no_file_of_what_was_loaded() {
    let files = Files::new();
    let config = files.profile("one", KeyKind::EcdsaP256) + &files.profile("two", KeyKind::Ed25519);
    let daemon = TestDaemon::with_config(config);
    open_as(&daemon.client(), "one").assert_alive();
    assert!(!is_open(&daemon.pids(), files.0.path()), "a file is held open");
    files.remove_all();
    fs::remove_file(daemon.dir().join("tlsifyd.toml")).expect("it is there");
    let first = daemon.worker();
    end(first);
    daemon.next_worker(first);
    for profile in ["one", "two"] {
        open_as(&daemon.client(), profile).assert_alive();
    }
}

#[test]
fn files_that_only_their_owner_may_read_are_served_by_a_worker_of_another_user() {
    if !is_root("a worker that is another user") {
        return;
    }
    let files = Files::new();
    let daemon = TestDaemon::with_config(files.profile("web", KeyKind::EcdsaP256));
    open_as(&daemon.client(), "web").assert_alive();
    let uid = |pid| family::status(pid, "Uid");
    assert!(uid(daemon.pid()).starts_with("0\t"));
    for part in [daemon.worker(), keyholder(&daemon)] {
        assert!(!uid(part).split('\t').any(|uid| uid == "0"), "{}", uid(part));
    }
}

#[test]
fn a_keyholder_that_is_started_again_has_the_operators_keys_again() {
    let files = Files::new();
    let daemon = TestDaemon::with_config(files.profile("web", KeyKind::EcdsaP256));
    let client = daemon.client();
    let mut before = open_as(&client, "web");
    let first = keyholder(&daemon);
    end(first);
    until(LIMIT, || (keyholder(&daemon) != first).then_some(())).expect("another one");
    before.assert_alive();
    assert!(
        daemon.log().contains("the keyholder was killed by SIGKILL; it is started again"),
        "{}",
        daemon.log()
    );
    // It gets its keys before the worker hears of it.
    until(LIMIT, || is_served(&client, "web").then_some(()))
        .unwrap_or_else(|| panic!("its keys did not come back:\n{}", daemon.log()));
}

#[test]
fn a_reload_that_fails_keeps_the_old_keys_and_one_that_does_not_brings_new_ones() {
    let files = Files::new();
    let old = files.profile("old", KeyKind::EcdsaP256);
    let daemon = TestDaemon::with_config(&old);
    let new = files.profile("new", KeyKind::Ed25519);
    let broken = files.profile("broken", KeyKind::Rsa2048);
    fs::write(files.0.path().join("broken.key"), "no key").expect("it is ours");
    // The key of "new" is with the keyholder already when "broken" is found to have none.
    daemon.write_config(&(new.clone() + &broken));
    reload(&daemon, "broken.key: there is no private key");
    open_as(&daemon.client(), "old").assert_alive();
    daemon.write_config(&new);
    reload(&daemon, "configuration reloaded");
    open_as(&daemon.client(), "new").assert_alive();
    let last = daemon.worker();
    end(last);
    daemon.next_worker(last);
    open_as(&daemon.client(), "new").assert_alive();
}

#[test]
fn the_worker_and_the_supervisor_of_a_daemon_with_keys_are_not_its_keyholder() {
    let files = Files::new();
    let daemon = TestDaemon::with_config(files.profile("web", KeyKind::EcdsaP256));
    open_as(&daemon.client(), "web").assert_alive();
    let (worker, keyholder) = (daemon.worker(), keyholder(&daemon));
    assert!(worker != keyholder && keyholder != daemon.pid() && worker != daemon.pid());
    assert_eq!(family::comm(keyholder).as_deref(), Some(KEYHOLDER));
    // The private number of P-256 as its file has it (RFC 5915), and as libraries count, the lowest byte first.
    let identity = pki().server(KeyKind::EcdsaP256);
    let der = identity.key();
    let secret = &der.secret_der()[36..68];
    let turned: Vec<u8> = secret.iter().rev().copied().collect();
    let has = |pid| memory(pid).windows(32).any(|window| window == secret || window == turned);
    assert!(!has(worker), "the key is in the worker");
    assert!(!has(daemon.pid()), "the key is in the supervisor");
    assert!(has(keyholder), "this test looks for the wrong bytes");
}

/// Everything that a process can write to, as far as it can be read.
fn memory(pid: u32) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("it is ours");
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let at = |text| u64::from_str_radix(text, 16).expect("an address");
        let (start, end) = (at(start), at(end));
        // Page by page, because some of a mapping may not be there.
        for page in (start..end).step_by(4096) {
            let mut bytes = [0; 4096];
            let count = memory.read_at(&mut bytes, page).unwrap_or(0);
            all.extend_from_slice(&bytes[..count]);
        }
    }
    all
}
