//! What is said to a cache and what is believed of it, with a clock that is a number.

use std::time::Duration;

use rustls::pki_types::UnixTime;

use super::super::TicketKeys;
use super::*;

const START: u64 = 1_000_000;
const HOUR: u64 = 60 * 60;
const PRINT: [u8; 32] = [1; 32];
const STATE: &[u8] = b"the secret of a session with shop.example";

#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

fn hello(versions: &[u16], session_id: &[u8], identities: &[&[u8]]) -> ClientHello {
    ClientHello {
        versions: versions.to_vec(),
        session_id: session_id.to_vec(),
        psk_identities: identities.iter().map(|identity| identity.to_vec()).collect(),
        ..ClientHello::default()
    }
}

/// A session that would resume the one of this id.
fn session(store: &KeyStore, print: [u8; 32], version: Version, id: u8, now: u64) -> Cached {
    Cached::new(store, print, Arc::new(At(now)), Sought { version, id: Some([id; ID]) })
}

fn leave(store: &KeyStore, version: Version, id: u8, now: u64) -> CacheEntry {
    let cached = session(store, PRINT, version, 0, now);
    assert!(cached.put(vec![id; ID], STATE.to_vec()));
    cached.take_puts().pop().unwrap()
}

fn store() -> KeyStore {
    TicketKeys::new().store(1000, "web")
}

#[test]
fn what_a_client_means_depends_on_the_version_it_will_get() {
    use Version::{Tls12, Tls13};
    let (id, other, ticket): ([u8; 32], [u8; 32], [u8; 200]) = ([7; 32], [8; 32], [9; 200]);
    let both = [0x0a0a, 0x0304, 0x0303];
    for (hello, least, greatest, wanted) in [
        // A made-up session id, for boxes in the middle that expect one.
        (hello(&both, &id, &[]), Tls12, Tls13, (Tls13, None)),
        (hello(&both, &id, &[&other]), Tls12, Tls13, (Tls13, Some(other))),
        (hello(&both, &id, &[&ticket, &other, &id]), Tls12, Tls13, (Tls13, Some(other))),
        (hello(&both, &id, &[&other]), Tls12, Tls12, (Tls12, Some(id))),
        (hello(&[], &id, &[]), Tls12, Tls13, (Tls12, Some(id))),
        (hello(&[], &id, &[]), Tls13, Tls13, (Tls13, None)),
        (hello(&[], &[], &[]), Tls12, Tls13, (Tls12, None)),
        (hello(&[], &id[..31], &[]), Tls12, Tls13, (Tls12, None)),
        (ClientHello { session_ticket: Some(vec![1]), ..hello(&[], &id, &[]) }, Tls12, Tls13, (Tls12, None)),
        (
            ClientHello { session_ticket: Some(vec![]), ..hello(&[], &id, &[]) },
            Tls12,
            Tls13,
            (Tls12, Some(id)),
        ),
    ] {
        let sought = Sought::new(&hello, least, greatest);
        assert_eq!((sought.version, sought.id), wanted, "{hello:?}");
    }
}

