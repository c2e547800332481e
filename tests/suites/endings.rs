//! How a session ends: told apart on the control connection, and true at the peer. `PROTOCOL.md` has the table.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use rustls::AlertDescription;
use tlsify_client::{Accept, Alert, Bind, Ended, How, Party, Version};
use tlsifyd_tests::handover::{Open, open, open_bound};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, TestDaemon, running};

/// What [`Open::assert_alive`] sends to the program and to the peer.
const ALIVE: (u64, u64) = (14, 11);

/// Application data that nobody encrypted: a record that cannot be decrypted.
const BAD_RECORD: [u8; 45] = {
    let mut record = [0xa5; 45];
    (record[0], record[1], record[2], record[3], record[4]) = (23, 3, 3, 0, 40);
    record
};

/// Both versions, as the option that chooses between them.
fn both_versions() -> [impl FnOnce(Accept) -> Accept; 2] {
    [Version::Tls12, Version::Tls13].map(|version| move |accept: Accept| accept.max_version(version))
}

/// A daemon that does not wait long for peers that are gone.
fn impatient() -> TestDaemon {
    TestDaemon::with_config("[timeouts]\nlinger = \"100ms\"\n")
}

/// How it ended, once the daemon tells.
#[track_caller]
fn ended(open: &Open) -> Ended {
    let ended = open.established.session.ended_within(LIMIT).expect("the control connection is open");
    ended.unwrap_or_else(|| panic!("the session has not ended after {LIMIT:?}"))
}

/// Reads the program's side to its end, be it an error or not. How it ended has to be known by then.
#[track_caller]
fn told_before_the_end_of_the_data(open: &mut Open) -> (Vec<u8>, Ended) {
    let data = read_to_any_end(&mut open.plain);
    let told = open.established.session.ended_within(Duration::ZERO).expect("the control connection is open");
    (data, told.expect("the data ended before the daemon said how"))
}

fn read_to_any_end(from: &mut impl Read) -> Vec<u8> {
    let mut data = Vec::new();
    if let Err(error) = from.read_to_end(&mut data) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no end of the data: {error}");
    }
    data
}

/// What the peer hears last: an end that does not look whole.
#[track_caller]
fn assert_cut_off(open: &mut Open) {
    let end = open.peer.read_to_end().expect("the peer's stream ends").1;
    assert!(matches!(end, End::Truncated | End::Reset), "the peer sees {end:?}");
}

#[track_caller]
fn assert_how(ended: &Ended, how: How, bytes: (u64, u64)) {
    assert_eq!((ended.how, (ended.bytes_in, ended.bytes_out)), (how, bytes), "{ended:?}");
    assert!(how == How::Alert || ended.alert.is_none(), "{ended:?}");
    assert!(ended.code.is_none() && ended.blame.is_none(), "only an error has a code: {ended:?}");
}

#[test]
fn goodbyes_from_both_sides_are_a_clean_end() {
    let daemon = TestDaemon::start();
    let before = daemon.baseline();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.assert_alive();
        open.plain.shutdown(Shutdown::Write).expect("the session is open");
        assert_eq!(open.peer.read_to_end().expect("it ends"), (vec![], End::CloseNotify));
        open.peer.half_close().expect("the session is open");
        assert_how(&ended(&open), How::CloseNotify, ALIVE);
        assert_eq!(read_to_any_end(&mut open.plain), b"");
    }
    drop(client);
    daemon.settled_fds(&before);
}

#[test]
fn a_peer_that_said_everything_still_gets_everything() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.peer.write_all(b"the question").expect("the session is open");
        open.peer.half_close().expect("the session is open");
        assert_eq!(read_to_any_end(&mut open.plain), b"the question");
        let answer = vec![b'a'; 1 << 20];
        let (mut plain, sent) = (open.plain.try_clone().expect("a descriptor is free"), answer.clone());
        let writer = running("answer", move || {
            plain.write_all(&sent).expect("the other half is open");
            plain.shutdown(Shutdown::Write).expect("the other half is open");
        });
        let (got, end) = open.peer.read_to_end().expect("the peer still reads");
        writer.join();
        assert!(got == answer && end == End::CloseNotify, "{} bytes, {end:?}", got.len());
        assert_how(&ended(&open), How::CloseNotify, (12, 1 << 20));
    }
}

