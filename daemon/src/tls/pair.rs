//! For tests: a certificate authority, and a client and a server of this room in one memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SigningKey,
};
use rustls::crypto::CryptoProvider;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuiteCommon, ClientConfig, ClientConnection, ServerConfig, ServerConnection, SupportedCipherSuite,
    Tls12CipherSuite, Tls13CipherSuite,
};

use super::*;

/// A certificate authority of one test.
pub(crate) struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority that this one vouches for, and its certificate.
    pub(super) fn below(&self, name: &str) -> (Self, String) {
        self.below_numbered(name, 1)
    }

    /// The same with this serial number.
    pub(super) fn below_numbered(&self, name: &str, serial: u64) -> (Self, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(serial.into());
        self.below_with(params)
    }

    /// The same with all that an authority can have.
    pub(super) fn below_with(&self, params: CertificateParams) -> (Self, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = certificate.pem();
        (Self { certificate, issuer: Issuer::new(params, key) }, pem)
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its certificate, and a signature of its key.
    pub(super) fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.issuer.key().sign(message).unwrap()
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.pem().as_bytes()).unwrap()
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Roots(self.roots())
    }

    /// A list that revokes these serial numbers, made `age` days and an hour ago and good for a day.
    pub(crate) fn crl(&self, serials: &[u64], age: u64) -> rcgen::CertificateRevocationList {
        let made = SystemTime::now() - Duration::from_secs(age * 86_400 + 3_600);
        let revoked = |serial: &u64| rcgen::RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: made.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = rcgen::CertificateRevocationListParams {
            this_update: made.into(),
            next_update: (made + Duration::from_secs(86_400)).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap()
    }

    /// A P-256 identity for these DNS names or addresses.
    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        self.issue(&KeyPair::generate().unwrap(), params(names))
    }

    pub(super) fn ed25519(&self, names: &[&str]) -> Identity {
        self.issue(&KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(), params(names))
    }

    pub(crate) fn issue(&self, key: &KeyPair, params: CertificateParams) -> Identity {
        let (chain, key) = self.pems(key, params);
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), None).unwrap()
    }

    /// A certificate and its key as texts.
    pub(crate) fn pems(&self, key: &KeyPair, params: CertificateParams) -> (String, String) {
        (params.signed_by(key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// An end-entity certificate for both roles.
pub(crate) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) fn defaults() -> Params {
    Params::build(&ParamsSpec::default()).unwrap()
}

/// Parameters that allow one version.
pub(crate) fn only(version: Version) -> Params {
    Params::build(&ParamsSpec { min: Some(version), max: Some(version), ..ParamsSpec::default() }).unwrap()
}

/// Parameters that allow one version, in which a key is good for so many records and no more.
pub(crate) fn short_lived(version: Version, records: u64) -> Params {
    let limited = |common: &CipherSuiteCommon| CipherSuiteCommon {
        suite: common.suite,
        hash_provider: common.hash_provider,
        confidentiality_limit: records,
    };
    let params = only(version);
    let suites = params.provider.cipher_suites.iter().map(|suite| match suite {
        SupportedCipherSuite::Tls12(suite) => {
            SupportedCipherSuite::Tls12(Box::leak(Box::new(Tls12CipherSuite {
                common: limited(&suite.common),
                prf_provider: suite.prf_provider,
                kx: suite.kx,
                sign: suite.sign,
                aead_alg: suite.aead_alg,
            })))
        }
        SupportedCipherSuite::Tls13(suite) => {
            SupportedCipherSuite::Tls13(Box::leak(Box::new(Tls13CipherSuite {
                common: limited(&suite.common),
                hkdf_provider: suite.hkdf_provider,
                aead_alg: suite.aead_alg,
                quic: suite.quic,
            })))
        }
    });
    let provider = CryptoProvider { cipher_suites: suites.collect(), ..(*params.provider).clone() };
    Params { provider: provider.into(), ..params }
}

pub(crate) const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

pub(super) fn client(trust: Trust, names: &[&str]) -> ClientProfile {
    ClientProfile::build(client_spec(trust, names)).unwrap()
}

pub(crate) fn client_spec(trust: Trust, names: &[&str]) -> ClientSpec {
    let names = names.iter().map(|name| ReferenceId::parse(name).unwrap()).collect();
    ClientSpec {
        identity: None,
        params: defaults(),
        certificate_type: CertificateType::X509,
        trust,
        pins: Vec::new(),
        names,
        revocation: None,
        stapled_ocsp: StapledOcsp::Optional,
    }
}

pub(super) fn server(identities: Vec<Identity>) -> ServerProfile {
    ServerProfile::build(server_spec(identities)).unwrap()
}

pub(crate) fn server_spec(identities: Vec<Identity>) -> ServerSpec {
    ServerSpec {
        identities,
        unknown_name_first: false,
        params: defaults(),
        certificate_type: CertificateType::X509,
        client_certificate: ClientCertificate::None,
        trust: None,
        pins: Vec::new(),
        allow: Vec::new(),
        revocation: None,
    }
}

/// What a thief of certificates has: the chain of one, and a key of their own.
pub(crate) fn stolen(chain: &Identity, key: &Identity) -> Arc<SingleCertAndKey> {
    let key = key.certified().key.clone();
    Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain.chain().to_vec(), key)))
}

