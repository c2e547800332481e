//! Every error of rustls in the protocol's codes and in sentences.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible};
use tlsify_protocol::{Blame, Code};

use super::away;
use super::names::{alert_code, alert_name};
use super::presented::Seconds;

/// What an error means: code, who must act, and a sentence.
pub(super) fn explain(error: &Error) -> (Code, Blame, String) {
    use Blame::{Daemon, Peer};
    if let Some(unsigned) = away::reason(error) {
        return (unsigned.code(), unsigned.blame(), unsigned.to_string());
    }
    let (code, blame, text) = match error {
        Error::InvalidCertificate(reason) => {
            let (code, text) = explain_certificate(reason);
            return (code, code.blame(), text);
        }
        Error::PeerIncompatible(reason) => return explain_incompatible(reason),
        // The first byte of a record is not one of TLS, or its version is none: not TLS at all.
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        ) => (
            Code::NotTls,
            Peer,
            "what the peer sent is not TLS, does it expect plain text on this port?".to_owned(),
        ),
        Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        ) => (
            Code::ProtocolViolation,
            Peer,
            "the peer sent a message of more than 64 KiB in the handshake, are its certificates that many?"
                .to_owned(),
        ),
        Error::InvalidMessage(reason) => {
            (Code::ProtocolViolation, Peer, format!("the peer sent a malformed message: {}", words(reason)))
        }
        Error::InappropriateMessage { got_type, .. } => {
            (Code::ProtocolViolation, Peer, format!("the peer sent {} at the wrong time", words(got_type)))
        }
        Error::InappropriateHandshakeMessage { got_type, .. } => {
            (Code::ProtocolViolation, Peer, format!("the peer sent {} at the wrong time", words(got_type)))
        }
        Error::PeerMisbehaved(reason) => {
            (Code::ProtocolViolation, Peer, format!("the peer broke the protocol: {}", words(reason)))
        }
        Error::DecryptError => (
            Code::ProtocolViolation,
            Peer,
            "a record or message from the peer does not decrypt or verify".to_owned(),
        ),
        Error::PeerSentOversizedRecord => (
            Code::ProtocolViolation,
            Peer,
            "the peer sent a record that is longer than TLS allows".to_owned(),
        ),
        Error::NoCertificatesPresented => {
            (Code::CertificateMissing, Peer, "the peer sent no certificate, and one is required".to_owned())
        }
        Error::UnsupportedNameType => (
            Code::BadCertificate,
            Peer,
            "peer's certificate has a name of a kind that cannot be checked".to_owned(),
        ),
        Error::NoApplicationProtocol => (
            Code::NoSharedAlpn,
            Peer,
            "the peer speaks none of the application protocols that are served".to_owned(),
        ),
        Error::InvalidCertRevocationList(_) => (
            Code::CrlInvalid,
            Blame::Caller,
            "a revocation list in the name of one of the peer's authorities is not signed by it".to_owned(),
        ),
        Error::AlertReceived(alert) => (Code::AlertReceived, Peer, describe_alert(*alert)),
        Error::FailedToGetCurrentTime => (Code::Internal, Daemon, "the host has no usable clock".to_owned()),
        Error::FailedToGetRandomBytes => (Code::Internal, Daemon, "the host gave no random bytes".to_owned()),
        // TLS 1.3 goes on with a new key; nothing else fails to encrypt.
        Error::EncryptError => (
            Code::KeysExhausted,
            Blame::Caller,
            "the key of this session has encrypted as much as it safely can, and TLS 1.2 has no way to a new one"
                .to_owned(),
        ),
        // Errors of configuration and of the cryptography provider: parameters were checked before, so these
        // are ours. Display of the last ones is the provider's own and holds no secret.
        Error::HandshakeNotComplete
        | Error::BadMaxFragmentSize
        | Error::InconsistentKeys(_)
        | Error::InvalidEncryptedClientHello(_)
        | Error::General(_)
        | Error::Other(_) => (Code::Internal, Daemon, format!("the TLS engine failed: {error}")),
        other => (Code::Internal, Daemon, format!("the TLS engine failed in an unknown way: {other}")),
    };
    (code, blame, text)
}

/// A fatal alert of the peer, with what it usually means.
pub(super) fn describe_alert(alert: AlertDescription) -> String {
    let number = alert_code(alert);
    let hint = match alert {
        AlertDescription::CertificateRequired => ", it wants a client certificate",
        AlertDescription::UnrecognisedName => ", it does not know the server_name",
        AlertDescription::NoApplicationProtocol => ", it speaks none of the application protocols",
        AlertDescription::ProtocolVersion => ", it does not speak this version of TLS",
        AlertDescription::UnknownCA => ", it does not know who issued our certificate",
        AlertDescription::CertificateExpired => ", it finds our certificate expired",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown => ", it does not accept our certificate",
        AlertDescription::HandshakeFailure => {
            ", it finds no parameters in common, or wants a client certificate or a raw public key"
        }
        _ => "",
    };
    format!("the peer sent alert {number} ({}){hint}", alert_name(number))
}

