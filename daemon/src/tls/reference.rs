//! Whom a caller wants to reach: reference identifiers (RFC 9525 section 1.4).

use core::fmt;
use core::net::IpAddr;
use std::borrow::Cow;

use rustls::pki_types::{DnsName, ServerName};

/// One acceptable name of the peer, parsed once. Never a pattern: patterns are for certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceId {
    /// A DNS name (DNS-ID) in lower-case A-label form, without a trailing dot.
    Dns(String),
    /// An IP address (IP-ID).
    Ip(IpAddr),
}

/// Why a text is not a reference identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceIdError {
    /// Nothing was said.
    #[error("a name must not be empty")]
    Empty,
    /// A pattern was given where one peer is meant.
    #[error("\"{0}\" is a pattern, and a name to connect to must be exact")]
    Wildcard(String),
    /// A name outside ASCII was given.
    #[error("\"{0}\" is not ASCII, give its A-label (the form that starts with xn--)")]
    NotAscii(String),
    /// Neither a DNS name nor an address.
    #[error("\"{0}\" is neither a DNS name nor an IP address")]
    Syntax(String),
}

impl ReferenceId {
    /// Parses a DNS name (one trailing dot is dropped, letters become lower case) or an IP address.
    ///
    /// # Errors
    /// [`ReferenceIdError`] names what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, ReferenceIdError> {
        if text.is_empty() {
            return Err(ReferenceIdError::Empty);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Ip(address));
        }
        parse_dns(text).map(Self::Dns)
    }

    /// The identifier in rustls' words.
    pub(super) fn server_name(&self) -> ServerName<'_> {
        match self {
            // The text was a DnsName when it was parsed and has only become lower case since.
            Self::Dns(name) => match DnsName::try_from(name.as_str()) {
                Ok(name) => ServerName::DnsName(name),
                Err(_) => unreachable!("a parsed reference identifier is a DNS name"),
            },
            Self::Ip(address) => ServerName::IpAddress((*address).into()),
        }
    }

    /// The identifier as people write it.
    pub fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Dns(name) => Cow::Borrowed(name),
            Self::Ip(address) => Cow::Owned(address.to_string()),
        }
    }
}

impl fmt::Display for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// A DNS name in the form that is compared: lower case, no trailing dot.
pub(super) fn parse_dns(text: &str) -> Result<String, ReferenceIdError> {
    if text.contains('*') {
        return Err(ReferenceIdError::Wildcard(text.to_owned()));
    }
    if !text.is_ascii() {
        return Err(ReferenceIdError::NotAscii(text.to_owned()));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    match DnsName::try_from(name) {
        // A second dot at the end is not ours to drop.
        Ok(_) if !name.ends_with('.') => Ok(name.to_ascii_lowercase()),
        _ => Err(ReferenceIdError::Syntax(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_one_form() {
        assert_eq!(ReferenceId::parse("Shop.Example."), Ok(ReferenceId::Dns("shop.example".into())));
        assert_eq!(
            ReferenceId::parse("xn--bcher-kva.example"),
            Ok(ReferenceId::Dns("xn--bcher-kva.example".into()))
        );
        assert_eq!(ReferenceId::parse("::1"), Ok(ReferenceId::Ip("::1".parse().unwrap())));
        assert_eq!(ReferenceId::parse("127.0.0.1"), Ok(ReferenceId::Ip("127.0.0.1".parse().unwrap())));
    }

    #[test]
    fn a_pattern_is_never_a_reference() {
        assert!(matches!(ReferenceId::parse("*.example"), Err(ReferenceIdError::Wildcard(_))));
        assert!(matches!(ReferenceId::parse("w*.example"), Err(ReferenceIdError::Wildcard(_))));
    }

    #[test]
    fn what_cannot_be_looked_up_is_refused() {
        assert_eq!(ReferenceId::parse(""), Err(ReferenceIdError::Empty));
        assert!(matches!(ReferenceId::parse("bücher.example"), Err(ReferenceIdError::NotAscii(_))));
        for text in [".", "a..b", "shop.example..", "-a.example", "host:443", "1.2.3", "a b", &"a".repeat(64)]
        {
            assert!(matches!(ReferenceId::parse(text), Err(ReferenceIdError::Syntax(_))), "{text}");
        }
    }
}
