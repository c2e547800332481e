//! Why a session failed: a code for machines, who must act, a sentence for people, the alert on the wire.
//!
//! Every error of rustls ends here. Our own refusals come first ([`Verdict`]), because rustls sees them as
//! generic ones.

use rustls::{AlertDescription, Error, PeerIncompatible};
use tlsify_protocol::{Blame, Code, Party};

use super::explain::{describe_alert, explain, our_alert};
use super::names::alert_code;
use super::spec::SpecError;
use super::unsigned::Unsigned;
use super::witness::{Presented, Seen, Verdict, Witness};

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
        if let Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(retry)) = error {
            return super::ech::rejected(retry.as_deref(), witness);
        }
        let seen = witness.seen();
        let mut failure = match &seen.verdict {
            Some(verdict) => refused(verdict, seen.raw_key),
            None => Self::explained(error, &seen),
        };
        if let (Some(public), Error::InvalidCertificate(_)) = (&seen.public, error) {
            // What else is known would read as if it were the server that was meant.
            failure.text = format!(
                "the peer rejected the encrypted ClientHello, and does not prove to be \"{public}\" ({}): it may be \
                 anybody on the way",
                failure.code
            );
        }
        failure
    }

    fn explained(error: &Error, seen: &Seen) -> Self {
        // rustls' client says nothing to a server without a certificate; a server has signed by the time it
        // misses the client's.
        let silent = *error == Error::NoCertificatesPresented && seen.signature_scheme.is_none();
        let (code, blame, text) = explain(error);
        let alert = our_alert(error).filter(|_| !silent).map(|alert| (alert_code(alert), Party::Us));
        Self { code, blame, text, alert }
    }

    /// A server chose none of the application protocols that our client offered, and that was to be refused. There
    /// is no alert: RFC 7301 section 3.2 has one for servers only, and rustls sends none for what it finds in order.
    pub fn no_shared_alpn() -> Self {
        let text = "the peer speaks none of the application protocols that were offered".to_owned();
        Self::new(Code::NoSharedAlpn, text)
    }

    /// Whether it is a signature of ours that is missing.
    pub fn is_unsigned(&self) -> bool {
        matches!(
            self.code,
            Code::KeyLocked
                | Code::KeyForgotten
                | Code::KeyUseRefused
                | Code::SignerUnreachable
                | Code::SignerTimeout
                | Code::SignerRefused
                | Code::KeyholderUnavailable
        )
    }

    /// A failure outside TLS, with the blame that goes with the code and no alert.
    pub fn new(code: Code, text: String) -> Self {
        Self { code, blame: code.blame(), text, alert: None }
    }

    /// Something of ours went wrong.
    pub fn internal(text: String) -> Self {
        Self::new(Code::Internal, text)
    }

    pub(super) fn no_system_roots(blame: Blame) -> Self {
        let text =
            "the host has no usable pool of certificate authorities, install one (ca-certificates) or \
                    name another trust"
                .to_owned();
        Self { code: Code::TrustUnusable, blame, text, alert: None }
    }

    pub(super) fn spec(error: &SpecError, blame: Blame) -> Self {
        Self { code: error.code(), blame, text: error.to_string(), alert: None }
    }
}

impl From<Unsigned> for Failure {
    /// Nothing was signed before rustls was asked to.
    fn from(unsigned: Unsigned) -> Self {
        let alert = Some((alert_code(AlertDescription::InternalError), Party::Us));
        Self { code: unsigned.code(), blame: unsigned.blame(), text: unsigned.to_string(), alert }
    }
}

fn received(alert: AlertDescription) -> Failure {
    let alert_from = Some((alert_code(alert), Party::Peer));
    Failure { code: Code::AlertReceived, blame: Blame::Peer, text: describe_alert(alert), alert: alert_from }
}

