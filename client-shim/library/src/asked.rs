//! Decisions before TLS starts: what a peer offers, and what is made of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tlsify_protocol as wire;
use wire::{AskDefault, RefusalAlert, Words};

/// What a peer offers in its ClientHello, while nothing of it was read. Reserved values (GREASE) are left out, and
/// lists have at most 64 entries. Values have their IANA names, or `0x` and four digits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientHello {
    /// Whether it is TLS at all. Nothing else is known where it is not: it may be SSH, or plain HTTP.
    pub tls: bool,
    /// The server name that it asks for (RFC 6066 section 3), in lower case.
    pub server_name: Option<String>,
    /// Application protocols (RFC 7301), as bytes.
    pub alpn: Vec<Vec<u8>>,
    /// TLS versions: `1.3`, `1.2`.
    pub versions: Vec<String>,
    /// Cipher suites.
    pub ciphers: Vec<String>,
    /// Key-exchange groups.
    pub groups: Vec<String>,
    /// Those of the groups whose key shares came.
    pub key_shares: Vec<String>,
    /// Signature schemes.
    pub signature_schemes: Vec<String>,
    /// The JA4 fingerprint of the client.
    pub ja4: Option<String>,
    /// Whether there is an encrypted_client_hello, a real one or GREASE.
    pub ech: bool,
}

/// What is to be done with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// TLS, with what the request said.
    Own,
    /// TLS, with this profile: one defined on this control connection, or else one of the operator's.
    Profile(String),
    /// No TLS: the peer gets this alert, and its connection is closed.
    Refuse(RefusalAlert),
    /// No TLS: the connection stays the program's, with every byte unread. The answer is
    /// [`Error::Failed`](crate::Error::Failed) with the code `given-back`, and
    /// [`Accept::into_nets`](crate::Accept::into_nets) has the socket.
    GiveBack,
}

pub(crate) type Handler = Arc<dyn Fn(&ClientHello) -> Choice + Send + Sync>;

/// How a request asks.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) handler: Handler,
    pub(crate) timeout: Option<Duration>,
    pub(crate) default: Option<AskDefault>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking")
            .field("timeout", &self.timeout)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}

impl From<wire::ClientHello<'_>> for ClientHello {
    fn from(hello: wire::ClientHello<'_>) -> Self {
        let texts = |words: Words<'_, &str>| words.iter().map(str::to_owned).collect();
        Self {
            tls: hello.tls,
            server_name: hello.server_name.map(str::to_owned),
            alpn: hello.alpn.iter().map(|name| name.iter().collect()).collect(),
            versions: texts(hello.versions),
            ciphers: texts(hello.ciphers),
            groups: texts(hello.groups),
            key_shares: texts(hello.key_shares),
            signature_schemes: texts(hello.signature_schemes),
            ja4: hello.ja4.map(str::to_owned),
            ech: hello.ech.unwrap_or(false),
        }
    }
}
