//! What can stand behind a `=`, each as a type that cannot be wrong once it was read.
//!
//! | file | values |
//! | --- | --- |
//! | `keyword` | one of a few words: roles, descriptor names, versions, choices |
//! | `code` | error codes, who is to blame, how a session ended |
//! | `alert` | TLS alerts by number and name |
//! | `ask` | questions before TLS starts, and what is chosen |
//! | `bytes` | base64, hashes, ALPN names |
//! | `identity` | names, pins, trust, access rules, what matched |
//! | `start` | addresses, where to connect, timeouts, exporter values |
//! | `would` | what an ordinary session would have come to |
//!
//! Nothing here knows which key a value belongs to; that is `parse` and `rules`.

mod alert;
mod ask;
mod bytes;
mod code;
mod identity;
mod keyword;
mod start;
mod would;

pub use alert::Alert;
pub(crate) use alert::AlertText;
pub use ask::{Action, Ask, AskDefault, RefusalAlert};
pub use bytes::{Alpn, Bytes, Sha256};
pub use code::{Blame, Code, How, Phase};
pub(crate) use identity::is_name;
pub use identity::{Allow, Matched, Pin, ProfileName, ServerName, StoreName, Trust};
pub use keyword::{
    AlpnMismatch, Bind, CertificateType, ClientCertificate, CrlCheck, CrlStale, CrlUnknown, Ech, EchDone,
    ExtendedMasterSecret, FdName, Level, OutboundEnd, Party, Role, Scope, Socket, StapledOcsp, UnknownName,
    Version,
};
pub use start::{Address, ExportRequest, ExportValue, Target};
pub(crate) use start::{ChannelBinding, Millis, TlsExporter};
pub use would::Would;

use crate::write::{Fault, Out};

/// One value as text. Implemented here for every value type; callers only meet it as a bound.
pub trait Value<'a>: Copy {
    /// What a refusal says was expected.
    #[doc(hidden)]
    const EXPECTED: &'static str;

    /// Reads the text behind the `=`, or one word of it. It holds no control character.
    #[doc(hidden)]
    fn read(text: &'a str) -> Option<Self>;

    /// Writes what [`Value::read`] reads.
    #[doc(hidden)]
    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault>;
}

/// A decimal number without sign or leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || (bytes.len() > 1 && bytes.first() == Some(&b'0')) {
        return None;
    }
    bytes.iter().try_fold(0_u64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

macro_rules! number {
    ($($kind:ty: $expected:literal),*) => {$(
        impl Value<'_> for $kind {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                decimal(text).and_then(|number| Self::try_from(number).ok())
            }

            fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
                out.decimal(u64::from(*self))
            }
        }
    )*};
}

number!(
    u64: "a decimal number below 2^64, without sign or leading zero",
    u32: "a decimal number below 2^32, without sign or leading zero",
    u16: "a decimal number below 2^16, without sign or leading zero"
);

impl Value<'_> for bool {
    const EXPECTED: &'static str = "yes or no";

    fn read(text: &str) -> Option<Self> {
        match text {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        }
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.push(if *self { b"yes" } else { b"no" })
    }
}

impl<'a> Value<'a> for &'a str {
    const EXPECTED: &'static str = "a text that is not empty";

    fn read(text: &'a str) -> Option<Self> {
        (!text.is_empty()).then_some(text)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.push(self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_spelling() {
        assert_eq!(decimal("18446744073709551615"), Some(u64::MAX));
        assert_eq!(decimal("0"), Some(0));
        for bad in ["", "+1", "-1", "01", "00", "1 ", "18446744073709551616", "0x1", "1e3", "١"] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
        assert_eq!(<u16 as Value>::read("65536"), None);
    }
}
