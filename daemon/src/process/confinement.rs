//! How this daemon's processes are confined: what its configuration says of it, and the places that it names.
//!
//! What each part is left with is in [`sandbox`](super::sandbox); this decides for one daemon, and the supervisor is
//! confined here.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::pool::PoolPlace;
use super::sandbox::{
    Beside, Kernel, Lowered, May, Part, Place, Reach, SandboxError, Settings, Users, lower_supervisor,
};
use crate::config::{Config, IdentityKey, SandboxMode, SignerPlace, StoreSource};

/// Decided at the start, for the life of the daemon: a reload changes nothing here.
#[derive(Debug)]
pub(super) struct Confinement {
    mode: SandboxMode,
    users: Option<Users>,
    /// What the log has to say of them.
    note: Option<String>,
    /// The supervisor's.
    reach: Reach,
    /// Until it is finished.
    lowered: Option<Lowered>,
    /// For what callers ask to be opened; `None` where nothing binds this process's threads.
    pub(super) beside: Option<Beside>,
}

impl Confinement {
    /// Decides, and gives this process's privileges up. To be called while it has one thread.
    ///
    /// # Errors
    /// [`SandboxError`]; this process may then be confined in part, and has to end.
    pub(super) fn begin(config: &Config, private: bool) -> Result<Self, SandboxError> {
        let users = Users::choose(&config.sandbox).map_err(SandboxError::User)?;
        let (users, note) = users.map_or((None, None), |(users, note)| (Some(users), note));
        // A private daemon serves one caller, of its own user: where that one may go, its supervisor may.
        let reach = if private { Reach::User } else { Reach::Places };
        let mut decided = Self { mode: config.sandbox.mode, users, note, reach, lowered: None, beside: None };
        decided.lowered = Some(lower_supervisor(&decided.settings(Part::Supervisor))?);
        Ok(decided)
    }

    /// Binds this process to its places and its system calls: to be called when its sockets are there, `sockets` being the
    /// paths of those that it has made.
    ///
    /// # Errors
    /// As [`Confinement::begin`].
    pub(super) fn finish(&mut self, config: &Config, sockets: &[&Path]) -> Result<(), SandboxError> {
        let Some(lowered) = self.lowered.take() else { return Ok(()) };
        #[cfg(debug_assertions)]
        let escape = super::sandbox::Escape::planned(Part::Supervisor);
        let mut settings = self.settings(Part::Supervisor);
        let report = match self.reach {
            Reach::User => lowered.confine_freely(&settings)?,
            Reach::Places => {
                settings.places = places(config, sockets);
                #[cfg(debug_assertions)]
                settings.places.extend(super::sandbox::Escape::place());
                let (report, beside) = lowered.confine(&settings)?;
                self.beside = Some(beside);
                report
            }
        };
        // Now that nothing else can be wrong: what keeps the daemon from starting stands alone.
        match self.note.take() {
            // Nobody makes users for a daemon of one command.
            Some(note) if self.reach == Reach::User => tracing::debug!("{note}"),
            Some(note) => tracing::info!("{note}"),
            None => {}
        }
        Kernel::probe().tell();
        tracing::debug!(filters = report.filters, "the supervisor is confined");
        #[cfg(debug_assertions)]
        if let Some(escape) = escape {
            escape.make();
        }
        Ok(())
    }

    /// What this part is to know.
    pub(super) fn settings(&self, part: Part) -> Settings {
        let reach = if part == Part::Supervisor { self.reach } else { Reach::Places };
        Settings {
            mode: self.mode,
            ids: self.users.and_then(|users| users.of(part)),
            reach,
            ..Settings::default()
        }
    }
}

