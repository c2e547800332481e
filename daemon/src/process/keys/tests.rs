//! One configuration, loaded in each of the three ways.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::*;
use crate::config::ConfigError;
use crate::process::gather::{Disk, Gathered, Record, Recording};
use crate::process::test_folder::Folder;
use crate::process::{ConfigPlace, Loaded};
use crate::tls::pair::Authority;
use crate::tls::{IdentityError, without_keys};

/// A keyholder in the same process.
#[derive(Default)]
struct Holder {
    last: u64,
    keys: BTreeMap<u64, (String, Uses)>,
    /// How many files it has read for what is beside their keys.
    read: usize,
}

impl Holder {
    fn names(&self) -> Vec<&str> {
        self.keys.values().map(|(name, _)| name.as_str()).collect()
    }

    fn take(&mut self, name: String, uses: Uses) -> u64 {
        self.last += 1;
        self.keys.insert(self.last, (name, uses));
        self.last
    }
}

impl KeyDoor for Holder {
    fn add(&mut self, key: OwnedFd, uses: Uses, what: &Path) -> Result<PublicHalf, String> {
        let mut text = Vec::new();
        File::from(key).read_to_end(&mut text).map_err(|error| error.to_string())?;
        let key =
            PrivateKey::from_pem(&text).and_then(|key| key.public()).map_err(|error| error.to_string())?;
        let name = what.file_name().unwrap().to_string_lossy().into_owned();
        Ok(PublicHalf { handle: self.take(name, uses), spki_der: key.spki_der.to_vec() })
    }

    fn certificates(&mut self, file: OwnedFd, _: &Path) -> Result<Vec<u8>, String> {
        self.read += 1;
        let mut text = Vec::new();
        File::from(file).read_to_end(&mut text).map_err(|error| error.to_string())?;
        without_keys(&mut text);
        Ok(text)
    }

    fn add_foreign(&mut self, signer: &str, _: &PublicKey, uses: Uses) -> Result<u64, String> {
        Ok(self.take(format!("signer {signer}"), uses))
    }

    fn forget(&mut self, handle: u64) {
        assert!(self.keys.remove(&handle).is_some(), "forgotten twice");
    }
}

/// A folder with everything that a configuration names.
struct Rich(Folder);

impl Rich {
    /// The packaged example with all marks taken away, and real files.
    fn new() -> Self {
        let rich = Self(Folder::new());
        let authority = Authority::new("partners");
        rich.write("partners-ca.pem", authority.pem());
        rich.write("branch-cas/one.pem", authority.pem());
        rich.write("branch-cas/odd.pem", "no certificate");
        let list = authority.crl(&[7], 30).pem().unwrap();
        rich.write("partners.crl", &list);
        rich.write("crl/ours.crl", &list);
        rich.write("crl/README.pem", authority.pem());
        // OCSPResponse: successful, with bytes that are the client's to read.
        rich.write("shop.ocsp", [0x30, 0x05, 0x0a, 0x01, 0x00, 0xa0, 0x00]);
        rich.write("redis.password", "s3cret-of-redis\n");
        for name in ["shop", "api", "many", "vault", "later", "link"] {
            rich.identity(&authority, name);
        }
        let later = rich.0.path("later.pem");
        let public = public_of_chain(&fs::read(&later).unwrap(), None).unwrap();
        let hash = tlsify_protocol::value::Sha256(public.spki_sha256);
        fs::remove_file(rich.0.path("later.key")).unwrap();
        fs::remove_file(rich.0.path("vault.key")).unwrap();
        let text = include_str!("../../../../packaging/tlsifyd.toml");
        let lines = text.lines().map(|line| match line.strip_prefix("#: ").unwrap_or(line) {
            line if line.starts_with("key = \"spki-sha256:") => format!("key = \"spki-sha256:{hash}\"\n"),
            line => format!("{line}\n"),
        });
        let text =
            lines.collect::<String>().replace("\"www-data\"", "\"root\"").replace("\"web\"", "\"root\"");
        rich.write("tlsifyd.toml", text.replace("/etc/tlsifyd/crl", "crl"));
        rich
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.0.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// A new key and a certificate for it.
    fn identity(&self, authority: &Authority, name: &str) {
        let names = [&*format!("{name}.example")];
        let key = rcgen::KeyPair::generate().unwrap();
        let (chain, key) = authority.pems(&key, crate::tls::pair::params(&names));
        self.write(&format!("{name}.pem"), chain);
        self.write(&format!("{name}.key"), key);
    }

    fn place(&self) -> ConfigPlace {
        ConfigPlace { path: self.0.path("tlsifyd.toml"), required: true }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.place().path).unwrap()
    }

