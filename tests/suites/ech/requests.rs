//! What can be asked for, and what is refused by name before anything is sent.

use tlsifyd_tests::ech::{EchKey, base64};
use tlsifyd_tests::{RawCaller, TestDaemon, tcp_pair};

#[test]
fn what_is_no_list_and_what_cannot_be_used_are_told_apart() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let caller = RawCaller::connect(daemon.socket());
    let (_ours, net) = tcp_pair();
    let mut draft = key.list();
    draft[3] = 9;
    for (list, code) in [
        (vec![0], "bad-value"),
        (vec![0, 0], "bad-value"),
        (key.list()[2..].to_vec(), "bad-value"),
        (key.list()[..20].to_vec(), "bad-value"),
        (draft, "ech-unusable"),
        ([&key.list()[..], b"more"].concat(), "bad-value"),
    ] {
        let text = format!("tlsify/1 connect\nid=1\nfds=net\nname=a.example\nech-config={}\n", base64(&list));
        caller.ask(text, &[&net]).assert_refused(code, Some("ech-config"));
    }
    let text = "tlsify/1 connect\nid=1\nfds=net\nname=a.example\nech-config=not base64\n";
    caller.ask(text, &[&net]).assert_refused("bad-value", Some("ech-config"));
    caller.assert_serves();
}

#[test]
fn what_is_impossible_is_refused_by_name() {
    let (daemon, key) = (TestDaemon::start(), EchKey::new(1));
    let caller = RawCaller::connect(daemon.socket());
    let (_ours, net) = tcp_pair();
    let old = "tlsify/1 define\nid=1\nprofile=old\nrole=client\nmax=1.2\n";
    assert_eq!(caller.ask(old, &[]).verb(), "defined");
    let list = format!("ech-config={}", base64(&key.list()));
    for (lines, about) in [
        ("name=a.example\nmax=1.2\n", "both"),
        ("name=a.example\nciphers=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256\n", "both"),
        ("name=a.example\nprofile=old\n", "both"),
        ("name=a.example\nserver-name=none\n", "ech-config"),
        ("name=192.0.2.7\n", "ech-config"),
    ] {
        for (key, line) in [("ech-config", list.as_str()), ("ech", "ech=grease")] {
            if about == "both" || about == key {
                let text = format!("tlsify/1 connect\nid=1\nfds=net\n{lines}{line}\n");
                caller.ask(text, &[&net]).assert_refused("key-conflict", Some(key));
            }
        }
    }
    for (key, line) in [("ech-config", list.as_str()), ("ech", "ech=grease")] {
        let text = format!("tlsify/1 accept\nid=1\nfds=net\nprofile=p\n{line}\n");
        caller.ask(text, &[&net]).assert_refused("key-conflict", Some(key));
    }
    let text = format!("tlsify/1 connect\nid=1\nfds=net\nname=a.example\n{list}\nech=grease\n");
    caller.ask(text, &[&net]).assert_refused("key-conflict", Some("ech"));
}
