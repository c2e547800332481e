//! The daemon as server, met by the clients that people have: each version of TLS with each kind of key, data both
//! ways, and a goodbye that both sides understood.

use std::path::Path;
use std::process::Command;

use tlsify_client::{Accept, How, Profile, Version};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{Door, KeyKind, Open, Program, TestDaemon, Typed, pki, tool};

const FROM_PEER: &str = "hello from the peer\n";
const FROM_PROGRAM: &str = "hello from the program\n";

/// One way to meet: the TLS version that the client insists on, and the server's kind of key.
#[derive(Clone, Copy, Debug)]
struct Meeting {
    version: Version,
    kind: KeyKind,
}

/// Every version with every kind of key.
fn meetings() -> impl Iterator<Item = Meeting> {
    [Version::Tls12, Version::Tls13]
        .into_iter()
        .flat_map(|version| KeyKind::ALL.map(|kind| Meeting { version, kind }))
}

impl Meeting {
    /// Of 1.2 and 1.3.
    fn pick<T>(self, tls12: T, tls13: T) -> T {
        if self.version == Version::Tls12 { tls12 } else { tls13 }
    }

    fn signature(self) -> &'static str {
        match self.kind {
            KeyKind::EcdsaP256 => "ecdsa_secp256r1_sha256",
            KeyKind::EcdsaP384 => "ecdsa_secp384r1_sha384",
            KeyKind::Ed25519 => "ed25519",
            KeyKind::Rsa2048 => "rsa_",
        }
    }
}

/// Runs `client` for each meeting with a port to connect to, and hands its connection over.
fn meet(client: impl Fn(Meeting, u16) -> Typed, talk: impl Fn(Meeting, Open, Typed)) {
    let daemon = TestDaemon::start();
    let caller = daemon.client();
    for meeting in meetings() {
        let identity = pki().server(meeting.kind);
        let profile = Profile::server("me").certificate(identity.certificate_fd()).key(identity.key_fd());
        caller.define(&profile).unwrap();
        let door = Door::open();
        let tool = client(meeting, door.port());
        let open = match caller.accept(&Accept::new(door.next()).profile("me")) {
            Ok(established) => Open::new(established),
            Err(error) => panic!("{meeting:?}: {error}\n{}", tool.program.stderr()),
        };
        assert_eq!(open.facts.protocol, meeting.pick("TLSv1.2", "TLSv1.3"));
        let signature = open.facts.signature.clone().unwrap_or_default();
        assert!(signature.starts_with(meeting.signature()), "{meeting:?}: {signature}");
        assert_eq!(open.facts.server_name.as_deref(), Some(SERVER_NAME));
        talk(meeting, open, tool);
    }
}

/// What a tool with a keyboard does: a line there, a line back, end of file on its input.
fn chat(meeting: Meeting, mut open: Open, mut tool: Typed) {
    tool.type_in(FROM_PEER);
    open.hear(FROM_PEER);
    open.say(FROM_PROGRAM);
    tool.program.line_with(FROM_PROGRAM.trim_end());
    tool.hang_up();
    let (rest, ended) = open.rest();
    assert_eq!((rest.as_str(), ended.how), ("", How::CloseNotify), "{meeting:?}");
    assert_eq!((ended.bytes_in, ended.bytes_out), (FROM_PEER.len() as u64, FROM_PROGRAM.len() as u64));
    tool.program.wait().ok();
}

#[test]
fn curl_fetches_a_page() {
    let Some(curl) = tool("curl") else { return };
    let client = |meeting: Meeting, port: u16| {
        let mut command = Command::new(&curl);
        let version = meeting.pick("1.2", "1.3");
        command.args(["-sS", &format!("--tlsv{version}"), "--tls-max", version, "--cacert"]);
        command.arg(&pki().ca.file).args(["--resolve", &format!("{SERVER_NAME}:{port}:127.0.0.1")]);
        command.args(["-d", FROM_PEER, &format!("https://{SERVER_NAME}:{port}/")]);
        Typed::start(&mut command)
    };
    meet(client, |meeting, mut open, tool| {
        open.hear(FROM_PEER.trim_end());
        open.say(&format!("HTTP/1.0 200 OK\r\n\r\n{FROM_PROGRAM}"));
        open.finish();
        let (_, ended) = open.rest();
        assert_eq!(ended.how, How::CloseNotify, "{meeting:?}");
        assert_eq!(tool.program.wait().ok(), FROM_PROGRAM, "{meeting:?}");
    });
}

