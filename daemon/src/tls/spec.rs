//! Why a profile cannot be made of what was asked for.

use tlsify_protocol::Code;

/// A specification that contradicts itself, lacks something, or would check nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A server without a certificate.
    #[error("a server needs a certificate and its key")]
    NoIdentity,
    /// A key that cannot sign with any of the wanted schemes.
    #[error("the key of identity {0} cannot sign with any of the signature-schemes")]
    KeyCannotSign(usize),
    /// `trust=pins` without a pin.
    #[error("trust=pins needs at least one pin")]
    NoPins,
    /// A chain without a name would accept everybody with a certificate.
    #[error("a client needs at least one name or pin, a chain alone says nothing about who the peer is")]
    NobodyMeant,
    /// Client certificates are asked for, and nothing says which.
    #[error("client-certificate needs trust, to say whose certificates are meant")]
    NoTrust,
    /// Rules about client certificates that nobody asks for.
    #[error("{0} has no effect without client-certificate=optional or required")]
    WithoutClientCertificate(&'static str),
    /// Something about a chain, where pins stand instead of it.
    #[error("{0} is about a chain, and with trust=pins none is looked at")]
    WithPins(&'static str),
    /// A rule that can never match.
    #[error("{0}")]
    BadRule(String),
    /// Raw public keys (RFC 7250) with something that needs a certificate, or TLS 1.2.
    #[error("{why}")]
    RawKeys {
        /// The key that does not go with them.
        about: &'static str,
        /// Why.
        why: &'static str,
    },
}

impl SpecError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        match self {
            Self::NoIdentity | Self::NoPins | Self::NobodyMeant | Self::NoTrust => Code::MissingKey,
            Self::KeyCannotSign(_)
            | Self::WithoutClientCertificate(_)
            | Self::WithPins(_)
            | Self::RawKeys { .. } => Code::KeyConflict,
            Self::BadRule(_) => Code::BadValue,
        }
    }

    /// The protocol's key that is missing or wrong.
    pub fn about(&self) -> &'static str {
        match self {
            Self::NoIdentity => "certificate",
            Self::KeyCannotSign(_) => "signature-schemes",
            Self::NoPins => "pin",
            Self::NobodyMeant => "name",
            Self::NoTrust => "trust",
            Self::WithoutClientCertificate(key) | Self::WithPins(key) => key,
            Self::RawKeys { about, .. } => about,
            Self::BadRule(_) => "allow",
        }
    }
}
