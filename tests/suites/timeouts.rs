//! Limits on waiting, with the real daemon: who is silent loses its place, and is told apart from who broke something.
//! What happens to the millisecond is shown with a clock turned by hand, in the relay's own tests.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use tlsify_client::{Client, Code, Error, Failed, How, Scope, Session};
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

fn how(session: &Session) -> Option<How> {
    session.ended_within(Duration::ZERO).unwrap().map(|ended| ended.how)
}

#[test]
fn bytes_in_either_direction_keep_a_session() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"1500ms\"\n");
    let client = daemon.client();
    let (mut inbound, mut outbound) = (handover::open(&client), handover::open(&client));
    for _ in 0..2 {
        // Begun later than the last byte of the others: when it is over, they would be.
        let quiet = handover::open(&client);
        let step = || {
            inbound.peer.write_all(b"i").expect("the session is open");
            outbound.plain.write_all(b"o").expect("the session is open");
            thread::sleep(Duration::from_millis(5));
            how(&quiet.established.session)
        };
        assert_eq!(until(LIMIT, step), Some(How::Timeout));
    }
    let mut some = [0; 65_536];
    let count = inbound.plain.read(&mut some).expect("the session is open");
    assert!(count > 0 && some[..count].iter().all(|byte| *byte == b'i'));
    assert_eq!(how(&inbound.established.session), None);
    let said = outbound.peer.read_exact(1).expect("the session is open");
    assert_eq!((said, how(&outbound.established.session)), (b"o".to_vec(), None));
}

#[test]
fn new_keys_are_no_data() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"300ms\"\n");
    let client = daemon.client();
    let Open { established, plain, mut peer } = handover::open(&client);
    // One a while, and fewer than would be a flood.
    let mut left = 20;
    let ended = until(LIMIT, || {
        if left > 0 {
            left -= 1;
            peer.tls.refresh_traffic_keys().expect("TLS 1.3 has this");
            // Not an error: the session may have ended meanwhile.
            let _ = peer.write_all(b"");
            thread::sleep(Duration::from_millis(100));
        }
        how(&established.session)
    });
    assert!(left > 0, "key_updates keep the session");
    assert_eq!(ended, Some(How::Timeout), "{:?}", established.session.ended());
    drop(plain);
}

#[test]
fn whoever_does_not_take_its_bytes_is_idle() {
    let daemon = TestDaemon::with_config("[timeouts]\nidle = \"300ms\"\nlinger = \"100ms\"\n");
    let client = daemon.client();
    let before = daemon.baseline();
    let Open { established, plain, mut peer } = handover::open(&client);
    let stuck = tlsifyd_tests::running("peer", move || {
        let much = vec![7; 64 << 20];
        (peer.write_all(&much).is_err(), peer)
    });
    assert_eq!(established.session.ended().expect("it is told").how, How::Timeout);
    let (is_stuck, peer) = stuck.join();
    assert!(is_stuck, "64 MiB went to a program that does not read");
    drop((established, plain, peer));

    let Open { established, mut plain, mut peer } = handover::open(&client);
    let stuck = tlsifyd_tests::running("program", move || plain.write_all(&vec![7; 64 << 20]).is_err());
    assert_eq!(established.session.ended().expect("it is told").how, How::Timeout);
    assert!(stuck.join(), "64 MiB went to a peer that does not read");
    // What it did get must not look whole.
    let end = peer.read_to_end();
    assert!(!matches!(end, Ok((_, End::CloseNotify))), "a broken stream looks whole");
    drop((established, peer));
    all_given_back(&client);
    daemon.settled_fds(&before);
}

#[test]
fn a_peer_that_reads_on_after_its_own_goodbye_has_all_the_time() {
    let daemon = TestDaemon::with_config("[timeouts]\nlinger = \"50ms\"\n");
    let client = daemon.client();
    let Open { established, mut plain, mut peer } = handover::open(&client);
    peer.half_close().expect("the session is open");
    assert_eq!(plain.read(&mut [0]).expect("an end of file"), 0);
    // Linger is for what is over. This is not: the program still speaks.
    let (pending, _silent) = handover::begin(&client, |request| request.handshake_timeout(2 * SHORT));
    assert_eq!(failed(pending).code, Code::HandshakeTimeout);
    plain.write_all(b"a late answer").expect("the session is open");
    plain.shutdown(Shutdown::Write).expect("the session is open");
    assert_eq!(peer.read_to_end().expect("it ends"), (b"a late answer".to_vec(), End::CloseNotify));
    assert_eq!(established.session.ended().expect("it is told").how, How::CloseNotify);
}
