//! A small public-key infrastructure that lives as long as the test process: made once, in memory, with copies of
//! the PEM files for tools that only read files.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, RsaKeySize, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tlsify_client::{Pin, Sha256, pem_fd};

use crate::temp::TempDir;

/// The name that the good server certificates are for, besides `localhost`, `127.0.0.1` and `::1`.
pub const SERVER_NAME: &str = "server.example";
/// The name that the wrong-name certificate is for.
pub const OTHER_NAME: &str = "other.example";
/// The DNS name in the client certificates.
pub const CLIENT_DNS: &str = "client.example";
/// The URI in the client certificates.
pub const CLIENT_URI: &str = "spiffe://example/client";
/// The mail address in the client certificates.
pub const CLIENT_MAIL: &str = "client@example.org";

/// The kinds of keys that certificates here can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// Ed25519.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa2048,
}

impl KeyKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::EcdsaP256, Self::EcdsaP384, Self::Ed25519, Self::Rsa2048];

    fn generate(self) -> KeyPair {
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Self::Ed25519 => ed25519(),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
        .expect("a key pair can be made")
    }
}

/// In the first version of PKCS#8: OpenSSL 3.0 and GnuTLS 3.7 do not read the second (RFC 5958), which rcgen writes.
fn ed25519() -> Result<KeyPair, rcgen::Error> {
    let key = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1());
    let key = key.map_err(|_| rcgen::Error::RingUnspecified)?;
    KeyPair::try_from(key.as_ref())
}

/// Everything that tests need to be somebody and to trust somebody.
pub struct Pki {
    /// The CA that clients of these tests trust.
    pub ca: Ca,
    /// A CA that nobody trusts unless told to.
    pub other_ca: Ca,
    /// Valid for [`SERVER_NAME`], `localhost`, `127.0.0.1` and `::1`; in the order of [`KeyKind::ALL`].
    servers: [Identity; 4],
    /// With all of [`CLIENT_DNS`], [`CLIENT_URI`] and [`CLIENT_MAIL`]; in the order of [`KeyKind::ALL`].
    clients: [Identity; 4],
    /// From the good CA, for [`OTHER_NAME`] only.
    pub wrong_name: Identity,
    /// From the good CA, for the right name, ended in 2001.
    pub expired: Identity,
    /// From the good CA, for the right name, begins in 2999.
    pub not_yet_valid: Identity,
    /// For the right name, from [`Pki::other_ca`].
    pub wrong_ca: Identity,
    /// A client certificate with the right names, from [`Pki::other_ca`].
    pub wrong_ca_client: Identity,
    dir: TempDir,
}

/// A certification authority that can issue.
pub struct Ca {
    /// Its certificate.
    pub pem: String,
    /// The same as a file.
    pub file: PathBuf,
    certificate: Certificate,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub struct Identity {
    /// The certificate chain: only the end-entity certificate, since the CAs here issue directly.
    pub certificate_pem: String,
    /// The private key, PKCS#8.
    pub key_pem: String,
    /// The chain as a file.
    pub certificate_file: PathBuf,
    /// The key as a file that only this user can read.
    pub key_file: PathBuf,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: Sha256,
    /// SHA-256 of the certificate.
    pub certificate_sha256: Sha256,
    certificate: CertificateDer<'static>,
    key: Vec<u8>,
}

/// The infrastructure of this test process, made when first asked for.
pub fn pki() -> &'static Pki {
    static PKI: OnceLock<Pki> = OnceLock::new();
    PKI.get_or_init(Pki::new)
}

