//! One caller asks without end, or never listens: the daemon's memory stays bounded, and others go on.

use std::fs::File;
use std::os::fd::AsFd;

use tlsifyd_tests::handover::{client_peer, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, RawCaller, TestDaemon, pki, running, tcp_pair};

/// Bad requests that are sent without a pause.
const FLOOD: usize = 20_000;
/// What a caller that does not read may cost, in KiB: its queues are 256 answers of at most a few KiB, and
/// the allocator keeps some of what others used meanwhile.
const ROOM_KIB: u64 = 16 * 1024;

#[test]
fn a_flood_of_bad_requests_is_answered_one_by_one_and_disturbs_nobody() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut session = open(&client);
    let flooder = RawCaller::connect(daemon.socket());
    let baseline = daemon.baseline();
    let flood = running("flood", move || {
        let null = File::open("/dev/null").unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for id in 0..FLOOD {
                    let (text, fds): (_, &[_]) = match id % 4 {
                        0 => (format!("tlsify/1 cancel\nid={id}\n"), &[]),
                        1 => (format!("tlsify/1 nothing\nid={id}\n"), &[]),
                        2 => (format!("tlsify/1 accept\nid={id}\nfds=net\nprofile=p\n"), &[null.as_fd()]),
                        _ => (format!("tlsify/1 define\nid={id}\nprofile=p\nrole=server\nfds=net\n"), &[]),
                    };
                    flooder.try_send(text, fds).unwrap();
                }
            });
            for id in 0..FLOOD {
                let answer = flooder.answer();
                let told = (answer.verb(), answer.get("id"));
                assert_eq!(told, ("refused", Some(id.to_string().as_str())), "{}", answer.text);
            }
        });
        flooder
    });
    let mut rounds = 0;
    while !flood.is_done() && rounds < 50 {
        session.assert_alive();
        open(&client).assert_alive();
        rounds += 1;
    }
    let flooder = flood.join();
    assert!(rounds > 0, "the flood was over before anybody could be disturbed");
    flooder.assert_serves();
    session.assert_alive();
    daemon.settled_fds(&baseline);
}

#[test]
fn a_caller_that_never_reads_is_not_read_either_and_costs_bounded_memory() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut session = open(&client);
    let before = daemon.rss_kib();
    let deaf = RawCaller::connect(daemon.socket());
    // Each answer brings a descriptor too. The daemon stops reading when nobody reads it.
    let mut sent = 0;
    let stuck = until(LIMIT, || {
        let before = sent;
        while deaf.send_now(format!("tlsify/1 status\nid={sent}\nsessions=yes\n")).is_ok() {
            sent += 1;
            assert!(sent < 100_000, "the daemon keeps answers without end");
        }
        // Full, and still full after a while: nothing moves any more.
        std::thread::sleep(std::time::Duration::from_millis(200));
        (sent == before).then_some(())
    });
    assert!(stuck.is_some(), "{sent} requests were taken from a caller that reads no answer");
    session.assert_alive();
    open(&client).assert_alive();
    let grown = daemon.rss_kib().saturating_sub(before);
    assert!(grown < ROOM_KIB, "{sent} unread answers cost {grown} KiB");
    // Nothing was lost: the answers are all there, in order.
    for id in 0..sent {
        let answer = deaf.answer();
        assert_eq!((answer.verb(), answer.get("id")), ("status", Some(id.to_string().as_str())));
        assert_eq!(answer.fds.len(), 1);
    }
    deaf.assert_serves();
}

#[test]
fn a_deaf_caller_that_leaves_takes_its_answers_with_it() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for _ in 0..3 {
        let deaf = RawCaller::connect_unheard(daemon.socket());
        while deaf.send_now("tlsify/1 status\nid=1\nsessions=yes\n").is_ok() {}
        drop(deaf);
    }
    daemon.settled_fds(&baseline);
    open(&daemon.client()).assert_alive();
}

#[test]
fn a_deaf_caller_still_has_its_sessions_and_hears_of_them_later() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = pki().server(KeyKind::EcdsaP256);
    let define = "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key\n";
    assert_eq!(caller.ask(define, &[&server.certificate_fd(), &server.key_fd()]).verb(), "defined");
    let (ours, net) = tcp_pair();
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    caller.send("tlsify/1 accept\nid=7\nprofile=p\nfds=net plain\n", &[&net, &far]);
    drop((net, far));
    let mut peer = client_peer(ours);
    peer.handshake().unwrap();
    let mut unread = 0;
    while caller.send_now("tlsify/1 status\nid=1\nsessions=yes\n").is_ok() {
        unread += 1;
    }
    peer.write_all(b"while nobody listens").unwrap();
    peer.half_close().unwrap();
    let mut got = Vec::new();
    std::io::Read::read_to_end(&mut &near, &mut got).unwrap();
    assert_eq!(got, b"while nobody listens");
    drop(near);
    assert_eq!(caller.answer().verb(), "established");
    let mut verbs: Vec<String> = (0..=unread).map(|_| caller.answer().verb().to_owned()).collect();
    verbs.retain(|verb| verb != "status");
    assert_eq!(verbs, ["ended"]);
}