    /// As `tlsifyd check` does.
    fn checked(&self) -> Result<Loaded, ConfigError> {
        Loaded::load(&self.place(), &disk(), &mut InProcess::to_check())
    }

    /// As the supervisor does.
    fn gathered(&self, holder: &mut Holder) -> Result<(Loaded, Gathered, NewKeys), ConfigError> {
        let sources = Recording::new(disk(), Some(&self.place()));
        let mut keys = ToKeyholder::new(holder);
        let loaded = Loaded::load(&self.place(), &sources, &mut keys)?;
        let keys = keys.done();
        let gathered = sources.gathered(keys.public_halves());
        Ok((loaded, gathered, keys))
    }
}

/// New keys are in use, and no handshake needs the old ones any more.
fn replace(inuse: &mut OperatorKeys, holder: &mut Holder, keys: NewKeys) {
    let old = inuse.replace(keys);
    OperatorKeys::discard(holder, old);
}

/// Something goes wrong in the folder.
type Breaks<'a> = &'a dyn Fn(&Rich);

fn disk() -> Disk {
    Disk { now: Some(UNIX_EPOCH + std::time::Duration::from_secs(1_735_689_600)) }
}

impl Signatories for Nobody {
    fn own(&self, public: PublicKey) -> Result<PrivateKey, IdentityError> {
        Ok(known_only(public))
    }

    fn foreign(&self, public: PublicKey, signer: &Signer) -> Result<PrivateKey, IdentityError> {
        assert_eq!(signer.name, "operator-agent");
        Ok(known_only(public))
    }
}

/// As a worker does.
fn from_record(gathered: &Gathered) -> Result<Loaded, ConfigError> {
    let mut keys = FromRecord::new(gathered, &Nobody);
    Loaded::load(&gathered.place().unwrap(), &Record(gathered), &mut keys)
}

/// What can be compared of what was loaded. Private keys are not in it wherever they are.
fn facts(loaded: &Loaded) -> String {
    let operator = &loaded.operator;
    let mut profiles: Vec<String> = operator
        .profiles
        .iter()
        .map(|(name, profile)| {
            let cache = profile.cache.as_ref().map(|cache| {
                (format!("{:?}", cache), cache.password.as_ref().map(|password| password.to_vec()))
            });
            let kind = match &profile.profile {
                crate::engine::Profile::Server(_) => "server",
                crate::engine::Profile::Client(_) => "client",
            };
            format!("{name}: {kind}, {:?}, {cache:?}", profile.grant)
        })
        .collect();
    profiles.sort();
    let stores: BTreeMap<_, _> = operator.stores.iter().map(|(name, roots)| (name, roots.count())).collect();
    let rest = (&operator.limits, &operator.timeouts, operator.drain, operator.floor, operator.level);
    let told = (&loaded.config, &loaded.inventory, &loaded.warnings, &operator.observers);
    format!("{told:#?}\n{profiles:#?}\n{stores:?}\n{rest:?}")
}

#[test]
fn what_the_supervisor_accepted_the_worker_accepts_when_every_file_is_gone() {
    let rich = Rich::new();
    let checked = rich.checked().unwrap();
    let mut holder = Holder::default();
    let (loaded, gathered, _keys) = rich.gathered(&mut holder).unwrap();
    assert_eq!(facts(&loaded), facts(&checked));
    assert!(loaded.inventory.len() > 12 && !loaded.warnings.is_empty(), "{loaded:?}");
    let sealed = gathered.seal().unwrap();
    drop((gathered, rich));
    let there = Gathered::unseal(sealed).unwrap();
    assert_eq!(facts(&from_record(&there).unwrap()), facts(&checked));
}

#[test]
fn no_private_key_is_in_a_record_and_no_password_in_its_description() {
    let rich = Rich::new();
    let mut holder = Holder::default();
    let (_, gathered, _keys) = rich.gathered(&mut holder).unwrap();
    let mut record = Vec::new();
    File::from(gathered.seal().unwrap()).read_to_end(&mut record).unwrap();
    let has = |what: &[u8]| record.windows(what.len()).any(|window| window == what);
    assert!(has(b"s3cret-of-redis") && has(b"BEGIN CERTIFICATE"), "this test looks at the wrong bytes");
    assert!(!has(b"PRIVATE KEY"));
    for name in ["shop.key", "api.key", "many.key", "link.key"] {
        let text = fs::read_to_string(rich.0.path(name)).unwrap();
        let key = rcgen::KeyPair::from_pem(&text).unwrap().serialize_der();
        // PKCS#8 of P-256 (RFC 5208, RFC 5915): the private number begins at byte 36.
        assert!(!has(&key[36..36 + 32]), "{name}");
    }
    assert!(!format!("{gathered:?}").contains("s3cret"));
}

