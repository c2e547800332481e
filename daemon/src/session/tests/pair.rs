//! Two ends in one memory. One is a [`Session`], the other a plain connection of rustls, which shares none of this
//! room's code.

use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SignatureAlgorithm,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConnection, Connection, RootCertStore, ServerConnection, SupportedProtocolVersion};
use tlsify_protocol::{AlpnMismatch, ClientCertificate, Version};

use crate::session::{Fill, Session};
use crate::tls::{
    ClientProfile, ClientSpec, Failure, Identity, Params, ParamsSpec, ReferenceId, Roots, ServerNameChoice,
    ServerProfile, ServerSpec, Trust, Witness,
};

pub(crate) const NAME: &str = "server.example";
/// An alert record of each kind is at most this long; a longer answer is something else.
const LONGEST_ALERT: usize = 64;

/// Which of our two interfaces to rustls a session runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Unbuffered,
    /// As for a session that asked for exporter values.
    Exports,
    /// As for a server that looks at the ClientHello first (`alpn-mismatch=ignore`).
    Hello,
}

/// A test's circumstances: our role, the version, the interface.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) server: bool,
    pub(crate) version: Version,
    pub(crate) shape: Shape,
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for version in [Version::Tls12, Version::Tls13] {
            for (server, shapes) in [
                (false, &[Shape::Unbuffered, Shape::Exports][..]),
                (true, &[Shape::Unbuffered, Shape::Exports, Shape::Hello][..]),
            ] {
                all.extend(shapes.iter().map(|&shape| Self { server, version, shape }));
            }
        }
        all
    }
}

/// What both kinds of end can do. Each call gives the bytes that are for the other end.
pub(crate) trait End {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8>;
    fn write(&mut self, data: &[u8]) -> Vec<u8>;
    /// close_notify.
    fn finish(&mut self) -> Vec<u8>;
    fn is_open(&self) -> bool;
    /// Plaintext that has arrived so far.
    fn got(&self) -> &[u8];
}

/// The end under test.
pub(crate) struct Ours {
    pub(crate) session: Session,
    pub(crate) failure: Option<Failure>,
    got: Vec<u8>,
}

impl Ours {
    fn new(session: Session) -> Self {
        Self { session, failure: None, got: Vec::new() }
    }

    /// The failure that there must be.
    pub(crate) fn failed(&self) -> &Failure {
        self.failure.as_ref().expect("the session fails")
    }
}

impl End for Ours {
    fn receive(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut incoming = self.session.rest().to_vec();
        incoming.extend_from_slice(bytes);
        let (mut plain, mut out) = (Fill::default(), Fill::default());
        let result = self.session.handle_net(&mut incoming, &mut plain, &mut out);
        assert!(self.session.rest().len() <= crate::session::MAX_REST);
        self.failure = self.failure.take().or(result.err());
        self.got.extend_from_slice(plain.filled());
        out.filled().to_vec()
    }

    fn write(&mut self, data: &[u8]) -> Vec<u8> {
        let mut out = Fill::default();
        self.session.handle_plain(data, &mut out).expect("it may be sent");
        out.filled().to_vec()
    }

    fn finish(&mut self) -> Vec<u8> {
        let mut out = Fill::default();
        self.session.handle_plain_end(&mut out).expect("close_notify can be sent");
        out.filled().to_vec()
    }

    fn is_open(&self) -> bool {
        !self.session.state().is_handshaking() && self.failure.is_none()
    }

    fn got(&self) -> &[u8] {
        &self.got
    }
}

/// The far end.
pub(crate) struct Theirs {
    pub(crate) tls: Connection,
    pub(crate) error: Option<rustls::Error>,
    pub(crate) closed: bool,
    got: Vec<u8>,
}

impl Theirs {
    pub(crate) fn send(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut out).expect("a Vec takes it");
        }
        out
    }
}

impl End for Theirs {
    fn receive(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        use std::io::Read;
        while !bytes.is_empty() && self.error.is_none() {
            self.tls.read_tls(&mut bytes).expect("a slice can be read");
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let from = self.got.len();
                    self.got.resize(from + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut self.got[from..]).expect("so many were promised");
                    self.closed |= state.peer_has_closed();
                }
                Err(error) => self.error = Some(error),
            }
        }
        self.send()
    }

    fn write(&mut self, data: &[u8]) -> Vec<u8> {
        use std::io::Write;
        self.tls.writer().write_all(data).expect("there is no limit");
        self.send()
    }

    fn finish(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.send()
    }

    fn is_open(&self) -> bool {
        !self.tls.is_handshaking() && self.error.is_none()
    }

    fn got(&self) -> &[u8] {
        &self.got
    }
}

/// Both ends, and the bytes between them.
pub(crate) struct Pair {
    pub(crate) ours: Ours,
    pub(crate) theirs: Theirs,
    pub(crate) to_us: Vec<u8>,
    pub(crate) to_them: Vec<u8>,
}

impl Pair {
    /// Before the first byte of the handshake is delivered.
    pub(crate) fn new(case: Case) -> Self {
        Self::changed(case, |_| {})
    }

    /// The same, with a far end that is changed before it begins: `max_fragment_size`.
    pub(crate) fn changed(case: Case, change: impl FnOnce(&mut Far)) -> Self {
        let mut far = Far::new();
        change(&mut far);
        let mut ours = Ours::new(session(case));
        let mut theirs = far.connect(case);
        let to_us = theirs.send();
        let to_them = if case.server { Vec::new() } else { ours.receive(&[]) };
        Self { ours, theirs, to_us, to_them }
    }

