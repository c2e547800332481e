//! Where in memory keys are, and where they are not.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;
use tlsify_client::{Accept, ClientCertificate, Profile, Trust};
use tlsifyd_tests::agent::Keys;
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::family::status;
use tlsifyd_tests::handover::{accept, client_peer};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{KeyKind, TempDir, TestDaemon, pki, running, tcp_pair};

use super::{SHOP, config, daemon, shake};

/// Something secret, and what it is.
struct Secret {
    what: String,
    bytes: Vec<u8>,
}

/// What is secret of a key, as it may lie in memory: its number as the file has it and the other way round, as computations
/// have it, and a piece of the file's text.
fn secrets_of(what: &str, pem: &str) -> Vec<Secret> {
    let der = pem::parse(pem).expect("PEM").into_contents();
    let after = |marker: &[u8], count: usize| {
        let at = der.windows(marker.len()).position(|window| window == marker).expect("it is in there");
        der[at + marker.len()..][..count].to_vec()
    };
    let number = match what {
        "EcdsaP256" => after(&[2, 1, 1, 4, 32], 32),
        "EcdsaP384" => after(&[2, 1, 1, 4, 48], 48),
        "Ed25519" => after(&[4, 34, 4, 32], 32),
        // RSA: inside of the first prime, which lies behind modulus and exponents.
        _ => der[600..640].to_vec(),
    };
    let mut backwards = number.clone();
    backwards.reverse();
    let text = pem.lines().nth(1).expect("a line of base64").as_bytes();
    // From the middle of a line: its beginning says which kind of key it is.
    let text = text[text.len() - 32..].to_vec();
    let named = |how: &str, bytes| Secret { what: format!("{what} {how}"), bytes };
    vec![named("number", number), named("number, computed with", backwards), named("text", text)]
}

/// Which of them are in a process's memory.
fn found(pid: u32, secrets: &[Secret]) -> Vec<&str> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it runs");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("root may");
    let mut begins = [false; 256];
    secrets.iter().for_each(|secret| begins[usize::from(secret.bytes[0])] = true);
    let mut found = BTreeSet::new();
    for line in maps.lines().filter(|line| may_hold(line)) {
        let (start, end) = line.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        let (start, end) = (number(start), number(end));
        let mut bytes = vec![0; usize::try_from(end - start).expect("it fits")];
        // What cannot be read is no memory: the kernel's own pages.
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue;
        }
        for (at, byte) in bytes.iter().enumerate() {
            if begins[usize::from(*byte)] {
                let here = secrets.iter().filter(|secret| bytes[at..].starts_with(&secret.bytes));
                found.extend(here.map(|secret| secret.what.as_str()));
            }
        }
    }
    found.into_iter().collect()
}

/// Whether a mapping can have anything in it that was not in a program's or library's file.
fn may_hold(line: &str) -> bool {
    let mode = line.split(' ').nth(1).expect("a mode");
    let is_file = line.contains(" /") && !line.contains("/memfd:");
    mode.starts_with("rw") || mode.starts_with('r') && !is_file
}

#[test]
fn keys_are_in_the_keyholders_memory_and_in_no_other() {
    if !is_root("reading other processes' memory") {
        return;
    }
    let Some(daemon) = daemon(config(KeyKind::EcdsaP384)) else { return };
    let (keys, client) = (Keys::default(), daemon.client());
    // The configuration's, a caller's by descriptor, two by ssh-add.
    shake(&client, SHOP).expect("the configuration's");
    for kind in [KeyKind::EcdsaP256, KeyKind::Rsa2048] {
        let identity = pki().server(kind);
        let profile = Profile::server(SHOP).certificate(identity.certificate_fd()).key(identity.key_fd());
        client.define(&profile).expect("it is good");
        shake(&client, SHOP).expect("a caller's");
        let name = format!("kept-{kind:?}").to_lowercase();
        let kept = Profile::server(&name).certificate(identity.certificate_fd()).key(identity.key_fd());
        client.define(&kept).expect("it is good");
    }
    let added = keys.generate("ed25519", 256, "RFC4716");
    keys.ssh_add(&daemon, &[added.to_str().expect("plain")]).ok();
    let kinds = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048];
    let secrets: Vec<Secret> = kinds
        .iter()
        .flat_map(|kind| secrets_of(&format!("{kind:?}"), &pki().server(*kind).key_pem))
        .collect();
    for (pid, who) in [(daemon.pid(), "supervisor"), (daemon.worker(), "worker")] {
        assert_eq!(found(pid, &secrets), Vec::<&str>::new(), "in the {who}'s memory");
    }
    // So that this test can fail: each key is found where it has to be, and its file's text nowhere.
    let here = found(daemon.keyholder(), &secrets);
    for kind in kinds {
        let kind = format!("{kind:?} number");
        assert!(
            here.iter().any(|what| what.starts_with(&kind)),
            "{kind} is not in the keyholder's: {here:?}"
        );
    }
    assert!(!here.iter().any(|what| what.ends_with("text")), "{here:?}");
}

