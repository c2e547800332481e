//! Why a session failed: a code for machines, who must act, a sentence for people, the alert on the wire.
//!
//! Every error of rustls ends here. Our own refusals come first ([`Verdict`]), because rustls sees them as
//! generic ones.

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};

use super::code::{Blame, Code};
use super::names::{alert_code, alert_name};
use super::presented::Seconds;
use super::spec::SpecError;
use super::witness::{Presented, Verdict, Witness};

/// Who sent an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The far TLS endpoint.
    Peer,
    /// We.
    Us,
}

/// Why a session could not be opened, or broke.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The protocol's code.
    pub code: Code,
    /// Who must act.
    pub blame: Blame,
    /// Lower case, no full stop, printable, without secrets.
    pub text: String,
    /// The fatal alert: its number and who sent it. Our own is told from what rustls does; `None` where that
    /// depends on more than the error.
    pub alert: Option<(u8, Party)>,
}

impl Failure {
    /// Explains an error of rustls, with what the session's witness knows.
    pub fn from_rustls(error: &Error, witness: &Witness) -> Self {
        if let Error::AlertReceived(alert) = error {
            return received(*alert);
        }
        if let Some(verdict) = &witness.seen().verdict {
            return refused(verdict);
        }
        let (code, blame, text) = explain(error);
        Self {
            code,
            blame,
            text,
            alert: our_alert(error).map(|alert| (alert_code(alert), Party::Us)),
        }
    }

    /// The peers have no application protocol in common, and that was to be refused. The alert is set: send
    /// no_application_protocol.
    pub fn no_shared_alpn() -> Self {
        let alert = Some((
            alert_code(AlertDescription::NoApplicationProtocol),
            Party::Us,
        ));
        let text = "the peer speaks none of the application protocols that were offered".to_owned();
        Self {
            code: Code::NoSharedAlpn,
            blame: Blame::Peer,
            text,
            alert,
        }
    }

    pub(super) fn no_system_roots(blame: Blame) -> Self {
        let text = "the host has no usable pool of certificate authorities, install one (ca-certificates) or \
                    name another trust"
            .to_owned();
        Self {
            code: Code::TrustUnusable,
            blame,
            text,
            alert: None,
        }
    }

    pub(super) fn spec(error: &SpecError, blame: Blame) -> Self {
        Self {
            code: error.code(),
            blame,
            text: error.to_string(),
            alert: None,
        }
    }
}

fn received(alert: AlertDescription) -> Failure {
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
            ", it finds no parameters in common, or wants a client certificate"
        }
        _ => "",
    };
    let text = format!(
        "the peer ended the handshake with alert {number} ({}){hint}",
        alert_name(number)
    );
    Failure {
        code: Code::AlertReceived,
        blame: Blame::Peer,
        text,
        alert: Some((number, Party::Peer)),
    }
}

fn refused(verdict: &Verdict) -> Failure {
    let (code, alert, text) = match verdict {
        Verdict::UnknownServerName(name) => (
            Code::UnknownServerName,
            AlertDescription::UnrecognisedName,
            match name.as_str() {
                "" => "the peer sent no server_name, and no identity is for that".to_owned(),
                name => {
                    format!("the peer asked for \"{name}\", and no identity here has that name")
                }
            },
        ),
        Verdict::NameMismatch { wanted, presented } => (
            Code::NameMismatch,
            AlertDescription::BadCertificate,
            format!(
                "peer's certificate is not valid for {}: {}",
                quoted(wanted),
                naming(presented)
            ),
        ),
        Verdict::PinMismatch { pins: 1 } => (
            Code::PinMismatch,
            AlertDescription::CertificateUnknown,
            "peer's certificate is not the pinned one".to_owned(),
        ),
        Verdict::PinMismatch { pins } => (
            Code::PinMismatch,
            AlertDescription::CertificateUnknown,
            format!("peer's certificate is none of the {pins} pinned ones"),
        ),
        Verdict::NotAllowed { presented } => (
            Code::NotAllowed,
            AlertDescription::AccessDenied,
            format!(
                "peer's certificate is valid, but no allow rule lets it in: {}",
                naming(presented)
            ),
        ),
    };
    Failure {
        code,
        blame: Blame::Peer,
        text,
        alert: Some((alert_code(alert), Party::Us)),
    }
}

