//! Bytes arrive exactly, however they are cut.

use proptest::prelude::*;
use tlsify_protocol::Version;

use super::pair::{Case, End, Pair, Shape};

#[test]
fn a_record_cut_anywhere_arrives_once() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        let text = b"a record that is cut";
        pair.they_write(text);
        let length = pair.to_us.len();
        pair.settle();
        let mut expected = text.to_vec();
        for cut in 1..length {
            pair.they_write(text);
            let mut first = Some(cut);
            pair.settle_in(|rest| first.take().unwrap_or(rest));
            expected.extend(text);
            assert_eq!(pair.ours.got(), expected, "{case:?} cut at {cut}");
            assert!(pair.ours.session.rest().is_empty(), "{case:?}: something is kept at rest");
        }
    }
}

/// While half of the peer's record waits, our own go out; while a ticket of several records comes in, too.
#[test]
fn sending_while_half_a_record_waits_disturbs_neither() {
    for case in Case::all() {
        let mut pair = Pair::changed(case, |far| far.max_fragment_size = Some(64));
        let mut sent = Vec::new();
        pair.they_write(&[b't'; 1000]);
        while !(pair.to_us.is_empty() && pair.to_them.is_empty()) {
            if !pair.to_us.is_empty() {
                let byte = pair.to_us.remove(0);
                pair.to_them.extend(pair.ours.receive(&[byte]));
                if pair.ours.is_open() {
                    pair.we_write(&[byte]);
                    sent.push(byte);
                }
            }
            let bytes = std::mem::take(&mut pair.to_them);
            pair.to_us.extend(pair.theirs.receive(&bytes));
        }
        assert!(pair.ours.failure.is_none(), "{case:?}: {:?}", pair.ours.failure);
        assert_eq!(pair.ours.got(), [b't'; 1000], "{case:?}");
        assert_eq!(pair.theirs.got(), sent, "{case:?}");
    }
}

#[test]
fn more_than_one_record_at_once_is_no_trouble() {
    for case in Case::all() {
        let mut pair = Pair::open(case);
        let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        pair.they_write(&data);
        pair.we_write(&data);
        pair.settle();
        assert!(pair.ours.got() == data && pair.theirs.got() == data, "{case:?}");
    }
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    TheyWrite(Vec<u8>),
    WeWrite(Vec<u8>),
    Deliver(usize),
    NewKeys,
}

fn step() -> impl Strategy<Value = Step> {
    let data = || proptest::collection::vec(any::<u8>(), 1..2000);
    prop_oneof![
        data().prop_map(Step::TheyWrite),
        data().prop_map(Step::WeWrite),
        (1..3000_usize).prop_map(Step::Deliver),
        (1..3000_usize).prop_map(Step::Deliver),
        Just(Step::NewKeys),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    proptest::sample::select(Case::all())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn bytes_arrive_exactly_whatever_happens_between_them(
        case in case(),
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        let mut pair = Pair::open(case);
        let (mut to_us, mut to_them) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::TheyWrite(data) => {
                    pair.they_write(&data);
                    to_us.extend(data);
                }
                Step::WeWrite(data) => {
                    pair.we_write(&data);
                    to_them.extend(data);
                }
                Step::Deliver(count) => {
                    let count = count.min(pair.to_us.len());
                    let bytes: Vec<u8> = pair.to_us.drain(..count).collect();
                    let answer = pair.ours.receive(&bytes);
                    pair.to_them.extend(answer);
                }
                Step::NewKeys if case.version == Version::Tls13 && case.shape != Shape::Hello => {
                    pair.theirs.tls.refresh_traffic_keys().unwrap();
                }
                Step::NewKeys => {}
            }
        }
        pair.settle();
        prop_assert!(pair.ours.failure.is_none(), "{:?}", pair.ours.failure);
        prop_assert_eq!(pair.ours.got(), &to_us[..]);
        prop_assert_eq!(pair.theirs.got(), &to_them[..]);
        prop_assert!(pair.ours.session.rest().is_empty());
    }
}
