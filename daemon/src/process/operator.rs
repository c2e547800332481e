//! From the operator's file to what the engine uses: all of it, or nothing and the reason.
//!
//! ```text
//!  tlsifyd.toml ─▶ Config ─┬─ [[store]] ───▶ files ─▶ Roots ──────────────┐
//!                          ├─ [[profile]] ─▶ users, groups ─▶ Grant       ├─▶ Loaded
//!                          │                 files ─▶ Identity, Params ───┤   (and warnings: what will be wrong soon)
//!                          └─ [limits] ────▶ Limits ──────────────────────┘
//! ```
//!
//! Every error is one line with the file, the line of the store or profile in it, and the cause. At a reload the
//! caller keeps what it had when there is one.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::gather::{Bytes, Disk, Sources};
use super::keys::{self, KeySource, UsesOfAll, Wanted};
use super::lists::{self, Lists};
use super::{files, principals, rules, specs};
use crate::config::{self, Config, ConfigError, IdentityKey, Role, StoreSource};
use crate::engine::{Operator, OperatorProfile, Raised};
use crate::io::Timeouts;
use crate::policy::Limits;
use crate::tls::{Identity, Roots, complaint, complaint_of_list, days_left, holds_key};

/// Where root's configuration is.
const SYSTEM_FILE: &str = "/etc/tlsifyd/tlsifyd.toml";

/// The file to load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPlace {
    /// Its path.
    pub path: PathBuf,
    /// Whether it must be there; otherwise an absent one is an empty one.
    pub required: bool,
}

impl ConfigPlace {
    /// Chooses: `flag` (`--config`), else `/etc/tlsifyd/tlsifyd.toml` for root, else `tlsifyd/tlsifyd.toml` in
    /// `$XDG_CONFIG_HOME` or `~/.config`.
    pub fn choose(
        flag: Option<&Path>,
        uid: u32,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> ConfigPlace {
        if let Some(path) = flag {
            return ConfigPlace { path: path.to_owned(), required: true };
        }
        let set = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let own = || set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let path = match own().filter(|_| uid != 0) {
            Some(folder) => folder.join("tlsifyd/tlsifyd.toml"),
            None => PathBuf::from(SYSTEM_FILE),
        };
        ConfigPlace { path, required: false }
    }

    /// Reads and checks the file alone, without anything that it names.
    ///
    /// # Errors
    /// The file cannot be read, or makes no sense.
    pub fn read(&self) -> Result<Config, ConfigError> {
        self.read_from(&Disk::default())
    }

    /// The same from somewhere else than the disk.
    ///
    /// # Errors
    /// As [`ConfigPlace::read`].
    pub fn read_from(&self, sources: &dyn Sources) -> Result<Config, ConfigError> {
        let whole = |cause: String| ConfigError::new(&self.path, None, cause);
        // Anything but "it is not there" is an error even where it need not be.
        if !self.required && sources.is_absent(&self.path) {
            return Ok(Config::defaults(&self.path));
        }
        let bytes = sources.text(&self.path, files::LARGEST_CONFIGURATION).map_err(whole)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            ConfigError::new(&self.path, Some(line), "this is not UTF-8 text")
        })?;
        Config::parse(text, &self.path)
    }
}

/// The file and everything that it names, read and checked.
#[derive(Debug)]
pub struct Loaded {
    /// The file's text as types: the socket, the workers, the log.
    pub config: Config,
    /// What the engine goes by.
    pub operator: Operator,
    /// Who may use the keyholder's socket, by number.
    pub key_users: Vec<u32>,
    /// What works and will not for long, or hardly: a sentence each, with the file.
    pub warnings: Vec<String>,
    /// What is served, line by line, for `tlsifyd check`.
    pub inventory: Vec<String>,
}

impl Loaded {
    /// Loads the file and everything that it names, from `sources` and `keys`. Those of the disk wait for it.
    ///
    /// # Errors
    /// The first thing that cannot be used; nothing has been changed then.
    pub fn load(
        place: &ConfigPlace,
        sources: &dyn Sources,
        keys: &mut dyn KeySource,
    ) -> Result<Loaded, ConfigError> {
        Loaded::from_config(place.read_from(sources)?, sources, keys)
    }

