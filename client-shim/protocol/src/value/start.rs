//! Values of a session's beginning: addresses, timeouts, exporter values.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use super::identity::is_dns;
use super::{Bytes, Sha256, Value, decimal};
use crate::limits::{MAX_EXPORT_CONTEXT, MAX_EXPORT_LABEL, MAX_TIMEOUT_MS};
use crate::write::{Fault, Out};

/// An end of the network socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address {
    /// IP address and port. Of an IPv6 address the scope is written, the flow label is not.
    Inet(SocketAddr),
    /// A Unix socket: it has no address worth showing.
    Unix,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

impl Value<'_> for Address {
    const EXPECTED: &'static str = "ADDRESS:PORT, [ADDRESS]:PORT or unix";

    fn read(text: &str) -> Option<Self> {
        if text == "unix" { Some(Self::Unix) } else { text.parse().ok().map(Self::Inet) }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.display(self)
    }
}

/// Where a socket is to be connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target<'a> {
    /// This address; of an IPv6 address the scope counts, as a number. The port is not 0.
    Address(SocketAddr),
    /// One of the addresses of this DNS name in its A-label form, at this port, which is not 0.
    Name(&'a str, u16),
}

impl Target<'_> {
    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }
}

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

impl<'a> Value<'a> for Target<'a> {
    const EXPECTED: &'static str = "HOST:PORT or [ADDRESS]:PORT with a port from 1 to 65535";

    fn read(text: &'a str) -> Option<Self> {
        let target = match text.parse() {
            Ok(address) => Self::Address(address),
            Err(_) => {
                let (name, port) = text.rsplit_once(':')?;
                Self::Name(name, u16::try_from(decimal(port)?).ok()?)
            }
        };
        target.is_sound().then_some(target)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        if self.is_sound() { out.display(self) } else { Err(Fault::Bad(Self::EXPECTED)) }
    }
}

impl Target<'_> {
    fn is_sound(&self) -> bool {
        let host = match self {
            Self::Address(_) => true,
            Self::Name(name, _) => is_dns(name),
        };
        host && self.port() != 0
    }
}

/// An exporter value to give back (RFC 5705; RFC 9846 section 7.5): `label:context:length`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportRequest<'a> {
    /// 1 to 249 characters of printable ASCII; it may hold colons.
    pub label: &'a str,
    /// None (`-`) and an empty one differ in TLS 1.2. At most 1,024 bytes.
    pub context: Option<Bytes<'a>>,
    /// Bytes of output, 1 to 255.
    pub length: u8,
}

/// An exporter value: `label:context:value`. A secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportValue<'a> {
    /// As in the request.
    pub label: &'a str,
    /// As in the request.
    pub context: Option<Bytes<'a>>,
    /// 1 to 255 bytes.
    pub value: Bytes<'a>,
}

impl<'a> Value<'a> for ExportRequest<'a> {
    const EXPECTED: &'static str = "label:context:length, the context in base64 or -, the length 1 to 255";

    fn read(text: &'a str) -> Option<Self> {
        let (label, context, length) = split(text)?;
        let length = u8::try_from(decimal(length)?).ok().filter(|&length| length > 0)?;
        Some(Self { label, context, length })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        if self.length == 0 {
            return Err(Fault::Bad(Self::EXPECTED));
        }
        write_front(self.label, self.context, out)?;
        out.decimal(u64::from(self.length))
    }
}

impl<'a> Value<'a> for ExportValue<'a> {
    const EXPECTED: &'static str = "label:context:value, context and value in base64";

    fn read(text: &'a str) -> Option<Self> {
        let (label, context, value) = split(text)?;
        let value = Bytes::from_base64(value).filter(|value| (1..=255).contains(&value.len()))?;
        Some(Self { label, context, value })
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        if !(1..=255).contains(&self.value.len()) {
            return Err(Fault::Bad(Self::EXPECTED));
        }
        write_front(self.label, self.context, out)?;
        self.value.write(out)
    }
}

/// Splits at the last two colons: labels may hold one ("EXPORTER: teap session key seed", RFC 7170), base64 and
/// numbers do not.
fn split(text: &str) -> Option<(&str, Option<Bytes<'_>>, &str)> {
    let (front, last) = text.rsplit_once(':')?;
    let (label, context) = front.rsplit_once(':')?;
    let context = match context {
        "-" => None,
        text => Some(Bytes::from_base64(text).filter(|context| context.len() <= MAX_EXPORT_CONTEXT)?),
    };
    is_label(label).then_some((label, context, last))
}

fn write_front(label: &str, context: Option<Bytes<'_>>, out: &mut Out<'_>) -> Result<(), Fault> {
    if !is_label(label) {
        return Err(Fault::Bad("a label of 1 to 249 printable ASCII characters"));
    }
    out.push(label.as_bytes())?;
    out.push(b":")?;
    match context {
        None => out.push(b"-")?,
        Some(context) if context.len() > MAX_EXPORT_CONTEXT => {
            return Err(Fault::Bad("a context of at most 1024 bytes"));
        }
        Some(context) => context.write(out)?,
    }
    out.push(b":")
}

fn is_label(label: &str) -> bool {
    (1..=MAX_EXPORT_LABEL).contains(&label.len()) && label.bytes().all(|byte| matches!(byte, 0x20..=0x7e))
}

/// A timeout: whole milliseconds, at least one. What is finer is rounded up.
#[derive(Clone, Copy)]
pub(crate) struct Millis(pub(crate) Duration);

impl Value<'_> for Millis {
    const EXPECTED: &'static str = "milliseconds, 1 to 4294967295";

    fn read(text: &str) -> Option<Self> {
        let millis = decimal(text).filter(|millis| (1..=u64::from(MAX_TIMEOUT_MS)).contains(millis))?;
        Some(Self(Duration::from_millis(millis)))
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        let millis = self.0.as_nanos().div_ceil(1_000_000);
        match u32::try_from(millis) {
            Ok(millis @ 1..) => out.decimal(u64::from(millis)),
            _ => Err(Fault::Bad(Self::EXPECTED)),
        }
    }
}

/// `channel-binding` in a request: the one kind there is (RFC 9266).
#[derive(Clone, Copy)]
pub(crate) struct TlsExporter;

impl Value<'_> for TlsExporter {
    const EXPECTED: &'static str = "tls-exporter";

    fn read(text: &str) -> Option<Self> {
        (text == "tls-exporter").then_some(Self)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.push(b"tls-exporter")
    }
}

/// `channel-binding` in an answer.
#[derive(Clone, Copy)]
pub(crate) struct ChannelBinding(pub(crate) Sha256);

impl Value<'_> for ChannelBinding {
    const EXPECTED: &'static str = "tls-exporter:BASE64 of 32 bytes";

    fn read(text: &str) -> Option<Self> {
        Sha256::from_base64(text.strip_prefix("tls-exporter:")?).map(Self)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.push(b"tls-exporter:")?;
        self.0.write(out)
    }
}
