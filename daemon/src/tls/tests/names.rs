//! Names that certificates present, byte for byte as an odd or hostile issuer writes them.

use rcgen::{CustomExtension, KeyPair};

use crate::tls::pair::*;
use crate::tls::*;

/// The choices of a GeneralName that are used here (RFC 5280 section 4.2.1.6).
const OTHER: u8 = 0xa0;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;

#[test]
fn a_service_or_a_uri_of_the_certificate_is_believed_and_reported() {
    let server = presenting(&[
        (OTHER, service(b"_imaps.Mail.example", IA5)),
        (URI, b"sip:voice.example;transport=tls".to_vec()),
    ]);
    for name in ["srv:_imaps.mail.example", "uri:sip:voice.example"] {
        let pair = server.met_by(&["other.example", name]).open();
        assert_eq!(pair.client.seen.matched, [Match::Name(name.into())]);
        assert_eq!(pair.server.seen.sni, None, "the caller's choice");
    }
    let failure = server.met_by(&["srv:_imap.mail.example", "uri:sips:voice.example"]).client_failure();
    assert_eq!((failure.code, failure.alert), (Code::NameMismatch, Some((42, Party::Us))));
    assert_eq!(
        failure.text,
        "peer's certificate is not valid for \"srv:_imap.mail.example\" or \"uri:sips:voice.example\": it names \
         srv:_imaps.Mail.example, sip:voice.example;transport=tls"
    );
}

#[test]
fn a_host_does_not_stand_for_its_services_nor_they_for_it() {
    let host = presenting(&[(DNS, b"mail.example".to_vec())]);
    let service = presenting(&[(OTHER, service(b"_imaps.mail.example", IA5))]);
    for (server, name) in
        [(&host, "srv:_imaps.mail.example"), (&host, "uri:imaps:mail.example"), (&service, "mail.example")]
    {
        assert_eq!(server.met_by(&[name]).client_failure().code, Code::NameMismatch, "{name}");
    }
}

#[test]
fn a_service_name_of_the_wrong_type_is_none() {
    const UTF8: u8 = 0x0c;
    for value in [
        service(b"_imaps.mail.example", UTF8),
        b"\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x07\xa0\x00".to_vec(),
        // Another kind of other name, with the same text.
        [b"\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x05".as_slice(), &service(b"_imaps.mail.example", IA5)[10..]]
            .concat(),
    ] {
        let failure = presenting(&[(OTHER, value)]).met_by(&["srv:_imaps.mail.example"]).client_failure();
        assert_eq!(failure.code, Code::NameMismatch);
    }
}

#[test]
fn names_outside_ascii_match_nothing() {
    for (presented, wanted) in [
        ("bücher.example", "xn--bcher-kva.example"),
        // A letter that looks like an "a", and one that some libraries lower to a "k".
        ("а.example", "a.example"),
        ("\u{212a}.example", "k.example"),
    ] {
        let failure = presenting(&[(DNS, presented.as_bytes().to_vec())]).met_by(&[wanted]).client_failure();
        assert_eq!(failure.code, Code::NameMismatch, "{presented}");
    }
    presenting(&[(DNS, b"XN--bcher-KVA.example".to_vec())]).met_by(&["xn--bcher-kva.example"]).open();
}

#[test]
fn a_dot_at_the_end_is_dropped_in_a_request_and_wrong_in_a_certificate() {
    presenting(&[(DNS, b"a.example".to_vec())]).met_by(&["a.example."]).open();
    for wanted in ["a.example", "a.example."] {
        let failure = presenting(&[(DNS, b"a.example.".to_vec())]).met_by(&[wanted]).client_failure();
        assert_eq!(failure.code, Code::NameMismatch);
    }
}

#[test]
fn a_name_with_a_nul_is_not_the_part_before_it() {
    for presented in [b"a.example\0.evil.example".as_slice(), b"a.example\0"] {
        let failure = presenting(&[(DNS, presented.to_vec())]).met_by(&["a.example"]).client_failure();
        assert_eq!(failure.code, Code::NameMismatch);
        assert!(failure.text.contains("a.example?"), "{failure}");
    }
}

#[test]
fn a_wildcard_is_a_whole_label_above_two_others() {
    presenting(&[(DNS, b"*.shop.example".to_vec())]).met_by(&["xn--bcher-kva.shop.example"]).open();
    for (presented, wanted) in [
        ("*.example", "a.example"),
        ("*", "example"),
        ("*.", "example"),
        ("a*.shop.example", "ab.shop.example"),
        ("*b.shop.example", "ab.shop.example"),
        ("xn--*.shop.example", "xn--bcher-kva.shop.example"),
        ("www.*.example", "www.shop.example"),
        ("*.*.shop.example", "a.b.shop.example"),
        ("*.shop.example.", "a.shop.example"),
    ] {
        let failure = presenting(&[(DNS, presented.as_bytes().to_vec())]).met_by(&[wanted]).client_failure();
        assert_eq!(failure.code, Code::NameMismatch, "{presented}");
    }
}

#[test]
fn an_address_written_as_a_name_is_no_address() {
    for presented in ["192.0.2.1", "::1"] {
        let failure =
            presenting(&[(DNS, presented.as_bytes().to_vec())]).met_by(&[presented]).client_failure();
        assert_eq!(failure.code, Code::NameMismatch);
    }
}

const IA5: u8 = 0x16;

/// An SRVName as an other name has it: its type, and an explicit tag around a string of this kind.
fn service(name: &[u8], kind: u8) -> Vec<u8> {
    let value = tagged(OTHER, &tagged(kind, name));
    [b"\x06\x08\x2b\x06\x01\x05\x05\x07\x08\x07".as_slice(), &value].concat()
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).expect("short");
    [&[tag, length], content].concat()
}

/// A server whose certificate has these names.
struct Presenting {
    ca: Authority,
    server: ServerProfile,
}

fn presenting(names: &[(u8, Vec<u8>)]) -> Presenting {
    let ca = Authority::new("ca");
    let mut params = params(&[]);
    let all: Vec<u8> = names.iter().flat_map(|(tag, name)| tagged(*tag, name)).collect();
    let names = CustomExtension::from_oid_content(&[2, 5, 29, 17], tagged(0x30, &all));
    params.custom_extensions.push(names);
    let identity = ca.issue(&KeyPair::generate().unwrap(), params);
    Presenting { ca, server: server(vec![identity]) }
}

impl Presenting {
    fn met_by(&self, wanted: &[&str]) -> Pair {
        handshake_with(&client(self.ca.trust(), wanted), &ServerNameChoice::Omit, &self.server)
    }
}
