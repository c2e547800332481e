//! TLS parameters as they are said, and why they cannot be used.

use core::time::Duration;
use tlsify_protocol::{AlpnMismatch, Code, Level, Version};

/// TLS parameters as an operator's file or a caller's request says them. `None` and empty mean "not said".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsSpec {
    /// The lowest version that the host allows at all.
    pub floor: Version,
    /// The lowest security level that the host allows, if it has one.
    pub floor_level: Option<Level>,
    /// The security level; the host's when not said. What else is said may narrow it.
    pub level: Option<Level>,
    /// Lowest version; the host's floor when not said.
    pub min: Option<Version>,
    /// Highest version.
    pub max: Option<Version>,
    /// IANA names of cipher suites, best first.
    pub ciphers: Option<Vec<String>>,
    /// IANA names of key-exchange groups, best first.
    pub groups: Option<Vec<String>>,
    /// IANA names of signature schemes, best first: for what the peer signs with and for what we sign with.
    /// They bind handshake signatures, not those inside certificates.
    pub signature_schemes: Option<Vec<String>>,
    /// Application protocols, best first: 1 to 255 bytes each.
    pub alpn: Vec<Vec<u8>>,
    /// Without it a server refuses and a client ignores.
    pub alpn_mismatch: Option<AlpnMismatch>,
    /// Most bytes of plaintext per record that we send, 512 to 16384.
    pub max_fragment: Option<u16>,
    /// Whether TLS 1.2 sessions without extended master secret (RFC 7627) are refused.
    pub require_ems: bool,
    /// Bytes of plaintext that are sent under one key before it is replaced, TLS 1.3.
    pub key_update_bytes: Option<u64>,
    /// Age of a key at most when it is used, TLS 1.3.
    pub key_update_interval: Option<Duration>,
}

impl Default for ParamsSpec {
    /// Nothing said, on a host that allows TLS 1.2.
    fn default() -> Self {
        Self {
            floor: Version::Tls12,
            floor_level: None,
            level: None,
            min: None,
            max: None,
            ciphers: None,
            groups: None,
            signature_schemes: None,
            alpn: Vec::new(),
            alpn_mismatch: None,
            max_fragment: None,
            require_ems: false,
            key_update_bytes: None,
            key_update_interval: None,
        }
    }
}

/// Why parameters cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamsError {
    /// The request asks for less than the host allows.
    #[error("TLS {asked} is below this host's floor, which is {floor}")]
    BelowFloor {
        /// The key that asks.
        key: &'static str,
        /// What it asks for.
        asked: Version,
        /// What the host allows at least.
        floor: Version,
    },
    /// The request asks for a lower level than the host allows.
    #[error("level {asked} is below this host's, which is {floor}")]
    BelowFloorLevel {
        /// What it asks for.
        asked: Level,
        /// What the host allows at least.
        floor: Level,
    },
    /// Something that the level does not have.
    #[error("{what} is not of level {level}{whose}", whose = if *.host { ", which this host demands" } else { "" })]
    OutsideLevel {
        /// The key that asks.
        key: &'static str,
        /// What it asks for.
        what: String,
        /// The level.
        level: Level,
        /// Whether the host demands the level.
        host: bool,
    },
    /// The lowest version is above the highest.
    #[error("min is {min} and max is {max}, which leaves no version")]
    NoVersion {
        /// The lowest version.
        min: Version,
        /// The highest version.
        max: Version,
    },
    /// A name that is not in the registry, or that this build cannot do.
    #[error("unknown name \"{name}\", known are {known}")]
    UnknownName {
        /// The key with the list.
        key: &'static str,
        /// The name.
        name: String,
        /// All that could have been meant.
        known: String,
    },
    /// A name that a list has already.
    #[error("\"{name}\" is in the list twice")]
    Twice {
        /// The key with the list.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// A list that names nothing.
    #[error("the list is empty, leave the key out for the defaults")]
    EmptyList {
        /// The key with the list.
        key: &'static str,
    },
    /// Each value is fine alone, and together nothing can be negotiated.
    #[error("nothing in it can be used with {versions}{with}")]
    NothingLeft {
        /// The key whose list is useless.
        key: &'static str,
        /// The versions that were possible.
        versions: String,
        /// What else restricts it.
        with: &'static str,
    },
    /// An application protocol's name is too short, too long, or too many are named.
    #[error("{0}")]
    Alpn(&'static str),
    /// A record size outside what TLS allows or what makes sense.
    #[error("{0} is not between 512 and 16384")]
    MaxFragment(u16),
}

impl ParamsError {
    /// The protocol's code.
    pub fn code(&self) -> Code {
        match self {
            Self::BelowFloor { .. }
            | Self::BelowFloorLevel { .. }
            | Self::OutsideLevel { host: true, .. } => Code::BelowFloor,
            Self::NoVersion { .. } | Self::NothingLeft { .. } | Self::OutsideLevel { .. } => {
                Code::KeyConflict
            }
            _ => Code::BadValue,
        }
    }

    /// The protocol's key with the bad value.
    pub fn about(&self) -> &'static str {
        match self {
            Self::BelowFloor { key, .. }
            | Self::OutsideLevel { key, .. }
            | Self::UnknownName { key, .. }
            | Self::Twice { key, .. }
            | Self::EmptyList { key }
            | Self::NothingLeft { key, .. } => key,
            Self::NoVersion { .. } => "max",
            Self::BelowFloorLevel { .. } => "level",
            Self::Alpn(_) => "alpn",
            Self::MaxFragment(_) => "max-fragment",
        }
    }
}