#[test]
fn openssl_s_client_talks() {
    let Some(openssl) = tool("openssl") else { return };
    let client = |meeting: Meeting, port: u16| {
        let mut command = Command::new(&openssl);
        command.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", SERVER_NAME]);
        command.args([meeting.pick("-tls1_2", "-tls1_3"), "-verify_return_error", "-verify_hostname"]);
        command.arg(SERVER_NAME).arg("-CAfile").arg(&pki().ca.file);
        Typed::start(&mut command)
    };
    meet(client, chat);
}

#[test]
fn gnutls_cli_talks() {
    let Some(gnutls) = tool("gnutls-cli") else { return };
    let client = |meeting: Meeting, port: u16| {
        let mut command = Command::new(&gnutls);
        let version = meeting.pick("1.2", "1.3");
        command.args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-TLS{version}"), "--x509cafile"]);
        command.arg(&pki().ca.file).args(["--sni-hostname", SERVER_NAME, "--verify-hostname", SERVER_NAME]);
        command.args(["--port", &port.to_string(), "127.0.0.1"]);
        Typed::start(&mut command)
    };
    meet(client, chat);
}

/// Connects, says what it read from its input until the end of a line, prints what it hears to the end, and says
/// goodbye by `unwrap`, which waits for the other side's.
const PYTHON: &str = "
import socket, ssl, sys
port, ca, name, version = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
with socket.create_connection(('127.0.0.1', int(port))) as tcp:
    with context.wrap_socket(tcp, server_hostname=name, suppress_ragged_eofs=False) as tls:
        tls.sendall(sys.stdin.readline().encode())
        while data := tls.recv(65536):
            sys.stdout.write(data.decode())
        tls.unwrap()
";

fn python(python: &Path, meeting: Meeting, port: u16) -> Typed {
    let mut command = Command::new(python);
    command.args(["-c", PYTHON, &port.to_string()]).arg(&pki().ca.file);
    Typed::start(command.args([SERVER_NAME, meeting.pick("TLSv1_2", "TLSv1_3")]))
}

#[test]
fn pythons_ssl_talks() {
    let Some(program) = tool("python3") else { return };
    meet(
        |meeting, port| python(&program, meeting, port),
        |meeting, mut open, mut tool| {
            tool.type_in(FROM_PEER);
            open.hear(FROM_PEER);
            open.say(FROM_PROGRAM);
            open.finish();
            let (rest, ended) = open.rest();
            assert_eq!((rest.as_str(), ended.how), ("", How::CloseNotify), "{meeting:?}");
            assert_eq!(tool.program.wait().ok(), FROM_PROGRAM);
        },
    );
}

#[test]
fn a_client_that_trusts_somebody_else_is_heard_to_say_so() {
    let Some(openssl) = tool("openssl") else { return };
    let (daemon, door, identity) = (TestDaemon::start(), Door::open(), pki().server(KeyKind::EcdsaP256));
    let mut command = Command::new(openssl);
    command.args(["s_client", "-connect", &format!("127.0.0.1:{}", door.port()), "-verify_return_error"]);
    command.arg("-CAfile").arg(&pki().other_ca.file);
    let client = Program::start(&mut command);
    let accept = Accept::new(door.next()).certificate(identity.certificate_fd()).key(identity.key_fd());
    let error = daemon.client().accept(&accept).unwrap_err();
    let tlsify_client::Error::Failed(failed) = error else { panic!("{error}") };
    let alert = failed.alert.expect("openssl says why");
    assert_eq!((failed.code, alert.description), (tlsify_client::Code::AlertReceived, 48), "{}", failed.text);
    assert!(!client.wait().status.success());
}
