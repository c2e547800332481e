//! `ssh-add -x` and `-X`: a passphrase, kept as a slow hash.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::{pbkdf2, rand};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::tls::sha256;

/// A tenth of a second: who has read the keyholder's memory has the keys, so this is about the passphrase being used
/// elsewhere, too.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(200_000).expect("above zero");

/// The wait after the first wrong passphrase; each further one is longer by as much, as in OpenSSH's agent.
const STEP: Duration = Duration::from_millis(100);
/// The longest is ten seconds.
const MOST_STEPS: u32 = 100;

/// Locked with a passphrase, or not.
#[derive(Default)]
pub(super) struct Lock {
    sealed: Option<Sealed>,
    wrong: u32,
}

/// What a passphrase is held against: it outlives a keyholder that crashes, or whoever finds a way to crash it unlocks it.
#[derive(Clone, Serialize, Deserialize)]
pub struct Sealed {
    salt: [u8; 16],
    hash: Zeroizing<[u8; 32]>,
}

/// How an attempt to unlock ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    Unlocked,
    NotLocked,
    /// Not right. The answer waits for so long, and meanwhile nobody else's attempt is looked at.
    Wrong(Duration),
}

impl Lock {
    /// Locks; the passphrase may be empty. False: it is locked already, or the system has no randomness.
    pub(super) fn lock(&mut self, passphrase: &[u8]) -> bool {
        let mut salt = [0; 16];
        if self.sealed.is_some() || rand::fill(&mut salt).is_err() {
            return false;
        }
        let mut hash = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, &salt, &*hashed(passphrase), &mut *hash);
        self.sealed = Some(Sealed { salt, hash });
        true
    }

    /// Locked again, as the keyholder before was.
    pub(super) fn restore(&mut self, sealed: Sealed) {
        self.sealed = Some(sealed);
    }

    /// What it is locked with.
    pub(super) fn sealed(&self) -> Option<Sealed> {
        self.sealed.clone()
    }

    /// Unlocks, if this is the passphrase; compared in constant time.
    pub(super) fn unlock(&mut self, passphrase: &[u8]) -> Attempt {
        let Some(Sealed { salt, hash }) = &self.sealed else { return Attempt::NotLocked };
        let right =
            pbkdf2::verify(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, &*hashed(passphrase), &**hash);
        if right.is_err() {
            self.wrong = (self.wrong + 1).min(MOST_STEPS);
            return Attempt::Wrong(STEP * self.wrong);
        }
        self.sealed = None;
        self.wrong = 0;
        Attempt::Unlocked
    }
}

/// HMAC takes a short key and the same with zeros behind it for one.
fn hashed(passphrase: &[u8]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(sha256(passphrase))
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("locked", &self.sealed.is_some()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_unlocks_and_each_wrong_one_waits_longer() {
        let mut lock = Lock::default();
        assert_eq!(lock.unlock(b"any"), Attempt::NotLocked);
        assert!(lock.lock(b"right"));
        assert!(!lock.lock(b"other"), "locked already");
        for (count, wrong) in [&b"other"[..], b"", b"righ", b"right\0"].into_iter().enumerate() {
            let wait = STEP * u32::try_from(count + 1).expect("small");
            assert_eq!(lock.unlock(wrong), Attempt::Wrong(wait));
        }
        assert_eq!(lock.unlock(b"right"), Attempt::Unlocked);
        assert!(lock.sealed().is_none());
        assert!(lock.lock(b""), "an empty one is one");
        let mut next = Lock::default();
        next.restore(lock.sealed().expect("it is locked"));
        assert_eq!(next.unlock(b"x"), Attempt::Wrong(STEP));
        assert_eq!(next.unlock(b""), Attempt::Unlocked, "as the one before");
        assert_eq!(lock.unlock(b"x"), Attempt::Wrong(STEP), "counted from the start");
        assert_eq!(lock.unlock(b""), Attempt::Unlocked);
    }

    #[test]
    fn no_wait_is_longer_than_ten_seconds() {
        let mut lock = Lock { sealed: None, wrong: MOST_STEPS };
        lock.lock(b"right");
        assert_eq!(lock.unlock(b"wrong"), Attempt::Wrong(Duration::from_secs(10)));
        assert!(!format!("{lock:?}").contains("right"));
    }
}
