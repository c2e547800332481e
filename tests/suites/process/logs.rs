//! What the daemon says while it works: in the form that was asked for, and never a secret.

use std::fs;
use std::io::Write;

use tlsify_client::{Accept, Connect, Export, How, Profile, Trust};
use tlsifyd_tests::handover::open_as;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, Options, TestDaemon, pki, tcp_pair};

use super::with_profile;

fn daemon(args: &[&str]) -> TestDaemon {
    let config = with_profile("", "web", pki().server(KeyKind::EcdsaP256));
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    TestDaemon::with(Options { config: Some(config), args, ..Options::default() })
}

/// The log, once this text is in it so often.
fn log_with(daemon: &TestDaemon, text: &str, times: usize) -> String {
    until(LIMIT, || {
        let log = daemon.log();
        // The whole line: the caller hears of the end before the log does.
        (log.matches(text).count() == times && log.ends_with(['\n'])).then_some(log)
    })
    .unwrap_or_else(|| panic!("\"{text}\" is not {times} times in:\n{}", daemon.log()))
}

/// One session from its beginning to its clean end, and the log with it.
fn log_of_a_session(daemon: &TestDaemon, text: &str) -> String {
    let client = daemon.client();
    let mut session = open_as(&client, "web");
    session.assert_alive();
    session.plain.shutdown(std::net::Shutdown::Write).expect("the session is open");
    session.peer.close_notify().expect("the session is open");
    assert_eq!(session.established.session.ended().expect("it ends").how, How::CloseNotify);
    log_with(daemon, text, 1)
}

#[test]
fn one_line_for_each_session_at_debug_says_how_it_ended() {
    let daemon = daemon(&["--log-level", "debug", "--log-format", "human"]);
    let log = log_of_a_session(&daemon, "session ended");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("session ended")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    for field in
        ["role=\"server\"", "how=\"close-notify\"", "bytes_in=14", "bytes_out=11", "protocol=\"TLSv1.3\""]
    {
        assert!(lines[0].contains(field), "no {field} in: {}", lines[0]);
    }
    assert!(!log.contains('\x1b'), "colours in a file:\n{log}");
}

#[test]
fn at_info_sessions_are_not_told() {
    let daemon = daemon(&["--log-format", "human"]);
    let log = log_of_a_session(&daemon, "serving");
    assert!(log.contains("serving") && !log.contains("session"), "{log}");
}

#[test]
fn json_has_one_object_on_each_line() {
    for args in [&["--log-level", "debug", "--log-format", "json"][..], &["--log-level", "debug"]] {
        let daemon = daemon(args);
        let log = log_of_a_session(&daemon, "session ended");
        for line in log.lines() {
            assert!(line.starts_with("{\"timestamp\":\"") && line.ends_with('}'), "{line}");
        }
        assert!(log.contains("\"message\":\"session ended\"") && log.contains("\"bytes_in\":14"), "{log}");
    }
}

#[test]
fn the_journal_gets_priorities() {
    let daemon = daemon(&["--log-level", "debug", "--log-format", "journal"]);
    let log = log_of_a_session(&daemon, "session ended");
    // The supervisor's, which hears of its worker while that serves already.
    let serving = || daemon.log().lines().any(|line| line.starts_with("<6>serving"));
    assert!(until(LIMIT, || serving().then_some(())).is_some(), "{log}");
    assert!(log.lines().any(|line| line.starts_with("<7>session ended")), "{log}");
    assert!(log.lines().all(|line| line.starts_with('<')), "{log}");
}

/// A secret in the ways it could be written.
fn spellings(secret: &[u8]) -> Vec<String> {
    let list = |separator: &str, write: fn(&u8) -> String| {
        secret.iter().map(write).collect::<Vec<_>>().join(separator)
    };
    vec![
        list("", |byte| format!("{byte:02x}")),
        list("", |byte| format!("{byte:02X}")),
        list(", ", u8::to_string),
        list(",", u8::to_string),
    ]
}

#[test]
fn no_secret_reaches_the_log_the_arguments_or_the_environment() {
    let daemon = daemon(&["--log-level", "trace", "--log-format", "human"]);
    let client = daemon.client();
    let identity = pki().server(KeyKind::Rsa2048);
    let own = Profile::server("own").certificate(identity.certificate_fd()).key(identity.key_fd());
    client.define(&own).expect("the identity is good");

    // Both ends are the daemon's: server and client sessions, exporter values, plaintext both ways.
    let (ours, theirs) = tcp_pair();
    let label = "EXPORTER-tlsifyd-secrets";
    let accept = Accept::new(theirs).profile("own").export(label, Some(b"context"), 32).channel_binding();
    let pending = client.start_accept(&accept).expect("the daemon listens");
    let connect = Connect::new(ours).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    let far = client.connect_tls(&connect.export(label, Some(b"context"), 32)).expect("a good server");
    let near = pending.wait().expect("a good client");
    let value = |exports: &[Export]| exports.first().expect("it was asked for").value.clone();
    let export = value(&near.facts.exports);
    assert_eq!(export, value(&far.facts.exports));
    let plaintext = "the-plaintext-that-nobody-may-see";
    for end in [&near.plain, &far.plain] {
        let fd = end.as_ref().expect("a plaintext descriptor").try_clone().expect("a descriptor is free");
        fs::File::from(fd).write_all(plaintext.as_bytes()).expect("the session is open");
    }
    // One that fails, because errors say the most.
    let (ours, theirs) = tcp_pair();
    let pending = client.start_accept(&Accept::new(theirs).profile("own")).expect("the daemon listens");
    let connect = Connect::new(ours).name("other.example").trust(Trust::ca(pki().ca.fd()));
    client.connect_tls(&connect).expect_err("the name is wrong");
    pending.wait().expect_err("the client said so");
    near.session.cancel().expect("the daemon listens");
    near.session.ended().expect("it ends");
    far.session.ended().expect("it ends");
    drop((near.plain, far.plain));

    log_with(&daemon, "session failed", 2);
    log_with(&daemon, "session ended", 2);
    let mut seen = vec![("log", daemon.log())];
    for process in daemon.pids().into_iter().map(|pid| format!("/proc/{pid}")) {
        seen.push(("arguments", fs::read_to_string(format!("{process}/cmdline")).expect("it runs")));
        seen.push(("environment", fs::read_to_string(format!("{process}/environ")).expect("it runs")));
    }
    let mut secrets = spellings(&export);
    secrets.extend(spellings(plaintext.as_bytes()));
    secrets.push(plaintext.to_owned());
    // In base64 as a field would have them, and each line of both keys.
    secrets.extend(["PRIVATE KEY".to_owned(), base64(&export), base64(plaintext.as_bytes())]);
    for identity in [identity, pki().server(KeyKind::EcdsaP256)] {
        let body = identity.key_pem.lines().filter(|line| !line.starts_with("-----"));
        secrets.extend(body.map(str::to_owned));
    }
    for (place, text) in &seen {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "a secret is in the {place}:\n{text}");
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // Whole groups only: the end would depend on padding.
    let letters = bytes.chunks_exact(3).flat_map(|three| {
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        [18, 12, 6, 0].map(|shift| char::from(ALPHABET[(bits >> shift & 63) as usize]))
    });
    letters.collect()
}
