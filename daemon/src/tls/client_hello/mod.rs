//! The first message of a TLS client, read before TLS starts: strict, from bytes that are looked at and not taken.
//!
//! ```text
//!  bytes on the wire ──▶ records ──▶ handshake message ──▶ ClientHello          RFC 9846 sections 5.1, 4, 4.1.2, 4.2
//!                           │              │                   └─▶ ja4
//!                           └─▶ NotTls     └─▶ Malformed, More
//! ```
//!
//! This is for decisions that come before the handshake: a caller that is asked, a cache that is looked into. The
//! handshake itself reads the same bytes again with its own parser, so this one answers for nothing but what it says; it
//! is the stricter of the two, so that nothing is decided about a message that could be read in two ways. It
//! is code of our own: the one of rustls cannot be asked before a configuration is chosen.

mod extensions;
mod ja4;
mod offer;
mod reader;
mod records;

#[cfg(test)]
mod tests;

use super::reference::parse_dns;
pub use offer::Offer;
use reader::Reader;

/// The longest handshake message that is read, in bytes without its header: what rustls takes too. Clients send about
/// 2 kB with post-quantum key shares.
pub const MAX_CLIENT_HELLO: usize = 0xffff;

/// The most bytes on the wire that are looked at for one ClientHello. Records add five bytes each: one that is cut into
/// more than a handful of them for each kilobyte is nobody's but an attacker's.
pub const MAX_HELLO_WIRE: usize = 96 * 1024;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// The beginning of a ClientHello: it takes at least so many bytes in all, counted from the first.
    More(usize),
    /// A whole ClientHello. What follows it was not looked at.
    Whole(Box<ClientHello>),
    /// Not the record of a TLS handshake.
    NotTls,
    /// TLS, and no ClientHello that could be answered.
    Malformed(Flaw),
}

/// What is wrong with a ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Flaw {
    /// Lower case, no full stop.
    pub what: &'static str,
    /// The alert that says so (RFC 9846 section 6.2).
    pub alert: u8,
}

/// What a client offers. Reserved values (GREASE, RFC 8701) are kept: [`is_grease`] knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// legacy_version: 0x0303 in TLS 1.2 and 1.3.
    pub legacy_version: u16,
    /// legacy_session_id: at most 32 bytes.
    pub session_id: Vec<u8>,
    /// Cipher suites, in the client's order.
    pub cipher_suites: Vec<u16>,
    /// The types of all extensions, in their order; none twice.
    pub extensions: Vec<u16>,
    /// The server_name (RFC 6066 section 3), a DNS name in lower case without a trailing dot. An IP address, which does
    /// not belong there, counts as none.
    pub server_name: Option<String>,
    /// Application protocols (RFC 7301), in the client's order.
    pub alpn: Vec<Vec<u8>>,
    /// supported_versions; empty in a hello of TLS 1.2 and before.
    pub versions: Vec<u16>,
    /// supported_groups.
    pub groups: Vec<u16>,
    /// The groups of which key shares came.
    pub key_shares: Vec<u16>,
    /// signature_algorithms.
    pub signature_schemes: Vec<u16>,
    /// A ticket of TLS 1.2 (RFC 5077); an empty one asks for one.
    pub session_ticket: Option<Vec<u8>>,
    /// The identities of pre_shared_key: tickets of TLS 1.3.
    pub psk_identities: Vec<Vec<u8>>,
    /// Whether there is an encrypted_client_hello, a real one or GREASE.
    pub ech: bool,
}

impl ClientHello {
    /// Looks at the first bytes of a connection, from the first record on.
    #[must_use]
    pub fn look(bytes: &[u8]) -> Look {
        match records::message(bytes) {
            records::Found::More(least) => Look::More(least),
            records::Found::NotTls => Look::NotTls,
            records::Found::Malformed(flaw) => Look::Malformed(flaw),
            records::Found::Message(body) => match Self::read(&body) {
                Ok(hello) => Look::Whole(Box::new(hello)),
                Err(flaw) => Look::Malformed(flaw),
            },
        }
    }

    /// The JA4 fingerprint of TLS over TCP, as its authors publish it: what the client can do, its order left out.
    #[must_use]
    pub fn ja4(&self) -> String {
        ja4::fingerprint(self)
    }

    /// The body of the message (RFC 9846 section 4.1.2).
    fn read(body: &[u8]) -> Result<Self, Flaw> {
        let mut reader = Reader::new(body);
        let legacy_version = reader.u16()?;
        let _random = reader.take(32)?;
        let session_id = reader.vector8()?.rest().to_vec();
        if session_id.len() > 32 {
            return Err(Flaw::decode("its session id is longer than 32 bytes"));
        }
        let cipher_suites = reader.vector16()?.numbers()?;
        if reader.vector8()?.is_empty() {
            return Err(Flaw::decode("it has no compression method"));
        }
        let mut hello = Self { legacy_version, session_id, cipher_suites, ..Self::default() };
        // A client of TLS 1.2 may have no extensions at all (RFC 5246 section 7.4.1.2).
        if !reader.is_empty() {
            let extensions = reader.vector16()?;
            reader.end()?;
            hello.read_extensions(extensions)?;
        }
        Ok(hello)
    }
}

/// Whether a cipher suite, group, version, scheme or extension is one of those that clients send at random, to be ignored
/// (RFC 8701).
#[must_use]
pub fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

impl Flaw {
    /// It cannot be read: decode_error.
    const fn decode(what: &'static str) -> Self {
        Self { what, alert: 50 }
    }

    /// It can be read, and is forbidden: illegal_parameter.
    const fn illegal(what: &'static str) -> Self {
        Self { what, alert: 47 }
    }

    /// Something else than a ClientHello: unexpected_message.
    const fn unexpected(what: &'static str) -> Self {
        Self { what, alert: 10 }
    }

    /// A record is too long: record_overflow.
    const fn overflow(what: &'static str) -> Self {
        Self { what, alert: 22 }
    }
}

/// A host_name of server_name in the form that is compared; `None` for what is an address.
fn host_name(bytes: &[u8]) -> Result<Option<String>, Flaw> {
    let text = str::from_utf8(bytes).map_err(|_| Flaw::illegal("its server_name is not ASCII"))?;
    // RFC 6066 §3: literal addresses are not permitted. Clients send them all the same, and mean nobody in particular.
    if text.parse::<core::net::IpAddr>().is_ok() {
        return Ok(None);
    }
    parse_dns(text).map(Some).map_err(|_| Flaw::illegal("its server_name is not a DNS name"))
}
