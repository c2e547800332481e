//! A cache as the operator names it, and what the log says of it: that it is away, and that it is back.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::codec::Dialect;
use crate::config::{CacheAddress, CacheKind};

/// Between two lines about the same cache going away: one that comes and goes fills no disk.
const BETWEEN: Duration = Duration::from_secs(10);

/// A cache of the operator's. All workers share it; each has a connection of its own.
pub struct Cache {
    /// Where it is.
    pub address: CacheAddress,
    /// Redis: as whom; `None` is its default user.
    pub user: Option<String>,
    /// Redis: the password.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// How long a look-up waits.
    pub deadline: Duration,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// Whether the last word is that it is away.
    away: bool,
    /// When that was said last.
    last: Option<Instant>,
}

impl Cache {
    /// Nobody has asked it yet.
    #[must_use]
    pub fn new(
        address: CacheAddress,
        user: Option<String>,
        password: Option<Zeroizing<Vec<u8>>>,
        deadline: Duration,
    ) -> Self {
        Self { address, user, password, deadline, said: Mutex::default() }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.address.kind {
            CacheKind::Memcached => Dialect::Memcached,
            CacheKind::Redis => Dialect::Redis,
        }
    }

    /// One of the workers finds that it does not answer as it should.
    pub(super) fn is_away(&self, why: &str, now: Instant) {
        if self.may_say_away(now) {
            tracing::warn!(
                cache = %self.address,
                "the session cache is away: {why}; sessions do full handshakes until it is back"
            );
        }
    }

    /// One of the workers finds that it answers again.
    pub(super) fn is_back(&self) {
        if self.may_say_back() {
            tracing::info!(cache = %self.address, "the session cache is back");
        }
    }

    fn may_say_away(&self, now: Instant) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        // Too early is not never: while it stays away, every probe that fails asks here again.
        if said.away || said.last.is_some_and(|last| now.duration_since(last) < BETWEEN) {
            return false;
        }
        *said = Said { away: true, last: Some(now) };
        true
    }

    fn may_say_back(&self) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut said.away)
    }
}

/// Never the password.
impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("address", &self.address)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_all_workers_and_none_for_a_cache_that_flutters() {
        let address = CacheAddress::parse("memcached://127.0.0.1").unwrap();
        let cache = Cache::new(address, None, None, Duration::from_millis(50));
        let start = Instant::now();
        assert!(!cache.may_say_back(), "it never was away");
        assert!(cache.may_say_away(start));
        assert!(!cache.may_say_away(start), "another worker finds the same");
        assert!(cache.may_say_back() && !cache.may_say_back());
        assert!(!cache.may_say_away(start + Duration::from_secs(1)), "just now it was said");
        assert!(!cache.may_say_back(), "nobody was told that it was away");
        assert!(cache.may_say_away(start + BETWEEN));
    }

    #[test]
    fn a_cache_that_goes_again_at_once_and_stays_away_is_not_called_back_by_the_log_for_ever() {
        let address = CacheAddress::parse("memcached://127.0.0.1").unwrap();
        let cache = Cache::new(address, None, None, Duration::from_millis(50));
        let start = Instant::now();
        assert!(cache.may_say_away(start) && cache.may_say_back());
        assert!(!cache.may_say_away(start + Duration::from_secs(1)), "too early");
        assert!(cache.may_say_away(start + BETWEEN), "it did not come back meanwhile");
        assert!(cache.may_say_back());
    }

    #[test]
    fn a_password_is_in_no_debug_output() {
        let address = CacheAddress::parse("redis://127.0.0.1").unwrap();
        let secret = Zeroizing::new(b"s3cret".to_vec());
        let cache = Cache::new(address, None, Some(secret), Duration::from_millis(50));
        let text = format!("{cache:?}");
        assert!(!text.contains("s3cret") && !text.contains("115, 51"), "{text}");
    }
}
