//! Descriptors that are not what their name says: each is refused by name, closed, and nothing of it is touched.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::event::epoll;
use rustix::fs::{Mode, OFlags, open};
use rustix::net::{AddressFamily, SocketType, socket};
use tlsifyd_tests::daemon::seqpacket_pair;
use tlsifyd_tests::{RawCaller, TempDir, pki, tcp_pair};

use super::with_caller;

/// Something that is wrong in some places, and what keeps it as it is meanwhile.
struct Wrong {
    what: &'static str,
    fd: OwnedFd,
    _other_end: Option<OwnedFd>,
}

fn wrong(what: &'static str, fd: impl Into<OwnedFd>) -> Wrong {
    Wrong { what, fd: fd.into(), _other_end: None }
}

/// What is neither a stream of bytes nor a file with something in it.
fn never_right(dir: &TempDir) -> Vec<Wrong> {
    let file = dir.path().join("file");
    fs::write(&file, "some bytes").unwrap();
    let path_only = |path, flags| open(path, flags | OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let (packet, far) = seqpacket_pair();
    vec![
        wrong("a listening TCP socket", TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()),
        wrong("a listening Unix socket", UnixListener::bind(dir.path().join("listening")).unwrap()),
        wrong("a UDP socket", UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()),
        wrong("an unconnected TCP socket", socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()),
        wrong("an unconnected Unix socket", socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap()),
        Wrong { what: "a packet socket", fd: packet, _other_end: Some(far) },
        wrong("an epoll instance", epoll::create(epoll::CreateFlags::CLOEXEC).unwrap()),
        wrong("a file opened as a path only", path_only(file.as_path(), OFlags::empty())),
        wrong("a directory opened as a path only", path_only(dir.path(), OFlags::DIRECTORY)),
    ]
}

/// What is right for data in one direction at most.
fn no_sockets(dir: &TempDir) -> Vec<Wrong> {
    let (reader, writer) = std::io::pipe().unwrap();
    vec![
        wrong("a directory", File::open(dir.path()).unwrap()),
        wrong("a regular file", File::open(dir.path().join("file")).unwrap()),
        wrong("a device", File::open("/dev/null").unwrap()),
        Wrong { what: "a pipe", fd: reader.into(), _other_end: Some(writer.into()) },
    ]
}

/// Connected, and good for neither certificates nor keys.
fn no_files(dir: &TempDir) -> Vec<Wrong> {
    let (near, far) = UnixStream::pair().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut all = never_right(dir);
    all.extend([
        Wrong { what: "a connected socket", fd: near.into(), _other_end: Some(far.into()) },
        Wrong { what: "a pipe", fd: reader.into(), _other_end: Some(writer.into()) },
        wrong("a device", File::open("/dev/zero").unwrap()),
    ]);
    all
}

#[track_caller]
fn refused(caller: &RawCaller, text: &str, fds: &[&dyn AsFd], about: &str, what: &str) {
    let answer = caller.ask(text, fds);
    let told = (answer.verb(), answer.get("code"), answer.get("about"));
    assert_eq!(told, ("refused", Some("descriptor-kind"), Some(about)), "{what} as {about}: {}", answer.text);
}

const CONNECT: &str = "tlsify/1 connect\nid=1\nname=server.example\n";

#[test]
fn what_is_no_connected_stream_socket_is_neither_net_nor_plain() {
    with_caller(|caller, _| {
        let dir = &TempDir::new("kinds");
        let (good, _far) = tcp_pair();
        let wrongs: Vec<Wrong> = never_right(dir).into_iter().chain(no_sockets(dir)).collect();
        for Wrong { what, fd, .. } in &wrongs {
            refused(caller, &format!("{CONNECT}fds=net\n"), &[fd], "net", what);
            refused(caller, &format!("{CONNECT}fds=net plain\n"), &[&good, fd], "plain", what);
        }
    });
}

#[test]
fn what_carries_no_bytes_is_neither_inbound_nor_outbound() {
    with_caller(|caller, _| {
        let dir = &TempDir::new("kinds");
        let (good, _far) = tcp_pair();
        let mut wrongs = never_right(dir);
        wrongs.push(wrong("a directory", File::open(dir.path()).unwrap()));
        for Wrong { what, fd, .. } in &wrongs {
            for name in ["inbound", "outbound"] {
                refused(caller, &format!("{CONNECT}fds=net {name}\n"), &[&good, fd], name, what);
            }
        }
        let (reader, writer) = std::io::pipe().unwrap();
        let text = format!("{CONNECT}fds=net inbound outbound\n");
        refused(caller, &text, &[&good, &reader, &reader], "inbound", "the reading end of a pipe");
        refused(caller, &text, &[&good, &writer, &writer], "outbound", "the writing end of a pipe");
    });
}

#[test]
fn what_is_no_file_is_neither_certificate_nor_key_nor_ca() {
    with_caller(|caller, _| {
        let dir = &TempDir::new("kinds");
        let (net, _far) = tcp_pair();
        let server = pki().server(tlsifyd_tests::KeyKind::EcdsaP256);
        let (certificate, key) = (server.certificate_fd(), server.key_fd());
        let mut wrongs = no_files(dir);
        wrongs.push(wrong("a directory", File::open(dir.path()).unwrap()));
        for Wrong { what, fd, .. } in &wrongs {
            let accept = "tlsify/1 accept\nid=1\nfds=net certificate key\n";
            let define = "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key ocsp\n";
            refused(caller, accept, &[&net, fd, &key], "certificate", what);
            refused(caller, accept, &[&net, &certificate, fd], "key", what);
            refused(caller, define, &[&certificate, &key, fd], "ocsp", what);
            if *what != "a directory" {
                let connect = format!("{CONNECT}trust=descriptor\nfds=net ca\n");
                refused(caller, &connect, &[&net, fd], "ca", what);
            }
        }
    });
}

#[test]
fn the_network_socket_is_no_place_for_the_plaintext() {
    with_caller(|caller, _| {
        for (fds, about) in [("net plain", "plain"), ("net inbound", "inbound"), ("net outbound", "outbound")]
        {
            let (net, _far) = tcp_pair();
            let copy = net.try_clone().unwrap();
            refused(caller, &format!("{CONNECT}fds={fds}\n"), &[&net, &copy], about, "the same socket");
        }
    });
}

#[test]
fn the_control_connection_itself_is_nothing_to_speak_tls_on() {
    with_caller(|caller, daemon| {
        let (good, _far) = tcp_pair();
        refused(caller, &format!("{CONNECT}fds=net\n"), &[&caller.socket], "net", "our own control socket");
        let text = format!("{CONNECT}fds=net plain\n");
        refused(caller, &text, &[&good, &caller.socket], "plain", "our own control socket");
        let other = RawCaller::connect(daemon.socket());
        refused(caller, &format!("{CONNECT}fds=net\n"), &[&other.socket], "net", "another control socket");
    });
}

#[test]
fn a_file_that_cannot_be_read_or_is_too_large_is_told_from_one_of_another_kind() {
    with_caller(|caller, _| {
        let dir = &TempDir::new("kinds");
        let (net, _far) = tcp_pair();
        let file = dir.path().join("certificate");
        let write_only = File::create(&file).unwrap();
        // Another file: one that is both is the keyholder's to read, and the key's descriptor to complain of.
        let key = File::create(dir.path().join("key")).unwrap();
        let accept = "tlsify/1 accept\nid=1\nfds=net certificate key\n";
        caller
            .ask(accept, &[&net, &write_only, &key])
            .assert_refused("descriptor-unreadable", Some("certificate"));
        caller
            .ask(accept, &[&net, &write_only, &write_only])
            .assert_refused("descriptor-unreadable", Some("key"));
        // Sparse: its size is enough to refuse it.
        write_only.set_len((1 << 20) + 1).unwrap();
        let large = File::open(&file).unwrap();
        caller
            .ask(accept, &[&net, &large, &key])
            .assert_refused("descriptor-unreadable", Some("certificate"));
    });
}

#[test]
fn the_end_of_a_pair_whose_other_end_is_closed_is_a_peer_that_has_gone() {
    with_caller(|caller, _| {
        let (near, far) = UnixStream::pair().unwrap();
        drop(far);
        let answer = caller.ask(format!("{CONNECT}fds=net\n"), &[&near]);
        let told = (answer.verb(), answer.get("code"), answer.get("blame"));
        match told {
            ("failed", Some("closed-by-peer" | "reset-by-peer"), Some("peer")) => {}
            _ => panic!("{}", answer.text),
        }
    });
}
