//! The counts, shared by all workers.
//!
//! A count goes up by taking a slot and down by dropping it, so that no path can forget to give one back. An account
//! lives as long as somebody holds it or one of its slots; when the last is gone the ledger forgets the uid, so its
//! size is bounded by what is in use and not by how many users ever came by.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use super::limits::{Limits, Quota, QuotaExceeded};

/// All accounts. Cheap to clone; clones count together.
#[derive(Clone)]
pub struct Ledger {
    book: Arc<Book>,
}

struct Book {
    limits: RwLock<Limits>,
    sessions: AtomicU32,
    accounts: Mutex<HashMap<u32, Weak<Account>>>,
}

/// One uid's counts.
pub struct Account {
    uid: u32,
    sessions: AtomicU32,
    handshakes: AtomicU32,
    profiles: AtomicU32,
    connections: AtomicU32,
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
    /// Control connections.
    pub connections: u64,
}

impl Ledger {
    /// A ledger without accounts.
    pub fn new(limits: Limits) -> Self {
        Ledger {
            book: Arc::new(Book {
                limits: RwLock::new(limits),
                sessions: AtomicU32::new(0),
                accounts: Mutex::new(HashMap::new()),
            }),
        }
    }

    /// The account of `uid`, opened if there is none. Two calls give the same one while either is held.
    pub fn account(&self, uid: u32) -> Arc<Account> {
        let mut accounts = self.book.accounts();
        if let Some(account) = accounts.get(&uid).and_then(Weak::upgrade) {
            return account;
        }
        let account = Arc::new(Account {
            uid,
            sessions: AtomicU32::new(0),
            handshakes: AtomicU32::new(0),
            profiles: AtomicU32::new(0),
            connections: AtomicU32::new(0),
            book: Arc::clone(&self.book),
        });
        accounts.insert(uid, Arc::downgrade(&account));
        account
    }

    /// The limits that count now.
    pub fn limits(&self) -> Limits {
        self.book.limits()
    }

