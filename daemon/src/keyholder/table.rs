//! Which keys there are, whose, and what each may sign. Pure: the time comes in as an argument.
//!
//! ```text
//!  blob ─▶ entries, each with its own number, owner, uses and end
//!          operator's, from a file       every worker may use it; goes with its number
//!          operator's, by ssh-add        the same; goes by ssh-add -d, -D, -t
//!          a caller's                    its own worker alone; goes with its number, or with the worker's door
//! ```
//!
//! A key that is there twice, as a caller's and as the operator's, is two entries: a signature is made if any entry that
//! the asker may use allows it, and one that goes takes nothing from the other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::io::agent::wire::Uses;
use crate::tls::HolderKey;

/// Entries at most. Far more than profiles that callers may define, and about 30 MB.
const MAX_ENTRIES: usize = 16_384;
/// Of them by ssh-add at most: people do not have more.
const MAX_ADDED: usize = 256;

/// A worker's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DoorId(u64);

/// Who brought a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The operator's, from a file that the configuration names.
    File,
    /// The operator's, by ssh-add.
    Added,
    /// A caller's, through this worker.
    Caller(DoorId),
}

/// What signs.
#[derive(Clone, Debug)]
pub(super) enum Key {
    /// A key in this process.
    Here(HolderKey),
    /// Somebody else's agent, by its name in the configuration.
    Foreign(Arc<str>),
}

/// A key to be added.
#[derive(Debug)]
pub(super) struct New {
    pub(super) origin: Origin,
    pub(super) blob: Vec<u8>,
    pub(super) pin: [u8; 32],
    pub(super) uses: Uses,
    /// For people: a path, a purpose, ssh-add's comment.
    pub(super) label: String,
    pub(super) life: Option<u32>,
    pub(super) key: Key,
}

#[derive(Debug)]
struct Entry {
    handle: u64,
    origin: Origin,
    pin: [u8; 32],
    uses: Uses,
    label: String,
    ends: Option<Instant>,
    key: Key,
}

/// An entry that is no more, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) pin: [u8; 32],
    pub(super) origin: Origin,
    pub(super) label: String,
}

/// Why there is no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Locked,
    Forgotten,
    Use,
}

/// All keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: HashMap<Arc<[u8]>, Vec<Entry>>,
    blobs: HashMap<u64, Arc<[u8]>>,
    /// The operator's keys that may be used through each; `None`: all.
    doors: HashMap<DoorId, Option<HashSet<[u8; 32]>>>,
    added: usize,
    /// Numbers of entries and of doors: none comes twice.
    last: u64,
    locked: bool,
}

impl Table {
    /// A worker's door is open from now on.
    pub(super) fn open_door(&mut self) -> DoorId {
        self.last += 1;
        let door = DoorId(self.last);
        self.doors.insert(door, None);
        door
    }

    /// Of the operator's keys, these may be used through this door, and no others.
    pub(super) fn permit(&mut self, door: DoorId, pins: HashSet<[u8; 32]>) {
        if let Some(permitted) = self.doors.get_mut(&door) {
            *permitted = Some(pins);
        }
    }

    /// It is closed: its keys go, and none is added any more, whoever still has a connection.
    pub(super) fn close_door(&mut self, door: DoorId) -> Vec<Gone> {
        self.doors.remove(&door);
        self.forget_all(|origin| origin == Origin::Caller(door))
    }