    /// An open pair.
    pub(crate) fn open(case: Case) -> Self {
        let mut pair = Self::new(case);
        pair.settle();
        assert!(pair.ours.is_open() && pair.theirs.is_open(), "{case:?}: {:?}", pair.ours.failure);
        pair
    }

    /// Delivers until nothing is on its way.
    pub(crate) fn settle(&mut self) {
        self.settle_in(|rest| rest);
    }

    /// The same, in pieces: `piece` says how many of so many bytes come next to us.
    pub(crate) fn settle_in(&mut self, mut piece: impl FnMut(usize) -> usize) {
        while !(self.to_us.is_empty() && self.to_them.is_empty()) {
            if !self.to_us.is_empty() {
                let count = piece(self.to_us.len()).clamp(1, self.to_us.len());
                let bytes: Vec<u8> = self.to_us.drain(..count).collect();
                self.to_them.extend(self.ours.receive(&bytes));
            }
            let bytes = std::mem::take(&mut self.to_them);
            self.to_us.extend(self.theirs.receive(&bytes));
        }
    }

    pub(crate) fn we_write(&mut self, data: &[u8]) {
        let bytes = self.ours.write(data);
        self.to_them.extend(bytes);
    }

    pub(crate) fn they_write(&mut self, data: &[u8]) {
        let bytes = self.theirs.write(data);
        self.to_us.extend(bytes);
    }

    pub(crate) fn we_finish(&mut self) {
        let bytes = self.ours.finish();
        self.to_them.extend(bytes);
    }

    pub(crate) fn they_finish(&mut self) {
        let bytes = self.theirs.finish();
        self.to_us.extend(bytes);
    }
}

/// The far end before it begins.
pub(crate) struct Far {
    pub(crate) max_fragment_size: Option<usize>,
    pub(crate) name: &'static str,
    pub(crate) alpn: Vec<Vec<u8>>,
}

impl Far {
    pub(crate) fn new() -> Self {
        Self { max_fragment_size: None, name: NAME, alpn: Vec::new() }
    }

    pub(crate) fn connect(self, case: Case) -> Theirs {
        let mut tls: Connection =
            if case.server { self.client(case).into() } else { self.server(case).into() };
        tls.set_buffer_limit(None);
        Theirs { tls, error: None, closed: false, got: Vec::new() }
    }

    fn client(self, case: Case) -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki().ca.as_bytes()).unwrap()).unwrap();
        let mut config = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(case))
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.max_fragment_size = self.max_fragment_size;
        config.alpn_protocols = self.alpn;
        ClientConnection::new(config.into(), ServerName::try_from(self.name).unwrap()).unwrap()
    }

    fn server(self, case: Case) -> ServerConnection {
        let chain = vec![CertificateDer::from_pem_slice(pki().chain.as_bytes()).unwrap()];
        let mut config = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions(case))
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::from_pem_slice(pki().key.as_bytes()).unwrap())
            .unwrap();
        config.max_fragment_size = self.max_fragment_size;
        config.alpn_protocols = self.alpn;
        ServerConnection::new(config.into()).unwrap()
    }
}

/// Whether this is one alert record, in the clear or encrypted, and not the beginning of a longer answer.
pub(crate) fn is_alert(record: &[u8]) -> bool {
    record.len() <= LONGEST_ALERT && matches!(record.first(), Some(21 | 23))
}

/// The first record of `bytes`, which must be whole.
pub(crate) fn first_record(bytes: &[u8]) -> usize {
    5 + usize::from(u16::from_be_bytes([bytes[3], bytes[4]]))
}

/// The end under test at its start.
pub(crate) fn session(case: Case) -> Session {
    let exports = case.shape == Shape::Exports;
    let mut spec = ParamsSpec { min: Some(case.version), max: Some(case.version), ..ParamsSpec::default() };
    if case.shape == Shape::Hello {
        spec.alpn = vec![b"ours".to_vec()];
        spec.alpn_mismatch = Some(AlpnMismatch::Ignore);
    }
    let params = Params::build(&spec).unwrap();
    let witness = Witness::new();
    if case.server {
        let profile = ServerProfile::build(ServerSpec {
            identities: vec![Identity::from_pem(pki().chain.as_bytes(), pki().key.as_bytes(), None).unwrap()],
            unknown_name_first: false,
            params,
            client_certificate: ClientCertificate::None,
            trust: None,
            pins: Vec::new(),
            allow: Vec::new(),
        });
        return Session::server(&Arc::new(profile.unwrap()), None, witness, exports).unwrap();
    }
    let profile = ClientProfile::build(ClientSpec {
        identity: None,
        params,
        trust: Trust::Roots(Roots::from_pem(pki().ca.as_bytes()).unwrap()),
        pins: Vec::new(),
        names: vec![ReferenceId::parse(NAME).unwrap()],
    })
    .unwrap();
    let config = profile.session_config(&[], &witness, None).unwrap();
    let sni = profile.sni(&[], &ServerNameChoice::FirstDns);
    Session::client(config, sni.name, witness, exports).unwrap()
}

static ONLY_TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
static ONLY_TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];

fn versions(case: Case) -> &'static [&'static SupportedProtocolVersion] {
    match case.version {
        Version::Tls12 => ONLY_TLS12,
        Version::Tls13 => ONLY_TLS13,
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

struct Pki {
    ca: String,
    chain: String,
    key: String,
}

fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(|| {
        let key = || KeyPair::generate_for(ALGORITHM).unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "session tests CA");
        let ca_key = key();
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(params, ca_key);
        let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = key();
        let chain = params.signed_by(&server_key, &issuer).unwrap().pem();
        Pki { ca, chain, key: server_key.serialize_pem() }
    })
}

static ALGORITHM: &SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
