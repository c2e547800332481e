//! A file with everything it names, and each way in which something it names can be unusable.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;
use crate::engine::Profile;
use crate::policy::CallerCred;
use crate::process::keys::InProcess;
use crate::process::test_folder::Folder;
use crate::tls::Version;

/// 2025-01-01
const NEW_YEAR: i64 = 1_735_689_600;

/// A certificate for `name`, valid in 2025, its key, and a file with each in `folder`: NAME.pem and NAME.key.
fn identity(folder: &Folder, name: &str) {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2026, 1, 1);
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.path(&format!("{name}.pem")), certificate.pem()).unwrap();
    let key_path = folder.path(&format!("{name}.key"));
    fs::write(&key_path, key.serialize_pem()).unwrap();
    fs::set_permissions(&key_path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn load_on(folder: &Folder, text: &str, day: i64) -> Result<Loaded, ConfigError> {
    let path = folder.path("tlsifyd.toml");
    fs::write(&path, text).unwrap();
    let config = ConfigPlace { path, required: true }.read()?;
    let now = u64::try_from(NEW_YEAR + day * 24 * 60 * 60).unwrap();
    let disk = Disk { now: Some(UNIX_EPOCH + Duration::from_secs(now)) };
    Loaded::from_config(config, &disk, &mut InProcess::to_serve())
}

fn load(folder: &Folder, text: &str) -> Result<Loaded, ConfigError> {
    load_on(folder, text, 100)
}

fn wrong(folder: &Folder, text: &str) -> String {
    let error = load(folder, text).expect_err("it should not load").to_string();
    let start = format!("{}:", folder.path("tlsifyd.toml").display());
    assert!(!error.contains("PRIVATE KEY") && !error.contains('\n'), "{error}");
    error.strip_prefix(&start).unwrap_or_else(|| panic!("{error} does not begin with {start}")).to_owned()
}

const SHOP: &str = "[[profile]]\nname = \"shop\"\nrole = \"server\"\nusers = [33]\n\
                    [[profile.identity]]\ncertificate = \"shop.example.pem\"\nkey = \"shop.example.key\"\n";

fn caller(uid: u32) -> CallerCred {
    CallerCred { uid, gid: uid, groups: Vec::new(), pid: 1 }
}

#[test]
fn a_file_with_everything_it_names_becomes_profiles_and_stores() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    identity(&folder, "partner.example");
    fs::create_dir(folder.path("cas")).unwrap();
    fs::copy(folder.path("partner.example.pem"), folder.path("cas/partner.pem")).unwrap();
    fs::write(folder.path("cas/README"), "not a certificate").unwrap();
    fs::write(folder.path("cas/stray.pem"), "nor this").unwrap();
    let text = "[tls]\nminimum = \"1.3\"\n[status]\noperators = [\"root\", 990]\n\
                [[store]]\nname = \"one\"\nfile = \"partner.example.pem\"\n\
                [[store]]\nname = \"all\"\ndirectory = \"cas\"\n"
        .to_owned()
        + SHOP
        + "[[profile]]\nname = \"db\"\nrole = \"client\"\nusers = [\"*\"]\ntrust = \"store:one\"\n\
           names = [\"db.example\"]\npins = [\"spki-sha256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\"]\n\
           [[profile.identity]]\ncertificate = \"shop.example.pem\"\nkey = \"shop.example.key\"\n";
    let loaded = load(&folder, &text).unwrap();
    assert_eq!(loaded.operator.floor, Version::Tls13);
    assert_eq!(loaded.operator.observers, [0, 990]);
    assert_eq!((loaded.operator.stores["one"].count(), loaded.operator.stores["all"].count()), (1, 1));
    let shop = &loaded.operator.profiles["shop"];
    assert!(matches!(shop.profile, Profile::Server(_)));
    assert!(shop.grant.allows(&caller(33)) && !shop.grant.allows(&caller(34)));
    let db = &loaded.operator.profiles["db"];
    assert!(
        matches!(&db.profile, Profile::Client(client) if client.has_pins() && !client.needs_system_roots())
    );
    assert!(db.grant.allows(&caller(34)));
    assert_eq!(loaded.warnings.len(), 1, "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].contains("cas/stray.pem: left out: "), "{:?}", loaded.warnings);
    let inventory = loaded.inventory.join("\n");
    assert!(inventory.contains("profile \"shop\": server, for user 33\n  shop.example ("), "{inventory}");
    assert!(inventory.contains(", 265 days left)"), "{inventory}");
}

#[test]
fn a_key_that_others_can_read_is_refused_by_name_and_mode() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    let key = folder.path("shop.example.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let expected = format!(
        "6: profile \"shop\": the key {} is open to every user (mode 0644), try chmod 0600",
        key.display()
    );
    assert_eq!(wrong(&folder, SHOP), expected);
}

