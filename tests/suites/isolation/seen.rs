//! What `status` shows where nobody has it all.

use tlsify_client::{Blame, Client, Code, Error, Inventory, Scope};
use tlsifyd_tests::TestDaemon;
use tlsifyd_tests::handover::{begin, open, open_as};

use super::{ONE, OTHER, client, config, is_root, worker_of};

const OPERATOR: u32 = 1009;

fn lines(client: &Client, scope: Scope) -> Vec<String> {
    let status = client.status(scope, true).expect("it may");
    let text = status.list_text().expect("a list");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn the_operator_sees_all_users_and_each_user_itself_alone() {
    if !is_root() {
        return;
    }
    let daemon = TestDaemon::with_config(config(&format!("[status]\noperators = [{OPERATOR}]")));
    let [one, other, operator] = [ONE, OTHER, OPERATOR].map(|uid| client(&daemon, uid));
    let root = daemon.client();
    let _sessions = (open(&one), open_as(&other, "web"), open(&other));
    let (_pending, _peer) = begin(&one, |accept| accept);
    for (client, uid, count) in [(&one, ONE, 2), (&other, OTHER, 2), (&operator, OPERATOR, 0)] {
        let own = lines(client, Scope::Own);
        assert_eq!(own.len(), count, "{own:?}");
        assert!(own.iter().all(|line| line.starts_with(&format!("uid={uid} "))), "{own:?}");
    }
    match one.status(Scope::All, true) {
        Err(Error::Refused(refused)) => {
            assert_eq!((refused.code, refused.blame), (Code::NotPermitted, Blame::Operator));
        }
        other => panic!("not refused: {other:?}"),
    }
    for client in [&operator, &root] {
        let all = lines(client, Scope::All);
        let of = |uid: u32| all.iter().filter(|line| line.starts_with(&format!("uid={uid} "))).count();
        assert_eq!((of(ONE), of(OTHER), all.len()), (2, 2, 4), "{all:?}");
        let status = client.status(Scope::All, false).expect("it may");
        assert_eq!((status.sessions, status.handshakes, status.callers), (3, 1, 4), "{status:?}");
        let everything = Inventory::of(Scope::All).stores().callers();
        let status = client.inventory(everything).expect("it may");
        assert!(status.list.is_none());
        let callers = status.callers_text().expect("a list");
        for uid in [0, ONE, OTHER, OPERATOR] {
            assert!(callers.lines().any(|line| line.starts_with(&format!("uid={uid} "))), "{callers}");
        }
    }
}

#[test]
fn an_operator_is_answered_while_somebodys_worker_does_not() {
    if !is_root() {
        return;
    }
    let daemon = TestDaemon::with_config(config(""));
    let [one, other] = [ONE, OTHER].map(|uid| client(&daemon, uid));
    let _sessions = (open(&one), open(&other));
    let root = daemon.client();
    let stopped = nix::unistd::Pid::from_raw(worker_of(&daemon, ONE).try_into().expect("it fits"));
    nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGSTOP).expect("root may");
    let all = lines(&root, Scope::All);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].starts_with(&format!("uid={OTHER} ")), "{all:?}");
    nix::sys::signal::kill(stopped, nix::sys::signal::Signal::SIGCONT).expect("root may");
    assert_eq!(lines(&root, Scope::All).len(), 2);
}
