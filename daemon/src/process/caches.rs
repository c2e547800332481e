//! The session caches of the configuration, and who connects to which: the supervisor to those at a path of this host, the
//! dialer to the others.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{CachePlace, Config};
use crate::io::connect_cache_at;

/// The caches that may be connected to: of the configuration in use, and while workers change to another of both.
///
/// What is at a path of this host is connected here, and the dialer never hears of it: its user may not go where the
/// operator's daemon may. That takes no rule of landlock's: connecting by path comes under such rules with its ninth
/// interface, which the supervisor's do not ask for, and these threads are beside them.
#[derive(Debug)]
pub(super) struct Caches(Mutex<Vec<CachePlace>>);

impl Caches {
    /// Those of this configuration.
    pub(super) fn of(config: &Config) -> Self {
        Self(Mutex::new(caches_of(config)))
    }

    /// And those of this one.
    pub(super) fn add(&self, config: &Config) {
        self.extend(caches_of(config));
    }

    /// Those of this one and no others.
    pub(super) fn only(&self, config: &Config) {
        *self.places() = caches_of(config);
    }

    fn extend(&self, more: Vec<CachePlace>) {
        let mut places = self.places();
        let new: Vec<_> = more.into_iter().filter(|place| !places.contains(place)).collect();
        places.extend(new);
    }

    /// Those that are the dialer's to connect to.
    pub(super) fn far(&self) -> Vec<CachePlace> {
        self.places().iter().filter(|place| !matches!(place, CachePlace::Path(_))).cloned().collect()
    }

    /// Connects to the one at this path, if it is one. Tried once, without waiting for whoever listens there.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn connect(&self, path: &Path) -> Result<OwnedFd, String> {
        // Byte by byte: of two paths that lead to the same place, the operator named one.
        let same = |place: &CachePlace| matches!(place, CachePlace::Path(own) if own.as_os_str() == path.as_os_str());
        let named = self.places().iter().any(same);
        // Not while others wait for the list: finding a path may take long.
        if named { connect_cache_at(path) } else { Err("the operator has named no such cache".to_owned()) }
    }

    fn places(&self) -> MutexGuard<'_, Vec<CachePlace>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the configuration's profiles keep their sessions.
fn caches_of(config: &Config) -> Vec<CachePlace> {
    let mut places: Vec<CachePlace> = Vec::new();
    for resumption in config.profiles.iter().filter_map(|profile| profile.resumption.as_ref()) {
        if !places.contains(&resumption.cache.place) {
            places.push(resumption.cache.place.clone());
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::process::test_folder::Folder;

    #[test]
    fn a_worker_reaches_the_caches_that_the_configuration_has_now_and_no_other_path() {
        let folder = Folder::new();
        let (named, other) = (folder.path("cache.sock"), folder.path("docker.sock"));
        let _listeners = [&named, &other].map(|path| UnixListener::bind(path).unwrap());
        let caches = Caches(Mutex::new(vec![CachePlace::Path(named.clone())]));
        let refused = |path: &Path| {
            let why = caches.connect(path).unwrap_err();
            assert_eq!(why, "the operator has named no such cache", "{}", path.display());
        };
        assert!(caches.connect(&named).is_ok());
        let text = named.to_str().unwrap();
        let dotted = folder.path("./cache.sock");
        let doubled = text.replace("/cache", "//cache");
        let hostile = [
            other.clone(),
            dotted,
            doubled.into(),
            format!("{text}/").into(),
            format!("{text}\0").into(),
            format!("\0{text}").into(),
            "x".repeat(60_000).into(),
            "cache.sock".into(),
            "".into(),
        ];
        hostile.iter().for_each(|path| refused(path));
        // While a reload is under way, both; then what is in use.
        caches.extend(vec![CachePlace::Path(other.clone())]);
        assert!(caches.connect(&named).is_ok() && caches.connect(&other).is_ok());
        *caches.places() = vec![CachePlace::Path(other.clone())];
        assert!(caches.connect(&other).is_ok());
        refused(&named);
    }

    #[test]
    fn the_dialer_hears_of_the_caches_that_are_its_own_to_connect_to() {
        let far = [CachePlace::Address(([192, 0, 2, 1], 1).into()), CachePlace::Name("cache".to_owned(), 2)];
        let caches = Caches(Mutex::new(far.to_vec()));
        caches.extend(vec![CachePlace::Path("/run/cache.sock".into()), far[0].clone()]);
        assert_eq!(caches.far(), far);
    }
}
