//! Lists of revoked certificates that the configuration names: read anew by each load, and once however many profiles
//! name the same ones.

use std::collections::HashMap;
use std::path::PathBuf;

use super::files;
use crate::tls::{Crls, CrlsError};

/// All lists of a profile together. The largest that public authorities publish have some 10 MiB, and six times that in
/// memory.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The lists of all profiles, by what the profiles say.
#[derive(Default)]
pub(super) struct Lists<'a>(HashMap<&'a [PathBuf], Crls>);

impl<'a> Lists<'a> {
    /// What is in these files, and in the files of these folders; `None` where there are none of them.
    ///
    /// # Errors
    /// A sentence with the file that cannot be used, or with all of them where none has a list.
    pub(super) fn get(&mut self, said: &'a [PathBuf]) -> Result<Option<Crls>, String> {
        if said.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.0.get(said) {
            return Ok(Some(known.clone()));
        }
        let crls = read(said)?;
        self.0.insert(said, crls.clone());
        Ok(Some(crls))
    }
}

fn read(said: &[PathBuf]) -> Result<Crls, String> {
    let mut found: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    let mut sum = 0;
    for path in said {
        let paths = if path.is_dir() { files::crl_files(path)? } else { vec![path.clone()] };
        for path in paths {
            let bytes = files::read(&path, files::LARGEST_STORE)?;
            sum += bytes.len() as u64;
            if sum > LARGEST {
                let most = LARGEST / 1024 / 1024;
                return Err(format!("with {} the lists of \"crl\" are more than {most} MiB", path.display()));
            }
            found.push((path, bytes));
        }
    }
    let all = Crls::read(found.iter().map(|(_, bytes)| bytes.as_slice()));
    all.map_err(|error| whose(&found, said, &error))
}

/// The error with the file that it is about. Looked for only now: one by one, each would be parsed twice.
fn whose(found: &[(PathBuf, Vec<u8>)], said: &[PathBuf], error: &CrlsError) -> String {
    let at_fault = found.iter().find_map(|(path, bytes)| match Crls::read([bytes.as_slice()]) {
        Ok(_) | Err(CrlsError::Empty(_)) => None,
        Err(error) => Some(format!("{}: {error}", path.display())),
    });
    at_fault.unwrap_or_else(|| {
        let all: Vec<String> = said.iter().map(|path| path.display().to_string()).collect();
        format!("{}: {error}", all.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
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
        assert_eq!(lists.get(&said).unwrap().map(|crls| crls.count()), Some(1));
        fs::remove_file(&said[0]).unwrap();
        assert_eq!(lists.get(&again).unwrap().map(|crls| crls.count()), Some(1));
        assert!(lists.get(&[]).unwrap().is_none());
        assert!(Lists::default().get(&again).unwrap_err().contains("a.crl: no such file"), "the next load");
    }

    #[test]
    fn the_file_at_fault_is_named_among_many() {
        let folder = Folder::new();
        let list = Authority::new("lists").crl(&[7], 0);
        let good = write(&folder, "good.crl", list.der());
        let other = write(&folder, "other.pem", "no list at all");
        assert!(
            Lists::default().get(&[other.clone(), good.clone()]).is_ok(),
            "a stray file takes nothing away"
        );
        let cut = write(&folder, "cut.crl", &list.der()[..list.der().len() - 9]);
        let said = Lists::default().get(&[good, other.clone(), cut.clone()]).unwrap_err();
        assert!(said.starts_with(&format!("{}: ", cut.display())), "{said}");
        let said = Lists::default().get(std::slice::from_ref(&other)).unwrap_err();
        assert!(said.starts_with(&format!("{}: there is no certificate revocation list", other.display())));
    }
}
