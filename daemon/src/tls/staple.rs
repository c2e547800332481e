//! What a stapled OCSP response says of a certificate (RFC 6960), and whether that can be believed.
//!
//! Read with x509-ocsp, signatures checked by webpki with the provider's algorithms. Nobody is asked over the network:
//! a response is what the peer brings.

use core::time::Duration;

use aws_lc_rs::digest;
use der::asn1::{AnyRef, ObjectIdentifier, OctetString};
use der::{Decode, Encode, Header, Reader, SliceReader, Tag};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, RawPublicKeyEntity, VerifiedPath};
use x509_ocsp::{
    BasicOcspResponse, CertId, CertStatus, OcspGeneralizedTime, OcspResponse, OcspResponseStatus,
    SingleResponse,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

/// RFC 6960 section 4.2.1: the one type of response that there is.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// RFC 6960 section 4.2.2.2: for whom a certificate's issuer lets sign responses (1.3.6.1.5.5.7.3.9).
const OCSP_SIGNING: KeyUsage = KeyUsage::required(&[43, 6, 1, 5, 5, 7, 3, 9]);
/// RFC 7633: the TLS feature extension, and status_request in it (a SEQUENCE of the INTEGER 5).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
const STATUS_REQUEST: u16 = 5;
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// A response with more certificates than this is not meant to be read.
const AT_MOST: usize = 4;
/// Clocks of responders and hosts differ by so much.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// A response that does not say when the next one comes counts for so long: newer information was there all the time
/// (RFC 6960 section 4.2.2.1), so this is short.
const WITHOUT_NEXT: Duration = Duration::from_secs(24 * 60 * 60);

/// What a response that can be believed says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
}

/// Why a response says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StapleError {
    #[error("it cannot be read")]
    Unreadable,
    #[error("the responder had an error instead of an answer")]
    NoAnswer,
    #[error("it is about another certificate")]
    OtherCertificate,
    #[error("it is not signed by the certificate's issuer or whom the issuer lets sign")]
    Signature,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it is too old")]
    Old,
    #[error("the responder does not know the certificate")]
    Unknown,
}

/// Whoever signed the end entity's certificate, as the path has it that was verified.
#[derive(Debug)]
pub(super) struct Issuer(TrustAnchor<'static>);

impl Issuer {
    pub(super) fn of(path: &VerifiedPath<'_>) -> Self {
        let anchor = path.anchor().to_owned();
        Self(match path.intermediate_certificates().next() {
            Some(issuer) => TrustAnchor {
                subject: issuer.subject().to_vec().into(),
                subject_public_key_info: contents(&issuer.subject_public_key_info())
                    .unwrap_or(&[])
                    .to_vec()
                    .into(),
                name_constraints: None,
            },
            None => TrustAnchor { name_constraints: None, ..anchor },
        })
    }

    fn spki(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let contents = AnyRef::new(Tag::Sequence, &self.0.subject_public_key_info).ok()?;
        contents.to_der().ok().map(SubjectPublicKeyInfoDer::from)
    }
}

/// Whether a certificate says that its holder staples a response to every handshake (RFC 7633, "must-staple").
pub(super) fn is_promised(certificate: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let promise = |value: &[u8]| {
        let features = <Vec<u16> as Decode>::from_der(value);
        features.is_ok_and(|features| features.contains(&STATUS_REQUEST))
    };
    let mut extensions = certificate.extensions().iter();
    extensions.any(|extension| extension.oid.to_id_string() == TLS_FEATURE && promise(extension.value))
}

/// What `response` says of `end_entity`, whose `issuer` was verified before.
///
/// # Errors
/// [`StapleError`] when it says nothing that can be believed.
pub(super) fn judge(
    response: &[u8],
    end_entity: &CertificateDer<'_>,
    issuer: &Issuer,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<Status, StapleError> {
    let response = OcspResponse::from_der(response).map_err(|_| StapleError::Unreadable)?;
    let bytes = match (response.response_status, response.response_bytes) {
        (OcspResponseStatus::Successful, Some(bytes)) if bytes.response_type == BASIC => bytes.response,
        (OcspResponseStatus::Successful, _) => return Err(StapleError::Unreadable),
        _ => return Err(StapleError::NoAnswer),
    };
    let basic = BasicOcspResponse::from_der(bytes.as_bytes()).map_err(|_| StapleError::Unreadable)?;
    let signed = first_element(bytes.as_bytes()).ok_or(StapleError::Unreadable)?;
    check_signature(&basic, signed, issuer, algorithms, now)?;
    let about = About::new(end_entity, issuer).ok_or(StapleError::Unreadable)?;
    let mut answers = basic.tbs_response_data.responses.iter();
    let answer = answers.find(|answer| about.is(&answer.cert_id)).ok_or(StapleError::OtherCertificate)?;
    check_time(answer, now)?;
    match answer.cert_status {
        CertStatus::Good(_) => Ok(Status::Good),
        CertStatus::Revoked(_) => Ok(Status::Revoked),
        CertStatus::Unknown(_) => Err(StapleError::Unknown),
    }
}

/// By the issuer itself, or by somebody who has a certificate for it from the issuer, which comes with the response.
fn check_signature(
    basic: &BasicOcspResponse,
    signed: &[u8],
    issuer: &Issuer,
    algorithms: &WebPkiSupportedAlgorithms,
    now: UnixTime,
) -> Result<(), StapleError> {
    let value = basic.signature.as_bytes().ok_or(StapleError::Signature)?;
    let id = basic.signature_algorithm.to_der().map_err(|_| StapleError::Signature)?;
    let fitting =
        algorithms.all.iter().filter(|algorithm| contents(&id) == Some(&algorithm.signature_alg_id()));
    let by = |spki: &SubjectPublicKeyInfoDer<'_>| {
        RawPublicKeyEntity::try_from(spki).is_ok_and(|key| {
            fitting.clone().any(|algorithm| key.verify_signature(*algorithm, signed, value).is_ok())
        })
    };
    if issuer.spki().is_some_and(|spki| by(&spki)) {
        return Ok(());
    }
    let delegates = basic.certs.iter().flatten().take(AT_MOST);
    let mut delegates =
        delegates.filter_map(|certificate| certificate.to_der().ok()).map(CertificateDer::from);
    let trusted = |delegate: CertificateDer<'_>| {
        let Ok(delegate) = EndEntityCert::try_from(&delegate) else { return false };
        let anchors = core::slice::from_ref(&issuer.0);
        by(&delegate.subject_public_key_info())
            && delegate.verify_for_usage(algorithms.all, anchors, &[], now, OCSP_SIGNING, None, None).is_ok()
    };
    if delegates.any(trusted) { Ok(()) } else { Err(StapleError::Signature) }
}

