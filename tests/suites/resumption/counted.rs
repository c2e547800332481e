//! What `status` says of stores, and what `forget` leaves of them.

use std::collections::HashMap;

use tlsify_client::{Client, Code, Role, Scope};
use tlsifyd_tests::user::is_root;
use tlsifyd_tests::{RawCaller, TestDaemon, TicketServer, User};

use super::served::{session, visitor, with_good};
use super::{EACH, good};

/// The lines, word by word.
pub(crate) fn stores(client: &Client, scope: Scope) -> Vec<HashMap<String, String>> {
    let text = client.stores(scope).unwrap();
    let word = |word: &str| word.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().map(|line| line.split(' ').map(|it| word(it).expect("key=value")).collect()).collect()
}

/// The counts of this role's store.
#[track_caller]
fn counts<const N: usize>(client: &Client, role: &str, store: &str, keys: [&str; N]) -> [u64; N] {
    let lines = stores(client, Scope::Own);
    let line = lines.iter().find(|line| line["role"] == role && line["store"] == store);
    let line = line.unwrap_or_else(|| panic!("no {role} {store} in {lines:?}"));
    keys.map(|key| line[key].parse().unwrap())
}

#[test]
fn nothing_is_listed_before_somebody_asks_to_resume() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    session(&client, &visitor(EACH[1]), with_good);
    assert!(stores(&client, Scope::Own).is_empty());
    assert_eq!(client.forget("web", None).unwrap(), 0);
}

#[test]
fn a_servers_store_tells_what_became_of_the_tickets() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let told = || counts(&client, "server", "web", ["keys", "issued", "offered", "accepted"]);
    let refused = || counts(&client, "server", "web", ["unknown-key", "other-profile", "too-old"]);
    let visitor = visitor(EACH[1]);
    let ask = |request| with_good(request).resume("web");
    session(&client, &visitor, ask);
    assert_eq!(told(), [1, 1, 0, 0]);
    for _ in 0..2 {
        session(&client, &visitor, ask);
    }
    assert_eq!((told(), refused()), ([1, 3, 2, 2], [0, 0, 0]));
    session(&client, &visitor, |request| ask(request).alpn(["h2"]));
    assert_eq!((told(), refused()), ([1, 4, 3, 2], [0, 1, 0]));
    session(&client, &visitor, |request| with_good(request).resume("other"));
    let other = counts(&client, "server", "other", ["offered", "accepted", "unknown-key"]);
    assert_eq!((other, stores(&client, Scope::Own).len()), ([1, 0, 1], 2));
}

#[test]
fn a_forgotten_server_store_opens_none_of_its_tickets_and_begins_anew() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for versions in EACH {
        let visitor = visitor(versions);
        let asked = || session(&client, &visitor, |request| with_good(request).resume("web")).resumed;
        assert_eq!((asked(), asked()), (false, true));
        // Not this one.
        assert_eq!(client.forget("web", Some(Role::Client)).unwrap(), 0);
        assert!(asked());
        assert_eq!(client.forget("web", Some(Role::Server)).unwrap(), 1);
        assert!(stores(&client, Scope::Own).is_empty());
        assert_eq!((asked(), asked()), (false, true));
        assert_eq!(client.forget("web", None).unwrap(), 1);
    }
}

#[test]
fn a_forgotten_client_store_shows_no_ticket() {
    let daemon = TestDaemon::start();
    let (client, caller) = (daemon.client(), RawCaller::connect(daemon.socket()));
    for versions in EACH {
        let server = TicketServer::new(good(), versions);
        let asked = || super::resumed(&caller, "resume=mine\n", &server);
        assert_eq!((asked(), asked()), (false, true));
        let [tickets, bytes, offered, accepted] =
            counts(&client, "client", "mine", ["tickets", "bytes", "offered", "accepted"]);
        assert!(tickets > 0 && bytes > 0, "{tickets} {bytes}");
        assert_eq!((offered, accepted), (1, 1));
        server.shown();
        assert_eq!(client.forget("mine", Some(Role::Server)).unwrap(), 0);
        assert_eq!(client.forget("mine", None).unwrap(), 1);
        assert!(stores(&client, Scope::Own).is_empty());
        assert!(!asked());
        assert_eq!(server.shown(), 0);
        assert_eq!(client.forget("mine", None).unwrap(), 1);
    }
}

#[test]
fn nobody_sees_or_empties_another_users_store_but_root_sees_all() {
    if !is_root("another user's store") {
        return;
    }
    let daemon = TestDaemon::start();
    let [first, second] = [12_345, 54_321].map(|uid| User::new(uid).client(&daemon));
    let visitor = visitor(EACH[1]);
    let asked = || session(&first, &visitor, |request| with_good(request).resume("web")).resumed;
    assert!(!asked());
    assert!(stores(&second, Scope::Own).is_empty());
    assert_eq!(second.stores(Scope::All).unwrap_err().code(), Some(Code::NotPermitted));
    assert_eq!(second.forget("web", None).unwrap(), 0);
    assert!(asked());
    let root = daemon.client();
    assert!(stores(&root, Scope::Own).is_empty());
    assert_eq!(stores(&root, Scope::All)[0]["uid"], "12345");
    assert_eq!(root.forget("web", None).unwrap(), 0, "its own, of which there is none");
    assert!(asked());
}