/// The places that the configuration names, and those of the CA pool and of the sockets.
fn places(config: &Config, sockets: &[&Path]) -> Vec<Place> {
    let mut folders = BTreeSet::new();
    let pool = PoolPlace::probe();
    let stores = config.stores.iter().map(|store| match &store.source {
        StoreSource::File(path) | StoreSource::Directory(path) => path,
    });
    let profiles = config.profiles.iter().flat_map(|profile| {
        let identities = profile.identities.iter();
        let identities = identities.flat_map(|identity| {
            let key = match &identity.key {
                IdentityKey::File(path) => Some(path),
                IdentityKey::Held(_) | IdentityKey::Signer(_) => None,
            };
            [identity.certificate.as_ref(), key, identity.ocsp.as_ref()].into_iter().flatten()
        });
        let password = profile.resumption.as_ref().and_then(|resumption| resumption.password_file.as_ref());
        identities.chain(&profile.crl).chain(password)
    });
    let tokens = config.signers.iter().filter_map(|signer| match &signer.place {
        SignerPlace::Token(token) => Some(token),
        SignerPlace::Agent(_) => None,
    });
    let modules = tokens.clone().flat_map(|token| token.pin_file.iter().chain([&token.module]));
    for path in stores.chain(profiles).chain(modules).chain(&pool.file).chain(&pool.folders) {
        add(&mut folders, path);
    }
    // The folder of the file with everything, also where there is none yet.
    folders.extend(config.path.parent().map(Path::to_owned).filter(|path| !path.as_os_str().is_empty()));
    let reading = folders.into_iter().map(|path| Place::new(path, May::Read));
    let listening = sockets.iter().filter_map(|path| path.parent()).map(|path| Place::new(path, May::Listen));
    // What a token may, its parent has to.
    let tokens = tokens.flat_map(|token| &token.paths).map(|path| Place::new(path, May::Change));
    reading.chain(listening).chain(tokens).collect()
}

/// The folder of a file, or a folder, and where symbolic links lead: a file that takes the place of another by a rename is
/// another file, so files alone would be lost at their renewal.
fn add(folders: &mut BTreeSet<PathBuf>, path: &Path) {
    if path.is_dir() {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let links = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()));
        let targets: Vec<PathBuf> = links.filter_map(|link| fs::canonicalize(link.path()).ok()).collect();
        folders.extend(targets.iter().filter_map(|target| folder_of(target)));
        folders.insert(path.to_owned());
        return;
    }
    folders.extend(folder_of(path));
    folders.extend(fs::canonicalize(path).ok().and_then(|path| folder_of(&path)));
}

/// The folder; for a file of the root folder, the file alone.
fn folder_of(file: &Path) -> Option<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty())?;
    Some(if folder == Path::new("/") { file.to_owned() } else { folder.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::test_folder::Folder;

    #[test]
    fn files_are_found_where_their_links_lead_after_a_renewal_too() {
        let folder = Folder::new();
        let (live, archive) = (folder.path("live"), folder.path("archive"));
        for made in [&live, &archive] {
            fs::create_dir(made).expect("made");
        }
        fs::write(archive.join("chain1.pem"), "x").expect("written");
        std::os::unix::fs::symlink("../archive/chain1.pem", live.join("chain.pem")).expect("linked");
        let mut found = BTreeSet::new();
        add(&mut found, &live.join("chain.pem"));
        let archive = fs::canonicalize(archive).expect("there");
        assert_eq!(found, BTreeSet::from([live.clone(), archive.clone()]));
        let mut found = BTreeSet::new();
        add(&mut found, &live);
        assert_eq!(found, BTreeSet::from([live, archive]), "of a folder too");
    }

    #[test]
    fn a_file_of_the_root_folder_opens_nothing_else() {
        let mut found = BTreeSet::new();
        add(&mut found, Path::new("/not-there.pem"));
        assert_eq!(found, BTreeSet::from([PathBuf::from("/not-there.pem")]));
    }

    #[test]
    fn sockets_may_be_made_in_their_folder_and_nothing_written_elsewhere() {
        let config = Config::defaults(Path::new("/etc/tlsifyd/tlsifyd.toml"));
        let places = places(&config, &[Path::new("/run/tlsifyd/tlsifyd.sock")]);
        assert!(places.contains(&Place::new("/etc/tlsifyd", May::Read)));
        let more: Vec<&Place> = places.iter().filter(|place| place.may != May::Read).collect();
        assert_eq!(more, [&Place::new("/run/tlsifyd", May::Listen)]);
    }
}
