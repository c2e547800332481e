//! What TLS can be spoken on: IPv6, Unix sockets, another TLS session, and a connection that spoke in the clear before.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use tlsify_client::{Accept, Client, Code, Connect, How, Profile, Trust};
use tlsifyd_tests::openssl::s_client;
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::wait::LIMIT;
use tlsifyd_tests::{Door, KeyKind, Open, TempDir, TestDaemon, Typed, pki, running, tcp_pair, tool};

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

fn caller(daemon: &TestDaemon) -> Client {
    let client = daemon.client();
    client.define(&Profile::server("me").certificate(good().certificate_fd()).key(good().key_fd())).unwrap();
    client
}

fn accept(client: &Client, net: impl Into<std::os::fd::OwnedFd>) -> Open {
    Open::new(client.accept(&Accept::new(net).profile("me")).unwrap())
}

/// A line each way, and a goodbye.
fn chat(mut open: Open, mut tool: Typed) {
    tool.type_in("hello\n");
    open.hear("hello\n");
    open.say("good day\n");
    tool.program.line_with("good day");
    tool.hang_up();
    assert_eq!(open.rest().1.how, How::CloseNotify);
}

#[test]
fn tls_over_ipv6() {
    let Some(openssl) = tool("openssl") else { return };
    // A host may have IPv6 switched off; that is its own business.
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    let (daemon, address) = (TestDaemon::start(), listener.local_addr().unwrap());
    let mut command = Command::new(openssl);
    command.args(["s_client", "-connect", &address.to_string(), "-CAfile"]).arg(&pki().ca.file);
    let tool = Typed::start(&mut command);
    let (socket, from) = listener.accept().unwrap();
    let open = accept(&caller(&daemon), socket);
    let told = [&open.facts.local, &open.facts.peer].map(|end| end.map(|end| end.to_string()));
    assert_eq!(told, [Some(address.to_string()), Some(from.to_string())]);
    chat(open, tool);
}

#[test]
fn tls_over_a_unix_socket() {
    let Some(openssl) = tool("openssl") else { return };
    let (daemon, dir) = (TestDaemon::start(), TempDir::new("unix"));
    let path = dir.path().join("tls");
    let listener = UnixListener::bind(&path).unwrap();
    let mut command = Command::new(openssl);
    command.args(["s_client", "-servername", SERVER_NAME, "-unix"]).arg(&path);
    let tool = Typed::start(command.arg("-CAfile").arg(&pki().ca.file));
    let open = accept(&caller(&daemon), listener.accept().unwrap().0);
    let told = [&open.facts.local, &open.facts.peer].map(|end| end.map(|end| end.to_string()));
    assert_eq!(told, [Some("unix".to_owned()), Some("unix".to_owned())]);
    chat(open, tool);
}

/// Both ends of a session of the same daemon, as (client, server).
fn through(client: &Client, ends: [std::os::fd::OwnedFd; 2]) -> [Open; 2] {
    let [near, far] = ends;
    let serving = running("server", {
        let client = client.clone();
        move || accept(&client, far)
    });
    let connect = Connect::new(near).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    let near = Open::new(client.connect_tls(&connect).unwrap());
    [near, serving.join()]
}

#[test]
fn tls_in_tls_in_tls() {
    let daemon = TestDaemon::start();
    let client = caller(&daemon);
    let (near, far) = tcp_pair();
    let outer = through(&client, [near.into(), far.into()]);
    let [outer_near, outer_far] = outer;
    let middle = through(&client, [outer_near.plain.into(), outer_far.plain.into()]);
    let [middle_near, middle_far] = middle;
    let [mut near, mut far] = through(&client, [middle_near.plain.into(), middle_far.plain.into()]);
    let line = format!("{}\n", "0123456789abcdef".repeat(4096));
    near.say(&line);
    assert_eq!(far.hear("\n"), line);
    far.say("received\n");
    assert_eq!(near.hear("\n"), "received\n");
    // The innermost goodbye takes the outer ones with it, from the inside out.
    near.finish();
    far.finish();
    for open in [near, far] {
        assert_eq!(open.rest().1.how, How::CloseNotify);
    }
    for session in [middle_near.session, middle_far.session, outer_near.session, outer_far.session] {
        let ended = session.ended_within(LIMIT).unwrap().expect("it ends in time");
        assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    }
}

