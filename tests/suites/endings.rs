//! How sessions end, told apart in `ended` and seen at the peer: close_notify only where nothing was broken, and the word
//! about the end before the end.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustls::AlertDescription;
use tlsify_client::{Alert, Client, Code, Ended, How, Party};
use tlsifyd_tests::handover::{self, Open};
use tlsifyd_tests::outgoing::both_roles;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, TestDaemon, tcp_pair};

/// It has the shape of a record, and no session's keys.
const BAD_RECORD: &[u8] = b"\x17\x03\x03\x00\x20no record of this session at all";

/// Reads the program's side to its end, and then finds the word about it there already.
#[track_caller]
fn word_at_the_end(open: &mut Open) -> (Vec<u8>, Ended) {
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    // An end that is an error is an end.
    while let Ok(count @ 1..) = open.plain.read(&mut some) {
        bytes.extend_from_slice(&some[..count]);
    }
    let ended = open.established.session.ended_within(Duration::ZERO).unwrap();
    (bytes, ended.expect("the word comes before the end of the data"))
}

#[track_caller]
fn ended(open: &Open) -> Ended {
    open.established.session.ended_within(LIMIT).unwrap().expect("it ends")
}

#[test]
fn goodbyes_from_both_are_the_one_clean_end() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.plain.write_all(b"out").unwrap();
        open.plain.shutdown(Shutdown::Write).unwrap();
        open.peer.write_all(b"in, all").unwrap();
        open.peer.half_close().unwrap();
        assert_eq!(open.peer.read_to_end().unwrap(), (b"out".to_vec(), End::CloseNotify));
        let ended = ended(&open);
        assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::CloseNotify, 7, 3));
        assert_eq!((ended.alert, ended.code, ended.blame), (None, None, None));
    }
}

#[test]
fn a_bare_fin_is_truncated_and_never_a_clean_end() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.peer.write_all(b"half of").unwrap();
        open.peer.truncate().unwrap();
        let (bytes, ended) = word_at_the_end(&mut open);
        assert_eq!((bytes.as_slice(), ended.how, ended.bytes_in), (&b"half of"[..], How::Truncated, 7));
        assert_eq!(open.peer.read_to_end().unwrap().1, End::Truncated);
    }
}

#[test]
fn a_reset_is_told_as_a_reset() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.plain.write_all(b"out").unwrap();
        assert_eq!(open.peer.read_exact(3).unwrap(), b"out");
        let Open { established, plain, peer } = open;
        peer.reset();
        let (near, _far) = tcp_pair();
        let mut open = Open { established, plain, peer: handover::client_peer(near) };
        let (bytes, ended) = word_at_the_end(&mut open);
        assert_eq!((bytes.as_slice(), ended.how, ended.bytes_out), (&b""[..], How::Reset, 3));
    }
}

#[test]
fn the_peers_fatal_alert_is_told_by_number_and_the_data_before_it_arrives() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.peer.write_all(b"before").unwrap();
        open.peer.tls.read_tls(&mut &*BAD_RECORD).unwrap();
        open.peer.tls.process_new_packets().unwrap_err();
        open.peer.tls.write_tls(&mut open.peer.socket).unwrap();
        let (bytes, ended) = word_at_the_end(&mut open);
        assert_eq!((bytes.as_slice(), ended.how), (&b"before"[..], How::Alert));
        let bad_record_mac = Alert { description: 20, from: Party::Peer };
        assert_eq!(ended.alert, Some(bad_record_mac));
    }
}

/// The alert travels before the end of the connection, whatever the peer still had on its way to us.
#[test]
fn a_bad_record_is_answered_with_an_alert_that_arrives_whole() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.peer.write_all(b"before").unwrap();
        open.peer.socket.write_all(BAD_RECORD).unwrap();
        // More than the daemon reads at once: closing with this unread would reset.
        open.peer.socket.write_all(&vec![0; 1 << 20]).unwrap();
        let (bytes, ended) = word_at_the_end(&mut open);
        assert_eq!((bytes.as_slice(), ended.how), (&b"before"[..], How::Alert));
        let bad_record_mac = Alert { description: 20, from: Party::Us };
        assert_eq!(ended.alert, Some(bad_record_mac));
        assert_eq!(open.peer.read_to_end().unwrap().1, End::Alert(AlertDescription::BadRecordMac));
        // And behind it a FIN, no reset.
        open.peer.socket.shutdown(Shutdown::Write).unwrap();
        assert_eq!(open.peer.socket.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn a_cancelled_session_is_cut_and_not_said_to_be_whole() {
    let daemon = TestDaemon::start();
    for mut open in both_roles(&daemon.client()) {
        open.plain.write_all(b"out").unwrap();
        assert_eq!(open.peer.read_exact(3).unwrap(), b"out");
        open.established.session.cancel().unwrap();
        assert_eq!(word_at_the_end(&mut open).1.how, How::Cancelled);
        assert_eq!(open.peer.read_to_end().unwrap().1, End::Truncated);
    }
}

/// A program that wrote everything and left: that is the end of its stream.
#[test]
fn a_program_that_closes_has_said_everything() {
    let daemon = TestDaemon::start();
    for open in both_roles(&daemon.client()) {
        let Open { established, mut plain, mut peer } = open;
        plain.write_all(b"all of it").unwrap();
        drop(plain);
        assert_eq!(peer.read_to_end().unwrap(), (b"all of it".to_vec(), End::CloseNotify));
        // The peer goes without a goodbye; nobody misses what it might have said.
        peer.truncate().unwrap();
        let ended = established.session.ended_within(LIMIT).unwrap().expect("it ends");
        assert_eq!((ended.how, ended.bytes_out), (How::Caller, 9));
    }
}

/// What comes behind the program's end is lost: the peer's goodbye does not make that whole.
#[test]
fn what_comes_for_a_program_that_closed_is_not_a_clean_end() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for (late, how) in [(&b""[..], How::CloseNotify), (b"too late", How::Caller)] {
        for open in both_roles(&client) {
            let Open { established, plain, mut peer } = open;
            drop(plain);
            assert_eq!(peer.read_to_end().unwrap(), (vec![], End::CloseNotify));
            peer.write_all(late).unwrap();
            peer.half_close().unwrap();
            let ended = established.session.ended_within(LIMIT).unwrap().expect("it ends");
            assert_eq!((ended.how, ended.bytes_in), (how, 0));
        }
    }
}

