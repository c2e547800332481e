//! Everything that a configuration came from: sealed for the trip to a process that can open no file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::bytes::{Bytes, Name, Secret};
use crate::io::sealed_memfd;
use crate::process::operator::ConfigPlace;

/// All files together. Lists of revoked certificates are the largest: 64 MiB for one profile. Whoever needs more than this
/// needs a smaller configuration, because each load holds it twice for a moment.
const MOST: u64 = 512 * 1024 * 1024;

/// What the loader was told, question by question, and the public halves of the keys.
///
/// Both ends are one program, so that there is no version in it. It may hold passwords, and never private keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gathered {
    /// The file and whether it must be there; `None`: there is no configuration file.
    pub(super) place: Option<(Name, bool)>,
    /// Seconds since 1970.
    pub(super) now: u64,
    pub(super) descriptors: u64,
    /// The configuration itself.
    pub(super) texts: BTreeMap<Name, Result<Bytes, String>>,
    /// What is beside the key in a file that has both, as the keyholder has read it.
    pub(super) beside_keys: BTreeMap<Name, Result<Bytes, String>>,
    /// Pairs of paths, and whether they lead to one file.
    pub(super) same: BTreeMap<(Name, Name), bool>,
    /// By path and bound.
    pub(super) files: BTreeMap<(Name, u64), Result<Bytes, String>>,
    pub(super) passwords: BTreeMap<Name, Result<Secret, String>>,
    /// By path and extensions.
    pub(super) folders: BTreeMap<(Name, Vec<String>), Result<Vec<Name>, String>>,
    pub(super) are_folders: BTreeMap<Name, bool>,
    pub(super) are_absent: BTreeMap<Name, bool>,
    /// Files by another of their names.
    pub(super) real: BTreeMap<Name, Result<Name, String>>,
    pub(super) users: BTreeMap<String, Result<u32, String>>,
    pub(super) groups: BTreeMap<String, Result<u32, String>>,
    /// SubjectPublicKeyInfo in DER of each key file's key.
    pub(super) keys: BTreeMap<Name, Bytes>,
}

/// Why a record cannot travel, or has not arrived. The daemon's own fault but for a configuration that is too large.
#[derive(Debug, thiserror::Error)]
pub enum GatheredError {
    /// More than fits.
    #[error(
        "the files that the configuration names are {} MiB together, which is more than {} MiB",
        .0 / 1024 / 1024,
        MOST / 1024 / 1024
    )]
    TooLarge(u64),
    /// What came is no record.
    #[error("the record of the configuration makes no sense")]
    Nonsense,
    /// Out of memory or descriptors.
    #[error("cannot pass the configuration on: {}", crate::process::reason(.0))]
    System(#[from] io::Error),
}

impl Gathered {
    /// The file that all of this began with; `None`: there is none, and the defaults count.
    pub fn place(&self) -> Option<ConfigPlace> {
        self.place.as_ref().map(|(path, required)| ConfigPlace { path: path.path(), required: *required })
    }

    /// The SubjectPublicKeyInfo in DER of the key in this file, if the configuration names it.
    pub fn public_half(&self, path: &Path) -> Option<&[u8]> {
        self.keys.get(&Name::of(path)).map(|spki| &**spki)
    }

    /// The record in a memory file that nobody can change. Our own copy of it is wiped.
    ///
    /// # Errors
    /// It is too large, or the system's.
    pub fn seal(&self) -> Result<OwnedFd, GatheredError> {
        // Measured first: a buffer that grows leaves its old halves behind, and passwords in them.
        let size = postcard::experimental::serialized_size(self).map_err(|_| GatheredError::Nonsense)?;
        if size as u64 > MOST {
            return Err(GatheredError::TooLarge(size as u64));
        }
        let mut bytes = Zeroizing::new(vec![0; size]);
        postcard::to_slice(self, &mut bytes).map_err(|_| GatheredError::Nonsense)?;
        Ok(sealed_memfd("tlsifyd-configuration", &bytes)?)
    }

    /// Reads what [`Gathered::seal`] wrote, from its beginning.
    ///
    /// # Errors
    /// It is something else, or larger than any record.
    pub fn unseal(fd: OwnedFd) -> Result<Self, GatheredError> {
        let file = File::from(fd);
        let size = file.metadata()?.len();
        if size > MOST {
            return Err(GatheredError::TooLarge(size));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1));
        // The position is everybody's who has a copy of the descriptor, and one record may serve several workers.
        (At { file: &file, at: 0 }).take(MOST).read_to_end(&mut bytes)?;
        match postcard::take_from_bytes(&bytes) {
            Ok((record, [])) => Ok(record),
            _ => Err(GatheredError::Nonsense),
        }
    }
}

/// A file from its beginning, whatever its position is.
struct At<'a> {
    file: &'a File,
    at: u64,
}

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.file, into, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Gathered {
        let name = |text: &str| Name::of(Path::new(text));
        let mut some = Gathered { place: Some((name("/a.toml"), true)), now: 7, ..Gathered::default() };
        some.files.insert((name("/chain"), 10), Ok(b"chain"[..].to_vec().into()));
        some.files.insert((name("/gone"), 10), Err("cannot read /gone".to_owned()));
        some.passwords.insert(name("/pw"), Ok(Zeroizing::new(b"s3cret".to_vec()).into()));
        some.folders.insert((name("/f"), vec!["pem".to_owned()]), Ok(vec![name("/f/a.pem")]));
        some.are_folders.insert(name("/f"), true);
        some.users.insert("www".to_owned(), Ok(33));
        some.keys.insert(name("/key"), b"spki"[..].to_vec().into());
        some
    }

    #[test]
    fn a_record_arrives_as_it_was_in_each_process_that_gets_a_copy() {
        let sealed = some().seal().unwrap();
        for _ in 0..2 {
            assert_eq!(Gathered::unseal(sealed.try_clone().unwrap()).unwrap(), some());
        }
        assert_eq!(some().public_half(Path::new("/key")), Some(&b"spki"[..]));
    }

    #[test]
    fn what_is_cut_off_or_more_than_one_record_is_none() {
        let whole = postcard::to_allocvec(&some()).unwrap();
        for wrong in [&whole[..whole.len() - 1], &[&whole[..], b"x"].concat(), b""] {
            let fd = sealed_memfd("test", wrong).unwrap();
            assert!(matches!(Gathered::unseal(fd), Err(GatheredError::Nonsense)));
        }
    }

    #[test]
    fn nothing_of_a_files_content_is_in_a_log() {
        let shown = format!("{:?}", some());
        assert!(!shown.contains("s3cret") && shown.contains("5 bytes"), "{shown}");
    }
}
