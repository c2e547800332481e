//! What the descriptors of a profile hold: read and parsed beside the loop.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::Stat;
use tlsify_protocol::{Code, FdName, MAX_CA_FILE, MAX_IDENTITY_FILE};
use zeroize::Zeroizing;

use super::refusal::Refusal;
use super::shared::Shared;
use crate::io::{read_directory, read_regular};
use crate::policy::CallerCred;
use crate::tls::{Crls, Identity, Roots, sha256};

/// What the descriptors of a request contain.
#[derive(Default)]
pub(super) struct Files {
    pub(super) identities: Vec<Identity>,
    pub(super) roots: Option<Roots>,
    pub(super) crls: Option<Crls>,
}

impl Files {
    /// Reads them. May block. Every descriptor is closed here.
    pub(super) fn read(
        fds: Vec<(FdName, OwnedFd)>,
        shared: &Shared,
        cred: &CallerCred,
    ) -> Result<Self, Refusal> {
        let mut files = Self::default();
        let mut fds = fds.into_iter().peekable();
        // The order was checked with the text: certificate, key, perhaps ocsp; or a key alone; ca and crl anywhere between.
        while let Some((name, fd)) = fds.next() {
            match name {
                FdName::Certificate => {
                    let chain = identity_file("certificate", &fd)?;
                    let Some((FdName::Key, key)) = fds.next() else {
                        let text = "a \"certificate\" descriptor must be followed by its \"key\"".to_owned();
                        return Err(Refusal::new(Code::BadValue, Some("fds"), text));
                    };
                    let key = identity_file("key", &key)?;
                    let ocsp = match fds.next_if(|(name, _)| *name == FdName::Ocsp) {
                        Some((_, ocsp)) => Some(identity_file("ocsp", &ocsp)?),
                        None => None,
                    };
                    let ocsp = ocsp.as_ref().map(|bytes| bytes.as_slice());
                    files.identities.push(Identity::from_pem(&chain, &key, ocsp)?);
                }
                FdName::Key => {
                    files.identities.push(Identity::from_key(&identity_file("key", &fd)?)?);
                }
                FdName::Ca => files.roots = Some(bundle(&fd, shared, cred)?),
                FdName::Crl => files.crls = Some(lists(&fd, shared, cred)?),
                other => {
                    let text = format!("a \"{}\" descriptor has no use here", other.as_str());
                    return Err(Refusal::new(Code::BadValue, Some("fds"), text));
                }
            }
        }
        Ok(files)
    }
}

fn identity_file(name: &str, fd: &OwnedFd) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    read_regular(fd, MAX_IDENTITY_FILE).map_err(|error| Refusal::descriptor(name, &error))
}

/// A caller's CA bundle. Parsed once per content, however many sessions of whichever callers use it: the content says
/// everything about it.
fn bundle(fd: &OwnedFd, shared: &Shared, cred: &CallerCred) -> Result<Roots, Refusal> {
    let pem = contents("ca", fd, CERTIFICATES, cred)?.join(&b'\n');
    let parse = || Roots::from_pem(&pem);
    let roots = match &shared.bundles {
        Some(cache) => cache.try_get_with(sha256(&pem), parse),
        None => parse().map_err(Arc::new),
    };
    roots.map_err(|error| Refusal::roots(&error))
}

/// A caller's revocation lists, parsed once per content likewise.
fn lists(fd: &OwnedFd, shared: &Shared, cred: &CallerCred) -> Result<Crls, Refusal> {
    let files = contents("crl", fd, LISTS, cred)?;
    let parse = || Crls::read(files.iter().map(Vec::as_slice));
    let crls = match &shared.crls {
        Some(cache) => {
            // Each by its hash: which file ends where is part of what they say.
            let hashes: Vec<u8> = files.iter().flat_map(|file| sha256(file)).collect();
            cache.try_get_with(sha256(&hashes), parse)
        }
        None => parse().map_err(Arc::new),
    };
    crls.map_err(|error| Refusal::new(error.code(), Some("crl"), format!("the \"crl\" descriptor: {error}")))
}

/// What the files in a folder of these are called.
const CERTIFICATES: &[&[u8]] = &[b".pem", b".crt"];
const LISTS: &[&[u8]] = &[b".pem", b".crl"];

/// A file, or those of a directory whose names end so.
fn contents(
    name: &'static str,
    fd: &OwnedFd,
    endings: &[&[u8]],
    cred: &CallerCred,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let unusable = |error| Refusal::descriptor(name, &error);
    let stat = rustix::fs::fstat(fd).map_err(|error| unusable(error.into()))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return Ok(vec![read_regular(fd, MAX_CA_FILE).map_err(unusable)?.to_vec()]);
    }
    // Who may only list a folder cannot open what is in it.
    if !may(&stat, SEARCH, cred) {
        return Err(unusable(rustix::io::Errno::ACCESS.into()));
    }
    read_directory(fd, MAX_CA_FILE, endings, |stat| may(stat, READ, cred)).map_err(unusable)
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
}
