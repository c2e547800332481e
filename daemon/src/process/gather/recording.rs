//! Notes what the loader is told.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::bytes::{Bytes, Name, Secret};
use super::gathered::Gathered;
use super::sources::Sources;
use crate::process::operator::ConfigPlace;

/// Asks each question once, and gives the same answer to whoever asks it again: a file that changes meanwhile is not two
/// files in one configuration, and the record says what was used.
#[derive(Debug)]
pub struct Recording<S> {
    inner: S,
    so_far: RefCell<Gathered>,
}

impl<S: Sources> Recording<S> {
    /// Nothing has been asked yet. `place` is where the configuration comes from.
    pub fn new(inner: S, place: Option<&ConfigPlace>) -> Self {
        let now = inner.now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let so_far = Gathered {
            place: place.map(|place| (Name::of(&place.path), place.required)),
            now,
            descriptors: inner.descriptors(),
            ..Gathered::default()
        };
        Self { inner, so_far: RefCell::new(so_far) }
    }

    /// All answers, with the public halves of the keys: path and SubjectPublicKeyInfo in DER.
    pub fn gathered(self, keys: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Gathered {
        let keys = keys.into_iter().map(|(path, spki)| (Name::of(&path), spki.into())).collect();
        Gathered { keys, ..self.so_far.into_inner() }
    }

    /// The answer to `question` in the part of the record that `part` picks, asked for with `ask` if it is not there.
    fn once<K: Ord, V: Clone>(
        &self,
        part: impl Fn(&mut Gathered) -> &mut BTreeMap<K, V>,
        question: K,
        ask: impl FnOnce() -> V,
    ) -> V {
        let mut so_far = self.so_far.borrow_mut();
        part(&mut so_far).entry(question).or_insert_with(ask).clone()
    }
}

impl<S: Sources> Sources for Recording<S> {
    fn text(&self, path: &Path, most: u64) -> Result<Bytes, String> {
        self.once(|all| &mut all.texts, Name::of(path), || self.inner.text(path, most))
    }

    fn beside_key(
        &self,
        path: &Path,
        read: &mut dyn FnMut() -> Result<Vec<u8>, String>,
    ) -> Result<Bytes, String> {
        self.once(|all| &mut all.beside_keys, Name::of(path), || self.inner.beside_key(path, read))
    }

    fn same(&self, one: &Path, other: &Path) -> bool {
        self.once(|all| &mut all.same, (Name::of(one), Name::of(other)), || self.inner.same(one, other))
    }

    fn file(&self, path: &Path, most: u64) -> Result<Bytes, String> {
        self.once(|all| &mut all.files, (Name::of(path), most), || self.inner.file(path, most))
    }

    fn password(&self, path: &Path) -> Result<Secret, String> {
        self.once(|all| &mut all.passwords, Name::of(path), || self.inner.password(path))
    }

    fn folder(&self, path: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, String> {
        let question = (Name::of(path), extensions.iter().map(|&extension| extension.to_owned()).collect());
        let names = |paths: Vec<PathBuf>| paths.iter().map(|path| Name::of(path)).collect();
        let ask = || self.inner.folder(path, extensions).map(names);
        let answer: Result<Vec<Name>, String> = self.once(|all| &mut all.folders, question, ask);
        answer.map(|names| names.iter().map(Name::path).collect())
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.once(|all| &mut all.are_folders, Name::of(path), || self.inner.is_folder(path))
    }

    fn is_absent(&self, path: &Path) -> bool {
        self.once(|all| &mut all.are_absent, Name::of(path), || self.inner.is_absent(path))
    }

    fn real(&self, path: &Path) -> Result<PathBuf, String> {
        let ask = || self.inner.real(path).map(|real| Name::of(&real));
        let answer: Result<Name, String> = self.once(|all| &mut all.real, Name::of(path), ask);
        answer.map(|real| real.path())
    }

    fn user(&self, name: &str) -> Result<u32, String> {
        self.once(|all| &mut all.users, name.to_owned(), || self.inner.user(name))
    }

    fn group(&self, name: &str) -> Result<u32, String> {
        self.once(|all| &mut all.groups, name.to_owned(), || self.inner.group(name))
    }

    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.so_far.borrow().now)
    }

    fn descriptors(&self) -> u64 {
        self.so_far.borrow().descriptors
    }
}
