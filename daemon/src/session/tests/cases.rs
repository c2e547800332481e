//! For tests: a session of ours and a peer in one memory. No socket, no clock.
//!
//! ```text
//!  write ─▶ Ours ── said ──▶ cut into chunks ──▶ hear ── Theirs (plain rustls) or Ours ─▶ received
//! ```

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::session::{Fill, MAX_REST, Session, SessionState};
use crate::tls::pair::{Authority, VERSIONS, client_spec, only, server_spec};
use crate::tls::{
    AlpnMismatch, ClientProfile, ClientSpec, Failure, Params, ParamsSpec, Party, ServerNameChoice,
    ServerProfile, ServerSpec, Version, Witness,
};

/// The name that the server has.
pub(crate) const NAME: &str = "a.example";
/// A record that no session can open.
pub(crate) const BAD_RECORD: &[u8] = b"\x17\x03\x03\x00\x20no record of this session at all";

/// Which role is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// Which way our bytes go through rustls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Unbuffered,
    /// On the buffered interface, as for a session that asked for exporter values.
    Exports,
    /// As for a server that looks at the ClientHello first (`alpn-mismatch=ignore`).
    Hello,
}

/// One way to have a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) role: Role,
    pub(crate) version: Version,
    pub(crate) shape: Shape,
}

/// Every way to have a session.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [Role::Client, Role::Server] {
        for version in VERSIONS {
            cases.extend([Shape::Unbuffered, Shape::Exports].map(|shape| Case { role, version, shape }));
        }
    }
    cases.extend(VERSIONS.map(|version| Case { role: Role::Server, version, shape: Shape::Hello }));
    cases
}

impl Case {
    pub(crate) fn exports(self) -> bool {
        self.shape == Shape::Exports
    }

    pub(crate) fn setup(self) -> Setup {
        let params = only(self.version);
        if self.shape != Shape::Hello {
            return Setup::new(params);
        }
        let spec = ParamsSpec {
            min: Some(self.version),
            max: Some(self.version),
            alpn: vec![b"ours".to_vec()],
            alpn_mismatch: Some(AlpnMismatch::Ignore),
            ..ParamsSpec::default()
        };
        Setup::with(params, Params::build(&spec).unwrap())
    }

    /// Two ends that have not said anything.
    pub(crate) fn pair(self) -> Pair<Theirs> {
        self.setup().pair(self.role, self.exports())
    }

    /// Two ends after their handshake.
    pub(crate) fn open(self) -> Pair<Theirs> {
        let mut pair = self.pair();
        pair.run();
        pair.assert_open(&format!("{self:?}"));
        pair
    }
}

/// What sessions are made with.
pub(crate) struct Setup {
    pub(crate) client: ClientProfile,
    pub(crate) server: Arc<ServerProfile>,
    /// The peer's records are this long at most, where that is less than a profile may ask for.
    pub(crate) peers_fragment: Option<usize>,
}

impl Setup {
    pub(crate) fn new(params: Params) -> Self {
        Self::with(params.clone(), params)
    }

    pub(crate) fn with(client: Params, server: Params) -> Self {
        let ca = Authority::new("ca");
        let client = ClientSpec { params: client, ..client_spec(ca.trust(), &[NAME]) };
        let server = ServerSpec { params: server, ..server_spec(vec![ca.identity(&[NAME])]) };
        Self {
            client: ClientProfile::build(client).unwrap(),
            server: Arc::new(ServerProfile::build(server).unwrap()),
            peers_fragment: None,
        }
    }

    pub(crate) fn pair(&self, role: Role, exports: bool) -> Pair<Theirs> {
        match role {
            Role::Client => Pair { ours: self.our_client(exports), peer: self.their_server() },
            Role::Server => Pair { ours: self.our_server(exports), peer: self.their_client(NAME) },
        }
    }

    pub(crate) fn our_client(&self, exports: bool) -> Ours {
        Ours::begun(self.our_client_session(exports))
    }

    /// One that has not said hello.
    pub(crate) fn our_client_session(&self, exports: bool) -> Session {
        let witness = Witness::new();
        let config = self.client.session_config(&[], &witness, None).unwrap();
        let name = self.client.sni(&[], &ServerNameChoice::FirstDns).name;
        Session::client(config, name, witness, exports, None).unwrap()
    }

    pub(crate) fn our_server(&self, exports: bool) -> Ours {
        Ours::new(Session::server(&self.server, None, Witness::new(), exports, None).unwrap())
    }

    pub(crate) fn their_client(&self, name: &str) -> Theirs {
        let config = self.client.session_config(&[], &Witness::new(), None).unwrap();
        let mut config = rustls::ClientConfig::clone(&config);
        config.max_fragment_size = self.peers_fragment;
        let name = name.to_owned().try_into().unwrap();
        Theirs::new(ClientConnection::new(config.into(), name).unwrap().into())
    }

    pub(crate) fn their_server(&self) -> Theirs {
        let config = self.server.session_config(&Witness::new(), None, false).unwrap();
        let mut config = rustls::ServerConfig::clone(&config);
        config.max_fragment_size = self.peers_fragment;
        Theirs::new(ServerConnection::new(config.into()).unwrap().into())
    }
}

