//! One caller that asks too much, or never listens, and the others that do not notice.

use rustix::io::Errno;
use tlsify_client::Scope;
use tlsifyd_tests::handover::open;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{RawCaller, TestDaemon, running};

const REQUESTS: usize = 20_000;

#[test]
fn a_flood_of_bad_requests_is_answered_one_by_one_while_others_shake_hands() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let before = daemon.rss_kib();
    let flood = RawCaller::connect(daemon.socket());
    let sender = RawCaller { socket: flood.socket.try_clone().unwrap() };
    let sending = running("flood", move || {
        for id in 0..REQUESTS {
            sender.send(format!("tlsify/1 accept\nid={id}\nfds=net\nprofile=p\n"), &[]);
        }
    });
    let reading = running("answers", move || {
        for _ in 0..REQUESTS {
            flood.answer().assert_refused("descriptor-mismatch", Some("fds"));
        }
    });
    let client = daemon.client();
    for _ in 0..20 {
        open(&client).assert_alive();
    }
    sending.join_within(3 * LIMIT);
    reading.join_within(3 * LIMIT);
    drop(client);
    daemon.settled_fds(&baseline);
    let grown = daemon.rss_kib().saturating_sub(before);
    // 20,000 requests kept would be many times this.
    assert!(grown < 16 * 1024, "{grown} KiB more than before");
}

#[test]
fn a_caller_that_never_reads_its_answers_is_stopped_and_costs_little() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let before = daemon.rss_kib();
    let deaf = RawCaller::connect(daemon.socket());
    let client = daemon.client();
    let mut sent = 0;
    // The daemon stops reading at some point, and the queue to it fills: once in a while it takes one more.
    let mut refusals = 0;
    while refusals < 100 {
        match deaf.send_now("tlsify/1 status\nid=1\nsessions=yes\n") {
            Ok(()) => sent += 1,
            Err(Errno::AGAIN) => {
                refusals += 1;
                // Somebody else is served in the meantime, which also gives the daemon time.
                client.status(Scope::Own, false).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        assert!(sent < 100_000, "the daemon takes requests without end");
    }
    open(&client).assert_alive();
    let held = daemon.fds().count();
    // Each answer brings a list: those that wait hold a descriptor each, up to the bound on answers (256).
    assert!(held < baseline.count() + 300, "{held} descriptors for one caller that does not read");
    let grown = daemon.rss_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{grown} KiB more than before");
    // It can still be served: everything that was taken is answered, in its turn.
    for _ in 0..sent {
        assert_eq!(deaf.answer().verb(), "status");
    }
    drop((deaf, client));
    daemon.settled_fds(&baseline);
}
