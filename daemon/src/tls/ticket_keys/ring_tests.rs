//! Keys and tickets, with a clock that is a number.

use super::*;

const PRINT: [u8; 32] = [1; 32];
const START: u64 = 1_000_000;
const STATE: &[u8] = b"the secret of a session";

fn opens(ring: &Ring, now: u64, ticket: &[u8]) -> bool {
    match ring.open(&PRINT, now, ticket) {
        Some(opened) => {
            assert_eq!((&opened.state[..], opened.since), (STATE, START));
            true
        }
        None => false,
    }
}

fn seal(ring: &Ring, now: u64) -> Vec<u8> {
    ring.seal(&PRINT, now, START, STATE).unwrap()
}

#[test]
fn a_ticket_shows_nothing_of_the_state_and_no_two_are_alike() {
    let ring = Ring::default();
    let (one, other) = (seal(&ring, START), seal(&ring, START));
    assert_eq!(one.len(), ID + NONCE + STATE.len() + TIMES + TAG);
    assert_ne!(one[ID..], other[ID..]);
    assert!(!one.windows(6).any(|part| STATE.windows(6).any(|state| part == state)));
    assert!(opens(&ring, START, &one) && opens(&ring, START, &other));
}

#[test]
fn a_ticket_is_good_for_twelve_hours_whenever_it_was_sealed() {
    for sealed in [START, START + SEALS - 1, START + SEALS, START + SEALS + SEALS / 2] {
        let ring = Ring::default();
        seal(&ring, START);
        let ticket = seal(&ring, sealed);
        for later in [0, SEALS, LIFETIME - 1] {
            assert!(opens(&ring, sealed + later, &ticket), "sealed at {sealed}, {later} s later");
        }
        assert!(!opens(&ring, sealed + LIFETIME, &ticket), "sealed at {sealed}");
    }
}

#[test]
fn a_key_seals_for_six_hours_and_goes_after_eighteen() {
    let ring = Ring::default();
    let first = seal(&ring, START);
    assert_eq!(first[..ID], seal(&ring, START + SEALS - 1)[..ID]);
    let mut ids = vec![first[..ID].to_vec()];
    for hours in 1..=3 {
        let id = seal(&ring, START + hours * SEALS)[..ID].to_vec();
        assert!(!ids.contains(&id));
        ids.push(id);
    }
    let left: Vec<_> = ring.keys.load().list.iter().map(|key| key.id.to_vec()).collect();
    assert_eq!(left, [ids[3].clone(), ids[2].clone(), ids[1].clone()]);
}

#[test]
fn keys_that_nobody_came_by_to_rotate_are_gone_all_the_same() {
    let ring = Ring::default();
    let ticket = seal(&ring, START);
    assert!(!opens(&ring, START + ACCEPTED, &ticket));
    assert_eq!(ring.keys.load().list.len(), 1, "the old one was dropped");
}

#[test]
fn a_clock_that_was_set_back_gets_a_new_key_and_the_tickets_go_on() {
    let ring = Ring::default();
    let ticket = seal(&ring, START);
    let earlier = seal(&ring, START - 1000);
    assert_ne!(ticket[..ID], earlier[..ID]);
    assert!(opens(&ring, START - 1000, &ticket) && opens(&ring, START - 1000, &earlier));
}

#[test]
fn all_that_comes_of_one_full_handshake_ends_after_seven_days() {
    let ring = Ring::default();
    for (age, good) in [(LIFE - 1, true), (LIFE, false)] {
        let ticket = ring.seal(&PRINT, START + age - 1, START, STATE).unwrap();
        assert_eq!(opens(&ring, START + age, &ticket), good);
    }
}

#[test]
fn another_store_and_another_print_open_nothing() {
    let (ring, other) = (Ring::default(), Ring::default());
    let ticket = seal(&ring, START);
    seal(&other, START);
    assert!(!opens(&other, START, &ticket));
    // Also if somebody forges the clear part.
    let mut forged = ticket.clone();
    forged[..ID].copy_from_slice(&other.keys.load().list[0].id);
    assert!(!opens(&other, START, &forged));
    assert!(ring.open(&[2; 32], START, &ticket).is_none());
    assert!(opens(&ring, START, &ticket));
}

#[test]
fn no_bit_of_a_ticket_can_be_changed_and_no_byte_left_out() {
    let ring = Ring::default();
    let ticket = seal(&ring, START);
    for at in 0..ticket.len() {
        let mut damaged = ticket.clone();
        damaged[at] ^= 1;
        assert!(!opens(&ring, START, &damaged), "byte {at}");
        assert!(!opens(&ring, START, &ticket[..at]), "the first {at} bytes");
    }
    assert!(!opens(&ring, START, &[&ticket[..], &[0]].concat()));
}

#[test]
fn threads_that_come_by_at_once_agree_on_one_key() {
    for round in 0..50 {
        let ring = Ring::default();
        let now = START + round;
        let tickets: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| seal(&ring, now))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(tickets.iter().all(|ticket| ticket[..ID] == tickets[0][..ID] && opens(&ring, now, ticket)));
    }
}

#[test]
fn the_keys_of_a_file_open_what_was_sealed_before_and_none_is_made_up() {
    let stamp = |size| Stamp { size, changed: 5 };
    let first = KeyFile::next(None, START).unwrap();
    let (ring, other) = (Ring::default(), Ring::default());
    ring.adopt(&first, stamp(512));
    other.adopt(&first, stamp(512));
    let ticket = seal(&ring, START);
    assert!(opens(&other, START, &ticket), "another daemon, or the same after a restart");

    assert!(ring.is_current(stamp(512), START, true) && !ring.is_current(stamp(1024), START, true));
    // Its time is over: it is to be read again, or cannot be replaced.
    let later = START + SEALS;
    assert!(!ring.is_current(stamp(512), later, true) && ring.is_current(stamp(512), later, false));
    assert!(ring.seal(&PRINT, later, START, STATE).is_none(), "no ticket without a key of the file");
    assert!(opens(&ring, later, &ticket));

    ring.adopt(&KeyFile::next(Some(&first), later).unwrap(), stamp(1024));
    let ticket = seal(&ring, later);
    assert!(opens(&ring, later, &ticket) && !opens(&other, later, &ticket));
}
