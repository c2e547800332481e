//! A session on each kind of data descriptor: what goes in at one end comes out at the other, whole.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use tlsify_client::{Accept, Client, Ended, How, Session};
use tlsifyd_tests::handover::open_with;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{End, Peer, TempDir, tcp_pair};

use super::{terminal, with_client};

/// More than any socket or pipe takes at once, and a size that divides nothing.
const MUCH: usize = 300_001;

fn bytes(seed: u8) -> Vec<u8> {
    (0..MUCH).map(|at| (at % 251) as u8 ^ seed).collect()
}

/// A session on descriptors of the caller's.
fn open(client: &Client, options: impl FnOnce(Accept) -> Accept) -> (Session, Peer) {
    let (established, peer) = open_with(client, options);
    assert!(established.plain.is_none(), "the caller gave the data descriptors");
    (established.session, peer)
}

/// How it ended, which is told in time.
fn ended(session: &Session) -> Ended {
    session.ended_within(LIMIT).unwrap().expect("the session ends")
}

/// Both have said everything.
#[track_caller]
fn clean(ended: &Ended, inbound: usize, outbound: usize) {
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    assert_eq!((ended.bytes_in, ended.bytes_out), (inbound as u64, outbound as u64));
}

/// The program's end of a stream, and a session on the other: everything both ways, then both half-close.
fn echo_through<S: Read + Write + Send + 'static>(client: &Client, near: S, given: OwnedFd, finish: fn(&S)) {
    let (session, mut peer) = open(client, |accept| accept.plain(given));
    let program = tlsifyd_tests::running("program", move || {
        let mut near = near;
        let mut got = vec![0; MUCH];
        near.read_exact(&mut got).unwrap();
        near.write_all(&got).unwrap();
        finish(&near);
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).unwrap();
        rest
    });
    assert!(peer.both_ways(&bytes(1), MUCH).unwrap() == bytes(1), "what came back is what was sent");
    peer.half_close().unwrap();
    assert!(program.join().is_empty());
    assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
    clean(&ended(&session), MUCH, MUCH);
}

#[test]
fn a_unix_socket_of_the_callers() {
    with_client(|client, _| {
        let (near, given) = UnixStream::pair().unwrap();
        near.set_read_timeout(Some(LIMIT)).unwrap();
        echo_through(client, near, given.into(), |near| near.shutdown(std::net::Shutdown::Write).unwrap());
    });
}

#[test]
fn the_tcp_connection_of_a_proxy_to_its_back_end() {
    with_client(|client, _| {
        let (given, back_end) = tcp_pair();
        back_end.set_read_timeout(Some(LIMIT)).unwrap();
        echo_through(client, back_end, given.into(), |near| {
            near.shutdown(std::net::Shutdown::Write).unwrap()
        });
    });
}

#[test]
fn one_socket_for_each_direction() {
    with_client(|client, _| {
        let ((mut from, inbound), (mut to, outbound)) =
            (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let (session, mut peer) = open(client, |accept| accept.inbound(inbound).outbound(outbound));
        to.write_all(b"out").unwrap();
        to.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(peer.read_to_end().unwrap(), (b"out".to_vec(), End::CloseNotify));
        peer.write_all(b"in").unwrap();
        peer.half_close().unwrap();
        let mut got = Vec::new();
        from.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"in");
        clean(&ended(&session), 2, 3);
    });
}

