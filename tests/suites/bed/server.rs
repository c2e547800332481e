//! The far end: shows what a case wants shown, and keeps what it heard: the alert, and whether any data reached it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};
use tlsifyd_tests::peer::{BOTH_VERSIONS, ONLY_TLS12, ONLY_TLS13, reset};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{End, Peer, Running, TempDir, Typed, reach, running, tcp_pair, tool};

use super::certificates::{Certificate, pem};
use super::keys::Key;

/// What the program says to the server as soon as it may, and the server's answer.
pub(crate) const QUESTION: &[u8] = b"a secret of the program\n";
pub(crate) const ANSWER: &[u8] = b"welcome\n";

/// A server of one case.
#[derive(Clone, Debug)]
pub(crate) enum Server {
    /// TLS with these bytes as its certificates, end entity first, and a key that need not fit.
    Shows { chain: Vec<Vec<u8>>, key: Arc<Key>, staple: Option<Vec<u8>>, only: Option<Only> },
    /// These bytes once it has heard something, and then nothing more: not TLS, or not much of it.
    Says { bytes: Vec<u8>, then: Then },
    /// OpenSSL's server with these options, for what no other one speaks any more.
    OpenSsl { options: &'static [&'static str], certificate: Certificate },
}

/// The one version that it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Only {
    Tls12,
    Tls13,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Waits,
    Closes,
    Resets,
}

/// What reached the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The number of the alert that it got.
    pub(crate) alert: Option<u8>,
    /// Plaintext.
    pub(crate) data: Vec<u8>,
}

impl Server {
    /// Starts it on a connection, and gives the near end.
    pub(crate) fn start(&self) -> (TcpStream, Running<Heard>) {
        if let Self::OpenSsl { options, certificate } = self {
            return by_openssl(options, certificate);
        }
        let (near, far) = tcp_pair();
        far.set_nodelay(true).expect("a TCP socket has this option");
        let this = self.clone();
        (near, running("server", move || this.serve(far)))
    }

    /// The chain that it shows.
    pub(crate) fn chain(&self) -> &[Vec<u8>] {
        match self {
            Self::Shows { chain, .. } => chain,
            Self::Says { .. } | Self::OpenSsl { .. } => &[],
        }
    }

    fn serve(self, socket: TcpStream) -> Heard {
        match self {
            Self::Shows { chain, key, staple, only } => {
                let versions = match only {
                    None => BOTH_VERSIONS,
                    Some(Only::Tls12) => ONLY_TLS12,
                    Some(Only::Tls13) => ONLY_TLS13,
                };
                shows(socket, config(chain, &key, staple, versions))
            }
            Self::Says { bytes, then } => says(socket, &bytes, then),
            Self::OpenSsl { .. } => unreachable!("it has a socket of its own"),
        }
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// With a resolver, rustls sends what it is given and looks at none of it.
fn config(
    chain: Vec<Vec<u8>>,
    key: &Key,
    staple: Option<Vec<u8>>,
    versions: &[&'static SupportedProtocolVersion],
) -> ServerConfig {
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let mut shown = CertifiedKey::new(chain, key.for_handshakes());
    shown.ocsp = staple;
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .expect("the versions are known")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Always(Arc::new(shown))))
}

fn shows(socket: TcpStream, config: ServerConfig) -> Heard {
    let mut peer = Peer::server(socket, config);
    if let Err(error) = peer.handshake() {
        return Heard { alert: alert_in(&error), data: Vec::new() };
    }
    match peer.read_to_end() {
        Ok((data, End::CloseNotify)) => {
            // A caller that is gone has said so itself.
            let _ = peer.write_all(ANSWER).and_then(|()| peer.half_close());
            Heard { alert: None, data }
        }
        Ok((data, End::Alert(alert))) => Heard { alert: Some(alert.into()), data },
        Ok((data, End::Truncated | End::Reset)) => Heard { alert: None, data },
        Err(error) => panic!("the server fails: {error}"),
    }
}

fn alert_in(error: &io::Error) -> Option<u8> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some((*alert).into()),
        _ => None,
    }
}

fn says(mut socket: TcpStream, bytes: &[u8], then: Then) -> Heard {
    socket.set_read_timeout(Some(LIMIT)).expect("a limit that is not zero");
    let mut hello = [0; 16 * 1024];
    // Closing before the ClientHello was read would be a reset.
    let count = socket.read(&mut hello).expect("a ClientHello comes");
    assert_eq!(hello[..count].first(), Some(&22), "the first record is a handshake");
    socket.write_all(bytes).expect("the client is there");
    match then {
        Then::Waits => {}
        Then::Closes => socket.shutdown(Shutdown::Write).expect("the client is there"),
        Then::Resets => {
            reset(socket);
            return Heard::default();
        }
    }
    let mut rest = Vec::new();
    // A reset is an end too.
    let _ = socket.read_to_end(&mut rest);
    heard_in_clear(&rest)
}

/// Records in the clear: what is an alert, and what can only be data.
fn heard_in_clear(mut records: &[u8]) -> Heard {
    let mut heard = Heard::default();
    while let [kind, _, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        match (kind, &rest[..length]) {
            (21, [_, description]) => heard.alert = Some(*description),
            (23, data) => heard.data.extend_from_slice(data),
            _ => {}
        }
        records = &rest[length..];
    }
    heard
}

/// `openssl s_server` for one connection. What it hears, it says.
fn by_openssl(options: &[&str], certificate: &Certificate) -> (TcpStream, Running<Heard>) {
    let dir = TempDir::new("s-server");
    let (chain, key) = (dir.path().join("chain.pem"), dir.path().join("key.pem"));
    fs::write(&chain, pem(&certificate.der)).expect("the temporary folder can be written");
    fs::write(&key, certificate.key.pem()).expect("the temporary folder can be written");
    let openssl = tool("openssl").expect("a case that needs it is skipped without it");
    let mut command = Command::new(openssl);
    command.args(["s_server", "-accept", "127.0.0.1:0", "-naccept", "1", "-state"]);
    command.arg("-cert").arg(chain).arg("-key").arg(key).args(options);
    let mut server = Typed::start(&mut command);
    let line = server.program.line_with("ACCEPT 127.0.0.1:");
    let port = line.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("it says its port");
    let near = reach(port);
    let heard = running("s_server", move || {
        let status = until(LIMIT, || server.program.poll());
        assert!(status.is_some(), "s_server runs on: {}", server.program.stderr());
        let said = (server.program.stdout(), server.program.stderr());
        drop((server, dir));
        let alert = said.1.lines().find_map(|line| line.strip_prefix("SSL3 alert read:fatal:"));
        let data = if said.0.contains("a secret of") { said.0.into_bytes() } else { Vec::new() };
        Heard { alert: alert.map(number), data }
    });
    (near, heard)
}

/// OpenSSL's words for the alerts that are expected here.
fn number(words: &str) -> u8 {
    match words.trim() {
        "handshake failure" => 40,
        "protocol version" => 70,
        other => panic!("an alert that no case expects: {other}"),
    }
}
