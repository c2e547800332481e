//! The system's CA certificates: read once, shared by every session, read again when they have changed.
//!
//! ```text
//!  worker:   fresh() ──▶ Some(roots)         no system call, no lock that is ever held for long
//!              └─ None ─▶ hand over to a thread that may wait
//!  waiting:  get() ──▶ one thread looks (stat of each file) and, when something changed, reads; the others wait for it
//! ```
//!
//! The place is the one that OpenSSL uses on this system, or what SSL_CERT_FILE and SSL_CERT_DIR say in the daemon's
//! own environment.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;

use crate::engine;
use crate::tls::{Roots, RootsError};

/// How old an answer may be. Administrators expect a new CA to count at once, and 300 stats cost half a millisecond.
const FRESH: Duration = Duration::from_secs(5);

/// Where the certificates are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolPlace {
    /// A bundle.
    pub file: Option<PathBuf>,
    /// Folders.
    pub folders: Vec<PathBuf>,
}

impl PoolPlace {
    /// Looks where this system keeps them.
    pub fn probe() -> PoolPlace {
        let file = env::var_os("SSL_CERT_FILE").filter(|file| !file.is_empty()).map(PathBuf::from);
        let folders: Vec<PathBuf> = env::var_os("SSL_CERT_DIR")
            .map(|folders| {
                env::split_paths(&folders).filter(|folder| !folder.as_os_str().is_empty()).collect()
            })
            .unwrap_or_default();
        if file.is_some() || !folders.is_empty() {
            return PoolPlace { file, folders };
        }
        let found = openssl_probe::probe();
        PoolPlace { file: found.cert_file, folders: found.cert_dir }
    }

    /// What the files look like from outside: changes whenever one is added, removed, replaced or written.
    fn fingerprint(&self) -> Fingerprint {
        let mut seen = Vec::new();
        let mut look = |path: &Path| {
            if let Ok(found) = fs::metadata(path) {
                seen.push(Seen {
                    path: path.to_owned(),
                    modified: (found.mtime(), found.mtime_nsec()),
                    size: found.size(),
                    inode: (found.dev(), found.ino()),
                });
            }
        };
        if let Some(file) = &self.file {
            look(file);
        }
        for folder in &self.folders {
            look(folder);
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                look(&entry.path());
            }
        }
        seen.sort();
        Fingerprint(seen)
    }

    fn load(&self) -> Result<Loaded, PoolError> {
        // Before reading: a change while we read is seen at the next look.
        let fingerprint = self.fingerprint();
        let mut certificates = Vec::new();
        let mut unreadable = 0;
        let parts = self.file.iter().map(|file| (Some(file.as_path()), None));
        let parts = parts.chain(self.folders.iter().map(|folder| (None, Some(folder.as_path()))));
        for (file, folder) in parts {
            let part = rustls_native_certs::load_certs_from_paths(file, folder);
            unreadable += part.errors.len();
            certificates.extend(part.certs);
        }
        // The bundle and the folder usually hold the same ones.
        certificates.sort_unstable_by(|a, b| a.as_ref().cmp(b.as_ref()));
        certificates.dedup();
        let roots =
            Roots::from_ders(certificates).map_err(|cause| PoolError { place: self.clone(), cause })?;
        Ok(Loaded { roots, unreadable, fingerprint, looked: Mutex::new(Instant::now()) })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint(Vec<Seen>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    modified: (i64, i64),
    size: u64,
    inode: (u64, u64),
}

/// There is no CA certificate to trust. The operator has to act: install the system's certificates
/// (ca-certificates), or say where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolError {
    place: PoolPlace,
    cause: RootsError,
}

impl std::fmt::Display for PoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot load the system's CA certificates from ")?;
        let places: Vec<_> = self
            .place
            .file
            .iter()
            .chain(&self.place.folders)
            .map(|path| path.display().to_string())
            .collect();
        match places.as_slice() {
            [] => f.write_str("anywhere: none of the usual places is there")?,
            places => write!(f, "{}: {}", places.join(" and "), self.cause)?,
        }
        f.write_str(", install ca-certificates or set SSL_CERT_FILE")
    }
}

impl std::error::Error for PoolError {}

struct Loaded {
    roots: Roots,
    unreadable: usize,
    fingerprint: Fingerprint,
    looked: Mutex<Instant>,
}

