//! What makes an identity, and what is said when something does not.

use std::sync::{Arc, Mutex};

use rcgen::{KeyPair, PublicKeyData};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, ServerConnection, SignatureScheme};

use crate::tls::pair::*;
use crate::tls::*;

const RSA_PKCS8: &str = include_str!("../fixtures/test-only-rsa-pkcs8.pem");
const RSA_PKCS1: &str = include_str!("../fixtures/test-only-rsa-pkcs1.pem");
const EC_PKCS8: &str = include_str!("../fixtures/test-only-ec-pkcs8.pem");
const EC_SEC1: &str = include_str!("../fixtures/test-only-ec-sec1.pem");
const ENCRYPTED: [&str; 2] = [
    include_str!("../fixtures/test-only-encrypted-pkcs8.pem"),
    include_str!("../fixtures/test-only-encrypted-sec1.pem"),
];
/// A well-formed successful OCSP response with nothing in it.
const OCSP: &[u8] = &[0x30, 0x05, 0x0a, 0x01, 0x00, 0xa0, 0x00];

fn certificate(key: &str) -> String {
    let key = KeyPair::from_pem(key).unwrap();
    Authority::new("ca").pems(&key, params(&["A.example", "192.0.2.1"])).0
}

fn error(chain: &str, key: &str) -> IdentityError {
    Identity::from_pem(chain.as_bytes(), key.as_bytes(), None).unwrap_err()
}

#[test]
fn keys_are_read_in_all_three_forms() {
    for (chain, key) in [
        (certificate(RSA_PKCS8), RSA_PKCS1),
        (certificate(RSA_PKCS8), RSA_PKCS8),
        (certificate(EC_PKCS8), EC_SEC1),
    ] {
        let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes(), None).unwrap();
        assert_eq!(identity.names(), ["a.example", "192.0.2.1"]);
        assert!(identity.not_before() < identity.not_after());
        assert_eq!(spki_sha256(&identity.chain()[0]), Some(identity.spki_sha256()));
    }
}

#[test]
fn a_locked_key_is_named_as_such() {
    for key in ENCRYPTED {
        let error = error(&certificate(EC_PKCS8), key);
        assert_eq!((&error, error.code()), (&IdentityError::EncryptedKey, Code::KeyInvalid));
    }
}

#[test]
fn a_key_of_another_certificate_is_a_mismatch() {
    let error = error(&certificate(EC_PKCS8), RSA_PKCS8);
    assert_eq!((error.code(), error.about()), (Code::KeyMismatch, "key"));
}

#[test]
fn a_chain_in_the_wrong_order_is_named_as_such() {
    let upside_down = format!("{}{}", Authority::new("ca").pem(), certificate(EC_PKCS8));
    assert_eq!(error(&upside_down, EC_PKCS8), IdentityError::Order(2));
}

#[test]
fn the_wrong_section_is_named() {
    let chain = certificate(EC_PKCS8);
    assert_eq!(error(EC_PKCS8, &chain).to_string(), "there is no certificate, it holds PRIVATE KEY");
    assert_eq!(error(&chain, &chain).to_string(), "there is no private key, it holds CERTIFICATE");
    assert_eq!(error("", EC_PKCS8), IdentityError::NoCertificate(Vec::new()));
    assert_eq!(error(&chain, &format!("{EC_PKCS8}{RSA_PKCS8}")), IdentityError::SeveralKeys);
}

