//! How workers end: with nothing to do, and with the daemon.

use tlsify_client::Client;
use tlsifyd_tests::handover::{open, open_as};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{TestDaemon, User, exclusive, running};

use super::{ONE, OTHER, client, daemon, impatient, is_root, worker_now, worker_of, workers};

/// Waits until no user has a worker.
fn all_idle(daemon: &TestDaemon) {
    until(LIMIT, || workers(daemon).is_empty().then_some(()))
        .unwrap_or_else(|| panic!("there are workers still: {:?}\n{}", daemon.parts(), daemon.log()));
}

#[test]
fn a_worker_with_nothing_to_do_ends_and_the_next_caller_is_served() {
    if !is_root() {
        return;
    }
    let daemon = impatient(200);
    let stays = client(&daemon, OTHER);
    let mut session = open_as(&client(&daemon, ONE), "web");
    // Its caller has left, and the session is open still.
    let first = worker_of(&daemon, ONE);
    let idle = User::new(1003).client(&daemon);
    drop(idle);
    until(LIMIT, || worker_now(&daemon, 1003).is_none().then_some(())).expect("that one had nothing to do");
    session.assert_alive();
    assert_eq!(worker_now(&daemon, ONE), Some(first));
    drop(session);
    until(LIMIT, || worker_now(&daemon, ONE).is_none().then_some(())).expect("nothing is left to do");
    open_as(&client(&daemon, ONE), "web").assert_alive();
    open_as(&stays, "web").assert_alive();
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
}

#[test]
fn callers_who_come_while_a_worker_ends_are_all_served() {
    if !is_root() {
        return;
    }
    // Asked each millisecond, and ended with the fourth answer.
    let daemon = impatient(4);
    let callers: Vec<_> = [ONE, OTHER, 1003]
        .into_iter()
        .map(|uid| {
            drop(client(&daemon, uid));
            let socket = daemon.socket();
            running("a caller", move || {
                User::new(uid).run(|| {
                    for round in 0..60_u64 {
                        // From no pause to one in which a worker ends.
                        std::thread::sleep(std::time::Duration::from_micros(round * 331 % 12_000));
                        let client = Client::connect_to(&socket).expect("somebody serves");
                        assert!(client.hello().versions.contains(&1));
                    }
                });
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join_within(LIMIT * 4));
    assert!(!daemon.log().contains("ERROR"), "{}", daemon.log());
}

#[test]
fn no_descriptor_is_lost_with_workers_that_come_and_go() {
    if !is_root() {
        return;
    }
    let _alone = exclusive();
    let daemon = impatient(100);
    all_idle(&daemon);
    // A first round, for what a daemon keeps that has served once.
    let round = || {
        let clients = [client(&daemon, ONE), client(&daemon, OTHER)];
        clients.iter().for_each(|client| open(client).assert_alive());
        open_as(&clients[0], "web").assert_alive();
        super::kill_worker(&daemon, OTHER);
        drop(clients);
        all_idle(&daemon);
    };
    round();
    let baseline = daemon.baseline();
    round();
    round();
    daemon.settled_fds(&baseline);
}

#[test]
fn sigterm_lets_the_sessions_of_all_users_finish() {
    if !is_root() {
        return;
    }
    let daemon = daemon();
    let clients = [client(&daemon, ONE), client(&daemon, OTHER)];
    let mut sessions = [open_as(&clients[0], "web"), open_as(&clients[1], "web")];
    daemon.terminate();
    until(LIMIT, || (!daemon.socket().exists()).then_some(())).expect("nobody is let in any more");
    let [one, other] = &mut sessions;
    one.assert_alive();
    other.assert_alive();
    drop(clients);
    let [one, mut other] = sessions;
    drop(one);
    // The last one of another user's holds the daemon.
    until(LIMIT, || worker_now(&daemon, ONE).is_none().then_some(())).expect("it has finished");
    other.assert_alive();
    assert!(daemon.poll().is_none());
    drop(other);
    assert!(daemon.wait().success(), "{}", daemon.log());
}

#[test]
fn a_second_sigterm_ends_the_sessions_of_all_users() {
    if !is_root() {
        return;
    }
    let daemon = daemon();
    let clients = [client(&daemon, ONE), client(&daemon, OTHER)];
    let sessions = [open_as(&clients[0], "web"), open_as(&clients[1], "web")];
    daemon.terminate();
    until(LIMIT, || (!daemon.socket().exists()).then_some(())).expect("the first was heard");
    daemon.terminate();
    for session in &sessions {
        let ended = session.established.session.ended().expect("it is told");
        assert_eq!(ended.how, tlsify_client::How::Drained);
    }
    assert!(daemon.wait().success(), "{}", daemon.log());
}
