//! Handshakes whose key somebody else's signer has: nobody waits for it but they.
//!
//! The engine runs here, with one worker and one caller; the signer is a gate that the test opens. No timing decides: what
//! goes on meanwhile is counted, and everything that is waited for is bounded.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PublicKeyData};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use tlsify_client::{
    Accept, Choice, Client, Code, Connect, Error, Pending, Pin, Profile, Role, Sha256, Trust, pem_fd,
};
use tlsifyd::config::Config;
use tlsifyd::engine::{Engine, KeyRefused, Keys, Setup};
use tlsifyd::io::{Outside, read_regular};
use tlsifyd::policy::CallerCred;
use tlsifyd::process::{Loaded, SystemPool};
use tlsifyd::tls::{PrivateKey, PublicKey, Signatory, Unsigned, Uses};

const LONG: Duration = Duration::from_secs(30);
const NAME: &str = "a.example";

/// What all signers of a test wait for.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    waiting: usize,
    /// Keys that are still held.
    keys: usize,
}

impl Gate {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().expect("whole"));
        self.changed.notify_all();
    }

    fn until(&self, wanted: impl Fn(&State) -> bool) {
        let state = self.state.lock().expect("whole");
        let (_state, late) =
            self.changed.wait_timeout_while(state, LONG, |state| !wanted(state)).expect("whole");
        assert!(!late.timed_out(), "it never came to that");
    }
}

/// A key that is behind the gate, or one that signs at once.
#[derive(Debug)]
struct Signer {
    key: KeyPair,
    gate: Option<Arc<Gate>>,
}

impl Signatory for Signer {
    fn sign(&self, _: &PublicKey, _: u16, message: &[u8]) -> Result<Vec<u8>, Unsigned> {
        if let Some(gate) = &self.gate {
            gate.change(|state| state.waiting += 1);
            gate.until(|state| state.open);
            gate.change(|state| state.waiting -= 1);
        }
        Ok(rcgen::SigningKey::sign(&self.key, message).expect("signature"))
    }

    fn may_wait(&self) -> bool {
        self.gate.is_some()
    }

    fn name(&self) -> &str {
        "gate"
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        if let Some(gate) = &self.gate {
            gate.change(|state| state.keys -= 1);
        }
    }
}

/// Keys of P-384 are behind the gate.
struct Holder(Arc<Gate>);

impl Keys for Holder {
    fn take(&self, fd: OwnedFd, _: Uses, _: &CallerCred) -> Result<PrivateKey, KeyRefused> {
        let text = String::from_utf8(read_regular(&fd, 10_000)?.to_vec()).expect("PEM");
        let key = KeyPair::from_pem(&text).expect("a key");
        let gate = key.is_compatible(&rcgen::PKCS_ECDSA_P384_SHA384).then(|| Arc::clone(&self.0));
        if let Some(gate) = &gate {
            gate.change(|state| state.keys += 1);
        }
        let public = PublicKey::from_spki_der(&key.subject_public_key_info())?;
        Ok(PrivateKey::Away { public, signatory: Arc::new(Signer { key, gate }) })
    }
}

/// An engine with one worker, its caller, and the gate.
struct Rig {
    gate: Arc<Gate>,
    client: Client,
    roots: RootCertStore,
    _engine: Engine,
}

