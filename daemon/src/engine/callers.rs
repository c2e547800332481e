//! Who asks for something here, for `status`: each worker knows the control connections that it serves, and whose its
//! sessions are; the caller that asks puts together what they say.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::link::Link;
use crate::policy::CallerCred;

/// The control connections of one worker.
#[derive(Clone, Default)]
pub(super) struct Callers(Rc<RefCell<Slab<Rc<Entry>>>>);

/// One of them.
struct Entry {
    link: Arc<Link>,
    since: Instant,
    rule: RefCell<Option<Arc<str>>>,
    profiles: Cell<u64>,
    bytes: Cell<u64>,
}

/// The entry of a control connection: it goes with this.
pub(super) struct Presence {
    callers: Callers,
    key: usize,
    entry: Rc<Entry>,
}

impl Callers {
    /// Enters a connection.
    pub(super) fn enter(&self, link: &Arc<Link>, rule: Option<&Arc<str>>) -> Presence {
        let entry = Rc::new(Entry {
            link: Arc::clone(link),
            since: Instant::now(),
            rule: RefCell::new(rule.cloned()),
            profiles: Cell::default(),
            bytes: Cell::default(),
        });
        let key = self.0.borrow_mut().insert(Rc::clone(&entry));
        Presence { callers: self.clone(), key, entry }
    }

    /// Adds them to a census, those of one uid or all.
    pub(super) fn count(&self, census: &mut Census) {
        for (_, entry) in self.0.borrow().iter() {
            let rule = entry.rule.borrow().clone();
            let Some(tally) = census.of(&entry.link, rule, entry.since.elapsed()) else { continue };
            tally.connections += 1;
            tally.profiles += entry.profiles.get();
            tally.bytes += entry.bytes.get();
        }
    }
}

impl Presence {
    /// Another rule counts.
    pub(super) fn set_rule(&self, rule: Option<&Arc<str>>) {
        *self.entry.rule.borrow_mut() = rule.cloned();
    }

    /// So many profiles, with so many bytes.
    pub(super) fn set_profiles(&self, count: usize, bytes: u64) {
        self.entry.profiles.set(count as u64);
        self.entry.bytes.set(bytes);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.callers.0.borrow_mut().try_remove(self.key);
    }
}

/// Callers that a rule did not let in, for the log: a line for the first and then one in a second, so that nobody fills
/// the operator's disk by knocking.
#[derive(Default)]
pub(super) struct Turned {
    said: Option<Instant>,
    unsaid: u64,
}

impl Turned {
    const PAUSE: Duration = Duration::from_secs(1);

    pub(super) fn log(&mut self, cred: &CallerCred, why: &str, now: Instant) {
        if let Some(others) = self.due(now) {
            tracing::info!(uid = cred.uid, pid = cred.pid, others, "a caller was turned away: {why}");
        }
    }

    /// Whether this one is said, and how many were not since the last.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.said.is_some_and(|said| now.saturating_duration_since(said) < Self::PAUSE) {
            self.unsaid += 1;
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Processes under rules, counted.
pub(super) struct Census {
    uid: Option<u32>,
    tallies: BTreeMap<(u32, i32, Option<Arc<str>>), Tally>,
}

#[derive(Default)]
struct Tally {
    connections: u64,
    sessions: u64,
    handshakes: u64,
    profiles: u64,
    bytes: u64,
    age: Duration,
}

impl Census {
    /// Of one uid, or of all.
    pub(super) fn new(uid: Option<u32>) -> Self {
        Self { uid, tallies: BTreeMap::new() }
    }

    fn of(&mut self, link: &Link, rule: Option<Arc<str>>, age: Duration) -> Option<&mut Tally> {
        let cred = &link.cred;
        if self.uid.is_some_and(|uid| uid != cred.uid) {
            return None;
        }
        let tally = self.tallies.entry((cred.uid, cred.pid, rule)).or_default();
        tally.age = tally.age.max(age);
        Some(tally)
    }

    /// Counts a session.
    pub(super) fn session(
        &mut self,
        link: &Link,
        rule: Option<&Arc<str>>,
        since: Instant,
        handshaking: bool,
    ) {
        if let Some(tally) = self.of(link, rule.cloned(), since.elapsed()) {
            tally.sessions += 1;
            tally.handshakes += u64::from(handshaking);
        }
    }

    /// Adds what another worker has counted.
    pub(super) fn add(&mut self, other: Self) {
        for (key, more) in other.tallies {
            let tally = self.tallies.entry(key).or_default();
            tally.connections += more.connections;
            tally.sessions += more.sessions;
            tally.handshakes += more.handshakes;
            tally.profiles += more.profiles;
            tally.bytes += more.bytes;
            tally.age = tally.age.max(more.age);
        }
    }

    /// A line for each.
    pub(super) fn lines(&self) -> String {
        let mut text = String::new();
        for ((uid, pid, rule), tally) in &self.tallies {
            let Tally { connections, sessions, handshakes, profiles, bytes, age } = tally;
            let (rule, age) = (rule.as_deref().unwrap_or("-"), age.as_millis());
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "uid={uid} pid={pid} rule={rule} connections={connections} sessions={sessions} \
                 handshakes={handshakes} profiles={profiles} profile-bytes={bytes} age={age}"
            );
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_that_knocks_all_the_time_fills_no_log() {
        let (mut turned, start) = (Turned::default(), Instant::now());
        let lines: Vec<u64> =
            (0..3500).filter_map(|ms| turned.due(start + Duration::from_millis(ms))).collect();
        assert_eq!(lines, [0, 999, 999, 999]);
    }
}
