//! Mail with STARTTLS by a shell script, to a real server; and what somebody between the two could try.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{Door, Peer, Program, outgoing, pki, reach, running, tool};

use crate::{Host, here, server};

/// With what a script could stumble over.
const MESSAGE: &str = "Subject: hello\n\nA line.\n.\n.a line with a dot\n  and spaces \\ and more $(echo)\n";

/// The script, with a message to send to this port.
fn sending(host: &Host, bash: &Path, port: u16) -> Command {
    std::fs::write(host.path("message"), MESSAGE).unwrap();
    let mut command = host.command(bash);
    command.arg(here("send-mail.sh")).args([
        "localhost",
        &port.to_string(),
        "a@example.org",
        "b@example.org",
    ]);
    command.stdin(File::open(host.path("message")).unwrap());
    command
}

/// aiosmtpd with this certificate, which shows what it gets.
fn mail_server(host: &Host, program: &Path, identity: &Identity) -> (Program, u16) {
    // It takes a port by number: one that was free a moment ago.
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let mut command = host.command(program);
    command.args(["-n", "-l", &format!("127.0.0.1:{port}"), "-c", "aiosmtpd.handlers.Debugging", "stdout"]);
    command.arg("--tlscert").arg(&identity.certificate_file).arg("--tlskey").arg(&identity.key_file);
    let server = Program::start(command.env("PYTHONUNBUFFERED", "1"));
    drop(reach(port));
    (server, port)
}

/// Runs the script against somebody who speaks as this says from `STARTTLS` on and then leaves. The bytes that came
/// after that are the second part of the answer.
fn with_a_server_that(
    answers: impl FnOnce(&mut TcpStream) + Send + 'static,
    capabilities: &'static str,
) -> Option<(tlsifyd_tests::Output, Vec<u8>)> {
    let (bash, host, door) = (tool("bash")?, Host::new(), Door::open());
    let program = Program::start(&mut sending(&host, &bash, door.port()));
    let mut socket = door.next();
    let server = running("server", move || {
        socket.write_all(b"220 mail.example ready\r\n").unwrap();
        assert!(line(&mut socket).starts_with("EHLO "));
        socket.write_all(capabilities.as_bytes()).unwrap();
        answers(&mut socket);
        socket
    });
    let mut socket = server.join();
    // Nobody is kept waiting for the end of a TLS that was never begun, or is spoken no more.
    let _ = socket.shutdown(Shutdown::Write);
    let output = program.wait();
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    host.is_at_rest();
    Some((output, rest))
}

fn line(socket: &mut TcpStream) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\n") {
        assert_eq!(socket.read(&mut byte).unwrap(), 1, "{text:?}");
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn a_mail_arrives_as_it_was_written_with_a_daemon_and_without() {
    let (Some(bash), Some(aiosmtpd)) = (tool("bash"), tool("aiosmtpd")) else { return };
    let host = Host::new();
    for socket in [host.daemon.socket(), host.path("nobody")] {
        let (mut mail, port) = mail_server(&host, &aiosmtpd, server());
        let output = Program::start(sending(&host, &bash, port).env("TLSIFY_SOCK", socket)).wait();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(output.stderr, "sent over TLSv1.3\n");
        mail.line_with("END MESSAGE");
        let received = mail.stdout();
        let (_, body) = received.split_once("\nX-Peer: ").expect("it shows messages");
        let (_, body) = body.split_once("\n\n").expect("a mail has a body");
        let (_, sent) = MESSAGE.split_once("\n\n").unwrap();
        assert!(body.starts_with(sent), "{received}");
    }
    host.is_at_rest();
}

#[test]
fn a_message_without_an_end_of_line_at_its_end_is_sent_whole() {
    let (Some(bash), Some(aiosmtpd)) = (tool("bash"), tool("aiosmtpd")) else { return };
    let host = Host::new();
    let (mut mail, port) = mail_server(&host, &aiosmtpd, server());
    let mut sending = sending(&host, &bash, port);
    std::fs::write(host.path("message"), "Subject: hello\n\nhow do you do?\n.").unwrap();
    let output = Program::start(&mut sending).wait();
    assert!(output.status.success(), "{output:?}");
    mail.line_with("END MESSAGE");
    assert!(mail.stdout().contains("\n\nhow do you do?\n.\n"), "{}", mail.stdout());
    host.is_at_rest();
}

#[test]
fn no_mail_is_sent_to_somebody_else() {
    let (Some(bash), Some(aiosmtpd)) = (tool("bash"), tool("aiosmtpd")) else { return };
    let host = Host::new();
    for identity in [&pki().wrong_name, &pki().wrong_ca] {
        let (mail, port) = mail_server(&host, &aiosmtpd, identity);
        let output = Program::start(&mut sending(&host, &bash, port)).wait();
        assert_eq!(output.status.code(), Some(98), "{output:?}");
        assert!(output.stderr.starts_with("tlsify: peer's certificate is not "), "{}", output.stderr);
        assert!(!mail.stdout().contains("a line"), "{}", mail.stdout());
    }
    host.is_at_rest();
}

#[test]
fn what_is_slipped_in_behind_the_answer_to_starttls_is_not_taken_for_the_servers() {
    // Answers to all that will be asked; and what a reader that trims lines could lose.
    for injected in ["250-mail.example\r\n250 AUTH PLAIN\r\n250 ok\r\n250 ok\r\n354 go\r\n", "\r\n", "2"] {
        let Some((output, _)) = with_a_server_that(
            move |socket| {
                assert_eq!(line(socket), "STARTTLS\r\n");
                // In one piece with the answer, as an attacker would.
                socket.write_all(format!("220 go ahead\r\n{injected}").as_bytes()).unwrap();
                let mut peer: Peer = outgoing::server_peer(socket.try_clone().unwrap());
                // Whoever injected lets the real server go on: it does not succeed around the bytes.
                assert!(peer.handshake().is_err(), "{injected:?}");
            },
            "250-mail.example\r\n250 STARTTLS\r\n",
        ) else {
            return;
        };
        // The bytes belong to TLS, and are none: the second half of the script has never run.
        assert_eq!(output.status.code(), Some(98), "{output:?}");
        assert!(output.stderr.starts_with("tlsify: "), "{output:?}");
        assert!(!output.stderr.contains("expected"), "{output:?}");
    }
}

#[test]
fn the_script_reads_exactly_to_the_end_of_the_answer_to_starttls() {
    // The same server, without what it is suspected of: TLS begins behind that line, and the script asks again.
    let Some((output, _)) = with_a_server_that(
        |socket| {
            assert_eq!(line(socket), "STARTTLS\r\n");
            socket.write_all(b"220\r\n").unwrap();
            let mut peer: Peer = outgoing::server_peer(socket.try_clone().unwrap());
            peer.handshake().unwrap();
            assert_eq!(peer.read_exact(5).unwrap(), b"EHLO ");
            peer.write_all(b"421 enough\r\n").unwrap();
        },
        "250-mail.example\r\n250 STARTTLS\r\n",
    ) else {
        return;
    };
    assert_eq!(
        (output.status.code(), output.stderr.as_str()),
        (Some(1), "expected 250, and the server says: 421 enough\n")
    );
}

#[test]
fn without_starttls_nothing_is_said() {
    let Some((output, rest)) = with_a_server_that(|_| {}, "250-mail.example\r\n250 SIZE 1000\r\n") else {
        return;
    };
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stderr.starts_with("the server has no STARTTLS"), "{output:?}");
    assert_eq!(rest, b"");
}
