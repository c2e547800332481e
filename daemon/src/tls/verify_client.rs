//! May this client come in? The verifier of one server session that asks for client certificates.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use webpki::KeyUsage;

use super::chain::Chain;
use super::digest::sha256;
use super::presented::PresentedIds;
use super::reference::parse_dns;
use super::spec::SpecError;
use super::tickets::Fingerprint;
use super::trust::{AllowRule, Match, Pin};
use super::verify_server::{Signatures, check_pins, check_raw_key};
use super::witness::{Presented, Verdict, Witness};

/// What a client has to show.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    /// Clients show raw public keys (RFC 7250): there are pins of keys and no chain.
    pub(super) raw: bool,
    /// `None`: pins stand instead of the chain.
    pub(super) chain: Option<Chain>,
    /// Whether the CertificateRequest names the acceptable authorities. Not for the host's pool and other large
    /// ones: their names are many kilobytes, and every client would get them.
    pub(super) hints: bool,
    pub(super) mandatory: bool,
    pub(super) rules: ClientRules,
    pub(super) signatures: Signatures,
    pub(super) witness: Arc<Witness>,
}

/// Pins and access rules, checked after the chain.
#[derive(Clone, Debug)]
pub(super) struct ClientRules {
    pins: Arc<[Pin]>,
    allow: Arc<[AllowRule]>,
}

