//! How much the sending key has done, and whether it is time for a new one (RFC 9846 sections 4.7.3 and 5.5).
//!
//! ```text
//!  sent() ──▶ bytes, records, age ── is_due ──▶ may_ask ──▶ renewed(): from zero
//!                                                  ▲
//!  heard() ──▶ what the peer has shown since ──────┘
//! ```
//!
//! Looked at when there is something to send, so that a session at rest needs no timer. Whatever waits here, rustls replaces
//! a key at the end of what is safe by itself: what this file adds is to do so well before.
//!
//! A key_update of ours asks for one of the peer's, and both ends count those that come without data between: rustls ends a
//! session at 33, on either side, as BoringSSL does, and GnuTLS at 9 within a second. A peer that does not read gets those
//! that were said meanwhile all at once. So we ask no more often than such peers bear.

use std::time::{Duration, Instant};

use crate::tls::KeyLimits;

/// Between two: four in a second, half of what GnuTLS takes.
const GAP: Duration = Duration::from_millis(250);
/// While nothing at all is heard: what a peer that reads again finds at once.
const MOST_UNHEARD: u8 = 4;
/// While the peer sends no data, its answers count here: twelve that are on their way, twelve more after a word of it that
/// was sent before them, and eight are left to rustls' own.
const MOST_WITHOUT_DATA: u8 = 12;

/// What the key with which a session sends has done. Most sessions rest with their first key under the usual limits, so
/// that takes no more than a number.
#[derive(Debug)]
pub(super) enum KeyAge {
    /// It is as old as rustls lets it be.
    Endless,
    /// The first one, under the usual limits: so many records. Full ones reach the limit of bytes with the last, smaller
    /// ones before.
    First(u32),
    /// Another one, or under limits of its own.
    Counted(Box<Counted>),
}

/// All that there is to know of a key.
#[derive(Debug)]
pub(super) struct Counted {
    limits: KeyLimits,
    bytes: u64,
    records: u64,
    since: Instant,
    unheard: u8,
    without_data: u8,
    updates: u32,
}

impl KeyAge {
    /// The key of the handshake, which is as old as the session.
    pub(super) fn new(limits: KeyLimits, since: Instant) -> Self {
        if limits == KeyLimits::USUAL {
            return Self::First(0);
        }
        Self::Counted(Box::new(Counted::new(limits, since)))
    }

    /// `count` bytes of plaintext are sent.
    pub(super) fn sent(&mut self, count: usize) {
        match self {
            Self::Endless => {}
            Self::First(records) => {
                let more = (count as u64).div_ceil(KeyLimits::USUAL.fragment);
                *records = records.saturating_add(u32::try_from(more).unwrap_or(u32::MAX));
            }
            Self::Counted(key) => {
                key.bytes += count as u64;
                key.records += (count as u64).div_ceil(key.limits.fragment);
            }
        }
    }

    /// Something came of the peer, `data` among it or not.
    pub(super) fn heard(&mut self, data: bool) {
        let Self::Counted(key) = self else { return };
        key.unheard = 0;
        if data {
            key.without_data = 0;
        }
    }

    /// Whether this key has done enough.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        match self {
            Self::Endless => false,
            Self::First(records) => u64::from(*records) >= KeyLimits::USUAL.records,
            Self::Counted(key) => {
                let limits = &key.limits;
                key.bytes >= limits.bytes
                    || key.records >= limits.records
                    || limits.age.is_some_and(|age| now.saturating_duration_since(key.since) >= age)
            }
        }
    }

    /// Whether a peer bears to be asked for a new one now.
    pub(super) fn may_ask(&self, now: Instant) -> bool {
        match self {
            Self::Endless => false,
            Self::First(_) => true,
            Self::Counted(key) => {
                key.unheard < MOST_UNHEARD
                    && key.without_data < MOST_WITHOUT_DATA
                    && (key.updates == 0 || now.saturating_duration_since(key.since) >= GAP)
            }
        }
    }

    /// There is a new key.
    pub(super) fn renewed(&mut self, now: Instant) {
        if let Self::First(_) = self {
            *self = Self::Counted(Box::new(Counted::new(KeyLimits::USUAL, now)));
        }
        let Self::Counted(key) = self else { return };
        (key.bytes, key.records, key.since) = (0, 0, now);
        key.unheard += 1;
        key.without_data += 1;
        key.updates = key.updates.saturating_add(1);
    }

    /// There are no new keys in this session: TLS 1.2 has none.
    pub(super) fn give_up(&mut self) {
        *self = Self::Endless;
    }

    /// How many keys were replaced.
    pub(super) fn updates(&self) -> u32 {
        match self {
            Self::Counted(key) => key.updates,
            Self::Endless | Self::First(_) => 0,
        }
    }
}

impl Counted {
    fn new(limits: KeyLimits, since: Instant) -> Self {
        Self { limits, bytes: 0, records: 0, since, unheard: 0, without_data: 0, updates: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> KeyLimits {
        KeyLimits { bytes: 100, records: 10, age: Some(Duration::from_secs(60)), fragment: 20 }
    }

    #[test]
    fn a_key_ends_by_bytes_by_records_and_by_age() {
        let start = Instant::now();
        let later = start + Duration::from_secs(59);
        let mut key = KeyAge::new(limits(), start);
        key.sent(99);
        assert!(!key.is_due(later));
        key.sent(1);
        assert!(key.is_due(start), "bytes");
        key.renewed(start);
        assert!(!key.is_due(later));
        for _ in 0..10 {
            assert!(!key.is_due(later));
            key.sent(1);
        }
        assert!(key.is_due(start), "small records");
        key.renewed(start);
        assert!(!key.is_due(later) && key.is_due(start + Duration::from_secs(60)), "age");
        assert_eq!(key.updates(), 2);
        key.give_up();
        key.sent(1000);
        assert!(!key.is_due(start + Duration::from_secs(1000)));
    }

    #[test]
    fn the_usual_limits_count_from_the_first_key_on() {
        let start = Instant::now();
        let mut key = KeyAge::new(KeyLimits::USUAL, start);
        assert!(size_of::<KeyAge>() <= 16, "a session at rest has one");
        let full = usize::try_from(KeyLimits::USUAL.fragment * 1024).unwrap();
        for _ in 0..KeyLimits::USUAL.records / 1024 {
            assert!(!key.is_due(start));
            key.sent(full);
        }
        assert!(key.is_due(start) && key.may_ask(start), "bytes and records end together");
        key.renewed(start);
        assert!(!key.is_due(start) && !key.may_ask(start) && key.updates() == 1);
    }

    #[test]
    fn a_peer_is_asked_no_more_often_than_it_bears() {
        let mut now = Instant::now();
        let mut key = KeyAge::new(limits(), now);
        let ask = |key: &mut KeyAge, now: &mut Instant| {
            *now += GAP;
            let may = key.may_ask(*now);
            if may {
                key.renewed(*now);
            }
            may
        };
        let asked = (0..20).filter(|_| ask(&mut key, &mut now)).count();
        assert_eq!(asked, 4, "of a peer that is not heard at all");
        let answered = |_: &i32| {
            key.heard(false);
            ask(&mut key, &mut now)
        };
        let asked = (0..20).filter(answered).count();
        assert_eq!(asked, 8, "of one that only answers");
        key.heard(true);
        assert!(ask(&mut key, &mut now) && !key.may_ask(now), "and then there is a pause");
        assert!(key.may_ask(now + GAP));
    }
}
