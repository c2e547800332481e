//! The counts, shared by all workers.
//!
//! A count goes up by taking a slot and down by dropping it, so that no path can forget to give one back. An account
//! lives as long as somebody holds it or one of its slots; when the last is gone the ledger forgets the uid, so its
//! size is bounded by what is in use and not by how many users ever came by. What a pace still owes is kept a little
//! longer: who leaves and comes back has no new burst.
//!
//! **One account for each uid and rule.** Two programs of one uid under two rules do not eat each other's room: the
//! numbers of a rule are for what the rule is about. So a uid that several rules are about (by group or executable) has
//! as many accounts as rules, and the operator who wrote them has said so. Limits are looked up when something is
//! taken: after a reload the numbers of a rule of the same name count at once, and an account whose rule is gone has
//! those of `[limits]`.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Instant;

use super::limits::{Limits, Quota, QuotaExceeded};
use super::rate::Bucket;
use super::rules::{Rules, Ruling};

/// All accounts. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Ledger {
    book: Arc<Book>,
}

struct Book {
    tariff: RwLock<Tariff>,
    sessions: AtomicU32,
    accounts: Mutex<Accounts>,
    /// Moments are counted from here.
    since: Instant,
    /// The latest that anybody spoke of.
    latest: AtomicU64,
}

/// What counts for whom.
struct Tariff {
    host: Limits,
    rules: HashMap<Arc<str>, Limits>,
}

/// Whose an account is.
type Key = (u32, Option<Arc<str>>);

#[derive(Default)]
struct Accounts {
    open: HashMap<Key, Weak<Account>>,
    /// When the bucket of an account that is gone is full again.
    owed: HashMap<Key, u64>,
    /// How many of these there may be before the full ones are thrown out.
    patience: usize,
}

/// One uid's counts under one rule.
pub struct Account {
    key: Key,
    sessions: AtomicU32,
    handshakes: AtomicU32,
    profiles: AtomicU32,
    connections: AtomicU32,
    bytes: AtomicU64,
    bucket: Bucket,
    book: Arc<Book>,
}

/// What is in use, of one uid or of all. A snapshot: each number was true at some moment during the call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Sessions, handshakes in flight included.
    pub sessions: u64,
    /// Handshakes in flight.
    pub handshakes: u64,
    /// Callers' profiles.
    pub profiles: u64,
    /// Bytes that they hold.
    pub profile_bytes: u64,
    /// Control connections.
    pub connections: u64,
}

impl Ledger {
    /// A ledger without accounts; `now` is where its clock begins.
    pub fn new(limits: Limits, rules: &Rules, now: Instant) -> Self {
        let book = Book {
            tariff: RwLock::new(Tariff::new(limits, rules)),
            sessions: AtomicU32::new(0),
            accounts: Mutex::default(),
            since: now,
            latest: AtomicU64::new(0),
        };
        Ledger { book: Arc::new(book) }
    }

    /// The account of `uid` under what counts for it, opened if there is none. Two calls give the same one while
    /// either is held.
    pub fn account(&self, uid: u32, ruling: &Ruling) -> Arc<Account> {
        let key = (uid, ruling.name().cloned());
        let mut accounts = self.book.accounts();
        if let Some(account) = accounts.open.get(&key).and_then(Weak::upgrade) {
            return account;
        }
        let owed = accounts.owed.remove(&key).unwrap_or(0);
        let account = Arc::new(Account {
            key: key.clone(),
            sessions: AtomicU32::new(0),
            handshakes: AtomicU32::new(0),
            profiles: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            bytes: AtomicU64::new(0),
            bucket: Bucket::full_from(owed),
            book: Arc::clone(&self.book),
        });
        accounts.open.insert(key, Arc::downgrade(&account));
        account
    }

    /// The limits and the rules that count from now on. Who holds more than they allow keeps it and gets no more.
    pub fn set_limits(&self, limits: Limits, rules: &Rules) {
        let tariff = Tariff::new(limits, rules);
        *self.book.tariff.write().unwrap_or_else(PoisonError::into_inner) = tariff;
    }

    /// How many accounts there are.
    pub fn accounts(&self) -> usize {
        self.book.accounts().open.len()
    }

    /// What all use together.
    pub fn usage(&self) -> Usage {
        self.sum(|_| true)
    }

    /// What this uid uses, under whatever rules.
    pub fn usage_of(&self, uid: u32) -> Usage {
        self.sum(|account| account.uid() == uid)
    }