/// A file of a temporary folder that nobody but its owner may read.
fn private_file(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, text).expect("the folder is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
    path
}

#[test]
fn a_key_in_the_same_file_as_a_certificate_is_in_no_other_memory_either() {
    if !is_root("reading other processes' memory") {
        return;
    }
    let dir = TempDir::new("combined");
    let [operators, callers, stray] =
        [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048].map(|kind| pki().server(kind));
    let plain = pki().server(KeyKind::Ed25519);
    let both = |identity: &Identity| format!("{}{}", identity.certificate_pem, identity.key_pem);
    // The operator's: one file for both, and a certificate whose file has another key besides.
    let own = private_file(&dir, "both.pem", &both(operators));
    let other = private_file(&dir, "stray.pem", &format!("{}{}", stray.key_pem, plain.certificate_pem));
    let config = server_profile(SHOP, "users = [\"*\"]", &own, &own)
        + &server_profile("second", "users = [\"*\"]", &other, &plain.key_file);
    let daemon = TestDaemon::with_config(config);
    daemon.says("stray.pem has a private key in it, which is not used");
    let client = daemon.client();
    for profile in [SHOP, "second"] {
        shake(&client, profile).expect("the configuration's");
    }
    // A caller's: two descriptors of one file, and the other key in the certificate's and the CA's file.
    let combined = private_file(&dir, "callers.pem", &both(callers));
    let open = |path: &Path| File::open(path).expect("it is ours");
    let profile = Profile::server(SHOP).certificate(open(&combined)).key(open(&combined));
    assert_eq!(client.define(&profile).expect("it is good").warnings, Vec::<String>::new());
    shake(&client, SHOP).expect("a caller's");
    let authorities = private_file(&dir, "ca.pem", &format!("{}{}", pki().ca.pem, stray.key_pem));
    let profile = Profile::server("third")
        .certificate(open(&other))
        .key(plain.key_fd())
        .trust(Trust::ca(open(&authorities)))
        .client_certificate(ClientCertificate::Optional);
    let warnings = client.define(&profile).expect("it is good").warnings;
    assert_eq!(warnings, ["the file \"certificate\" has a private key in it, too, which is not used"]);
    shake(&client, "third").expect("a caller's");
    // And a folder of authorities, which the supervisor reads for the worker.
    let folder = profile_with_folder(&dir, plain, &format!("{}{}", stray.key_pem, pki().ca.pem));
    client.define(&folder).expect("it is good");
    shake(&client, "fourth").expect("a caller's");
    let kinds = [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048];
    let secrets: Vec<Secret> = kinds
        .iter()
        .flat_map(|kind| secrets_of(&format!("{kind:?}"), &pki().server(*kind).key_pem))
        .collect();
    for (pid, who) in [(daemon.pid(), "supervisor"), (daemon.worker(), "worker")] {
        assert_eq!(found(pid, &secrets), Vec::<&str>::new(), "in the {who}'s memory");
    }
    let here = found(daemon.keyholder(), &secrets);
    for kind in ["EcdsaP256 number", "EcdsaP384 number"] {
        assert!(here.iter().any(|what| what.starts_with(kind)), "{kind} is not in the keyholder's: {here:?}");
    }
    assert!(!here.iter().any(|what| what.ends_with("text")), "{here:?}");
    // After a reload and in another worker likewise.
    let before = daemon.worker();
    daemon.signal(Signal::SIGHUP);
    daemon.says("configuration reloaded");
    daemon.signal_worker(Signal::SIGKILL);
    let worker = daemon.next_worker(before);
    shake(&daemon.client(), SHOP).expect("the configuration's");
    for (pid, who) in [(daemon.pid(), "supervisor"), (worker, "next worker")] {
        assert_eq!(found(pid, &secrets), Vec::<&str>::new(), "in the {who}'s memory");
    }
}

/// A server's profile with a folder of authorities, in which one file has this text.
fn profile_with_folder(dir: &TempDir, identity: &Identity, text: &str) -> Profile {
    let path = dir.path().join("authorities");
    fs::create_dir(&path).expect("the folder is ours");
    fs::write(path.join("one.pem"), text).expect("the folder is ours");
    Profile::server("fourth")
        .certificate(identity.certificate_fd())
        .key(identity.key_fd())
        .trust(Trust::ca(File::open(&path).expect("it is ours")))
        .client_certificate(ClientCertificate::Optional)
}