#[test]
fn curl_goes_through_a_proxy_that_speaks_tls_itself() {
    let Some(curl) = tool("curl") else { return };
    let (daemon, door) = (TestDaemon::start(), Door::open());
    let client = caller(&daemon);
    let mut command = Command::new(curl);
    let ca = &pki().ca.file;
    command.args(["-sS", "-x", &format!("https://localhost:{}", door.port()), "--proxy-cacert"]).arg(ca);
    command.arg("--cacert").arg(ca).arg(format!("https://{SERVER_NAME}/"));
    let tool = Typed::start(&mut command);
    let mut proxy = accept(&client, door.next());
    assert!(proxy.hear("\r\n\r\n").starts_with("CONNECT server.example:443 "));
    proxy.say("HTTP/1.1 200 OK\r\n\r\n");
    let mut open = accept(&client, proxy.plain);
    assert_eq!(open.facts.server_name.as_deref(), Some(SERVER_NAME));
    assert!(open.hear("\r\n\r\n").starts_with("GET / "));
    open.say("HTTP/1.0 200 OK\r\n\r\nthrough two");
    open.finish();
    assert_eq!(tool.program.wait().ok(), "through two");
    assert_eq!(open.rest().1.how, How::CloseNotify);
}

/// Speaks SMTP with `openssl s_client` up to the point where TLS begins.
fn starttls(socket: &mut (impl Read + Write)) {
    let mut said = |answer: &str, until: &str| {
        socket.write_all(answer.as_bytes()).unwrap();
        let mut line = String::new();
        while !line.ends_with('\n') {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            line.push(byte[0].into());
        }
        assert!(line.starts_with(until), "{line}");
    };
    said("220 mail.example ESMTP\r\n", "EHLO ");
    said("250-mail.example\r\n250 STARTTLS\r\n", "STARTTLS");
    socket.write_all(b"220 go ahead\r\n").unwrap();
}

#[test]
fn bytes_of_tls_that_were_read_too_early_are_not_lost() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let client = caller(&daemon);
    // One byte, part of the record's header, part of the ClientHello.
    for count in [1, 4, 100] {
        let door = Door::open();
        let tool = s_client(&openssl, door.port(), &["-starttls", "smtp", "-servername", SERVER_NAME]);
        let mut socket = door.next();
        starttls(&mut socket);
        let mut early = vec![0; count];
        socket.read_exact(&mut early).unwrap();
        let open = client.accept(&Accept::new(socket).profile("me").received(early)).unwrap();
        chat(Open::new(open), tool);
    }
}

#[test]
fn commands_smuggled_in_before_tls_never_become_plaintext() {
    let daemon = TestDaemon::start();
    let client = caller(&daemon);
    let injected = b"RCPT TO:<victim@example.org>\r\n";
    // Still in the socket's queue, or read by the caller already: TLS it is not.
    for received in [false, true] {
        let (mut attacker, socket) = tcp_pair();
        let request = Accept::new(socket).profile("me");
        let request = if received {
            request.received(injected.to_vec())
        } else {
            attacker.write_all(injected).unwrap();
            request
        };
        let error = client.accept(&request).unwrap_err();
        assert_eq!(error.code(), Some(Code::NotTls), "{error}");
    }
}

#[test]
fn a_unix_stream_that_is_nobodys_end_is_told() {
    let daemon = TestDaemon::start();
    let (near, far) = UnixStream::pair().unwrap();
    drop(far);
    let error = caller(&daemon).accept(&Accept::new(near).profile("me")).unwrap_err();
    assert_eq!(error.code(), Some(Code::ClosedByPeer), "{error}");
}
