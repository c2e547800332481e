//! A caller's folder of certificates or lists: which of its files count, and what of them.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use tlsify_protocol::MAX_CA_FILE;

use crate::io::handoff::{DescriptorError, OPEN_DIRECTORY, describe, read_directory};
use crate::policy::CallerCred;

/// Which files of a folder count, by the ends of their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suffixes {
    /// `.pem` and `.crt`.
    Certificates,
    /// `.pem` and `.crl`.
    Lists,
}

impl Suffixes {
    fn ends(self) -> &'static [&'static [u8]] {
        match self {
            Self::Certificates => &[b".pem", b".crt"],
            Self::Lists => &[b".pem", b".crl"],
        }
    }
}

/// The files of a folder that the caller could have read itself, in the order of their names; [`MAX_CA_FILE`] bytes in all. May
/// block, on a disk or on a file system in user space.
///
/// # Errors
/// [`DescriptorError`]: it is no folder, the caller may not enter it, a file cannot be read.
pub(super) fn read(
    folder: impl AsFd,
    which: Suffixes,
    cred: &CallerCred,
) -> Result<Vec<Vec<u8>>, DescriptorError> {
    let stat = fstat(&folder)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    if !kind.is_dir() {
        return Err(DescriptorError::Kind { is: describe(kind), wanted: OPEN_DIRECTORY });
    }
    // Who may only list a folder cannot open what is in it.
    if !may(&stat, SEARCH, cred) {
        return Err(Errno::ACCESS.into());
    }
    read_directory(folder, MAX_CA_FILE, which.ends(), |stat| may(stat, READ, cred))
}

/// Permission bits, as the kernel numbers them.
const READ: u32 = 0o4;
const SEARCH: u32 = 0o1;

/// Whether the caller itself could have read a file, or entered a folder, with these permissions.
fn may(stat: &Stat, wanted: u32, cred: &CallerCred) -> bool {
    let mode = stat.st_mode;
    if cred.uid == 0 {
        true
    } else if stat.st_uid == cred.uid {
        mode & (wanted << 6) != 0
    } else if stat.st_gid == cred.gid || cred.groups.contains(&stat.st_gid) {
        mode & (wanted << 3) != 0
    } else {
        mode & wanted != 0
    }
}

/// Files as one: each behind its length, four bytes, the lowest first.
pub(super) fn pack(files: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(files.iter().map(|file| 4 + file.len()).sum());
    for file in files {
        // They are bounded by MAX_CA_FILE.
        packed.extend(u32::try_from(file.len()).unwrap_or(u32::MAX).to_le_bytes());
        packed.extend(file);
    }
    packed
}

/// What was packed. None for anything else.
pub(super) fn unpack(mut packed: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    while !packed.is_empty() {
        let (length, rest) = packed.split_first_chunk()?;
        let (file, rest) = rest.split_at_checked(u32::from_le_bytes(*length).try_into().ok()?)?;
        files.push(file.to_vec());
        packed = rest;
    }
    Some(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_only_if_the_caller_could_have_opened_it() {
        // Any stat will do; only owner, group and mode are looked at.
        let mut stat = rustix::fs::stat("/").expect("stat");
        (stat.st_uid, stat.st_gid, stat.st_mode) = (10, 20, 0o100_640);
        let cred = |uid, gid, groups: &[u32]| CallerCred { uid, gid, groups: groups.to_vec(), pid: 1 };
        assert!(may(&stat, READ, &cred(10, 99, &[])), "owner");
        assert!(may(&stat, READ, &cred(11, 20, &[])), "group");
        assert!(may(&stat, READ, &cred(11, 99, &[20])), "supplementary group");
        assert!(!may(&stat, READ, &cred(11, 99, &[])), "others");
        stat.st_mode = 0o100_044;
        assert!(
            !may(&stat, READ, &cred(10, 20, &[])),
            "the owner's bits count for the owner, as in the kernel"
        );
    }

    #[test]
    fn what_is_packed_comes_out_and_nothing_else_does() {
        for files in [vec![], vec![vec![]], vec![b"one".to_vec(), vec![], b"three".to_vec()]] {
            assert_eq!(unpack(&pack(&files)), Some(files));
        }
        for wrong in [&[1][..], &[1, 0, 0, 0], &[0, 0, 0, 0, 1], &[255, 255, 255, 255, 1]] {
            assert_eq!(unpack(wrong), None, "{wrong:?}");
        }
    }
}