fn explain(error: &Error) -> (Code, Blame, String) {
    use Blame::{Daemon, Peer};
    let (code, blame, text) = match error {
        Error::InvalidCertificate(reason) => {
            let (code, text) = explain_certificate(reason);
            return (code, Peer, text);
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
        Error::InvalidMessage(reason) => (
            Code::ProtocolViolation,
            Peer,
            format!("the peer sent a malformed message: {}", words(reason)),
        ),
        Error::InappropriateMessage { got_type, .. } => (
            Code::ProtocolViolation,
            Peer,
            format!("the peer sent {} at the wrong time", words(got_type)),
        ),
        Error::InappropriateHandshakeMessage { got_type, .. } => (
            Code::ProtocolViolation,
            Peer,
            format!("the peer sent {} at the wrong time", words(got_type)),
        ),
        Error::PeerMisbehaved(reason) => (
            Code::ProtocolViolation,
            Peer,
            format!("the peer broke the protocol: {}", words(reason)),
        ),
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
        Error::NoCertificatesPresented => (
            Code::CertificateMissing,
            Peer,
            "the peer sent no certificate, and one is required".to_owned(),
        ),
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
            Code::TrustUnusable,
            Blame::Operator,
            "a certificate revocation list is not usable".to_owned(),
        ),
        Error::AlertReceived(alert) => {
            let failure = received(*alert);
            (failure.code, failure.blame, failure.text)
        }
        Error::FailedToGetCurrentTime => (
            Code::Internal,
            Daemon,
            "the host has no usable clock".to_owned(),
        ),
        Error::FailedToGetRandomBytes => (
            Code::Internal,
            Daemon,
            "the host gave no random bytes".to_owned(),
        ),
        // Errors of configuration and of the cryptography provider: parameters were checked before, so these
        // are ours. Display of the last ones is the provider's own and holds no secret.
        Error::EncryptError
        | Error::HandshakeNotComplete
        | Error::BadMaxFragmentSize
        | Error::InconsistentKeys(_)
        | Error::InvalidEncryptedClientHello(_)
        | Error::General(_)
        | Error::Other(_) => (
            Code::Internal,
            Daemon,
            format!("the TLS engine failed: {error}"),
        ),
        other => (
            Code::Internal,
            Daemon,
            format!("the TLS engine failed in an unknown way: {other}"),
        ),
    };
    (code, blame, text)
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
            Code::BadCertificate,
            "a signature of the peer or in its certificates does not verify".to_owned(),
        ),
        E::UnsupportedSignatureAlgorithmContext { .. }
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => (
            Code::BadCertificate,
            "peer's certificates are signed with an algorithm that is not supported".to_owned(),
        ),
        E::BadEncoding => (Code::BadCertificate, "peer's certificate is not correctly encoded".to_owned()),
        E::UnhandledCriticalExtension => {
            (Code::BadCertificate, "peer's certificate has a critical extension that is not understood".to_owned())
        }
        E::UnknownRevocationStatus | E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => (
            Code::CertificateRevoked,
            "it cannot be told whether peer's certificate has been revoked".to_owned(),
        ),
        E::InvalidOcspResponse => (Code::BadCertificate, "the stapled OCSP response is not valid".to_owned()),
        E::Other(reason) => (Code::BadCertificate, explain_webpki(reason)),
        other => (Code::BadCertificate, format!("peer's certificate is not valid: {other}")),
    }
}

/// What webpki finds wrong and rustls has no words for.
fn explain_webpki(reason: &OtherError) -> String {
    use webpki::Error as E;
    match reason.0.downcast_ref::<E>() {
        Some(E::CaUsedAsEndEntity) => {
            "peer's certificate is a certificate authority's own and cannot be a peer's, pin it to trust it".to_owned()
        }
        Some(E::UnsupportedCertVersion) => "peer's certificate is not X.509 version 3".to_owned(),
        Some(E::NameConstraintViolation) => "peer's certificate has a name that its issuer may not vouch for".to_owned(),
        Some(E::EndEntityUsedAsCa) => "peer's certificate was issued by one that may not issue any".to_owned(),
        Some(E::PathLenConstraintViolated) => "peer's certificate chain is longer than its authority allows".to_owned(),
        Some(
            E::MaximumPathBuildCallsExceeded
            | E::MaximumPathDepthExceeded
            | E::MaximumSignatureChecksExceeded
            | E::MaximumNameConstraintComparisonsExceeded,
        ) => "peer's certificates would cost too much to check".to_owned(),
        _ => format!("peer's certificate is not valid: {}", words(&reason.0)),
    }
}

