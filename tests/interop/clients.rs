//! The daemon as client of the servers that people have: each version of TLS with each kind of key, data both ways,
//! and a goodbye where the server says one.

use std::net::TcpListener;
use std::process::Command;

use tlsify_client::{Connect, How, Trust, Version};
use tlsifyd_tests::pki::SERVER_NAME;
use tlsifyd_tests::{KeyKind, Open, TestDaemon, Typed, pki, reach, tool};

const FROM_PEER: &str = "hello from the peer\n";
const FROM_PROGRAM: &str = "hello from the program\n";

/// One way to meet: the TLS version that the server insists on, and its kind of key.
#[derive(Clone, Copy, Debug)]
struct Meeting {
    version: Version,
    kind: KeyKind,
}

impl Meeting {
    /// Of 1.2 and 1.3.
    fn pick<T>(self, tls12: T, tls13: T) -> T {
        if self.version == Version::Tls12 { tls12 } else { tls13 }
    }
}

/// Starts `server`, which gives itself and its port, for each meeting, and connects to it.
fn meet(server: impl Fn(Meeting) -> (Typed, u16), talk: impl Fn(Meeting, Open, Typed)) {
    let daemon = TestDaemon::start();
    let caller = daemon.client();
    let versions = [Version::Tls12, Version::Tls13];
    for meeting in versions.iter().flat_map(|&version| KeyKind::ALL.map(|kind| Meeting { version, kind })) {
        let (tool, port) = server(meeting);
        let connect = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
        let open = match caller.connect_tls(&connect) {
            Ok(established) => Open::new(established),
            Err(error) => panic!("{meeting:?}: {error}\n{}", tool.program.stderr()),
        };
        let facts = &open.facts;
        assert_eq!(facts.protocol, meeting.pick("TLSv1.2", "TLSv1.3"));
        assert_eq!(facts.spki_sha256, Some(pki().server(meeting.kind).spki_sha256));
        assert_eq!(facts.server_name.as_deref(), Some(SERVER_NAME));
        let wanted = match (meeting.kind, meeting.version) {
            // In TLS 1.2 these names do not say the curve (RFC 9846 section 4.3.3), and any hash goes with it.
            (KeyKind::EcdsaP256 | KeyKind::EcdsaP384, Version::Tls12) => "ecdsa_",
            (KeyKind::EcdsaP256, _) => "ecdsa_secp256r1_sha256",
            (KeyKind::EcdsaP384, _) => "ecdsa_secp384r1_sha384",
            (KeyKind::Ed25519, _) => "ed25519",
            // RSASSA-PKCS1-v1_5 is no signature of TLS 1.3 (RFC 9846 section 4.3.3).
            (KeyKind::Rsa2048, Version::Tls12) => "rsa_",
            (KeyKind::Rsa2048, _) => "rsa_pss_rsae_",
        };
        let signature = facts.signature.clone().unwrap_or_default();
        assert!(signature.starts_with(wanted), "{meeting:?}: {signature}");
        talk(meeting, open, tool);
    }
}

/// A line each way, our goodbye, and the tool's answer to it.
fn talk_and_part(meeting: Meeting, mut open: Open, mut tool: Typed) {
    open.say(FROM_PROGRAM);
    tool.program.line_with(FROM_PROGRAM.trim_end());
    tool.type_in(FROM_PEER);
    open.hear(FROM_PEER);
    open.finish();
    let (rest, ended) = open.rest();
    assert_eq!((rest.as_str(), ended.how), ("", How::CloseNotify), "{meeting:?}");
    tool.program.wait().ok();
}

#[test]
fn openssl_s_server_talks() {
    let Some(openssl) = tool("openssl") else { return };
    let server = |meeting: Meeting| {
        let identity = pki().server(meeting.kind);
        let mut command = Command::new(&openssl);
        command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-cert"]);
        command.arg(&identity.certificate_file).arg("-key").arg(&identity.key_file);
        let mut tool = Typed::start(command.arg(meeting.pick("-tls1_2", "-tls1_3")));
        let line = tool.program.line_with("ACCEPT 127.0.0.1:");
        let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says its port");
        (tool, port)
    };
    // Its own commands for an end close the socket without goodbye; to ours it answers.
    meet(server, talk_and_part);
}

#[test]
fn gnutls_serv_echoes() {
    let Some(gnutls) = tool("gnutls-serv") else { return };
    let server = |meeting: Meeting| {
        let identity = pki().server(meeting.kind);
        // It cannot tell a port of the system's choice, so it gets one that was free a moment ago.
        let free = TcpListener::bind(("::", 0)).and_then(|free| free.local_addr()).expect("a port is free");
        let version = meeting.pick("1.2", "1.3");
        let mut command = Command::new(&gnutls);
        command.args(["--echo", "--port", &free.port().to_string(), "--x509certfile"]);
        command.arg(&identity.certificate_file).arg("--x509keyfile").arg(&identity.key_file);
        command.args(["--priority", &format!("NORMAL:-VERS-ALL:+VERS-TLS{version}")]);
        (Typed::start(&mut command), free.port())
    };
    meet(server, |meeting, mut open, _tool| {
        let bulk = format!("{}\n", "0123456789abcdef".repeat(200));
        open.say(&bulk);
        assert_eq!(open.hear("\n"), bulk);
        open.finish();
        let (rest, ended) = open.rest();
        assert_eq!((rest.as_str(), ended.how), ("", How::CloseNotify), "{meeting:?}");
    });
}

/// Serves one connection: prints what it hears up to the end of the line, answers with its input, and says goodbye.
const PYTHON: &str = "
import socket, ssl, sys
certificate, key, version = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
with socket.create_server(('127.0.0.1', 0)) as listener:
    print(listener.getsockname()[1], 'is the port', flush=True)
    with context.wrap_socket(listener.accept()[0], server_side=True, suppress_ragged_eofs=False) as tls:
        with tls.makefile('rw', encoding='ascii', newline='') as text:
            print(text.readline(), end='', flush=True)
            text.write(sys.stdin.readline())
            text.flush()
            assert text.read() == ''
        tls.unwrap()
";

#[test]
fn pythons_ssl_answers() {
    let Some(python) = tool("python3") else { return };
    let server = |meeting: Meeting| {
        let identity = pki().server(meeting.kind);
        let mut command = Command::new(&python);
        command.args(["-c", PYTHON]).arg(&identity.certificate_file).arg(&identity.key_file);
        let mut tool = Typed::start(command.arg(meeting.pick("TLSv1_2", "TLSv1_3")));
        let line = tool.program.line_with("is the port");
        (tool, line.split(' ').next().and_then(|port| port.parse().ok()).expect("it says its port"))
    };
    meet(server, talk_and_part);
}
