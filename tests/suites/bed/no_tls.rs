//! Servers that do not get as far as a certificate: too old, silent, gone, or something else than TLS.

use tlsify_client::Code;

use super::authorities::rsa_root;
use super::case::{Alert, Case, SHOP, Scene, fails, other, says};
use super::certificates::leaf;
use super::keys::Kind;
use super::server::{Server, Then};

pub(crate) fn versions() -> Vec<Case> {
    let old = |what, says_hello: fn() -> Scene| {
        fails(
            what,
            Code::NoSharedVersion,
            Alert::Sent("70 protocol_version"),
            "no version of TLS",
            says_hello,
        )
    };
    vec![
        fails(
            "OpenSSL with TLS 1.0 only",
            Code::AlertReceived,
            Alert::Received("70 protocol_version"),
            "does not speak this version",
            || by_openssl(&["-tls1", "-cipher", "ALL:@SECLEVEL=0"]),
        )
        .by_openssl(),
        fails(
            "OpenSSL with TLS 1.1 only",
            Code::AlertReceived,
            Alert::Received("70 protocol_version"),
            "does not speak this version",
            || by_openssl(&["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]),
        )
        .by_openssl(),
        fails(
            "OpenSSL with anonymous suites only",
            Code::AlertReceived,
            Alert::Received("40 handshake_failure"),
            "no parameters in common",
            || by_openssl(&["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"]),
        )
        .by_openssl(),
        fails(
            "OpenSSL with suites that encrypt nothing",
            Code::AlertReceived,
            Alert::Received("40 handshake_failure"),
            "no parameters in common",
            || by_openssl(&["-tls1_2", "-cipher", "eNULL:@SECLEVEL=0"]),
        )
        .by_openssl(),
        old("a ServerHello of TLS 1.0", || says(server_hello([3, 1], [0, 0x2f]), Then::Waits)),
        old("a ServerHello of TLS 1.1", || says(server_hello([3, 2], [0, 0x2f]), Then::Waits)),
        old("a ServerHello of SSL 3.0", || says(server_hello([3, 0], [0, 0x2f]), Then::Waits)),
        fails(
            "a suite without encryption that was not offered",
            Code::ProtocolViolation,
            Alert::Sent("40 handshake_failure"),
            "unoffered cipher suite",
            || says(server_hello([3, 3], [0, 0x3b]), Then::Waits),
        ),
        fails(
            "an anonymous suite that was not offered",
            Code::ProtocolViolation,
            Alert::Sent("40 handshake_failure"),
            "unoffered cipher suite",
            || says(server_hello([3, 3], [0xc0, 0x18]), Then::Waits),
        ),
    ]
}

pub(crate) fn strangers() -> Vec<Case> {
    let no_tls = |what, scene: fn() -> Scene| {
        fails(what, Code::NotTls, Alert::Sent("50 decode_error"), "is not TLS", scene)
    };
    vec![
        no_tls("plain HTTP", || says("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", Then::Closes)),
        no_tls("mail before STARTTLS", || says("220 mail.example ESMTP\r\n", Then::Waits)),
        no_tls("SSH", || says("SSH-2.0-OpenSSH_9.2\r\n", Then::Waits)),
        fails("nothing at all", Code::HandshakeTimeout, Alert::None, "longer than 300 ms", || {
            says("", Then::Waits)
        })
        .waiting(300),
        fails(
            "half a ServerHello and then nothing",
            Code::HandshakeTimeout,
            Alert::None,
            "longer than 300 ms",
            || says(&server_hello([3, 3], [0xc0, 0x2b])[..20], Then::Waits),
        )
        .waiting(300),
        fails("the end of the connection", Code::ClosedByPeer, Alert::None, "closed", || {
            says("", Then::Closes)
        }),
        fails("half a ServerHello and then the end", Code::ClosedByPeer, Alert::None, "closed", || {
            says(&server_hello([3, 3], [0xc0, 0x2b])[..20], Then::Closes)
        }),
        fails("a reset", Code::ResetByPeer, Alert::None, "reset", || says("", Then::Resets)),
        alert(
            "the alert handshake_failure",
            40,
            Alert::Received("40 handshake_failure"),
            "no parameters in common",
        ),
        alert(
            "the alert unrecognized_name",
            112,
            Alert::Received("112 unrecognized_name"),
            "does not know the server_name",
        ),
        alert("the alert internal_error", 80, Alert::Received("80 internal_error"), "internal_error"),
        alert("an alert that nobody knows", 200, Alert::Received("200 unassigned"), "200"),
    ]
}

fn alert(what: &'static str, number: u8, told: Alert, sentence: &'static str) -> Case {
    fails(what, Code::AlertReceived, told, sentence, move || says([21, 3, 3, 0, 2, 2, number], Then::Closes))
}

fn by_openssl(options: &'static [&'static str]) -> Scene {
    let certificate = leaf(SHOP).key(Kind::Weak(2048, 65_537)).by(rsa_root());
    other(Server::OpenSsl { options, certificate }).trusting(&[rsa_root()])
}

/// A ServerHello of this version with this suite and nothing else (RFC 5246 section 7.4.1.3).
fn server_hello(version: [u8; 2], suite: [u8; 2]) -> Vec<u8> {
    let body = [&version[..], &[0x5a; 32], &[0], &suite, &[0]].concat();
    let message = [&[2, 0, 0, body.len() as u8][..], &body].concat();
    [&[22, 3, 1, 0, message.len() as u8][..], &message].concat()
}
