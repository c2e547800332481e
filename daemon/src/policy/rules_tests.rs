//! The rules' tests.

use super::*;
use crate::config;

fn caller(uid: u32, groups: &[u32]) -> CallerCred {
    CallerCred { uid, gid: uid, groups: groups.to_vec(), pid: 1 }
}

/// A rule about these that says nothing.
fn rule(name: &str, who: Grant) -> Rule {
    Rule {
        name: name.into(),
        who,
        executables: Vec::new(),
        deny: false,
        profiles: None,
        define: true,
        stores: None,
        roles: vec![Role::Client, Role::Server],
        connect_to: true,
        minimum: None,
        level: None,
        limits: Limits::new(&config::Limits::default(), 4096),
    }
}

fn name(rules: &Rules, caller: &CallerCred, executable: Option<&str>) -> Option<String> {
    rules.of(caller, executable.map(Path::new)).name().map(|name| name.to_string())
}

#[test]
fn the_first_rule_that_is_about_a_caller_counts_alone() {
    let rules = Rules::new([
        rule("user", Grant::to([1001], [])),
        Rule { define: false, ..rule("group", Grant::to([], [100])) },
        Rule { connect_to: false, ..rule("all", Grant::everyone()) },
    ]);
    let of = |caller: &CallerCred| name(&rules, caller, None);
    assert_eq!(of(&caller(1001, &[100])).as_deref(), Some("user"));
    assert_eq!(of(&caller(1002, &[7, 100])).as_deref(), Some("group"));
    assert_eq!(of(&caller(0, &[])).as_deref(), Some("all"), "root is not special");
    let first = rules.of(&caller(1001, &[100]), None);
    assert!(first.define(&caller(1001, &[])).is_ok(), "the second is not added to it");
    assert_eq!(name(&Rules::default(), &caller(1, &[]), None), None);
}

#[test]
fn an_executable_that_is_not_known_is_no_rules() {
    let nginx = Rule { executables: vec!["/usr/sbin/nginx".into()], ..rule("nginx", Grant::to([33], [])) };
    let rules = Rules::new([nginx, rule("rest", Grant::everyone())]);
    let of = |uid, path| name(&rules, &caller(uid, &[]), path);
    assert_eq!(of(33, Some("/usr/sbin/nginx")).as_deref(), Some("nginx"));
    assert_eq!(of(33, Some("/usr/sbin/nginx2")).as_deref(), Some("rest"));
    assert_eq!(of(33, None).as_deref(), Some("rest"));
    assert_eq!(of(34, Some("/usr/sbin/nginx")).as_deref(), Some("rest"), "both have to be right");
}

#[test]
fn what_a_caller_runs_is_asked_only_where_it_decides() {
    let by_path = |who| Rule { executables: vec!["/bin/a".into()], ..rule("path", who) };
    let rules = Rules::new([rule("first", Grant::to([1], [])), by_path(Grant::to([1, 2], []))]);
    assert!(!rules.ask_what_it_runs(&caller(1, &[])), "the first counts whatever it runs");
    assert!(rules.ask_what_it_runs(&caller(2, &[])));
    assert!(!rules.ask_what_it_runs(&caller(3, &[])), "no rule is about it");
    assert!(!Rules::default().ask_what_it_runs(&caller(2, &[])));
}

#[test]
fn a_rule_forbids_what_it_does_not_list_and_says_its_name() {
    let web = Rule {
        profiles: Some(vec!["shop".to_owned()]),
        define: false,
        stores: Some(vec!["pins".to_owned(), "branches".to_owned()]),
        roles: vec![Role::Server],
        connect_to: false,
        ..rule("web", Grant::everyone())
    };
    let (who, ruling) = (caller(1000, &[]), Rules::new([web]).of(&caller(1000, &[]), None));
    ruling.enter(&who).unwrap();
    ruling.profile(&who, "shop").unwrap();
    ruling.store(&who, &StoreUse::Pins).unwrap();
    ruling.store(&who, &StoreUse::Named("branches".into())).unwrap();
    ruling.role(&who, Role::Server).unwrap();
    let said = [
        (ruling.profile(&who, "mail"), "uid 1000 may not use profile \"mail\" (rule \"web\")"),
        (
            ruling.define(&who),
            "uid 1000 may not say parameters of its own, only the operator's profiles are for it (rule \"web\")",
        ),
        (
            ruling.store(&who, &StoreUse::System),
            "uid 1000 may not trust the system's authorities (rule \"web\")",
        ),
        (
            ruling.store(&who, &StoreUse::Descriptor),
            "uid 1000 may not bring authorities of its own (rule \"web\")",
        ),
        (
            ruling.store(&who, &StoreUse::Named("other".into())),
            "uid 1000 may not trust the store \"other\" (rule \"web\")",
        ),
        (ruling.role(&who, Role::Client), "uid 1000 may not be a TLS client (rule \"web\")"),
        (ruling.connect_to(&who), "uid 1000 may not have sockets connected (rule \"web\")"),
    ];
    for (refused, sentence) in said {
        assert_eq!(refused.unwrap_err().to_string(), sentence);
    }
}

#[test]
fn who_is_denied_is_denied_each_thing() {
    let deny = Rule { deny: true, ..rule("guests", Grant::everyone()) };
    let (who, ruling) = (caller(9, &[]), Rules::new([deny]).of(&caller(9, &[]), None));
    let sentence = "uid 9 may not use this daemon (rule \"guests\")";
    for refused in
        [ruling.enter(&who), ruling.define(&who), ruling.profile(&who, "a"), ruling.connect_to(&who)]
    {
        assert_eq!(refused.unwrap_err().to_string(), sentence);
    }
}

#[test]
fn without_a_rule_everything_is_as_the_host_says() {
    let (who, none) = (caller(9, &[]), Ruling::default());
    let host = Limits::new(&config::Limits::default(), 4096);
    assert_eq!(none.limits(&host), host);
    for allowed in
        [none.enter(&who), none.define(&who), none.profile(&who, "a"), none.role(&who, Role::Client)]
    {
        allowed.unwrap();
    }
    assert_eq!(none.floor(Version::Tls12, None), (Version::Tls12, None));
}

#[test]
fn of_two_floors_the_stricter_counts() {
    let strict = Rule {
        minimum: Some(Version::Tls13),
        level: Some(Level::Modern),
        ..rule("strict", Grant::everyone())
    };
    let ruling = Rules::new([strict]).of(&caller(1, &[]), None);
    assert_eq!(ruling.floor(Version::Tls12, None), (Version::Tls13, Some(Level::Modern)));
    let highest = Some(Level::PostQuantumRequired);
    assert_eq!(ruling.floor(Version::Tls13, highest), (Version::Tls13, highest));
    let lax = Rule { minimum: Some(Version::Tls12), ..rule("lax", Grant::everyone()) };
    let ruling = Rules::new([lax]).of(&caller(1, &[]), None);
    assert_eq!(ruling.floor(Version::Tls13, Some(Level::Modern)), (Version::Tls13, Some(Level::Modern)));
}
