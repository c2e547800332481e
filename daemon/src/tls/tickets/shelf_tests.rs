//! Bounds and ages, with numbers instead of tickets.

use super::*;

fn kept(weight: usize, since: u64) -> Kept<u32> {
    let chain: Arc<[CertificateDer<'static>]> = Arc::new([]);
    Kept { value: 7, chain, since, weight }
}

fn print(number: u32) -> [u8; 32] {
    let mut print = [0; 32];
    print[..4].copy_from_slice(&number.to_be_bytes());
    print
}

fn put(shelf: &Shelf<u32>, store: &str, number: u32, weight: usize) -> Place {
    let place = shelf.place(store, print(number), 1_000);
    shelf.edit(&place, |tickets| tickets.push_back(kept(weight, 1_000))).expect("it is there");
    place
}

fn count(shelf: &Shelf<u32>, place: &Place) -> usize {
    shelf.edit(place, |tickets| tickets.len()).unwrap_or(0)
}

fn weight(shelf: &Shelf<u32>) -> usize {
    let stores = shelf.lock();
    let slots = stores.by_name.values().flat_map(|store| store.slots.values());
    let sum = slots.map(Slot::weigh).sum();
    assert_eq!((stores.weight, shelf.weight() as usize), (sum, sum), "the weights went apart");
    sum
}

#[test]
fn a_thousand_stores_stay_within_one_users_share_and_the_latest_are_there() {
    let shelf = Shelf::default();
    let places: Vec<Place> = (0..1000).map(|n| put(&shelf, &format!("store-{n}"), n, 8 * 1024)).collect();
    assert!(weight(&shelf) <= OF_A_USER);
    assert_eq!(count(&shelf, &places[999]), 1);
    assert_eq!(count(&shelf, &places[0]), 0);
    assert!(places.iter().filter(|place| count(&shelf, place) == 1).count() > 200);
}

#[test]
fn one_store_does_not_push_out_the_others() {
    let shelf = Shelf::default();
    let quiet = put(&shelf, "quiet", 0, 8 * 1024);
    for n in 0..1000 {
        put(&shelf, "busy", n, 8 * 1024);
    }
    assert!(weight(&shelf) <= OF_A_STORE + SLOT + 8 * 1024);
    assert_eq!(count(&shelf, &quiet), 1);
}

#[test]
fn what_was_used_last_stays() {
    let shelf = Shelf::default();
    let places: Vec<Place> = (0..300).map(|n| put(&shelf, &format!("store-{n}"), n, 6 * 1024)).collect();
    count(&shelf, &places[0]);
    for n in 300..400 {
        put(&shelf, &format!("store-{n}"), n, 6 * 1024);
    }
    assert_eq!((count(&shelf, &places[0]), count(&shelf, &places[1])), (1, 0));
}

#[test]
fn empty_places_are_bounded_too() {
    let shelf: Shelf<u32> = Shelf::default();
    for n in 0..10_000 {
        shelf.place(&format!("store-{}", n % 100), print(n), 1_000);
    }
    assert!(weight(&shelf) <= OF_A_USER);
}

#[test]
fn a_place_holds_a_few_tickets_and_the_newest() {
    let shelf = Shelf::default();
    for _ in 0..20 {
        put(&shelf, "one", 1, 100);
    }
    let place = put(&shelf, "one", 1, 999);
    let newest = shelf.edit(&place, |tickets| tickets.back().map(|kept| kept.weight));
    assert_eq!((count(&shelf, &place), newest), (IN_A_SLOT, Some(Some(999))));
}

#[test]
fn a_ticket_larger_than_a_store_is_not_kept_and_nothing_loops() {
    let shelf = Shelf::default();
    let place = put(&shelf, "large", 1, OF_A_STORE + 1);
    assert_eq!((count(&shelf, &place), weight(&shelf)), (0, 0));
}

#[test]
fn sessions_that_check_the_same_share_an_anchor_and_others_do_not() {
    let shelf: Shelf<u32> = Shelf::default();
    let first = shelf.place("a", print(1), 0);
    assert!(Arc::ptr_eq(&first.anchor, &shelf.place("a", print(1), 0).anchor));
    assert!(!Arc::ptr_eq(&first.anchor, &shelf.place("a", print(2), 0).anchor));
    assert!(!Arc::ptr_eq(&first.anchor, &shelf.place("b", print(1), 0).anchor));
}

#[test]
fn what_is_past_its_time_is_swept_away_although_nobody_asks_for_it() {
    let shelf = Shelf::default();
    let old = put(&shelf, "old", 1, 100);
    shelf.place("other", print(2), 1_000 + LIFE);
    assert_eq!(count(&shelf, &old), 0);
    assert_eq!(weight(&shelf), SLOT, "only the other is left");
    assert!(is_good(1_000, 1_000 + LIFE - 1) && !is_good(1_000, 1_000 + LIFE));
}

/// A session whose place was pushed out in between has nowhere to put its tickets, and takes nobody else's.
#[test]
fn a_place_that_was_pushed_out_is_gone_for_its_session() {
    let shelf = Shelf::default();
    let old = put(&shelf, "a", 1, 100);
    shelf.place("b", print(2), 1_000 + LIFE);
    put(&shelf, "a", 1, 100);
    assert_eq!(shelf.edit(&old, |tickets| tickets.len()), None);
}
