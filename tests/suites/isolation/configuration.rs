//! A reload reaches everybody, and isolation itself is decided at the start.

use nix::sys::signal::Signal;
use tlsify_client::{Accept, Client, Code, Error};
use tlsifyd_tests::handover::open_as;
use tlsifyd_tests::{TestDaemon, User, tcp_pair};

use super::{ONE, OTHER, client, config, is_root, logged, profile, worker_of, workers};

fn code(client: &Client, profile: &str) -> Code {
    match client.accept(&Accept::new(tcp_pair().1).profile(profile)) {
        Err(Error::Refused(refused)) => refused.code,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn a_reload_reaches_the_workers_of_all_users_and_those_that_come_later() {
    if !is_root() {
        return;
    }
    let daemon = TestDaemon::with_config(config(&profile("old", &format!("users = [{ONE}]"))));
    let (one, other) = (client(&daemon, ONE), client(&daemon, OTHER));
    open_as(&one, "old").assert_alive();
    let mut session = open_as(&other, "web");
    daemon.write_config(&config(&profile("new", "users = [\"*\"]")));
    daemon.signal(Signal::SIGHUP);
    logged(&daemon, "configuration reloaded");
    let later = User::new(1003).client(&daemon);
    for client in [&one, &other, &later] {
        open_as(client, "new").assert_alive();
        assert_eq!(code(client, "old"), Code::UnknownProfile);
    }
    session.assert_alive();
    // One that makes no sense changes nothing for anybody.
    daemon.write_config("[sandbox]\nisolation = \"gid\"\n");
    daemon.signal(Signal::SIGHUP);
    logged(&daemon, "configuration not reloaded, the old one stays");
    for client in [&one, &other, &later] {
        open_as(client, "new").assert_alive();
    }
}

#[test]
fn who_changes_isolation_is_told_that_a_restart_is_needed() {
    if !is_root() {
        return;
    }
    let daemon = TestDaemon::with_config(profile("web", "users = [\"*\"]"));
    open_as(&client(&daemon, ONE), "web").assert_alive();
    daemon.write_config(&config(""));
    daemon.signal(Signal::SIGHUP);
    logged(&daemon, "isolation stays as it was at the start: changing it needs a restart");
    logged(&daemon, "configuration reloaded");
    let [one, other] = [ONE, OTHER].map(|uid| client(&daemon, uid));
    open_as(&one, "web").assert_alive();
    open_as(&other, "web").assert_alive();
    assert_eq!(workers(&daemon).len(), 1, "one for all, as before");
}

#[test]
fn a_key_that_a_reload_takes_from_a_user_is_not_signed_with_for_it_any_more() {
    if !is_root() {
        return;
    }
    // The same key stays another's.
    let both = format!("users = [{ONE}, {OTHER}]");
    let daemon = TestDaemon::with_config(config(&profile("shared", &both)));
    let clients = [client(&daemon, ONE), client(&daemon, OTHER)];
    clients.iter().for_each(|client| open_as(client, "shared").assert_alive());
    let before = worker_of(&daemon, ONE);
    daemon.write_config(&config(&profile("shared", &format!("users = [{OTHER}]"))));
    daemon.signal(Signal::SIGHUP);
    logged(&daemon, "configuration reloaded");
    assert_eq!(code(&clients[0], "shared"), Code::ProfileNotAllowed);
    open_as(&clients[1], "shared").assert_alive();
    assert_eq!(worker_of(&daemon, ONE), before);
}
