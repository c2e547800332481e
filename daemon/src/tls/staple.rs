//! What a server staples about its own certificate (RFC 6960): is it the issuer's word, about this certificate, of now?
//!
//! ```text
//!  response ─▶ Basic: what is signed, byte for byte ─▶ signed by the issuer, or by a responder of the issuer's
//!                └─▶ the entry for our certificate ──▶ good │ revoked │ proves nothing, and why
//! ```
//!
//! Structures are read with x509-ocsp, signatures are checked by webpki with the provider's algorithms. What is signed is
//! the bytes that came, never what they would be if they were written again.

use aws_lc_rs::digest;
use der::asn1::{BitStringRef, ObjectIdentifier};
use der::{Decode, Reader, SliceReader, Tagged};
use rustls::pki_types::{
    CertificateDer, Der, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime,
};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity};
use x509_ocsp::{CertId, CertStatus, OcspResponse, OcspResponseStatus, ResponseData, SingleResponse};
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo};

use super::chain::Issuer;
use super::sequences::{content, in_sequence};

/// Clocks of two machines differ by so much.
const TOLERANCE: u64 = 5 * 60;
/// A response that does not say when the next one comes is believed for so long.
const WITHOUT_NEXT: u64 = 7 * 24 * 60 * 60;
/// A response needs one certificate; each costs a signature check, and the peer chooses how many there are.
const MOST_CERTIFICATES: usize = 4;

const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// id-kp-OCSPSigning, 1.3.6.1.5.5.7.3.9, as the content of an OBJECT IDENTIFIER.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// id-pe-tlsfeature (RFC 7633).
pub(super) const TLS_FEATURE: Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);
/// The extension number of status_request.
const STATUS_REQUEST: u16 = 5;

/// What a response says of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Its issuer stands by it.
    Good,
    /// Its issuer does not.
    Revoked,
    /// Nothing that could be believed, and why.
    Nothing(&'static str),
}

/// Whether the value of a certificate's [`TLS_FEATURE`] asks for a staple. What cannot be read is taken for yes.
pub(super) fn is_asked_for(features: &[u8]) -> bool {
    match <Vec<u16> as Decode>::from_der(features) {
        Ok(features) => features.contains(&STATUS_REQUEST),
        Err(_) => true,
    }
}

/// Reads a response about a certificate of this issuer.
pub(super) fn judge(
    response: &[u8],
    end_entity: &CertificateDer<'_>,
    issuer: &Issuer,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Word {
    match read(response, end_entity, issuer, algorithms, now) {
        Ok(word) => word,
        Err(why) => Word::Nothing(why),
    }
}

fn read(
    response: &[u8],
    end_entity: &CertificateDer<'_>,
    issuer: &Issuer,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Result<Word, &'static str> {
    const ENCODING: &str = "it is not correctly encoded";
    let response = OcspResponse::from_der(response).map_err(|_| ENCODING)?;
    if response.response_status != OcspResponseStatus::Successful {
        return Err("the responder had no answer");
    }
    let bytes = response.response_bytes.ok_or(ENCODING)?;
    if bytes.response_type != BASIC {
        return Err("it is of an unknown type");
    }
    let basic = Basic::read(bytes.response.as_bytes()).map_err(|_| ENCODING)?;
    let data = ResponseData::from_der(basic.signed).map_err(|_| ENCODING)?;
    let serial = EndEntityCert::try_from(end_entity).map_err(|_| ENCODING)?.serial().to_vec();
    let ours = data.responses.iter().filter(|single| is_for(&single.cert_id, issuer, &serial));
    let ours: Vec<&SingleResponse> = ours.collect();
    if ours.is_empty() {
        return Err("it is for another certificate");
    }
    basic.check_signature(issuer, algorithms, now)?;
    // What is revoked stays so, however old the word.
    if ours.iter().any(|single| matches!(single.cert_status, CertStatus::Revoked(_))) {
        return Ok(Word::Revoked);
    }
    let of_response = data.response_extensions.iter().flatten();
    let of_entries = ours.iter().flat_map(|single| single.single_extensions.iter().flatten());
    if of_response.chain(of_entries).any(|extension| extension.critical) {
        return Err("it has a critical extension that is not understood");
    }
    let timely: Vec<_> = ours.into_iter().filter(|single| is_timely(single, now)).collect();
    match timely.as_slice() {
        [] => Err("it is too old, or of the future"),
        all if all.iter().all(|single| matches!(single.cert_status, CertStatus::Good(_))) => Ok(Word::Good),
        _ => Err("the responder does not know the certificate"),
    }
}

/// A BasicOCSPResponse, with what is signed as it came.
struct Basic<'a> {
    signed: &'a [u8],
    /// The content of the AlgorithmIdentifier.
    algorithm: &'a [u8],
    signature: &'a [u8],
    certificates: Vec<CertificateDer<'a>>,
}