/// Profiles that say the same share one, and with it each worker's connection.
#[test]
fn profiles_share_a_cache_that_they_name_alike_and_its_password_is_nobody_elses() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    let password = folder.path("password");
    fs::write(&password, "s3cret\nnot this\n").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let kept = |name: &str, deadline: &str| {
        let resumption = "cache = \"redis://192.0.2.1\"\npassword-file = \"password\"";
        let profile = SHOP.replace("\"shop\"", &format!("\"{name}\""));
        format!("{profile}[profile.resumption]\n{resumption}\ndeadline = \"{deadline}\"\n")
    };
    let text = [kept("one", "20ms"), kept("two", "20ms"), kept("slow", "1s"), SHOP.to_owned()].concat();
    let loaded = load(&folder, &text).unwrap();
    let cache = |name: &str| loaded.operator.profiles[name].cache.clone();
    let (one, slow) = (cache("one").unwrap(), cache("slow").unwrap());
    assert!(Arc::ptr_eq(&one, &cache("two").unwrap()) && !Arc::ptr_eq(&one, &slow));
    assert!(cache("shop").is_none());
    assert_eq!(one.password.as_ref().map(|password| password.as_slice()), Some(&b"s3cret"[..]));
    assert!(loaded.inventory.iter().any(|line| line == "  sessions in redis://192.0.2.1:6379"));
    assert!(!format!("{loaded:?}").contains("s3cret"));

    fs::write(&password, "\n").unwrap();
    assert!(wrong(&folder, &text).contains("has no password in its first line"));
    fs::set_permissions(&password, fs::Permissions::from_mode(0o644)).unwrap();
    let said = wrong(&folder, &text);
    assert!(
        said.contains("the password file") && said.contains("is open to every user (mode 0644)"),
        "{said}"
    );
}

#[test]
fn a_key_of_another_certificate_is_refused_by_name() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    identity(&folder, "other.example");
    let key = folder.path("other.example.key");
    let error = wrong(&folder, &SHOP.replace("shop.example.key", "other.example.key"));
    let expected = format!("6: profile \"shop\": {}: the private key does not belong", key.display());
    assert!(error.starts_with(&expected), "{error}");
}

