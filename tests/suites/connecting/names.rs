//! Names, in a network with names of its own: which addresses are tried in which order, and what a resolver can do to us.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tlsify_client::{Blame, Code, Scope, Socket};
use tlsifyd_tests::network::alone;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{BlackHole, TestDaemon, User, exclusive, handover, pki};

use super::{
    address, assert_failed, assert_put_back, begin, both, copies, counted, dial, failed, flags, four, listen,
    nobody, open, tcp,
};

const SIX: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const FOUR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[test]
fn the_newer_family_is_tried_first() {
    let _alone = exclusive();
    alone("the_newer_family_is_tried_first", |network| {
        network.hosts(&[("both.test", &["127.0.0.1", "::1"])]);
        counted(|client, _| {
            let six = listen(SIX);
            let port = address(&six).port();
            let four = std::net::TcpListener::bind((FOUR, port)).unwrap();
            let session = open(client, dial(format!("both.test:{port}"), both()), &six);
            assert_eq!(session.established.facts.peer.unwrap().to_string(), format!("[::1]:{port}"));
            four.set_nonblocking(true).unwrap();
            assert!(four.accept().is_err(), "the other one was not needed");
        });
    });
}

#[test]
fn a_silent_address_of_one_family_does_not_keep_from_the_other() {
    let _alone = exclusive();
    alone("a_silent_address_of_one_family_does_not_keep_from_the_other", |network| {
        network.hosts(&[("both.test", &["127.0.0.1", "::1"])]);
        counted(|client, _| {
            let four = listen(FOUR);
            let port = address(&four).port();
            let _silent = BlackHole::at((SIX, port));
            let sockets = both();
            let copies = copies(&sockets);
            let before = flags(&copies, false);
            // Half of what one attempt is given when another address of its family waits.
            let request = dial(format!("both.test:{port}"), sockets).handshake_timeout(LIMIT);
            let session = open(client, request, &four);
            assert_eq!(session.established.facts.peer.unwrap().to_string(), format!("127.0.0.1:{port}"));
            assert_put_back(&copies[1..], &before[1..]);
        });
    });
}

#[test]
fn one_socket_goes_from_address_to_address_until_somebody_is_there() {
    let _alone = exclusive();
    alone("one_socket_goes_from_address_to_address_until_somebody_is_there", |network| {
        network.hosts(&[("several.test", &["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1"])]);
        counted(|client, _| {
            // Whatever order the resolver puts them in: one refuses, one is silent, one serves.
            let listener = listen(Ipv4Addr::new(127, 0, 0, 4));
            let port = address(&listener).port();
            let _silent = BlackHole::at(([127, 0, 0, 3], port));
            let session = open(client, dial(format!("several.test:{port}"), four()), &listener);
            assert_eq!(session.established.facts.peer.unwrap().to_string(), format!("127.0.0.4:{port}"));
        });
    });
}

#[test]
fn every_address_that_came_to_nothing_is_named() {
    let _alone = exclusive();
    alone("every_address_that_came_to_nothing_is_named", |network| {
        network.hosts(&[("closed.test", &["127.0.0.2", "127.0.0.3", "::1"])]);
        counted(|client, _| {
            let port = nobody().port();
            let request = dial(format!("closed.test:{port}"), both());
            let text = assert_failed(client.connect_tls(&request), Code::ConnectionRefused, Socket::Used);
            assert!(text.starts_with(&format!("cannot connect to closed.test:{port}: ")), "{text}");
            for host in ["127.0.0.2", "127.0.0.3", "[::1]"] {
                assert!(text.contains(&format!("{host}:{port}: connection refused")), "{text}");
            }
        });
    });
}

#[test]
fn no_such_name_is_told_from_no_answer_and_both_leave_the_sockets_alone() {
    let _alone = exclusive();
    alone("no_such_name_is_told_from_no_answer_and_both_leave_the_sockets_alone", |network| {
        network.name_server();
        counted(|client, _| {
            let cases = [
                ("none.test", Code::HostNotFound, "no such name"),
                ("empty.test", Code::HostNotFound, "no address"),
                ("empty-of-four.test", Code::HostNotFound, "no IPv4 address"),
                ("broken.test", Code::NameLookupFailed, "no answer now"),
            ];
            for (name, code, why) in cases {
                let sockets = if name == "empty.test" { both() } else { four() };
                let copies = copies(&sockets);
                let before = flags(&copies, false);
                let request = dial(format!("{name}:443"), sockets);
                let text = assert_failed(client.connect_tls(&request), code, Socket::Untouched);
                assert!(text.contains(&format!("\"{name}\"")) && text.contains(why), "{text}");
                assert_put_back(&copies, &before);
            }
        });
    });
}

