//! What a handshake agreed on.

use rustls::pki_types::CertificateDer;
use rustls::{CommonState, HandshakeKind, ProtocolVersion};

use crate::tls::{
    Learned, Level, Match, Seen, cipher_suite_name, group_name, protocol_version_name, reached,
};

/// What a handshake agreed on, or what was seen of the peer before it failed. For `established`,
/// `failed` and the log; freed after the report.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: &'static str,
    /// The cipher suite's IANA name.
    pub cipher: &'static str,
    /// The key-exchange group's IANA name.
    pub group: Option<&'static str>,
    /// The scheme of the certificate's signature over the handshake: the peer's for a client, ours
    /// for a server.
    pub signature: Option<&'static str>,
    /// The highest level that all of these meet.
    pub level: Option<Level>,
    /// When the certificate that a server shows ends, in seconds since 1970.
    pub certificate_until: Option<u64>,
    /// The application protocol.
    pub alpn: Option<Vec<u8>>,
    /// The server_name that a client asked for (server role).
    pub server_name: Option<String>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Which reference identifiers, pins and rules the peer's certificate met.
    pub matched: Vec<Match>,
    /// The peer's certificates as it sent them, end entity first, DER.
    pub chain: Vec<CertificateDer<'static>>,
    /// SHA-256 of the peer's public key (SubjectPublicKeyInfo).
    pub spki_sha256: Option<[u8; 32]>,
    /// SHA-256 of the peer's certificate.
    pub certificate_sha256: Option<[u8; 32]>,
    /// Of a session that is for nothing else: what it learned.
    pub learned: Option<Learned>,
    /// What the peer showed is a raw public key (RFC 7250): there is no chain.
    pub raw_key: bool,
    /// The ECHConfigList that came with a rejection, from the server of the public name.
    pub ech_retry: Option<Vec<u8>>,
}

impl Facts {
    pub(super) fn agreed(common: &CommonState, seen: Seen) -> Self {
        let (protocol, cipher) = agreed(common);
        Self {
            protocol,
            cipher,
            group: common.negotiated_key_exchange_group().map(|group| group_name(group.name())),
            level: level(common, &seen),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            resumed: common.handshake_kind() == Some(HandshakeKind::Resumed),
            ..Self::seen(seen)
        }
    }

    pub(super) fn seen(seen: Seen) -> Self {
        Self {
            spki_sha256: seen.spki_sha256(),
            certificate_sha256: seen.certificate_sha256(),
            signature: seen.signature_scheme,
            server_name: seen.sni,
            certificate_until: seen.certificate_until,
            matched: seen.matched,
            learned: seen.learned,
            raw_key: seen.raw_key,
            chain: if seen.raw_key { Vec::new() } else { seen.chain },
            ech_retry: seen.ech_retry,
            ..Self::default()
        }
    }
}

/// The level of a handshake that is done.
fn level(common: &CommonState, seen: &Seen) -> Option<Level> {
    let group = common.negotiated_key_exchange_group().map(|group| group.name());
    let suite = common.negotiated_cipher_suite()?.suite();
    reached(common.protocol_version()?, suite, group, seen.signature_scheme)
}

/// Key-exchange group and application protocol of a handshake that is done.
pub(super) fn chosen(common: &CommonState) -> (Option<&'static str>, Option<&[u8]>) {
    let group = common.negotiated_key_exchange_group().map(|group| group_name(group.name()));
    (group, common.alpn_protocol())
}

/// Version and cipher suite of a handshake that is done.
pub(super) fn agreed(common: &CommonState) -> (&'static str, &'static str) {
    let version = common.protocol_version().unwrap_or(ProtocolVersion::TLSv1_3);
    let suite = common.negotiated_cipher_suite();
    (protocol_version_name(version), suite.map_or("", |suite| cipher_suite_name(suite.suite())))
}