/// A file with certificate and key, the other name of it, and a certificate whose file has somebody else's key.
fn combined(rich: &Rich) {
    let text = |name: &str| fs::read_to_string(rich.0.path(name)).unwrap();
    rich.write("both.pem", text("shop.pem") + &text("shop.key"));
    fs::hard_link(rich.0.path("both.pem"), rich.0.path("other-name.pem")).unwrap();
    rich.write("stray.pem", text("many.key") + &text("api.pem"));
    rich.write("stray-ca.pem", text("partners-ca.pem") + &text("link.key"));
    rich.write(
        "tlsifyd.toml",
        "[[store]]\nname = \"ca\"\nfile = \"stray-ca.pem\"\n\
         [[profile]]\nname = \"a\"\nrole = \"server\"\nusers = [1]\n\
         [[profile.identity]]\ncertificate = \"both.pem\"\nkey = \"both.pem\"\n\
         [[profile.identity]]\ncertificate = \"other-name.pem\"\nkey = \"both.pem\"\n\
         [[profile.identity]]\ncertificate = \"stray.pem\"\nkey = \"api.key\"\n",
    );
}

#[test]
fn a_file_with_certificate_and_key_is_read_by_the_keyholder_and_its_key_is_in_no_record() {
    let rich = Rich::new();
    combined(&rich);
    let mut holder = Holder::default();
    let (loaded, gathered, _keys) = rich.gathered(&mut holder).unwrap();
    assert_eq!(holder.read, 2, "under each of its names");
    let told = &loaded.warnings;
    let said =
        |name: &str| told.iter().any(|line| line.contains(name) && line.contains("a private key in it"));
    assert!(
        said("stray.pem") && said("stray-ca.pem") && !said("both.pem") && !said("other-name.pem"),
        "{told:?}"
    );
    assert_eq!(facts(&loaded), facts(&rich.checked().unwrap()));
    assert_eq!(facts(&from_record(&gathered).unwrap()), facts(&loaded));
    let mut record = Vec::new();
    File::from(gathered.seal().unwrap()).read_to_end(&mut record).unwrap();
    for name in ["shop.key", "many.key", "link.key"] {
        let text = fs::read_to_string(rich.0.path(name)).unwrap();
        let line = text.lines().nth(1).unwrap().as_bytes();
        assert!(!record.windows(line.len()).any(|window| window == line), "{name}");
    }
}