    /// Adds a key, and gives the number to forget it by. One that ssh-add has brought before gets its new comment and end.
    /// `None`: there are too many, or the door of who brings it is closed.
    pub(super) fn add(&mut self, new: New, now: Instant) -> Option<u64> {
        let New { origin, blob, pin, uses, label, life, key } = new;
        let ends = life.map(|life| now + Duration::from_secs(life.into()));
        let blob: Arc<[u8]> = blob.into();
        if origin == Origin::Added {
            let same = |entry: &&mut Entry| entry.origin == origin;
            if let Some(entry) = self.entries.get_mut(&blob).and_then(|all| all.iter_mut().find(same)) {
                (entry.label, entry.ends, entry.key) = (label, ends, key);
                return Some(entry.handle);
            }
            if self.added == MAX_ADDED {
                return None;
            }
        }
        let closed = matches!(origin, Origin::Caller(door) if !self.doors.contains_key(&door));
        if closed || self.blobs.len() == MAX_ENTRIES {
            return None;
        }
        self.last += 1;
        let handle = self.last;
        self.blobs.insert(handle, blob.clone());
        self.added += usize::from(origin == Origin::Added);
        self.entries.entry(blob).or_default().push(Entry { handle, origin, pin, uses, label, ends, key });
        Some(handle)
    }

    /// What signs with this key for whom: the operator's keys are everybody's who is not kept from them, and a caller's its
    /// own worker's.
    pub(super) fn pick(
        &self,
        blob: &[u8],
        wanted: Uses,
        door: Option<DoorId>,
        now: Instant,
    ) -> Result<(Key, [u8; 32]), Refusal> {
        if self.locked {
            return Err(Refusal::Locked);
        }
        let mut refusal = Refusal::Forgotten;
        for entry in self.entries.get(blob).into_iter().flatten() {
            if !self.visible(entry, door) || entry.ends.is_some_and(|ends| ends <= now) {
                continue;
            }
            if entry.uses.allows(wanted) {
                return Ok((entry.key.clone(), entry.pin));
            }
            refusal = Refusal::Use;
        }
        Err(refusal)
    }

    /// The keys as they are listed, in the order in which they came, each once. None while locked, as OpenSSH's agent.
    pub(super) fn list(&self, door: Option<DoorId>, now: Instant) -> Vec<(&[u8], &str)> {
        if self.locked {
            return Vec::new();
        }
        let mut found: Vec<(u64, &[u8], &str)> = self
            .entries
            .iter()
            .filter_map(|(blob, entries)| {
                let alive =
                    |entry: &&Entry| self.visible(entry, door) && entry.ends.is_none_or(|ends| ends > now);
                let first = entries.iter().find(alive)?;
                Some((first.handle, &**blob, first.label.as_str()))
            })
            .collect();
        found.sort_unstable_by_key(|(handle, ..)| *handle);
        found.into_iter().map(|(_, blob, label)| (blob, label)).collect()
    }

    /// Forgets one entry, if `may` allows it.
    pub(super) fn forget(&mut self, handle: u64, may: impl Fn(Origin) -> bool) -> Option<Gone> {
        let blob = self.blobs.get(&handle)?.clone();
        self.remove(Some(&blob), |entry| entry.handle == handle && may(entry.origin)).pop()
    }

    /// Forgets the entries of this key that `may` allows.
    pub(super) fn forget_blob(&mut self, blob: &[u8], may: impl Fn(Origin) -> bool) -> Vec<Gone> {
        self.remove(Some(blob), |entry| may(entry.origin))
    }

    /// Forgets all entries that `may` allows.
    pub(super) fn forget_all(&mut self, may: impl Fn(Origin) -> bool) -> Vec<Gone> {
        self.remove(None, |entry| may(entry.origin))
    }

