//! A store costs a bounded amount, whatever callers name and servers send.

use tlsifyd_tests::peer::ONLY_TLS13;
use tlsifyd_tests::{RawCaller, TestDaemon, TicketServer};

use super::{good, resumed};

/// What a user's tickets may take is 2 MiB; as much again for the allocator's taste.
const MOST: u64 = 4 * 1024;

#[test]
fn a_thousand_stores_and_the_last_ones_resume() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = TicketServer::new(good(), ONLY_TLS13);
    let fill = |numbers: std::ops::Range<u32>| {
        for number in numbers {
            assert!(!resumed(&caller, &format!("resume=store-{number}\n"), &server));
        }
    };
    fill(0..50);
    let before = daemon.private_kib();
    fill(50..1000);
    let grown = daemon.private_kib().saturating_sub(before);
    assert!(grown <= MOST, "{grown} KiB");
    assert!(resumed(&caller, "resume=store-999\n", &server));
}

/// A server can make tickets of 64 KiB: they count as what they are.
#[test]
fn a_server_that_sends_huge_tickets_fills_no_memory() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = TicketServer::padded(good(), ONLY_TLS13, 60_000);
    let meet = |number: u32| resumed(&caller, &format!("resume=store-{number}\n"), &server);
    for number in 0..20 {
        meet(number);
    }
    let before = daemon.private_kib();
    for number in 20..120 {
        meet(number);
    }
    let grown = daemon.private_kib().saturating_sub(before);
    // Kept, they would be 12 MB.
    assert!(grown <= MOST, "{grown} KiB");
    assert!(meet(119), "the last one is there, and it is offered in a ClientHello as long as it needs");
}
