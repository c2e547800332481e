//! Each kind of data descriptor carries a session in both directions, to its end.

use std::fs::File;
use std::io::{Read, Seek, Write, pipe};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use tlsify_client::{Accept, Client, Established, How};
use tlsifyd_tests::handover::open_with;
use tlsifyd_tests::{End, Peer, TempDir, TestDaemon, tcp_pair};

use super::{copy, file, terminal};

/// Opens a session; the request and its descriptors are closed then.
fn open(client: &Client, options: impl FnOnce(Accept) -> Accept) -> (Established, Peer) {
    let (established, peer) = open_with(client, options);
    assert!(established.plain.is_none(), "the caller gave the data descriptors");
    (established, peer)
}

/// The peer says its part and that this was all.
fn peer_says(peer: &mut Peer, text: &str) {
    peer.write_all(text.as_bytes()).unwrap();
    peer.half_close().unwrap();
}

/// The peer hears this, and that this was all.
#[track_caller]
fn peer_hears(peer: &mut Peer, text: &str) {
    let (heard, end) = peer.read_to_end().unwrap();
    assert_eq!((String::from_utf8_lossy(&heard).as_ref(), end), (text, End::CloseNotify));
}

#[track_caller]
fn ends_well(established: &Established, bytes_in: usize, bytes_out: usize) {
    let ended = established.session.ended().unwrap();
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    assert_eq!((ended.bytes_in, ended.bytes_out), (bytes_in as u64, bytes_out as u64));
}

fn read(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_unix_socket_and_a_back_ends_tcp_connection() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (established, mut peer) = open(&client, |accept| accept.plain(theirs));
    ours.write_all(b"from the program").unwrap();
    ours.shutdown(Shutdown::Write).unwrap();
    peer_hears(&mut peer, "from the program");
    peer_says(&mut peer, "from the peer");
    assert_eq!(read(&ours), "from the peer");
    ends_well(&established, 13, 16);

    let (mut back_end, connection) = tcp_pair();
    let (established, mut peer) = open(&client, |accept| accept.plain(connection));
    peer_says(&mut peer, "a question");
    assert_eq!(read(&back_end), "a question");
    back_end.write_all(b"an answer").unwrap();
    back_end.shutdown(Shutdown::Write).unwrap();
    peer_hears(&mut peer, "an answer");
    ends_well(&established, 10, 9);
}

#[test]
fn two_pipes() {
    let daemon = TestDaemon::start();
    let (inbound, outbound) = (pipe().unwrap(), pipe().unwrap());
    let (established, mut peer) =
        open(&daemon.client(), |accept| accept.inbound(inbound.1).outbound(outbound.0));
    let mut to_peer = outbound.1;
    to_peer.write_all(b"through a pipe").unwrap();
    drop(to_peer);
    peer_hears(&mut peer, "through a pipe");
    peer_says(&mut peer, "through another");
    assert_eq!(read(inbound.0), "through another");
    ends_well(&established, 15, 14);
}

#[test]
fn a_pipe_in_and_a_file_out() {
    let daemon = TestDaemon::start();
    let dir = TempDir::new("flags");
    let mut content = file(&dir, "content", "skipped, and sent");
    // As a shell would: what was read before is not sent.
    content.seek(std::io::SeekFrom::Start(9)).unwrap();
    let (reader, writer) = pipe().unwrap();
    let (established, mut peer) = open(&daemon.client(), |accept| accept.inbound(writer).outbound(content));
    peer_hears(&mut peer, "and sent");
    peer_says(&mut peer, "thank you");
    assert_eq!(read(reader), "thank you");
    ends_well(&established, 9, 8);
}

#[test]
fn a_file_in_that_is_complete_when_the_end_is_told_and_a_pipe_out() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let dir = TempDir::new("flags");
    let long = "0123456789abcdef".repeat(1 << 14);
    for round in 0..10 {
        let mut log = file(&dir, &format!("log-{round}"), "before\n");
        log.seek(std::io::SeekFrom::End(0)).unwrap();
        let (reader, writer) = pipe().unwrap();
        let given = log.try_clone().unwrap();
        let (established, mut peer) = open(&client, |accept| accept.inbound(given).outbound(reader));
        drop(writer);
        peer_says(&mut peer, &long);
        peer_hears(&mut peer, "");
        // Not read to its end before, and not looked at again after.
        ends_well(&established, long.len(), 0);
        log.rewind().unwrap();
        assert!(read(&log) == format!("before\n{long}"), "round {round}: the file has not everything");
    }
}

#[test]
fn a_terminal() {
    let daemon = TestDaemon::start();
    let (mut person, program) = terminal();
    let (established, mut peer) =
        open(&daemon.client(), |accept| accept.inbound(copy(&program)).outbound(copy(&program)));
    person.write_all(b"typed").unwrap();
    assert_eq!(peer.read_exact(5).unwrap(), b"typed");
    peer.write_all(b"shown").unwrap();
    let mut shown = [0; 5];
    person.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b"shown");
    peer.write_all(b", and gone").unwrap();
    peer.half_close().unwrap();
    // A terminal has no end while somebody has it; the caller ends the session.
    let mut shown = [0; 10];
    person.read_exact(&mut shown).unwrap();
    assert_eq!(&shown, b", and gone");
    established.session.cancel().unwrap();
    let ended = established.session.ended().unwrap();
    assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::Cancelled, 15, 5));
    // At rest the daemon has closed its copies: what is typed from now on is for whoever reads next.
    daemon.baseline();
    person.write_all(b"next").unwrap();
    let mut next = [0; 4];
    (&program).read_exact(&mut next).unwrap();
    assert_eq!(&next, b"next");
}

#[test]
fn a_terminal_that_hangs_up_is_the_end_of_what_is_said() {
    let daemon = TestDaemon::start();
    let (mut person, program) = terminal();
    let null = File::options().write(true).open("/dev/null").unwrap();
    let (established, mut peer) = open(&daemon.client(), |accept| accept.inbound(null).outbound(program));
    person.write_all(b"good bye").unwrap();
    assert_eq!(peer.read_exact(8).unwrap(), b"good bye");
    drop(person);
    peer_hears(&mut peer, "");
    peer_says(&mut peer, "too late");
    ends_well(&established, 8, 8);
}

#[test]
fn dev_null_both_ways() {
    let daemon = TestDaemon::start();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let (established, mut peer) =
        open(&daemon.client(), |accept| accept.inbound(copy(&null)).outbound(copy(&null)));
    peer_hears(&mut peer, "");
    peer_says(&mut peer, "to nobody");
    ends_well(&established, 9, 0);
}

#[test]
fn one_direction_alone() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let (reader, writer) = pipe().unwrap();
    let (established, mut peer) = open(&client, |accept| accept.inbound(writer));
    // Without outbound the peer gets nothing, and is told so.
    peer_hears(&mut peer, "");
    peer_says(&mut peer, "only in");
    assert_eq!(read(reader), "only in");
    ends_well(&established, 7, 0);

    let (reader, mut writer) = pipe().unwrap();
    let (established, mut peer) = open(&client, |accept| accept.outbound(reader));
    peer.write_all(b"dropped").unwrap();
    writer.write_all(b"only out").unwrap();
    drop(writer);
    peer_hears(&mut peer, "only out");
    peer_says(&mut peer, "dropped, too");
    ends_well(&established, 0, 8);
}
