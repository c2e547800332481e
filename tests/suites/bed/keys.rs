//! Keys of every kind, the weak ones among them, and what they sign: certificates and handshakes.
//!
//! rcgen makes the ordinary ones. What it and its engine refuse to make or to use (short RSA, old hashes) is left to the
//! `openssl` command, which signs from a file.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rcgen::{KeyPair, PublicKeyData, RsaKeySize, SigningKey as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};
use tlsifyd_tests::{TempDir, tool};

use super::der::{element, oid, sequence};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    P256,
    P384,
    Ed25519,
    Rsa2048,
    Rsa3072,
    /// By the `openssl` command: the size, and the public exponent.
    Weak(u32, u32),
}

/// What certificates are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// What goes with the key.
    Fitting,
    Sha1,
    Md5,
}

/// A private key, its own or in a file.
pub(crate) struct Key {
    kind: Kind,
    spki: Vec<u8>,
    pair: Result<KeyPair, PathBuf>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a key, {:?}", self.kind)
    }
}

impl Key {
    pub(crate) fn new(kind: Kind) -> Arc<Self> {
        let pair = match kind {
            Kind::P256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Kind::P384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            Kind::Ed25519 => KeyPair::generate_for(&rcgen::PKCS_ED25519),
            Kind::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
            Kind::Rsa3072 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_3072),
            Kind::Weak(bits, exponent) => return Arc::new(Self::by_openssl(kind, bits, exponent)),
        };
        let pair = pair.expect("a key pair can be made");
        Arc::new(Self { kind, spki: pair.subject_public_key_info(), pair: Ok(pair) })
    }

    fn by_openssl(kind: Kind, bits: u32, exponent: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let file = folder().join(format!("rsa-{}.key", COUNT.fetch_add(1, Ordering::Relaxed)));
        let (bits, exponent) = (format!("rsa_keygen_bits:{bits}"), format!("rsa_keygen_pubexp:{exponent}"));
        let words =
            ["genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", &bits, "-pkeyopt", &exponent, "-out"];
        openssl(&[&words[..], &[name(&file)]].concat(), b"");
        let spki = openssl(&["pkey", "-pubout", "-outform", "DER", "-in", name(&file)], b"");
        Self { kind, spki, pair: Err(file) }
    }

    /// SubjectPublicKeyInfo in DER.
    pub(crate) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The bits of its public key on P-256: an uncompressed point, at the end of what [`Key::spki`] gives.
    pub(crate) fn bits(&self) -> &[u8] {
        assert_eq!(self.kind, Kind::P256, "only those are needed");
        &self.spki[self.spki.len() - 65..]
    }

    /// The AlgorithmIdentifier of what [`Key::sign`] gives (RFC 5758, RFC 8410, RFC 4055).
    pub(crate) fn algorithm(&self, hash: Hash) -> Vec<u8> {
        let identifier = match (self.kind, hash) {
            (Kind::P256, _) => "1.2.840.10045.4.3.2",
            (Kind::P384, _) => "1.2.840.10045.4.3.3",
            (Kind::Ed25519, _) => "1.3.101.112",
            (_, Hash::Fitting) => "1.2.840.113549.1.1.11",
            (_, Hash::Sha1) => "1.2.840.113549.1.1.5",
            (_, Hash::Md5) => "1.2.840.113549.1.1.4",
        };
        let is_rsa = matches!(self.kind, Kind::Rsa2048 | Kind::Rsa3072 | Kind::Weak(..));
        let parameters = if is_rsa { element(5, []) } else { Vec::new() };
        sequence(&[oid(identifier), parameters])
    }

    /// The signature of a certificate.
    pub(crate) fn sign(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        match &self.pair {
            Ok(pair) if hash == Hash::Fitting => pair.sign(message).expect("our own key signs"),
            Ok(_) => panic!("an old hash is for a key in a file"),
            Err(file) => {
                let hash = match hash {
                    Hash::Fitting => "-sha256",
                    Hash::Sha1 => "-sha1",
                    Hash::Md5 => "-md5",
                };
                openssl(&["dgst", hash, "-sign", name(file)], message)
            }
        }
    }

    /// The key in PEM, for programs that read files.
    pub(crate) fn pem(&self) -> String {
        match &self.pair {
            Ok(pair) => pair.serialize_pem(),
            Err(file) => fs::read_to_string(file).expect("our own file can be read"),
        }
    }

    /// The key as rustls' server takes it.
    pub(crate) fn for_handshakes(&self) -> Arc<dyn SigningKey> {
        match &self.pair {
            Ok(pair) => {
                let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(pair.serialize_der()).into();
                rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("our own key is good")
            }
            Err(file) => Arc::new(InFile { file: file.clone(), kind: self.kind }),
        }
    }
}

/// An RSA key that handshakes are signed with by a command.
#[derive(Clone, Debug)]
struct InFile {
    file: PathBuf,
    kind: Kind,
}

impl SigningKey for InFile {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        let mut known = vec![SignatureScheme::RSA_PSS_SHA256, SignatureScheme::RSA_PKCS1_SHA256];
        if matches!(self.kind, Kind::Weak(..1024, _)) {
            // Two hashes and their frame do not fit into such a key (RFC 8017 section 9.1.1).
            known.remove(0);
        }
        let scheme = known.into_iter().find(|scheme| offered.contains(scheme))?;
        Some(Box::new(SignerInFile { file: self.file.clone(), scheme }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

#[derive(Debug)]
struct SignerInFile {
    file: PathBuf,
    scheme: SignatureScheme,
}

impl Signer for SignerInFile {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let words = ["dgst", "-sha256", "-sign", name(&self.file)];
        let pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"];
        let more = if self.scheme == SignatureScheme::RSA_PSS_SHA256 { &pss[..] } else { &[] };
        Ok(openssl(&[&words[..], more].concat(), message))
    }

    fn scheme(&self) -> SignatureScheme {
        self.scheme
    }
}

/// Runs the command with this input, and gives what it wrote.
pub(crate) fn openssl(words: &[&str], input: &[u8]) -> Vec<u8> {
    let program = tool("openssl").expect("a case that needs it is skipped without it");
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl can be started");
    // What it does not read is not an error of ours.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let done = child.wait_with_output().expect("our own child can be waited for");
    assert!(done.status.success(), "openssl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// For keys in files, as long as the test runs.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| TempDir::new("bed")).path()
}

fn name(file: &Path) -> &str {
    file.to_str().expect("a temporary folder has a plain name")
}
