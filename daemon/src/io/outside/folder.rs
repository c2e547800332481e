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

/// The same files without private keys in PEM. A folder of certificates may hold one by mistake, and whoever asks for the
/// folder's files here has no business with it.
pub(super) fn without_keys(files: &mut [Vec<u8>]) {
    for file in files {
        while let Some((from, to)) = private_key(file) {
            zeroize::Zeroize::zeroize(&mut file[from..to]);
            drop(file.drain(from..to));
        }
    }
}

/// Where the first private key begins and ends: from its BEGIN line to the end of the END line, or of the file.
fn private_key(text: &[u8]) -> Option<(usize, usize)> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    const END: &[u8] = b"-----END ";
    const KEY: &[u8] = b"PRIVATE KEY-----";
    let mut at = 0;
    loop {
        let from = at + find(&text[at..], BEGIN)?;
        let inside = from + BEGIN.len();
        let line = inside + text[inside..].iter().position(|b| *b == b'\n').unwrap_or(text.len() - inside);
        if find(&text[inside..line], KEY).is_some() {
            let Some(end) = find(&text[line..], END) else { return Some((from, text.len())) };
            let end = line + end + END.len();
            let rest = text[end..].iter().position(|b| *b == b'\n').map_or(text.len(), |at| end + at + 1);
            return Some((from, rest));
        }
        at = inside;
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
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

    #[test]
    fn a_private_key_that_lies_among_certificates_stays_where_it_is() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for name in ["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let key = format!("-----BEGIN {name}-----\nS3CR3T\n-----END {name}-----\n");
            let mut files = vec![format!("{certificate}{key}{key}{certificate}").into_bytes()];
            without_keys(&mut files);
            assert_eq!(String::from_utf8(files.remove(0)).unwrap(), format!("{certificate}{certificate}"));
            let mut cut = vec![format!("{certificate}-----BEGIN {name}-----\nS3CR3T").into_bytes()];
            without_keys(&mut cut);
            assert_eq!(cut.remove(0), certificate.as_bytes());
        }
    }
}
