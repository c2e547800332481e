//! TCP Fast Open (RFC 7413), in a network whose kernel has it switched on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use tlsify_client::{Client, Code, Socket};
use tlsifyd_tests::network::alone;
use tlsifyd_tests::{BlackHole, Network, exclusive};

use super::{address, assert_failed, counted, dial, four, listen, open};

/// A client, a server and, for every listener, without asking: net.ipv4.tcp_fastopen.
const ON: &str = "1027";
const OFF: &str = "0";

/// How often data went out with a SYN, and the peer took it.
fn sent_with_syn(network: &Network) -> u64 {
    network.counter("TCPFastOpenActive")
}

/// A first session with the server there, after which the kernel has its cookie.
fn acquaint(client: &Client, network: &Network) -> (TcpListener, SocketAddr) {
    let listener = listen(Ipv4Addr::LOCALHOST);
    let to = address(&listener);
    let before = sent_with_syn(network);
    drop(open(client, dial(to, four()).fast_open(), &listener));
    assert_eq!(sent_with_syn(network), before, "there is no cookie yet");
    (listener, to)
}

#[test]
fn the_second_hello_travels_with_the_syn() {
    let _alone = exclusive();
    alone("the_second_hello_travels_with_the_syn", |network| {
        network.set("ipv4/tcp_fastopen", ON);
        counted(|client, _| {
            let (listener, to) = acquaint(client, network);
            let before = sent_with_syn(network);
            let session = open(client, dial(to, four()).fast_open(), &listener);
            assert_eq!(sent_with_syn(network), before + 1);
            let facts = &session.established.facts;
            assert_eq!(facts.peer.unwrap().to_string(), to.to_string());
            let ours = session.peer.socket.peer_addr().unwrap();
            assert_eq!(facts.local.unwrap().to_string(), ours.to_string());
            drop(session);
            // Only who asks for it gets it.
            drop(open(client, dial(to, four()), &listener));
            assert_eq!(sent_with_syn(network), before + 1);
        });
    });
}

#[test]
fn a_kernel_that_does_not_allow_it_connects_as_ever() {
    let _alone = exclusive();
    alone("a_kernel_that_does_not_allow_it_connects_as_ever", |network| {
        network.set("ipv4/tcp_fastopen", OFF);
        counted(|client, _| {
            for _ in 0..2 {
                acquaint(client, network);
            }
        });
    });
}

#[test]
fn a_server_that_is_gone_is_told_although_it_counted_as_connected() {
    let _alone = exclusive();
    alone("a_server_that_is_gone_is_told_although_it_counted_as_connected", |network| {
        network.set("ipv4/tcp_fastopen", ON);
        counted(|client, _| {
            let (listener, to) = acquaint(client, network);
            drop(listener);
            let refused = client.connect_tls(&dial(to, four()).fast_open());
            let text = assert_failed(refused, Code::ConnectionRefused, Socket::Closed);
            assert!(text.contains("with the first bytes"), "{text}");
        });
    });
}

#[test]
fn a_server_that_is_silent_is_told_although_it_counted_as_connected() {
    let _alone = exclusive();
    alone("a_server_that_is_silent_is_told_although_it_counted_as_connected", |network| {
        network.set("ipv4/tcp_fastopen", ON);
        counted(|client, _| {
            let (listener, to) = acquaint(client, network);
            drop(listener);
            let _silent = BlackHole::at(to);
            let request = dial(to, four()).fast_open().handshake_timeout(Duration::from_millis(300));
            assert_failed(client.connect_tls(&request), Code::ConnectTimeout, Socket::Closed);
        });
    });
}