#[test]
fn a_program_that_said_everything_still_gets_everything() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.plain.write_all(b"the question").expect("the session is open");
        open.plain.shutdown(Shutdown::Write).expect("the session is open");
        assert_eq!(open.peer.read_to_end().expect("it ends"), (b"the question".to_vec(), End::CloseNotify));
        let answer = vec![b'a'; 1 << 20];
        let (sent, mut peer) = (answer.clone(), open.peer);
        let writer = running("answer", move || {
            peer.write_all(&sent).expect("the other half is open");
            peer.half_close().expect("the other half is open");
            peer
        });
        assert!(read_to_any_end(&mut open.plain) == answer);
        open.peer = writer.join();
        assert_how(&ended(&open), How::CloseNotify, (1 << 20, 12));
    }
}

#[test]
fn a_bare_fin_is_not_a_clean_end() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.assert_alive();
        open.peer.write_all(b"the rest is miss").expect("the session is open");
        open.peer.truncate().expect("the session is open");
        let (data, ended) = told_before_the_end_of_the_data(&mut open);
        assert_eq!(data, b"the rest is miss");
        assert_how(&ended, How::Truncated, (ALIVE.0 + 16, ALIVE.1));
        assert_cut_off(&mut open);
    }
}

#[test]
fn a_reset_is_told_from_a_fin() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.assert_alive();
        let Open { established, plain, peer } = open;
        peer.reset();
        let mut plain = plain;
        assert_eq!(read_to_any_end(&mut plain), b"");
        let told = established.session.ended_within(Duration::ZERO).expect("the control connection is open");
        assert_how(&told.expect("the data ended before the daemon said how"), How::Reset, ALIVE);
    }
}

#[test]
fn a_fatal_alert_is_named_with_who_sent_it() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.assert_alive();
        // The peer is made to believe that we sent nonsense, and complains as TLS wants it.
        open.peer.tls.read_tls(&mut &BAD_RECORD[..]).expect("it fits");
        open.peer.tls.process_new_packets().expect_err("it is no record");
        open.peer.tls.write_tls(&mut open.peer.socket).expect("the connection is open");
        let (data, ended) = told_before_the_end_of_the_data(&mut open);
        assert_eq!(data, b"");
        assert_how(&ended, How::Alert, ALIVE);
        let sent = Alert { description: AlertDescription::BadRecordMac.into(), from: Party::Peer };
        assert_eq!(ended.alert, Some(sent), "{ended:?}");
    }
}

#[test]
fn our_alert_is_not_overtaken_by_a_reset() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for version in both_versions() {
        let mut open = open_bound(&client, version);
        open.assert_alive();
        open.peer.write_all(b"good").expect("the session is open");
        open.peer.socket.write_all(&BAD_RECORD).expect("the session is open");
        // A socket that is closed with this unread resets, and the peer's system throws our alert away.
        open.peer.socket.write_all(&vec![0xa5; 1 << 20]).expect("what a bad peer sends is still taken");
        let (data, ended) = told_before_the_end_of_the_data(&mut open);
        assert_eq!(data, b"good");
        assert_how(&ended, How::Alert, (ALIVE.0 + 4, ALIVE.1));
        let sent = Alert { description: AlertDescription::BadRecordMac.into(), from: Party::Us };
        assert_eq!(ended.alert, Some(sent), "{ended:?}");
        let end = open.peer.read_to_end().expect("the alert arrives").1;
        assert_eq!(end, End::Alert(AlertDescription::BadRecordMac));
        assert_eq!(open.peer.socket.read(&mut [0]).expect("no reset comes before the FIN"), 0);
    }
}

#[test]
fn a_session_without_a_byte_for_too_long_is_timed_out() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut open = open_bound(&client, |accept| accept.idle_timeout(Duration::from_millis(150)));
    open.assert_alive();
    let (data, ended) = told_before_the_end_of_the_data(&mut open);
    assert_eq!(data, b"");
    assert_how(&ended, How::Timeout, ALIVE);
    assert_cut_off(&mut open);
}

#[test]
fn a_cancelled_session_does_not_look_whole() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut open = open(&client);
    open.assert_alive();
    open.established.session.cancel().expect("the control connection is open");
    let (data, ended) = told_before_the_end_of_the_data(&mut open);
    assert_eq!(data, b"");
    assert_how(&ended, How::Cancelled, ALIVE);
    assert_cut_off(&mut open);
}