fn explain_certificate(reason: &CertificateError) -> (Code, String) {
    use CertificateError as E;
    match reason {
        E::UnknownIssuer => (
            Code::UnknownIssuer,
            "peer's certificate is not issued by a trusted authority, to trust this peer alone pin its spki-sha256"
                .to_owned(),
        ),
        E::Expired => (Code::CertificateExpired, "peer's certificate has expired".to_owned()),
        E::ExpiredContext { time, not_after } => (
            Code::CertificateExpired,
            format!("peer's certificate expired {} ago", span(time.as_secs(), not_after.as_secs())),
        ),
        E::NotValidYet => (Code::CertificateNotYetValid, "peer's certificate is not valid yet".to_owned()),
        E::NotValidYetContext { time, not_before } => (
            Code::CertificateNotYetValid,
            format!(
                "peer's certificate becomes valid in {}, is this host's clock right?",
                span(not_before.as_secs(), time.as_secs())
            ),
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => (
            Code::CertificatePurpose,
            "peer's certificate is not meant for this: its extended key usage does not cover this role in TLS"
                .to_owned(),
        ),
        E::Revoked => (Code::CertificateRevoked, "peer's certificate has been revoked".to_owned()),
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            (Code::NameMismatch, "peer's certificate is not valid for the wanted name".to_owned())
        }
        E::ApplicationVerificationFailure => (Code::NotAllowed, "peer's certificate is not let in".to_owned()),
        E::BadSignature => (
            Code::KeyUnproven,
            "the peer does not prove that it has the key that it shows: its signature of the handshake does not verify"
                .to_owned(),
        ),
        // Of a handshake: in a chain it is another issuer, and told as that.
        E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            Code::KeyUnproven,
            "the peer does not prove that it has the key that it shows: it signs the handshake with another kind of key"
                .to_owned(),
        ),
        E::UnsupportedSignatureAlgorithmContext { .. } => (
            Code::BadCertificate,
            "peer's certificates are signed with an algorithm that is not supported".to_owned(),
        ),
        E::BadEncoding => (Code::BadCertificate, "peer's certificate is not correctly encoded".to_owned()),
        E::UnhandledCriticalExtension => {
            (Code::BadCertificate, "peer's certificate has a critical extension that is not understood".to_owned())
        }
        E::UnknownRevocationStatus => (
            Code::RevocationUnknown,
            "no revocation list covers each of the peer's certificates, add those of its authorities, check the end entity \
             alone (crl-check) or allow it (crl-unknown)"
                .to_owned(),
        ),
        E::ExpiredRevocationListContext { time, next_update } => (
            Code::RevocationStale,
            format!(
                "a revocation list of the peer's authorities should have been replaced {} ago, fetch the new one",
                span(time.as_secs(), next_update.as_secs())
            ),
        ),
        E::ExpiredRevocationList => {
            (Code::RevocationStale, "a revocation list of the peer's authorities is too old, fetch the new one".to_owned())
        }
        E::InvalidOcspResponse => (Code::BadCertificate, "the stapled OCSP response is not valid".to_owned()),
        E::Other(reason) => explain_webpki(reason),
        other => (Code::BadCertificate, format!("peer's certificate is not valid: {other}")),
    }
}

/// What webpki finds wrong and rustls has no words for.
fn explain_webpki(reason: &OtherError) -> (Code, String) {
    use webpki::Error as E;
    let text = match reason.0.downcast_ref::<E>() {
        Some(
            E::IssuerNotCrlSigner
            | E::InvalidCrlSignatureForPublicKey
            | E::UnsupportedCrlSignatureAlgorithmContext(_)
            | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_),
        ) => {
            let text = "a revocation list in the name of one of the peer's authorities is not signed by it";
            return (Code::CrlInvalid, text.to_owned());
        }
        Some(E::CaUsedAsEndEntity) => {
            "peer's certificate is a certificate authority's own and cannot be a peer's, pin it to trust it"
                .to_owned()
        }
        Some(E::UnsupportedCriticalExtension) => {
            "peer's certificate has a critical extension that is not understood".to_owned()
        }
        Some(E::UnsupportedCertVersion) => "peer's certificate is not X.509 version 3".to_owned(),
        Some(E::NameConstraintViolation) => {
            "peer's certificate has a name that its issuer may not vouch for".to_owned()
        }
        Some(E::EndEntityUsedAsCa) => {
            "peer's certificate was issued by one that may not issue any".to_owned()
        }
        Some(E::PathLenConstraintViolated) => {
            "peer's certificate chain is longer than its authority allows".to_owned()
        }
        Some(
            E::MaximumPathBuildCallsExceeded
            | E::MaximumPathDepthExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded,
        ) => "peer's certificates would cost too much to check".to_owned(),
        _ => format!("peer's certificate is not valid: {}", words(&reason.0)),
    };
    (Code::BadCertificate, text)
}

