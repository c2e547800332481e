//! `tlsifyd status`: the inventory as a table for people and as JSON for machines, against what is really open.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::{Value, json};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::{Open, begin, open, open_as};
use tlsifyd_tests::program::Output;
use tlsifyd_tests::terminal::terminal;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Program, TempDir, TestDaemon, User, built, outgoing, pki, user};

use super::define;

fn asking(daemon: &TestDaemon, words: &[&str]) -> Command {
    let mut command = Command::new(built::daemon());
    command.arg("status").args(words).arg("--socket").arg(daemon.socket()).stdin(Stdio::null());
    command
}

fn said(daemon: &TestDaemon, words: &[&str]) -> Output {
    Program::run(&mut asking(daemon, words))
}

fn json_of(daemon: &TestDaemon, words: &[&str]) -> Value {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    serde_json::from_str(&said(daemon, &words).ok()).unwrap()
}

/// The one of these whose key says this.
fn one<'a>(list: &'a Value, key: &str, says: &str) -> &'a Value {
    let mut found = list.as_array().unwrap().iter().filter(|one| one[key] == says);
    let one = found.next().unwrap_or_else(|| panic!("no {key} {says} in {list}"));
    assert!(found.next().is_none(), "{list}");
    one
}

/// A session in each role, one of the operator's profile, and a handshake that waits for its peer.
fn busy() -> (TestDaemon, tlsify_client::Client, [Open; 2]) {
    let good = pki().server(KeyKind::EcdsaP256);
    let rule = "[[rule]]\nname = \"all\"\nusers = [\"*\"]\n";
    let shop = server_profile("shop", "users = [\"*\"]", &good.certificate_file, &good.key_file);
    let daemon = TestDaemon::with_config(format!("{rule}{shop}"));
    let client = daemon.client();
    let mut sessions = [open_as(&client, "shop"), outgoing::open(&client)];
    sessions.iter_mut().for_each(Open::assert_alive);
    (daemon, client, sessions)
}

#[test]
fn every_field_of_a_session_is_what_the_session_is() {
    let (daemon, _client, [server, outgoing]) = busy();
    let uid = rustix::process::geteuid().as_raw();
    let answer = json_of(&daemon, &["--sessions"]);
    assert_eq!(answer["scope"], if uid == 0 { "all" } else { "own" });
    assert!(answer["daemon"].as_str().unwrap().starts_with("tlsifyd/"), "{answer}");
    assert_eq!(answer["counts"]["sessions"], 2);
    assert!(answer.get("callers").is_none(), "it was not asked for: {answer}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    for (role, session, profile) in [("server", &server, Some("shop")), ("client", &outgoing, None)] {
        let one = one(&answer["sessions"], "role", role);
        let facts = &session.established.facts;
        let expected = json!({
            "uid": uid,
            "pid": std::process::id(),
            "rule": "all",
            "state": "established",
            "peer": session.peer.socket.local_addr().unwrap().to_string(),
            "server_name": facts.server_name,
            "profile": profile,
            "protocol": facts.protocol,
            "cipher": facts.cipher,
            "group": facts.group,
            "alpn": null,
            "level": facts.level.map(tlsify_client::Level::as_str),
            "in": 14,
            "out": 11,
            "key_updates": 0,
        });
        for (key, value) in expected.as_object().unwrap() {
            assert_eq!(one[key], *value, "{role} {key}: {one}");
        }
        assert_eq!(one["user"].is_string(), uid == 0, "root has a name: {one}");
        assert!(one["process"].is_string() && one["id"].is_u64() && one["age"].is_u64(), "{one}");
        let (ours, theirs) = (&one["certificate_until"], &one["peer_until"]);
        let (shown, not_shown) = if role == "server" { (ours, theirs) } else { (theirs, ours) };
        assert!(not_shown.is_null(), "nobody showed one: {one}");
        let until = shown.as_u64().unwrap();
        assert!(until > now && until % 60 == 0, "{one}");
    }
}

#[test]
fn what_a_session_waits_for_is_its_state() {
    let (daemon, client, [mut server, _outgoing]) = busy();
    let (handshaking, _peer) = begin(&client, |accept| accept);
    server.peer.half_close().unwrap();
    let states = || {
        let answer = json_of(&daemon, &["--sessions"]);
        let list = answer["sessions"].as_array().unwrap().iter();
        let mut states: Vec<String> = list.map(|one| one["state"].as_str().unwrap().to_owned()).collect();
        states.sort();
        (states == ["closing", "established", "handshaking"]).then_some(())
    };
    assert!(until(LIMIT, states).is_some(), "{}", json_of(&daemon, &["--sessions"]));
    let answer = json_of(&daemon, &[]);
    let waits = one(&answer["sessions"], "state", "handshaking");
    let nothing =
        ["cipher", "group", "alpn", "level", "profile", "certificate_until", "peer_until", "server_name"];
    for key in nothing {
        assert!(waits[key].is_null(), "{key}: {waits}");
    }
    drop(handshaking);
}

