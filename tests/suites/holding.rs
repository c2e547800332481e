//! `outbound-end=hold`: for peers that take the end of what they are sent as the end of everything.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::process::Command;
use std::sync::Arc;

use tlsifyd_tests::packets::{self, connect};
use tlsifyd_tests::peer::{BOTH_VERSIONS, server_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{End, KeyKind, RawCaller, TestDaemon, Typed, pki, reach, tool};

/// A peer that answers only as long as nobody has said goodbye to it.
#[test]
fn a_peer_that_takes_a_goodbye_as_the_end_of_both_still_answers() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = Arc::new(server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS));
    let ca = pki().ca.fd();
    for (id, keys) in [(1, ""), (2, "outbound-end=hold\n")] {
        let hold = !keys.is_empty();
        let mut told = connect(&caller, id, &(packets::usual() + keys), &[("ca", &ca)], &server);
        told.plain().write_all(b"question").unwrap();
        told.plain().shutdown(Shutdown::Write).unwrap();
        assert_eq!(told.peer.read_exact(8).unwrap(), b"question");
        if !hold {
            // Without the key the goodbye is here already.
            assert_eq!(told.peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        }
        told.peer.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        told.plain().read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"answer");
        if hold {
            // Everything that was to be sent has been, and the socket still has nothing for the peer.
            told.peer.socket.set_nonblocking(true).unwrap();
            let nothing = told.peer.socket.peek(&mut [0]).unwrap_err();
            assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
            told.peer.socket.set_nonblocking(false).unwrap();
        }
        told.peer.half_close().unwrap();
        if hold {
            assert_eq!(told.peer.read_to_end().unwrap(), (Vec::new(), End::CloseNotify));
        }
        assert_eq!(told.plain().read(&mut [0]).unwrap(), 0);
        let ended = caller.answer();
        assert_eq!((ended.verb(), ended.get("how")), ("ended", Some("close-notify")), "{}", ended.text);
    }
}

#[test]
fn a_program_that_closes_everything_ends_its_session_although_it_said_hold() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let server = Arc::new(server_config(pki().server(KeyKind::EcdsaP256), BOTH_VERSIONS));
    let ca = pki().ca.fd();
    let mut told = connect(&caller, 1, &(packets::usual() + "outbound-end=hold\n"), &[("ca", &ca)], &server);
    told.plain().write_all(b"last words").unwrap();
    told.plain = None;
    assert_eq!(told.peer.read_to_end().unwrap(), (b"last words".to_vec(), End::CloseNotify));
    let ended = caller.answer();
    assert_eq!((ended.verb(), ended.get("how")), ("ended", Some("caller")), "{}", ended.text);
}

/// What a shell does: `printf request | tlsify … > page`, with pipes whose writer is done long before the answer.
#[test]
fn a_web_server_of_openssl_answers_a_request_whose_end_is_held() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let mut command = Command::new(&openssl);
    let identity = pki().server(KeyKind::EcdsaP256);
    command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-www", "-cert"]);
    command.arg(&identity.certificate_file).arg("-key").arg(&identity.key_file);
    let mut server = Typed::start(&mut command);
    let line = server.program.line_with("ACCEPT 127.0.0.1:");
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says its port");

    let net = reach(port);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    drop(writer);
    let (mut page, into) = std::io::pipe().unwrap();
    let request = format!(
        "tlsify/1 connect\nid=1\nfds=net inbound outbound ca\nname={SERVER_NAME}\ntrust=descriptor\n\
         outbound-end=hold\n"
    );
    let established = caller.ask(request, &[&net, &into, &reader, &pki().ca.fd()]);
    assert_eq!(established.verb(), "established", "{}", established.text);
    drop(into);
    let mut text = String::new();
    page.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.0 200 ok") && text.contains("</HTML>"), "{text}");
    assert_eq!(caller.answer().verb(), "ended");
}
