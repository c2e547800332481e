//! Profiles: a caller's own live as long as its connection, an operator's are for whom the operator names.

use tlsify_client::{Accept, Blame, Code, Connect, Profile, Scope, Trust};
use tlsifyd_tests::handover::{client_peer, open_as};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{KeyKind, Peer, RawCaller, TestDaemon, User, pki, tcp_pair, user};

use super::{assert_usable, define, refused, try_profile};

/// A configuration with one server's profile for these users and groups.
fn config(name: &str, who: &str) -> String {
    let identity = pki().server(KeyKind::EcdsaP256);
    format!(
        "[[profile]]\nname = \"{name}\"\nrole = \"server\"\n{who}\n[[profile.identity]]\n\
         certificate = \"{}\"\nkey = \"{}\"\n",
        identity.certificate_file.display(),
        identity.key_file.display()
    )
}

#[track_caller]
fn assert_shows(peer: &Peer, identity: &Identity) {
    assert_eq!(peer.tls.peer_certificates().expect("a server has one"), identity.chain());
}

#[test]
fn replacing_a_profile_changes_the_sessions_that_follow_and_no_other() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (old, new) = (pki().server(KeyKind::EcdsaP256), pki().server(KeyKind::Ed25519));
    define(&client, "shop", old).unwrap();
    let mut early = open_as(&client, "shop");
    // Handed over with the old one, and not yet begun by the peer.
    let (ours, net) = tcp_pair();
    let pending = client.start_accept(&Accept::new(net).profile("shop")).unwrap();
    define(&client, "shop", new).unwrap();
    assert_shows(&open_as(&client, "shop").peer, new);
    let mut between = client_peer(ours);
    between.handshake().unwrap();
    pending.wait().unwrap();
    assert_shows(&between, old);
    assert_shows(&early.peer, old);
    early.assert_alive();
    assert_eq!(client.status(Scope::Own, false).unwrap().profiles, 1);
}

#[test]
fn a_replacement_that_is_refused_leaves_the_old_profile_as_it_was() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (good, other) = (pki().server(KeyKind::EcdsaP256), pki().server(KeyKind::Ed25519));
    define(&client, "shop", good).unwrap();
    let mixed = Profile::server("shop").certificate(other.certificate_fd()).key(good.key_fd());
    assert_eq!(refused(client.define(&mixed)).code, Code::KeyMismatch);
    assert_eq!(refused(client.define(&Profile::client("shop").ciphers(["TLS_NONE"]))).code, Code::BadValue);
    assert_shows(&open_as(&client, "shop").peer, good);
}

#[test]
fn a_profile_is_its_connections_alone() {
    let daemon = TestDaemon::start();
    let (one, other) = (daemon.client(), daemon.client());
    define(&one, "shop", pki().server(KeyKind::EcdsaP256)).unwrap();
    let stranger = refused(try_profile(&other, "shop"));
    let told = (stranger.code, stranger.blame, stranger.about.as_deref());
    assert_eq!(told, (Code::UnknownProfile, Blame::Caller, Some("profile")), "{stranger:?}");
    assert_usable(&one, "shop");
}

#[test]
fn a_profile_is_for_its_role_and_a_clients_needs_somebody_to_mean() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    define(&client, "server", pki().server(KeyKind::EcdsaP256)).unwrap();
    client.define(&Profile::client("client").trust(Trust::ca(pki().ca.fd()))).unwrap();
    let net = || tcp_pair().1;
    let wrong = refused(client.connect_tls(&Connect::new(net()).name(SERVER_NAME).profile("server")));
    assert_eq!((wrong.code, wrong.about.as_deref()), (Code::ProfileRole, Some("profile")), "{wrong:?}");
    assert_eq!(refused(try_profile(&client, "client")).code, Code::ProfileRole);
    let nobody = refused(client.connect_tls(&Connect::new(net()).profile("client")));
    assert_eq!((nobody.code, nobody.about.as_deref()), (Code::MissingKey, Some("name")), "{nobody:?}");
}

#[test]
fn keys_beside_a_profile_are_refused_by_name() {
    let daemon = TestDaemon::with_config(config("mail", "users = [\"*\"]"));
    // The library does not even send them.
    let caller = RawCaller::connect(daemon.socket());
    let (_ours, net) = tcp_pair();
    for (key, value) in [("alpn", "h2"), ("min", "1.3"), ("client-certificate", "none"), ("trust", "system")]
    {
        let text = format!("tlsify/1 accept\nid=1\nfds=net\nprofile=mail\n{key}={value}\n");
        caller.ask(text, &[&net]).assert_refused("key-conflict", Some(key));
    }
    let server = pki().server(KeyKind::EcdsaP256);
    let text = "tlsify/1 accept\nid=1\nfds=net certificate key\nprofile=mail\n";
    let answer = caller.ask(text, &[&net, &server.certificate_fd(), &server.key_fd()]);
    answer.assert_refused("key-conflict", Some("fds"));
}

#[test]
fn an_operators_profile_is_for_the_users_and_groups_that_it_names() {
    if !user::is_root("an_operators_profile_is_for_the_users_and_groups_that_it_names") {
        return;
    }
    let daemon = TestDaemon::with_config(config("mail", "users = [1001]\ngroups = [2001]"));
    let in_group = User { groups: vec![7, 2001], ..User::new(1003) };
    let primary = User { gid: 2001, ..User::new(1004) };
    for allowed in [User::new(1001), in_group, primary] {
        assert_usable(&allowed.client(&daemon), "mail");
    }
    // A user with the number of the group, a group with that of the user, and root, who was not named.
    let swapped = User { gid: 1001, groups: vec![1001], ..User::new(1005) };
    let number = User { gid: 9, ..User::new(2001) };
    let clients = [number.client(&daemon), swapped.client(&daemon), daemon.client()];
    for client in clients {
        let refused = refused(try_profile(&client, "mail"));
        let told = (refused.code, refused.blame, refused.about.as_deref());
        assert_eq!(told, (Code::ProfileNotAllowed, Blame::Operator, Some("profile")), "{refused:?}");
    }
}

#[test]
fn a_callers_own_profile_comes_before_the_operators_and_hides_it_from_nobody_else() {
    let daemon = TestDaemon::with_config(config("mail", "users = [\"*\"]"));
    let (one, other) = (daemon.client(), daemon.client());
    let own = pki().server(KeyKind::Ed25519);
    assert_shows(&open_as(&one, "mail").peer, pki().server(KeyKind::EcdsaP256));
    define(&one, "mail", own).unwrap();
    assert_shows(&open_as(&one, "mail").peer, own);
    assert_shows(&open_as(&other, "mail").peer, pki().server(KeyKind::EcdsaP256));
}
