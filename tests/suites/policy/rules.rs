//! What a rule forbids is refused by the rule's name, the first rule that is about a caller counts alone, and nobody else
//! notices.

use tlsify_client::{
    Accept, Blame, Client, ClientCertificate, Code, Connect, Error, Profile, Refused, Trust,
};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::handover::{accept, begin, open, open_as};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{KeyKind, TestDaemon, User, outgoing, pki, tcp_pair, user};

use super::{assert_usable, define, refused, reload, try_profile};

/// Two server's profiles for everybody.
fn profiles() -> String {
    let good = pki().server(KeyKind::EcdsaP256);
    ["shop", "mail"]
        .map(|name| server_profile(name, "users = [\"*\"]", &good.certificate_file, &good.key_file))
        .concat()
}

/// What a refusal has to say.
#[track_caller]
fn assert_says(refused: &Refused, code: Code, about: Option<&str>, text: &str) {
    let told = (refused.code, refused.blame, refused.about.as_deref());
    assert_eq!(told, (code, Blame::Operator, about), "{refused:?}");
    assert_eq!(refused.text, text);
}

#[test]
fn who_may_use_one_profile_may_use_no_other_and_say_nothing_of_its_own() {
    let rule = "[[rule]]\nname = \"web\"\nusers = [\"*\"]\nprofiles = [\"shop\"]\ndefine = false\nroles = [\"server\"]\n";
    let daemon = TestDaemon::with_config(format!("{rule}{}", profiles()));
    let (client, uid) = (daemon.client(), rustix::process::geteuid().as_raw());
    let baseline = daemon.baseline();
    open_as(&client, "shop").assert_alive();
    let told = refused(try_profile(&client, "mail"));
    let text = format!("uid {uid} may not use profile \"mail\" (rule \"web\")");
    assert_says(&told, Code::ProfileNotAllowed, Some("profile"), &text);
    let text = format!(
        "uid {uid} may not say parameters of its own, only the operator's profiles are for it (rule \"web\")"
    );
    let (_ours, net) = tcp_pair();
    assert_says(&refused(client.accept(&accept(net))), Code::NotPermitted, Some("profile"), &text);
    let told = refused(define(&client, "shop", pki().server(KeyKind::EcdsaP256)));
    assert_says(&told, Code::NotPermitted, Some("profile"), &text);
    let (net, _theirs) = tcp_pair();
    let told = refused(client.connect_tls(&outgoing::connect(net)));
    assert_says(
        &told,
        Code::NotPermitted,
        None,
        &format!("uid {uid} may not be a TLS client (rule \"web\")"),
    );
    let unknown = refused(try_profile(&client, "nobodys"));
    assert_eq!(unknown.code, Code::UnknownProfile, "{unknown:?}");
    daemon.settled_fds(&baseline);
}

#[test]
fn a_profile_that_is_chosen_for_a_peer_is_under_the_rule_too() {
    let rule = "[[rule]]\nname = \"web\"\nusers = [\"*\"]\nprofiles = [\"shop\"]\n";
    let daemon = TestDaemon::with_config(format!("{rule}{}", profiles()));
    let caller = tlsifyd_tests::RawCaller::connect(daemon.socket());
    let (ours, net) = tcp_pair();
    caller.send("tlsify/1 accept\nid=1\nfds=net\nprofile=shop\nask=client-hello\n", &[&net]);
    let mut peer = tlsifyd_tests::handover::client_peer(ours);
    let peer = tlsifyd_tests::running("peer", move || peer.handshake().map(|()| peer));
    assert_eq!(caller.answer().verb(), "client-hello");
    caller
        .ask("tlsify/1 choose\nid=1\naction=profile\nprofile=mail\n", &[])
        .assert_refused("profile-not-allowed", Some("profile"));
    caller.send("tlsify/1 choose\nid=1\naction=own\n", &[]);
    assert_eq!(caller.answer().verb(), "established", "the question stayed open");
    peer.join().expect("the handshake is done");
}