#[test]
fn each_unusable_file_is_named() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    fs::write(folder.path("empty"), "").unwrap();
    fs::set_permissions(folder.path("empty"), fs::Permissions::from_mode(0o600)).unwrap();
    let path = |name: &str| folder.path(name).display().to_string();
    let cases = [
        (
            SHOP.replace("shop.example.pem", "gone"),
            format!("6: profile \"shop\": cannot read {}: no such file", path("gone")),
        ),
        (
            SHOP.replace("shop.example.key", "gone"),
            format!("6: profile \"shop\": cannot read {}: no such file", path("gone")),
        ),
        (
            SHOP.replace("shop.example.pem", "empty"),
            format!("6: profile \"shop\": {}: there is no certificate", path("empty")),
        ),
        (
            SHOP.replace("shop.example.key", "empty"),
            format!("6: profile \"shop\": {}: there is no private key", path("empty")),
        ),
        (
            format!("{SHOP}ocsp = \"empty\"\n"),
            format!("6: profile \"shop\": {}: the OCSP response", path("empty")),
        ),
        (
            SHOP.replace("33", "\"nobody-of-that-name\""),
            "2: profile \"shop\": there is no user named".to_owned(),
        ),
        (SHOP.replace("users", "ciphers = [\"RC4\"]\nusers"), "2: profile \"shop\": ".to_owned()),
        (
            "[[store]]\nname = \"x\"\nfile = \"empty\"\n".to_owned(),
            format!("2: store \"x\": {}: the CA bundle has no", path("empty")),
        ),
        (
            "[[store]]\nname = \"x\"\ndirectory = \"gone\"\n".to_owned(),
            "2: store \"x\": cannot read the folder".to_owned(),
        ),
        (
            "[status]\noperators = [\"nobody-of-that-name\"]\n".to_owned(),
            " [status] operators: there is no user named".to_owned(),
        ),
        (
            "[keys]\nusers = [\"nobody-of-that-name\"]\n".to_owned(),
            " [keys] users: there is no user named".to_owned(),
        ),
        (
            "[[profile]]\nname = \"a\"\nrole = \"client\"\nusers = [1]\npins = [\"sha256:x\"]\n".to_owned(),
            "2: profile \"a\": \"sha256:x\" is no pin, expected spki-sha256:".to_owned(),
        ),
    ];
    for (text, expected) in cases {
        let error = wrong(&folder, &text);
        assert!(error.starts_with(&expected), "{error}\nexpected {expected}");
    }
}

#[test]
fn expired_and_soon_expiring_chains_are_warned_of_by_file() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    let file = folder.path("shop.example.pem").display().to_string();
    let warnings = |day| load_on(&folder, SHOP, day).unwrap().warnings;
    assert_eq!(warnings(340), Vec::<String>::new());
    assert_eq!(warnings(355), [format!("{file}: the certificate expires in 10 days")]);
    assert_eq!(warnings(367), [format!("{file}: the certificate has expired 2 days ago")]);
    assert_eq!(warnings(-1), [format!("{file}: the certificate is not valid yet, it will be in 1 day")]);
}