#[test]
fn a_program_that_closes_has_said_goodbye() {
    let daemon = impatient();
    let client = daemon.client();
    let mut open = open(&client);
    open.assert_alive();
    let Open { established, mut plain, mut peer } = open;
    plain.write_all(b"bye").expect("the session is open");
    drop(plain);
    assert_eq!(peer.read_to_end().expect("it ends"), (b"bye".to_vec(), End::CloseNotify));
    // The peer never answers it.
    let told = established.session.ended_within(LIMIT).expect("the control connection is open");
    assert_how(&told.expect("nobody waits for such a peer"), How::Caller, (ALIVE.0, ALIVE.1 + 3));
}

#[test]
fn a_program_that_closes_with_bytes_unread_has_broken_off() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let mut open = open(&client);
    open.assert_alive();
    open.peer.write_all(b"nobody reads this").expect("the session is open");
    let Open { established, plain, mut peer } = open;
    let limit = PollTimeout::try_from(LIMIT).expect("a limit of seconds fits");
    let arrived = poll(&mut [PollFd::new(plain.as_fd(), PollFlags::POLLIN)], limit);
    assert_eq!(arrived, Ok(1), "the bytes do not arrive");
    drop(plain);
    let end = peer.read_to_end().expect("it ends").1;
    assert!(matches!(end, End::Truncated | End::Reset), "the peer sees {end:?}");
    let told = established.session.ended_within(LIMIT).expect("the control connection is open");
    assert_how(&told.expect("it has ended"), How::Caller, (ALIVE.0 + 17, ALIVE.1));
}

#[test]
fn whoever_is_drained_is_told_and_so_is_the_peer() {
    for (drain, signals) in [("100ms", 1), ("1h", 2)] {
        let daemon =
            TestDaemon::with_config(format!("[timeouts]\nlinger = \"100ms\"\ndrain = \"{drain}\"\n"));
        let client = daemon.client();
        let mut open = open(&client);
        open.assert_alive();
        for sent in 0..signals {
            daemon.signal(Signal::SIGTERM);
            if sent + 1 < signals {
                let gone = || (!daemon.socket().exists()).then_some(());
                until(LIMIT, gone).expect("draining begins");
                open.assert_alive();
            }
        }
        let times = u64::from(signals > 1) + 1;
        let (data, ended) = told_before_the_end_of_the_data(&mut open);
        assert_eq!(data, b"");
        assert_how(&ended, How::Drained, (times * ALIVE.0, times * ALIVE.1));
        assert_eq!(open.peer.read_to_end().expect("it ends"), (vec![], End::CloseNotify));
        assert!(daemon.wait().success(), "{}", daemon.log());
    }
}

#[test]
fn a_session_outlives_its_control_connection() {
    let daemon = TestDaemon::start();
    let before = daemon.baseline();
    let client = daemon.client();
    let Open { established, mut plain, mut peer } = open(&client);
    drop((established, client));
    // What is left of it is the socket to the peer and the one to the program.
    let left = before.count() + 2;
    until(LIMIT, || (daemon.fds().count() == left).then_some(())).expect("the control connection closes");
    plain.write_all(b"still here").expect("the session is open");
    assert_eq!(peer.read_exact(10).expect("the session is open"), b"still here");
    peer.write_all(b"so am I").expect("the session is open");
    peer.half_close().expect("the session is open");
    assert_eq!(read_to_any_end(&mut plain), b"so am I");
    drop(plain);
    assert_eq!(peer.read_to_end().expect("it ends"), (vec![], End::CloseNotify));
    daemon.settled_fds(&before);
}

#[test]
fn a_bound_session_ends_with_its_control_connection() {
    let daemon = TestDaemon::start();
    let before = daemon.baseline();
    let client = daemon.client();
    let mut open = open_bound(&client, |accept| accept.bind(Bind::Control));
    open.assert_alive();
    let Open { established, mut plain, mut peer } = open;
    drop((established, client));
    assert_eq!(read_to_any_end(&mut plain), b"");
    let end = peer.read_to_end().expect("it ends").1;
    assert!(matches!(end, End::Truncated | End::Reset), "the peer sees {end:?}");
    daemon.settled_fds(&before);
}
