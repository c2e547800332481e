//! A rule's floor is for whom the rule is about: the stricter of the host's and the rule's binds requests, the caller's
//! own profiles and the operator's, also when it comes with a reload.

use tlsify_client::{Accept, Client, Code, Connect, Error, Level, Profile, Trust, Version};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13, client_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{KeyKind, Open, Peer, TestDaemon, User, outgoing, pki, running, tcp_pair, user};

use super::{define, refused, reload};

const RULE: &str = "[[rule]]\nname = \"new\"\nusers = [\"*\"]\nlevel = \"modern\"\n";

fn shop(more: &str) -> String {
    let good = pki().server(KeyKind::EcdsaP256);
    server_profile("shop", &format!("users = [\"*\"]\n{more}"), &good.certificate_file, &good.key_file)
}

/// What comes of it when a client of TLS 1.2 alone, or of 1.3 alone, comes to this profile.
fn level(client: &Client, profile: &str, old: bool) -> Result<Option<Level>, Error> {
    let (ours, net) = tcp_pair();
    let versions = if old { ONLY_TLS12 } else { ONLY_TLS13 };
    let config = client_config(pki().ca.roots(), versions, None);
    let peer = running("client", move || Peer::client(ours, config, SERVER_NAME).handshake());
    let open = client.accept(&Accept::new(net).profile(profile)).map(Open::new);
    let _ = peer.join();
    open.map(|open| open.facts.level)
}

#[track_caller]
fn assert_no_old_peer(result: Result<Option<Level>, Error>) {
    assert_eq!(result.unwrap_err().code(), Some(Code::NoSharedVersion));
}

#[test]
fn a_rules_floor_binds_requests_own_profiles_and_the_operators_and_is_named() {
    let daemon = TestDaemon::with_config(format!("{RULE}{}", shop("")));
    let client = daemon.client();
    let hello = client.hello();
    assert_eq!((hello.floor, hello.level), (Version::Tls13, Some(Level::Modern)));
    define(&client, "own", pki().server(KeyKind::EcdsaP256)).unwrap();
    for profile in ["shop", "own"] {
        assert_no_old_peer(level(&client, profile, true));
        assert!(level(&client, profile, false).unwrap() >= Some(Level::Modern), "{profile}");
    }
    let (net, _theirs) = tcp_pair();
    let told = refused(client.connect_tls(&outgoing::connect(net).max_version(Version::Tls12)));
    assert_eq!((told.code, told.about.as_deref()), (Code::BelowFloor, Some("max")), "{told:?}");
    assert!(told.text.ends_with("(rule \"new\")"), "{told:?}");
    let old = refused(client.define(&Profile::client("old").level(Level::Intermediate)));
    assert!(old.code == Code::BelowFloor && old.text.ends_with("(rule \"new\")"), "{old:?}");
}

#[test]
fn a_rules_floor_that_comes_or_goes_with_a_reload_binds_what_there_is() {
    let daemon = TestDaemon::with_config(shop(""));
    let client = daemon.client();
    define(&client, "own", pki().server(KeyKind::EcdsaP256)).unwrap();
    client
        .define(&Profile::client("old").trust(Trust::ca(pki().ca.fd())).max_version(Version::Tls12))
        .unwrap();
    let both = ["shop", "own"];
    for profile in both {
        assert_eq!(level(&client, profile, true).unwrap(), Some(Level::Intermediate));
    }
    reload(&daemon, &format!("{RULE}{}", shop("")));
    both.iter().for_each(|profile| assert_no_old_peer(level(&client, profile, true)));
    let (net, _theirs) = tcp_pair();
    let told = refused(client.connect_tls(&Connect::new(net).name(SERVER_NAME).profile("old")));
    assert!(told.code == Code::BelowFloor && told.text.ends_with("(rule \"new\")"), "{told:?}");
    // The host's is stricter than the rule's: no sentence sends anybody to the rule.
    let host = "[tls]\nlevel = \"modern\"\n[[rule]]\nname = \"new\"\nusers = [\"*\"]\nminimum = \"1.3\"\n";
    reload(&daemon, &format!("{host}{}", shop("")));
    let (net, _theirs) = tcp_pair();
    let told = refused(client.connect_tls(&Connect::new(net).name(SERVER_NAME).profile("old")));
    assert!(told.code == Code::BelowFloor && !told.text.contains("rule"), "{told:?}");
    both.iter().for_each(|profile| assert_no_old_peer(level(&client, profile, true)));
    reload(&daemon, &shop(""));
    for profile in both {
        assert_eq!(level(&client, profile, true).unwrap(), Some(Level::Intermediate));
    }
}

#[test]
fn one_users_floor_is_not_anothers_with_the_same_profile() {
    if !user::is_root("one_users_floor_is_not_anothers_with_the_same_profile") {
        return;
    }
    let rule = RULE.replace("\"*\"", "1001");
    let daemon = TestDaemon::with_config(format!("{rule}{}", shop("")));
    let [strict, other] = [1001, 1002].map(|uid| User::new(uid).client(&daemon));
    for _ in 0..2 {
        assert_no_old_peer(level(&strict, "shop", true));
        assert_eq!(level(&other, "shop", true).unwrap(), Some(Level::Intermediate));
    }
}

#[test]
fn an_operators_profile_below_a_rules_floor_is_refused_and_warned_of() {
    let rule = format!("{RULE}profiles = [\"shop\"]\n{}", shop("maximum = \"1.2\""));
    let daemon = TestDaemon::with_config(rule);
    let told = refused(super::try_profile(&daemon.client(), "shop"));
    assert!(told.code == Code::BelowFloor && told.text.ends_with("(rule \"new\")"), "{told:?}");
    let log = daemon.log();
    assert!(
        log.contains("rule \"new\": profile \"shop\": ") || log.contains("rule \\\"new\\\": profile"),
        "{log}"
    );
}
