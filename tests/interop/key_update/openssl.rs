//! OpenSSL, which tells every handshake message that it sees, in a file beside the stream.

use std::fs;

use tlsify_client::{Accept, Connect, How, Trust};
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{Door, Open, TempDir, TestDaemon, Typed, pki, reach, running, tool, wait};

use super::{ENOUGH, OFTEN, again, are_lines, count, good, hear, key_updates, line, lines, say_until_enough};

/// Both ways at once: the tool gets `least` bytes or more, and says as many as `least`.
fn both_ways(daemon: &TestDaemon, open: Open, mut tool: Typed, messages: &std::path::Path, least: usize) {
    let caller = daemon.client();
    let reader = hear(again(&open.plain), least);
    let writer = say_until_enough(caller, again(&open.plain), least);
    // The tool's own words: the same lines.
    let typist = running("typist", move || {
        let mut number = 0;
        while usize::try_from(number * 64).expect("it fits") < least {
            tool.type_in(std::str::from_utf8(&lines(number)).expect("digits"));
            number += 1024;
        }
        tool
    });
    let said = writer.join();
    assert!(are_lines(&reader.join()), "what the tool said came as it was");
    let mut tool = typist.join();
    // Behind what it prints of the session.
    let all = wait::until(wait::LIMIT, || {
        let text = tool.program.stdout();
        // Its own remarks, between records.
        let text =
            text.replace("Read BLOCK\n", "").replace("Write BLOCK\n", "").replace("read R BLOCK\n", "");
        text.contains(&line(said as u64 / 64 - 1)).then_some(text)
    });
    let all = all.unwrap_or_else(|| panic!("not all of {said} bytes came"));
    let start = all.find(&line(0)).expect("the first line came");
    assert!(are_lines(&all.as_bytes()[start..start + said]), "what we said came as it was");

    let updates = key_updates(&daemon.client());
    assert!(updates >= ENOUGH);
    let messages = || fs::read_to_string(messages).expect("OpenSSL writes it");
    assert_eq!(count(&messages(), &["<<< TLS 1.3", "KeyUpdate"]), updates, "each of ours came");
    let answers = count(&messages(), &[">>> TLS 1.3", "KeyUpdate"]);
    assert!((1..=updates).contains(&answers), "{answers}: it has new keys, too");
    tool.hang_up();
    let (rest, ended) = open.rest();
    assert_eq!(rest, "");
    assert_eq!((ended.bytes_out, ended.bytes_in), (said as u64, least as u64));
}

#[test]
fn a_server_gets_and_gives_64_mib_with_new_keys_in_between() {
    let Some(openssl) = tool("openssl") else { return };
    let (daemon, dir) = (TestDaemon::start(), TempDir::new("messages"));
    let messages = dir.path().join("messages");
    let file = messages.to_str().expect("our paths are text");
    let (tool, port) = s_server(&openssl, good(), &["-tls1_3", "-msg", "-msgfile", file]);
    let request = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    let open = Open::new(daemon.client().connect_tls(&request.key_update_bytes(OFTEN)).unwrap());
    both_ways(&daemon, open, tool, &messages, 64 << 20);
}

#[test]
fn a_client_gets_and_gives_megabytes_with_new_keys_in_between() {
    let Some(openssl) = tool("openssl") else { return };
    let (daemon, dir, door) = (TestDaemon::start(), TempDir::new("messages"), Door::open());
    let messages = dir.path().join("messages");
    let file = messages.to_str().expect("our paths are text");
    let tool = s_client(&openssl, door.port(), &["-tls1_3", "-msg", "-msgfile", file]);
    let request = Accept::new(door.next()).certificate(good().certificate_fd()).key(good().key_fd());
    // With an exporter value, and so on the other of rustls' interfaces.
    let request = request.key_update_bytes(OFTEN).channel_binding();
    let open = Open::new(daemon.client().accept(&request).unwrap());
    both_ways(&daemon, open, tool, &messages, 8 << 20);
}

#[test]
fn new_keys_that_openssl_asks_for_are_followed_and_answered() {
    let Some(openssl) = tool("openssl") else { return };
    let (daemon, dir, door) = (TestDaemon::start(), TempDir::new("messages"), Door::open());
    let messages = dir.path().join("messages");
    let file = messages.to_str().expect("our paths are text");
    let mut tool = s_client(&openssl, door.port(), &["-tls1_3", "-msg", "-msgfile", file]);
    let request = Accept::new(door.next()).certificate(good().certificate_fd()).key(good().key_fd());
    let mut open = Open::new(daemon.client().accept(&request.key_update_bytes(OFTEN)).unwrap());
    for round in 0..5 {
        // "K" asks for ours, too; "k" does not.
        tool.type_in(if round % 2 == 0 { "K\n" } else { "k\n" });
        // What is typed at once is one command or none.
        let taken = || (count(&tool.program.stderr(), &["KEYUPDATE"]) == round + 1).then_some(());
        wait::until(wait::LIMIT, taken).expect("OpenSSL takes the command");
        tool.type_in(&line(round));
        open.hear(&line(round));
        open.say(&line(round));
        tool.program.line_with(line(round).trim_end());
        let seen = || {
            let text = fs::read_to_string(&messages).unwrap_or_default();
            (count(&text, &[">>> TLS 1.3", "KeyUpdate"]) == round + 1).then_some(text)
        };
        let text = wait::until(wait::LIMIT, seen).expect("OpenSSL has a new key");
        assert_eq!(count(&text, &["<<< TLS 1.3", "KeyUpdate"]), round / 2 + 1, "and so have we");
    }
    assert_eq!(key_updates(&daemon.client()), 0, "ours were answers");
    tool.hang_up();
    assert_eq!(open.rest().1.how, How::CloseNotify);
}

#[test]
fn tls12_has_none_and_goes_on() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let (mut tool, port) = s_server(&openssl, good(), &["-tls1_2"]);
    let request = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    let mut open = Open::new(daemon.client().connect_tls(&request.key_update_bytes(OFTEN)).unwrap());
    for round in 0..64 {
        open.say(std::str::from_utf8(&lines(round * 1024)).expect("digits"));
    }
    tool.program.line_with(line(64 * 1024 - 1).trim_end());
    assert_eq!(key_updates(&daemon.client()), 0);
    open.finish();
}