fn check_time(answer: &SingleResponse, now: UnixTime) -> Result<(), StapleError> {
    let since_1970 = |time: &OcspGeneralizedTime| time.0.to_unix_duration();
    let (now, from) = (Duration::from_secs(now.as_secs()), since_1970(&answer.this_update));
    let until = answer.next_update.as_ref().map_or(from + WITHOUT_NEXT, since_1970);
    if from > now + TOLERANCE {
        Err(StapleError::NotYet)
    } else if until + TOLERANCE < now {
        Err(StapleError::Old)
    } else {
        Ok(())
    }
}

/// Which certificate a response has to be about.
struct About {
    serial: Vec<u8>,
    issuer_name: Vec<u8>,
    issuer_key: Vec<u8>,
}

impl About {
    fn new(end_entity: &CertificateDer<'_>, issuer: &Issuer) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(end_entity).ok()?;
        let spki = issuer.spki()?;
        let (_, key) = SubjectPublicKeyInfo::from_der(&spki).ok()?;
        Some(Self {
            serial: certificate.raw_serial().to_vec(),
            issuer_name: certificate.issuer().as_raw().to_vec(),
            issuer_key: key.subject_public_key.data.to_vec(),
        })
    }

    /// RFC 6960 section 4.1.1: the hashes are of the issuer's name and of its key's bits.
    fn is(&self, id: &CertId) -> bool {
        let hash = match id.hash_algorithm.oid {
            // Only an identifier here: what is hashed was verified by other means, and the response is signed.
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            SHA256 => &digest::SHA256,
            _ => return false,
        };
        let hashes = |given: &OctetString, of: &[u8]| given.as_bytes() == digest::digest(hash, of).as_ref();
        id.serial_number.as_bytes() == without_sign(&self.serial)
            && hashes(&id.issuer_name_hash, &self.issuer_name)
            && hashes(&id.issuer_key_hash, &self.issuer_key)
    }
}

/// x509-cert keeps a number without the zero in front that says that it is positive.
fn without_sign(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] if !rest.is_empty() => rest,
        number => number,
    }
}

/// The first element of a SEQUENCE with its header: what is signed has to be taken as it came.
fn first_element(sequence: &[u8]) -> Option<&[u8]> {
    let mut reader = SliceReader::new(sequence).ok()?;
    Header::decode(&mut reader).ok()?;
    reader.tlv_bytes().ok()
}

/// What is in a SEQUENCE, which is how webpki and pki-types have names, keys and identifiers.
fn contents(sequence: &[u8]) -> Option<&[u8]> {
    AnyRef::from_der(sequence).ok().map(|any| any.value())
}