impl<'a> Basic<'a> {
    fn read(bytes: &'a [u8]) -> der::Result<Self> {
        let mut outer = SliceReader::new(bytes)?;
        let basic = outer.sequence(|basic| {
            let signed = basic.tlv_bytes()?;
            let algorithm = der::AnyRef::decode(basic)?;
            algorithm.tag().assert_eq(der::Tag::Sequence)?;
            let signature = BitStringRef::decode(basic)?;
            let certificates = match basic.is_finished() {
                true => None,
                false => Some(der::AnyRef::decode(basic)?),
            };
            let signature = signature.as_bytes().ok_or(der::ErrorKind::Value { tag: der::Tag::BitString })?;
            Ok((signed, algorithm.value(), signature, certificates))
        });
        let (signed, algorithm, signature, certificates) = basic?;
        outer.finish(())?;
        let mut found = Vec::new();
        if let Some(explicit) = certificates {
            let all = der::AnyRef::from_der(explicit.value())?;
            all.tag().assert_eq(der::Tag::Sequence)?;
            let mut rest = SliceReader::new(all.value())?;
            while !rest.is_finished() && found.len() < MOST_CERTIFICATES {
                found.push(CertificateDer::from(rest.tlv_bytes()?));
            }
        }
        Ok(Self { signed, algorithm, signature, certificates: found })
    }

    /// Signed by the issuer itself, or by one that it has made a responder (RFC 6960 section 4.2.2.2). A responder's own
    /// certificate is not asked about further.
    fn check_signature(
        &self,
        issuer: &Issuer,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
        now: UnixTime,
    ) -> Result<(), &'static str> {
        if self.is_signed_by(&issuer.spki, algorithms) {
            return Ok(());
        }
        let key = content(&issuer.spki).ok_or("the issuer's key cannot be read")?;
        let anchors = [TrustAnchor {
            subject: Der::from_slice(&issuer.name),
            subject_public_key_info: Der::from_slice(key),
            name_constraints: None,
        }];
        let delegated = self.certificates.iter().any(|certificate| {
            let Ok(responder) = EndEntityCert::try_from(certificate) else { return false };
            self.is_signed_by(&responder.subject_public_key_info(), algorithms)
                && responder
                    .verify_for_usage(
                        algorithms,
                        &anchors,
                        &[],
                        now,
                        KeyUsage::required(OCSP_SIGNING),
                        None,
                        None,
                    )
                    .is_ok()
        });
        if delegated {
            Ok(())
        } else {
            Err("neither the issuer nor a responder of the issuer's has signed it")
        }
    }

    fn is_signed_by(&self, spki: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        let spki = SubjectPublicKeyInfoDer::from(spki);
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else { return false };
        let mut fitting = algorithms.iter().filter(|one| one.signature_alg_id().as_ref() == self.algorithm);
        fitting.any(|one| key.verify_signature(*one, self.signed, self.signature).is_ok())
    }
}

/// Whether an entry is about the certificate of this issuer with this serial number (RFC 6960 section 4.1.1).
fn is_for(id: &CertId, issuer: &Issuer, serial: &[u8]) -> bool {
    let number = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().skip_while(|byte| *byte == 0).collect() };
    // First, because the peer chooses how many entries there are.
    if number(id.serial_number.as_bytes()) != number(serial) {
        return false;
    }
    let algorithm = match id.hash_algorithm.oid.to_string().as_str() {
        // Not a signature: whoever finds two issuers with the same hash has proved nothing without the key.
        "1.3.14.3.2.26" => &digest::SHA1_FOR_LEGACY_USE_ONLY,
        "2.16.840.1.101.3.4.2.1" => &digest::SHA256,
        "2.16.840.1.101.3.4.2.2" => &digest::SHA384,
        "2.16.840.1.101.3.4.2.3" => &digest::SHA512,
        _ => return false,
    };
    let hash = |bytes: &[u8]| digest::digest(algorithm, bytes);
    let Ok((_, key)) = SubjectPublicKeyInfo::from_der(&issuer.spki) else { return false };
    id.issuer_name_hash.as_bytes() == hash(&in_sequence(&issuer.name)).as_ref()
        && id.issuer_key_hash.as_bytes() == hash(&key.subject_public_key.data).as_ref()
}

fn is_timely(single: &SingleResponse, now: UnixTime) -> bool {
    let (now, made) = (now.as_secs(), single.this_update.0.to_unix_duration().as_secs());
    let until = match &single.next_update {
        Some(next) => next.0.to_unix_duration().as_secs(),
        None => made.saturating_add(WITHOUT_NEXT),
    };
    made <= now.saturating_add(TOLERANCE) && now <= until.saturating_add(TOLERANCE)
}
