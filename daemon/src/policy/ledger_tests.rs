//! The ledger's tests.

use std::sync::Barrier;
use std::thread;

use std::time::Duration;

use tlsify_protocol::Role;

use super::super::rate::Rate;
use super::super::rules::Rule;
use super::super::{CallerCred, Grant};
use super::*;

const LIMITS: Limits = Limits {
    sessions: 3,
    handshakes: 2,
    profiles: 2,
    connections: 1,
    total_sessions: 5,
    handshake_rate: None,
    profile_bytes: 1000,
};

fn ledger(limits: Limits) -> (Ledger, Instant) {
    let now = Instant::now();
    (Ledger::new(limits, &Rules::default(), now), now)
}

fn rule(name: &str, limits: Limits) -> Rule {
    Rule {
        name: name.into(),
        who: Grant::everyone(),
        executables: Vec::new(),
        deny: false,
        profiles: None,
        define: true,
        stores: None,
        roles: vec![Role::Client, Role::Server],
        connect_to: true,
        minimum: None,
        level: None,
        limits,
    }
}

/// What counts when this is the only rule.
fn ruling(rules: &Rules) -> Ruling {
    rules.of(&CallerCred { uid: 1, gid: 1, groups: Vec::new(), pid: 1 }, None)
}

#[test]
fn the_limit_is_exact_and_comes_back() {
    let (ledger, _) = ledger(LIMITS);
    let account = ledger.account(7, &Ruling::default());
    let mut slots: Vec<_> = (0..3).map(|_| account.session().unwrap()).collect();
    let refused = account.session().unwrap_err();
    assert_eq!(refused, QuotaExceeded { what: Quota::Sessions, uid: Some(7), limit: 3, rule: None });
    slots.pop();
    let again = account.session().unwrap();
    assert_eq!(account.usage().sessions, 3);
    drop((slots, again));
    assert_eq!(account.usage(), Usage::default());
    assert_eq!(ledger.book.sessions.load(Ordering::Relaxed), 0);
}

#[test]
fn the_kinds_do_not_eat_each_others_room() {
    let (ledger, now) = ledger(LIMITS);
    let account = ledger.account(7, &Ruling::default());
    let held = (account.handshake(now).unwrap(), account.profile().unwrap(), account.connection().unwrap());
    assert_eq!(account.usage(), Usage { handshakes: 1, profiles: 1, connections: 1, ..Usage::default() });
    assert_eq!(account.connection().unwrap_err().what, Quota::Connections);
    drop(held);
    assert_eq!(account.usage(), Usage::default());
}

#[test]
fn a_refusal_for_the_total_leaves_no_trace() {
    let (ledger, _) = ledger(LIMITS);
    let (first, second) = (ledger.account(1, &Ruling::default()), ledger.account(2, &Ruling::default()));
    let held: Vec<_> = (0..3).map(|_| first.session().unwrap()).collect();
    let more: Vec<_> = (0..2).map(|_| second.session().unwrap()).collect();
    let refused = second.session().unwrap_err();
    assert_eq!(refused, QuotaExceeded { what: Quota::TotalSessions, uid: None, limit: 5, rule: None });
    assert_eq!(second.usage().sessions, 2, "the refused session is not counted");
    assert_eq!(ledger.usage().sessions, 5);
    drop((held, more));
    assert_eq!(ledger.usage(), Usage::default());
}

#[test]
fn an_account_with_nothing_left_is_forgotten() {
    let (ledger, _) = ledger(LIMITS);
    for uid in 0..10_000 {
        drop(ledger.account(uid, &Ruling::default()).session().unwrap());
    }
    assert_eq!(ledger.accounts(), 0);
    let slot = ledger.account(1, &Ruling::default()).session().unwrap();
    assert_eq!(ledger.accounts(), 1, "a slot alone keeps its account");
    assert_eq!(ledger.account(1, &Ruling::default()).usage().sessions, 1, "and it is found again");
    drop(slot);
    assert_eq!(ledger.accounts(), 0);
}

#[test]
fn a_lower_limit_after_reload_takes_nothing_away() {
    let (ledger, _) = ledger(LIMITS);
    let account = ledger.account(7, &Ruling::default());
    let held: Vec<_> = (0..3).map(|_| account.session().unwrap()).collect();
    ledger.set_limits(Limits { sessions: 1, ..LIMITS }, &Rules::default());
    assert_eq!(account.session().unwrap_err().limit, 1);
    assert_eq!(account.usage().sessions, 3);
    drop(held);
    assert!(account.session().is_ok());
}