#[test]
fn whom_callers_trust_is_the_rules_to_say() {
    let store = format!("[[store]]\nname = \"good\"\nfile = \"{}\"\n", pki().ca.file.display());
    let rule =
        "[[rule]]\nname = \"reports\"\nusers = [\"*\"]\nstores = [\"pins\", \"good\"]\nconnect-to = false\n";
    let daemon = TestDaemon::with_config(format!("{store}{rule}"));
    let (client, uid) = (daemon.client(), rustix::process::geteuid().as_raw());
    let net = || tcp_pair().0;
    let told = |request: &Connect| refused(client.connect_tls(request));
    let denied = |what: &str| format!("uid {uid} may not {what} (rule \"reports\")");
    let system = told(&Connect::new(net()).name(SERVER_NAME));
    assert_says(&system, Code::StoreNotAllowed, Some("trust"), &denied("trust the system's authorities"));
    let bundle = told(&outgoing::connect(net()));
    assert_says(&bundle, Code::StoreNotAllowed, Some("trust"), &denied("bring authorities of its own"));
    let profile = refused(client.define(&Profile::client("c")));
    assert_eq!(profile.code, Code::StoreNotAllowed, "{profile:?}");
    // A server that asks its clients for certificates trusts somebody, and one that does not trusts nobody.
    let asking = |accept: Accept| accept.trust(Trust::ca(pki().ca.fd()));
    let asks = asking(accept(tcp_pair().1)).client_certificate(ClientCertificate::Required);
    assert_eq!(refused(client.accept(&asks)).code, Code::StoreNotAllowed);
    open(&client).assert_alive();
    let pin = pki().server(KeyKind::EcdsaP256).spki_pin();
    for trust in [Trust::Store("good".to_owned()), Trust::Pins] {
        let (net, theirs) = tcp_pair();
        let request = Connect::new(net).name(SERVER_NAME).trust(trust).pin(pin);
        let mut peer = outgoing::server_peer(theirs);
        let peer = tlsifyd_tests::running("server", move || peer.handshake());
        client.connect_tls(&request).unwrap();
        peer.join().unwrap();
    }
    let to = Connect::to("127.0.0.1:9").expect("sockets").name(SERVER_NAME).trust(Trust::Pins).pin(pin);
    assert_says(&told(&to), Code::NotPermitted, Some("to"), &denied("have sockets connected"));
}

#[test]
fn the_first_rule_about_a_user_or_group_counts_and_the_numbers_are_its_own() {
    if !user::is_root("the_first_rule_about_a_user_or_group_counts_and_the_numbers_are_its_own") {
        return;
    }
    let rules = "[[rule]]\nname = \"one\"\nusers = [1001]\nsessions = 1\n\
                 [[rule]]\nname = \"group\"\ngroups = [2001]\nsessions = 2\nconnections = 3\nprofiles-defined = 1\n\
                 [limits]\nsessions = 3\n";
    let daemon = TestDaemon::with_config(rules);
    let in_both = User { groups: vec![2001], ..User::new(1001) };
    let in_group = User { groups: vec![7, 2001], ..User::new(1002) };
    for (who, sessions, rule) in
        [(in_both, 1, Some("one")), (in_group.clone(), 2, Some("group")), (User::new(1003), 3, None)]
    {
        let client = who.client(&daemon);
        assert_eq!(client.hello().max_sessions, sessions, "{who:?}");
        let mut open: Vec<_> = (0..sessions).map(|_| open(&client)).collect();
        let (_ours, net) = tcp_pair();
        let told = refused(client.accept(&accept(net)));
        assert_eq!((told.code, told.blame), (Code::Quota, Blame::Caller), "{told:?}");
        let name = rule.map(|rule| format!("(rule \"{rule}\")"));
        assert!(name.is_none_or(|name| told.text.ends_with(&name)), "{told:?}");
        assert_eq!(rule.is_none(), !told.text.contains("(rule"), "{told:?}");
        open.iter_mut().for_each(tlsifyd_tests::handover::Open::assert_alive);
    }
    let _clients = [in_group.client(&daemon), in_group.client(&daemon)];
    let client = in_group.client(&daemon);
    let told = refused(in_group.run(|| Client::connect_to(daemon.socket())));
    assert!(
        told.text.ends_with("3 control connections, as many as a user may have at once (rule \"group\")"),
        "{told:?}"
    );
    define(&client, "a", pki().server(KeyKind::EcdsaP256)).unwrap();
    let told = refused(define(&client, "b", pki().server(KeyKind::EcdsaP256)));
    assert!(told.text.contains("1 profiles") && told.text.ends_with("(rule \"group\")"), "{told:?}");
}