#[test]
fn a_file_with_certificate_and_key_is_for_nobody_else_and_missed_in_the_same_words() {
    let break_it: [(&str, Breaks<'_>); 3] = [
        ("both.pem is open to every user (mode 0644)", &|rich| {
            fs::set_permissions(rich.0.path("both.pem"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("both.pem: no such file", &|rich| fs::remove_file(rich.0.path("both.pem")).unwrap()),
        ("both.pem: there is no certificate, it holds PRIVATE KEY", &|rich| {
            let key = fs::read(rich.0.path("shop.key")).unwrap();
            rich.write("both.pem", key);
        }),
    ];
    for (expected, break_it) in break_it {
        let rich = Rich::new();
        combined(&rich);
        break_it(&rich);
        let mut holder = Holder::default();
        let said = rich.gathered(&mut holder).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}\nexpected {expected}");
        assert_eq!(said, rich.checked().map(|_| ()).unwrap_err().to_string());
    }
}

#[test]
fn what_cannot_be_used_is_said_in_the_same_words_wherever_the_keys_go() {
    let break_it: [(&str, Breaks<'_>); 9] = [
        ("shop.key: no such file", &|rich| fs::remove_file(rich.0.path("shop.key")).unwrap()),
        ("shop.pem: no such file", &|rich| fs::remove_file(rich.0.path("shop.pem")).unwrap()),
        ("is open to every user (mode 0644)", &|rich| {
            fs::set_permissions(rich.0.path("api.key"), fs::Permissions::from_mode(0o644)).unwrap();
        }),
        ("api.key: there is no private key", &|rich| rich.write("api.key", "")),
        ("api.key is larger than 64 KiB", &|rich| rich.write("api.key", vec![b'x'; 65 * 1024])),
        ("many.key: the private key does not belong", &|rich| {
            fs::copy(rich.0.path("shop.key"), rich.0.path("many.key")).unwrap();
        }),
        ("link.key: cannot read the private key", &|rich| {
            rich.write("link.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n");
        }),
        ("later.pem says which one does", &|rich| {
            fs::copy(rich.0.path("shop.pem"), rich.0.path("later.pem")).unwrap();
        }),
        ("spki-sha256:short: this is no hash of a key", &|rich| {
            let text = rich.text();
            let at = text.find("key = \"spki-sha256:").unwrap();
            let end = at + text[at..].find('\n').unwrap();
            rich.write("tlsifyd.toml", text[..at].to_owned() + "key = \"spki-sha256:short\"" + &text[end..]);
        }),
    ];
    for (expected, break_it) in break_it {
        let rich = Rich::new();
        break_it(&rich);
        let mut holder = Holder::default();
        let said = rich.gathered(&mut holder).map(|_| ()).unwrap_err().to_string();
        assert!(said.contains(expected), "{said}\nexpected {expected}");
        assert_eq!(said, rich.checked().map(|_| ()).unwrap_err().to_string());
        assert_eq!(holder.names(), Vec::<&str>::new(), "keys of what is not used stay");
    }
}

#[test]
fn a_reload_has_the_new_keys_before_the_old_ones_go_and_a_failed_one_keeps_the_old() {
    let rich = Rich::new();
    let all = ["shop.key", "api.key", "many.key", "signer operator-agent", "link.key"];
    let mut holder = Holder::default();
    let mut inuse = OperatorKeys::default();
    let (_, _, keys) = rich.gathered(&mut holder).unwrap();
    replace(&mut inuse, &mut holder, keys);
    assert_eq!(holder.names(), all);
    let (_, _, keys) = rich.gathered(&mut holder).unwrap();
    assert_eq!(holder.names().len(), 2 * all.len(), "both sets, until the worker has the new one");
    OperatorKeys::discard(&mut holder, keys);
    assert_eq!(holder.names(), all);
    let text = rich.text();
    let link = text.find("[[profile]]\nname = \"link\"").unwrap();
    rich.write("tlsifyd.toml", &text[..link]);
    let (_, _, keys) = rich.gathered(&mut holder).unwrap();
    replace(&mut inuse, &mut holder, keys);
    assert_eq!(holder.names(), all[..all.len() - 1]);
}

#[test]
fn a_keyholder_that_was_started_again_gets_its_keys_again_unless_they_have_changed() {
    let rich = Rich::new();
    let mut holder = Holder::default();
    let mut inuse = OperatorKeys::default();
    let (_, _, keys) = rich.gathered(&mut holder).unwrap();
    replace(&mut inuse, &mut holder, keys);
    let before = holder.names().len();
    let mut second = Holder { last: 100, ..Holder::default() };
    assert_eq!(inuse.add_all_again(&mut second), Vec::<String>::new());
    assert_eq!(second.keys.values().collect::<Vec<_>>(), holder.keys.values().collect::<Vec<_>>());
    rich.identity(&Authority::new("another"), "api");
    fs::remove_file(rich.0.path("shop.key")).unwrap();
    let mut third = Holder { last: 200, ..Holder::default() };
    let said = inuse.add_all_again(&mut third);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("shop.key: no such file"), "{said:?}");
    assert!(said[1].ends_with("api.key holds another key than when it was loaded, reload to use it"));
    assert_eq!(third.names().len(), before - 2);
    // What is not there cannot be forgotten, and everything else is.
    replace(&mut inuse, &mut third, NewKeys::none());
    assert_eq!(third.names(), Vec::<&str>::new());
}

#[test]
fn a_key_of_two_profiles_is_added_once_for_what_both_do() {
    let rich = Rich::new();
    let profile = |name: &str, role: &str, more: &str| {
        format!(
            "[[profile]]\nname = \"{name}\"\nrole = \"{role}\"\nusers = [1]\n{more}\n\
             [[profile.identity]]\ncertificate = \"shop.pem\"\nkey = \"shop.key\"\n"
        )
    };
    rich.write("tlsifyd.toml", profile("a", "server", "minimum = \"1.3\"") + &profile("b", "client", ""));
    let mut holder = Holder::default();
    let (_, _, _keys) = rich.gathered(&mut holder).unwrap();
    let uses = Uses::TLS13_SERVER.and(Uses::CLIENT);
    assert_eq!(holder.keys.into_values().collect::<Vec<_>>(), [("shop.key".to_owned(), uses)]);
}
