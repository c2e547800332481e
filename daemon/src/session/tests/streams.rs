//! Any bytes in any pieces, both ways at once: they arrive exactly, and the end is clean.

use proptest::prelude::*;

use super::cases::*;
use crate::session::SessionState;
use crate::tls::Version;

/// What the ends do, one after the other.
#[derive(Clone, Debug)]
enum Act {
    OursWrites(usize),
    PeerWrites(usize),
    NewKeys,
    Move(Vec<usize>),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    // Sizes around a record (16 KiB) and the smallest ones.
    let size = prop_oneof![0_usize..3, 1_usize..300, 16_380_usize..16_390, 1_usize..70_000];
    let act = prop_oneof![
        3 => size.clone().prop_map(Act::OursWrites),
        3 => size.prop_map(Act::PeerWrites),
        1 => Just(Act::NewKeys),
        3 => proptest::collection::vec(prop_oneof![1_usize..8, 1_usize..30_000], 1..6).prop_map(Act::Move),
    ];
    proptest::collection::vec(act, 1..12)
}

fn case() -> impl Strategy<Value = Case> {
    (0..cases().len()).prop_map(|index| cases()[index])
}

/// `length` bytes that go on where `sent` ends.
fn more(sent: &mut Vec<u8>, length: usize) -> Vec<u8> {
    let fresh: Vec<u8> = (sent.len()..sent.len() + length).map(|i| (i * 7 % 251) as u8).collect();
    sent.extend_from_slice(&fresh);
    fresh
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_once_in_order_however_it_is_cut(
        case in case(),
        hello in proptest::collection::vec(1_usize..600, 1..5),
        acts in acts(),
        ours_first in any::<bool>(),
    ) {
        let mut pair = case.pair();
        let mut sizes = hello.into_iter().cycle();
        pair.run_in(|| sizes.next().unwrap_or(1));
        prop_assert_eq!(pair.ours.session.state(), SessionState::Established);
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for act in acts {
            match act {
                Act::OursWrites(length) => pair.ours.write(&more(&mut ours, length)),
                Act::PeerWrites(length) => pair.peer.write(&more(&mut peers, length)),
                Act::NewKeys if case.version == Version::Tls13 => {
                    pair.peer.connection.refresh_traffic_keys().unwrap();
                }
                Act::NewKeys => {}
                Act::Move(sizes) => {
                    let mut sizes = sizes.into_iter().cycle();
                    pair.run_in(|| sizes.next().unwrap_or(1));
                    prop_assert!(pair.ours.session.rest().is_empty(), "at rest nothing is kept");
                }
            }
        }
        if ours_first {
            pair.ours.end();
            pair.run_in(|| 1000);
            pair.peer.end();
        } else {
            pair.peer.end();
            pair.run_in(|| 1000);
            pair.ours.end();
        }
        pair.run();
        prop_assert_eq!(pair.ours.session.state(), SessionState::Closed);
        prop_assert!(pair.ours.received == peers, "{} of {} bytes came in", pair.ours.received.len(), peers.len());
        prop_assert!(pair.peer.received == ours, "{} of {} bytes went out", pair.peer.received.len(), ours.len());
        prop_assert!(pair.peer.closed && pair.ours.failure.is_none());
    }

    #[test]
    fn two_of_us_understand_each_other(
        version in prop_oneof![Just(Version::Tls12), Just(Version::Tls13)],
        exports in any::<(bool, bool)>(),
        sizes in proptest::collection::vec(1_usize..5000, 1..6),
        lengths in proptest::collection::vec((0_usize..40_000, 0_usize..40_000), 1..5),
    ) {
        let setup = Setup::new(crate::tls::pair::only(version));
        let mut pair = Pair { ours: setup.our_client(exports.0), peer: setup.our_server(exports.1) };
        let mut sizes = sizes.into_iter().cycle();
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        pair.run_in(|| sizes.next().unwrap_or(1));
        for (here, there) in lengths {
            pair.ours.write(&more(&mut ours, here));
            pair.peer.write(&more(&mut peers, there));
            pair.run_in(|| sizes.next().unwrap_or(1));
        }
        pair.ours.end();
        pair.peer.end();
        pair.run_in(|| sizes.next().unwrap_or(1));
        prop_assert!(pair.ours.received == peers && pair.peer.received == ours);
        prop_assert_eq!(pair.ours.session.state(), SessionState::Closed);
        prop_assert_eq!(pair.peer.session.state(), SessionState::Closed);
    }
}
