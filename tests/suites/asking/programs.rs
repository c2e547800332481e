//! Clients that people have, and what is told of them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Program, RawAnswer, RawCaller, TestDaemon, pki, tool, within};

use super::{asked, assert_failed, caller, choose, send};

/// Runs a client against a listener of ours, hands its connection over, and refuses it when it has been told.
fn told(caller: &RawCaller, id: u64, client: impl FnOnce(u16) -> Command) -> RawAnswer {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut command = client(listener.local_addr().unwrap().port());
    let program = Program::start(command.stdin(Stdio::null()));
    let (net, _) = within("the client connects", move || listener.accept().unwrap());
    send(caller, id, "", &net);
    drop(net);
    let answer = asked(caller, id);
    choose(caller, id, "action=refuse\nalert=access_denied\n");
    assert_failed(caller, id, "refused-by-caller", "caller", "closed");
    let said = program.wait();
    assert!(!said.status.success(), "it took the refusal for a success: {said:?}");
    answer
}

fn has(answer: &RawAnswer, key: &str, word: &str) -> bool {
    answer.get(key).is_some_and(|words| words.split(' ').any(|other| other == word))
}

#[track_caller]
fn assert_usual(answer: &RawAnswer, name: Option<&str>) {
    assert_eq!((answer.get("tls"), answer.get("server-name")), (Some("yes"), name), "{}", answer.text);
    assert!(has(answer, "ciphers", "TLS_AES_128_GCM_SHA256"), "{}", answer.text);
    assert!(has(answer, "groups", "x25519") && has(answer, "groups", "secp256r1"), "{}", answer.text);
    assert!(has(answer, "signature-schemes", "ecdsa_secp256r1_sha256"), "{}", answer.text);
    // None of them has a suite, group or scheme without a name here, but for the odd Russian or Camellia one.
    let words = answer.text.split([' ', '\n']);
    assert!(words.filter(|word| word.starts_with("0x")).count() < 20, "{}", answer.text);
}

#[test]
fn openssl() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let s_client = |port: u16, options: &[&str]| {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-connect", &format!("127.0.0.1:{port}")]).args(options);
        command
    };
    let answer =
        told(&caller, 10, |port| s_client(port, &["-servername", "Shop.Example", "-alpn", "h2,http/1.1"]));
    assert_usual(&answer, Some("shop.example"));
    assert_eq!(answer.get("alpn"), Some("h2 http/1.1"));
    assert!(answer.get("versions").unwrap().starts_with("1.3 1.2"), "{}", answer.text);
    assert_eq!((answer.get("key-shares"), answer.get("ech")), (Some("x25519"), Some("no")));
    assert!(answer.get("ja4").unwrap().starts_with("t13d"), "{}", answer.text);
    // The fingerprint is the client's and not the connection's.
    let again =
        told(&caller, 11, |port| s_client(port, &["-servername", "other.example", "-alpn", "h2,http/1.1"]));
    assert_eq!(again.get("ja4"), answer.get("ja4"));
    let older = told(&caller, 12, |port| s_client(port, &["-tls1_2", "-noservername"]));
    assert_eq!((older.get("server-name"), older.get("versions")), (None, Some("1.2")), "{}", older.text);
    assert!(older.get("ja4").unwrap().starts_with("t12i"), "{}", older.text);
    assert!(has(&older, "ciphers", "TLS_EMPTY_RENEGOTIATION_INFO_SCSV"), "{}", older.text);
}

#[test]
fn curl() {
    let Some(curl) = tool("curl") else { return };
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let fetch = |port: u16| {
        let mut command = Command::new(&curl);
        let limit = LIMIT.as_secs().to_string();
        command.args(["-sS", "--max-time", &limit, "--resolve", &format!("shop.example:{port}:127.0.0.1")]);
        command.arg("--cacert").arg(&pki().ca.file).arg(format!("https://shop.example:{port}/"));
        command
    };
    let answer = told(&caller, 10, fetch);
    assert_usual(&answer, Some("shop.example"));
    assert!(has(&answer, "alpn", "http/1.1"), "{}", answer.text);
}

#[test]
fn gnutls() {
    let Some(client) = tool("gnutls-cli") else { return };
    let daemon = TestDaemon::start();
    let caller = caller(&daemon);
    let connect = |client: &Path, port: u16, options: &[&str]| {
        let mut command = Command::new(client);
        command.args(["--insecure", "-p", &port.to_string()]).args(options).arg("127.0.0.1");
        command
    };
    let answer =
        told(&caller, 10, |port| connect(&client, port, &["--sni-hostname=shop.example", "--alpn=h2"]));
    assert_usual(&answer, Some("shop.example"));
    assert_eq!(answer.get("alpn"), Some("h2"));
    // An address is no name: it sends none.
    let answer = told(&caller, 11, |port| connect(&client, port, &["--priority=NORMAL:-VERS-TLS1.3"]));
    assert_usual_of_tls12(&answer);
}

#[track_caller]
fn assert_usual_of_tls12(answer: &RawAnswer) {
    assert_eq!(answer.get("server-name"), None, "{}", answer.text);
    assert!(has(answer, "versions", "1.2") && !has(answer, "versions", "1.3"), "{}", answer.text);
    assert!(answer.get("ja4").unwrap().starts_with("t12i"), "{}", answer.text);
}
