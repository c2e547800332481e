//! Rules as operators write and miswrite them.

use std::path::Path;

use super::super::{Config, ConfigError};
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/tlsifyd/tlsifyd.toml"))
}

/// A profile "shop", a store "branches" and a rule: its keys start on line 11.
fn with(keys: &str) -> String {
    format!(
        "[[profile]]\nname = \"shop\"\nrole = \"client\"\nusers = [\"*\"]\n\
         [[store]]\nname = \"branches\"\nfile = \"b.pem\"\n\
         [[rule]]\nname = \"web\"\n\n{keys}\n"
    )
}

/// The error without the file's name.
fn wrong(text: &str) -> String {
    let error = parse(text).expect_err(text).to_string();
    error.strip_prefix("/etc/tlsifyd/tlsifyd.toml:").expect("the file is named").to_owned()
}

#[test]
fn a_rule_that_says_nothing_forbids_nothing() {
    let config = parse(&with("users = [\"*\"]")).unwrap();
    let rule = &config.rules[0];
    assert_eq!((rule.name.as_str(), rule.line, &rule.users[..]), ("web", 9, &[Principal::Everyone][..]));
    assert!(!rule.deny && rule.define && rule.connect_to && rule.profiles.is_none() && rule.stores.is_none());
    assert_eq!((rule.roles.len(), rule.minimum, rule.limits), (2, None, Limits::default()));
}

#[test]
fn everything_that_a_rule_says_arrives() {
    let keys = "groups = [5]\nexecutables = [\"/usr/sbin/nginx\"]\nprofiles = [\"shop\"]\n\
                stores = [\"pins\", \"branches\"]\nroles = [\"server\"]\nconnect-to = false\nlevel = \"modern\"\n\
                sessions = 1\nhandshakes = 2\nhandshakes-per-second = 3\nhandshake-burst = 4\n\
                profiles-defined = 5\nprofile-bytes = 6\nconnections = 7";
    let config = parse(&with(keys)).unwrap();
    let rule = &config.rules[0];
    assert_eq!(rule.executables, [Path::new("/usr/sbin/nginx")]);
    assert_eq!(rule.profiles.as_deref(), Some(&["shop".to_owned()][..]));
    assert_eq!(rule.stores.as_deref(), Some(&["pins".to_owned(), "branches".to_owned()][..]));
    assert_eq!((&rule.roles[..], rule.connect_to), (&[Role::Server][..], false));
    assert_eq!(
        (rule.minimum, rule.level),
        (Some(Version::Tls13), Some(Level::Modern)),
        "a level has its version"
    );
    let limits = Limits {
        sessions: Some(1),
        handshakes: Some(2),
        profiles: Some(5),
        connections: Some(7),
        total_sessions: None,
        handshakes_per_second: Some(3),
        handshake_burst: Some(4),
        profile_bytes: Some(6),
    };
    assert_eq!(rule.limits, limits);
}

#[test]
fn whom_a_rule_is_about_has_to_be_said() {
    assert_eq!(
        wrong(&with("sessions = 4")),
        "9: rule \"web\": it says not whom it is about; users = [\"*\"] is everybody"
    );
    assert_eq!(wrong(&with("groups = [\"*\"]")), "11: groups cannot be \"*\", write users = [\"*\"]");
    assert!(parse(&with("executables = [\"/bin/a\"]")).is_ok(), "whoever runs it");
    assert_eq!(wrong(&with("executables = [\"nginx\"]")), "11: \"nginx\" is no absolute path");
}

#[test]
fn names_that_are_not_there_are_errors_with_the_one_that_is_meant() {
    let everybody = |keys: &str| with(&format!("users = [\"*\"]\n{keys}"));
    assert_eq!(
        wrong(&everybody("profiles = [\"shop\", \"shops\"]")),
        "12: there is no [[profile]] named \"shops\", did you mean \"shop\"?"
    );
    assert_eq!(
        wrong(&everybody("stores = [\"systems\"]")),
        "12: there is no [[store]] named \"systems\", did you mean \"system\"?"
    );
    assert_eq!(wrong(&everybody("stores = [\"zzz\"]")), "12: there is no [[store]] named \"zzz\"");
    assert_eq!(wrong(&everybody("session = 3")), "12: unknown key \"session\", did you mean \"sessions\"?");
    let twice = with("users = [\"*\"]\n[[rule]]\nname = \"web\"\nusers = [1]");
    assert_eq!(wrong(&twice), "13: rule \"web\" is there already, on line 9");
}

#[test]
fn what_would_do_nothing_is_an_error() {
    let everybody = |keys: &str| with(&format!("users = [\"*\"]\n{keys}"));
    for (keys, error) in [
        ("deny = true\nsessions = 4", "13: \"sessions\" does nothing beside deny = true"),
        ("deny = true\ndefine = true", "13: \"define\" does nothing beside deny = true"),
        ("define = false\nstores = [\"pins\"]", "13: \"stores\" does nothing with define = false (line 12)"),
        (
            "define = false\nprofile-bytes = 9",
            "13: \"profile-bytes\" does nothing with define = false (line 12)",
        ),
        ("handshake-burst = 9", "12: \"handshake-burst\" does nothing without \"handshakes-per-second\""),
        ("roles = []", "12: \"roles\" is empty, which leaves no session; deny = true says so"),
        (
            "define = false\nprofiles = []",
            "9: rule \"web\": it leaves no profile to use; deny = true says so",
        ),
        ("sessions = 0", "12: sessions is 0, which would refuse everybody"),
        ("profiles-defined = 0", "12: profiles-defined is 0, which would refuse everybody"),
    ] {
        assert_eq!(wrong(&everybody(keys)), error);
    }
    assert!(parse(&everybody("deny = false\nsessions = 4")).is_ok());
    let paced = format!("[limits]\nhandshakes-per-second = 9\n{}", everybody("handshake-burst = 9"));
    assert!(parse(&paced).is_ok(), "the host's pace with another burst");
}

#[test]
fn a_floor_below_the_hosts_is_an_error() {
    let host =
        |floor: &str, keys: &str| format!("[tls]\n{floor}\n{}", with(&format!("users = [\"*\"]\n{keys}")));
    assert_eq!(
        wrong(&host("minimum = \"1.3\"", "minimum = \"1.2\"")),
        "14: minimum 1.2 is below the host's floor 1.3, which counts"
    );
    assert_eq!(
        wrong(&host("level = \"modern\"", "level = \"intermediate\"")),
        "14: level \"intermediate\" is below the host's \"modern\", which counts"
    );
    assert_eq!(
        wrong(&host("", "minimum = \"1.2\"\nlevel = \"modern\"")),
        "14: minimum 1.2 is below level \"modern\", which begins with 1.3"
    );
    assert!(parse(&host("minimum = \"1.2\"", "minimum = \"1.3\"")).is_ok());
}
