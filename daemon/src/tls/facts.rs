//! What a certificate says of itself beyond its names, read with x509-parser: its use, its dates, its key, its issuer.

use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::presented::{Seconds, common_name, printable, seconds};
use super::staple;

/// The facts that the chain check and its sentences need.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Its keyUsage allows handshake signatures, or it has none (RFC 5280 section 4.2.1.3).
    pub(super) may_sign: bool,
    /// Its keyUsage allows to sign certificates, or it has none.
    pub(super) may_issue: bool,
    /// Its extKeyUsage has a TLS server's, or there is none.
    pub(super) may_serve: bool,
    /// And that of a client.
    pub(super) may_call: bool,
    /// pathLenConstraint.
    pub(super) path_length: Option<u32>,
    pub(super) is_self_issued: bool,
    pub(super) not_before: Seconds,
    pub(super) not_after: Seconds,
    /// It is for servers that staple only (RFC 7633).
    pub(super) must_staple: bool,
    /// The length of its modulus, when its key is one of RSA.
    pub(super) rsa_bits: Option<usize>,
    /// Names in DER.
    pub(super) subject: Vec<u8>,
    pub(super) issuer: Vec<u8>,
    /// The issuer's common name, printable.
    pub(super) issuer_name: Option<String>,
    /// SubjectPublicKeyInfo.
    pub(super) spki: Vec<u8>,
    subject_key: Option<Vec<u8>>,
    authority_key: Option<Vec<u8>>,
}

impl Facts {
    /// Reads a certificate; `None` when it is not one.
    pub(super) fn read(certificate: &[u8]) -> Option<Self> {
        use x509_parser::extensions::ParsedExtension as E;
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let mut facts = Self {
            may_sign: true,
            may_issue: true,
            may_serve: true,
            may_call: true,
            is_self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
            not_before: seconds(certificate.validity().not_before),
            not_after: seconds(certificate.validity().not_after),
            subject: certificate.subject().as_raw().to_vec(),
            issuer: certificate.issuer().as_raw().to_vec(),
            issuer_name: common_name(certificate.issuer()).map(printable),
            spki: certificate.public_key().raw.to_vec(),
            ..Self::default()
        };
        if let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() {
            facts.rsa_bits = Some(key.key_size());
        }
        for extension in certificate.extensions() {
            match extension.parsed_extension() {
                E::KeyUsage(usage) => {
                    (facts.may_sign, facts.may_issue) = (usage.digital_signature(), usage.key_cert_sign());
                }
                E::ExtendedKeyUsage(purposes) => {
                    (facts.may_serve, facts.may_call) = (purposes.server_auth, purposes.client_auth);
                }
                E::BasicConstraints(constraints) => facts.path_length = constraints.path_len_constraint,
                E::SubjectKeyIdentifier(key) => facts.subject_key = Some(key.0.to_vec()),
                E::AuthorityKeyIdentifier(authority) => {
                    facts.authority_key = authority.key_identifier.as_ref().map(|key| key.0.to_vec());
                }
                // What cannot be read allows nothing. webpki has read the others.
                E::ParseError { .. } | E::UnsupportedExtension { .. }
                    if extension.oid == x509_parser::oid_registry::OID_X509_EXT_KEY_USAGE =>
                {
                    (facts.may_sign, facts.may_issue) = (false, false);
                }
                _ if extension.oid == staple::TLS_FEATURE => {
                    facts.must_staple |= staple::is_asked_for(extension.value);
                }
                _ => {}
            }
        }
        Some(facts)
    }

    /// It has the name of the other one's issuer, and cannot be it: the other is signed by itself with another key, or
    /// names another key of its issuer (RFC 5280 section 4.2.1.1).
    pub(super) fn is_not_of(&self, other: &Self) -> bool {
        let names_another =
            matches!((&other.authority_key, &self.subject_key), (Some(named), Some(own)) if named != own);
        self.subject == other.issuer && self.spki != other.spki && (other.is_self_issued || names_another)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose};

    use super::*;

    fn read(usages: Vec<KeyUsagePurpose>) -> Facts {
        let mut params = CertificateParams::default();
        params.key_usages = usages;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Facts::read(certificate.der()).unwrap()
    }

    #[test]
    fn no_key_usage_allows_all_and_any_key_usage_only_what_it_says() {
        let any = read(Vec::new());
        assert!(any.may_sign && any.may_issue && any.may_serve && any.is_self_issued);
        let signs = read(vec![KeyUsagePurpose::DigitalSignature]);
        assert!(signs.may_sign && !signs.may_issue);
        let lists = read(vec![KeyUsagePurpose::CrlSign]);
        assert!(!lists.may_sign && !lists.may_issue);
        assert_eq!(Facts::read(b"\x30\x00"), None);
    }

    #[test]
    fn two_of_one_name_are_told_apart_by_their_keys() {
        let (one, other) = (read(Vec::new()), read(Vec::new()));
        assert_eq!(one.subject, other.subject);
        assert!(one.is_not_of(&other) && !one.is_not_of(&one.clone()));
    }
}