/// A profile whose key is of this kind, and its certificate.
fn profile(
    name: &str,
    role: Role,
    kind: &'static rcgen::SignatureAlgorithm,
) -> (Profile, rcgen::Certificate) {
    let key = KeyPair::generate_for(kind).expect("key");
    let params = CertificateParams::new(vec![NAME.to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("certificate");
    let profile = match role {
        Role::Server => Profile::server(name),
        Role::Client => Profile::client(name).trust(Trust::Pins),
    };
    let fd = |text: String| pem_fd(text).expect("memfd");
    (profile.certificate(fd(certificate.pem())).key(fd(key.serialize_pem())), certificate)
}

impl Rig {
    fn new() -> Self {
        let gate = Arc::new(Gate::default());
        let nothing = Config::defaults(Path::new(""));
        let loaded = Loaded::from_config(
            nothing,
            &tlsifyd::process::gather::Disk::default(),
            &mut tlsifyd::process::keys::InProcess::to_serve(),
        );
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("pair");
        let engine = Engine::start(Setup {
            operator: loaded.expect("the defaults").operator,
            system: Arc::new(SystemPool::new()),
            outside: Arc::new(Outside::default()),
            keys: Arc::new(Holder(Arc::clone(&gate))),
            workers: 1,
            listeners: Vec::new(),
            private: Some(theirs),
            register: None,
            others: None,
        });
        let engine = engine.expect("threads");
        let client = Client::from_socket(ours).expect("a greeting");
        let mut rig = Self { gate, client, roots: RootCertStore::empty(), _engine: engine };
        rig.define("slow", &rcgen::PKCS_ECDSA_P384_SHA384);
        rig.define("quick", &rcgen::PKCS_ECDSA_P256_SHA256);
        rig
    }

    fn define(&mut self, name: &str, kind: &'static rcgen::SignatureAlgorithm) {
        let (profile, certificate) = profile(name, Role::Server, kind);
        self.roots.add(certificate.der().clone()).expect("an anchor");
        self.client.define(&profile).expect("defined");
    }

    /// A session of this profile that has its ClientHello, and its peer.
    fn begin(&self, profile: &str, version: &'static SupportedProtocolVersion) -> (Pending, Peer) {
        self.begin_as(profile, version, |accept| accept)
    }

    fn begin_as(
        &self,
        profile: &str,
        version: &'static SupportedProtocolVersion,
        as_well: impl FnOnce(Accept) -> Accept,
    ) -> (Pending, Peer) {
        let (net, wire) = UnixStream::pair().expect("pair");
        let config = ClientConfig::builder_with_protocol_versions(&[version])
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = ServerName::try_from(NAME).expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("parameters");
        let mut peer = Peer { tls, wire };
        peer.say();
        let accept = as_well(Accept::new(net).profile(profile).handshake_timeout(LONG));
        (self.client.start_accept(&accept).expect("sent"), peer)
    }
}

/// A client of ours.
struct Peer {
    tls: ClientConnection,
    wire: UnixStream,
}

impl Peer {
    fn say(&mut self) {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.wire).expect("room");
        }
    }

    /// Until the handshake is done.
    fn finish(&mut self) -> Result<(), rustls::Error> {
        self.wire.set_read_timeout(Some(LONG)).expect("a socket");
        while self.tls.is_handshaking() {
            self.tls.read_tls(&mut self.wire).expect("something comes");
            let processed = self.tls.process_new_packets();
            self.say();
            processed?;
        }
        Ok(())
    }
}

fn code(result: Result<impl Sized, Error>) -> Code {
    match result {
        Err(error) => error.code().unwrap_or_else(|| panic!("{error}")),
        Ok(_) => panic!("it opened"),
    }
}

fn open(pending: Pending, mut peer: Peer) {
    // Whoever waits for a session answers its question, too.
    let finished = std::thread::spawn(move || peer.finish().map(|()| peer));
    let open = pending.wait().expect("established");
    let mut peer = finished.join().expect("thread").expect("the peer is content");
    let mut plain = UnixStream::from(open.plain.expect("a pair"));
    peer.tls.writer().write_all(b"hello").expect("room");
    peer.say();
    let mut heard = [0; 5];
    plain.set_read_timeout(Some(LONG)).expect("a socket");
    plain.read_exact(&mut heard).expect("what the peer said");
    assert_eq!(&heard, b"hello");
}

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn a_signer_that_hangs_does_not_stop_the_handshakes_of_other_profiles() {
    let rig = Rig::new();
    let slow: Vec<_> = VERSIONS.iter().map(|version| rig.begin("slow", version)).collect();
    rig.gate.until(|state| state.waiting == slow.len());
    for _ in 0..10 {
        for version in VERSIONS {
            let (pending, peer) = rig.begin("quick", version);
            open(pending, peer);
        }
    }
    rig.gate.until(|state| state.waiting == slow.len());
    rig.gate.change(|state| state.open = true);
    for (pending, peer) in slow {
        open(pending, peer);
    }
}

#[test]
fn whoever_gives_up_while_the_signer_thinks_need_not_wait_for_it() {
    let rig = Rig::new();
    for version in VERSIONS {
        let (pending, _peer) = rig.begin("slow", version);
        rig.gate.until(|state| state.waiting == 1);
        pending.cancel().expect("sent");
        assert_eq!(code(pending.wait()), Code::Cancelled);
        let (pending, peer) = rig.begin("slow", version);
        rig.gate.until(|state| state.waiting == 2);
        drop(peer);
        assert_eq!(code(pending.wait()), Code::ClosedByPeer);
        let (pending, _peer) =
            rig.begin_as("slow", version, |accept| accept.handshake_timeout(Duration::from_millis(50)));
        assert_eq!(code(pending.wait()), Code::HandshakeTimeout);
        rig.gate.until(|state| state.waiting == 3);
        rig.gate.change(|state| state.open = true);
        rig.gate.until(|state| state.waiting == 0);
        rig.gate.change(|state| state.open = false);
    }
}