/// A program that leaves in the middle of something: the peer must not take what it got for everything.
#[test]
fn a_program_that_closes_with_bytes_unread_aborts() {
    let daemon = TestDaemon::start();
    for open in both_roles(&daemon.client()) {
        let Open { established, mut plain, mut peer } = open;
        peer.write_all(b"will never be read").unwrap();
        // Its arrival, without reading it.
        plain.write_all(b"half an answ").unwrap();
        wait_until_readable(&plain);
        drop(plain);
        let (bytes, end) = peer.read_to_end().unwrap();
        assert_eq!(bytes, b"half an answ");
        assert_ne!(end, End::CloseNotify, "the peer saw a clean end");
        let ended = established.session.ended_within(LIMIT).unwrap().expect("it ends");
        assert_eq!(ended.how, How::Caller);
    }
}

/// A back end that crashed: its connection is reset, and the peer must not see a whole answer.
#[test]
fn a_back_end_that_is_reset_is_no_clean_end_for_the_peer() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (back_end, given) = tcp_pair();
    let given: OwnedFd = given.into();
    let (established, mut peer) = handover::open_with(&client, |accept| accept.plain(given));
    let mut writer = &back_end;
    writer.write_all(b"half an answ").unwrap();
    assert_eq!(peer.read_exact(12).unwrap(), b"half an answ");
    peer.write_all(&vec![0; 100_000]).unwrap();
    wait_until_readable(&back_end);
    tlsifyd_tests::peer::reset(back_end);
    let (_, end) = peer.read_to_end().unwrap();
    assert_ne!(end, End::CloseNotify, "the peer saw a clean end");
    let ended = established.session.ended_within(LIMIT).unwrap().expect("it ends");
    assert_eq!(ended.how, How::Caller);
}

fn wait_until_readable(fd: impl AsFd) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let limit = PollTimeout::try_from(LIMIT).unwrap();
    let count = poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], limit).unwrap();
    assert_eq!(count, 1, "nothing came");
}

#[test]
fn a_daemon_that_ends_says_goodbye_for_whole_streams() {
    // The first SIGTERM with no time to go on, and a second one in the middle of a long time.
    for (drain, signals) in [("1ms", 1), ("1h", 2)] {
        let daemon = TestDaemon::with_config(format!("[timeouts]\ndrain = \"{drain}\"\n"));
        let mut open = handover::open(&daemon.client());
        open.assert_alive();
        daemon.terminate();
        if signals == 2 {
            open.assert_alive();
            // The first has been heard once nobody new is let in.
            let heard = until(LIMIT, || Client::connect_to(daemon.socket()).err());
            assert!(heard.is_some(), "callers are still let in");
            open.assert_alive();
            daemon.terminate();
        }
        let (_, ended) = word_at_the_end(&mut open);
        assert_eq!((ended.how, ended.bytes_in > 0), (How::Drained, true), "drain = {drain}");
        assert_eq!(open.peer.read_to_end().unwrap().1, End::CloseNotify, "drain = {drain}");
        drop(open);
        assert!(daemon.wait().success());
    }
}

#[test]
fn a_peer_that_leaves_in_the_handshake_is_told_from_one_that_says_why() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (pending, socket) = handover::begin(&client, |accept| accept);
    drop(socket);
    let Err(tlsify_client::Error::Failed(failed)) = pending.wait() else { panic!("it opened") };
    assert_eq!((failed.code, failed.alert), (Code::ClosedByPeer, None));

    let (pending, socket) = handover::begin(&client, |accept| accept);
    tlsifyd_tests::peer::reset(socket);
    let Err(tlsify_client::Error::Failed(failed)) = pending.wait() else { panic!("it opened") };
    assert_eq!((failed.code, failed.alert), (Code::ResetByPeer, None));

    let (pending, mut socket) = handover::begin(&client, |accept| accept);
    // fatal, user_canceled, in the clear
    socket.write_all(&[21, 3, 3, 0, 2, 2, 90]).unwrap();
    let Err(tlsify_client::Error::Failed(failed)) = pending.wait() else { panic!("it opened") };
    let alert = Alert { description: 90, from: Party::Peer };
    assert_eq!((failed.code, failed.alert), (Code::AlertReceived, Some(alert)));
}
