//! The process that looks names up and connects: there when it is wanted, missed for a moment when it dies, and in nobody's
//! way when it stands still.

use std::net::Ipv4Addr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tlsify_client::{Blame, Client, Code, Scope, Socket};
use tlsifyd_tests::network::alone;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{BlackHole, Options, TestDaemon, exclusive, handover, pki};

use super::{
    address, assert_put_back, begin, copies, counted, dial, failed, flags, four, is_at_rest, listen, open,
};

/// Sends the dialer a signal; which process it was.
fn signal(daemon: &TestDaemon, signal: Signal) -> u32 {
    let dialer = until(LIMIT, || daemon.dialer()).expect("it is started");
    kill(Pid::from_raw(dialer.try_into().unwrap()), signal).expect("it runs");
    dialer
}

/// Waits until its end is known: what is asked while it dies may fail as what was asked before.
fn noticed(daemon: &TestDaemon) {
    let said = || daemon.log().contains("the dialer was killed by SIGKILL").then_some(());
    until(LIMIT, said).unwrap_or_else(|| panic!("{}", daemon.log()));
}

/// A dial that opens a session, which only a dialer can make.
fn dials(client: &Client) {
    let listener = listen(Ipv4Addr::LOCALHOST);
    open(client, dial(address(&listener), four()), &listener);
}

fn silent() -> BlackHole {
    BlackHole::at((Ipv4Addr::LOCALHOST, 0))
}

#[test]
fn there_is_none_before_somebody_dials_and_one_for_all_from_then_on() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let clients = [daemon.client(), daemon.client()];
    handover::open(&clients[0]).assert_alive();
    assert_eq!(daemon.dialer(), None, "nobody has asked for it");
    dials(&clients[0]);
    let dialer = daemon.dialer();
    assert!(dialer.is_some());
    for client in &clients {
        dials(client);
        assert_eq!(daemon.dialer(), dialer);
    }
    assert_eq!(daemon.parts().iter().filter(|(_, name)| name == "tlsifyd-dialer").count(), 1);
}

#[test]
fn a_private_daemon_has_none_of_its_own_and_dials_all_the_same() {
    let _alone = exclusive();
    let daemon = TestDaemon::private();
    let client = daemon.client();
    dials(&client);
    let listener = listen(Ipv4Addr::LOCALHOST);
    let to = format!("localhost:{}", address(&listener).port());
    open(&client, dial(to, four()), &listener);
    assert_eq!(daemon.dialer(), None);
}

#[test]
fn one_that_is_killed_during_a_look_up_fails_that_and_the_next_dial_has_another() {
    let _alone = exclusive();
    alone("one_that_is_killed_during_a_look_up_fails_that_and_the_next_dial_has_another", |network| {
        network.name_server();
        pki();
        let daemon = TestDaemon::start();
        let client = daemon.client();
        let sockets = four();
        let copies = copies(&sockets);
        let before = flags(&copies, false);
        let pending = begin(&client, &dial("slow.test:443", sockets));
        until(LIMIT, || (super::names::look_ups(&daemon) == 1).then_some(())).expect("it is asked for");
        let last = signal(&daemon, Signal::SIGKILL);
        let failed = failed(pending.wait());
        let told = (failed.code, failed.socket, failed.blame);
        assert_eq!(told, (Code::NameLookupFailed, Socket::Untouched, Blame::Daemon), "{failed:?}");
        assert!(failed.text.contains("try again"), "{failed:?}");
        assert_put_back(&copies, &before);
        noticed(&daemon);
        dials(&client);
        assert!(daemon.dialer().is_some_and(|dialer| dialer != last));
    });
}

#[test]
fn one_that_is_killed_during_an_attempt_fails_that_and_the_next_dial_has_another() {
    let _alone = exclusive();
    pki();
    let daemon = TestDaemon::start();
    let client = daemon.client();
    handover::open(&client).assert_alive();
    let silent = silent();
    let sockets = four();
    let copies = copies(&sockets);
    let pending = begin(&client, &dial(silent.address(), sockets));
    until(LIMIT, || (!is_at_rest(&copies[0])).then_some(())).expect("an attempt begins");
    let last = signal(&daemon, Signal::SIGKILL);
    let failed = failed(pending.wait());
    let told = (failed.code, failed.socket, failed.blame);
    assert_eq!(told, (Code::Internal, Socket::Used, Blame::Daemon), "{failed:?}");
    assert_eq!(client.status(Scope::Own, false).unwrap().handshakes, 0);
    noticed(&daemon);
    dials(&client);
    assert!(daemon.dialer().is_some_and(|dialer| dialer != last));
}

#[test]
fn one_that_stands_still_holds_up_who_dials_until_their_deadline_and_nobody_else() {
    let _alone = exclusive();
    pki();
    let daemon = TestDaemon::start();
    let client = daemon.client();
    dials(&client);
    signal(&daemon, Signal::SIGSTOP);
    let silent = silent();
    let request = dial(silent.address(), four()).handshake_timeout(Duration::from_millis(200));
    let stuck = begin(&client, &request);
    let cancelled = begin(&client, &dial(silent.address(), four()));
    handover::open(&client).assert_alive();
    cancelled.cancel().unwrap();
    // Nobody can say what it did with the socket.
    let end = failed(cancelled.wait());
    assert_eq!((end.code, end.socket), (Code::Cancelled, Socket::Used), "{end:?}");
    let end = failed(stuck.wait());
    assert_eq!((end.code, end.socket, end.blame), (Code::Internal, Socket::Used, Blame::Daemon), "{end:?}");
    signal(&daemon, Signal::SIGCONT);
    dials(&client);
}

#[test]
fn a_caller_that_vanishes_while_it_dials_leaves_no_descriptor_in_any_process() {
    let _alone = exclusive();
    alone("a_caller_that_vanishes_while_it_dials_leaves_no_descriptor_in_any_process", |network| {
        network.hosts(&[("silent.test", &["127.0.0.1"])]);
        pki();
        let silent = silent();
        let named = format!("silent.test:{}", silent.address().port());
        counted(|client, daemon| {
            let kept: Vec<_> = (0..20)
                .map(|n| {
                    let sockets = four();
                    let copies = copies(&sockets);
                    let doomed = daemon.client();
                    let to = if n % 2 == 0 { silent.address().to_string() } else { named.clone() };
                    let pending = begin(&doomed, &dial(to, sockets));
                    until(LIMIT, || (!is_at_rest(&copies[0])).then_some(())).expect("an attempt begins");
                    drop((pending, doomed));
                    copies
                })
                .collect();
            let gone = || (client.status(Scope::Own, false).unwrap().handshakes == 0).then_some(());
            until(LIMIT, gone).expect("they go");
            for copies in &kept {
                until(LIMIT, || is_at_rest(&copies[0]).then_some(())).expect("it is put back");
            }
        });
    });
}

#[test]
fn in_one_process_everything_is_done_there() {
    let _alone = exclusive();
    let options = Options { args: vec!["--single-process".to_owned()], ..Options::default() };
    let daemon = TestDaemon::with(options);
    dials(&daemon.client());
    assert!(daemon.parts().is_empty(), "{:?}", daemon.parts());
}
