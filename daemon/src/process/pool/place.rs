//! Where the system keeps its CA certificates, and whether they have changed.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
    pub(super) fn fingerprint(&self) -> Fingerprint {
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

    /// All certificates in DER, each once, and how many files or sections could not be read.
    pub(super) fn read(&self) -> (Vec<Vec<u8>>, usize) {
        let mut certificates = Vec::new();
        let mut unreadable = 0;
        let parts = self.file.iter().map(|file| (Some(file.as_path()), None));
        let parts = parts.chain(self.folders.iter().map(|folder| (None, Some(folder.as_path()))));
        for (file, folder) in parts {
            let part = rustls_native_certs::load_certs_from_paths(file, folder);
            unreadable += part.errors.len();
            certificates.extend(part.certs.iter().map(|certificate| certificate.to_vec()));
        }
        // The bundle and the folder usually hold the same ones.
        certificates.sort_unstable();
        certificates.dedup();
        (certificates, unreadable)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<Seen>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    path: PathBuf,
    modified: (i64, i64),
    size: u64,
    inode: (u64, u64),
}
