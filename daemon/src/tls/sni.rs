//! The server_name that a client sends (RFC 6066 section 3). It does not take part in checking the server.

use core::net::{IpAddr, Ipv4Addr};

use rustls::pki_types::{DnsName, ServerName};

use super::reference::{ReferenceId, ReferenceIdError, parse_dns};

/// What a request says about server_name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ServerNameChoice {
    /// Nothing: the first DNS reference identifier is sent, else the host of the first service or URI.
    #[default]
    FirstDns,
    /// None is sent.
    Omit,
    /// This one is sent: lower case, no trailing dot. It does not take part in checking the server.
    Name(String),
}

/// What a session tells rustls about server_name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sni {
    /// For rustls' constructor. An address stands for "send none": rustls never sends those. Resumption does not look at
    /// it here, and verification only to tell a name that is hidden from the public one.
    pub name: ServerName<'static>,
    /// What goes over the wire.
    pub sent: Option<String>,
}

impl ServerNameChoice {
    /// Reads a server_name to send: a DNS name, never an address (RFC 6066 section 3).
    ///
    /// # Errors
    /// [`ReferenceIdError`] when it is not a DNS name.
    pub fn parse(text: &str) -> Result<Self, ReferenceIdError> {
        match text.parse::<IpAddr>() {
            Ok(_) => Err(ReferenceIdError::Syntax(text.to_owned())),
            Err(_) => parse_dns(text).map(Self::Name),
        }
    }

    /// What to tell rustls for these reference identifiers.
    pub(super) fn for_names(&self, names: &[ReferenceId]) -> Sni {
        let first_dns = || {
            let dns = names.iter().find(|name| matches!(name, ReferenceId::Dns(_)));
            dns.into_iter().chain(names).find_map(ReferenceId::host)
        };
        let wanted = match self {
            Self::FirstDns => first_dns(),
            Self::Omit => None,
            Self::Name(name) => Some(name.as_str()),
        };
        let name = wanted.and_then(|name| DnsName::try_from(name).ok()).map(|name| name.to_owned());
        match name {
            Some(name) => Sni { sent: Some(name.as_ref().to_owned()), name: ServerName::DnsName(name) },
            None => Sni { name: ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into()), sent: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Trust;
    use crate::tls::pair::client;

    fn names(names: &[&str]) -> Vec<ReferenceId> {
        names.iter().map(|name| ReferenceId::parse(name).unwrap()).collect()
    }

    #[test]
    fn the_first_dns_name_is_sent() {
        let profile = client(Trust::System, &[]);
        let sni = profile.sni(&names(&["192.0.2.1", "A.example", "b.example"]), &ServerNameChoice::FirstDns);
        assert_eq!(sni.sent.as_deref(), Some("a.example"));
        assert_eq!(sni.name, ServerName::try_from("a.example").unwrap());
    }

    #[test]
    fn the_domain_of_a_service_or_uri_is_sent_where_there_is_no_dns_name() {
        let profile = client(Trust::System, &[]);
        let sent = |asked: &[&str]| profile.sni(&names(asked), &ServerNameChoice::FirstDns).sent;
        assert_eq!(
            sent(&["192.0.2.1", "uri:sip:a.example", "srv:_sip.b.example"]).as_deref(),
            Some("a.example")
        );
        assert_eq!(sent(&["srv:_sip.b.example", "c.example"]).as_deref(), Some("c.example"));
    }

    #[test]
    fn an_address_is_never_sent() {
        let profile = client(Trust::System, &[]);
        assert_eq!(profile.sni(&names(&["192.0.2.1"]), &ServerNameChoice::FirstDns).sent, None);
        assert_eq!(profile.sni(&names(&["a.example"]), &ServerNameChoice::Omit).sent, None);
        assert!(ServerNameChoice::parse("192.0.2.1").is_err());
        let other = ServerNameChoice::parse("Front.Example.").unwrap();
        assert_eq!(profile.sni(&names(&["192.0.2.1"]), &other).sent.as_deref(), Some("front.example"));
    }
}
