//! Answers what was answered before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bytes::{Bytes, Name, Secret};
use super::gathered::Gathered;
use super::sources::Sources;

/// The answers of a [`Gathered`]. What is not in it is an error of the daemon's own: both processes ask the same questions.
#[derive(Debug)]
pub struct Record<'a>(pub &'a Gathered);

fn answer<K: Ord, V: Clone>(
    part: &BTreeMap<K, Result<V, String>>,
    question: &K,
    what: impl std::fmt::Display,
) -> Result<V, String> {
    part.get(question).cloned().unwrap_or_else(|| Err(missing(what)))
}

/// The sentence for a question that the supervisor did not ask.
pub(crate) fn missing(what: impl std::fmt::Display) -> String {
    format!("{what} is not in the record of the configuration, which is an error of tlsifyd itself")
}

impl Sources for Record<'_> {
    fn file(&self, path: &Path, most: u64) -> Result<Bytes, String> {
        answer(&self.0.files, &(Name::of(path), most), path.display())
    }

    fn text(&self, path: &Path, _: u64) -> Result<Bytes, String> {
        answer(&self.0.texts, &Name::of(path), path.display())
    }

    fn beside_key(
        &self,
        path: &Path,
        _: &mut dyn FnMut() -> Result<Vec<u8>, String>,
    ) -> Result<Bytes, String> {
        answer(&self.0.beside_keys, &Name::of(path), path.display())
    }

    fn same(&self, one: &Path, other: &Path) -> bool {
        // What was never asked is in the record in neither way.
        self.0.same.get(&(Name::of(one), Name::of(other))).copied().unwrap_or(false)
    }

    fn password(&self, path: &Path) -> Result<Secret, String> {
        answer(&self.0.passwords, &Name::of(path), path.display())
    }

    fn folder(&self, path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
        let question = (Name::of(path), extensions.iter().map(|&extension| extension.to_owned()).collect());
        let names = answer(&self.0.folders, &question, path.display())?;
        Ok(names.iter().map(Name::path).collect())
    }

    fn is_folder(&self, path: &Path) -> bool {
        // What was never asked is taken for a file, which then is not in the record either.
        self.0.are_folders.get(&Name::of(path)).copied().unwrap_or(false)
    }

    fn is_absent(&self, path: &Path) -> bool {
        self.0.are_absent.get(&Name::of(path)).copied().unwrap_or(false)
    }

    fn real(&self, path: &Path) -> Result<PathBuf, String> {
        answer(&self.0.real, &Name::of(path), path.display()).map(|real| real.path())
    }

    fn user(&self, name: &str) -> Result<u32, String> {
        answer(&self.0.users, &name.to_owned(), format_args!("the user \"{name}\""))
    }

    fn group(&self, name: &str) -> Result<u32, String> {
        answer(&self.0.groups, &name.to_owned(), format_args!("the group \"{name}\""))
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.0.now)
    }

    fn descriptors(&self) -> u64 {
        self.0.descriptors
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::gather::{Disk, Recording};
    use crate::process::test_folder::Folder;

    #[test]
    fn what_was_answered_is_answered_again_when_the_files_are_gone() {
        let folder = Folder::new();
        let path = folder.path("a.pem");
        std::fs::write(&path, "one").unwrap();
        let recording = Recording::new(Disk::default(), None);
        let ask = |sources: &dyn Sources| {
            (
                sources.file(&path, 10),
                sources.file(&folder.path("gone"), 10),
                sources.password(&folder.path("gone")),
                sources.folder(&folder.0, &["pem"]),
                (sources.is_folder(&folder.0), sources.is_folder(&path), sources.is_absent(&path)),
                (sources.user("root"), sources.group("no-such-group-here")),
                (sources.real(&path), sources.real(&folder.path("gone"))),
                (sources.now(), sources.descriptors()),
            )
        };
        let first = ask(&recording);
        std::fs::write(&path, "two").unwrap();
        assert_eq!(ask(&recording), first, "one configuration, two contents of one file");
        let gathered = recording.gathered([]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ask(&Record(&gathered)), first);
        assert_eq!(first.0.as_deref(), Ok(&b"one"[..]));
    }

    #[test]
    fn a_question_that_was_never_asked_is_our_own_mistake() {
        let gathered = Gathered::default();
        let record = Record(&gathered);
        let path = Path::new("/etc/shop.pem");
        let said =
            "/etc/shop.pem is not in the record of the configuration, which is an error of tlsifyd itself";
        assert_eq!(record.file(path, 10).unwrap_err(), said);
        assert_eq!(record.password(path).unwrap_err(), said);
        assert_eq!(record.folder(path, &["pem"]).unwrap_err(), said);
        assert!(record.user("www").unwrap_err().starts_with("the user \"www\" is not in the record"));
        assert!(record.group("www").unwrap_err().starts_with("the group \"www\" is not in the record"));
    }
}
