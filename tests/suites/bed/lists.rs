//! What authorities say of certificates after they were issued: revocation lists (RFC 5280 section 5) and OCSP responses
//! (RFC 6960), written as the certificates are.

use aws_lc_rs::digest;

use super::certificates::{Certificate, DAY, HOUR, now};
use super::der::{bit_string, element, explicit, generalized, integer, oid, sequence, time};
use super::keys::Hash;

/// A revocation list that is to be signed.
pub(crate) struct List<'a> {
    issuer: &'a Certificate,
    signer: &'a Certificate,
    revoked: Vec<Vec<u8>>,
    until: i64,
}

impl<'a> List<'a> {
    /// By this authority, of an hour ago and good for a day, with nobody in it.
    pub(crate) fn of(issuer: &'a Certificate) -> Self {
        Self { issuer, signer: issuer, revoked: Vec::new(), until: now() + DAY }
    }

    pub(crate) fn with(mut self, revoked: &[&Certificate]) -> Self {
        self.revoked.extend(revoked.iter().map(|one| one.serial.clone()));
        self
    }

    /// Its next update is due then.
    pub(crate) fn until(self, until: i64) -> Self {
        Self { until, ..self }
    }

    /// With another one's key.
    pub(crate) fn signed_by(self, signer: &'a Certificate) -> Self {
        Self { signer, ..self }
    }

    /// In DER.
    pub(crate) fn sign(self) -> Vec<u8> {
        let algorithm = self.signer.key.algorithm(Hash::Fitting);
        let since = time(now() - 2 * HOUR);
        let entries: Vec<Vec<u8>> =
            self.revoked.iter().map(|serial| sequence(&[serial.clone(), since.clone()])).collect();
        // An empty list is absent (RFC 5280 section 5.1.2.6).
        let entries = if entries.is_empty() { Vec::new() } else { sequence(&entries) };
        let number = sequence(&[oid("2.5.29.20"), element(4, integer(7))]);
        let body = sequence(&[
            integer(1),
            algorithm.clone(),
            self.issuer.subject.clone(),
            time(self.until.min(now()) - HOUR),
            time(self.until),
            entries,
            explicit(0, sequence(&[number])),
        ]);
        let signature = self.signer.key.sign(Hash::Fitting, &body);
        sequence(&[body, algorithm, bit_string(&signature)])
    }
}

/// An OCSP response that is to be signed.
pub(crate) struct Staple<'a> {
    about: &'a Certificate,
    issuer: &'a Certificate,
    /// Whoever signs instead of the issuer, with a certificate that comes along.
    signer: Option<Certificate>,
    status: Vec<u8>,
    from: i64,
    until: i64,
}

impl<'a> Staple<'a> {
    /// That it is good, of an hour ago and for a week.
    pub(crate) fn about(about: &'a Certificate, issuer: &'a Certificate) -> Self {
        let (from, until) = (now() - HOUR, now() + 7 * DAY);
        Self { about, issuer, signer: None, status: element(0x80, []), from, until }
    }

    pub(crate) fn revoked(self) -> Self {
        Self { status: explicit(1, generalized(now() - 2 * HOUR)), ..self }
    }

    pub(crate) fn unknown(self) -> Self {
        Self { status: element(0x82, []), ..self }
    }

    pub(crate) fn between(self, from: i64, until: i64) -> Self {
        Self { from, until, ..self }
    }

    pub(crate) fn signed_by(self, signer: Certificate) -> Self {
        Self { signer: Some(signer), ..self }
    }

    /// In DER.
    pub(crate) fn sign(self) -> Vec<u8> {
        let sha1 = |bytes: &[u8]| digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, bytes);
        let id = sequence(&[
            sequence(&[oid("1.3.14.3.2.26"), element(5, [])]),
            element(4, sha1(&self.issuer.subject)),
            element(4, sha1(self.issuer.key.bits())),
            self.about.serial.clone(),
        ]);
        let until = explicit(0, generalized(self.until));
        let answer = sequence(&[id, self.status, generalized(self.from), until]);
        let signer = self.signer.as_ref().unwrap_or(self.issuer);
        let name = explicit(1, &signer.subject);
        let body = sequence(&[name, generalized(self.from), sequence(&[answer])]);
        let algorithm = signer.key.algorithm(Hash::Fitting);
        let signature = bit_string(&signer.key.sign(Hash::Fitting, &body));
        let along = self.signer.as_ref().map(|signer| explicit(0, element(0x30, &signer.der)));
        let basic = sequence(&[body, algorithm, signature, along.unwrap_or_default()]);
        let bytes = sequence(&[oid("1.3.6.1.5.5.7.48.1.1"), element(4, basic)]);
        sequence(&[element(10, [0]), explicit(0, bytes)])
    }
}
