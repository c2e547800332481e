//! For tests: a session of ours and a peer in one memory. No socket, no clock.
//!
//! ```text
//!  write ─▶ Ours ── said ──▶ cut into chunks ──▶ hear ── Theirs (plain rustls) or Ours ─▶ received
//! ```

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, Connection, ServerConnection};

use crate::session::{Fill, MAX_REST, Session};
use crate::tls::pair::{Authority, client_spec, only, server_spec};
use crate::tls::{
    ClientProfile, ClientSpec, Failure, Params, ServerNameChoice, ServerProfile, ServerSpec, Version, Witness,
};

/// The name that the server has.
pub(crate) const NAME: &str = "a.example";

/// Which role is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Client,
    Server,
}

/// One way to have a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) role: Role,
    pub(crate) version: Version,
    /// On rustls' buffered interface.
    pub(crate) exports: bool,
}

/// Every way to have a session.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for role in [Role::Client, Role::Server] {
        for version in [Version::Tls12, Version::Tls13] {
            cases.extend([false, true].map(|exports| Case { role, version, exports }));
        }
    }
    cases
}

impl Case {
    /// Two ends that have not said anything.
    pub(crate) fn pair(self) -> Pair<Theirs> {
        Setup::new(only(self.version)).pair(self.role, self.exports)
    }

    /// Two ends after their handshake.
    pub(crate) fn open(self) -> Pair<Theirs> {
        let mut pair = self.pair();
        pair.run();
        assert_eq!(pair.ours.failure, None, "{self:?}");
        assert!(!pair.ours.session.state().is_handshaking() && !pair.peer.connection.is_handshaking());
        pair
    }
}

/// What sessions are made with.
pub(crate) struct Setup {
    pub(crate) client: ClientProfile,
    pub(crate) server: Arc<ServerProfile>,
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
        }
    }

    pub(crate) fn pair(&self, role: Role, exports: bool) -> Pair<Theirs> {
        match role {
            Role::Client => Pair { ours: self.our_client(exports), peer: self.their_server() },
            Role::Server => Pair { ours: self.our_server(exports), peer: self.their_client(NAME) },
        }
    }

    pub(crate) fn our_client(&self, exports: bool) -> Ours {
        let mut ours = Ours::new(self.our_client_session(exports));
        ours.hear(b"");
        ours
    }

    /// One that has not said hello.
    pub(crate) fn our_client_session(&self, exports: bool) -> Session {
        let witness = Witness::new();
        let config = self.client.session_config(&[], &witness, None).unwrap();
        let name = self.client.sni(&[], &ServerNameChoice::FirstDns).name;
        Session::client(config, name, witness, exports).unwrap()
    }

    pub(crate) fn our_server(&self, exports: bool) -> Ours {
        Ours::new(Session::server(&self.server, None, Witness::new(), exports).unwrap())
    }

    pub(crate) fn their_client(&self, name: &str) -> Theirs {
        let config = self.client.session_config(&[], &Witness::new(), None).unwrap();
        let name = name.to_owned().try_into().unwrap();
        Theirs::new(ClientConnection::new(config, name).unwrap().into())
    }

    pub(crate) fn their_server(&self) -> Theirs {
        let config = self.server.session_config(&Witness::new(), None, false).unwrap();
        Theirs::new(ServerConnection::new(config).unwrap().into())
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
    out: Fill,
}

impl Ours {
    fn new(session: Session) -> Self {
        Self { session, received: Vec::new(), failure: None, out: Fill::default() }
    }

    pub(crate) fn write(&mut self, data: &[u8]) {
        self.session.handle_plain(data, &mut self.out).unwrap();
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
    fn new(connection: Connection) -> Self {
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

fn chunks(mut bytes: &[u8], mut size: impl FnMut() -> usize, mut each: impl FnMut(&[u8])) {
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(size().clamp(1, bytes.len()));
        each(chunk);
        bytes = rest;
    }
}
