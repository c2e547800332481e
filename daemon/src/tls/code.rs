//! The codes of `PROTOCOL.md` section 3 that this room can say, until the protocol crate's own are here.

/// A stable code of the protocol; what a caller's program decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // The names are the documentation: each is a row of the protocol's table.
pub enum Code {
    BadValue,
    KeyConflict,
    MissingKey,
    BelowFloor,
    CertificateInvalid,
    KeyInvalid,
    KeyMismatch,
    OcspInvalid,
    TrustUnusable,
    UnknownIssuer,
    CertificateExpired,
    CertificateNotYetValid,
    CertificatePurpose,
    CertificateRevoked,
    BadCertificate,
    NameMismatch,
    PinMismatch,
    NotAllowed,
    CertificateMissing,
    AlertReceived,
    NoSharedVersion,
    NoSharedParameters,
    NoSharedAlpn,
    UnknownServerName,
    NotTls,
    ProtocolViolation,
    Internal,
}

/// Who must act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The far TLS endpoint.
    Peer,
    /// The local program that asked.
    Caller,
    /// Who runs the host and wrote the configuration.
    Operator,
    /// This daemon.
    Daemon,
}

impl Code {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadValue => "bad-value",
            Self::KeyConflict => "key-conflict",
            Self::MissingKey => "missing-key",
            Self::BelowFloor => "below-floor",
            Self::CertificateInvalid => "certificate-invalid",
            Self::KeyInvalid => "key-invalid",
            Self::KeyMismatch => "key-mismatch",
            Self::OcspInvalid => "ocsp-invalid",
            Self::TrustUnusable => "trust-unusable",
            Self::UnknownIssuer => "unknown-issuer",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::CertificatePurpose => "certificate-purpose",
            Self::CertificateRevoked => "certificate-revoked",
            Self::BadCertificate => "bad-certificate",
            Self::NameMismatch => "name-mismatch",
            Self::PinMismatch => "pin-mismatch",
            Self::NotAllowed => "not-allowed",
            Self::CertificateMissing => "certificate-missing",
            Self::AlertReceived => "alert-received",
            Self::NoSharedVersion => "no-shared-version",
            Self::NoSharedParameters => "no-shared-parameters",
            Self::NoSharedAlpn => "no-shared-alpn",
            Self::UnknownServerName => "unknown-server-name",
            Self::NotTls => "not-tls",
            Self::ProtocolViolation => "protocol-violation",
            Self::Internal => "internal",
        }
    }
}
