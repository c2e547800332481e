//! Reading what the configuration names: bounded, without waiting, and keys only where nobody else can read them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::tls::without_keys;

/// A chain is three certificates of 2 KiB; post-quantum ones will be 20 KiB each.
pub(super) const LARGEST_CHAIN: u64 = 256 * 1024;
/// An RSA key of 16,384 bits is 13 KiB.
pub(super) const LARGEST_KEY: u64 = 64 * 1024;
/// Redis takes passwords of any length; people do not.
const LARGEST_PASSWORD: u64 = 4 * 1024;
/// With the responder's certificate inside, some 5 KiB.
pub(super) const LARGEST_OCSP: u64 = 64 * 1024;
/// Every public CA there is makes about 250 KiB.
pub(super) const LARGEST_STORE: u64 = 16 * 1024 * 1024;
/// Thousands of profiles.
pub(super) const LARGEST_CONFIGURATION: u64 = 1024 * 1024;
/// In a folder of CAs.
pub(super) const CERTIFICATES: [&str; 2] = ["pem", "crt"];
/// And of lists of revoked certificates.
pub(super) const REVOCATION_LISTS: [&str; 2] = ["pem", "crl"];
/// What a folder of CAs may hold; /usr is not a store.
const MOST_FILES: usize = 4096;

/// The whole of a regular file.
///
/// # Errors
/// A sentence with the path: it is missing, no regular file, or larger than `most` bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let (mut file, found) = open(path)?;
    let mut bytes = Vec::with_capacity(capacity(&found, most));
    read_into(&mut file, path, most, &mut bytes)?;
    Ok(bytes)
}

/// The same for what is no secret in it: of private keys in PEM only their frames are left, and the rest of them is in no
/// memory any more.
///
/// # Errors
/// As [`read`].
pub(super) fn read_public(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let (mut file, found) = open(path)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(&found, most)));
    read_into(&mut file, path, most, &mut bytes)?;
    without_keys(&mut bytes);
    Ok(std::mem::take(&mut *bytes))
}

/// Whether two paths lead to the same file now.
pub(super) fn same(one: &Path, other: &Path) -> bool {
    let place = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino()));
    matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}

/// Opens a file with a private key, for somebody else to read.
///
/// # Errors
/// As [`read_key`], for all that is seen without reading.
pub(super) fn open_key(path: &Path) -> Result<File, String> {
    let (file, found) = open_secret("key", path)?;
    if found.len() > LARGEST_KEY {
        return Err(too_large(path, LARGEST_KEY));
    }
    Ok(file)
}

/// The whole of a file with a private key, wiped when dropped.
///
/// # Errors
/// As [`read`], and when others than root, the daemon and their groups may read or change it.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    read_secret("key", path, LARGEST_KEY)
}

/// The first line of a file with a password, wiped when dropped.
///
/// # Errors
/// As [`read_key`], and when it is empty.
pub(super) fn read_password(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = read_secret("password file", path, LARGEST_PASSWORD)?;
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes.truncate(end);
    if bytes.is_empty() {
        Err(format!("{} has no password in its first line", path.display()))
    } else {
        Ok(bytes)
    }
}

fn read_secret(what: &str, path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let (mut file, found) = open_secret(what, path)?;
    // Large enough from the start: a buffer that grows leaves its old halves behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity(&found, most)));
    read_into(&mut file, path, most, &mut bytes)?;
    Ok(bytes)
}

/// Opens a file that nobody but root, the daemon and their groups may read or change.
fn open_secret(what: &str, path: &Path) -> Result<(File, Metadata), String> {
    let (file, found) = open(path)?;
    if let Some(who) = who_else(found.mode(), found.gid(), rustix::process::getegid().as_raw()) {
        return Err(format!(
            "the {what} {} is open to {who} (mode {:04o}), try chmod 0600",
            path.display(),
            found.mode() & 0o7777
        ));
    }
    Ok((file, found))
}

/// The files of a folder with one of these extensions in the order of their names, hidden ones left out.
///
/// # Errors
/// A sentence with the path: it is missing, no folder, or holds too many of them.
pub(super) fn files_of(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
    let failed = |error: io::Error| format!("cannot read the folder {}: {}", folder.display(), whose(&error));
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let fits = path.extension().is_some_and(|extension| {
            extensions.iter().any(|wanted| extension == std::ffi::OsStr::new(wanted))
        });
        if fits && !hidden {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            return Err(format!("the folder {} holds more than {MOST_FILES} such files", folder.display()));
        }
    }
    files.sort();
    Ok(files)
}

