//! Servers and clients of UCSPI and what is like them: `tcpserver`, `tcpclient` and `socat` start `tlsify`, and `tlsify`
//! the program that knows nothing of TLS.

use std::net::TcpStream;
use std::path::PathBuf;

use tlsifyd_tests::peer::{BOTH_VERSIONS, client_config};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, Peer, Program, pki, reach, tool};

use crate::{Host, accepting, here, listening, server, tcpserver};

/// Everything that the program says to a client that says this.
fn conversation(port: u16, said: &str) -> String {
    let mut peer = client(reach(port));
    peer.write_all(said.as_bytes()).unwrap();
    peer.half_close().unwrap();
    let (answer, end) = peer.read_to_end().unwrap();
    assert_eq!(end, End::CloseNotify);
    String::from_utf8(answer).unwrap()
}

fn client(socket: TcpStream) -> Peer {
    Peer::client(socket, client_config(pki().ca.roots(), BOTH_VERSIONS, None), SERVER_NAME)
}

fn who() -> String {
    here("ucspi-who.sh").to_str().expect("our own paths are UTF-8").to_owned()
}

/// What `ucspi-who.sh` has to know of a session, and may not.
fn told_of_the_session(answer: &str) {
    let value = |name: &str| answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    assert_eq!(value("SSL_PROTOCOL"), Some("TLSv1.3"), "{answer}");
    assert_eq!(value("SSL_TLS_SNI_SERVERNAME"), Some(SERVER_NAME), "{answer}");
    assert!(value("SSL_CIPHER").is_some_and(|cipher| cipher.starts_with("TLS_")), "{answer}");
    for secret in ["CERTFILE", "KEYFILE", "CAFILE", "TLSIFY_SOCK"] {
        assert_eq!(value(secret), None, "{answer}");
    }
    assert!(answer.ends_with("you said: hello\n"), "{answer}");
}

#[test]
fn tcpserver_serves_a_program_that_is_told_of_its_session() {
    let Some(tcp) = tool("tcpserver") else { return };
    let host = Host::new();
    let mut words = accepting(server());
    words.push(who());
    let (_server, port) = tcpserver(&mut host.command(tcp), &words);
    for _ in 0..3 {
        let answer = conversation(port, "hello\n");
        told_of_the_session(&answer);
        // What the TCP layer says reaches the program as before.
        assert!(answer.contains("\nPROTO=TCP\n") && answer.contains("\nTCPREMOTEIP=127.0.0.1\n"), "{answer}");
    }
    host.is_at_rest();
}

#[test]
fn the_certificate_may_be_named_as_s6_networking_does() {
    let Some(tcp) = tool("tcpserver") else { return };
    let host = Host::new();
    let mut command = host.command(tcp);
    command.env("CERTFILE", &server().certificate_file).env("KEYFILE", &server().key_file);
    let words = ["tlsify", "accept", "--", &who()].map(str::to_owned);
    let (_server, port) = tcpserver(&mut command, &words);
    told_of_the_session(&conversation(port, "hello\n"));
    host.is_at_rest();
}

#[test]
fn socat_serves_with_the_socket_itself_at_0_and_1() {
    let Some(socat) = tool("socat") else { return };
    let host = Host::new();
    let mut words = accepting(server());
    words.push(who());
    let mut command = host.command(socat);
    // -dd says the port. nofork: the program gets the connection, and socat is out of the way.
    command.args(["-dd", "TCP4-LISTEN:0,bind=127.0.0.1,fork"]);
    command.arg(format!("EXEC:{},nofork", words.join(" ")));
    let (_server, port) = listening(&mut command, "listening on AF=2 127.0.0.1:");
    told_of_the_session(&conversation(port, "hello\n"));
    told_of_the_session(&conversation(port, "hello\n"));
    host.is_at_rest();
}