#[test]
fn who_is_denied_hears_so_first_is_closed_and_is_in_the_log() {
    if !user::is_root("who_is_denied_hears_so_first_is_closed_and_is_in_the_log") {
        return;
    }
    let daemon = TestDaemon::with_config("[[rule]]\nname = \"guests\"\nusers = [1001]\ndeny = true\n");
    let baseline = daemon.baseline();
    let (guest, other) = (User::new(1001), User::new(1002).client(&daemon));
    for _ in 0..20 {
        let told = refused(guest.run(|| Client::connect_to(daemon.socket())));
        assert_says(&told, Code::NotPermitted, None, "uid 1001 may not use this daemon (rule \"guests\")");
    }
    let line = "uid 1001 may not use this daemon (rule \"guests\")";
    let said = until(LIMIT, || daemon.log().contains("turned away").then_some(())).is_some();
    let log = daemon.log();
    assert!(said && log.contains(&line.replace('"', "\\\"")) | log.contains(line), "{log}");
    // Twenty in a second or two are no twenty lines.
    assert!(log.matches("turned away").count() < 10, "{log}");
    open(&other).assert_alive();
    drop(other);
    daemon.settled_fds(&baseline);
}

#[test]
fn a_rule_that_comes_with_a_reload_counts_from_the_next_request_and_ends_no_session() {
    let daemon = TestDaemon::with_config(profiles());
    let client = daemon.client();
    define(&client, "own", pki().server(KeyKind::EcdsaP256)).unwrap();
    let (mut early, mut own) = (open(&client), open_as(&client, "own"));
    let rule = "[[rule]]\nname = \"late\"\nusers = [\"*\"]\n";
    reload(&daemon, &format!("{rule}define = false\n{}", profiles()));
    let told = refused(try_profile(&client, "own"));
    assert!(told.code == Code::NotPermitted && told.text.ends_with("(rule \"late\")"), "{told:?}");
    assert_usable(&client, "shop");
    reload(&daemon, &format!("{rule}deny = true\n{}", profiles()));
    for told in [
        refused(try_profile(&client, "shop")),
        refused(try_profile(&client, "own")),
        refused(define(&client, "own", pki().server(KeyKind::EcdsaP256))),
    ] {
        assert!(
            told.code == Code::NotPermitted && told.text.ends_with("may not use this daemon (rule \"late\")"),
            "{told:?}"
        );
    }
    assert!(matches!(Client::connect_to(daemon.socket()), Err(Error::Refused(_))));
    for session in [&mut early, &mut own] {
        session.assert_alive();
    }
    // The connection is counted where it belongs now.
    reload(&daemon, &format!("{rule}connections = 1\n"));
    assert_usable(&client, "own");
    let told = refused(Client::connect_to(daemon.socket()));
    assert!(told.text.contains("has 1 control connections"), "{told:?}");
    reload(&daemon, "");
    assert_usable(&client, "own");
    assert!(Client::connect_to(daemon.socket()).is_ok());
}

#[test]
fn a_store_that_is_forbidden_later_is_forbidden_to_what_was_defined_with_it() {
    let daemon = TestDaemon::with_config("");
    let client = daemon.client();
    client.define(&Profile::client("c").trust(Trust::ca(pki().ca.fd()))).unwrap();
    let begun = |profile: &str| {
        let (net, theirs) = tcp_pair();
        drop(theirs);
        client.connect_tls(&Connect::new(net).name(SERVER_NAME).profile(profile))
    };
    assert!(matches!(begun("c"), Err(Error::Failed(_))));
    reload(&daemon, "[[rule]]\nname = \"late\"\nusers = [\"*\"]\nstores = [\"system\"]\n");
    let told = refused(begun("c"));
    assert_eq!((told.code, told.about.as_deref()), (Code::StoreNotAllowed, Some("trust")), "{told:?}");
    let (waiting, _peer) = begin(&client, |accept| accept);
    waiting.cancel().unwrap();
}
