//! What the daemon sends.

use crate::keys::Verb;
use crate::list::{Items, Words};
use crate::value::{
    Address, Alert, Alpn, Blame, Bytes, CertificateType, Code, EchDone, ExportValue, FdName, How, Level,
    Matched, ProfileName, Sha256, Socket, Version, Would,
};

/// What the daemon sends.
#[allow(
    clippy::large_enum_variant,
    reason = "a view on the stack for the length of one look, and nothing here allocates"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The daemon speaks first.
    Hello(Hello<'a>),
    /// A profile is there.
    Defined(Defined<'a>),
    /// A request was not begun.
    Refused(Refused<'a>),
    /// A handshake came to nothing.
    Failed(Failed<'a>),
    /// A session is open.
    Established(Established<'a>),
    /// A session is over.
    Ended(Ended<'a>),
    /// An inventory.
    Status(StatusAnswer<'a>),
    /// A store is empty.
    Forgotten {
        /// The request's.
        id: u64,
        /// How many there were of this name: tickets, keys or both.
        stores: u64,
    },
    /// A question: the session waits for `choose`.
    ClientHello(ClientHello<'a>),
}

impl Answer<'_> {
    /// The id of the request it answers; none of `hello`, and of a refusal whose request had no readable id.
    #[must_use]
    pub const fn id(&self) -> Option<u64> {
        match self {
            Self::Hello(_) => None,
            Self::Defined(defined) => Some(defined.id),
            Self::Refused(refused) => refused.id,
            Self::Failed(failed) => Some(failed.id),
            Self::Established(established) => Some(established.id),
            Self::Ended(ended) => Some(ended.id),
            Self::Status(status) => Some(status.id),
            Self::Forgotten { id, .. } => Some(*id),
            Self::ClientHello(hello) => Some(hello.id),
        }
    }

    /// What the first line calls it.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Hello(_) => Verb::Hello,
            Self::Defined(_) => Verb::Defined,
            Self::Refused(_) => Verb::Refused,
            Self::Failed(_) => Verb::Failed,
            Self::Established(_) => Verb::Established,
            Self::Ended(_) => Verb::Ended,
            Self::Status(_) => Verb::StatusAnswer,
            Self::Forgotten { .. } => Verb::Forgotten,
            Self::ClientHello(_) => Verb::ClientHello,
        }
    }
}

/// `hello`: what this daemon speaks, can and allows, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// Protocol versions.
    pub versions: Words<'a, u32>,
    /// Name and version, for people.
    pub daemon: &'a str,
    /// What is usable now beyond version 1 itself.
    pub features: Words<'a, &'a str>,
    /// Bytes of one packet.
    pub max_packet: u32,
    /// Descriptors with one packet.
    pub max_descriptors: u32,
    /// Sessions of the caller's uid.
    pub max_sessions: u32,
    /// Handshakes in flight of the caller's uid.
    pub max_handshakes: u32,
    /// Profiles of the caller's uid.
    pub max_profiles: u32,
    /// No session goes below this version.
    pub floor: Version,
    /// No session goes below this level; `None`: the operator set none.
    pub level: Option<Level>,
}

/// `defined`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defined<'a> {
    /// The request's.
    pub id: u64,
    /// Its name.
    pub profile: ProfileName<'a>,
    /// Sentences for a person: a certificate that ends soon, for instance.
    pub warnings: Items<'a, &'a str>,
}

/// `refused`: nothing was begun; the daemon closed its copies of the descriptors, the socket is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The request's; `None` when it could not be read.
    pub id: Option<u64>,
    /// What is wrong.
    pub code: Code,
    /// Who has to act.
    pub blame: Blame,
    /// The key or descriptor it is about.
    pub about: Option<&'a str>,
    /// A sentence for a person; empty when the daemon gave none.
    pub text: &'a str,
}

/// `failed`: there is no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed<'a> {
    /// The request's.
    pub id: u64,
    /// What went wrong.
    pub code: Code,
    /// Who has to act.
    pub blame: Blame,
    /// What became of the network socket.
    pub socket: Socket,
    /// The alert that was received or sent.
    pub alert: Option<Alert>,
    /// Hash of the peer's public key (SubjectPublicKeyInfo, DER), when it showed one: can be pinned.
    pub spki_sha256: Option<Sha256>,
    /// Hash of the peer's certificate (DER).
    pub certificate_sha256: Option<Sha256>,
    /// With [`Code::EchRejected`], when the server gave one: the ECHConfigList to try again with.
    pub ech_retry: Option<Bytes<'a>>,
    /// `chain`, when the peer showed one. The receiver owns it.
    pub fds: Words<'a, FdName>,
    /// A sentence for a person; empty when the daemon gave none.
    pub text: &'a str,
    /// With `code=learned`, always and only: what the same request without `learn` would have come to, as far as the
    /// peer's certificate decides it.
    pub would: Option<Would>,
    /// With `code=learned`: sentences for a person about the certificate that was learned.
    pub notes: Items<'a, &'a str>,
}