/// What the system says, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// This process is bound to the places that its configuration named at the start.
static BOUND: AtomicBool = AtomicBool::new(false);

/// From now on the kernel refuses files elsewhere, with the word that it has for files of others.
pub(super) fn are_bound() {
    BOUND.store(true, Ordering::Relaxed);
}

/// What the system says, and what an operator cannot know who only sees the file: who asked, and from where.
fn whose(error: &io::Error) -> String {
    let what = reason(error);
    match error.kind() {
        io::ErrorKind::PermissionDenied if BOUND.load(Ordering::Relaxed) => format!(
            "{what}; a running daemon reads in folders that its configuration named at the start, new ones need a restart"
        ),
        io::ErrorKind::PermissionDenied => format!("{what} to uid {}", rustix::process::geteuid()),
        _ => what,
    }
}

/// Opens a regular file. Looked at after opening, so that it is the one that is read.
fn open(path: &Path) -> Result<(File, Metadata), String> {
    let failed = |error: io::Error| format!("cannot read {}: {}", path.display(), whose(&error));
    let file = OpenOptions::new()
        .read(true)
        // A pipe without a writer would hold up the start or the reload for ever.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(format!("cannot read {}: it is no regular file", path.display()));
    }
    Ok((file, found))
}

fn read_into(file: &mut File, path: &Path, most: u64, into: &mut Vec<u8>) -> Result<(), String> {
    file.take(most + 1)
        .read_to_end(into)
        .map_err(|error| format!("cannot read {}: {}", path.display(), reason(&error)))?;
    if into.len() as u64 > most {
        return Err(too_large(path, most));
    }
    Ok(())
}

fn too_large(path: &Path, most: u64) -> String {
    format!("{} is larger than {} KiB, is it the right file?", path.display(), most / 1024)
}

/// Room for what the file holds now, and a little so that the end is seen without growing.
fn capacity(found: &Metadata, most: u64) -> usize {
    usize::try_from(found.len().min(most)).unwrap_or(0) + 64
}

/// Who beside its owner can read or change a file with this mode and group.
fn who_else(mode: u32, group: u32, own_group: u32) -> Option<String> {
    if mode & 0o006 != 0 {
        return Some("every user".to_owned());
    }
    // The group of the daemon is the usual way to let it read a key that root owns.
    if mode & 0o060 != 0 && group != 0 && group != own_group {
        return Some(format!("group {group}"));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_its_owner_root_and_the_daemons_group() {
        for (mode, group) in [(0o600, 50), (0o400, 50), (0o640, 0), (0o640, 7), (0o100_600, 50)] {
            assert_eq!(who_else(mode, group, 7), None, "{mode:o} {group}");
        }
        for mode in [0o644, 0o604, 0o602, 0o666] {
            assert_eq!(who_else(mode, 7, 7).as_deref(), Some("every user"), "{mode:o}");
        }
        for mode in [0o640, 0o620, 0o660] {
            assert_eq!(who_else(mode, 50, 7).as_deref(), Some("group 50"), "{mode:o}");
        }
    }

    #[test]
    fn what_is_no_file_is_named_and_nothing_waits() {
        assert!(
            read(Path::new("/nonexistent/x"), 1)
                .unwrap_err()
                .starts_with("cannot read /nonexistent/x: no such")
        );
        assert!(read(Path::new("/dev/zero"), 1).unwrap_err().ends_with("/dev/zero: it is no regular file"));
        let folder = std::env::temp_dir();
        assert!(read(&folder, 1).unwrap_err().ends_with(": it is no regular file"));
    }

    #[test]
    fn the_bound_is_exact() {
        let path = std::env::temp_dir().join(format!("tlsifyd-files-{}", std::process::id()));
        fs::write(&path, vec![b'x'; 2048]).unwrap();
        let (fits, over) = (read(&path, 2048), read(&path, 2047));
        fs::remove_file(&path).unwrap();
        assert_eq!(fits.map(|bytes| bytes.len()), Ok(2048));
        assert!(over.unwrap_err().contains("is larger than 1 KiB"));
    }
}