    /// Forgets what has come to its end.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Gone> {
        self.remove(None, |entry| entry.ends.is_some_and(|ends| ends <= now))
    }

    /// When there is something to expire.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.entries.values().flatten().filter_map(|entry| entry.ends).min()
    }

    pub(super) fn set_locked(&mut self, locked: bool) {
        self.locked = locked;
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Whether who comes through this door, or through none, may use it. Through a door that is closed nobody uses what is
    /// not everybody's: the connections that are open still may have been a worker's that was kept from it.
    fn visible(&self, entry: &Entry, door: Option<DoorId>) -> bool {
        match (entry.origin, door) {
            (Origin::Caller(own), door) => door == Some(own),
            (Origin::File | Origin::Added, None) => true,
            (Origin::File | Origin::Added, Some(door)) => match self.doors.get(&door) {
                Some(None) => true,
                Some(Some(permitted)) => permitted.contains(&entry.pin),
                None => false,
            },
        }
    }

    fn remove(&mut self, blob: Option<&[u8]>, goes: impl Fn(&Entry) -> bool) -> Vec<Gone> {
        let mut gone = Vec::new();
        let Self { entries, blobs, added, .. } = self;
        let mut sieve = |entries: &mut Vec<Entry>| {
            for entry in entries.extract_if(.., |entry| goes(entry)) {
                blobs.remove(&entry.handle);
                *added -= usize::from(entry.origin == Origin::Added);
                gone.push(Gone { pin: entry.pin, origin: entry.origin, label: entry.label });
            }
            !entries.is_empty()
        };
        match blob {
            Some(blob) => {
                if entries.get_mut(blob).is_some_and(|found| !sieve(found)) {
                    entries.remove(blob);
                }
            }
            None => entries.retain(|_, found| sieve(found)),
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOOR: DoorId = DoorId(1);
    const OTHER: DoorId = DoorId(2);

    fn table() -> (Table, Instant) {
        let mut table = Table::default();
        assert_eq!((table.open_door(), table.open_door()), (DOOR, OTHER));
        (table, Instant::now())
    }

    fn new(origin: Origin, blob: &[u8], uses: Uses, life: Option<u32>) -> New {
        let key = Key::Foreign("card".into());
        New { origin, blob: blob.to_vec(), pin: [7; 32], uses, label: format!("{origin:?}"), life, key }
    }

    fn may(table: &Table, blob: &[u8], uses: Uses, door: Option<DoorId>, now: Instant) -> Option<Refusal> {
        table.pick(blob, uses, door, now).err()
    }

    #[test]
    fn a_callers_key_is_its_own_workers_and_the_operators_is_everybodys() {
        let (mut table, now) = table();
        table.add(new(Origin::Caller(DOOR), b"caller", Uses::SERVER, None), now);
        table.add(new(Origin::File, b"file", Uses::SERVER, None), now);
        for (blob, door, refused) in [
            (&b"caller"[..], Some(DOOR), None),
            (b"caller", Some(OTHER), Some(Refusal::Forgotten)),
            (b"caller", None, Some(Refusal::Forgotten)),
            (b"file", Some(OTHER), None),
            (b"file", None, None),
            (b"none", None, Some(Refusal::Forgotten)),
        ] {
            assert_eq!(may(&table, blob, Uses::TLS13_SERVER, door, now), refused, "{blob:?} {door:?}");
        }
        assert_eq!(may(&table, b"file", Uses::TLS13_CLIENT, None, now), Some(Refusal::Use));
        assert_eq!(table.list(None, now).len(), 1);
        assert_eq!(table.list(Some(DOOR), now), [(&b"caller"[..], "Caller(DoorId(1))"), (b"file", "File")]);
    }

    #[test]
    fn a_door_that_is_for_one_user_opens_to_that_users_keys_alone() {
        let (mut table, now) = table();
        for (blob, origin) in
            [(b"one", Origin::File), (b"two", Origin::Added), (b"its", Origin::Caller(DOOR))]
        {
            let pin = [blob[0]; 32];
            table.add(New { pin, ..new(origin, blob, Uses::SERVER, None) }, now);
        }
        let used = |table: &Table, door| {
            let may_use = |blob: &&[u8; 3]| may(table, *blob, Uses::TLS13_SERVER, door, now).is_none();
            [b"one", b"two", b"its"].iter().filter(|blob| may_use(blob)).count()
        };
        table.permit(DOOR, HashSet::new());
        assert_eq!((used(&table, Some(DOOR)), used(&table, Some(OTHER)), used(&table, None)), (1, 2, 2));
        assert_eq!(table.list(Some(DOOR), now).len(), 1, "nor are they listed");
        table.permit(DOOR, HashSet::from([[b'o'; 32]]));
        assert_eq!(may(&table, b"one", Uses::TLS13_SERVER, Some(DOOR), now), None);
        assert_eq!(may(&table, b"two", Uses::TLS13_SERVER, Some(DOOR), now), Some(Refusal::Forgotten));
        table.close_door(DOOR);
        table.permit(DOOR, HashSet::from([[b't'; 32]]));
        assert_eq!(used(&table, Some(DOOR)), 0, "a connection that outlives its door");
    }

    #[test]
    fn a_key_that_is_there_twice_stays_until_both_are_gone() {
        let (mut table, now) = table();
        let caller = table.add(new(Origin::Caller(DOOR), b"key", Uses::CLIENT, None), now).expect("room");
        let file = table.add(new(Origin::File, b"key", Uses::SERVER, None), now).expect("room");
        assert_ne!(caller, file);
        assert_eq!(may(&table, b"key", Uses::TLS12_SERVER, Some(DOOR), now), None);
        assert_eq!(may(&table, b"key", Uses::TLS12_CLIENT, Some(DOOR), now), None);
        assert_eq!(table.list(Some(DOOR), now).len(), 1, "listed once");
        assert!(table.forget(file, |origin| origin == Origin::Added).is_none(), "not for others to forget");
        assert!(table.forget(file, |origin| origin == Origin::File).is_some());
        assert_eq!(may(&table, b"key", Uses::TLS12_SERVER, Some(DOOR), now), Some(Refusal::Use));
        assert_eq!(table.close_door(DOOR).len(), 1);
        let again = new(Origin::Caller(DOOR), b"key", Uses::CLIENT, None);
        assert_eq!(table.add(again, now), None, "nobody would forget it");
        assert_eq!(may(&table, b"key", Uses::TLS12_CLIENT, Some(DOOR), now), Some(Refusal::Forgotten));
        assert!(table.entries.is_empty() && table.blobs.is_empty(), "nothing is left behind");
    }

    #[test]
    fn a_lifetime_ends_and_the_same_key_added_again_has_its_new_one() {
        let (mut table, now) = table();
        let at = |seconds| now + Duration::from_secs(seconds);
        let handle = table.add(new(Origin::Added, b"key", Uses::ALL, Some(10)), now);
        assert_eq!(table.next_end(), Some(at(10)));
        assert_eq!(may(&table, b"key", Uses::ALL, None, at(9)), None);
        assert_eq!(
            may(&table, b"key", Uses::ALL, None, at(10)),
            Some(Refusal::Forgotten),
            "before it is wiped"
        );
        assert!(table.list(None, at(10)).is_empty());
        assert_eq!(table.add(new(Origin::Added, b"key", Uses::ALL, Some(30)), at(5)), handle);
        assert!(table.expire(at(34)).is_empty());
        assert_eq!(table.expire(at(35)).len(), 1);
        assert_eq!((table.next_end(), table.added), (None, 0));
    }

    #[test]
    fn while_locked_nothing_is_listed_or_signed_and_afterwards_all_is_there() {
        let (mut table, now) = table();
        table.add(new(Origin::File, b"key", Uses::ALL, None), now);
        table.set_locked(true);
        assert_eq!(may(&table, b"key", Uses::ALL, None, now), Some(Refusal::Locked));
        assert!(table.list(None, now).is_empty());
        table.set_locked(false);
        assert_eq!(may(&table, b"key", Uses::ALL, None, now), None);
    }

    #[test]
    fn nobody_adds_without_end() {
        let (mut table, now) = table();
        let add = |table: &mut Table, origin, count: usize| {
            let blobs = (0..count).map(|number| number.to_be_bytes());
            blobs.filter(|blob| table.add(new(origin, blob, Uses::ALL, None), now).is_some()).count()
        };
        assert_eq!(add(&mut table, Origin::Added, MAX_ADDED + 1), MAX_ADDED);
        assert_eq!(add(&mut table, Origin::Caller(DOOR), MAX_ENTRIES), MAX_ENTRIES - MAX_ADDED);
        table.forget_all(|_| true);
        assert_eq!(add(&mut table, Origin::Added, 1), 1, "room again");
    }
}
