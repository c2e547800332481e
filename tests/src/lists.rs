//! Lists of revoked certificates that the test's own authorities write.

use std::time::{Duration, SystemTime};

use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber};

use crate::pki::{Ca, Identity};

const DAY: u64 = 24 * 60 * 60;

impl Ca {
    /// A list in PEM with these, made so many days and an hour ago, for a day: of 0 days, it is one of now.
    ///
    /// # Panics
    /// When the CA may not sign lists, and ours may.
    pub fn list(&self, revoked: &[&Identity], age: u64) -> String {
        let made = SystemTime::now() - Duration::from_secs(age * DAY + 3_600);
        let entry = |identity: &&Identity| RevokedCertParams {
            serial_number: serial(&identity.chain()[0]),
            revocation_time: made.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: made.into(),
            next_update: (made + Duration::from_secs(DAY)).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.issuer).expect("our own CA may sign lists");
        list.pem().expect("a list can be written")
    }
}

/// What stands behind the version of a certificate (RFC 5280 section 4.1), which is always the third one here.
fn serial(certificate: &[u8]) -> SerialNumber {
    const VERSION: [u8; 5] = [0xa0, 3, 2, 1, 2];
    const INTEGER: u8 = 2;
    let at = certificate.windows(5).position(|bytes| bytes == VERSION).expect("it has a version") + 5;
    let [INTEGER, length, rest @ ..] = &certificate[at..] else { panic!("it has a serial number") };
    // At most 20 bytes.
    SerialNumber::from_slice(&rest[..usize::from(*length)])
}
