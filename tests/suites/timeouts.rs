//! Limits on waiting, with the real daemon: who is silent loses its place, and is told apart from who broke something.
//! What happens to the millisecond is shown with a clock turned by hand, in the relay's own tests.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use tlsify_client::{Client, Code, Error, Failed, How, Scope};
use tlsifyd_tests::handover::{self, Open};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, TestDaemon, outgoing};

const SHORT: Duration = Duration::from_millis(200);
/// Far longer than any test waits: what ends in time did not wait for this.
const LONG: Duration = Duration::from_secs(3600);

fn impatient() -> TestDaemon {
    TestDaemon::with_config("[timeouts]\nhandshake = \"200ms\"\nlinger = \"200ms\"\n")
}

/// For tests that open sessions: a loaded machine needs its time for that.
fn brief() -> TestDaemon {
    TestDaemon::with_config("[timeouts]\nlinger = \"200ms\"\n")
}

#[track_caller]
fn failed(pending: tlsify_client::Pending) -> Box<Failed> {
    match pending.wait() {
        Err(Error::Failed(failed)) => failed,
        other => panic!("no failed handshake: {other:?}"),
    }
}

/// Until the daemon holds no session of ours.
fn all_given_back(client: &Client) {
    let given_back = until(LIMIT, || {
        let status = client.status(Scope::Own, false).unwrap();
        (status.sessions == 0 && status.handshakes == 0).then_some(())
    });
    assert!(given_back.is_some(), "sessions are left over");
}

#[test]
fn a_silent_peer_loses_its_handshake_in_both_roles() {
    let daemon = impatient();
    let client = daemon.client();
    let before = daemon.baseline();
    let (accepting, mut first) = handover::begin(&client, |accept| accept);
    let (connecting, mut second) = outgoing::begin(&client, |connect| connect);
    assert_eq!(failed(accepting).code, Code::HandshakeTimeout);
    assert_eq!(failed(connecting).code, Code::HandshakeTimeout);
    // The peers see an end, although they said nothing.
    for socket in [&mut first, &mut second] {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let _ = socket.read_to_end(&mut Vec::new()).unwrap();
    }
    all_given_back(&client);
    daemon.settled_fds(&before);
}

/// One byte now and then is not progress.
#[test]
fn a_client_hello_byte_by_byte_gets_no_more_time() {
    let daemon = impatient();
    let client = daemon.client();
    let (pending, socket) = handover::begin(&client, |accept| accept);
    let mut peer = handover::client_peer(socket.try_clone().unwrap());
    let mut hello = Vec::new();
    peer.tls.write_tls(&mut hello).unwrap();
    let trickle = tlsifyd_tests::running("trickle", move || {
        let mut socket = socket;
        // Slow enough that the whole of it would take far longer than the rig waits.
        hello.iter().position(|byte| {
            thread::sleep(Duration::from_millis(50));
            socket.write_all(&[*byte]).is_err()
        })
    });
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);
    assert!(trickle.join().is_some(), "all of it was taken");
    all_given_back(&client);
}

#[test]
fn a_request_may_have_a_handshake_time_of_its_own() {
    let daemon = TestDaemon::with_config("[timeouts]\nhandshake = \"1h\"\n");
    let client = daemon.client();
    let (pending, _socket) = handover::begin(&client, |accept| accept.handshake_timeout(SHORT));
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);

    // And a longer one than the operator's usual.
    let daemon = impatient();
    let client = daemon.client();
    let (pending, socket) = handover::begin(&client, |accept| accept.handshake_timeout(LONG));
    thread::sleep(2 * SHORT);
    let mut peer = handover::client_peer(socket);
    peer.handshake().unwrap();
    pending.wait().expect("the request's own time holds");
}

#[test]
fn an_idle_session_ends_when_that_was_asked_for_and_not_as_a_clean_end() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let Open { established, mut plain, mut peer } =
        handover::open_bound(&client, |accept| accept.idle_timeout(SHORT));
    let mut none = [0; 1];
    assert_eq!(plain.read(&mut none).unwrap_or(0), 0);
    let ended = established.session.ended_within(Duration::ZERO).unwrap();
    assert_eq!(ended.expect("the word comes before the end of the data").how, How::Timeout);
    assert_eq!(peer.read_to_end().unwrap().1, End::Truncated);
}

#[test]
fn an_idle_session_stays_when_nobody_asked() {
    let daemon = brief();
    let client = daemon.client();
    let mut idle = handover::open(&client);
    let other = handover::open_bound(&client, |accept| accept.idle_timeout(2 * SHORT));
    other.established.session.ended().unwrap();
    idle.assert_alive();
}

/// The operator's idle time is for requests that say nothing.
#[test]
fn the_operators_idle_time_is_used_and_can_be_longer_for_one() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"200ms\"\n");
    let client = daemon.client();
    let mut patient = handover::open_bound(&client, |accept| accept.idle_timeout(LONG));
    let usual = handover::open(&client);
    assert_eq!(usual.established.session.ended().unwrap().how, How::Timeout);
    patient.assert_alive();
}

/// A program that left and a peer that neither reads nor closes.
#[test]
fn a_peer_that_never_closes_does_not_keep_what_the_program_left() {
    let daemon = brief();
    let client = daemon.client();
    let before = daemon.baseline();
    let Open { established, plain, peer } = handover::open(&client);
    let socket = peer.stall();
    drop(plain);
    assert_eq!(established.session.ended().unwrap().how, How::Caller);
    all_given_back(&client);
    daemon.settled_fds(&before);
    drop(socket);
}
