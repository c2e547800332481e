//! What servers staple (RFC 6960), written byte for byte: true, false, old, of others, and missing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use der::Encode;
use rcgen::{CustomExtension, ExtendedKeyUsagePurpose, KeyPair, SigningKey};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::facts::Facts;
use crate::tls::pair::*;
use crate::tls::*;

const HOUR: i64 = 3600;
const DAY: i64 = 24 * HOUR;
const GOOD: &[u8] = &[0x80, 0];
const UNKNOWN: &[u8] = &[0x82, 0];

/// A response to be; each test changes what it is about.
struct Response<'a> {
    issuer: &'a Authority,
    serial: u8,
    status: Vec<u8>,
    /// Seconds from now.
    made: i64,
    next: Option<i64>,
    sha256: bool,
    /// Who signs, with the certificate that says so; else the issuer.
    responder: Option<(&'a KeyPair, Vec<u8>)>,
}

fn response(issuer: &Authority) -> Response<'_> {
    Response {
        issuer,
        serial: 7,
        status: GOOD.to_vec(),
        made: -HOUR,
        next: Some(DAY),
        sha256: false,
        responder: None,
    }
}

impl Response<'_> {
    fn der(&self) -> Vec<u8> {
        let (_, issuer) = X509Certificate::from_der(self.issuer.der()).unwrap();
        let (algorithm, id): (_, &[u8]) = match self.sha256 {
            false => (&SHA1_FOR_LEGACY_USE_ONLY, b"\x06\x05\x2b\x0e\x03\x02\x1a"),
            true => (&SHA256, b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01"),
        };
        let hash = |bytes: &[u8]| tlv(0x04, &[digest(algorithm, bytes).as_ref()]);
        let (name, key) =
            (hash(issuer.subject().as_raw()), hash(&issuer.public_key().subject_public_key.data));
        let id = tlv(0x30, &[&tlv(0x30, &[id, &[5, 0]]), &name, &key, &tlv(0x02, &[&[self.serial]])]);
        let next = self.next.map(|next| tlv(0xa0, &[&time(next)])).unwrap_or_default();
        let single = tlv(0x30, &[&id, &self.status, &time(self.made), &next]);
        let signed = tlv(0x30, &[&tlv(0xa2, &[&key]), &time(self.made), &tlv(0x30, &[&single])]);
        let (signature, certificates) = match &self.responder {
            None => (self.issuer.sign(&signed), Vec::new()),
            Some((key, certificate)) => {
                (key.sign(&signed).unwrap(), tlv(0xa0, &[&tlv(0x30, &[certificate])]))
            }
        };
        // ecdsa-with-SHA256
        let algorithm = tlv(0x30, &[b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"]);
        let basic = tlv(0x30, &[&signed, &algorithm, &tlv(0x03, &[&[0], &signature]), &certificates]);
        let kind = b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01";
        tlv(0x30, &[&[0x0a, 1, 0], &tlv(0xa0, &[&tlv(0x30, &[kind, &tlv(0x04, &[&basic])])])])
    }
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = der::Length::try_from(content.len()).unwrap().to_der().unwrap();
    [&[tag][..], &length, &content].concat()
}

fn time(from_now: i64) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = Duration::from_secs(now.as_secs().saturating_add_signed(from_now));
    der::asn1::GeneralizedTime::from_unix_duration(at).unwrap().to_der().unwrap()
}

fn revoked() -> Vec<u8> {
    tlv(0xa1, &[&time(-2 * HOUR)])
}

/// A certificate that is a must-staple one or not, of somebody who staples this or nothing.
pub(crate) fn stapling(ca: &Authority, must: bool, staple: Option<Vec<u8>>) -> Identity {
    let mut params = params(&["a.example"]);
    params.serial_number = Some(7.into());
    if must {
        let feature =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
        params.custom_extensions.push(feature);
    }
    let (chain, key) = ca.pems(&KeyPair::generate().unwrap(), params);
    Identity::from_pem(chain.as_bytes(), key.as_bytes(), staple.as_deref()).unwrap()
}

/// A response that is good for such a certificate.
pub(crate) fn good(ca: &Authority) -> Vec<u8> {
    response(ca).der()
}

/// What becomes of a server with such a certificate.
fn met(ca: &Authority, must: bool, wanted: StapledOcsp, staple: Option<Vec<u8>>) -> Pair {
    let mut spec = client_spec(ca.trust(), &["a.example"]);
    spec.stapled_ocsp = wanted;
    let identity = stapling(ca, must, staple);
    handshake(&ClientProfile::build(spec).unwrap(), &server(vec![identity]))
}

/// A must-staple server refused for what it staples, and the reason.
fn refused(ca: &Authority, staple: Vec<u8>) -> String {
    let failure = met(ca, true, StapledOcsp::Optional, Some(staple.clone())).client_failure();
    assert_eq!((failure.code, failure.blame), (Code::StapleInvalid, Blame::Peer), "{failure}");
    assert_eq!(failure.alert, Some((113, Party::Us)));
    let failure = met(ca, false, StapledOcsp::Required, Some(staple.clone())).client_failure();
    assert_eq!(failure.code, Code::StapleInvalid);
    // Without need, what proves nothing is nothing.
    met(ca, false, StapledOcsp::Optional, Some(staple)).open();
    failure.text
}

#[test]
fn a_good_response_satisfies_whoever_wants_one() {
    let ca = Authority::new("ca");
    for sha256 in [false, true] {
        let staple = Response { sha256, ..response(&ca) }.der();
        met(&ca, true, StapledOcsp::Required, Some(staple)).open();
    }
    let staple = Response { next: None, made: -6 * DAY, ..response(&ca) }.der();
    met(&ca, true, StapledOcsp::Required, Some(staple)).open();
}

#[test]
fn a_server_that_has_to_staple_and_does_not_is_refused() {
    let ca = Authority::new("ca");
    for (must, wanted) in [(true, StapledOcsp::Optional), (false, StapledOcsp::Required)] {
        let failure = met(&ca, must, wanted, None).client_failure();
        assert_eq!((failure.code, failure.blame), (Code::StapleMissing, Blame::Peer));
        assert_eq!(failure.alert, Some((113, Party::Us)));
    }
    met(&ca, false, StapledOcsp::Optional, None).open();
}

#[test]
fn revoked_refuses_whatever_was_wanted_and_however_old_it_is() {
    let ca = Authority::new("ca");
    for (made, next) in [(-HOUR, DAY), (-90 * DAY, -60 * DAY)] {
        let staple = Response { status: revoked(), made, next: Some(next), ..response(&ca) }.der();
        let failure = met(&ca, false, StapledOcsp::Optional, Some(staple)).client_failure();
        assert_eq!((failure.code, failure.alert), (Code::CertificateRevoked, Some((44, Party::Us))));
    }
}

#[test]
fn what_is_old_of_the_future_or_about_another_proves_nothing() {
    let ca = Authority::new("ca");
    let other = Authority::new("ca");
    for (staple, why) in [
        (Response { made: -3 * DAY, next: Some(-DAY), ..response(&ca) }, "too old"),
        (Response { made: -8 * DAY, next: None, ..response(&ca) }, "too old"),
        (Response { made: HOUR, ..response(&ca) }, "of the future"),
        (Response { serial: 8, ..response(&ca) }, "another certificate"),
        (response(&other), "another certificate"),
        (Response { status: UNKNOWN.to_vec(), ..response(&ca) }, "does not know"),
    ] {
        let text = refused(&ca, staple.der());
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn the_server_of_the_public_name_is_asked_for_as_much() {
    let ca = Authority::new("ca");
    let mut params = params(&["public.example"]);
    params.serial_number = Some(7.into());
    let server = ca.issue(&KeyPair::generate().unwrap(), params);
    let judged = |wanted, staple: &[u8]| {
        let witness = Witness::new();
        let provider = params::provider();
        let verifier = verify_server::ServerVerifier {
            raw: false,
            chain: Some(chain::Chain { roots: ca.roots(), revocation: None }),
            stapled_ocsp: wanted,
            names: vec![ReferenceId::parse("hidden.example").unwrap()],
            pins: std::sync::Arc::new([]),
            signatures: verify_server::Signatures::new(&provider, Vec::new()),
            witness: witness.clone(),
            hidden: Some("hidden.example".try_into().unwrap()),
        };
        let (public, now) = ("public.example".try_into().unwrap(), rustls::pki_types::UnixTime::now());
        let judged = verifier.judge(&public, &server.chain()[0], &[], staple, now);
        judged.map(|_| ()).map_err(|error| Failure::from_rustls(&error, &witness).code)
    };
    assert_eq!(judged(StapledOcsp::Optional, &[]), Ok(()));
    assert_eq!(judged(StapledOcsp::Required, &[]), Err(Code::StapleMissing));
    assert_eq!(judged(StapledOcsp::Required, &response(&ca).der()), Ok(()));
    let revoked = Response { status: revoked(), ..response(&ca) }.der();
    assert_eq!(judged(StapledOcsp::Optional, &revoked), Err(Code::CertificateRevoked));
}

#[test]
fn a_clock_that_is_a_little_wrong_does_not_matter() {
    let ca = Authority::new("ca");
    for (made, next) in [(120, DAY), (-DAY, -120)] {
        let staple = Response { made, next: Some(next), ..response(&ca) }.der();
        met(&ca, true, StapledOcsp::Optional, Some(staple)).open();
    }
}

#[test]
fn a_responder_needs_its_issuers_word_for_it() {
    let ca = Authority::new("ca");
    let key = KeyPair::generate().unwrap();
    let certificate = |issuer: &Authority, usage: ExtendedKeyUsagePurpose| {
        let mut params = params(&["ocsp.example"]);
        params.extended_key_usages = vec![usage];
        pem::certificates(issuer.pems(&key, params).0.as_bytes()).unwrap().remove(0).to_vec()
    };
    let by = |certificate: Vec<u8>| Response { responder: Some((&key, certificate)), ..response(&ca) }.der();
    let good = by(certificate(&ca, ExtendedKeyUsagePurpose::OcspSigning));
    met(&ca, true, StapledOcsp::Optional, Some(good)).open();
    // The key of any server below the same authority, and a responder of an authority that has the same name.
    for wrong in [
        certificate(&ca, ExtendedKeyUsagePurpose::ServerAuth),
        certificate(&Authority::new("ca"), ExtendedKeyUsagePurpose::OcspSigning),
    ] {
        let text = refused(&ca, by(wrong));
        assert!(text.contains("neither the issuer nor a responder"), "{text}");
    }
    // So that nobody's word revokes a certificate either.
    let wrong = certificate(&ca, ExtendedKeyUsagePurpose::ServerAuth);
    let staple = Response { status: revoked(), responder: Some((&key, wrong)), ..response(&ca) }.der();
    met(&ca, false, StapledOcsp::Optional, Some(staple)).open();
}

#[test]
fn no_changed_byte_of_a_response_makes_it_good() {
    let ca = Authority::new("ca");
    let end_entity = {
        let mut params = params(&["a.example"]);
        params.serial_number = Some(7.into());
        let (chain, _) = ca.pems(&KeyPair::generate().unwrap(), params);
        pem::certificates(chain.as_bytes()).unwrap().remove(0)
    };
    let (_, parsed) = X509Certificate::from_der(ca.der()).unwrap();
    let name = der::AnyRef::try_from(parsed.subject().as_raw()).unwrap().value().to_vec();
    let issuer = chain::Issuer { name, spki: parsed.public_key().raw.to_vec() };
    let algorithms = params::provider().signature_verification_algorithms.all;
    let now = rustls::pki_types::UnixTime::now();
    let judge = |bytes: &[u8]| staple::judge(bytes, &end_entity, &issuer, algorithms, now);
    let good = Response { status: UNKNOWN.to_vec(), ..response(&ca) }.der();
    assert_eq!(judge(&response(&ca).der()), staple::Word::Good);
    for at in 0..good.len() {
        assert_ne!(judge(&good[..at]), staple::Word::Good, "cut at {at}");
        for bit in 0..8 {
            let mut changed = good.clone();
            changed[at] ^= 1 << bit;
            let word = judge(&changed);
            assert!(matches!(word, staple::Word::Nothing(_)), "byte {at} bit {bit}: {word:?}");
        }
    }
}

#[test]
fn a_feature_that_cannot_be_read_is_taken_for_must_staple() {
    let ca = Authority::new("ca");
    let required = |content: Option<&[u8]>| {
        let mut params = params(&["a.example"]);
        let feature = |content: &[u8]| {
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], content.to_vec())
        };
        params.custom_extensions.extend(content.map(feature));
        let (chain, _) = ca.pems(&KeyPair::generate().unwrap(), params);
        Facts::read(&pem::certificates(chain.as_bytes()).unwrap()[0]).unwrap().must_staple
    };
    assert!(required(Some(&[0x30, 3, 2, 1, 5])) && required(Some(&[0x30, 6, 2, 1, 17, 2, 1, 5])));
    assert!(required(Some(&[5, 0])) && required(Some(&[0x30, 9])));
    assert!(!required(None) && !required(Some(&[0x30, 3, 2, 1, 17])));
}

#[test]
fn without_a_chain_nobody_could_be_believed() {
    let mut spec = client_spec(Trust::Pins, &["a.example"]);
    spec.pins = vec![Pin::Spki([0; 32])];
    spec.stapled_ocsp = StapledOcsp::Required;
    let error = ClientProfile::build(spec).unwrap_err();
    assert_eq!((error.code(), error.about()), (Code::KeyConflict, "stapled-ocsp"));
}