    /// The same with these profiles alone, if `only` names any or none: what the others name is not even looked for.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn load_only(
        place: &ConfigPlace,
        only: Option<&BTreeSet<String>>,
        sources: &dyn Sources,
        keys: &mut dyn KeySource,
    ) -> Result<Loaded, ConfigError> {
        let mut config = place.read_from(sources)?;
        let mut withheld = Vec::new();
        if let Some(only) = only {
            let others = config.profiles.extract_if(.., |profile| !only.contains(&profile.name));
            withheld = others.map(|profile| profile.name).collect();
        }
        let mut loaded = Loaded::from_config(config, sources, keys)?;
        loaded.operator.withheld = withheld;
        Ok(loaded)
    }

    /// Loads everything that a configuration names.
    ///
    /// # Errors
    /// As [`Loaded::load`].
    pub fn from_config(
        config: Config,
        sources: &dyn Sources,
        keys: &mut dyn KeySource,
    ) -> Result<Loaded, ConfigError> {
        let withheld = Vec::new();
        let limits = Limits::new(&config.limits, sources.descriptors());
        let now = sources.now().duration_since(UNIX_EPOCH);
        let mut loader = Loader {
            config: &config,
            sources,
            keys,
            now: now.map_or(0, |since| since.as_secs().cast_signed()),
            stores: HashMap::new(),
            warnings: Vec::new(),
            inventory: Vec::new(),
        };
        let observers = loader.observers()?;
        let key_users = loader.key_users()?;
        loader.stores()?;
        let profiles = loader.profiles()?;
        let rules = rules::load(&config, &limits, sources, &mut loader.warnings)?;
        let Loader { stores, mut warnings, inventory, .. } = loader;
        let floor = specs::version(config.floor);
        let level = config.level.map(specs::level);
        let (raised, unusable) = Raised::new(&rules, &profiles, (floor, level));
        warnings.extend(unusable);
        let times = &config.timeouts;
        let timeouts = Timeouts { handshake: times.handshake, idle: times.idle, linger: times.linger };
        let drain = times.drain;
        let operator = Operator {
            profiles,
            withheld,
            stores,
            rules,
            raised,
            limits,
            timeouts,
            drain,
            floor,
            level,
            observers,
        };
        Ok(Loaded { config, operator, key_users, warnings, inventory })
    }
}

struct Loader<'a> {
    config: &'a Config,
    sources: &'a dyn Sources,
    keys: &'a mut dyn KeySource,
    /// Seconds since 1970.
    now: i64,
    stores: HashMap<String, Roots>,
    warnings: Vec<String>,
    inventory: Vec<String>,
}