#[test]
fn many_threads_never_exceed_the_limit_and_end_at_zero() {
    const THREADS: usize = 8;
    let (ledger, _) = ledger(LIMITS);
    let start = Arc::new(Barrier::new(THREADS));
    let threads: Vec<_> = (0..THREADS)
        .map(|_| {
            let (ledger, start) = (ledger.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                for round in 0..2_000_u32 {
                    // Opened and forgotten all the time, which is where a lost account would show.
                    let account = ledger.account(round % 3, &Ruling::default());
                    let slot = account.session();
                    let usage = account.usage().sessions;
                    assert!(usage <= 3, "{usage} sessions");
                    drop(account);
                    if let Ok(slot) = slot {
                        drop(slot);
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(ledger.usage(), Usage::default());
    assert_eq!(ledger.accounts(), 0);
    assert_eq!(ledger.book.sessions.load(Ordering::Relaxed), 0);
}

#[test]
fn slots_go_with_a_session_to_another_thread() {
    fn sendable<T: Send + 'static>() {}
    sendable::<SessionSlot>();
    sendable::<HandshakeSlot>();
    sendable::<ProfileSlot>();
    sendable::<ConnectionSlot>();
    sendable::<ProfileBytes>();
    let (ledger, _) = ledger(LIMITS);
    let slot = ledger.account(1, &Ruling::default()).session().unwrap();
    thread::spawn(move || drop(slot)).join().unwrap();
    assert_eq!(ledger.accounts(), 0);
}

#[test]
fn two_rules_of_one_uid_count_apart_and_refusals_name_theirs() {
    let one = Rules::new([rule("one", Limits { sessions: 1, ..LIMITS })]);
    let (ledger, _) = ledger(LIMITS);
    ledger.set_limits(LIMITS, &one);
    let (ruled, free) = (ledger.account(7, &ruling(&one)), ledger.account(7, &Ruling::default()));
    let held = (ruled.session().unwrap(), free.session().unwrap(), free.session().unwrap());
    let refused = ruled.session().unwrap_err();
    assert_eq!((refused.limit, refused.rule.as_deref()), (1, Some("one")));
    assert_eq!(held.0.rule().map(|name| &**name), Some("one"));
    assert_eq!((ledger.usage_of(7).sessions, ledger.usage_of(8).sessions), (3, 0));
    // The same rule with other numbers, and then no such rule any more.
    ledger.set_limits(LIMITS, &Rules::new([rule("one", Limits { sessions: 2, ..LIMITS })]));
    let more = ruled.session().unwrap();
    assert_eq!(ruled.session().unwrap_err().limit, 2);
    ledger.set_limits(LIMITS, &Rules::default());
    drop(ruled.session().unwrap());
    drop((held, more));
}

#[test]
fn who_leaves_and_comes_back_has_no_new_burst() {
    let (ledger, now) = ledger(Limits { handshake_rate: Some(Rate { per_second: 1, burst: 2 }), ..LIMITS });
    let try_at = |after| {
        let account = ledger.account(7, &Ruling::default());
        account.handshake(now + Duration::from_millis(after)).map(drop).map_err(|refused| refused.what)
    };
    assert_eq!((try_at(0), try_at(1), try_at(2)), (Ok(()), Ok(()), Err(Quota::HandshakeRate)));
    assert_eq!(ledger.accounts(), 0, "nobody is there");
    assert_eq!(try_at(500), Err(Quota::HandshakeRate));
    assert_eq!((try_at(1000), try_at(1001)), (Ok(()), Err(Quota::HandshakeRate)));
    let other = ledger.account(8, &Ruling::default()).handshake(now);
    assert!(other.is_ok(), "another uid has its own");
}

#[test]
fn what_is_owed_by_those_who_left_is_forgotten_once_it_is_paid() {
    let (ledger, now) = ledger(Limits { handshake_rate: Some(Rate { per_second: 1, burst: 1 }), ..LIMITS });
    for uid in 0..10_000 {
        let then = now + Duration::from_millis(100 * u64::from(uid));
        drop(ledger.account(uid, &Ruling::default()).handshake(then).unwrap());
    }
    let owed = ledger.book.accounts().owed.len();
    assert!(owed <= 2 * LEAST_PATIENCE, "{owed}");
}

#[test]
fn a_handshake_that_finds_no_room_costs_no_token() {
    let rate = Some(Rate { per_second: 1, burst: 2 });
    let (ledger, now) = ledger(Limits { handshakes: 1, handshake_rate: rate, ..LIMITS });
    let account = ledger.account(7, &Ruling::default());
    let held = account.handshake(now).unwrap();
    for _ in 0..9 {
        assert_eq!(account.handshake(now).unwrap_err().what, Quota::Handshakes);
    }
    drop(held);
    assert!(account.handshake(now).is_ok());
    assert_eq!(account.handshake(now).unwrap_err().what, Quota::HandshakeRate);
    assert_eq!(account.usage().handshakes, 0, "what the pace refuses takes no place");
}

#[test]
fn bytes_of_profiles_are_counted_changed_and_given_back() {
    let (ledger, _) = ledger(LIMITS);
    let account = ledger.account(7, &Ruling::default());
    let (one, two) = (account.profile_bytes(600).unwrap(), account.profile_bytes(400).unwrap());
    let refused = account.profile_bytes(1).unwrap_err();
    assert_eq!((refused.what, refused.limit), (Quota::ProfileBytes, 1000));
    one.change(601).unwrap_err();
    assert_eq!(one.count(), 600);
    one.change(600).unwrap();
    two.change(300).unwrap();
    one.change(700).unwrap();
    assert_eq!(account.usage().profile_bytes, 1000);
    ledger.set_limits(Limits { profile_bytes: 1, ..LIMITS }, &Rules::default());
    one.change(699).unwrap();
    one.change(700).unwrap_err();
    drop((one, two));
    assert_eq!(account.usage(), Usage::default());
}

#[test]
fn a_connection_that_moves_to_another_rule_is_counted_there_and_not_here() {
    let one = Rules::new([rule("one", LIMITS)]);
    let (ledger, _) = ledger(LIMITS);
    let (before, after) = (ledger.account(7, &Ruling::default()), ledger.account(7, &ruling(&one)));
    let (held, moving) = (after.connection().unwrap(), before.connection().unwrap());
    let moved = after.moved_connection();
    drop(moving);
    assert_eq!((before.usage().connections, after.usage().connections), (0, 2));
    assert!(after.connection().is_err());
    drop((held, moved));
    assert_eq!(ledger.usage(), Usage::default());
}

#[test]
fn a_session_holds_no_more_than_a_pointer_of_the_ledger() {
    assert_eq!(size_of::<Option<SessionSlot>>(), size_of::<usize>());
}