#[test]
fn an_entry_is_found_by_its_session_and_shows_nothing_of_it() {
    let store = store();
    for version in [Version::Tls12, Version::Tls13] {
        let entry = leave(&store, version, 7, START);
        let again = session(&store, PRINT, version, 7, START + HOUR);
        assert_eq!((again.names(), again.once()), (vec![entry.name.clone()], version == Version::Tls13));
        assert!(again.found(&entry.value));
        assert_eq!(again.take(&[8; ID]), None, "another session's");
        assert_eq!(again.get(&[7; ID]).as_deref(), Some(STATE));
        assert_eq!(again.take(&[7; ID]).as_deref(), Some(STATE));
        assert_eq!(again.take(&[7; ID]), None, "it is taken");
        let text = [entry.name.as_bytes(), &entry.value].concat();
        for secret in [&STATE[..6], b"shop", &[7; 4]] {
            assert!(!text.windows(secret.len()).any(|part| part == secret));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b':';
        assert!(entry.name.len() == 71 && entry.name.bytes().all(plain), "{}", entry.name);
    }
    assert_eq!(store.0.cache().count_of(CacheEvent::Hit), 2);
}

#[test]
fn another_store_profile_version_or_session_has_another_name_and_opens_nothing() {
    let keys = TicketKeys::new();
    let mine = keys.store(1000, "web");
    let entry = leave(&mine, Version::Tls13, 7, START);
    for (what, other) in [
        ("store", session(&keys.store(1000, "mail"), PRINT, Version::Tls13, 7, START)),
        ("user", session(&keys.store(1001, "web"), PRINT, Version::Tls13, 7, START)),
        ("profile", session(&mine, [2; 32], Version::Tls13, 7, START)),
        ("version", session(&mine, PRINT, Version::Tls12, 7, START)),
        ("session", session(&mine, PRINT, Version::Tls13, 8, START)),
    ] {
        // Its own first entry, so that there is a key.
        other.put(vec![1; ID], STATE.to_vec());
        assert!(!other.names().contains(&entry.name), "another {what}");
        assert!(!other.found(&entry.value), "a cache that lies: another {what}");
        assert_eq!(other.get(&[7; ID]), None);
    }
    assert!(session(&mine, PRINT, Version::Tls13, 7, START).found(&entry.value));
}

#[test]
fn what_was_changed_or_cut_or_made_up_does_not_open() {
    let store = store();
    let entry = leave(&store, Version::Tls12, 7, START);
    let again = session(&store, PRINT, Version::Tls12, 7, START);
    for at in 0..entry.value.len() {
        let mut value = entry.value.clone();
        value[at] ^= 1;
        assert!(!again.found(&value), "byte {at}");
        assert!(!again.found(&entry.value[..at]), "the first {at} bytes");
    }
    for made_up in [&b""[..], b"x", &[0; 100], &[0xff; 16 * 1024]] {
        assert!(!again.found(made_up));
    }
    assert_eq!(again.get(&[7; ID]), None);
    // A ticket that a client would hold is no entry.
    let ticket = store.0.seal(&PRINT, START, START, STATE).unwrap();
    assert!(!again.found(&ticket));
}

#[test]
fn an_entry_is_found_as_long_as_it_is_good_whatever_the_keys_do() {
    for hours in [0, 5, 6, 11, 13, 17] {
        let store = store();
        // The first key's time began before.
        leave(&store, Version::Tls13, 1, START);
        let put_at = START + hours * HOUR;
        let entry = leave(&store, Version::Tls13, 7, put_at);
        assert_eq!(u64::from(entry.life), LIFETIME);
        for later in [0, 6 * HOUR, LIFETIME - 1] {
            let again = session(&store, PRINT, Version::Tls13, 7, put_at + later);
            // Time goes on for the keys, too.
            again.put(vec![1; ID], STATE.to_vec());
            let names = again.names();
            assert!(names.contains(&entry.name) && names.len() <= 3, "put after {hours} h, {later} s later");
        }
        let old = session(&store, PRINT, Version::Tls13, 7, put_at + LIFETIME);
        assert!(!old.found(&entry.value), "an old one is no use, whoever kept it");
    }
}

#[test]
fn all_that_comes_of_one_full_handshake_ends_after_seven_days() {
    let store = store();
    let mut entry = leave(&store, Version::Tls13, 7, START);
    let mut now = START;
    let mut resumed = 0;
    loop {
        now += 11 * HOUR;
        let again = session(&store, PRINT, Version::Tls13, 7, now);
        if !again.found(&entry.value) {
            break;
        }
        resumed += 1;
        if !again.put(vec![7; ID], STATE.to_vec()) {
            break;
        }
        entry = again.take_puts().pop().unwrap();
        assert!(now + u64::from(entry.life) <= START + LIFE);
    }
    assert_eq!(resumed, 7 * 24 / 11);
}
