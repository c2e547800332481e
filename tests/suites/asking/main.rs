//! Decisions before TLS starts: what a caller is told of a peer, what it can make of it, and that a connection which is
//! given back is as it was.

mod choices;
mod deadlines;
mod given_back;
mod hellos;
mod many;
mod peers;
mod programs;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::ioctl_fionread;
use tlsifyd_tests::handover::client_peer;
use tlsifyd_tests::peer::tcp_pair;
use tlsifyd_tests::wait::{LIMIT, Running, running, until};
use tlsifyd_tests::{KeyKind, Peer, RawAnswer, RawCaller, TestDaemon, pki};

/// The key of the profile `own`, which the requests here name, and of `other`.
const OWN: KeyKind = KeyKind::EcdsaP256;
const OTHER: KeyKind = KeyKind::Rsa2048;

/// Far beyond what a test takes.
const PATIENT: &str = "ask-timeout=20000\nhandshake-timeout=20000\n";

/// A caller with two profiles.
fn caller(daemon: &TestDaemon) -> RawCaller {
    let caller = RawCaller::connect(daemon.socket());
    for (id, (name, kind)) in [("own", OWN), ("other", OTHER)].into_iter().enumerate() {
        let identity = pki().server(kind);
        let text = format!("tlsify/1 define\nid={id}\nprofile={name}\nrole=server\nfds=certificate key\n");
        let defined = caller.ask(text, &[&identity.certificate_fd(), &identity.key_fd()]);
        assert_eq!(defined.verb(), "defined", "{}", defined.text);
    }
    caller
}

/// A connection that was handed over.
struct Handed {
    /// The peer's end.
    peer: TcpStream,
    /// The caller's copy of the other.
    copy: TcpStream,
}

/// Hands one end of a connection over, to be asked about it with these lines.
fn hand(caller: &RawCaller, id: u64, lines: &str) -> Handed {
    hand_after(caller, id, lines, b"")
}

/// The same when the peer has sent this: with a short time to wait, it is not the machine that decides.
fn hand_after(caller: &RawCaller, id: u64, lines: &str, first: &[u8]) -> Handed {
    let (mut peer, net) = tcp_pair();
    for socket in [&peer, &net] {
        socket.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    }
    peer.write_all(first).expect("it is open");
    let there = || (ioctl_fionread(&net).ok()? >= first.len() as u64).then_some(());
    until(LIMIT, there).expect("the bytes arrive");
    send(caller, id, lines, &net);
    Handed { peer, copy: net }
}

fn send(caller: &RawCaller, id: u64, lines: &str, net: impl AsFd) {
    // Where a test says nothing of it, no deadline decides.
    let patient = if lines.contains("-timeout=") { "" } else { PATIENT };
    let text = format!("tlsify/1 accept\nid={id}\nfds=net\nprofile=own\nask=client-hello\n{lines}{patient}");
    caller.send(text, &[&net]);
}

fn choose(caller: &RawCaller, id: u64, lines: &str) {
    caller.send(format!("tlsify/1 choose\nid={id}\n{lines}"), &[]);
}

/// The next answer is the question about this session.
#[track_caller]
fn asked(caller: &RawCaller, id: u64) -> RawAnswer {
    let answer = caller.answer();
    assert_eq!(
        (answer.verb(), answer.get("id")),
        ("client-hello", Some(&*id.to_string())),
        "{}",
        answer.text
    );
    answer
}

/// The next answer is this session's failure.
#[track_caller]
fn assert_failed(caller: &RawCaller, id: u64, code: &str, blame: &str, socket: &str) -> RawAnswer {
    let answer = caller.answer();
    let told =
        (answer.verb(), answer.get("id"), answer.get("code"), answer.get("blame"), answer.get("socket"));
    let wanted = ("failed", Some(&*id.to_string()), Some(code), Some(blame), Some(socket));
    assert_eq!(told, wanted, "{}", answer.text);
    answer
}

/// The bytes that a client says first: rustls', for the good server.
fn hello() -> Vec<u8> {
    let (socket, _) = tcp_pair();
    let mut bytes = Vec::new();
    client_peer(socket).tls.write_tls(&mut bytes).expect("a vector takes it");
    bytes
}

/// A client's handshake, which waits for us.
fn handshake(peer: TcpStream) -> Running<Result<Peer, String>> {
    go_on(client_peer(peer))
}

/// The same of one that may have begun.
fn go_on(mut peer: Peer) -> Running<Result<Peer, String>> {
    running("a client's handshake", move || {
        peer.handshake().map_err(|error| error.to_string())?;
        Ok(peer)
    })
}

/// The session opens, and its peer was shown this key.
#[track_caller]
fn assert_open(caller: &RawCaller, id: u64, peer: Running<Result<Peer, String>>, kind: KeyKind) {
    let mut answer = caller.answer();
    assert_eq!((answer.verb(), answer.get("id")), ("established", Some(&*id.to_string())), "{}", answer.text);
    let mut peer = peer.join().expect("the handshake is done");
    let shown = peer.tls.peer_certificates().expect("a server shows its certificate")[0].clone();
    assert_eq!(shown, pki().server(kind).chain()[0], "another certificate than {kind:?}");
    let mut plain = UnixStream::from(answer.fds.remove(0));
    plain.write_all(b"to the peer").expect("the session is open");
    assert_eq!(peer.read_exact(11).expect("the session is open"), b"to the peer");
    peer.half_close().expect("the session is open");
    let mut rest = Vec::new();
    plain.read_to_end(&mut rest).expect("the peer has ended its stream");
    drop(plain);
    let ended = caller.answer();
    assert_eq!((ended.verb(), ended.get("how")), ("ended", Some("close-notify")), "{}", ended.text);
}

/// Exactly these bytes, and nothing else, wait on the socket.
#[track_caller]
fn assert_unread(mut socket: &TcpStream, bytes: &[u8]) {
    until(LIMIT, || (ioctl_fionread(socket).unwrap() >= bytes.len() as u64).then_some(()))
        .expect("the bytes arrive");
    assert_eq!(ioctl_fionread(socket).unwrap(), bytes.len() as u64);
    let mut unread = vec![0; bytes.len()];
    socket.read_exact(&mut unread).expect("they are there");
    assert!(unread == bytes, "other bytes than were sent");
}

/// Bytes go both ways over a connection that nobody speaks TLS on.
#[track_caller]
fn assert_plain(Handed { peer, copy }: &mut Handed) {
    peer.write_all(b"ping").expect("it is open");
    assert_unread(copy, b"ping");
    copy.write_all(b"pong").expect("it is open");
    assert_unread(peer, b"pong");
}

fn handshakes(caller: &RawCaller) -> String {
    let status = caller.ask("tlsify/1 status\nid=99999\n", &[]);
    status.get("handshakes").expect("status counts them").to_owned()
}