impl ClientRules {
    /// Brings the rules into the form that is compared.
    pub(super) fn new(pins: Vec<Pin>, allow: Vec<AllowRule>) -> Result<Self, SpecError> {
        let allow = allow.into_iter().map(normal_form).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { pins: pins.into(), allow: allow.into() })
    }

    /// Of a raw public key there is nothing but the key.
    fn check_raw_key(
        &self,
        spki: &CertificateDer<'_>,
        more: &[CertificateDer<'_>],
        witness: &Witness,
    ) -> Result<(), Error> {
        check_raw_key(&self.pins, spki, more, witness)?;
        let hash = sha256(spki);
        let lets_in =
            |rule: &&AllowRule| matches!(rule, AllowRule::Pin(Pin::Spki(allowed)) if *allowed == hash);
        match self.allow.iter().find(lets_in) {
            Some(rule) => witness.note_match(Match::Allow(rule.clone())),
            None if self.allow.is_empty() => {}
            None => return Err(not_allowed(Presented::default(), witness)),
        }
        Ok(())
    }

    /// All of them: a ticket is good where they are the same.
    pub(super) fn add_to(&self, print: &mut Fingerprint) {
        print.list(self.pins.iter().map(|pin| pin.to_field()));
        print.list(self.allow.iter().map(|rule| match rule {
            AllowRule::Pin(pin) => pin.to_field(),
            AllowRule::Dns(name) => format!("dns:{name}").into_bytes(),
            AllowRule::Uri(uri) => format!("uri:{uri}").into_bytes(),
            AllowRule::Mail(mail) => format!("mail:{mail}").into_bytes(),
        }));
    }

    fn check(
        &self,
        parsed: &ParsedCertificate<'_>,
        end_entity: &CertificateDer<'_>,
        witness: &Witness,
    ) -> Result<(), Error> {
        if !self.pins.is_empty() {
            check_pins(&self.pins, parsed, end_entity, witness)?;
        }
        if self.allow.is_empty() {
            return Ok(());
        }
        let ids = PresentedIds::read(end_entity).unwrap_or_default();
        let (spki, certificate) = (sha256(&parsed.subject_public_key_info()), sha256(end_entity));
        let lets_in = |rule: &&AllowRule| match rule {
            AllowRule::Pin(pin) => pin.matches(&spki, &certificate),
            AllowRule::Dns(pattern) => ids.dns.iter().any(|name| dns_matches(pattern, name)),
            AllowRule::Uri(uri) => ids.uris.contains(uri),
            AllowRule::Mail(mail) => ids.mails.iter().any(|presented| mail_matches(mail, presented)),
        };
        match self.allow.iter().find(lets_in) {
            Some(rule) => {
                witness.note_match(Match::Allow(rule.clone()));
                Ok(())
            }
            None => Err(not_allowed(ids.summary(), witness)),
        }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        match &self.chain {
            Some(chain) if self.hints => chain.roots.names(),
            _ => &[],
        }
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if self.raw {
            self.rules.check_raw_key(end_entity, intermediates, &self.witness)?;
            return Ok(ClientCertVerified::assertion());
        }
        self.witness.keep_chain(end_entity, intermediates);
        if let Some(chain) = &self.chain {
            chain
                .verify(end_entity, intermediates, KeyUsage::client_auth(), &self.signatures.algorithms, now)
                .map_err(|fault| fault.told(&self.witness))?;
        }
        let parsed = ParsedCertificate::try_from(end_entity)?;
        self.rules.check(&parsed, end_entity, &self.witness)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls12(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signatures.verify_tls13(self.raw, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.signatures.schemes.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// The certificate is valid and its holder is not welcome: access_denied.
fn not_allowed(presented: Presented, witness: &Witness) -> Error {
    witness.refuse(Verdict::NotAllowed { presented });
    CertificateError::ApplicationVerificationFailure.into()
}

fn normal_form(rule: AllowRule) -> Result<AllowRule, SpecError> {
    let bad = |text: String| Err(SpecError::BadRule(text));
    Ok(match rule {
        AllowRule::Dns(text) => {
            let (prefix, name) = match text.strip_prefix("*.") {
                Some(suffix) => ("*.", suffix),
                None => ("", text.as_str()),
            };
            match parse_dns(name) {
                Ok(name) => AllowRule::Dns(format!("{prefix}{name}")),
                Err(error) => return bad(format!("cannot allow dns:{text}: {error}")),
            }
        }
        AllowRule::Mail(text) => match text.rsplit_once('@') {
            Some((local, domain)) if !local.is_empty() && !domain.is_empty() => {
                AllowRule::Mail(format!("{local}@{}", domain.to_ascii_lowercase()))
            }
            _ => {
                return bad(format!(
                    "cannot allow mail:{text}: it is not an address with a local part and a domain"
                ));
            }
        },
        AllowRule::Uri(text) if text.is_empty() => {
            return bad("cannot allow an empty uri".to_owned());
        }
        rule => rule,
    })
}

/// Both in lower case. A pattern stands for exactly one label; a name that is itself a pattern (a certificate
/// for many hosts) matches nothing, because it does not say who came. Neither does one that ends in a dot: names in
/// certificates have none there (RFC 5280 section 4.2.1.6).
fn dns_matches(pattern: &str, presented: &str) -> bool {
    if presented.contains('*') {
        return false;
    }
    match pattern.strip_prefix("*.") {
        None => pattern == presented,
        Some(suffix) => {
            presented.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == suffix)
        }
    }
}

/// RFC 5280 section 4.2.1.6: the domain in any letter case, the local part exactly.
fn mail_matches(rule: &str, presented: &str) -> bool {
    match (rule.rsplit_once('@'), presented.rsplit_once('@')) {
        (Some((local, domain)), Some((their_local, their_domain))) => {
            local == their_local && domain.eq_ignore_ascii_case(their_domain)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dns_rule_is_exact_or_one_label() {
        assert!(dns_matches("a.example", "a.example"));
        assert!(!dns_matches("a.example", "b.a.example"));
        assert!(!dns_matches("a.example", "a.example."));
        assert!(dns_matches("*.example", "a.example"));
        for other in ["example", "b.a.example", ".example", "*.example", "a.example.org"] {
            assert!(!dns_matches("*.example", other), "{other}");
        }
    }

    #[test]
    fn a_mail_rule_ignores_the_letter_case_of_the_domain_only() {
        assert!(mail_matches("ann@a.example", "ann@A.Example"));
        assert!(!mail_matches("ann@a.example", "Ann@a.example"));
        assert!(!mail_matches("ann@a.example", "a.example"));
    }

    #[test]
    fn a_rule_that_can_never_match_is_refused() {
        for rule in [
            AllowRule::Dns("a*.example".into()),
            AllowRule::Dns("*.".into()),
            AllowRule::Dns("*.*.example".into()),
            AllowRule::Mail("example".into()),
            AllowRule::Mail("@example".into()),
            AllowRule::Uri(String::new()),
        ] {
            assert!(ClientRules::new(Vec::new(), vec![rule.clone()]).is_err(), "{rule:?}");
        }
        let rules = ClientRules::new(Vec::new(), vec![AllowRule::Dns("*.Example.".into())]).unwrap();
        assert_eq!(rules.allow[0], AllowRule::Dns("*.example".into()));
    }
}