#[test]
fn so_many_may_wait_and_the_next_one_is_told_who_is_too_slow() {
    let rig = Rig::new();
    let waiting: Vec<_> = (0..64).map(|_| rig.begin("slow", VERSIONS[1])).collect();
    rig.gate.until(|state| state.waiting == 64);
    let (pending, mut peer) = rig.begin("slow", VERSIONS[1]);
    match pending.wait() {
        Err(Error::Failed(failed)) => {
            assert_eq!(failed.code, Code::SignerTimeout);
            assert!(failed.text.contains("signer \"gate\""), "{}", failed.text);
        }
        other => panic!("{:?}", other.err()),
    }
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::InternalError);
    assert_eq!(peer.finish(), Err(alert));
    rig.gate.change(|state| state.open = true);
    for (pending, peer) in waiting {
        open(pending, peer);
    }
    let (pending, peer) = rig.begin("slow", VERSIONS[1]);
    open(pending, peer);
}

#[test]
fn a_callers_key_goes_with_its_profile_and_the_last_handshake() {
    let mut rig = Rig::new();
    rig.gate.until(|state| state.keys == 1);
    let (pending, peer) = rig.begin("slow", VERSIONS[1]);
    rig.gate.until(|state| state.waiting == 1);
    rig.define("slow", &rcgen::PKCS_ECDSA_P256_SHA256);
    rig.gate.until(|state| state.keys == 1);
    rig.gate.change(|state| state.open = true);
    open(pending, peer);
    rig.gate.until(|state| state.keys == 0);
    rig.define("slow", &rcgen::PKCS_ECDSA_P384_SHA384);
    rig.gate.until(|state| state.keys == 1);
    let gate = Arc::clone(&rig.gate);
    drop(rig);
    gate.until(|state| state.keys == 0);
}

#[test]
fn a_clients_key_is_asked_for_beside_the_loop_and_is_let_go_while_its_session_is_open() {
    let mut rig = Rig::new();
    rig.define("slow", &rcgen::PKCS_ECDSA_P256_SHA256);
    rig.gate.until(|state| state.keys == 0);
    for version in ["1.2", "1.3"] {
        let (client, _) = profile("caller", Role::Client, &rcgen::PKCS_ECDSA_P384_SHA384);
        let (server, certificate) = profile("wants", Role::Server, &rcgen::PKCS_ECDSA_P256_SHA256);
        let spki = tlsifyd::tls::spki_sha256(certificate.der()).expect("a certificate");
        let version =
            if version == "1.2" { tlsify_client::Version::Tls12 } else { tlsify_client::Version::Tls13 };
        rig.client.define(&client.pin(Pin::Spki(Sha256(spki))).max_version(version)).expect("defined");
        let wants = server.client_certificate(tlsify_client::ClientCertificate::Required).trust(Trust::Pins);
        // Whoever comes is compared with a pin of nobody, and so refused: that it signed is seen by what is wrong.
        rig.client.define(&wants.pin(Pin::Spki(Sha256([7; 32])))).expect("defined");
        let (one, other) = UnixStream::pair().expect("pair");
        let accepted = rig.client.start_accept(&Accept::new(one).profile("wants")).expect("sent");
        let connected = rig.client.start_connect_tls(&Connect::new(other).profile("caller").name(NAME));
        let connected = connected.expect("sent");
        rig.gate.until(|state| state.waiting == 1);
        let (pending, peer) = rig.begin("quick", VERSIONS[1]);
        open(pending, peer);
        rig.gate.change(|state| state.open = true);
        assert_eq!(code(accepted.wait()), Code::PinMismatch);
        let open = connected.wait();
        rig.gate.change(|state| state.open = false);
        rig.define("quick", &rcgen::PKCS_ECDSA_P256_SHA256);
        let (none, _) = profile("caller", Role::Client, &rcgen::PKCS_ECDSA_P256_SHA256);
        rig.client.define(&none.pin(Pin::Spki(Sha256(spki)))).expect("defined");
        rig.gate.until(|state| state.keys == 0);
        drop(open);
    }
}

#[test]
fn asking_and_resuming_go_on_with_a_slow_signer() {
    let rig = Rig::new();
    rig.gate.change(|state| state.open = true);
    for version in VERSIONS {
        let (pending, peer) = rig.begin_as("quick", version, |accept| {
            accept.resume("store").ask(|hello| {
                assert_eq!(hello.server_name.as_deref(), Some(NAME));
                Choice::Profile("slow".into())
            })
        });
        open(pending, peer);
    }
}
