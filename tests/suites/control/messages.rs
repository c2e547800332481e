//! Packets of the wrong length, with the wrong descriptors, or with nothing that a caller may say.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tlsifyd_tests::handover::open;
use tlsifyd_tests::{RawCaller, TestDaemon, tcp_pair};

use super::serves;

/// Bytes that a packet may have (PROTOCOL.md, transport).
const MAX_PACKET: usize = 65_536;

/// A good question of exactly so many bytes.
fn of_length(bytes: usize) -> String {
    let head = "tlsify/1 status\nid=1\n?padding=";
    format!("{head}{}\n", "x".repeat(bytes - head.len() - 1))
}

#[test]
fn the_longest_packet_is_taken_and_one_byte_more_is_refused_with_its_descriptors() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let baseline = daemon.baseline();
    assert_eq!(caller.ask(of_length(MAX_PACKET), &[]).verb(), "status");
    let null = File::open("/dev/null").unwrap();
    for length in [MAX_PACKET + 1, 2 * MAX_PACKET, 150_000] {
        let answer = caller.ask(of_length(length), &[&null, &null]);
        answer.assert_refused("packet-too-long", None);
        assert_eq!((answer.get("id"), answer.get("blame")), (None, Some("caller")));
    }
    serves(&caller);
    daemon.settled_fds(&baseline);
}

#[test]
fn a_count_of_descriptors_that_differs_from_the_names_is_refused() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let baseline = daemon.baseline();
    let (_ours, net) = tcp_pair();
    let null = File::open("/dev/null").unwrap();
    let one: [&dyn AsFd; 1] = [&net];
    let two: [&dyn AsFd; 2] = [&net, &null];
    let three: [&dyn AsFd; 3] = [&net, &null, &null];
    let cases: [(&str, &[&dyn AsFd]); 8] = [
        ("accept\nid=1\nprofile=p\nfds=net\n", &[]),
        ("accept\nid=1\nprofile=p\nfds=net\n", &two),
        ("connect\nid=1\nprofile=p\nfds=net inbound outbound\n", &two),
        ("accept\nid=1\nfds=net certificate key\n", &one),
        ("define\nid=1\nprofile=p\nrole=server\nfds=certificate key\n", &three),
        ("define\nid=1\nprofile=p\nrole=client\n", &one),
        ("status\nid=1\n", &one),
        ("cancel\nid=1\n", &one),
    ];
    for (text, fds) in cases {
        let answer = caller.ask(format!("tlsify/1 {text}"), fds);
        answer.assert_refused("descriptor-mismatch", Some("fds"));
        assert_eq!(answer.get("id"), Some("1"), "{}", answer.text);
    }
    serves(&caller);
    daemon.settled_fds(&baseline);
}

#[test]
fn descriptors_that_the_kernel_could_not_deliver_are_told_and_none_is_left() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let baseline = daemon.baseline();
    let pid = Pid::from_raw(daemon.pid().try_into().unwrap());
    let before = getrlimit(Resource::Nofile);
    // Room for two more than it has now: numbers are given from below, so the highest in use counts.
    let highest = baseline.iter().map(|(number, _)| number).max().expect("it has descriptors");
    let gaps = u64::from(highest) + 1 - u64::try_from(baseline.count()).unwrap();
    let tight = u64::from(highest) + 3;
    let old =
        prlimit(pid, Resource::Nofile, Rlimit { current: Some(tight), maximum: before.maximum }).unwrap();
    let null = File::open("/dev/null").unwrap();
    let many = vec![null.as_fd(); usize::try_from(gaps).unwrap() + 10];
    for _ in 0..3 {
        caller.try_send("tlsify/1 status\nid=1\n", &many).unwrap();
        caller.answer().assert_refused("descriptors-truncated", Some("fds"));
        serves(&caller);
    }
    daemon.settled_fds(&baseline);
    prlimit(pid, Resource::Nofile, old).unwrap();
    caller.try_send("tlsify/1 status\nid=1\n", &many[..10]).unwrap();
    caller.answer().assert_refused("descriptor-mismatch", Some("fds"));
    open(&daemon.client()).assert_alive();
    daemon.settled_fds(&baseline);
}

#[test]
fn what_is_no_message_is_refused_by_name_and_the_connection_goes_on() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let cases: [(&[u8], &str, Option<&str>); 19] = [
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
        serves(&caller);
    }
}
