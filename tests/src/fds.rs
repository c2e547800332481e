//! Counting descriptors: what a process holds, and whether it gives back what it took.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io, process};

use crate::family;
use crate::wait::until;

/// How long descriptors may take to be closed after the last word about them.
const SETTLING: Duration = Duration::from_secs(5);

/// The open descriptors of processes: whose, which number, and what it leads to (`socket:[12]`, `pipe:[3]`, a path).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census(BTreeMap<(u32, u32), String>, Lines);

/// How many connections there are between a daemon's keyholder and those who ask it. A worker makes one for each of its
/// threads when that first needs it, and keeps it: each has an end there and one here, and none of them counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lines(usize);

impl Census {
    /// Of any process that we may look at.
    ///
    /// # Errors
    /// The system's: the process is gone, or somebody else's.
    pub fn of(pid: u32) -> io::Result<Self> {
        let folder = format!("/proc/{pid}/fd");
        let mut held = BTreeMap::new();
        for entry in fs::read_dir(&folder)? {
            let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // Gone between listing and look: it was being closed. The listing's own descriptor goes the same way.
            if let Ok(target) = fs::read_link(format!("{folder}/{number}")) {
                held.insert((pid, number), target.to_string_lossy().into_owned());
            }
        }
        // Our own listing is not a descriptor of the test's.
        held.retain(|_, target| *target != folder);
        Ok(Self(held, Lines::default()))
    }

    /// Of several processes together. One that has ended holds none. A socket that several of them hold counts once: one of a
    /// daemon's processes keeps copies of control connections, for the day another dies, and that begins when it begins.
    /// A copy that is left when the other has closed its own counts.
    pub fn of_all(pids: &[u32]) -> Self {
        let (mut all, mut lines) = (BTreeMap::new(), Lines::default());
        for one in pids.iter().filter_map(|pid| Self::of(*pid).ok()) {
            let known: BTreeSet<String> = all.values().cloned().collect();
            let new = |target: &String| !target.starts_with("socket:") || !known.contains(target);
            let is_keyholders = |pid| family::comm(pid).is_some_and(|name| name == "tlsifyd-keys");
            if one.0.keys().next().is_some_and(|(pid, _)| is_keyholders(*pid)) {
                let ends =
                    one.0.values().filter(|target| target.starts_with("socket:") && !known.contains(*target));
                lines = Lines(ends.count());
            }
            all.extend(one.0.into_iter().filter(|(_, target)| new(target)));
        }
        Self(all, lines)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len().saturating_sub(2 * self.1.0)
    }

    /// Number and target of each.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.0.iter().map(|((_, number), target)| (*number, target.as_str()))
    }

    /// Waits until the process holds as many descriptors as in this census.
    ///
    /// # Panics
    /// When it still holds more or fewer after 5 s, with what is different.
    pub fn settled(&self, pid: u32) {
        self.settled_by(&format!("process {pid}"), || {
            Self::of(pid).unwrap_or_else(|error| panic!("process {pid} cannot be looked at: {error}"))
        });
    }

    /// The same for whatever this counts, by its name.
    ///
    /// # Panics
    /// As [`Census::settled`].
    pub fn settled_by(&self, who: &str, mut count: impl FnMut() -> Self) {
        let mut last = self.clone();
        let settled = until(SETTLING, || {
            last = count();
            (last.count() == self.count()).then_some(())
        });
        if settled.is_none() {
            panic!(
                "{who} had {} descriptors and has {}:{}",
                self.count(),
                last.count(),
                self.difference(&last)
            );
        }
    }

    fn difference(&self, now: &Self) -> String {
        let mut text = String::new();
        for (key @ (pid, number), target) in &now.0 {
            if self.0.get(key) != Some(target) {
                let _ = write!(text, "\n  + {pid}: {number} {target}");
            }
        }
        for (key @ (pid, number), target) in &self.0 {
            if now.0.get(key) != Some(target) {
                let _ = write!(text, "\n  - {pid}: {number} {target}");
            }
        }
        text
    }
}

/// The descriptors of this test process, watched while no other watching test runs.
#[derive(Debug)]
pub struct OwnFds {
    before: Census,
    _alone: MutexGuard<'static, ()>,
}

/// Runs this test alone among those that call this: tests are threads of one process, and descriptors belong to the
/// process. In a suite where one test counts, every test calls this first and keeps what it gives.
pub fn exclusive() -> OwnFds {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed before us has said so itself.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    OwnFds { before: own(), _alone: alone }
}

impl OwnFds {
    /// Counts from now on: for what a test sets up once and keeps.
    pub fn rebase(&mut self) {
        self.before = own();
    }

    /// Waits until this process holds as many descriptors as before.
    ///
    /// # Panics
    /// When it still holds more or fewer after 5 s, with what is different.
    pub fn settled(&self) {
        self.before.settled(process::id());
    }
}

fn own() -> Census {
    Census::of(process::id()).expect("a process may look at itself")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_left_over_is_found_and_named() {
        let fds = exclusive();
        let null = fs::File::open("/dev/null").unwrap();
        let now = own();
        assert!(fds.before.difference(&now).contains("/dev/null"), "{now:?}");
        drop(null);
    }
}