fn explain_incompatible(reason: &PeerIncompatible) -> (Code, Blame, String) {
    use PeerIncompatible as P;
    let (code, text) = match reason {
        P::ServerDoesNotSupportTls12Or13
        | P::ServerTlsVersionIsDisabledByOurConfig
        | P::SupportedVersionsExtensionRequired
        | P::Tls12NotOffered
        | P::Tls12NotOfferedOrEnabled
        | P::Tls13RequiredForQuic => (
            Code::NoSharedVersion,
            "the peer speaks no version of TLS that is allowed here".to_owned(),
        ),
        P::NoCipherSuitesInCommon => (
            Code::NoSharedParameters,
            "the peer has no cipher suite that is allowed here".to_owned(),
        ),
        P::NoKxGroupsInCommon => (
            Code::NoSharedParameters,
            "the peer has no key-exchange group that is allowed here".to_owned(),
        ),
        P::NoSignatureSchemesInCommon | P::NoCertificateRequestSignatureSchemesInCommon => (
            Code::NoSharedParameters,
            "the peer verifies no signature scheme that our key and signature-schemes allow"
                .to_owned(),
        ),
        P::ExtendedMasterSecretExtensionRequired => (
            Code::NoSharedParameters,
            "the peer does not do extended master secret (RFC 7627), which is required".to_owned(),
        ),
        P::EcPointsExtensionRequired
        | P::IncorrectCertificateTypeExtension
        | P::KeyShareExtensionRequired
        | P::NamedGroupsExtensionRequired
        | P::NoEcPointFormatsInCommon
        | P::NullCompressionRequired
        | P::SignatureAlgorithmsExtensionRequired
        | P::UncompressedEcPointsRequired
        | P::UnsolicitedCertificateTypeExtension
        | P::ServerSentHelloRetryRequestWithUnknownExtension => (
            Code::NoSharedParameters,
            format!("the peer cannot do what is needed here: {}", words(reason)),
        ),
        // Its content is a configuration of the peer's, not a reason.
        P::ServerRejectedEncryptedClientHello(_) => (
            Code::NoSharedParameters,
            "the peer rejected the encrypted ClientHello".to_owned(),
        ),
        other => (
            Code::NoSharedParameters,
            format!("the peer cannot do what is needed here: {}", words(other)),
        ),
    };
    (code, Blame::Peer, text)
}

/// The alert that rustls 0.23 sends with an error, where the error alone decides it.
fn our_alert(error: &Error) -> Option<AlertDescription> {
    use PeerIncompatible as P;
    Some(match error {
        Error::InvalidCertificate(reason) => reason.clone().into(),
        Error::InvalidMessage(reason) => (*reason).into(),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            AlertDescription::UnexpectedMessage
        }
        Error::PeerSentOversizedRecord => AlertDescription::RecordOverflow,
        Error::NoApplicationProtocol => AlertDescription::NoApplicationProtocol,
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
            | P::SignatureAlgorithmsExtensionRequired,
        ) => AlertDescription::HandshakeFailure,
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

fn quoted(names: &[String]) -> String {
    names
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(" or ")
}

fn naming(presented: &Presented) -> String {
    match (&presented.names[..], &presented.common_name) {
        ([], None) => "it names nobody".to_owned(),
        ([], Some(name)) => format!(
            "it has only a common name, \"{name}\", which is not checked (RFC 9525): it needs a subjectAltName"
        ),
        (names, _) if presented.more == 0 => format!("it names {}", names.join(", ")),
        (names, _) => format!("it names {} and {} more", names.join(", "), presented.more),
    }
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
    use rustls::PeerMisbehaved;

    use super::*;

    fn failure(error: Error) -> Failure {
        Failure::from_rustls(&error, &Witness::default())
    }

    #[test]
    fn http_on_the_port_is_named_as_such() {
        let failure = failure(InvalidMessage::InvalidContentType.into());
        assert_eq!((failure.code, failure.blame), (Code::NotTls, Blame::Peer));
    }

    #[test]
    fn the_peers_alert_is_told_with_number_and_name() {
        let failure = failure(Error::AlertReceived(AlertDescription::CertificateRequired));
        assert_eq!(failure.alert, Some((116, Party::Peer)));
        assert!(
            failure
                .text
                .contains("116 (certificate_required), it wants a client certificate"),
            "{failure}"
        );
    }

    #[test]
    fn a_sentence_has_no_camels_and_no_control_characters() {
        let failure = failure(PeerMisbehaved::MissingKeyShare.into());
        assert_eq!(
            failure.text,
            "the peer broke the protocol: missing key share"
        );
        assert_eq!(words(&"a\nb"), "\"a\\nb\"");
    }

    #[test]
    fn our_own_reason_wins_over_the_generic_one() {
        let witness = Witness::default();
        witness.refuse(Verdict::UnknownServerName("c.example".into()));
        let failure = Failure::from_rustls(
            &Error::General("no server certificate chain resolved".into()),
            &witness,
        );
        assert_eq!(
            (failure.code, failure.alert),
            (Code::UnknownServerName, Some((112, Party::Us)))
        );
    }

    #[test]
    fn ages_are_told_in_a_fitting_unit() {
        assert_eq!(span(1_000, 990), "10 seconds");
        assert_eq!(span(86_400 * 3, 0), "3 days");
        assert_eq!(span(0, 10), "0 seconds");
    }

    #[test]
    fn many_names_are_cut_short() {
        let presented = Presented {
            names: vec!["a".into(), "b".into()],
            more: 7,
            common_name: None,
        };
        assert_eq!(naming(&presented), "it names a, b and 7 more");
    }
}
