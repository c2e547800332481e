//! Lists of revoked certificates that the configuration names: read anew by each load, and once however many profiles
//! name the same ones.

use std::collections::HashMap;
use std::path::PathBuf;

use super::files;
use super::gather::Sources;
use crate::tls::{Crls, CrlsError};

/// All lists of a profile together. The largest that public authorities publish have some 10 MiB, and six times that in
/// memory.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The lists of all profiles, by what the profiles say.
#[derive(Default)]
pub(super) struct Lists<'a>(HashMap<&'a [PathBuf], Loaded>);

/// Lists, and when each was made and is due to be replaced.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) crls: Crls,
    /// The file of each, and its dates in seconds since 1970.
    pub(super) dates: Vec<(PathBuf, i64, i64)>,
}

impl<'a> Lists<'a> {
    /// What is in these files, and in the files of these folders; `None` where there are none of them.
    ///
    /// # Errors
    /// A sentence with the file that cannot be used, or the folder that has no list.
    pub(super) fn get(
        &mut self,
        said: &'a [PathBuf],
        sources: &dyn Sources,
    ) -> Result<Option<Loaded>, String> {
        if let Some(known) = self.0.get(said) {
            return Ok(Some(known.clone()));
        }
        let Some(loaded) = read(said, sources)? else { return Ok(None) };
        self.0.insert(said, loaded.clone());
        Ok(Some(loaded))
    }
}

/// In a folder, files without a list are passed over: certificates lie there, too. One that is broken is not.
fn read(said: &[PathBuf], sources: &dyn Sources) -> Result<Option<Loaded>, String> {
    let (mut lists, mut dates, mut sum) = (Vec::new(), Vec::new(), 0);
    for path in said {
        let folder = sources.is_folder(path);
        let paths = match folder {
            true => sources.folder(path, &files::REVOCATION_LISTS)?,
            false => vec![path.clone()],
        };
        let before = lists.len();
        for path in paths {
            let bytes = sources.file(&path, files::LARGEST_STORE)?;
            sum += bytes.len() as u64;
            if sum > LARGEST {
                let most = LARGEST / 1024 / 1024;
                return Err(format!("with {} the lists of \"crl\" are more than {most} MiB", path.display()));
            }
            let crls = match Crls::read([&*bytes]) {
                Err(CrlsError::Empty(_)) if folder => continue,
                read => read.map_err(|error| format!("{}: {error}", path.display()))?,
            };
            dates.extend(crls.dates().map(|(made, due)| (path.clone(), made, due)));
            lists.push(crls);
        }
        if lists.len() == before {
            return Err(format!(
                "the folder {} has no .pem or .crl file with a revocation list",
                path.display()
            ));
        }
    }
    Ok(Crls::joined(lists).map(|crls| Loaded { crls, dates }))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::process::gather::Disk;
    use crate::process::test_folder::Folder;
    use crate::tls::pair::Authority;

    fn write(folder: &Folder, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = folder.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn lists_that_many_profiles_name_are_read_once() {
        let folder = Folder::new();
        let list = Authority::new("lists").crl(&[7], 0);
        let said = [write(&folder, "a.crl", list.pem().unwrap())];
        let again = said.clone();
        let mut lists = Lists::default();
        assert_eq!(lists.get(&said, &Disk::default()).unwrap().map(|loaded| loaded.crls.count()), Some(1));
        fs::remove_file(&said[0]).unwrap();
        assert_eq!(lists.get(&again, &Disk::default()).unwrap().map(|loaded| loaded.crls.count()), Some(1));
        assert!(lists.get(&[], &Disk::default()).unwrap().is_none());
        assert!(
            Lists::default()
                .get(&again, &Disk::default())
                .map(|_| ())
                .unwrap_err()
                .contains("a.crl: no such file"),
            "the next load"
        );
    }

    #[test]
    fn the_file_at_fault_is_named_among_many() {
        let folder = Folder::new();
        let list = Authority::new("lists").crl(&[7], 0);
        let good = write(&folder, "good.crl", list.der());
        let other = write(&folder, "other.pem", "no list at all");
        let cut = write(&folder, "cut.crl", &list.der()[..list.der().len() - 9]);
        let said = Lists::default()
            .get(&[good, cut.clone(), other.clone()], &Disk::default())
            .map(|_| ())
            .unwrap_err();
        assert!(said.starts_with(&format!("{}: ", cut.display())), "{said}");
        let said =
            Lists::default().get(std::slice::from_ref(&other), &Disk::default()).map(|_| ()).unwrap_err();
        assert!(said.starts_with(&format!("{}: there is no certificate revocation list", other.display())));
    }
}