#[test]
fn a_private_daemons_key_is_in_its_keyholder_and_in_neither_of_the_others() {
    if !is_root("reading other processes' memory") {
        return;
    }
    let dir = TempDir::new("private-keys");
    let [combined, own] = [KeyKind::EcdsaP256, KeyKind::EcdsaP384].map(|kind| pki().server(kind));
    let daemon = TestDaemon::private();
    let client = daemon.client();
    let file = private_file(&dir, "both.pem", &format!("{}{}", combined.key_pem, combined.certificate_pem));
    let open = || File::open(&file).expect("it is ours");
    client.define(&Profile::server(SHOP).certificate(open()).key(open())).expect("it is good");
    shake(&client, SHOP).expect("its caller's");
    let second = Profile::server("second").certificate(own.certificate_fd()).key(own.key_fd());
    client.define(&second).expect("it is good");
    shake(&client, "second").expect("its caller's");
    let secrets: Vec<Secret> = [("EcdsaP256", combined), ("EcdsaP384", own)]
        .into_iter()
        .flat_map(|(what, identity)| secrets_of(what, &identity.key_pem))
        .collect();
    for (pid, who) in [(daemon.pid(), "supervisor"), (daemon.worker(), "worker")] {
        assert_eq!(found(pid, &secrets), Vec::<&str>::new(), "in the {who}'s memory");
    }
    let here = found(daemon.keyholder(), &secrets);
    for kind in ["EcdsaP256 number", "EcdsaP384 number"] {
        assert!(here.iter().any(|what| what.starts_with(kind)), "{kind} is not in the keyholder's: {here:?}");
    }
}

#[test]
fn forgotten_keys_are_wiped() {
    if !is_root("reading other processes' memory") {
        return;
    }
    let identity = pki().server(KeyKind::Ed25519);
    let Some(daemon) = daemon(String::new()) else { return };
    let client = daemon.client();
    let profile = Profile::server(SHOP).certificate(identity.certificate_fd()).key(identity.key_fd());
    client.define(&profile).expect("it is good");
    shake(&client, SHOP).expect("a caller's");
    let secrets = secrets_of("Ed25519", &identity.key_pem);
    assert!(!found(daemon.keyholder(), &secrets).is_empty(), "or this test shows nothing");
    drop(client);
    let gone = tlsifyd_tests::wait::until(tlsifyd_tests::wait::LIMIT, || {
        found(daemon.keyholder(), &secrets).is_empty().then_some(())
    });
    gone.unwrap_or_else(|| panic!("{:?}", found(daemon.keyholder(), &secrets)));
}

/// A session with the keys of tickets in this file.
fn with_tickets(daemon: &TestDaemon, file: File) {
    let (near, far) = tcp_pair();
    let request: Accept = accept(far).resume_file(file);
    let pending = daemon.client().start_accept(&request).expect("the daemon takes requests");
    let peer = running("a peer", move || client_peer(near).handshake().is_ok());
    let session = pending.wait().expect("the session opens");
    assert!(peer.join());
    drop(session);
}

#[test]
fn keys_of_tickets_are_in_the_workers_memory_and_in_no_other() {
    if !is_root("reading other processes' memory") {
        return;
    }
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    let dir = TempDir::new("tickets");
    let path = dir.path().join("keys");
    let open = || {
        let mut options = fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .expect("it is ours")
    };
    with_tickets(&daemon, open());
    let bytes = fs::read(&path).expect("it was written");
    // The newest key of the first half: behind the file's name, its number, and when and which it is.
    let secrets = [Secret { what: "ticket key".to_owned(), bytes: bytes[40..72].to_vec() }];
    assert_eq!(found(daemon.worker(), &secrets), ["ticket key"], "or this test shows nothing");
    for (pid, who) in [(daemon.pid(), "supervisor"), (daemon.keyholder(), "keyholder")] {
        assert_eq!(found(pid, &secrets), Vec::<&str>::new(), "in the {who}'s memory");
    }
}

#[test]
fn the_keyholders_memory_is_locked_and_in_no_core_dump() {
    let Some(daemon) = daemon(config(KeyKind::EcdsaP256)) else { return };
    shake(&daemon.client(), SHOP).expect("the configuration's");
    let keyholder = daemon.keyholder();
    let locked: u64 = status(keyholder, "VmLck").trim_end_matches(" kB").parse().expect("a number");
    assert!(locked > 0);
    let limits = fs::read_to_string(format!("/proc/{keyholder}/limits")).expect("it runs");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Of a process that may be dumped, these would be its own user's. (Root's are root's either way.)
    let owner = std::os::unix::fs::MetadataExt::uid(
        &fs::metadata(format!("/proc/{keyholder}/mem")).expect("it runs"),
    );
    assert_eq!(owner, 0);
    // The heap, where keys are: "lo" is locked, "dd" not dumped.
    let smaps = fs::read_to_string(format!("/proc/{keyholder}/smaps")).expect("it runs");
    let heap = smaps.split("[heap]").nth(1).expect("there is a heap");
    let flags = heap.lines().find_map(|line| line.strip_prefix("VmFlags:")).expect("flags");
    assert!(flags.split_whitespace().any(|flag| flag == "lo"), "{flags}");
}
