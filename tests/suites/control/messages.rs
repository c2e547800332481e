//! Packets with nothing in them that a caller may say. What comes with descriptors is the descriptors' suite's.

use tlsifyd_tests::{RawCaller, TestDaemon};

#[test]
fn what_is_no_message_is_refused_by_name_and_the_connection_goes_on() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let cases: [(&[u8], &str, Option<&str>); 24] = [
        (b"\n", "malformed", None),
        (b"\xff\xfe", "malformed", None),
        (b"tlsify/1 status", "malformed", None),
        (b"\0\0\0\0", "malformed", None),
        (b"GET / HTTP/1.0\r\n\r\n", "malformed", None),
        (b"tlsify/1 status\nid=1", "malformed", None),
        (b"tlsify/1 status\nid=1\n\n", "malformed", None),
        (b"tlsify/1 status\nid=1\r\n", "malformed", None),
        (b"tlsify/1 status\nid=1\nscope=\xff\n", "malformed", None),
        (b"tlsify/1 status\nid=1\nscope=a\xc2\x80b\n", "malformed", None),
        (b"tlsify/1 status\nid=1\nscope\n", "malformed", None),
        (b"tlsify/2 status\nid=1\n", "version", Some("2")),
        (b"tlsify/1 acept\nid=1\nfds=net\n", "unknown-verb", Some("acept")),
        (b"tlsify/1 status\nid=1\nscoop=own\n", "unknown-key", Some("scoop")),
        (b"tlsify/1 cancel\nid=1\nscope=own\n", "unknown-key", Some("scope")),
        (b"tlsify/1 status\n", "missing-key", Some("id")),
        (b"tlsify/1 accept\nid=1\n", "missing-key", Some("fds")),
        (b"tlsify/1 status\nid=01\n", "bad-value", Some("id")),
        (b"tlsify/1 status\nid=-1\n", "bad-value", Some("id")),
        (b"tlsify/1 accept\nid=1\nfds=net certificate\nprofile=p\n", "bad-value", Some("fds")),
        (b"tlsify/1 status\nid=18446744073709551616\n", "bad-value", Some("id")),
        (b"tlsify/1 status\nid=1\nscope=others\n", "bad-value", Some("scope")),
        (b"tlsify/1 status\nid=1\nscope=own\nscope=own\n", "key-conflict", Some("scope")),
        (b"tlsify/1 cancel\nid=1\n", "unknown-id", Some("id")),
    ];
    for (packet, code, about) in cases {
        let answer = caller.ask(packet, &[]);
        let said = String::from_utf8_lossy(packet);
        let told = (answer.verb(), answer.get("code"), answer.get("about"), answer.get("blame"));
        assert_eq!(told, ("refused", Some(code), about, Some("caller")), "{said:?}: {}", answer.text);
        // The id as far as it could be read, and never another one.
        let readable = code != "malformed" && about != Some("id") || code == "unknown-id";
        assert!(answer.get("id") == Some("1") || !readable && answer.get("id").is_none(), "{}", answer.text);
        caller.assert_serves();
    }
}
