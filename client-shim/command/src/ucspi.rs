//! The conventions of UCSPI (Unix client-server program interface) and its TLS extension: which descriptors, which names
//! in the environment.

use core::ffi::CStr;
use core::fmt::{self, Write};

use tlsify_protocol::Sha256;
use tlsify_protocol::text::TextPacket;

use crate::say::Text;

/// Standard input and output: of a server's program, and of any.
pub(crate) const SERVER: [i32; 2] = [0, 1];
/// What a UCSPI client's program reads and writes.
pub(crate) const CLIENT: [i32; 2] = [6, 7];

/// Variables that no program inherits: what was for us alone, and what only we may say of a session.
const SCRUBBED: &[&[u8]] = &[
    b"CERTFILE",
    b"KEYFILE",
    b"CAFILE",
    b"CADIR",
    b"TLSIFY_SOCK",
    b"SSL_PROTOCOL",
    b"SSL_CIPHER",
    b"SSL_TLS_SNI_SERVERNAME",
    b"SSL_PEER_CERT_HASH",
    b"SSL_PEER_SPKI_HASH",
    b"SSL_TLS_ALPN",
];

/// Whether `NAME=VALUE` stays here.
pub(crate) fn is_scrubbed(variable: &CStr) -> bool {
    let name = variable.to_bytes().split(|&byte| byte == b'=').next();
    SCRUBBED.iter().any(|scrubbed| Some(*scrubbed) == name)
}

/// What a program is told of its session, as `NAME=VALUE`.
pub(crate) struct Facts {
    /// Each with its NUL. A server_name has 255 bytes at most, an ALPN name three times as many when escaped.
    text: Text<2048>,
}

impl Facts {
    /// What the packet `established` says of it.
    pub(crate) fn new(established: &[u8]) -> Self {
        let mut facts = Self { text: Text::new() };
        let Some(established) = TextPacket::parse(established) else { return facts };
        let plain = [
            ("SSL_PROTOCOL", "protocol", ""),
            ("SSL_CIPHER", "cipher", ""),
            ("SSL_TLS_SNI_SERVERNAME", "server-name", ""),
            ("SSL_TLS_ALPN", "alpn", ""),
            ("SSL_PEER_SPKI_HASH", "spki-sha256", "sha256:"),
        ];
        for (name, key, prefix) in plain {
            if let Some(value) = established.get(key) {
                facts.add(name, format_args!("{prefix}{value}"));
            }
        }
        // libtls' way to write it, and so that of s6-networking.
        if let Some(hash) = established.get("certificate-sha256").and_then(Sha256::from_base64) {
            facts.add("SSL_PEER_CERT_HASH", format_args!("SHA256:{}", Hex(&hash.0)));
        }
        facts
    }

    pub(crate) fn variables(&self) -> impl Iterator<Item = &CStr> {
        self.text
            .as_bytes()
            .split_inclusive(|&byte| byte == 0)
            .filter_map(|text| CStr::from_bytes_with_nul(text).ok())
    }

    fn add(&mut self, name: &str, value: fmt::Arguments<'_>) {
        // What does not fit has no NUL, and is left out by `variables`. The protocol's texts have no control
        // characters, so no NUL inside.
        let _ = write!(self.text, "{name}={value}\0");
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
