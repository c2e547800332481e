//! A throwaway CA and a certificate for this machine's own names. Keys are made here and never written to a file.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use zeroize::Zeroizing;

use super::NAME;
use super::error::DemoError;
use crate::tls::Identity;

/// Clocks differ, and a demonstration is shown for a day at most.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The CA's certificate in PEM, and an identity for `localhost`, `127.0.0.1` and `::1` that it issued. The CA's key is
/// gone when this returns: nothing else will ever be issued.
pub(super) fn throwaway() -> Result<(String, Identity), DemoError> {
    let ca_key = KeyPair::generate()?;
    let mut params = within_a_day("tlsifyd demo CA, throw away");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = params.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(params, ca_key);

    let key = KeyPair::generate()?;
    let mut params = within_a_day(NAME);
    params.subject_alt_names = vec![
        SanType::DnsName(NAME.try_into()?),
        SanType::IpAddress([127, 0, 0, 1].into()),
        SanType::IpAddress(std::net::Ipv6Addr::LOCALHOST.into()),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let chain = params.signed_by(&key, &issuer)?.pem();
    let key = Zeroizing::new(key.serialize_pem());
    Ok((ca, Identity::from_pem(chain.as_bytes(), key.as_bytes(), None)?))
}

fn within_a_day(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY).into();
    params
}
