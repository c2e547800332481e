//! One address: it is connected, or what came of it is told, and the sockets are as they were.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::{AddressFamily, bind};
use tlsify_client::{Code, Connect, Socket, Trust};
use tlsifyd_tests::outgoing::server_peer;
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{BlackHole, pki};

use super::{
    address, arrival, assert_failed, assert_kind, assert_put_back, begin, both, copies, dial, flags, four,
    listen, nobody, open, tcp, with_client,
};

#[test]
fn the_session_is_on_the_socket_that_was_connected_and_its_ends_are_told() {
    with_client(|client, _| {
        for nonblocking in [false, true] {
            let listener = listen(Ipv4Addr::LOCALHOST);
            let sockets = both();
            let copies = copies(&sockets);
            let before = flags(&copies, nonblocking);
            let session = open(client, dial(address(&listener), sockets), &listener);
            let facts = &session.established.facts;
            assert_eq!(facts.peer.unwrap().to_string(), address(&listener).to_string());
            let ours = session.peer.socket.peer_addr().unwrap();
            assert_eq!(facts.local.unwrap().to_string(), ours.to_string());
            // Of the two, the one of the other family was not touched.
            let connected = SocketAddr::try_from(rustix::net::getsockname(&copies[0]).unwrap()).unwrap();
            assert_eq!(connected, ours);
            assert_put_back(&copies[1..], &before[1..]);
            assert_eq!(rustix::fs::fcntl_getfl(&copies[0]).unwrap(), before[0]);
        }
    });
}

#[test]
fn an_address_of_the_newer_family_is_written_in_brackets() {
    with_client(|client, _| {
        // A machine without IPv6: names::the_newer_family_is_tried_first has its own.
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let session = open(client, dial(address(&listener), both()), &listener);
        let peer = session.established.facts.peer.unwrap().to_string();
        assert!(peer.starts_with("[::1]:"), "{peer}");
    });
}

#[test]
fn localhost_is_found_and_connected() {
    with_client(|client, _| {
        let listener = listen(Ipv4Addr::LOCALHOST);
        let to = format!("localhost:{}", address(&listener).port());
        open(client, dial(&to, both()), &listener);
        // With the library's own sockets.
        let request = Connect::to(to).unwrap().name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
        open(client, request, &listener);
    });
}

#[test]
fn nobody_there_is_told_and_the_socket_can_be_used_again() {
    with_client(|client, _| {
        for nonblocking in [false, true] {
            let sockets = four();
            let copies = copies(&sockets);
            let before = flags(&copies, nonblocking);
            let to = nobody();
            let request = dial(to, sockets);
            let text = assert_failed(client.connect_tls(&request), Code::ConnectionRefused, Socket::Used);
            assert_eq!(text, format!("cannot connect to {to}: {to}: connection refused"));
            assert_put_back(&copies, &before);
            // The same socket, once more, where somebody is.
            let listener = listen(Ipv4Addr::LOCALHOST);
            open(client, dial(address(&listener), copies), &listener);
        }
    });
}

#[test]
fn nobody_who_answers_is_told_at_the_deadline() {
    with_client(|client, _| {
        let silent = BlackHole::at((Ipv4Addr::LOCALHOST, 0));
        let sockets = four();
        let copies = copies(&sockets);
        let before = flags(&copies, false);
        let request = dial(silent.address(), sockets).handshake_timeout(Duration::from_millis(300));
        let text = assert_failed(client.connect_tls(&request), Code::ConnectTimeout, Socket::Used);
        assert!(text.ends_with(": no answer"), "{text}");
        assert_put_back(&copies, &before);
    });
}

#[test]
fn a_family_without_a_socket_is_not_tried() {
    with_client(|client, _| {
        let listener = listen(Ipv4Addr::LOCALHOST);
        for (to, sockets) in [
            ("[::1]:443".to_owned(), four()),
            (address(&listener).to_string(), vec![tcp(AddressFamily::INET6)]),
        ] {
            let copies = copies(&sockets);
            let before = flags(&copies, false);
            let text =
                assert_failed(client.connect_tls(&dial(to, sockets)), Code::HostNotFound, Socket::Untouched);
            assert!(text.contains("no socket of its family"), "{text}");
            assert_put_back(&copies, &before);
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "somebody came all the same");
    });
}

#[test]
fn one_socket_of_another_kind_refuses_them_all_and_nothing_is_begun() {
    with_client(|client, _| {
        let listener = listen(Ipv4Addr::LOCALHOST);
        let silent = BlackHole::at((Ipv4Addr::LOCALHOST, 0));
        let connecting = tcp(AddressFamily::INET);
        rustix::io::ioctl_fionbio(&connecting, true).unwrap();
        let _ = rustix::net::connect(&connecting, &silent.address());
        let twice = tcp(AddressFamily::INET);
        let wrong: Vec<OwnedFd> = vec![
            TcpStream::connect(address(&listener)).unwrap().into(),
            listen(Ipv4Addr::LOCALHOST).into(),
            UdpSocket::bind("127.0.0.1:0").unwrap().into(),
            UnixStream::pair().unwrap().0.into(),
            std::fs::File::open("/dev/null").unwrap().into(),
            connecting,
            twice.try_clone().unwrap(),
        ];
        let _ = listener.accept().unwrap();
        for wrong in wrong {
            let good = [tcp(AddressFamily::INET6), twice.try_clone().unwrap()];
            let copies = copies(&good);
            let before = flags(&copies, false);
            let sockets = good.into_iter().chain([wrong]).collect();
            assert_kind(client.connect_tls(&dial(address(&listener), sockets)));
            assert_put_back(&copies, &before);
        }
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "somebody came all the same");
    });
}

#[test]
fn a_socket_keeps_the_address_that_it_was_bound_to() {
    with_client(|client, _| {
        let own = SocketAddr::from(([127, 0, 0, 9], nobody().port()));
        let socket = tcp(AddressFamily::INET);
        bind(&socket, &own).unwrap();
        // An attempt that fails changes nothing about it.
        let copy = socket.try_clone().unwrap();
        let refused = client.connect_tls(&dial(nobody(), vec![socket]));
        assert_failed(refused, Code::ConnectionRefused, Socket::Used);
        assert_put_back(std::slice::from_ref(&copy), &[rustix::fs::fcntl_getfl(&copy).unwrap()]);
        let listener = listen(Ipv4Addr::LOCALHOST);
        let session = open(client, dial(address(&listener), vec![copy]), &listener);
        assert_eq!(session.peer.socket.peer_addr().unwrap(), own);
        assert_eq!(session.established.facts.local.unwrap().to_string(), own.to_string());
    });
}

#[test]
fn a_place_that_the_socket_cannot_reach_is_told() {
    with_client(|client, _| {
        let socket = tcp(AddressFamily::INET);
        // From loopback there is no way to anywhere else, whatever the machine is connected to.
        bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let there = client.connect_tls(&dial("192.0.2.1:443", vec![socket]));
        assert_failed(there, Code::Unreachable, Socket::Used);
    });
}

#[test]
fn a_peer_that_is_somebody_else_is_found_out_as_ever() {
    with_client(|client, _| {
        let listener = listen(Ipv4Addr::LOCALHOST);
        let to = Connect::to_with(address(&listener).to_string(), four());
        let request = to.name("other.example").trust(Trust::ca(pki().ca.fd()));
        let pending = begin(client, &request);
        assert!(server_peer(arrival(&listener)).handshake().is_err());
        assert_failed(pending.wait(), Code::NameMismatch, Socket::Closed);
    });
}