/// `raw`: what the peer showed is a raw public key.
fn refused(verdict: &Verdict, raw: bool) -> Failure {
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
        Verdict::Unvouched { code, alert, text } => (*code, *alert, text.clone()),
        Verdict::NameMismatch { wanted, presented } => (
            Code::NameMismatch,
            AlertDescription::BadCertificate,
            format!("peer's certificate is not valid for {}: {}", quoted(wanted), naming(presented)),
        ),
        Verdict::PinMismatch { pins } => {
            let shown = if raw { "public key" } else { "certificate" };
            let text = match pins {
                1 => format!("peer's {shown} is not the pinned one"),
                pins => format!("peer's {shown} is none of the {pins} pinned ones"),
            };
            (Code::PinMismatch, AlertDescription::CertificateUnknown, text)
        }
        Verdict::NotAllowed { .. } if raw => (
            Code::NotAllowed,
            AlertDescription::AccessDenied,
            "peer's public key is pinned, but no allow rule lets it in".to_owned(),
        ),
        Verdict::StapleMissing { promised } => (
            Code::StapleMissing,
            AlertDescription::BadCertificateStatusResponse,
            match promised {
                true => "the peer stapled no OCSP response, and its certificate promises one (must-staple)",
                false => "the peer stapled no OCSP response, and one is required",
            }
            .to_owned(),
        ),
        Verdict::StapleInvalid { why } => (
            Code::StapleInvalid,
            AlertDescription::BadCertificateStatusResponse,
            format!(
                "the OCSP response that the peer stapled does not count, and it has to have one that does: {why}"
            ),
        ),
        Verdict::NotAllowed { presented } => (
            Code::NotAllowed,
            AlertDescription::AccessDenied,
            format!("peer's certificate is valid, but no allow rule lets it in: {}", naming(presented)),
        ),
        Verdict::Learned => (
            Code::Learned,
            AlertDescription::AccessDenied,
            "the peer has shown its certificate and proved its key, and nothing was opened".to_owned(),
        ),
        Verdict::KeyUnproven { alert, why } => (
            Code::KeyUnproven,
            *alert,
            format!("the peer has not proved that it has the key of its certificate: {why}"),
        ),
    };
    Failure { code, blame: code.blame(), text, alert: Some((alert_code(alert), Party::Us)) }
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(" or ")
}

pub(super) fn naming(presented: &Presented) -> String {
    match (&presented.names[..], &presented.common_name) {
        ([], None) => "it names nobody".to_owned(),
        ([], Some(name)) => format!(
            "it has only a common name, \"{name}\", which is not checked (RFC 9525): it needs a subjectAltName"
        ),
        (names, _) if presented.more == 0 => format!("it names {}", names.join(", ")),
        (names, _) => format!("it names {} and {} more", names.join(", "), presented.more),
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CertificateError, InvalidMessage, PeerMisbehaved};

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
            failure.text.contains("116 (certificate_required), it wants a client certificate"),
            "{failure}"
        );
    }

    #[test]
    fn a_sentence_has_no_camels_and_no_control_characters() {
        let failure = failure(PeerMisbehaved::MissingKeyShare.into());
        assert_eq!(failure.text, "the peer broke the protocol: missing key share");
    }

    #[test]
    fn our_own_reason_wins_over_the_generic_one() {
        let witness = Witness::default();
        witness.refuse(Verdict::UnknownServerName("c.example".into()));
        let failure =
            Failure::from_rustls(&Error::General("no server certificate chain resolved".into()), &witness);
        assert_eq!((failure.code, failure.alert), (Code::UnknownServerName, Some((112, Party::Us))));
    }

    #[test]
    fn whatever_is_wrong_with_the_public_server_it_is_not_told_of_the_one_that_was_meant() {
        let witness = Witness::default();
        witness.seen().public = Some("public.example".into());
        let text = "peer's certificate has expired".to_owned();
        let (code, alert) = (Code::CertificateExpired, AlertDescription::CertificateExpired);
        witness.refuse(Verdict::Unvouched { code, alert, text });
        let failure = Failure::from_rustls(&CertificateError::Expired.into(), &witness);
        assert_eq!((failure.code, failure.alert), (Code::CertificateExpired, Some((45, Party::Us))));
        assert!(
            failure.text.contains("does not prove to be \"public.example\" (certificate-expired)"),
            "{failure}"
        );
    }

    #[test]
    fn many_names_are_cut_short() {
        let presented = Presented { names: vec!["a".into(), "b".into()], more: 7, common_name: None };
        assert_eq!(naming(&presented), "it names a, b and 7 more");
    }
}
