//! Who somebody is: names, pins, what is trusted, who is let in, what matched.

use core::net::{IpAddr, Ipv4Addr};

use super::{Sha256, Value};
use crate::limits::{MAX_ALLOW_TEXT, MAX_DNS_NAME, MAX_PROFILE_NAME};
use crate::write::{Fault, Out};

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct $name<'a>(&'a str);

        impl<'a> $name<'a> {
            /// Checks a name.
            #[must_use]
            pub fn new(name: &'a str) -> Option<Self> {
                is_label(name).then_some(Self(name))
            }

            /// The name.
            #[must_use]
            pub const fn as_str(self) -> &'a str {
                self.0
            }
        }

        impl core::fmt::Display for $name<'_> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.0)
            }
        }

        impl<'a> Value<'a> for $name<'a> {
            const EXPECTED: &'static str = "1 to 64 of the characters A-Z a-z 0-9 . _ -";

            fn read(text: &'a str) -> Option<Self> {
                Self::new(text)
            }

            fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
                out.push(self.0.as_bytes())
            }
        }
    )*};
}

labels! {
    /// A profile's name: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    ProfileName;
    /// The name of a store of tickets, inside its caller's uid: 1 to 64 of `A-Z a-z 0-9 . _ -`.
    StoreName;
}

/// The SNI that a client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerName<'a> {
    /// `none`: the extension is left out.
    Omit,
    /// A DNS name in its A-label form (RFC 6066 section 3 has no others).
    Dns(&'a str),
}

impl<'a> Value<'a> for ServerName<'a> {
    const EXPECTED: &'static str = "a DNS name in its A-label form, or none";

    fn read(text: &'a str) -> Option<Self> {
        match text {
            "none" => Some(Self::Omit),
            _ => is_dns(text).then_some(Self::Dns(text)),
        }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self {
            Self::Omit => out.push(b"none"),
            Self::Dns(name) if is_dns(name) && *name != "none" => out.push(name.as_bytes()),
            Self::Dns(_) => Err(Fault::Bad(Self::EXPECTED)),
        }
    }
}

/// Where trust comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trust<'a> {
    /// The system's authorities.
    System,
    /// The descriptor `ca` of the same packet.
    Descriptor,
    /// A store that the operator has named.
    Store(&'a str),
    /// The pins alone: no chain is built.
    Pins,
}

impl<'a> Value<'a> for Trust<'a> {
    const EXPECTED: &'static str = "system, descriptor, pins or store:NAME";

    fn read(text: &'a str) -> Option<Self> {
        match text {
            "system" => Some(Self::System),
            "descriptor" => Some(Self::Descriptor),
            "pins" => Some(Self::Pins),
            _ => text.strip_prefix("store:").filter(|name| is_label(name)).map(Self::Store),
        }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self {
            Self::System => out.push(b"system"),
            Self::Descriptor => out.push(b"descriptor"),
            Self::Pins => out.push(b"pins"),
            Self::Store(name) if is_label(name) => {
                out.push(b"store:")?;
                out.push(name.as_bytes())
            }
            Self::Store(_) => Err(Fault::Bad(Self::EXPECTED)),
        }
    }
}

/// A hash that the peer's end-entity certificate must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pin {
    /// Of its SubjectPublicKeyInfo in DER: outlives a renewal with the same key.
    Spki(Sha256),
    /// Of the whole certificate in DER.
    Certificate(Sha256),
}

impl Value<'_> for Pin {
    const EXPECTED: &'static str = "spki-sha256:BASE64 or certificate-sha256:BASE64 of 32 bytes";

    fn read(text: &str) -> Option<Self> {
        let (kind, hash) = text.split_once(':')?;
        match kind {
            "spki-sha256" => Sha256::from_base64(hash).map(Self::Spki),
            "certificate-sha256" => Sha256::from_base64(hash).map(Self::Certificate),
            _ => None,
        }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        let (kind, hash): (&[u8], _) = match self {
            Self::Spki(hash) => (b"spki-sha256:", hash),
            Self::Certificate(hash) => (b"certificate-sha256:", hash),
        };
        out.push(kind)?;
        hash.write(out)
    }
}

