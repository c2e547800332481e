//! IANA's names for what a handshake negotiates, both ways.
//!
//! Names are read in any letter case and written exactly as in the registries "TLS Cipher Suites",
//! "TLS Supported Groups" and "TLS SignatureScheme". Only what the cryptography provider can do
//! is listed: an unlisted name cannot be asked for.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::{
    AlertDescription, CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme, SupportedCipherSuite,
};
use tlsify_protocol::{Alert, Party};

/// The name of a cipher suite, such as `TLS_AES_128_GCM_SHA256`.
pub fn cipher_suite_name(suite: CipherSuite) -> &'static str {
    name_of(CIPHER_SUITES, suite)
}

/// The name of a key-exchange group, such as `X25519MLKEM768` or `x25519`.
pub fn group_name(group: NamedGroup) -> &'static str {
    name_of(GROUPS, group)
}

/// The name of a signature scheme, such as `ecdsa_secp256r1_sha256`.
pub fn signature_scheme_name(scheme: SignatureScheme) -> &'static str {
    name_of(SIGNATURE_SCHEMES, scheme)
}

/// `TLSv1.2` or `TLSv1.3`.
pub fn protocol_version_name(version: ProtocolVersion) -> &'static str {
    match version {
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        _ => UNKNOWN,
    }
}

/// The number of an alert on the wire (RFC 9846 section 6, formerly RFC 8446 section 6).
pub fn alert_code(alert: AlertDescription) -> u8 {
    alert.into()
}

/// The registry's name of an alert, such as `unrecognized_name`.
pub fn alert_name(alert: u8) -> &'static str {
    Alert { description: alert, from: Party::Us }.name()
}

pub(super) fn cipher_suite(name: &str) -> Option<SupportedCipherSuite> {
    let suite = by_name(CIPHER_SUITES, name)?;
    ALL_CIPHER_SUITES.iter().copied().find(|candidate| candidate.suite() == suite)
}

pub(super) fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    let group = by_name(GROUPS, name)?;
    ALL_KX_GROUPS.iter().copied().find(|candidate| candidate.name() == group)
}

pub(super) fn signature_scheme(name: &str) -> Option<SignatureScheme> {
    by_name(SIGNATURE_SCHEMES, name)
}

/// Whether TLS 1.3 handshakes may be signed with it: PKCS#1 v1.5 may not (RFC 9846 section 4.3.3, formerly
/// RFC 8446 section 4.2.3).
pub(super) fn scheme_in_tls13(scheme: SignatureScheme) -> bool {
    !matches!(
        scheme,
        SignatureScheme::RSA_PKCS1_SHA256
            | SignatureScheme::RSA_PKCS1_SHA384
            | SignatureScheme::RSA_PKCS1_SHA512
    )
}

/// Whether TLS 1.2 handshakes may be signed with it: ML-DSA is for TLS 1.3 alone.
pub(super) fn scheme_in_tls12(scheme: SignatureScheme) -> bool {
    !matches!(scheme, SignatureScheme::ML_DSA_44 | SignatureScheme::ML_DSA_65 | SignatureScheme::ML_DSA_87)
}

/// The names that could have been meant, for errors.
pub(super) fn all_names(kind: Kind) -> String {
    match kind {
        Kind::CipherSuite => join(CIPHER_SUITES),
        Kind::Group => join(GROUPS),
        Kind::SignatureScheme => join(SIGNATURE_SCHEMES),
    }
}

/// Which registry a name is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    CipherSuite,
    Group,
    SignatureScheme,
}

const UNKNOWN: &str = "unknown";

const CIPHER_SUITES: &[(CipherSuite, &str)] = &[
    (CipherSuite::TLS13_AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
    (CipherSuite::TLS13_AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
    (CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
    (CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    (
        CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    ),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    (CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
];

const GROUPS: &[(NamedGroup, &str)] = &[
    (NamedGroup::X25519MLKEM768, "X25519MLKEM768"),
    (NamedGroup::secp256r1MLKEM768, "SecP256r1MLKEM768"),
    (NamedGroup::X25519, "x25519"),
    (NamedGroup::secp256r1, "secp256r1"),
    (NamedGroup::secp384r1, "secp384r1"),
    (NamedGroup::MLKEM768, "MLKEM768"),
    (NamedGroup::MLKEM1024, "MLKEM1024"),
];

const SIGNATURE_SCHEMES: &[(SignatureScheme, &str)] = &[
    (SignatureScheme::ECDSA_NISTP384_SHA384, "ecdsa_secp384r1_sha384"),
    (SignatureScheme::ECDSA_NISTP256_SHA256, "ecdsa_secp256r1_sha256"),
    (SignatureScheme::ECDSA_NISTP521_SHA512, "ecdsa_secp521r1_sha512"),
    (SignatureScheme::ED25519, "ed25519"),
    (SignatureScheme::RSA_PSS_SHA512, "rsa_pss_rsae_sha512"),
    (SignatureScheme::RSA_PSS_SHA384, "rsa_pss_rsae_sha384"),
    (SignatureScheme::RSA_PSS_SHA256, "rsa_pss_rsae_sha256"),
    (SignatureScheme::RSA_PKCS1_SHA512, "rsa_pkcs1_sha512"),
    (SignatureScheme::RSA_PKCS1_SHA384, "rsa_pkcs1_sha384"),
    (SignatureScheme::RSA_PKCS1_SHA256, "rsa_pkcs1_sha256"),
    (SignatureScheme::ML_DSA_44, "mldsa44"),
    (SignatureScheme::ML_DSA_65, "mldsa65"),
    (SignatureScheme::ML_DSA_87, "mldsa87"),
];

fn name_of<T: PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    table.iter().find(|(candidate, _)| *candidate == value).map_or(UNKNOWN, |(_, name)| name)
}

fn by_name<T: Copy>(table: &[(T, &'static str)], name: &str) -> Option<T> {
    table.iter().find(|(_, candidate)| candidate.eq_ignore_ascii_case(name)).map(|(value, _)| *value)
}

fn join<T>(table: &[(T, &'static str)]) -> String {
    table.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_provider_negotiates_has_a_name() {
        for suite in ALL_CIPHER_SUITES {
            let name = cipher_suite_name(suite.suite());
            assert_eq!(cipher_suite(name).map(|suite| suite.suite()), Some(suite.suite()), "{name}");
        }
        for group in ALL_KX_GROUPS {
            let name = group_name(group.name());
            assert_eq!(super::group(name).map(|group| group.name()), Some(group.name()), "{name}");
        }
        for scheme in super::super::params::provider().signature_verification_algorithms.supported_schemes() {
            let name = signature_scheme_name(scheme);
            assert_eq!(signature_scheme(name), Some(scheme), "{name}");
        }
    }

    #[test]
    fn names_are_read_in_any_letter_case() {
        assert_eq!(group("X25519").map(|group| group.name()), Some(NamedGroup::X25519));
        assert_eq!(signature_scheme("ED25519"), Some(SignatureScheme::ED25519));
    }

    #[test]
    fn alerts_have_their_registered_names() {
        assert_eq!(alert_name(alert_code(AlertDescription::UnrecognisedName)), "unrecognized_name");
        assert_eq!(
            alert_name(alert_code(AlertDescription::NoApplicationProtocol)),
            "no_application_protocol"
        );
    }
}