#[test]
fn a_socat_that_stays_in_between_loses_nothing_when_the_command_stays_too() {
    let Some(socat) = tool("socat") else { return };
    let host = Host::new();
    let mut words = accepting(server());
    // Without nofork, socat takes the end of the process that it started for the end of the data, whoever else holds the
    // socket: the program's, then, and with it close_notify and whatever is on its way are lost. With --control the
    // process is the command, which stays as long as the session.
    words.splice(2..2, ["--control", "2"].map(str::to_owned));
    words.push(who());
    let mut command = host.command(socat);
    command.args(["-dd", "TCP4-LISTEN:0,bind=127.0.0.1,fork"]).arg(format!("EXEC:{}", words.join(" ")));
    let (_server, port) = listening(&mut command, "listening on AF=2 127.0.0.1:");
    for _ in 0..5 {
        told_of_the_session(&conversation(port, "hello\n"));
    }
    host.is_at_rest();
}

#[test]
fn a_visitor_who_speaks_no_tls_reaches_no_program() {
    let Some(tcp) = tool("tcpserver") else { return };
    let host = Host::new();
    let trace = host.path("reached");
    let mut words = accepting(server());
    words.extend(["touch", "reached"].map(str::to_owned));
    let (mut server, port) = tcpserver(&mut host.command(tcp), &words);
    let mut socket = reach(port);
    std::io::Write::write_all(&mut socket, b"GET / HTTP/1.0\r\n\r\n").unwrap();
    // The server of whoever speaks TLS goes on.
    server.line_with("tlsify: ");
    assert!(!trace.exists());
    assert_eq!(conversation(port, ""), "");
    assert!(trace.exists());
    host.is_at_rest();
}

#[test]
fn tcpclient_gives_its_program_the_plaintext_at_6_and_7() {
    let (Some(tcpclient), Some(python)) = (tool("tcpclient"), tool("python3")) else { return };
    let host = Host::new();
    let (_server, port) = host.python(&python, "https-server.py", server());
    let run = |name: &str, socket: PathBuf| {
        let mut command = host.command(&tcpclient);
        command.env("TLSIFY_SOCK", socket);
        command.args(["-H", "-R", "-l", "localhost", "127.0.0.1", &port.to_string()]);
        command.args(["tlsify", "connect", "--fd", "6", "--ucspi", name, "--"]);
        Program::run(command.arg(here("ucspi-get.sh")).arg("/small"))
    };
    for socket in [host.daemon.socket(), host.path("nobody")] {
        let page = run("localhost", socket).ok();
        assert!(page.starts_with("HTTP/1.0 200") && page.ends_with("\r\n\r\na small page\n"), "{page}");
    }
    let fooled = run("other.example", host.daemon.socket());
    assert_eq!((fooled.status.code(), fooled.stdout.as_str()), (Some(98), ""), "{fooled:?}");
    host.is_at_rest();
}

#[test]
fn a_client_that_knows_no_tls_reaches_https_through_a_socket_file() {
    let (Some(socat), Some(curl), Some(python)) = (tool("socat"), tool("curl"), tool("python3")) else {
        return;
    };
    let host = Host::new();
    let (_server, port) = host.python(&python, "https-server.py", server());
    let _tunnel = Program::start(
        host.command(socat)
            .arg(format!("UNIX-LISTEN:{},fork", host.path("web").display()))
            // A colon is socat's own unless it is escaped.
            .arg(format!("EXEC:tlsify connect localhost\\:{port}")),
    );
    until(LIMIT, || host.path("web").exists().then_some(())).expect("socat listens");
    let get = |path: &str| {
        let mut command = host.command(&curl);
        command.args(["-sSf", "-w", "%{size_download}", "-o", "page", "--unix-socket"]);
        Program::run(command.arg(host.path("web")).arg(format!("http://localhost/{path}"))).ok()
    };
    assert_eq!([get("small"), get("big")], ["13", "10485760"]);
    host.is_at_rest();
}
