//! What makes a peer acceptable: trust sources, pins, access rules, and what matched in the end.

use super::roots::Roots;

/// Where the trust in a peer's certificate comes from.
#[derive(Clone, Debug)]
pub enum Trust {
    /// The host's pool of certificate authorities, given with each session.
    System,
    /// These certificate authorities and no others.
    Roots(Roots),
    /// Pins stand instead of a chain. The certificate's dates and issuer are then not looked at: a pinned
    /// key is trusted until it is unpinned. The handshake's signature is always checked.
    Pins,
}

/// What a pinned peer presents as its end-entity certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    Spki([u8; 32]),
    /// SHA-256 of the whole DER certificate.
    Certificate([u8; 32]),
}

/// One way for a client certificate to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AllowRule {
    /// The certificate or its key is this one.
    Pin(Pin),
    /// A DNS name in the certificate equals this one, or matches `*.suffix` with exactly one label.
    Dns(String),
    /// A URI in the certificate equals this one, byte for byte.
    Uri(String),
    /// A mail address in the certificate equals this one; the domain in any letter case.
    Mail(String),
}

/// What made a peer acceptable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// A reference identifier, in the form that is compared: lower case, no trailing dot.
    Name(String),
    /// A pin.
    Pin(Pin),
    /// An access rule.
    Allow(AllowRule),
}

impl Trust {
    /// About how many bytes of authorities of its own it holds.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Trust::Roots(roots) => roots.weight().into(),
            Trust::System | Trust::Pins => 0,
        }
    }
}

impl Pin {
    /// Whether a certificate with these two hashes is the pinned one.
    pub(super) fn matches(&self, spki: &[u8; 32], certificate: &[u8; 32]) -> bool {
        match self {
            Self::Spki(hash) => hash == spki,
            Self::Certificate(hash) => hash == certificate,
        }
    }

    /// For what tickets are bound to.
    pub(super) fn to_field(self) -> Vec<u8> {
        match self {
            Self::Spki(hash) => [&b"spki:"[..], &hash].concat(),
            Self::Certificate(hash) => [&b"certificate:"[..], &hash].concat(),
        }
    }
}
