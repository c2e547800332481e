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

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Vec<String> {
        Facts::new(text.as_bytes()).variables().map(|fact| fact.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_session_is_told_under_the_names_that_programs_know() {
        let hash = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        let told = facts(&format!(
            "tlsify/1 established\nid=1\nprotocol=TLSv1.3\ncipher=C\nserver-name=x.example\nalpn=h2\n\
             spki-sha256={hash}\ncertificate-sha256={hash}\n"
        ));
        assert_eq!(
            told,
            [
                "SSL_PROTOCOL=TLSv1.3",
                "SSL_CIPHER=C",
                "SSL_TLS_SNI_SERVERNAME=x.example",
                "SSL_TLS_ALPN=h2",
                &format!("SSL_PEER_SPKI_HASH=sha256:{hash}"),
                "SSL_PEER_CERT_HASH=SHA256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
            ]
        );
        assert_eq!(facts("tlsify/1 established\nid=1\ncertificate-sha256=short\n"), [""; 0]);
    }

    #[test]
    fn whatever_a_fact_is_called_nobody_outside_can_say_it() {
        let all = "tlsify/1 established\nprotocol=a\ncipher=b\nserver-name=c\nalpn=d\nspki-sha256=e\n\
                   certificate-sha256=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
        for fact in facts(all) {
            let forged = std::ffi::CString::new(fact).unwrap();
            assert!(is_scrubbed(&forged), "{forged:?}");
        }
    }

    #[test]
    fn only_whole_names_are_scrubbed() {
        for ours in [c"KEYFILE=/etc/key", c"KEYFILE=", c"KEYFILE", c"TLSIFY_SOCK=/x", c"SSL_PROTOCOL=forged"]
        {
            assert!(is_scrubbed(ours), "{ours:?}");
        }
        for kept in [c"KEYFILES=x", c"MY_KEYFILE=x", c"SSL_CERT_FILE=/etc/ssl/x", c"=KEYFILE", c""] {
            assert!(!is_scrubbed(kept), "{kept:?}");
        }
    }

    #[test]
    fn a_fact_that_does_not_fit_is_left_out_whole() {
        let long = "x".repeat(3000);
        assert_eq!(
            facts(&format!("tlsify/1 established\nprotocol=T\nserver-name={long}\n")),
            ["SSL_PROTOCOL=T"]
        );
    }
}