/// Three files and a folder: each list is one of 2025, made on this day, for a month.
fn lists(folder: &Folder, days: [u8; 3]) {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::Issuer::new(authority, rcgen::KeyPair::generate().unwrap());
    let _ = fs::create_dir(folder.path("lists"));
    for (name, day) in ["one.crl", "two.crl", "lists/three.crl"].into_iter().zip(days) {
        let made = rcgen::date_time_ymd(2025, 3, day);
        let params = rcgen::CertificateRevocationListParams {
            this_update: made,
            next_update: made + Duration::from_secs(30 * 24 * 60 * 60),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        fs::write(folder.path(name), params.signed_by(&authority).unwrap().pem().unwrap()).unwrap();
    }
}

const CHECKED: &str = "[[profile]]\nname = \"db\"\nrole = \"client\"\nusers = [33]\n\
                       crl = [\"one.crl\", \"two.crl\", \"lists\"]\n";

#[test]
fn a_broken_revocation_list_is_named_wherever_it_lies() {
    let folder = Folder::new();
    identity(&folder, "shop.example");
    let authority = fs::read(folder.path("shop.example.pem")).unwrap();
    lists(&folder, [1, 2, 3]);
    // An authority's certificate is at home in a folder, and by name it is a mistake.
    fs::write(folder.path("lists/authority.pem"), &authority).unwrap();
    let loaded = load_on(&folder, CHECKED, 70).unwrap();
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert_eq!(loaded.inventory[1], "  lists of revoked certificates: 3");
    let good = fs::read(folder.path("one.crl")).unwrap();
    for (name, text, why) in [
        ("one.crl", &good[..good.len() / 2], "cannot read the certificate revocation lists"),
        ("two.crl", &authority[..], "there is no certificate revocation list, it holds CERTIFICATE"),
        ("two.crl", b"0\x03\x02\x01\x01", "certificate revocation list 1 cannot be used"),
        ("lists/three.crl", b"0\x03\x02\x01\x01", "certificate revocation list 1 cannot be used"),
    ] {
        lists(&folder, [1, 2, 3]);
        fs::write(folder.path(name), text).unwrap();
        let expected = format!("2: profile \"db\": crl: {}: {why}", folder.path(name).display());
        let error = wrong(&folder, CHECKED);
        assert!(error.starts_with(&expected), "{error}\nexpected {expected}");
    }
    lists(&folder, [1, 2, 3]);
    fs::remove_file(folder.path("lists/three.crl")).unwrap();
    let error = wrong(&folder, CHECKED);
    assert!(error.contains("lists has no .pem or .crl file with a revocation list"), "{error}");
    fs::remove_file(folder.path("one.crl")).unwrap();
    let expected = format!("2: profile \"db\": crl: cannot read {}: no", folder.path("one.crl").display());
    assert!(wrong(&folder, CHECKED).starts_with(&expected));
}

#[test]
fn a_revocation_list_that_is_stale_or_soon_will_be_is_warned_of_by_file() {
    let folder = Folder::new();
    // Day 0 is the first of January: until the days 89, 118 and 116.
    lists(&folder, [1, 30, 28]);
    let warnings = |day| load_on(&folder, CHECKED, day).unwrap().warnings;
    let said = |name: &str, what: &str| format!("{}: a revocation list {what}", folder.path(name).display());
    assert_eq!(warnings(80), Vec::<String>::new());
    let soon = said("one.crl", "has to be replaced, the next one is due in 2 days");
    assert_eq!(warnings(87), [soon]);
    let stale = said("one.crl", "should have been replaced 6 days ago");
    assert_eq!(warnings(95), [stale]);
    let old = [("one.crl", 31), ("two.crl", 2), ("lists/three.crl", 4)];
    assert_eq!(
        warnings(120),
        old.map(|(name, days)| said(name, &format!("should have been replaced {days} days ago")))
    );
}

#[test]
fn a_file_that_need_not_be_there_may_be_absent_and_no_other() {
    let folder = Folder::new();
    let path = folder.path("absent.toml");
    let optional = ConfigPlace { path: path.clone(), required: false };
    assert_eq!(optional.read().unwrap(), Config::defaults(&path));
    let error = ConfigPlace { path: path.clone(), required: true }.read().unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: cannot read", path.display())), "{error}");
    // There and not a file: the operator meant something.
    fs::create_dir(&path).unwrap();
    assert!(optional.read().is_err());
    let bytes = folder.path("latin1.toml");
    fs::write(&bytes, b"# ok\nsocket = \"\xe4\"\n").unwrap();
    let error = ConfigPlace { path: bytes, required: true }.read().unwrap_err();
    assert_eq!(error.line(), Some(2));
}

#[test]
fn the_configuration_is_the_flags_then_the_users_own() {
    let home = |name: &str| (name == "HOME").then(|| OsString::from("/home/ann"));
    let chosen = |flag, uid| ConfigPlace::choose(flag, uid, home);
    assert_eq!(chosen(None, 0).path, Path::new(SYSTEM_FILE));
    assert_eq!(chosen(None, 1000).path, Path::new("/home/ann/.config/tlsifyd/tlsifyd.toml"));
    assert!(!chosen(None, 1000).required);
    let flag = chosen(Some(Path::new("/x.toml")), 0);
    assert_eq!((flag.path.as_path(), flag.required), (Path::new("/x.toml"), true));
    let xdg = |name: &str| (name == "XDG_CONFIG_HOME").then(|| OsString::from("/cfg"));
    assert_eq!(ConfigPlace::choose(None, 1000, xdg).path, Path::new("/cfg/tlsifyd/tlsifyd.toml"));
}