    /// New limits after a reload. Who holds more than they allow keeps it and gets no more.
    pub fn set_limits(&self, limits: Limits) {
        *self.book.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// How many uids have an account.
    pub fn accounts(&self) -> usize {
        self.book.accounts().len()
    }

    /// What all use together.
    pub fn usage(&self) -> Usage {
        // Collected first: dropping the last Arc of an account takes the lock that is held while iterating.
        let accounts: Vec<Arc<Account>> = self.book.accounts().values().filter_map(Weak::upgrade).collect();
        accounts.iter().map(|account| account.usage()).fold(Usage::default(), |sum, one| Usage {
            sessions: sum.sessions + one.sessions,
            handshakes: sum.handshakes + one.handshakes,
            profiles: sum.profiles + one.profiles,
            connections: sum.connections + one.connections,
        })
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger")
            .field("limits", &self.limits())
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl Book {
    fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// No code that can panic runs under the lock, so a poisoned one is whole.
    fn accounts(&self) -> MutexGuard<'_, HashMap<u32, Weak<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Whose it is.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Room for one session.
    ///
    /// # Errors
    /// The uid's limit, or the daemon's, is reached.
    pub fn session(self: &Arc<Self>) -> Result<SessionSlot, QuotaExceeded> {
        let own = self.take(Quota::Sessions)?;
        self.count(Quota::TotalSessions)?;
        Ok(SessionSlot { own })
    }

    /// Room for one handshake; dropped when it is over, before the session is.
    ///
    /// # Errors
    /// The uid's limit is reached.
    pub fn handshake(self: &Arc<Self>) -> Result<HandshakeSlot, QuotaExceeded> {
        self.take(Quota::Handshakes).map(|slot| HandshakeSlot { _own: slot })
    }

    /// Room for one profile.
    ///
    /// # Errors
    /// The uid's limit is reached.
    pub fn profile(self: &Arc<Self>) -> Result<ProfileSlot, QuotaExceeded> {
        self.take(Quota::Profiles).map(|slot| ProfileSlot { _own: slot })
    }

    /// Room for one control connection.
    ///
    /// # Errors
    /// The uid's limit is reached.
    pub fn connection(self: &Arc<Self>) -> Result<ConnectionSlot, QuotaExceeded> {
        self.take(Quota::Connections).map(|slot| ConnectionSlot { _own: slot })
    }

    /// What this uid uses.
    pub fn usage(&self) -> Usage {
        let count = |quota| u64::from(self.counter(quota).load(Ordering::Relaxed));
        Usage {
            sessions: count(Quota::Sessions),
            handshakes: count(Quota::Handshakes),
            profiles: count(Quota::Profiles),
            connections: count(Quota::Connections),
        }
    }

    fn take(self: &Arc<Self>, quota: Quota) -> Result<Slot, QuotaExceeded> {
        self.count(quota).map(|()| Slot { account: Arc::clone(self), quota })
    }

    fn count(&self, quota: Quota) -> Result<(), QuotaExceeded> {
        let limit = self.book.limits().of(quota);
        // Relaxed: the counts order nothing but themselves.
        self.counter(quota)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < limit).then_some(count + 1))
            .map(drop)
            .map_err(|_| QuotaExceeded {
                what: quota,
                uid: (quota != Quota::TotalSessions).then_some(self.uid),
                limit,
            })
    }

    fn counter(&self, quota: Quota) -> &AtomicU32 {
        match quota {
            Quota::Sessions => &self.sessions,
            Quota::Handshakes => &self.handshakes,
            Quota::Profiles => &self.profiles,
            Quota::Connections => &self.connections,
            Quota::TotalSessions => &self.book.sessions,
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("uid", &self.uid)
            .field("usage", &self.usage())
            .finish_non_exhaustive()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut accounts = self.book.accounts();
        // Since the last Arc went, another thread may have opened a new account for the uid: that one is alive.
        if accounts.get(&self.uid).is_some_and(|account| account.strong_count() == 0) {
            accounts.remove(&self.uid);
        }
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
        self.account.counter(self.quota).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Room for one session of a uid and of the daemon; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct SessionSlot {
    own: Slot,
}

impl Drop for SessionSlot {
    fn drop(&mut self) {
        self.own.account.counter(Quota::TotalSessions).fetch_sub(1, Ordering::Relaxed);
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

/// Room for one control connection; given back when dropped.
#[derive(Debug)]
#[must_use = "dropping a slot gives it back"]
pub struct ConnectionSlot {
    _own: Slot,
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    const LIMITS: Limits =
        Limits { sessions: 3, handshakes: 2, profiles: 2, connections: 1, total_sessions: 5 };

    #[test]
    fn the_limit_is_exact_and_comes_back() {
        let ledger = Ledger::new(LIMITS);
        let account = ledger.account(7);
        let mut slots: Vec<_> = (0..3).map(|_| account.session().unwrap()).collect();
        let refused = account.session().unwrap_err();
        assert_eq!(refused, QuotaExceeded { what: Quota::Sessions, uid: Some(7), limit: 3 });
        slots.pop();
        let again = account.session().unwrap();
        assert_eq!(account.usage().sessions, 3);
        drop((slots, again));
        assert_eq!(account.usage(), Usage::default());
        assert_eq!(ledger.book.sessions.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_kinds_do_not_eat_each_others_room() {
        let ledger = Ledger::new(LIMITS);
        let account = ledger.account(7);
        let held = (account.handshake().unwrap(), account.profile().unwrap(), account.connection().unwrap());
        assert_eq!(account.usage(), Usage { sessions: 0, handshakes: 1, profiles: 1, connections: 1 });
        assert_eq!(account.connection().unwrap_err().what, Quota::Connections);
        drop(held);
        assert_eq!(account.usage(), Usage::default());
    }

    #[test]
    fn a_refusal_for_the_total_leaves_no_trace() {
        let ledger = Ledger::new(LIMITS);
        let (first, second) = (ledger.account(1), ledger.account(2));
        let held: Vec<_> = (0..3).map(|_| first.session().unwrap()).collect();
        let more: Vec<_> = (0..2).map(|_| second.session().unwrap()).collect();
        let refused = second.session().unwrap_err();
        assert_eq!(refused, QuotaExceeded { what: Quota::TotalSessions, uid: None, limit: 5 });
        assert_eq!(second.usage().sessions, 2, "the refused session is not counted");
        assert_eq!(ledger.usage().sessions, 5);
        drop((held, more));
        assert_eq!(ledger.usage(), Usage::default());
    }

    #[test]
    fn an_account_with_nothing_left_is_forgotten() {
        let ledger = Ledger::new(LIMITS);
        for uid in 0..10_000 {
            drop(ledger.account(uid).session().unwrap());
        }
        assert_eq!(ledger.accounts(), 0);
        let slot = ledger.account(1).session().unwrap();
        assert_eq!(ledger.accounts(), 1, "a slot alone keeps its account");
        assert_eq!(ledger.account(1).usage().sessions, 1, "and it is found again");
        drop(slot);
        assert_eq!(ledger.accounts(), 0);
    }

    #[test]
    fn a_lower_limit_after_reload_takes_nothing_away() {
        let ledger = Ledger::new(LIMITS);
        let account = ledger.account(7);
        let held: Vec<_> = (0..3).map(|_| account.session().unwrap()).collect();
        ledger.set_limits(Limits { sessions: 1, ..LIMITS });
        assert_eq!(account.session().unwrap_err().limit, 1);
        assert_eq!(account.usage().sessions, 3);
        drop(held);
        assert!(account.session().is_ok());
    }

    #[test]
    fn many_threads_never_exceed_the_limit_and_end_at_zero() {
        const THREADS: usize = 8;
        let ledger = Ledger::new(LIMITS);
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (ledger, start) = (ledger.clone(), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    for round in 0..2_000_u32 {
                        // Opened and forgotten all the time, which is where a lost account would show.
                        let account = ledger.account(round % 3);
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
        let ledger = Ledger::new(LIMITS);
        let slot = ledger.account(1).session().unwrap();
        thread::spawn(move || drop(slot)).join().unwrap();
        assert_eq!(ledger.accounts(), 0);
    }
}
