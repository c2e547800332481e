//! GnuTLS' test client and server, which do what OpenSSL's of these days do not: raw public keys (RFC 7250).

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::door::Typed;
use crate::pki::Identity;
use crate::program::Program;
use crate::temp::TempDir;

/// A priority with TLS 1.3, raw public keys on both sides and nothing else.
pub const ONLY_RAW_KEYS: &str = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-CTYPE-ALL:+CTYPE-SRV-RAWPK:+CTYPE-CLI-RAWPK";
/// A priority with TLS 1.3 and certificates.
pub const ONLY_TLS13: &str = "NORMAL:-VERS-ALL:+VERS-TLS1.3";

/// A key as GnuTLS wants it without a certificate: its two halves as files.
#[derive(Debug)]
pub struct RawKey {
    public: PathBuf,
    private: PathBuf,
    _dir: TempDir,
}

impl RawKey {
    /// The key of an identity.
    ///
    /// # Panics
    /// When openssl does not make the public half.
    pub fn of(openssl: &Path, identity: &Identity) -> Self {
        let dir = TempDir::new("raw-key");
        let public = dir.path().join("public.pem");
        let mut command = Command::new(openssl);
        command.args(["pkey", "-pubout", "-in"]).arg(&identity.key_file).arg("-out").arg(&public);
        Program::run(&mut command).ok();
        Self { public, private: identity.key_file.clone(), _dir: dir }
    }

    fn show(&self, command: &mut Command) {
        command.arg("--rawpkfile").arg(&self.public).arg("--rawpkkeyfile").arg(&self.private);
    }
}

/// `gnutls-cli` to this port of 127.0.0.1, showing this key if there is one. Whom it trusts is in `options`.
pub fn cli(gnutls: &Path, port: u16, priority: &str, key: Option<&RawKey>, options: &[&str]) -> Typed {
    let mut command = Command::new(gnutls);
    command.args(["--priority", priority, "--port", &port.to_string()]);
    key.into_iter().for_each(|key| key.show(&mut command));
    Typed::start(command.args(options).arg("127.0.0.1"))
}

/// `gnutls-serv` that shows this key, or what `options` say, and sends back each line; and its port.
///
/// # Panics
/// When no port is free.
pub fn serv(gnutls: &Path, priority: &str, key: Option<&RawKey>, options: &[&str]) -> (Typed, u16) {
    // It does not say which port it has found, and takes those of both families.
    let free = TcpListener::bind(("::", 0)).and_then(|free| free.local_addr()).expect("a port is free");
    let mut command = Command::new(gnutls);
    command.args(["--echo", "--priority", priority, "--port", &free.port().to_string()]);
    key.into_iter().for_each(|key| key.show(&mut command));
    (Typed::start(command.args(options)), free.port())
}