#[test]
fn a_resolver_that_says_nothing_is_told_at_the_deadline() {
    let _alone = exclusive();
    alone("a_resolver_that_says_nothing_is_told_at_the_deadline", |network| {
        network.name_server();
        // Not counted: the resolver's own socket stays until it gives up by itself.
        let daemon = TestDaemon::start();
        let sockets = four();
        let copies = copies(&sockets);
        let before = flags(&copies, false);
        let request = dial("slow.test:443", sockets).handshake_timeout(Duration::from_millis(300));
        let failed = daemon.client().connect_tls(&request);
        let text = assert_failed(failed, Code::NameLookupFailed, Socket::Untouched);
        assert_eq!(text, "cannot look up \"slow.test\": the resolver took too long");
        assert_put_back(&copies, &before);
    });
}

#[test]
fn a_name_that_can_never_exist_is_nobodys_fault_but_the_callers_or_the_resolvers() {
    // RFC 6761 section 6.4: no name below .invalid exists. A machine without a resolver cannot know that.
    let _alone = exclusive();
    counted(|client, _| {
        let request = dial("host.invalid:443", both());
        let failed = failed(client.connect_tls(&request));
        let honest = [(Code::HostNotFound, Blame::Caller), (Code::NameLookupFailed, Blame::Operator)];
        assert!(honest.contains(&(failed.code, failed.blame)), "{failed:?}");
        assert_eq!(failed.socket, Socket::Untouched);
    });
}

/// Threads of the daemon that look a name up.
pub(super) fn look_ups(daemon: &TestDaemon) -> usize {
    let Some(dialer) = daemon.dialer() else { return 0 };
    let tasks = std::fs::read_dir(format!("/proc/{}/task", dialer)).unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "look-up").count()
}

#[test]
fn a_dead_resolver_holds_up_who_asked_it_and_nobody_else() {
    /// As many as one uid may have at once.
    const BOUND: usize = 32;
    let _alone = exclusive();
    alone("a_dead_resolver_holds_up_who_asked_it_and_nobody_else", |network| {
        network.hosts(&[("good.test", &["127.0.0.1"])]);
        network.name_server();
        pki();
        let daemon = TestDaemon::start();
        let client = daemon.client();
        let user = User::new(1001).client(&daemon);
        let listener = listen(FOUR);
        let good = format!("good.test:{}", address(&listener).port());
        let waiting: Vec<_> =
            (0..60).map(|n| begin(&client, &dial(format!("slow{n}.test:443"), four()))).collect();
        assert_eq!(client.status(Scope::Own, false).unwrap().handshakes, 60);
        until(LIMIT, || (look_ups(&daemon) == BOUND).then_some(())).expect("they are asked for");
        // Who needs no resolver, and who is somebody else.
        handover::open(&client).assert_alive();
        open(&client, dial(address(&listener), four()), &listener);
        open(&user, dial(&good, four()), &listener);
        // A name that is known waits behind the others of its uid, and that counts.
        let request = dial(&good, four()).handshake_timeout(Duration::from_millis(200));
        assert_failed(client.connect_tls(&request), Code::NameLookupFailed, Socket::Untouched);
        assert_eq!(look_ups(&daemon), BOUND, "no more than that");
        for pending in &waiting {
            pending.cancel().unwrap();
        }
        for pending in waiting {
            assert_failed(pending.wait(), Code::Cancelled, Socket::Untouched);
        }
    });
}

#[test]
fn the_sockets_network_is_what_counts_and_not_the_daemons() {
    let _alone = exclusive();
    pki();
    // The daemon lives in the machine's network; the listener and the socket in one of their own.
    let daemon = TestDaemon::start();
    alone("the_sockets_network_is_what_counts_and_not_the_daemons", |_| {
        let listener = listen(SIX);
        let SocketAddr::V6(to) = address(&listener) else { panic!("an IPv6 listener") };
        let client = daemon.client();
        let sockets = vec![tcp(rustix::net::AddressFamily::INET6)];
        open(&client, dial(to, sockets), &listener);
    });
}
