//! Whom a caller wants to reach: reference identifiers (RFC 9525 section 1.4).
//!
//! DNS names and addresses are compared by webpki. Services and URIs are compared here, and strictly: the words of
//! each side are brought into one form and must be equal. RFC 9525 section 6.3 lets a client take wildcards in them
//! too; they are not taken here, a certificate for all services of all hosts of a domain names nobody.

use core::fmt;
use core::net::IpAddr;
use std::borrow::Cow;

use rustls::pki_types::{DnsName, ServerName};

use super::presented::PresentedIds;

/// One acceptable name of the peer, parsed once. Never a pattern: patterns are for certificates.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReferenceId {
    /// A DNS name (DNS-ID) in lower-case A-label form, without a trailing dot.
    Dns(String),
    /// An IP address (IP-ID).
    Ip(IpAddr),
    /// A service of a domain (SRV-ID, RFC 4985), such as `_imaps.mail.example`, in lower case.
    Srv {
        /// With its underscore.
        service: String,
        /// As in [`ReferenceId::Dns`].
        name: String,
    },
    /// A scheme and a host (URI-ID), in lower case; what else a URI has is not compared.
    Uri {
        /// Without its colon.
        scheme: String,
        /// As in [`ReferenceId::Dns`].
        host: String,
    },
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
    /// Begins with `srv:`, and is no service.
    #[error("\"srv:{0}\" is no service, write srv:_service.name, such as srv:_imaps.mail.example")]
    Service(String),
    /// Begins with `uri:`, and is no scheme and host.
    #[error("\"uri:{0}\" is not a scheme and a host, write uri:scheme:host, such as uri:sip:voice.example")]
    Uri(String),
    /// Neither a DNS name nor an address.
    #[error("\"{0}\" is neither a DNS name nor an IP address")]
    Syntax(String),
}

impl ReferenceId {
    /// Parses a DNS name (one trailing dot is dropped, letters become lower case), an IP address,
    /// `srv:_service.name` or `uri:scheme:host`.
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
        if let Some(text) = text.strip_prefix("srv:") {
            let (service, name) =
                text.split_once('.').ok_or_else(|| ReferenceIdError::Service(text.into()))?;
            let service = parse_service(service).ok_or_else(|| ReferenceIdError::Service(text.into()))?;
            return Ok(Self::Srv { service, name: parse_dns(name)? });
        }
        if let Some(text) = text.strip_prefix("uri:") {
            let (scheme, host) = text.split_once(':').ok_or_else(|| ReferenceIdError::Uri(text.into()))?;
            let scheme = parse_scheme(scheme).ok_or_else(|| ReferenceIdError::Uri(text.into()))?;
            return Ok(Self::Uri { scheme, host: parse_dns(host)? });
        }
        parse_dns(text).map(Self::Dns)
    }

    /// The domain name that it is about: what a client tells a server that it wants. An address has none.
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Dns(name) | Self::Srv { name, .. } | Self::Uri { host: name, .. } => Some(name),
            Self::Ip(_) => None,
        }
    }

    /// A DNS name or an address in rustls' words; `None` for what rustls does not compare.
    pub(super) fn server_name(&self) -> Option<ServerName<'_>> {
        match self {
            // The text was a DnsName when it was parsed and has only become lower case since.
            Self::Dns(name) => match DnsName::try_from(name.as_str()) {
                Ok(name) => Some(ServerName::DnsName(name)),
                Err(_) => unreachable!("a parsed reference identifier is a DNS name"),
            },
            Self::Ip(address) => Some(ServerName::IpAddress((*address).into())),
            Self::Srv { .. } | Self::Uri { .. } => None,
        }
    }

    /// Whether this service or URI is among those of a certificate.
    pub(super) fn is_among(&self, presented: &PresentedIds) -> bool {
        match self {
            Self::Srv { service, name } => presented.services.iter().any(|text| {
                text.split_once('.').is_some_and(|(other, rest)| {
                    parse_service(other).as_ref() == Some(service) && is_host(rest, name)
                })
            }),
            Self::Uri { scheme, host } => presented.uris.iter().any(|uri| {
                uri.split_once(':').is_some_and(|(other, rest)| {
                    parse_scheme(other).as_ref() == Some(scheme)
                        && uri_host(rest).is_some_and(|rest| is_host(rest, host))
                })
            }),
            Self::Dns(_) | Self::Ip(_) => false,
        }
    }

    /// The identifier as people write it.
    pub fn as_text(&self) -> Cow<'_, str> {
        match self {
            Self::Dns(name) => Cow::Borrowed(name),
            Self::Ip(address) => Cow::Owned(address.to_string()),
            Self::Srv { service, name } => Cow::Owned(format!("srv:{service}.{name}")),
            Self::Uri { scheme, host } => Cow::Owned(format!("uri:{scheme}:{host}")),
        }
    }
}

