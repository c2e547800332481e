//! How often, and how much: handshakes in a second and bytes of profiles. Counts decide, never the clock.

use std::time::Instant;

use tlsify_client::{Client, Code, Error, Inventory, Profile, Scope, Trust};
use tlsifyd_tests::handover::{accept, begin, open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, TestDaemon, pki, tcp_pair};

use super::{assert_quota, define, refused, reload};

fn ruled(keys: &str) -> TestDaemon {
    TestDaemon::with_config(format!("[[rule]]\nname = \"slow\"\nusers = [\"*\"]\n{keys}\n"))
}

/// Begins handshakes that lead nowhere: how many of them are let through.
fn let_through(client: &Client, asked: usize) -> usize {
    let begun = (0..asked).filter(|_| {
        let (_, net) = tcp_pair();
        match client.accept(&accept(net)) {
            Err(Error::Failed(failed)) => {
                assert_eq!(failed.code, Code::ClosedByPeer, "{failed:?}");
                true
            }
            Err(Error::Refused(refused)) => {
                assert_eq!(refused.code, Code::Quota, "{refused:?}");
                assert!(refused.text.contains("handshakes in a second"), "{refused:?}");
                assert!(refused.text.ends_with("(rule \"slow\")"), "{refused:?}");
                false
            }
            other => panic!("{other:?}"),
        }
    });
    begun.count()
}

#[test]
fn no_more_handshakes_begin_than_the_pace_and_one_burst_allow() {
    let daemon = ruled("handshakes-per-second = 2\nhandshake-burst = 10");
    let client = daemon.client();
    let start = Instant::now();
    let through = let_through(&client, 60);
    // Who leaves and comes back, and who comes twice, has no new burst.
    drop(client);
    let more: usize = (0..3).map(|_| let_through(&daemon.client(), 20)).sum();
    let paced = usize::try_from(start.elapsed().as_millis() / 500).unwrap();
    assert!(through >= 10, "{through}: the burst is everybody's");
    let all = through + more;
    assert!(all <= 10 + paced + 1, "{all} in {:?}", start.elapsed());
}

#[test]
fn a_pace_gives_back_what_it_owes_and_a_reload_takes_it_off() {
    let daemon = ruled("handshakes-per-second = 1");
    let client = daemon.client();
    open(&client).assert_alive();
    let again = until(LIMIT, || (let_through(&client, 1) == 1).then_some(()));
    assert!(again.is_some(), "one a second is let through");
    reload(&daemon, "");
    assert_eq!(let_through(&client, 50), 50);
    reload(&daemon, "[limits]\nhandshakes-per-second = 1\n");
    let (_, net) = tcp_pair();
    let _ = client.accept(&accept(net));
    let refused = (0..9).find_map(|_| {
        let (_, net) = tcp_pair();
        match client.accept(&accept(net)) {
            Err(Error::Refused(refused)) => Some(refused),
            _ => None,
        }
    });
    let refused = refused.expect("nine in one second are too many");
    assert!(!refused.text.contains("rule"), "the host's numbers are nobody's rule: {refused:?}");
}

#[test]
fn what_the_pace_refuses_takes_no_place_and_no_descriptor() {
    let daemon = ruled("handshakes-per-second = 1\nhandshakes = 2\nsessions = 2");
    let client = daemon.client();
    let baseline = daemon.baseline();
    let_through(&client, 100);
    daemon.settled_fds(&baseline);
    let counts = || {
        let status = client.status(Scope::Own, false).unwrap();
        (status.sessions, status.handshakes)
    };
    assert!(until(LIMIT, || (counts() == (0, 0)).then_some(())).is_some(), "{:?}", counts());
}

/// Bytes that this user's profiles hold, as callers are told.
fn held(client: &Client) -> u64 {
    let status = client.inventory(Inventory::of(Scope::Own).callers()).unwrap();
    let text = status.callers_text().unwrap();
    let words = text.lines().flat_map(|line| line.split(' '));
    words
        .filter_map(|word| word.strip_prefix("profile-bytes="))
        .map(|bytes| bytes.parse::<u64>().unwrap())
        .sum()
}

#[test]
fn bytes_of_profiles_are_counted_refused_and_given_back_when_they_go() {
    let identity = pki().server(KeyKind::EcdsaP256);
    let bytes: usize = identity.chain().iter().map(|certificate| certificate.len()).sum();
    let daemon = ruled(&format!("profile-bytes = {}", 2 * bytes + 10));
    let (one, other) = (daemon.client(), daemon.client());
    define(&one, "a", identity).unwrap();
    assert_eq!(held(&one), bytes as u64);
    define(&other, "a", identity).unwrap();
    let baseline = daemon.baseline();
    for client in [&one, &other] {
        assert_quota(define(client, "b", identity), "bytes");
        // In its own place there is room.
        define(client, "a", identity).unwrap();
    }
    let told = refused(one.define(&Profile::client("b").trust(Trust::ca(pki().ca.fd()))));
    assert!(told.code == Code::Quota && told.text.ends_with("(rule \"slow\")"), "{told:?}");
    daemon.settled_fds(&baseline);
    assert_eq!(held(&one), 2 * bytes as u64, "what was refused is not counted");
    drop(other);
    until(LIMIT, || define(&one, "b", identity).ok()).expect("bytes go with their connection");
    // A reload that allows less takes nothing away.
    reload(&daemon, "[[rule]]\nname = \"slow\"\nusers = [\"*\"]\nprofile-bytes = 1\n");
    define(&one, "a", identity).unwrap();
    super::assert_usable(&one, "b");
    assert_quota(define(&one, "c", identity), "bytes");
    let (pending, _peer) = begin(&one, |accept| accept);
    drop(pending);
}