#[test]
fn garbage_is_an_error_that_repeats_none_of_it() {
    let chain = certificate(EC_PKCS8);
    let cut = &EC_PKCS8[..EC_PKCS8.len() - 30];
    assert_eq!(error(&chain, cut).code(), Code::KeyInvalid);
    let scrambled = EC_PKCS8.replace("MIG", "!!!");
    assert!(matches!(error(&chain, &scrambled), IdentityError::KeyPem(_)));
    let shortened = "-----BEGIN PRIVATE KEY-----\nMIGHAgEA\n-----END PRIVATE KEY-----\n";
    let unusable = error(&chain, shortened);
    assert_eq!(unusable, IdentityError::UnusableKey);
    assert!(!format!("{unusable} {unusable:?}").contains("MIGH"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAECAw==\n-----END CERTIFICATE-----\n";
    assert_eq!(error(&format!("{chain}{garbage}"), EC_PKCS8), IdentityError::BadCertificate(2));
}

#[test]
fn no_key_is_in_a_debug_text() {
    let identity = Identity::from_pem(certificate(EC_PKCS8).as_bytes(), EC_PKCS8.as_bytes(), None).unwrap();
    assert_eq!(format!("{identity:?}"), "Identity { names: [\"a.example\", \"192.0.2.1\"], .. }");
}

#[test]
fn an_ocsp_response_must_be_one() {
    let chain = certificate(EC_PKCS8);
    let read = |ocsp: &[u8]| Identity::from_pem(chain.as_bytes(), EC_PKCS8.as_bytes(), Some(ocsp));
    assert!(read(OCSP).is_ok());
    assert!(read(b"-----BEGIN OCSP RESPONSE-----\nMAUKAQCgAA==\n-----END OCSP RESPONSE-----\n").is_ok());
    for bad in [
        &b"hello"[..],
        &OCSP[..6],
        &[0x30, 0x03, 0x0a, 0x01, 0x06],
        &[0x30, 0x03, 0x0a, 0x01, 0x00],
        b"-----BEGIN OCSP RESPONSE-----\n????\n-----END OCSP RESPONSE-----\n",
    ] {
        let error = read(bad).unwrap_err();
        assert_eq!((error.code(), error.about()), (Code::OcspInvalid, "ocsp"), "{error}");
    }
}

#[test]
fn a_stapled_response_arrives() {
    let ca = Authority::new("ca");
    let (chain, key) = ca.pems(&KeyPair::generate().unwrap(), params(&["a.example"]));
    let identity = Identity::from_pem(chain.as_bytes(), key.as_bytes(), Some(OCSP)).unwrap();
    let server = server(vec![identity]);
    let mut to = ServerConnection::new(server.session_config(&Witness::new(), None, false).unwrap()).unwrap();
    let spy = Arc::new(Spy::default());
    let client = client(ca.trust(), &["a.example"]);
    let config = client.session_config(&[], &Witness::new(), None).unwrap();
    let mut config = ClientConfig::clone(&config);
    config.dangerous().set_certificate_verifier(spy.clone());
    let mut from = ClientConnection::new(Arc::new(config), "a.example".try_into().unwrap()).unwrap();
    let mut wire = Vec::new();
    from.write_tls(&mut wire).unwrap();
    to.read_tls(&mut &wire[..]).unwrap();
    to.process_new_packets().unwrap();
    wire.clear();
    while to.wants_write() {
        to.write_tls(&mut wire).unwrap();
    }
    from.read_tls(&mut &wire[..]).unwrap();
    assert!(from.process_new_packets().is_err(), "the spy refuses everybody");
    assert_eq!(*spy.0.lock().unwrap(), OCSP);
}

#[test]
fn a_response_that_no_peer_takes_is_refused_when_it_is_given() {
    let ca = Authority::new("ca");
    let (chain, key) = ca.pems(&KeyPair::generate().unwrap(), params(&["a.example"]));
    let with = |size: u16| {
        let mut response = vec![0x30, 0x82];
        response.extend((size - 4).to_be_bytes());
        response.extend([0x0a, 0x01, 0x00, 0xa0]);
        response.resize(size.into(), 0);
        Identity::from_pem(chain.as_bytes(), key.as_bytes(), Some(&response))
    };
    assert_eq!(with(32_769).unwrap_err(), IdentityError::Ocsp("is larger than peers take"));
    let server = server(vec![with(32_768).unwrap()]);
    for version in VERSIONS {
        let spec = ClientSpec { params: only(version), ..client_spec(ca.trust(), &["a.example"]) };
        handshake(&ClientProfile::build(spec).unwrap(), &server).open();
    }
}

/// Looks at the stapled response and ends the handshake.
#[derive(Debug, Default)]
struct Spy(Mutex<Vec<u8>>);

impl ServerCertVerifier for Spy {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        ocsp_response: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = ocsp_response.to_vec();
        Err(rustls::Error::General("seen enough".into()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen enough".into()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen enough".into()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

#[test]
fn certificate_and_keys_of_one_owner_have_one_pin() {
    let (key, ca) = (KeyPair::generate().unwrap(), Authority::new("ca"));
    let (chain, private) = ca.pems(&key, params(&["a.example"]));
    let pin = sha256(&key.subject_public_key_info());
    let public = key.public_key_pem();
    let both = format!("{private}{chain}");
    for text in [&chain, &private, &public, &both, &format!("# ours\n{chain}{}", ca.pem())] {
        assert_eq!(pin_of_pem(text.as_bytes()), Ok(pin), "{text}");
    }
    let damaged = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n";
    assert_eq!(pin_of_pem(damaged.as_bytes()), Err(IdentityError::BadPublicKey));
    let request = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
    let nothing = pin_of_pem(request.as_bytes()).unwrap_err();
    assert_eq!(nothing.to_string(), "there is no certificate and no key, it holds CERTIFICATE REQUEST");
    assert_eq!(pin_of_pem(b"").unwrap_err(), IdentityError::NothingToPin(Vec::new()));
    assert!(matches!(pin_of_pem(&private.as_bytes()[..private.len() / 2]), Err(IdentityError::KeyPem(_))));
}