fn explain_incompatible(reason: &PeerIncompatible) -> (Code, Blame, String) {
    use PeerIncompatible as P;
    let (code, text) = match reason {
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::Tls13RequiredForQuic => {
            (Code::NoSharedVersion, "the peer speaks no version of TLS that is allowed here".to_owned())
        }
        P::NoCipherSuitesInCommon => {
            (Code::NoSharedParameters, "the peer has no cipher suite that is allowed here".to_owned())
        }
        P::NoKxGroupsInCommon => {
            (Code::NoSharedParameters, "the peer has no key-exchange group that is allowed here".to_owned())
        }
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => (
            Code::NoSharedParameters,
            "the peer verifies no signature scheme that our key and signature-schemes allow".to_owned(),
        ),
        P::ExtendedMasterSecretExtensionRequired => (
            Code::NoSharedParameters,
            "the peer does not do extended master secret (RFC 7627), which is required".to_owned(),
        ),
        P::IncorrectCertificateTypeExtension | P::UnsolicitedCertificateTypeExtension => (
            Code::NoSharedParameters,
            "a raw public key is what one side shows or wants to see (RFC 7250), and the other side does not do that"
                .to_owned(),
        ),
        P::EcPointsExtensionRequired
        | P::KeyShareExtensionRequired
        | P::NamedGroupsExtensionRequired
        | P::NoEcPointFormatsInCommon
        | P::NullCompressionRequired
        | P::SignatureAlgorithmsExtensionRequired
        | P::UncompressedEcPointsRequired
        | P::ServerSentHelloRetryRequestWithUnknownExtension => {
            (Code::NoSharedParameters, format!("the peer cannot do what is needed here: {}", words(reason)))
        }
        // Its content is a configuration of the peer's, not a reason.
        P::ServerRejectedEncryptedClientHello(_) => {
            (Code::EchRejected, "the peer rejected the encrypted ClientHello".to_owned())
        }
        other => {
            (Code::NoSharedParameters, format!("the peer cannot do what is needed here: {}", words(other)))
        }
    };
    (code, Blame::Peer, text)
}

/// The alert that rustls 0.23 sends with an error, where the error alone decides it.
pub(super) fn our_alert(error: &Error) -> Option<AlertDescription> {
    use PeerIncompatible as P;
    Some(match error {
        // rustls says none; the session does (`session/alert.rs`).
        error if away::reason(error).is_some() => AlertDescription::InternalError,
        Error::InvalidCertificate(reason) => reason.clone().into(),
        Error::InvalidMessage(reason) => (*reason).into(),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
        Error::InvalidCertRevocationList(_) => AlertDescription::HandshakeFailure,
        Error::NoCertificatesPresented => AlertDescription::CertificateRequired,
        Error::PeerIncompatible(
            P::SupportedVersionsExtensionRequired
            | P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig,
        ) => AlertDescription::ProtocolVersion,
        Error::PeerIncompatible(
            P::NoCipherSuitesInCommon
            | P::NoKxGroupsInCommon
            | P::NoSignatureSchemesInCommon
            | P::ExtendedMasterSecretExtensionRequired
            | P::IncorrectCertificateTypeExtension
            | P::SignatureAlgorithmsExtensionRequired,
        ) => AlertDescription::HandshakeFailure,
        Error::PeerIncompatible(P::ServerRejectedEncryptedClientHello(_)) => {
            AlertDescription::EncryptedClientHelloRequired
        }
        _ => return None,
    })
}

/// rustls and webpki name reasons in CamelCase: `MissingKeyShare` becomes `missing key share`.
fn words(reason: &impl core::fmt::Debug) -> String {
    let camel = format!("{reason:?}");
    let mut text = String::with_capacity(camel.len() + 8);
    for c in camel.chars().take(100) {
        if c.is_ascii_uppercase() && text.ends_with(|last: char| last.is_ascii_lowercase()) {
            text.push(' ');
        }
        text.extend(if c.is_control() { '?' } else { c }.to_lowercase());
    }
    text
}

/// How long from `earlier` to `later`, in the largest unit that fits.
fn span(later: Seconds, earlier: Seconds) -> String {
    let seconds = later.saturating_sub(earlier);
    let (count, unit) = match seconds {
        172_800.. => (seconds / 86_400, "days"),
        7_200.. => (seconds / 3_600, "hours"),
        120.. => (seconds / 60, "minutes"),
        _ => (seconds, "seconds"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_told_in_a_fitting_unit() {
        assert_eq!(span(1_000, 990), "10 seconds");
        assert_eq!(span(86_400 * 3, 0), "3 days");
        assert_eq!(span(0, 10), "0 seconds");
    }

    #[test]
    fn words_of_an_engine_become_words_of_people() {
        assert_eq!(words(&PeerIncompatible::KeyShareExtensionRequired), "key share extension required");
        assert_eq!(words(&"a\nb"), "\"a\\nb\"");
    }
}