impl Loader<'_> {
    fn observers(&self) -> Result<Vec<u32>, ConfigError> {
        let uid = |who| principals::uid(who, self.sources);
        let found = self.config.operators.iter().map(uid).collect::<Result<_, _>>();
        found.map_err(|cause| {
            ConfigError::new(&self.config.path, None, format!("[status] operators: {cause}"))
        })
    }

    fn key_users(&self) -> Result<Vec<u32>, ConfigError> {
        let uid = |who| principals::uid(who, self.sources);
        let found = self.config.keys.users.iter().map(uid).collect::<Result<_, _>>();
        found.map_err(|cause| ConfigError::new(&self.config.path, None, format!("[keys] users: {cause}")))
    }

    fn stores(&mut self) -> Result<(), ConfigError> {
        for store in &self.config.stores {
            let roots = self.store(&store.source).map_err(|cause| {
                let cause = format!("store \"{}\": {cause}", store.name);
                ConfigError::new(&self.config.path, Some(store.line), cause)
            })?;
            self.inventory.push(format!("store \"{}\": {} certificates", store.name, roots.count()));
            if roots.skipped() > 0 {
                let skipped = roots.skipped();
                self.warnings.push(format!(
                    "store \"{}\": {skipped} certificates cannot be trust anchors",
                    store.name
                ));
            }
            self.stores.insert(store.name.clone(), roots);
        }
        Ok(())
    }

    fn store_file(&mut self, path: &Path, most: u64) -> Result<Bytes, String> {
        let text = self.sources.file(path, most)?;
        self.warnings.extend(holds_key(&text).then(|| stray_key(path)));
        Ok(text)
    }

    fn store(&mut self, source: &StoreSource) -> Result<Roots, String> {
        let folder = match source {
            StoreSource::File(file) => {
                let bundle = self.store_file(file, files::LARGEST_STORE)?;
                return Roots::from_pem(&bundle).map_err(|error| format!("{}: {error}", file.display()));
            }
            StoreSource::Directory(folder) => folder,
        };
        let mut bundle = Vec::new();
        for file in self.sources.folder(folder, &files::CERTIFICATES)? {
            let left = files::LARGEST_STORE.saturating_sub(bundle.len() as u64);
            let text = self.store_file(&file, left)?;
            // A stray file must not take all the others' trust away, and must not go unnoticed either.
            match Roots::from_pem(&text) {
                Ok(_) => {
                    bundle.extend_from_slice(&text);
                    bundle.push(b'\n');
                }
                Err(error) => self.warnings.push(format!("{}: left out: {error}", file.display())),
            }
        }
        if bundle.is_empty() {
            return Err(format!("the folder {} has no usable .pem or .crt file", folder.display()));
        }
        Roots::from_pem(&bundle).map_err(|error| format!("{}: {error}", folder.display()))
    }

    fn profiles(&mut self) -> Result<HashMap<String, OperatorProfile>, ConfigError> {
        let mut profiles = HashMap::new();
        let mut caches = specs::Caches::default();
        let mut lists = Lists::default();
        let uses = UsesOfAll::of(self.config);
        for said in &self.config.profiles {
            let at = |line, cause| {
                ConfigError::new(&self.config.path, Some(line), format!("profile \"{}\": {cause}", said.name))
            };
            let grant = principals::grant(&said.users, &said.groups, self.sources)
                .map_err(|cause| at(said.line, cause))?;
            self.inventory.push(headline(said));
            let mut identities = Vec::new();
            for identity in &said.identities {
                let signer = self.config.signers.iter().find(
                    |signer| matches!(&identity.key, IdentityKey::Signer(name) if *name == signer.name),
                );
                let wanted = Wanted { identity, chain: None, uses: uses.get(identity), signer };
                let loaded = specs::identity(wanted, self.sources, self.keys)
                    .map_err(|cause| at(identity.line, cause))?;
                identities.push(self.identity(said.role, identity, loaded));
            }
            let lists =
                lists.get(&said.crl, self.sources).map_err(|cause| at(said.line, format!("crl: {cause}")))?;
            if let Some(lists) = &lists {
                self.lists(lists);
            }
            let floor = (self.config.floor, self.config.level);
            let crls = lists.map(|lists| lists.crls);
            let profile = specs::profile(said, floor, identities, crls, &self.stores)
                .map_err(|cause| at(said.line, cause))?;
            let cache = match &said.resumption {
                None => None,
                Some(kept) => {
                    self.inventory.push(format!("  sessions in {}", kept.cache));
                    Some(caches.get(kept, self.sources).map_err(|cause| at(kept.line, cause))?)
                }
            };
            let label = Arc::new(said.name.clone());
            profiles.insert(said.name.clone(), OperatorProfile { grant, profile, cache, label });
        }
        Ok(profiles)
    }

    /// Notes the lists of a profile, and which of them should be replaced.
    fn lists(&mut self, loaded: &lists::Loaded) {
        for (file, made, due) in &loaded.dates {
            let complaint = complaint_of_list(*made, *due, self.now);
            let warning = complaint.map(|why| format!("{}: {why}", file.display()));
            // Once, however many profiles name it.
            self.warnings.extend(warning.filter(|warning| !self.warnings.contains(warning)));
        }
        self.inventory.push(format!("  lists of revoked certificates: {}", loaded.crls.count()));
    }

    /// Notes what an identity serves, and what will be wrong with it soon.
    fn identity(&mut self, role: Role, said: &config::Identity, loaded: specs::LoadedIdentity) -> Identity {
        let specs::LoadedIdentity { identity, dates, stray } = loaded;
        self.warnings.extend(stray.iter().map(|path| stray_key(path)));
        let certificate = said.certificate.as_ref().map(|path| path.display().to_string());
        let shown = certificate.unwrap_or_else(|| keys::shown(&said.key));
        for (index, not_before, not_after) in dates {
            let complaint = complaint(index, not_before, not_after, self.now);
            self.warnings.extend(complaint.map(|why| format!("{shown}: {why}")));
        }
        let names = identity.names().join(", ");
        if identity.is_raw() {
            self.inventory.push(format!("  {shown}, a raw public key"));
            return identity;
        }
        if role == Role::Server && names.is_empty() {
            self.warnings.push(format!("{shown}: names nobody, so only peers that ask for no name get it"));
        }
        let left = days_left(identity.not_after().as_secs().cast_signed(), self.now);
        self.inventory.push(format!("  {names} ({shown}, {left})"));
        identity
    }
}

/// What is said of a private key where nobody asked for one.
fn stray_key(path: &Path) -> String {
    format!("{} has a private key in it, which is not used: keep it in a file of its own", path.display())
}

fn headline(said: &config::Profile) -> String {
    let role = match said.role {
        Role::Server => "server",
        Role::Client => "client",
    };
    let users = said.users.iter().map(|user| format!("user {user}"));
    let groups = said.groups.iter().map(|group| format!("group {group}"));
    let who: Vec<String> = users.chain(groups).collect();
    format!("profile \"{}\": {role}, for {}", said.name, who.join(", "))
}

#[cfg(test)]
#[path = "operator_tests.rs"]
mod tests;
