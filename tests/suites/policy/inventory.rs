//! `status`: everybody sees their own, root and the operator see all.

use tlsify_client::{Blame, Client, Code, Scope};
use tlsifyd_tests::handover::{begin, open};
use tlsifyd_tests::{TestDaemon, User, user};

use super::refused;

/// The lines of the list, each as its words up to the peer's address.
fn lines(client: &Client, scope: Scope) -> Vec<String> {
    let status = client.status(scope, true).unwrap();
    let text = status.list_text().unwrap();
    let mut lines: Vec<String> =
        text.lines().map(|line| line.split(" peer=").next().unwrap().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn the_list_has_a_line_for_each_session_and_each_handshake() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    assert!(client.status(Scope::Own, false).unwrap().list.is_none());
    assert_eq!(client.status(Scope::Own, true).unwrap().list_text().unwrap(), "");
    let mut session = open(&client);
    session.assert_alive();
    let (_pending, _peer) = begin(&client, |accept| accept);
    let status = client.status(Scope::Own, true).unwrap();
    assert_eq!((status.sessions, status.handshakes), (1, 1));
    let text = status.list_text().unwrap();
    let line = text.lines().find(|line| line.contains("state=established")).expect("one is open");
    let peer = session.peer.socket.local_addr().unwrap();
    for word in [
        format!("uid={}", rustix::process::geteuid().as_raw()),
        format!("pid={}", std::process::id()),
        "role=server".to_owned(),
        format!("peer={peer}"),
        "protocol=TLSv1.3".to_owned(),
        "server-name=server.example".to_owned(),
        "in=14".to_owned(),
        "out=11".to_owned(),
    ] {
        assert!(line.split(' ').any(|other| other == word), "no {word} in {line}");
    }
    assert_eq!(text.lines().filter(|line| line.contains("state=handshaking")).count(), 1, "{text}");
    session.established.session.cancel().unwrap();
    session.established.session.ended().unwrap();
    assert!(!lines(&client, Scope::Own).iter().any(|line| line.contains("state=established")));
}

#[test]
fn a_user_sees_own_sessions_only_and_root_and_the_operator_see_all() {
    if !user::is_root("a_user_sees_own_sessions_only_and_root_and_the_operator_see_all") {
        return;
    }
    let daemon = TestDaemon::with_config("[status]\noperators = [1009]\n");
    let [one, other, operator] = [1001, 1002, 1009].map(|uid| User::new(uid).client(&daemon));
    let root = daemon.client();
    let _sessions = (open(&one), open(&other), open(&other));
    for client in [&one, &other] {
        let refused = refused(client.status(Scope::All, true));
        let told = (refused.code, refused.blame, refused.about.as_deref());
        assert_eq!(told, (Code::NotPermitted, Blame::Operator, Some("scope")), "{refused:?}");
    }
    let own = |client: &Client, uid: u32| {
        let lines = lines(client, Scope::Own);
        assert!(lines.iter().all(|line| line.starts_with(&format!("uid={uid} "))), "{lines:?}");
        let status = client.status(Scope::Own, false).unwrap();
        (lines.len(), status.callers, status.sessions)
    };
    assert_eq!(own(&one, 1001), (1, 1, 1));
    assert_eq!(own(&other, 1002), (2, 1, 2));
    assert_eq!(own(&operator, 1009), (0, 1, 0));
    for client in [&operator, &root] {
        assert_eq!(lines(client, Scope::All).len(), 3);
        let status = client.status(Scope::All, false).unwrap();
        assert_eq!(status.sessions, 3);
        assert!(status.callers >= 4, "{status:?}");
    }
}