    fn sum(&self, which: impl Fn(&Account) -> bool) -> Usage {
        // Collected first: dropping the last Arc of an account takes the lock that is held while iterating.
        let accounts: Vec<Arc<Account>> =
            self.book.accounts().open.values().filter_map(Weak::upgrade).collect();
        let counted = accounts.iter().filter(|account| which(account)).map(|account| account.usage());
        counted.fold(Usage::default(), |sum, one| Usage {
            sessions: sum.sessions + one.sessions,
            handshakes: sum.handshakes + one.handshakes,
            profiles: sum.profiles + one.profiles,
            profile_bytes: sum.profile_bytes + one.profile_bytes,
            connections: sum.connections + one.connections,
        })
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("usage", &self.usage()).finish_non_exhaustive()
    }
}

impl Tariff {
    fn new(host: Limits, rules: &Rules) -> Self {
        Tariff { host, rules: rules.iter().map(|rule| (Arc::clone(&rule.name), rule.limits)).collect() }
    }
}

impl Book {
    fn limits(&self, key: &Key) -> Limits {
        let tariff = self.tariff.read().unwrap_or_else(PoisonError::into_inner);
        *key.1.as_ref().and_then(|rule| tariff.rules.get(rule)).unwrap_or(&tariff.host)
    }

    /// No code that can panic runs under the lock, so a poisoned one is whole.
    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nanoseconds on the ledger's clock.
    fn moment(&self, now: Instant) -> u64 {
        let moment = now.saturating_duration_since(self.since).as_nanos();
        let moment = u64::try_from(moment).unwrap_or(u64::MAX);
        self.latest.fetch_max(moment, Ordering::Relaxed);
        moment
    }
}

/// Fewer paces that are owed than this are not worth looking through.
const LEAST_PATIENCE: usize = 64;

impl Accounts {
    /// Keeps what the bucket of an account owes that is gone, and throws out those that are full again by now.
    fn keep_owed(&mut self, key: Key, full: u64, now: u64) {
        if full <= now {
            return;
        }
        if self.owed.len() >= self.patience.max(LEAST_PATIENCE) {
            self.owed.retain(|_, full| *full > now);
            self.patience = 2 * self.owed.len();
        }
        self.owed.insert(key, full);
    }
}

impl Account {
    /// Whose it is.
    pub fn uid(&self) -> u32 {
        self.key.0
    }

    /// Under which rule.
    pub fn rule(&self) -> Option<&Arc<str>> {
        self.key.1.as_ref()
    }

    /// Room for one session.
    ///
    /// # Errors
    /// The uid's limit, or the daemon's, is reached.
    pub fn session(self: &Arc<Self>) -> Result<SessionSlot, QuotaExceeded> {
        self.count(Quota::Sessions)?;
        // What is not given back by the slot below is given back here.
        if let Err(refused) = self.count(Quota::TotalSessions) {
            self.sessions.fetch_sub(1, Ordering::Relaxed);
            return Err(refused);
        }
        Ok(SessionSlot { account: Arc::clone(self) })
    }

    /// Room for one handshake that begins `now`; dropped when it is over, before the session is.
    ///
    /// # Errors
    /// The uid's limit is reached, or it begins too many.
    pub fn handshake(self: &Arc<Self>, now: Instant) -> Result<HandshakeSlot, QuotaExceeded> {
        let slot = self.take(Quota::Handshakes)?;
        // Last: what is refused for want of room has not been begun.
        if let Some(rate) = self.book.limits(&self.key).handshake_rate
            && !self.bucket.take(rate, self.book.moment(now))
        {
            return Err(self.exceeded(Quota::HandshakeRate));
        }
        Ok(HandshakeSlot { _own: slot })
    }

    /// Room for one profile.
    ///
    /// # Errors
    /// The uid's limit is reached.
    pub fn profile(self: &Arc<Self>) -> Result<ProfileSlot, QuotaExceeded> {
        self.take(Quota::Profiles).map(|slot| ProfileSlot { _own: slot })
    }

    /// Room for what a profile holds.
    ///
    /// # Errors
    /// The uid's limit is reached.
    pub fn profile_bytes(self: &Arc<Self>, bytes: u64) -> Result<ProfileBytes, QuotaExceeded> {
        let held = ProfileBytes { account: Arc::clone(self), bytes: AtomicU64::new(0) };
        held.change(bytes)?;
        Ok(held)
    }

    /// Room for one control connection.
    ///
    /// # Errors
    /// The uid's limit is reached.
    pub fn connection(self: &Arc<Self>) -> Result<ConnectionSlot, QuotaExceeded> {
        self.take(Quota::Connections).map(|slot| ConnectionSlot { _own: slot })
    }