#[test]
fn a_callers_line_counts_what_the_process_has() {
    let (daemon, client, sessions) = busy();
    define(&client, "own", pki().server(KeyKind::EcdsaP256)).unwrap();
    let second = daemon.client();
    let (handshaking, _peer) = begin(&second, |accept| accept);
    let answer = json_of(&daemon, &["--callers"]);
    let callers = answer["callers"].as_array().unwrap();
    assert_eq!(callers.len(), 2, "this process, and the one that asks: {answer}");
    let us = callers.iter().find(|one| one["pid"] == std::process::id()).unwrap();
    let expected = json!({"rule": "all", "connections": 2, "sessions": 3, "handshakes": 1, "profiles": 1});
    for (key, value) in expected.as_object().unwrap() {
        assert_eq!(us[key], *value, "{key}: {us}");
    }
    assert!(us["profile_bytes"].as_u64().unwrap() > 100, "{us}");
    // The data descriptors alone hold the sessions, and nothing the connection.
    let _held = sessions.map(|session| (session.plain, session.peer));
    drop((handshaking, second, client));
    let alone = until(LIMIT, || {
        let answer = json_of(&daemon, &["--callers"]);
        let us = answer["callers"].as_array()?.iter().find(|one| one["pid"] == std::process::id())?.clone();
        (us["connections"] == 0 && us["sessions"] == 2 && us["profiles"] == 0).then_some(())
    });
    assert!(alone.is_some(), "{}", json_of(&daemon, &["--callers"]));
}

#[test]
fn the_table_lines_up_is_sorted_and_has_no_colour() {
    let (daemon, _client, [server, _outgoing]) = busy();
    let text = said(&daemon, &[]).ok();
    assert!(!text.contains('\u{1b}'), "{text}");
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("tlsifyd/") && first.contains("2 open sessions"), "{first}");
    let titles = lines.nth(1).unwrap();
    let peer = titles.find("PEER").unwrap_or_else(|| panic!("{text}"));
    let address = server.peer.socket.local_addr().unwrap().to_string();
    let rows: Vec<&str> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert_eq!(rows.len(), 2, "{text}");
    let row = rows.iter().find(|row| row.contains(&address)).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(row.find(&address), Some(peer), "the column is under its title:\n{text}");
    for word in ["server", "established", "server.example", "shop", "1.3", "all", " 14 ", " 11 "] {
        assert!(row.contains(word), "no {word} in {row}");
    }
    assert!(lines.next().is_some_and(|titles| titles.contains("CONNECTIONS")), "{text}");
    assert_eq!(said(&daemon, &["--stores"]).ok().lines().last(), Some("no stores"));
}

#[test]
fn on_a_narrow_terminal_the_least_important_columns_are_left_out() {
    let (daemon, _client, _sessions) = busy();
    let (mut person, programs) = terminal();
    tcsetwinsize(&programs, Winsize { ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut command = asking(&daemon, &["--sessions"]);
    let status = tlsifyd_tests::within("status", move || {
        let mut child = command.stdout(Stdio::from(programs)).spawn().unwrap();
        // Or the other end never ends.
        drop(command);
        child.wait().unwrap()
    });
    assert!(status.success());
    let text = read_all(&mut person);
    assert!(text.contains("PEER") && text.contains("(no room for "), "{text}");
    let rows = text.lines().filter(|line| line.contains("USER") || line.contains("established"));
    assert!(rows.clone().count() >= 3 && rows.clone().all(|row| row.trim_end().len() <= 60), "{text}");
}

/// What was written to a terminal whose programs have gone, which then is an error to read.
fn read_all(person: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = person.read_to_end(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn others_see_their_own_and_the_operators_see_all() {
    if !user::is_root("others_see_their_own_and_the_operators_see_all") {
        return;
    }
    let daemon = TestDaemon::with_config("[status]\noperators = [1009]\n");
    let [one, other] = [1001, 1002].map(|uid| User::new(uid).client(&daemon));
    let _sessions = (open(&one), open(&other));
    // Everybody may run it, wherever the build is.
    let dir = TempDir::new("status");
    let program = dir.path().join("tlsifyd");
    // By another process: while this one writes it, a test beside could start a program that holds it open.
    assert!(Program::run(Command::new("cp").arg(built::daemon()).arg(&program)).status.success());
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let ask = |uid: u32, words: &[&str]| {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(&program);
        command.args(["status", "--json"]).args(words).arg("--socket").arg(daemon.socket());
        Program::run(command.uid(uid).gid(uid))
    };
    let seen = |uid: u32, words: &[&str]| {
        let said = ask(uid, words).ok();
        let answer: Value = serde_json::from_str(&said).unwrap();
        let uids = |list: &str| -> Vec<u64> {
            answer[list].as_array().unwrap().iter().map(|one| one["uid"].as_u64().unwrap()).collect()
        };
        (answer["scope"].as_str().unwrap().to_owned(), uids("sessions"), uids("callers"))
    };
    assert_eq!(seen(1001, &[]), ("own".to_owned(), vec![1001], vec![1001, 1001]));
    assert_eq!(seen(1009, &[]), ("all".to_owned(), vec![1001, 1002], vec![1001, 1002, 1009]));
    assert_eq!(seen(1009, &["--mine"]), ("own".to_owned(), vec![], vec![1009]));
    assert_eq!(seen(0, &["--all"]).1, [1001, 1002]);
    let refused = ask(1001, &["--all"]);
    assert_eq!((refused.status.code(), refused.stdout.as_str()), (Some(97), ""));
    assert!(refused.stderr.contains("uid 1001 may see its own sessions only"), "{refused:?}");
    assert!(refused.stderr.contains("\nhint: --mine shows your own"), "{refused:?}");
}

#[test]
fn where_there_is_no_daemon_that_is_said_with_a_hint() {
    let mut command = Command::new(built::daemon());
    let output = Program::run(command.args(["status", "--socket", "/nonexistent/tlsifyd.sock"]));
    assert_eq!(output.status.code(), Some(97));
    let first =
        "tlsifyd: cannot reach tlsifyd at /nonexistent/tlsifyd.sock: no such file or directory\nhint: ";
    assert!(output.stderr.starts_with(first), "{output:?}");
}