impl Loaded {
    fn looked(&self) -> Instant {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn look_again_later(&self) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// The pool, loaded when it is first asked for. Shared by reference; all threads see the same one.
pub struct SystemPool {
    place: PoolPlace,
    fresh: Duration,
    loaded: ArcSwapOption<Loaded>,
    /// Held while looking and reading, so that one thread does it for all.
    turn: Mutex<()>,
}

impl SystemPool {
    /// The pool of this system; nothing is read yet.
    pub fn new() -> SystemPool {
        SystemPool::at(PoolPlace::probe())
    }

    /// A pool from somewhere else, as a demonstration and tests need it.
    pub fn at(place: PoolPlace) -> SystemPool {
        SystemPool { place, fresh: FRESH, loaded: ArcSwapOption::empty(), turn: Mutex::new(()) }
    }

    /// The pool if it is loaded and was looked at within the last 5 s. Never waits.
    pub fn fresh(&self) -> Option<Roots> {
        let loaded = self.loaded.load();
        loaded
            .as_ref()
            .filter(|loaded| loaded.looked().elapsed() < self.fresh)
            .map(|loaded| loaded.roots.clone())
    }

    /// The pool, read now if it never was or has changed. Reads files, so only for threads that may wait.
    ///
    /// When a changed pool cannot be read (it may be halfway through an upgrade) the old one stays, with a warning in
    /// the log, and the next look tries again.
    ///
    /// # Errors
    /// There never was a pool, and there is none now.
    pub fn get(&self) -> Result<Roots, PoolError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(roots) = self.fresh() {
            return Ok(roots);
        }
        let before = self.loaded.load_full();
        if let Some(before) = &before
            && before.fingerprint == self.place.fingerprint()
        {
            before.look_again_later();
            return Ok(before.roots.clone());
        }
        match (self.place.load(), before) {
            (Ok(loaded), _) => {
                tracing::info!(
                    certificates = loaded.roots.count(),
                    unusable = loaded.roots.skipped(),
                    unreadable = loaded.unreadable,
                    "loaded the system's CA certificates"
                );
                let roots = loaded.roots.clone();
                self.loaded.store(Some(Arc::new(loaded)));
                Ok(roots)
            }
            (Err(error), Some(before)) => {
                tracing::warn!("{error}; the ones loaded before stay in use");
                before.look_again_later();
                Ok(before.roots.clone())
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl engine::SystemPool for SystemPool {
    fn fresh(&self) -> Option<Roots> {
        SystemPool::fresh(self)
    }

    fn load(&self) -> Result<Roots, String> {
        self.get().map_err(|error| error.to_string())
    }
}

impl Default for SystemPool {
    fn default() -> Self {
        SystemPool::new()
    }
}

impl std::fmt::Debug for SystemPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.loaded.load().as_ref().map(|loaded| loaded.roots.count());
        f.debug_struct("SystemPool")
            .field("place", &self.place)
            .field("certificates", &count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;
    use crate::process::test_folder::Folder;

    fn authority(name: &str) -> String {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    }

    /// A pool that looks at its files every time.
    fn eager(place: PoolPlace) -> SystemPool {
        SystemPool { fresh: Duration::ZERO, ..SystemPool::at(place) }
    }

    fn file(path: PathBuf) -> PoolPlace {
        PoolPlace { file: Some(path), folders: Vec::new() }
    }

    #[test]
    fn a_changed_pool_is_read_again_and_an_unchanged_one_is_not() {
        let folder = Folder::new();
        let path = folder.path("cas.pem");
        fs::write(&path, authority("one")).unwrap();
        let pool = eager(file(path.clone()));
        assert_eq!(pool.get().unwrap().count(), 1);
        let first = pool.loaded.load_full().unwrap();
        pool.get().unwrap();
        assert!(Arc::ptr_eq(&first, &pool.loaded.load_full().unwrap()), "read again without need");
        fs::write(&path, authority("one") + &authority("two")).unwrap();
        assert_eq!(pool.get().unwrap().count(), 2);
    }

    #[test]
    fn a_file_added_to_a_folder_counts_and_a_copy_does_not() {
        let folder = Folder::new();
        let one = authority("one");
        fs::write(folder.path("one.pem"), &one).unwrap();
        let pool = eager(PoolPlace { file: Some(folder.path("one.pem")), folders: vec![folder.0.clone()] });
        assert_eq!(pool.get().unwrap().count(), 1);
        fs::write(folder.path("copy.pem"), &one).unwrap();
        fs::write(folder.path("two.pem"), authority("two")).unwrap();
        assert_eq!(pool.get().unwrap().count(), 2);
    }

    #[test]
    fn a_pool_that_vanishes_stays_in_use_until_it_is_back() {
        let folder = Folder::new();
        let path = folder.path("cas.pem");
        fs::write(&path, authority("one")).unwrap();
        let pool = eager(file(path.clone()));
        pool.get().unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(pool.get().unwrap().count(), 1);
        fs::remove_file(&path).unwrap();
        assert_eq!(pool.get().unwrap().count(), 1);
        fs::write(&path, authority("two") + &authority("three")).unwrap();
        assert_eq!(pool.get().unwrap().count(), 2);
    }

    #[test]
    fn no_pool_is_an_error_that_says_where_it_was_looked_for() {
        let folder = Folder::new();
        let path = folder.path("none.pem");
        let error = eager(file(path.clone())).get().unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()) && error.contains("SSL_CERT_FILE"), "{error}");
        let error = eager(PoolPlace::default()).get().unwrap_err().to_string();
        assert!(error.contains("none of the usual places is there"), "{error}");
    }

    #[test]
    fn a_broken_certificate_is_counted_and_the_others_serve() {
        let folder = Folder::new();
        fs::write(folder.path("good.pem"), authority("one")).unwrap();
        fs::write(folder.path("bad.pem"), "-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n")
            .unwrap();
        fs::write(folder.path("odd.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let pool = eager(PoolPlace { file: None, folders: vec![folder.0.clone()] });
        assert_eq!(pool.get().unwrap().count(), 1);
        let loaded = pool.loaded.load_full().unwrap();
        assert_eq!((loaded.unreadable, loaded.roots.skipped()), (1, 1));
    }

    #[test]
    fn many_threads_that_ask_at_once_cause_one_load() {
        const THREADS: usize = 8;
        let folder = Folder::new();
        let path = folder.path("cas.pem");
        fs::write(&path, authority("one")).unwrap();
        let pool = Arc::new(SystemPool::at(file(path)));
        assert!(pool.fresh().is_none(), "nothing is read before it is needed");
        let start = Arc::new(Barrier::new(THREADS));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (pool, start) = (Arc::clone(&pool), Arc::clone(&start));
                thread::spawn(move || {
                    start.wait();
                    pool.get().unwrap();
                    Arc::as_ptr(&pool.loaded.load_full().unwrap()) as usize
                })
            })
            .collect();
        let mut loads: Vec<usize> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        loads.dedup();
        assert_eq!(loads.len(), 1, "each thread saw the same load");
        assert_eq!(pool.fresh().unwrap().count(), 1);
    }
}
