//! While it is being connected, a session is one like others: counted, listed, cancelled, gone with its caller, and in
//! nobody's way.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::fs::OFlags;
use tlsify_client::{Client, Code, Error, Scope, Socket};
use tlsifyd_tests::handover;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{BlackHole, RawCaller, TestDaemon, exclusive, within};

use super::{
    PATIENT, address, assert_failed, assert_put_back, begin, copies, dial, failed, flags, four, listen, open,
    with_client,
};

fn silent() -> BlackHole {
    BlackHole::at((Ipv4Addr::LOCALHOST, 0))
}

fn handshakes(client: &Client) -> u64 {
    client.status(Scope::Own, false).unwrap().handshakes
}

/// Waits until an attempt is on its way on the caller's copy.
fn until_under_way(copies: &[OwnedFd]) {
    until(LIMIT, || (!super::is_at_rest(&copies[0])).then_some(())).expect("an attempt begins");
}

#[test]
fn it_is_counted_and_listed_as_a_handshake_and_cancelled_like_one() {
    with_client(|client, _| {
        let silent = silent();
        let sockets = four();
        let copies = copies(&sockets);
        let before = flags(&copies, false);
        let pending = begin(client, &dial(silent.address(), sockets));
        until_under_way(&copies);
        let status = client.status(Scope::Own, true).unwrap();
        assert_eq!((status.sessions, status.handshakes), (0, 1));
        let text = status.list_text().unwrap();
        for word in
            ["role=client".to_owned(), "state=connecting".to_owned(), format!("peer={}", silent.address())]
        {
            assert!(text.split(' ').any(|other| other == word), "no {word} in {text}");
        }
        pending.cancel().unwrap();
        assert_failed(pending.wait(), Code::Cancelled, Socket::Used);
        assert_eq!(handshakes(client), 0, "its place is free when the caller hears of it");
        assert_eq!(client.status(Scope::Own, true).unwrap().list_text().unwrap(), "");
        assert_put_back(&copies, &before);
    });
}

#[test]
fn its_id_is_in_use_until_it_is_over_and_is_answered_once() {
    let _alone = exclusive();
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let silent = silent();
    let text = format!(
        "tlsify/1 connect\nid=7\nfds=net\nname=a.example\nto={}\nhandshake-timeout=400\n",
        silent.address()
    );
    let [first, second, third] = [(); 3].map(|()| four().remove(0));
    caller.send(&text, &[&first]);
    caller.ask(&text, &[&second]).assert_refused("id-in-use", Some("id"));
    // Without a cancel: it runs into its own deadline.
    let answer = caller.answer();
    assert_eq!((answer.verb(), answer.get("code")), ("failed", Some("connect-timeout")), "{}", answer.text);
    caller.ask("tlsify/1 cancel\nid=7\n", &[]).assert_refused("unknown-id", Some("id"));
    // Two cancels and a deadline: still one answer.
    caller.send(&text, &[&third]);
    caller.send("tlsify/1 cancel\nid=7\n", &[]);
    let answer = caller.answer();
    assert_eq!((answer.verb(), answer.get("code")), ("failed", Some("cancelled")), "{}", answer.text);
    thread::sleep(Duration::from_millis(450));
    caller.assert_serves();
}

#[test]
fn it_goes_with_its_caller() {
    with_client(|client, daemon| {
        let silent = silent();
        let sockets = four();
        let copies = copies(&sockets);
        let before = flags(&copies, false);
        let doomed = daemon.client();
        let pending = begin(&doomed, &dial(silent.address(), sockets));
        until_under_way(&copies);
        assert_eq!(handshakes(client), 1);
        drop((pending, doomed));
        until(LIMIT, || (handshakes(client) == 0).then_some(())).expect("it goes");
        assert_put_back(&copies, &before);
    });
}