/// `established`: plaintext may flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Established<'a> {
    /// The request's.
    pub id: u64,
    /// `plain`, when the caller gave no data descriptor; `chain`, when it asked. The receiver owns them.
    pub fds: Words<'a, FdName>,
    /// `TLSv1.3`, `TLSv1.2`
    pub protocol: &'a str,
    /// The cipher suite's IANA name.
    pub cipher: &'a str,
    /// The key-exchange group's IANA name.
    pub group: Option<&'a str>,
    /// The scheme of the server's signature over the handshake by its IANA name: the peer's or ours, when it made one.
    pub signature: Option<&'a str>,
    /// The highest level that version, suite, group and scheme meet; `None`: they meet none.
    pub level: Option<Level>,
    /// The chosen ALPN name.
    pub alpn: Option<Alpn<'a>>,
    /// The SNI that was sent or received.
    pub server_name: Option<&'a str>,
    /// What came of Encrypted Client Hello, when some of it was sent.
    pub ech: Option<EchDone>,
    /// Whether a ticket was used.
    pub resumed: bool,
    /// The far end of the network socket.
    pub peer: Option<Address>,
    /// The near end.
    pub local: Option<Address>,
    /// What of the request the peer's certificate answered.
    pub matched: Items<'a, Matched<'a>>,
    /// Hash of the peer's public key (SubjectPublicKeyInfo, DER), when it showed one.
    pub spki_sha256: Option<Sha256>,
    /// Hash of the peer's certificate (DER).
    pub certificate_sha256: Option<Sha256>,
    /// The exporter values asked for, in the order of the request. Secrets.
    pub exports: Items<'a, ExportValue<'a>>,
    /// The tls-exporter channel binding (RFC 9266), 32 bytes.
    pub channel_binding: Option<Sha256>,
    /// What the peer showed, where it is not a certificate.
    pub certificate_type: Option<CertificateType>,
}

/// `ended`: sent before the data descriptor is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// The request's.
    pub id: u64,
    /// How.
    pub how: How,
    /// Bytes of plaintext that went to the program.
    pub bytes_in: u64,
    /// Bytes of plaintext that went to the peer.
    pub bytes_out: u64,
    /// The alert that was received or sent; always with `how=alert`.
    pub alert: Option<Alert>,
    /// With `how=error`, and only then.
    pub code: Option<Code>,
    /// With `how=error`, and only then.
    pub blame: Option<Blame>,
    /// A sentence for a person.
    pub text: Option<&'a str>,
}

/// `status` of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusAnswer<'a> {
    /// The request's.
    pub id: u64,
    /// Control connections.
    pub callers: u64,
    /// Sessions that are open.
    pub sessions: u64,
    /// Handshakes in flight.
    pub handshakes: u64,
    /// Profiles that callers defined.
    pub profiles: u64,
    /// `sessions`, `stores` and `callers`, when asked for. The receiver owns them.
    pub fds: Words<'a, FdName>,
}

/// `client-hello`: what a peer offers, before anything was answered. Reserved values (GREASE, RFC 8701) are left out, and
/// of each list at most the first [`MAX_WORDS`](crate::MAX_WORDS) are there, of ALPN names [`MAX_ALPN`](crate::MAX_ALPN).
/// Values have their IANA names, or `0x` and four digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// The session's.
    pub id: u64,
    /// Whether it is TLS at all; nothing else is known where it is not.
    pub tls: bool,
    /// The server_name (RFC 6066 section 3): a DNS name in lower case.
    pub server_name: Option<&'a str>,
    /// Application protocols (RFC 7301).
    pub alpn: Words<'a, Alpn<'a>>,
    /// Versions: `1.3`, `1.2`.
    pub versions: Words<'a, &'a str>,
    /// Cipher suites.
    pub ciphers: Words<'a, &'a str>,
    /// Key-exchange groups.
    pub groups: Words<'a, &'a str>,
    /// Those of the groups whose key shares came.
    pub key_shares: Words<'a, &'a str>,
    /// Signature schemes.
    pub signature_schemes: Words<'a, &'a str>,
    /// The JA4 fingerprint of the client.
    pub ja4: Option<&'a str>,
    /// Whether there is an encrypted_client_hello, a real one or GREASE.
    pub ech: Option<bool>,
}