impl Pki {
    fn new() -> Self {
        let dir = TempDir::new("pki");
        let ca = Ca::new(dir.path(), "tlsifyd tests CA");
        let other_ca = Ca::new(dir.path(), "tlsifyd tests other CA");
        let identity = |ca: &Ca, name: &str, kind: KeyKind, params: CertificateParams| {
            Identity::new(dir.path(), ca, &format!("{name}-{kind:?}").to_lowercase(), kind, params)
        };
        let good = KeyKind::EcdsaP256;
        let mut expired = server_params(SERVER_NAME);
        (expired.not_before, expired.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        let mut future = server_params(SERVER_NAME);
        (future.not_before, future.not_after) = (date_time_ymd(2999, 1, 1), date_time_ymd(3000, 1, 1));
        Self {
            servers: KeyKind::ALL.map(|kind| identity(&ca, "server", kind, server_params(SERVER_NAME))),
            clients: KeyKind::ALL.map(|kind| identity(&ca, "client", kind, client_params())),
            wrong_name: identity(&ca, "wrong-name", good, wrong_name_params()),
            expired: identity(&ca, "expired", good, expired),
            not_yet_valid: identity(&ca, "not-yet-valid", good, future),
            wrong_ca: identity(&other_ca, "wrong-ca", good, server_params(SERVER_NAME)),
            wrong_ca_client: identity(&other_ca, "wrong-ca-client", good, client_params()),
            ca,
            other_ca,
            dir,
        }
    }

    /// The good server of one kind of key.
    pub fn server(&self, kind: KeyKind) -> &Identity {
        &self.servers[kind as usize]
    }

    /// The good client of one kind of key.
    pub fn client(&self, kind: KeyKind) -> &Identity {
        &self.clients[kind as usize]
    }

    /// One more client certificate from the good CA, which ends at this time, in seconds since 1970.
    pub fn client_until(&self, file: &str, end: u64) -> Identity {
        let mut params = client_params();
        params.not_after = date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(end);
        Identity::new(self.dir.path(), &self.ca, file, KeyKind::EcdsaP256, params)
    }

    /// One more server certificate from the good CA, for this DNS name only.
    pub fn server_for(&self, name: &str) -> Identity {
        let mut params = server_params(name);
        params.subject_alt_names = vec![dns(name)];
        let file = name.replace('*', "any");
        Identity::new(self.dir.path(), &self.ca, &file, KeyKind::EcdsaP256, params)
    }

    /// One more server certificate from the good CA, for exactly these DNS names and addresses. Without any, it has
    /// [`SERVER_NAME`] as its common name and nothing else.
    pub fn server_named(&self, file: &str, names: &[&str]) -> Identity {
        let mut params = end_entity(SERVER_NAME, ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names =
            names.iter().map(|name| name.parse().map_or_else(|_| dns(name), SanType::IpAddress)).collect();
        Identity::new(self.dir.path(), &self.ca, file, KeyKind::EcdsaP256, params)
    }

    /// A server certificate for the right names that nobody but itself vouches for.
    pub fn self_signed(&self, file: &str) -> Identity {
        let (params, key) = (server_params(SERVER_NAME), KeyKind::EcdsaP256.generate());
        let certificate = params.self_signed(&key).expect("a key can sign its own certificate");
        Identity::write(self.dir.path(), file, &certificate, &key)
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

impl Ca {
    fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyKind::EcdsaP256.generate();
        let certificate = params.self_signed(&key).expect("a CA can sign itself");
        let (pem, file) = (certificate.pem(), dir.join(format!("{}.pem", name.replace(' ', "-"))));
        fs::write(&file, &pem).expect("the temporary folder can be written");
        Self { pem, file, certificate, issuer: Issuer::new(params, key) }
    }

    /// Its private key, PKCS#8: for tools that sign as this CA.
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Its certificate as a descriptor, for `trust=descriptor`.
    pub fn fd(&self) -> OwnedFd {
        pem_fd(&self.pem).expect("a memfd can be made")
    }

    /// A rustls store with this CA only.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).expect("our own CA can be read");
        roots
    }
}

impl Identity {
    fn new(dir: &Path, ca: &Ca, file: &str, kind: KeyKind, params: CertificateParams) -> Self {
        let key = kind.generate();
        let certificate = params.signed_by(&key, &ca.issuer).expect("our own CA can issue");
        Self::write(dir, file, &certificate, &key)
    }

    fn write(dir: &Path, file: &str, certificate: &Certificate, key: &KeyPair) -> Self {
        let (certificate_pem, key_pem) = (certificate.pem(), key.serialize_pem());
        let (certificate_file, key_file) = (dir.join(format!("{file}.crt")), dir.join(format!("{file}.key")));
        fs::write(&certificate_file, &certificate_pem).expect("the temporary folder can be written");
        fs::write(&key_file, &key_pem).expect("the temporary folder can be written");
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))
            .expect("our own file's mode can be set");
        Self {
            certificate_pem,
            key_pem,
            certificate_file,
            key_file,
            spki_sha256: sha256(&key.subject_public_key_info()),
            certificate_sha256: sha256(certificate.der()),
            certificate: certificate.der().clone(),
            key: key.serialize_der(),
        }
    }

    /// The chain as a sealed memfd.
    pub fn certificate_fd(&self) -> OwnedFd {
        memfd(&self.certificate_pem)
    }

    /// The key as a sealed memfd.
    pub fn key_fd(&self) -> OwnedFd {
        memfd(&self.key_pem)
    }

    /// The pin of its key.
    pub fn spki_pin(&self) -> Pin {
        Pin::Spki(self.spki_sha256)
    }

    /// The pin of its certificate.
    pub fn certificate_pin(&self) -> Pin {
        Pin::Certificate(self.certificate_sha256)
    }

    /// The chain for rustls.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone()]
    }

    /// The key for rustls.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// PEM as a sealed memfd.
pub fn memfd(pem: impl AsRef<[u8]>) -> OwnedFd {
    pem_fd(pem).expect("a memfd can be made")
}

fn server_params(name: &str) -> CertificateParams {
    let mut params = end_entity(name, ExtendedKeyUsagePurpose::ServerAuth);
    let addresses =
        ["127.0.0.1", "::1"].map(|address| SanType::IpAddress(address.parse().expect("an address")));
    params.subject_alt_names = vec![dns(name), dns("localhost")];
    params.subject_alt_names.extend(addresses);
    params
}

fn wrong_name_params() -> CertificateParams {
    let mut params = server_params(OTHER_NAME);
    params.subject_alt_names = vec![dns(OTHER_NAME)];
    params
}

fn client_params() -> CertificateParams {
    let mut params = end_entity("tlsifyd tests client", ExtendedKeyUsagePurpose::ClientAuth);
    params.subject_alt_names = vec![
        dns(CLIENT_DNS),
        SanType::URI(CLIENT_URI.try_into().expect("an ASCII text")),
        SanType::Rfc822Name(CLIENT_MAIL.try_into().expect("an ASCII text")),
    ];
    params
}

fn end_entity(name: &str, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("an ASCII text"))
}

fn sha256(bytes: &[u8]) -> Sha256 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    Sha256(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_its_users_alone() {
        let mode = fs::metadata(&pki().server(KeyKind::EcdsaP256).key_file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