/// One end after a handshake.
#[derive(Debug)]
pub(super) struct End<C> {
    pub(super) connection: C,
    pub(super) failure: Option<Failure>,
    pub(super) seen: Seen,
}

/// Both ends after a handshake.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) client: End<ClientConnection>,
    pub(super) server: End<ServerConnection>,
}

impl Pair {
    /// Both ends, or a panic with what went wrong.
    pub(super) fn open(self) -> Self {
        assert_eq!((&self.client.failure, &self.server.failure), (&None, &None));
        assert!(!self.client.connection.is_handshaking() && !self.server.connection.is_handshaking());
        self
    }

    pub(super) fn client_failure(self) -> Failure {
        self.client.failure.expect("the client refuses")
    }

    pub(super) fn server_failure(self) -> Failure {
        self.server.failure.expect("the server refuses")
    }
}

/// A handshake with the client's own names and server_name.
pub(super) fn handshake(client: &ClientProfile, server: &ServerProfile) -> Pair {
    handshake_with(client, &ServerNameChoice::FirstDns, server)
}

pub(super) fn handshake_with(
    client: &ClientProfile,
    choice: &ServerNameChoice,
    server: &ServerProfile,
) -> Pair {
    handshake_changed(client, choice, server, |_| {}, |_| {})
}

/// A handshake whose ends are changed to something that this room would not make.
pub(super) fn handshake_changed(
    client: &ClientProfile,
    choice: &ServerNameChoice,
    server: &ServerProfile,
    change_client: impl FnOnce(&mut ClientConfig),
    change_server: impl FnOnce(&mut ServerConfig),
) -> Pair {
    let (ours, theirs) = (Witness::new(), Witness::new());
    let config = server.session_config(&theirs, None, false).unwrap();
    let mut config = ServerConfig::clone(&config);
    change_server(&mut config);
    let mut to = ServerConnection::new(config.into()).unwrap();
    let config = client.session_config(&[], &ours, None).unwrap();
    let mut config = ClientConfig::clone(&config);
    change_client(&mut config);
    let mut from = ClientConnection::new(config.into(), client.sni(&[], choice).name).unwrap();
    let (mut client_error, mut server_error) = (None, None);
    // A handshake takes three flights; the rest is for alerts.
    for _ in 0..6 {
        let mut wire = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut wire).unwrap();
        }
        server_error = server_error.or_else(|| deliver(&wire, &mut to));
        let mut wire = Vec::new();
        while to.wants_write() {
            to.write_tls(&mut wire).unwrap();
        }
        client_error = client_error.or_else(|| deliver(&wire, &mut from));
    }
    let end = |error: Option<rustls::Error>, witness: &Arc<Witness>| {
        (error.map(|error| Failure::from_rustls(&error, witness)), witness.take())
    };
    let (failure, seen) = end(client_error, &ours);
    let client = End { connection: from, failure, seen };
    let (failure, seen) = end(server_error, &theirs);
    Pair { client, server: End { connection: to, failure, seen } }
}

fn deliver<D: rustls::SideData>(
    mut wire: &[u8],
    end: &mut rustls::ConnectionCommon<D>,
) -> Option<rustls::Error> {
    while !wire.is_empty() {
        end.read_tls(&mut wire).unwrap();
        if let Err(error) = end.process_new_packets() {
            return Some(error);
        }
    }
    None
}