/// An end of a connection in memory.
pub(crate) trait Talk {
    /// Takes bytes that the other said.
    fn hear(&mut self, bytes: &[u8]);
    /// What is to be sent since the last call.
    fn said(&mut self) -> Vec<u8>;
}

/// A session of ours.
pub(crate) struct Ours {
    pub(crate) session: Session,
    pub(crate) received: Vec<u8>,
    pub(crate) failure: Option<Failure>,
    /// A clock that is turned by hand.
    pub(crate) now: Instant,
    out: Fill,
}

impl Ours {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, received: Vec::new(), failure: None, now: Instant::now(), out: Fill::default() }
    }

    /// A client that has said hello.
    pub(crate) fn begun(session: Session) -> Self {
        let mut ours = Self::new(session);
        ours.hear(b"");
        ours
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        self.try_write(data).unwrap();
    }

    pub(crate) fn try_write(&mut self, data: &[u8]) -> Result<(), Failure> {
        self.session.handle_plain(data, self.now, &mut self.out)
    }

    pub(crate) fn end(&mut self) {
        self.session.handle_plain_end(&mut self.out).unwrap();
    }
}

impl Talk for Ours {
    fn hear(&mut self, bytes: &[u8]) {
        let mut incoming = self.session.rest().to_vec();
        incoming.extend_from_slice(bytes);
        let mut plain = Fill::default();
        if let Err(failure) = self.session.handle_net(&mut incoming, &mut plain, &mut self.out) {
            assert!(self.session.state().is_over() && self.failure.is_none(), "{failure}");
            self.failure = Some(failure);
        }
        self.received.extend_from_slice(plain.filled());
        assert!(self.session.rest().len() <= MAX_REST);
    }

    fn said(&mut self) -> Vec<u8> {
        let said = self.out.filled().to_vec();
        self.out.clear();
        said
    }
}

/// A peer: rustls' own buffered connection.
pub(crate) struct Theirs {
    pub(crate) connection: Connection,
    pub(crate) received: Vec<u8>,
    pub(crate) failure: Option<rustls::Error>,
    /// We said close_notify.
    pub(crate) closed: bool,
}

impl Theirs {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, received: Vec::new(), failure: None, closed: false }
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        self.connection.set_buffer_limit(None);
        self.connection.writer().write_all(data).unwrap();
    }

    pub(crate) fn end(&mut self) {
        self.connection.send_close_notify();
    }
}

impl Talk for Theirs {
    fn hear(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.failure.is_none() {
            self.connection.read_tls(&mut bytes).unwrap();
            match self.connection.process_new_packets() {
                Ok(state) => self.closed |= state.peer_has_closed(),
                Err(error) => self.failure = Some(error),
            }
            match self.connection.reader().read_to_end(&mut self.received) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
    }

    fn said(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut said).unwrap();
        }
        said
    }
}

/// A session of ours and its peer.
pub(crate) struct Pair<P> {
    pub(crate) ours: Ours,
    pub(crate) peer: P,
}

impl<P: Talk> Pair<P> {
    /// Moves everything until both are silent.
    pub(crate) fn run(&mut self) {
        self.run_in(|| usize::MAX);
    }

    /// The same, in chunks of these sizes (0 counts as 1).
    pub(crate) fn run_in(&mut self, mut size: impl FnMut() -> usize) {
        loop {
            let (ours, peers) = (self.ours.said(), self.peer.said());
            if ours.is_empty() && peers.is_empty() {
                return;
            }
            chunks(&ours, &mut size, |chunk| self.peer.hear(chunk));
            chunks(&peers, &mut size, |chunk| self.ours.hear(chunk));
        }
    }
}

impl Pair<Theirs> {
    pub(super) fn assert_open(&self, what: &str) {
        assert_eq!((&self.ours.failure, &self.peer.failure), (&None, &None), "{what}");
        let handshaking = (self.ours.session.state().is_handshaking(), self.peer.connection.is_handshaking());
        assert_eq!(handshaking, (false, false), "{what}");
    }

    /// After a failure: the alert of ours that its [`Failure`] names, and the one that the peer heard.
    pub(super) fn last_words(&mut self) -> (Option<u8>, Option<u8>) {
        assert!(matches!(self.ours.session.state(), SessionState::Failed(_)));
        let failure = self.ours.failure.as_ref().expect("it failed");
        let told = failure.alert.filter(|(_, by)| *by == Party::Us).map(|(alert, _)| alert);
        let said = self.ours.said();
        self.peer.hear(&said);
        assert!(!self.peer.closed, "the peer saw a clean end");
        match &self.peer.failure {
            Some(rustls::Error::AlertReceived(heard)) => (told, Some((*heard).into())),
            None => (told, None),
            Some(error) => panic!("the peer heard no alert but {error}"),
        }
    }
}

fn chunks(mut bytes: &[u8], mut size: impl FnMut() -> usize, mut each: impl FnMut(&[u8])) {
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(size().clamp(1, bytes.len()));
        each(chunk);
        bytes = rest;
    }
}
