//! SHA-256 of certificates and of public keys: what pins are made of.

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// SHA-256 over the whole DER certificate.
pub fn certificate_sha256(certificate: &CertificateDer<'_>) -> [u8; 32] {
    sha256(certificate)
}

/// SHA-256 over the DER SubjectPublicKeyInfo of a certificate (RFC 7469 section 2.4); `None` when the
/// certificate cannot be parsed.
pub fn spki_sha256(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let parsed = EndEntityCert::try_from(certificate).ok()?;
    Some(sha256(&parsed.subject_public_key_info()))
}

/// SHA-256 of any bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    hash
}

/// Certificates in PEM, in their order. Lines end as everywhere else in the protocol: shells read them.
pub fn to_pem(chain: &[CertificateDer<'_>]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    chain.iter().map(|der| pem::encode_config(&pem::Pem::new("CERTIFICATE", der.as_ref()), config)).collect()
}
