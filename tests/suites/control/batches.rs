//! Answers that come several in one packet, and for whom.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::version::TLS13;
use tlsify_protocol::Answer;
use tlsify_protocol::text::answers;
use tlsifyd_tests::peer::client_config;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Options, Peer, RawCaller, TestDaemon, exclusive, pki, running, tcp_pair};

use super::caller;

const SESSIONS: u64 = 12;

/// Hands a connection over; the peer shakes hands in a thread and says its id.
fn begin(caller: &RawCaller, id: u64, batch: &str) -> impl FnOnce() -> Peer + use<> {
    let (far, near) = tcp_pair();
    caller.send(format!("tlsify/1 accept\nid={id}\nfds=net\nprofile=p\n{batch}"), &[&near]);
    let peer = running("peer", move || peer(far, id));
    move || peer.join()
}

fn peer(socket: TcpStream, id: u64) -> Peer {
    let mut peer = Peer::client(socket, client_config(pki().ca.roots(), &[&TLS13], None), SERVER_NAME);
    peer.handshake().expect("a handshake");
    peer.write_all(&id.to_be_bytes()).expect("the session is open");
    peer
}

/// The next packet, as its messages: each with its descriptors.
fn packet(caller: &RawCaller) -> Vec<(String, Vec<OwnedFd>)> {
    let packet = caller.answer();
    let mut fds = packet.fds.into_iter();
    let messages = answers(packet.text.as_bytes()).map(|bytes| {
        let count = match Answer::parse(bytes).expect("an answer") {
            Answer::Established(established) => established.fds.iter().count(),
            _ => 0,
        };
        (String::from_utf8(bytes.to_vec()).expect("text"), fds.by_ref().take(count).collect())
    });
    let messages = messages.collect();
    assert_eq!(fds.count(), 0, "a descriptor that no message names");
    messages
}

fn id(message: &str) -> u64 {
    let id = message.lines().find_map(|line| line.strip_prefix("id="));
    id.and_then(|id| id.parse().ok()).expect("answers have an id")
}

/// Opens all sessions; gives the program's side of each, and the peers.
fn open(caller: &RawCaller, batch: &str) -> (BTreeMap<u64, UnixStream>, Vec<Peer>) {
    let peers: Vec<_> = (2..2 + SESSIONS).map(|id| begin(caller, id, batch)).collect();
    let mut programs = BTreeMap::new();
    while programs.len() < peers.len() {
        for (message, mut fds) in packet(caller) {
            assert!(message.starts_with("tlsify/1 established\n"), "{message}");
            programs.insert(id(&message), UnixStream::from(fds.remove(0)));
        }
    }
    (programs, peers.into_iter().map(|peer| peer()).collect())
}

#[test]
fn each_descriptor_goes_to_its_own_session_however_many_come_at_once() {
    let daemon =
        TestDaemon::with(Options { args: vec!["--workers".into(), "1".into()], ..Options::default() });
    for batch in ["", "batch=yes\n"] {
        let caller = caller(&daemon);
        let (programs, _peers) = open(&caller, batch);
        for (id, mut program) in programs {
            program.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
            let mut said = [0; 8];
            program.read_exact(&mut said).expect("the peer has said it");
            assert_eq!(u64::from_be_bytes(said), id, "another session's plaintext");
        }
    }
}

#[test]
fn ends_of_one_moment_come_in_few_packets_for_who_takes_that_and_one_by_one_for_others() {
    // Stopping the daemon is no time for others to count its descriptors.
    let _alone = exclusive();
    for (batch, most) in [("", SESSIONS), ("batch=yes\n", SESSIONS / 2)] {
        let daemon =
            TestDaemon::with(Options { args: vec!["--workers".into(), "1".into()], ..Options::default() });
        let caller = caller(&daemon);
        let (programs, mut peers) = open(&caller, batch);
        let pid = Pid::from_raw(daemon.worker().try_into().expect("a process id fits"));
        kill(pid, Signal::SIGSTOP).expect("our own child");
        drop(programs);
        for peer in &mut peers {
            peer.close_notify().expect("the socket takes it");
        }
        kill(pid, Signal::SIGCONT).expect("our own child");
        let (mut packets, mut ended) = (0, Vec::new());
        while ended.len() < peers.len() {
            let messages = packet(&caller);
            assert!(messages.len() == 1 || !batch.is_empty(), "a batch that nobody asked for");
            packets += 1;
            for (message, _) in messages {
                assert!(message.starts_with("tlsify/1 ended\n"), "{message}");
                ended.push(id(&message));
            }
        }
        ended.sort_unstable();
        assert!(ended.iter().copied().eq(2..2 + SESSIONS), "{ended:?}");
        assert!(packets <= most, "{packets} packets for {SESSIONS} answers");
    }
}