/// A rule that lets a client in: its end-entity certificate has this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Allow<'a> {
    /// This hash.
    Pin(Pin),
    /// This dNSName; after `*.`, one with any single label in front of it.
    Dns(&'a str),
    /// This uniformResourceIdentifier, byte for byte.
    Uri(&'a str),
    /// This rfc822Name.
    Mail(&'a str),
}

impl<'a> Value<'a> for Allow<'a> {
    const EXPECTED: &'static str = "spki-sha256:, certificate-sha256:, dns:, uri: or mail: and a value";

    fn read(text: &'a str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        let rule = match kind {
            "dns" => Self::Dns(value),
            "uri" => Self::Uri(value),
            "mail" => Self::Mail(value),
            _ => Self::Pin(Pin::read(text)?),
        };
        rule.is_sound().then_some(rule)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        if !self.is_sound() {
            return Err(Fault::Bad(Self::EXPECTED));
        }
        let (kind, value): (&[u8], _) = match self {
            Self::Pin(pin) => return pin.write(out),
            Self::Dns(value) => (b"dns:", value),
            Self::Uri(value) => (b"uri:", value),
            Self::Mail(value) => (b"mail:", value),
        };
        out.push(kind)?;
        out.push(value.as_bytes())
    }
}

impl Allow<'_> {
    fn is_sound(&self) -> bool {
        match self {
            Self::Pin(_) => true,
            Self::Dns(value) => is_dns(value.strip_prefix("*.").unwrap_or(value)),
            Self::Uri(value) => is_word(value),
            Self::Mail(value) => is_word(value) && value.contains('@'),
        }
    }
}

/// Which part of the question the peer's certificate answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matched<'a> {
    /// A `name` of the request, as it was written there.
    Name(&'a str),
    /// A `pin`.
    Pin(Pin),
    /// An `allow`.
    Allow(Allow<'a>),
}

impl<'a> Value<'a> for Matched<'a> {
    const EXPECTED: &'static str = "name:, pin: or allow: and what matched";

    fn read(text: &'a str) -> Option<Self> {
        let (kind, value) = text.split_once(':')?;
        match kind {
            "name" => is_name(value).then_some(Self::Name(value)),
            "pin" => Pin::read(value).map(Self::Pin),
            "allow" => Allow::read(value).map(Self::Allow),
            _ => None,
        }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self {
            Self::Name(name) if !is_name(name) => Err(Fault::Bad(Self::EXPECTED)),
            Self::Name(name) => {
                out.push(b"name:")?;
                out.push(name.as_bytes())
            }
            Self::Pin(pin) => {
                out.push(b"pin:")?;
                pin.write(out)
            }
            Self::Allow(allow) => {
                out.push(b"allow:")?;
                allow.write(out)
            }
        }
    }
}

/// The shape of a reference identifier: an IP address, what can be a DNS name, `srv:` with a service in front of one,
/// `uri:` with a scheme. The daemon looks closer.
pub(crate) fn is_name(text: &str) -> bool {
    if let Some(service) = text.strip_prefix("srv:") {
        return service.starts_with('_') && is_dns(service);
    }
    if let Some(uri) = text.strip_prefix("uri:") {
        return uri.split_once(':').is_some_and(|(scheme, host)| is_scheme(scheme) && is_dns(host));
    }
    is_dns(text) || text.parse::<IpAddr>().is_ok()
}

/// RFC 3986 section 3.1; none that is registered has more than some 20 bytes.
fn is_scheme(text: &str) -> bool {
    (1..=MAX_PROFILE_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// The shape of a DNS name in A-labels: an IPv4 address is not one.
pub(super) fn is_dns(text: &str) -> bool {
    (1..=MAX_DNS_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && text.parse::<Ipv4Addr>().is_err()
}

/// The shape of a profile's or store's name.
fn is_label(text: &str) -> bool {
    (1..=MAX_PROFILE_NAME).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// Visible ASCII: what URIs and mail addresses in certificates consist of (RFC 5280 section 4.2.1.6, IA5String).
fn is_word(text: &str) -> bool {
    (1..=MAX_ALLOW_TEXT).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
