//! TLS alerts: a number, and the name that IANA gives it.

use super::{Party, Value, decimal};
use crate::write::{Fault, Out};

/// An alert that was received or sent: `alert` and `alert-from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert {
    /// AlertDescription (RFC 9846 section 6).
    pub description: u8,
    /// Who sent it.
    pub from: Party,
}

impl Alert {
    /// The name in IANA's registry of TLS alerts, reserved ones of old versions with it; `unassigned` for the rest.
    #[must_use]
    pub const fn name(self) -> &'static str {
        name(self.description)
    }
}

const fn name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unassigned",
    }
}

/// The value of `alert`: the number counts, the name is for people, and the sender's registry may be newer than ours.
#[derive(Clone, Copy)]
pub(crate) struct AlertText(pub(crate) u8);

impl Value<'_> for AlertText {
    const EXPECTED: &'static str = "an alert's number and name";

    fn read(text: &str) -> Option<Self> {
        let (number, name) = text.split_once(' ')?;
        let named =
            !name.is_empty() && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        named.then_some(())?;
        u8::try_from(decimal(number)?).ok().map(Self)
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        out.decimal(u64::from(self.0))?;
        out.push(b" ")?;
        out.push(name(self.0).as_bytes())
    }
}