#[test]
fn it_is_limited_by_the_quota_of_handshakes() {
    let _alone = exclusive();
    let daemon = TestDaemon::with_config("[limits]\nhandshakes = 2\n");
    let client = daemon.client();
    let silent = silent();
    let pending = [(); 2].map(|()| begin(&client, &dial(silent.address(), four())));
    match client.connect_tls(&dial(silent.address(), four())) {
        Err(Error::Refused(refused)) => assert_eq!(refused.code, Code::Quota, "{refused:?}"),
        other => panic!("{other:?}"),
    }
    for pending in pending {
        pending.cancel().unwrap();
        assert_eq!(failed(pending.wait()).code, Code::Cancelled);
    }
    let listener = listen(Ipv4Addr::LOCALHOST);
    open(&client, dial(address(&listener), four()), &listener);
}

#[test]
fn a_drained_daemon_lets_it_finish_or_tells_that_it_may_not() {
    let _alone = exclusive();
    // One that comes to something.
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let listener = listen(Ipv4Addr::LOCALHOST);
    let silent = silent();
    let sockets = four();
    let copies = copies(&sockets);
    let pending = begin(&client, &dial(silent.address(), sockets).handshake_timeout(Duration::from_secs(1)));
    until_under_way(&copies);
    let mut session = open(&client, dial(address(&listener), four()), &listener);
    daemon.terminate();
    assert_eq!(failed(pending.wait()).code, Code::ConnectTimeout, "it has its time");
    session.assert_alive();
    drop(session);
    assert!(daemon.wait().success());
    // One that takes longer than the daemon waits, and is all that it waits for.
    let daemon = TestDaemon::with_config("[timeouts]\ndrain = \"100ms\"\n");
    let client = daemon.client();
    let pending = begin(&client, &dial(silent.address(), four()));
    until(LIMIT, || (handshakes(&client) == 1).then_some(())).expect("it is handed over");
    daemon.terminate();
    assert_eq!(failed(pending.wait()).code, Code::Drained);
    assert!(daemon.wait().success());
}

#[test]
fn a_hundred_at_once_stand_in_nobodys_way() {
    with_client(|client, daemon| {
        let silent = silent();
        let waiting: Vec<_> = (0..100).map(|_| begin(client, &dial(silent.address(), four()))).collect();
        // The same caller's next request is handled at once, and so is another's.
        let limit = PATIENT / 4;
        let began = std::time::Instant::now();
        assert_eq!(handshakes(client), 100);
        handover::open(client).assert_alive();
        handover::open(&daemon.client()).assert_alive();
        let listener = listen(Ipv4Addr::LOCALHOST);
        open(client, dial(address(&listener), four()), &listener);
        assert!(began.elapsed() < limit, "{:?}", began.elapsed());
        for pending in &waiting {
            pending.cancel().unwrap();
        }
        for pending in waiting {
            assert_eq!(failed(pending.wait()).code, Code::Cancelled);
        }
    });
}

#[test]
fn a_caller_that_clears_the_flag_meanwhile_makes_nobody_else_wait() {
    // connect(2) waits for minutes without O_NONBLOCK, which a hostile caller can take away at any moment: 20 times it
    // tries, on a processor of its own, while the daemon connects to nobody who answers.
    with_client(|client, daemon| {
        let silent = silent();
        let other = daemon.client();
        for _ in 0..20 {
            let sockets = four();
            let copies = copies(&sockets);
            let done = AtomicBool::new(false);
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        rustix::fs::fcntl_setfl(&copies[0], OFlags::empty()).unwrap();
                    }
                });
                let request = dial(silent.address(), sockets).handshake_timeout(Duration::from_millis(30));
                let told = client.connect_tls(&request);
                let served = within("another caller is served", {
                    let other = other.clone();
                    move || handshakes(&other)
                });
                done.store(true, Ordering::Relaxed);
                assert_failed(told, Code::ConnectTimeout, Socket::Used);
                assert_eq!(served, 0);
            });
        }
    });
}
