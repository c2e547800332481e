//! First contact: the key of a peer is learned from whoever it is, a pin of it is what lets that one in from then on, and no
//! way of asking makes a session of it.

mod command;
mod lies;
mod peers;

use std::io::{self, Read};
use std::sync::Arc;

use rustls::{AlertDescription, ServerConfig, SupportedProtocolVersion};
use tlsify_client::{Alert, Blame, Code, Connect, Error, Failed, Learned, Party, Socket, Trust};
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13, server_config};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{Census, Peer, TestDaemon, exclusive, pki, running, tcp_pair};

/// What the peer hears from who learns (RFC 9846 section 6.2).
const DENIED: AlertDescription = AlertDescription::AccessDenied;

/// Either version alone.
const VERSIONS: [&[&SupportedProtocolVersion]; 2] = [ONLY_TLS12, ONLY_TLS13];

/// Asks for the good name from the good CA.
fn properly(connect: Connect) -> Connect {
    connect.name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()))
}

/// What the server saw of a visit.
struct Heard {
    handshake: io::Result<()>,
    data: Vec<u8>,
    certificates: usize,
}

impl Heard {
    /// It was turned away by who learns, and got nothing of anybody.
    #[track_caller]
    fn nothing(&self) {
        let said = self.handshake.as_ref().expect_err("it never gets a Finished");
        let said = said.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()).cloned();
        assert_eq!(said, Some(rustls::Error::AlertReceived(DENIED)));
        assert_eq!((self.data.len(), self.certificates), (0, 0));
    }
}

/// A server of this configuration is asked so: what the caller was told, and what the server heard.
fn look(
    daemon: &TestDaemon,
    config: impl Into<Arc<ServerConfig>>,
    ask: impl FnOnce(Connect) -> Connect,
) -> (Result<Learned, Error>, Heard) {
    let (near, far) = tcp_pair();
    let config = config.into();
    let server = running("server", move || {
        let mut peer = Peer::server(far, config);
        let handshake = peer.handshake();
        let mut data = Vec::new();
        let _ = peer.tls.reader().read_to_end(&mut data);
        Heard { handshake, data, certificates: peer.tls.peer_certificates().map_or(0, <[_]>::len) }
    });
    let learned = daemon.client().learn(&ask(Connect::new(near)));
    (learned, server.join())
}

/// Learns the key of this identity in each version, and sees that a pin of it is what lets it in.
#[track_caller]
fn learned(daemon: &TestDaemon, identity: &Identity, ask: impl Fn(Connect) -> Connect) -> Learned {
    let [tls12, tls13] = VERSIONS.map(|versions| {
        let (result, server) = look(daemon, server_config(identity, versions), &ask);
        let learned = result.unwrap_or_else(|error| panic!("{error}"));
        server.nothing();
        assert_eq!(learned.spki_sha256, identity.spki_sha256);
        assert_eq!(learned.certificate_sha256, Some(identity.certificate_sha256));
        let chain = learned.chain_pem().expect("a memfd can be read");
        assert_eq!(chain.split_whitespace().collect::<String>(), bare(&identity.certificate_pem));
        opens_with(daemon, identity, versions, &learned);
        learned
    });
    assert_eq!((tls12.would, tls12.notes), (tls13.would, tls13.notes.clone()));
    tls13
}

/// PEM without its line ends, which writers choose.
fn bare(pem: &str) -> String {
    pem.split_whitespace().collect()
}

/// What was learned and is pinned lets that peer in, and nobody else.
#[track_caller]
fn opens_with(
    daemon: &TestDaemon,
    identity: &Identity,
    versions: &'static [&'static SupportedProtocolVersion],
    learned: &Learned,
) {
    let pinned = |identity: &Identity| {
        let (near, far) = tcp_pair();
        let config = server_config(identity, versions);
        let server = running("server", move || Peer::server(far, config).handshake());
        let opened = daemon.client().connect_tls(&Connect::new(near).trust(Trust::Pins).pin(learned.pin()));
        let _ = server.join();
        opened.map(|open| open.facts.spki_sha256)
    };
    assert_eq!(pinned(identity).unwrap_or_else(|error| panic!("{error}")), Some(learned.spki_sha256));
    let other = pki().self_signed("somebody-else");
    assert_eq!(pinned(&other).unwrap_err().code(), Some(Code::PinMismatch));
}

/// Nothing was learned, for this reason, and there is nothing that could be pinned by mistake.
#[track_caller]
fn nothing_learned(result: Result<Learned, Error>, code: Code) -> Box<Failed> {
    let Err(Error::Failed(failed)) = result else { panic!("{result:?}") };
    assert_eq!((failed.code, failed.blame), (code, code.blame()), "{failed:?}");
    assert_eq!((failed.spki_sha256, failed.certificate_sha256), (None, None), "{failed:?}");
    assert!(failed.chain.is_none(), "{failed:?}");
    failed
}

/// Runs `work` with a daemon, and sees that neither side keeps a descriptor.
fn counted(work: impl FnOnce(&TestDaemon)) {
    let mut fds = exclusive();
    pki();
    fds.rebase();
    {
        let daemon = TestDaemon::start();
        // Some have it connect for them, and it is there from then on.
        daemon.wake_dialer(&daemon.client());
        let before: Census = daemon.baseline();
        work(&daemon);
        daemon.settled_fds(&before);
    }
    fds.settled();
}

/// A handshake that ended otherwise than by learning still tells its alert.
#[track_caller]
fn told(failed: &Failed, alert: u8) {
    assert_eq!(failed.alert, Some(Alert { description: alert, from: Party::Us }), "{failed:?}");
    assert_eq!((failed.socket, failed.blame), (Socket::Closed, Blame::Peer));
}