impl fmt::Display for ReferenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_text())
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

/// The first label of a service: letter case does not count (RFC 4985 section 2, RFC 2782).
fn parse_service(text: &str) -> Option<String> {
    let name = text.strip_prefix('_')?;
    let fits = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (fits && (1..=62).contains(&name.len())).then(|| text.to_ascii_lowercase())
}

/// RFC 3986 section 3.1.
fn parse_scheme(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let begins = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
    (begins && text.bytes().all(fits)).then(|| text.to_ascii_lowercase())
}

/// The host of what follows the colon of a scheme: of the authority (RFC 3986 section 3.2), or of what some schemes
/// have in its place (`sip:voice.example`). A URI of one user there (RFC 5922 section 7.1) is not one of the domain.
fn uri_host(rest: &str) -> Option<&str> {
    let (rest, ends): (&str, &[char]) = match rest.strip_prefix("//") {
        Some(authority) => (authority, &['/', '?', '#']),
        None => (rest, &['/', ';', '?', '#']),
    };
    let authority = rest.split(ends).next()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    (!authority.contains('@') && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

/// Whether the name that a certificate has is this one. A dot at its end is no part of the form that names in
/// certificates have (RFC 5280 section 4.2.1.6), so such a name is nobody's.
fn is_host(presented: &str, wanted: &str) -> bool {
    !presented.ends_with('.') && parse_dns(presented).as_deref() == Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(reference: &str, services: &[&str], uris: &[&str]) -> bool {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let presented =
            PresentedIds { services: owned(services), uris: owned(uris), ..PresentedIds::default() };
        ReferenceId::parse(reference).unwrap().is_among(&presented)
    }

    #[test]
    fn a_service_is_its_name_at_its_domain_and_nothing_near_it() {
        for same in ["_imaps.mail.example", "_IMAPS.Mail.Example"] {
            assert!(has("srv:_imaps.mail.example", &[same], &[]), "{same}");
            assert!(has("srv:_ImapS.mail.example.", &["_x.mail.example", same], &[]), "{same}");
        }
        for other in [
            "_imap.mail.example",
            "imaps.mail.example",
            "_imaps.a.mail.example",
            "_imaps.mail.example.",
            "_imaps.*.example",
            "_*.mail.example",
            "*.mail.example",
            "_imaps.mail.example\0.evil.example",
            "_imaps",
            "",
        ] {
            assert!(!has("srv:_imaps.mail.example", &[other], &[]), "{other:?}");
        }
        assert!(!has("srv:_imaps.mail.example", &[], &["_imaps.mail.example"]));
    }

    #[test]
    fn a_uri_is_its_scheme_and_its_host() {
        for same in [
            "sip:voice.example",
            "SIP:Voice.Example",
            "sip:voice.example:5061",
            "sip:voice.example;transport=tcp",
            "sip://voice.example/path?query#part",
        ] {
            assert!(has("uri:Sip:voice.example", &[], &["tel:+1", same]), "{same}");
        }
        for other in [
            "sips:voice.example",
            "sip:alice@voice.example",
            "sip://voice.example@evil.example",
            "sip:voice.example.",
            "sip:*.example",
            "sip:voice.example.evil.example",
            "sip:voice.example:port",
            "sip:voice.example\0",
            "sip:",
            "sip",
            "voice.example",
        ] {
            assert!(!has("uri:sip:voice.example", &[], &[other]), "{other:?}");
        }
    }

    #[test]
    fn what_is_no_service_and_no_uri_is_refused_with_an_example() {
        for text in ["srv:", "srv:_imaps", "srv:imaps.mail.example", "srv:_.mail.example", "srv:_a_b.example"]
        {
            assert!(matches!(ReferenceId::parse(text), Err(ReferenceIdError::Service(_))), "{text}");
        }
        for text in ["uri:", "uri:sip", "uri:voice.example", "uri:1:voice.example", "uri::voice.example"] {
            assert!(matches!(ReferenceId::parse(text), Err(ReferenceIdError::Uri(_))), "{text}");
        }
        assert!(matches!(ReferenceId::parse("srv:_a.*.example"), Err(ReferenceIdError::Wildcard(_))));
        assert!(matches!(ReferenceId::parse("uri:sip:bücher.example"), Err(ReferenceIdError::NotAscii(_))));
        assert!(matches!(ReferenceId::parse("uri:sip://voice.example"), Err(ReferenceIdError::Syntax(_))));
    }

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