    /// A place for a control connection that was let in under another rule: it is here, whatever the limit.
    pub fn moved_connection(self: &Arc<Self>) -> ConnectionSlot {
        self.connections.fetch_add(1, Ordering::Relaxed);
        ConnectionSlot { _own: Slot { account: Arc::clone(self), quota: Quota::Connections } }
    }

    /// What this uid uses under this rule.
    pub fn usage(&self) -> Usage {
        let count = |counter: &AtomicU32| u64::from(counter.load(Ordering::Relaxed));
        Usage {
            sessions: count(&self.sessions),
            handshakes: count(&self.handshakes),
            profiles: count(&self.profiles),
            profile_bytes: self.bytes.load(Ordering::Relaxed),
            connections: count(&self.connections),
        }
    }

    fn take(self: &Arc<Self>, quota: Quota) -> Result<Slot, QuotaExceeded> {
        self.count(quota).map(|()| Slot { account: Arc::clone(self), quota })
    }

    fn count(&self, quota: Quota) -> Result<(), QuotaExceeded> {
        let Some(counter) = self.counter(quota) else { return Ok(()) };
        let limit = self.book.limits(&self.key).of(quota);
        // Relaxed: the counts order nothing but themselves.
        counter
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (u64::from(count) < limit).then_some(count + 1)
            })
            .map(drop)
            .map_err(|_| self.exceeded(quota))
    }

    /// The refusal, which names the rule that the limit is of.
    fn exceeded(&self, what: Quota) -> QuotaExceeded {
        let limit = self.book.limits(&self.key).of(what);
        let own = what != Quota::TotalSessions;
        let rule = self.key.1.clone().filter(|_| own);
        QuotaExceeded { what, uid: own.then_some(self.key.0), limit, rule }
    }

    /// The counter of what is counted by ones.
    fn counter(&self, quota: Quota) -> Option<&AtomicU32> {
        match quota {
            Quota::Sessions => Some(&self.sessions),
            Quota::Handshakes => Some(&self.handshakes),
            Quota::Profiles => Some(&self.profiles),
            Quota::Connections => Some(&self.connections),
            Quota::TotalSessions => Some(&self.book.sessions),
            Quota::HandshakeRate | Quota::ProfileBytes => None,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("key", &self.key)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let now = self.book.latest.load(Ordering::Relaxed);
        let mut accounts = self.book.accounts();
        // Since the last Arc went, another thread may have opened a new account for the key: that one is alive, and
        // began without what this one owes. It takes a thread that wins this race each time to gain a burst by it.
        if accounts.open.get(&self.key).is_some_and(|account| account.strong_count() == 0) {
            accounts.open.remove(&self.key);
        }
        accounts.keep_owed(self.key.clone(), self.bucket.full_at(), now);
    }
}

/// One counted thing.
#[derive(Debug)]
struct Slot {
    account: Arc<Account>,
    quota: Quota,
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(counter) = self.account.counter(self.quota) {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Room for one session of a uid and of the daemon; given back when dropped. No more than a pointer: each session has
/// one as long as it lives.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct SessionSlot {
    account: Arc<Account>,
}

impl SessionSlot {
    /// The rule that the session was let in under.
    pub fn rule(&self) -> Option<&Arc<str>> {
        self.account.rule()
    }
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.account.sessions.fetch_sub(1, Ordering::Relaxed);
        self.account.book.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for one handshake in flight; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct HandshakeSlot {
    _own: Slot,
}

/// Room for one profile; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct ProfileSlot {
    _own: Slot,
}

/// Room for what one profile holds; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct ProfileBytes {
    account: Arc<Account>,
    bytes: AtomicU64,
}

impl ProfileBytes {
    /// How many.
    pub fn count(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The profile is replaced by one that holds so many: only what it holds more takes room.
    ///
    /// # Errors
    /// There is not that much room; it is as it was then.
    pub fn change(&self, bytes: u64) -> Result<(), QuotaExceeded> {
        let account = &self.account;
        let (limit, before) = (account.book.limits(&account.key).profile_bytes, self.count());
        // Smaller than before is always taken, also after a reload that allows less.
        account
            .bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
                let after = (all - before.min(all)).saturating_add(bytes);
                (after <= limit || bytes <= before).then_some(after)
            })
            .map_err(|_| account.exceeded(Quota::ProfileBytes))?;
        self.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for ProfileBytes {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.count(), Ordering::Relaxed);
    }
}

/// Room for one control connection; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct ConnectionSlot {
    _own: Slot,
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
