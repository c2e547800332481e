//! The configuration, as the supervisor has it: loaded, given to a worker, in use or not.
//!
//! ```text
//!  Gathering ─ config ─▶ (the log) ─ all ─▶ New { record, keys } ─┬─ a worker takes it ─▶ Keyring::accept
//!                                    └─ an error: nothing is new   └─ it does not ──────▶ Keyring::reject
//! ```

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::gather::{Disk, Recording};
use super::keys::{Door, InProcess, NewKeys, OperatorKeys, ToKeyholder};
use super::operator::{ConfigPlace, Loaded};
use super::permits::{Noting, Permits};
use crate::config::{Config, ConfigError};

/// Everything that a configuration names, noted while it is read.
pub(super) struct Gathering {
    place: ConfigPlace,
    sources: Recording<Disk>,
}

/// A configuration that could be used.
pub(super) struct New {
    /// The file's text as types.
    pub(super) config: Config,
    /// What works and will not for long.
    pub(super) warnings: Vec<String>,
    /// Who may use `keys.sock`.
    pub(super) key_users: Vec<u32>,
    /// Who may see what everybody has, beside root.
    pub(super) observers: Vec<u32>,
    /// Who may use which of its profiles, and with which keys.
    pub(super) permits: Permits,
    /// All of it, for workers: a sealed memory file.
    pub(super) record: OwnedFd,
    /// Its keys, which the keyholder has already.
    pub(super) keys: NewKeys,
}

impl Gathering {
    /// Begins with the file in this place. The limit of descriptors is the one of now.
    pub(super) fn begin(place: &ConfigPlace) -> Self {
        Self { place: place.clone(), sources: Recording::new(Disk::default(), Some(place)) }
    }

    /// The file alone.
    ///
    /// # Errors
    /// As [`ConfigPlace::read`].
    pub(super) fn config(&self) -> Result<Config, ConfigError> {
        self.place.read_from(&self.sources)
    }

    /// Everything that it names.
    ///
    /// # Errors
    /// The first thing that cannot be used. The keyholder has forgotten what it had of it.
    pub(super) fn all(self, config: Config, keyring: &mut Keyring) -> Result<New, ConfigError> {
        let (loaded, keys, permits) = match &mut keyring.door {
            None => {
                let loaded = Loaded::from_config(config, &self.sources, &mut InProcess::to_serve())?;
                (loaded, NewKeys::none(), Permits::default())
            }
            Some(door) => {
                let mut keys = ToKeyholder::new(door);
                let mut noted = Noting::new(&mut keys);
                let loaded = Loaded::from_config(config, &self.sources, &mut noted)?;
                let permits = noted.permits(&loaded);
                (loaded, keys.done(), permits)
            }
        };
        let record = self.sources.gathered(keys.public_halves()).seal();
        let Loaded { config, operator, key_users, warnings, .. } = loaded;
        match record {
            Ok(record) => {
                Ok(New { config, warnings, key_users, observers: operator.observers, permits, record, keys })
            }
            Err(error) => {
                keyring.reject(keys);
                Err(ConfigError::new(&self.place.path, None, error.to_string()))
            }
        }
    }
}

/// The operator's keys, and who holds them.
#[derive(Debug, Default)]
pub(super) struct Keyring {
    /// `None`: whoever serves reads the key files itself.
    door: Option<Door>,
    in_use: OperatorKeys,
    /// Of configurations from before, and until when handshakes may need them that began then. Soonest first.
    retired: VecDeque<(Instant, NewKeys)>,
}

impl Keyring {
    /// The way to the keyholder, if there is one.
    pub(super) fn door(&self) -> Option<&Door> {
        self.door.as_ref()
    }

    /// These are in use now. Of those before, the keyholder forgets what is not among them, when the handshakes that have
    /// begun with them are over: `handshakes` from now.
    pub(super) fn accept(&mut self, keys: NewKeys, handshakes: Duration) {
        let old = self.in_use.replace(keys);
        if self.door.is_some() {
            self.retired.push_back((Instant::now() + handshakes, old));
        }
    }

    /// These are not used, and those before stay.
    pub(super) fn reject(&mut self, keys: NewKeys) {
        if let Some(door) = &mut self.door {
            OperatorKeys::discard(door, keys);
        }
    }

    /// When [`Keyring::retire`] has something to do.
    pub(super) fn next(&self) -> Option<Instant> {
        self.retired.front().map(|(until, _)| *until)
    }

    /// Has the keyholder forget what nothing needs any more.
    pub(super) fn retire(&mut self) {
        let Some(door) = &mut self.door else { return };
        while self.retired.front().is_some_and(|(until, _)| *until <= Instant::now()) {
            if let Some((_, keys)) = self.retired.pop_front() {
                OperatorKeys::discard(door, keys);
            }
        }
    }

    /// This keyholder has the keys from now on: it was started (again), and gets all that are in use. Returns a sentence for
    /// each that it could not get.
    pub(super) fn moved(&mut self, door: Door) -> Vec<String> {
        // They are gone with the one before, and their numbers mean other keys here.
        self.retired.clear();
        self.in_use.add_all_again(self.door.insert(door))
    }
}
