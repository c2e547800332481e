//! The identifiers that a certificate presents (RFC 9525 section 1.4), read with x509-parser.

use core::net::IpAddr;
use core::time::Duration;

use rustls::pki_types::UnixTime;
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use x509_parser::time::ASN1Time;

use super::witness::Presented;

/// What the end-entity certificate says about its holder.
#[derive(Debug, Default)]
pub(super) struct PresentedIds {
    pub(super) dns: Vec<String>,
    pub(super) ips: Vec<IpAddr>,
    pub(super) uris: Vec<String>,
    pub(super) mails: Vec<String>,
    /// `_service.name`, as presented (RFC 4985).
    pub(super) services: Vec<String>,
    pub(super) common_name: Option<String>,
    pub(super) not_before: Seconds,
    pub(super) not_after: Seconds,
}

/// Seconds since 1970; earlier dates are 0.
pub(super) type Seconds = u64;

impl PresentedIds {
    /// Reads a certificate; `None` when it is not one.
    pub(super) fn read(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut ids = Self {
            common_name: common_name(certificate.subject()).map(str::to_owned),
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            ..Self::default()
        };
        let names = certificate.subject_alternative_name().ok()?;
        for name in names.iter().flat_map(|extension| &extension.value.general_names) {
            match name {
                GeneralName::DNSName(name) => ids.dns.push(name.to_ascii_lowercase()),
                GeneralName::URI(uri) => ids.uris.push((*uri).to_owned()),
                GeneralName::RFC822Name(mail) => ids.mails.push((*mail).to_owned()),
                GeneralName::IPAddress(bytes) => ids.ips.extend(address(bytes)),
                GeneralName::OtherName(kind, value) if *kind == SRV_NAME => {
                    ids.services.extend(service(value))
                }
                _ => {}
            }
        }
        Some(ids)
    }

    /// All names of a server certificate, as its owner configures them: DNS names and addresses.
    pub(super) fn server_names(&self) -> Vec<String> {
        self.dns.iter().cloned().chain(self.ips.iter().map(IpAddr::to_string)).collect()
    }

    /// The names for a sentence: at most five, nothing unprintable.
    pub(super) fn summary(&self) -> Presented {
        let all = self
            .server_names()
            .into_iter()
            .chain(self.services.iter().map(|name| format!("srv:{name}")))
            .chain(self.uris.iter().cloned())
            .chain(self.mails.iter().cloned());
        let mut names: Vec<String> = all.map(|name| printable(&name)).collect();
        let more = names.len().saturating_sub(AT_MOST);
        names.truncate(AT_MOST);
        let common_name = self.common_name.as_deref().filter(|_| names.is_empty()).map(printable);
        Presented { names, more, common_name }
    }
}

/// The first common name, if it is text.
pub(super) fn common_name<'a>(name: &'a X509Name<'_>) -> Option<&'a str> {
    name.iter_common_name().next().and_then(|name| name.as_str().ok())
}

pub(super) fn unix_time(seconds: Seconds) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// id-on-dnsSRV.
const SRV_NAME: Oid<'static> = oid!(1.3.6.1.5.5.7.8.7);

/// The IA5String of an SRVName, in its explicit tag 0 (RFC 4985 section 2).
fn service(value: &[u8]) -> Option<String> {
    let (_, outer) = Any::from_der(value).ok()?;
    outer.tag().assert_eq(Tag(0)).ok()?;
    let (rest, inner) = Any::from_der(outer.data).ok()?;
    let fits = inner.tag() == Tag::Ia5String && rest.is_empty() && inner.data.is_ascii();
    let text = fits.then(|| core::str::from_utf8(inner.data))?;
    text.ok().map(str::to_owned)
}

/// A sentence with more names than this is no longer read.
const AT_MOST: usize = 5;

/// The peer wrote these names: control characters could forge lines of a log or break a message, invisible
/// and right-to-left ones could make a name look like another, and length could fill it.
pub(super) fn printable(name: &str) -> String {
    let seen = |c: char| c.is_alphanumeric() || c.is_ascii_graphic() || c == ' ';
    let mut text: String = name.chars().take(100).map(|c| if seen(c) { c } else { '?' }).collect();
    if name.chars().nth(100).is_some() {
        text.push('…');
    }
    text
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(bytes) {
        return Some(bytes.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Seconds since 1970; earlier dates are 0.
pub(super) fn seconds(time: ASN1Time) -> Seconds {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_write_lines_into_our_messages() {
        assert_eq!(printable("a\nb\u{7f}"), "a?b?");
        assert_eq!(printable(&"x".repeat(300)).chars().count(), 101);
        // Right-to-left override, line separator, zero-width space.
        assert_eq!(printable("a\u{202e}b\u{2028}c\u{200b}d"), "a?b?c?d");
        assert_eq!(printable("bücher.example, *.b"), "bücher.example, *.b");
    }

    #[test]
    fn garbage_presents_nothing() {
        assert!(PresentedIds::read(b"\x30\x03\x02\x01\x01").is_none());
    }
}
