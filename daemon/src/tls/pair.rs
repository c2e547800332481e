//! For tests: a certificate authority, and a client and a server of this room in one memory.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

use super::*;

/// A certificate authority of one test.
pub(super) struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            certificate,
            issuer: Issuer::new(params, key),
        }
    }

    pub(super) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::Roots(Roots::from_pem(self.pem().as_bytes()).unwrap())
    }

    /// A P-256 identity for these DNS names or addresses.
    pub(super) fn identity(&self, names: &[&str]) -> Identity {
        self.issue(KeyPair::generate().unwrap(), params(names))
    }

    pub(super) fn ed25519(&self, names: &[&str]) -> Identity {
        self.issue(
            KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap(),
            params(names),
        )
    }

    pub(super) fn issue(&self, key: KeyPair, params: CertificateParams) -> Identity {
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity::from_pem(
            certificate.pem().as_bytes(),
            key.serialize_pem().as_bytes(),
            None,
        )
        .unwrap()
    }
}

/// An end-entity certificate for both roles.
pub(super) fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

pub(super) fn defaults() -> Params {
    Params::build(&ParamsSpec::default()).unwrap()
}

pub(super) fn client(trust: Trust, names: &[&str]) -> ClientProfile {
    ClientProfile::build(client_spec(trust, names)).unwrap()
}

pub(super) fn client_spec(trust: Trust, names: &[&str]) -> ClientSpec {
    let names = names
        .iter()
        .map(|name| ReferenceId::parse(name).unwrap())
        .collect();
    ClientSpec {
        identity: None,
        params: defaults(),
        trust,
        pins: Vec::new(),
        names,
    }
}