#[test]
fn two_pipes() {
    with_client(|client, _| {
        let ((mut from, inbound), (outbound, mut to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        let (session, mut peer) = open(client, |accept| accept.inbound(inbound).outbound(outbound));
        let program = tlsifyd_tests::running("program", move || {
            let mut got = vec![0; MUCH];
            from.read_exact(&mut got).unwrap();
            to.write_all(&got).unwrap();
            drop(to);
            from.read_to_end(&mut Vec::new()).unwrap()
        });
        assert!(peer.both_ways(&bytes(2), MUCH).unwrap() == bytes(2));
        peer.half_close().unwrap();
        assert_eq!(program.join(), 0);
        assert_eq!(peer.read_to_end().unwrap().1, End::CloseNotify);
        clean(&ended(&session), MUCH, MUCH);
    });
}

#[test]
fn a_pipe_in_and_a_file_out_and_everything_is_on_the_file_before_the_end_is_told() {
    with_client(|client, _| {
        let dir = TempDir::new("data");
        for round in 0..10 {
            let path = dir.path().join(format!("out-{round}"));
            let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
            file.write_all(b"kept;").unwrap();
            let (outbound, mut to) = std::io::pipe().unwrap();
            let inbound = file.try_clone().unwrap();
            let (session, mut peer) = open(client, |accept| accept.inbound(inbound).outbound(outbound));
            to.write_all(b"out").unwrap();
            drop(to);
            peer.write_all(&bytes(3)).unwrap();
            peer.half_close().unwrap();
            clean(&ended(&session), MUCH, 3);
            // At once, and not after a while.
            let written = std::fs::read(&path).unwrap();
            let whole = written[..5] == *b"kept;" && written[5..] == bytes(3);
            assert!(whole, "round {round}: {} bytes", written.len());
            assert_eq!(file.stream_position().unwrap(), (5 + MUCH) as u64, "written where the caller stood");
            assert_eq!(peer.read_to_end().unwrap(), (b"out".to_vec(), End::CloseNotify));
        }
    });
}

#[test]
fn a_file_in_and_a_pipe_out() {
    with_client(|client, _| {
        let dir = TempDir::new("data");
        let path = dir.path().join("in");
        std::fs::write(&path, [&b"skipped;"[..], &bytes(4)].concat()).unwrap();
        let mut outbound = File::open(&path).unwrap();
        // As a shell would: what was read before is not sent.
        outbound.seek(SeekFrom::Start(8)).unwrap();
        let (mut from, inbound) = std::io::pipe().unwrap();
        let (session, mut peer) = open(client, |accept| accept.inbound(inbound).outbound(outbound));
        let (got, end) = peer.read_to_end().unwrap();
        assert!(got == bytes(4) && end == End::CloseNotify, "{} bytes, {end:?}", got.len());
        peer.write_all(b"thanks").unwrap();
        peer.half_close().unwrap();
        let mut said = Vec::new();
        from.read_to_end(&mut said).unwrap();
        assert_eq!(said, b"thanks");
        clean(&ended(&session), 6, MUCH);
    });
}

#[test]
fn a_terminal_for_both_directions() {
    with_client(|client, _| {
        let (mut person, terminal) = terminal();
        let (session, mut peer) =
            open(client, |accept| accept.inbound(terminal.try_clone().unwrap()).outbound(terminal));
        peer.write_all(b"login: ").unwrap();
        let mut prompt = [0; 7];
        person.read_exact(&mut prompt).unwrap();
        assert_eq!(&prompt, b"login: ");
        person.write_all(b"somebody\n").unwrap();
        assert_eq!(peer.read_exact(9).unwrap(), b"somebody\n");
        // The line is hung up: the terminal's end is the program's end.
        drop(person);
        let end = peer.read_to_end().unwrap().1;
        assert_eq!(end, End::CloseNotify);
        let _ = peer.half_close();
        let ended = ended(&session);
        assert!(matches!(ended.how, How::CloseNotify | How::Caller), "{ended:?}");
        assert_eq!((ended.bytes_in, ended.bytes_out), (7, 9));
    });
}

#[test]
fn a_terminal_that_hangs_up_is_the_end_of_what_is_said_and_the_peer_may_go_on() {
    with_client(|client, _| {
        let (mut person, program) = terminal();
        let null = File::options().write(true).open("/dev/null").unwrap();
        let (session, mut peer) = open(client, |accept| accept.inbound(null).outbound(program));
        person.write_all(b"good bye").unwrap();
        assert_eq!(peer.read_exact(8).unwrap(), b"good bye");
        drop(person);
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        peer.write_all(b"too late").unwrap();
        peer.half_close().unwrap();
        clean(&ended(&session), 8, 8);
    });
}

#[test]
fn a_terminal_is_left_to_whoever_reads_next_when_its_session_is_cancelled() {
    with_client(|client, daemon| {
        let (mut person, mut program) = terminal();
        let [inbound, outbound] = [&program, &program].map(|program| program.try_clone().unwrap());
        let (session, mut peer) = open(client, |accept| accept.inbound(inbound).outbound(outbound));
        person.write_all(b"typed").unwrap();
        assert_eq!(peer.read_exact(5).unwrap(), b"typed");
        peer.write_all(b"shown, and gone").unwrap();
        peer.half_close().unwrap();
        let mut shown = [0; 15];
        person.read_exact(&mut shown).unwrap();
        assert_eq!(&shown, b"shown, and gone");
        // A terminal has no end while somebody has it; the caller ends the session.
        session.cancel().unwrap();
        let ended = ended(&session);
        assert_eq!((ended.how, ended.bytes_in, ended.bytes_out), (How::Cancelled, 15, 5));
        // At rest the daemon has closed its copies: what is typed from now on is for whoever reads next.
        daemon.baseline();
        person.write_all(b"next").unwrap();
        let mut next = [0; 4];
        program.read_exact(&mut next).unwrap();
        assert_eq!(&next, b"next");
    });
}

#[test]
fn dev_null_for_both_directions() {
    with_client(|client, _| {
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        let (session, mut peer) =
            open(client, |accept| accept.inbound(null.try_clone().unwrap()).outbound(null));
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        peer.write_all(&bytes(5)).unwrap();
        peer.half_close().unwrap();
        clean(&ended(&session), MUCH, 0);
    });
}

#[test]
fn only_inbound_and_the_peer_is_told_at_once_that_nothing_comes() {
    with_client(|client, _| {
        let (mut from, inbound) = std::io::pipe().unwrap();
        let (session, mut peer) = open(client, |accept| accept.inbound(inbound));
        assert_eq!(peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        peer.write_all(b"one way").unwrap();
        peer.half_close().unwrap();
        let mut got = Vec::new();
        from.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"one way");
        clean(&ended(&session), 7, 0);
    });
}

#[test]
fn only_outbound_and_what_the_peer_sends_is_dropped() {
    with_client(|client, _| {
        let (outbound, mut to) = std::io::pipe().unwrap();
        let (session, mut peer) = open(client, |accept| accept.outbound(outbound));
        peer.write_all(&bytes(6)).unwrap();
        to.write_all(b"one way").unwrap();
        drop(to);
        assert_eq!(peer.read_to_end().unwrap(), (b"one way".to_vec(), End::CloseNotify));
        peer.half_close().unwrap();
        clean(&ended(&session), 0, 7);
    });
}

#[test]
fn a_pipe_whose_reader_is_gone_ends_the_session_and_not_the_daemon() {
    with_client(|client, _| {
        let ((from, inbound), (outbound, to)) = (std::io::pipe().unwrap(), std::io::pipe().unwrap());
        drop(from);
        let (session, mut peer) = open(client, |accept| accept.inbound(inbound).outbound(outbound));
        let _ = peer.write_all(b"to nobody");
        assert_eq!(ended(&session).how, How::Caller);
        drop(to);
    });
}

#[test]
fn a_disk_that_is_full_is_never_a_clean_end() {
    with_client(|client, _| {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (outbound, to) = std::io::pipe().unwrap();
        let (session, mut peer) = open(client, |accept| accept.inbound(full).outbound(outbound));
        // The end of the stream is there before the disk says no.
        peer.write_all(b"lost").unwrap();
        peer.half_close().unwrap();
        drop(to);
        assert_eq!(ended(&session).how, How::Caller);
    });
}
