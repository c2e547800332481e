//! OpenSSL's judgement of the same chains. It shares no code with the daemon: where the two agree, neither the
//! certificates that this suite writes by hand nor the list of what must come of them is a misunderstanding of ours.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use tlsifyd_tests::{Program, TempDir, exclusive, tool};

use super::ask::Question;
use super::case::Outcome;
use super::certificates::text;
use super::groups;
use super::server::Server;

/// What OpenSSL 3.0's `verify` takes and we do not, each with the reason. There is nothing that we take and it does not.
const LENIENT: &[(&str, &str)] = &[
    ("a common name only", COMMON_NAME),
    ("an empty list of names", COMMON_NAME),
    ("the name as a URI", COMMON_NAME),
    ("the name as a mail address", COMMON_NAME),
    ("an address when a name is asked", COMMON_NAME),
    ("a service when the domain is asked", COMMON_NAME),
    ("a wildcard that its issuer is forbidden a part of", "it compares the wildcard as if it were a name"),
    ("an authority's certificate with the right name", "an authority may serve"),
    ("version 1, without extensions", "only of authorities it wants version 3"),
    (
        "a certificate that may not sign handshakes",
        "its key could still encipher, as in TLS 1.2 without forward secrecy",
    ),
    ("a date before 1970", "it counts from before"),
    ("bytes behind the certificate", "it reads the certificate and leaves the bytes"),
    ("a key that does not belong to the certificate", "it sees no handshake"),
    ("a key of another kind than the certificate's", "it sees no handshake"),
    ("a promise of a response, and none", "it sees no handshake"),
    ("twenty certificates one above the other", "its bound is a hundred"),
];

const COMMON_NAME: &str = "it falls back to the common name, which RFC 9525 section 2 has done away with";

#[test]
fn openssl_judges_the_same_chains_as_we_do() {
    // The other tests count descriptors.
    let _alone = exclusive();
    let Some(openssl) = tool("openssl") else { return };
    let mut wrong = Vec::new();
    for (_, cases) in groups() {
        for case in &cases {
            let (scene, question) = case.set();
            // Who staples is judged in handshakes.
            let Server::Shows { chain, staple: None, .. } = &scene.server else { continue };
            // It reads whole PEM files, and knows no pins.
            // It has no words for services and URIs.
            let is_application =
                question.names.iter().any(|name| name.contains(':') && name.parse::<IpAddr>().is_err());
            if chain.is_empty() || is_application || !case.is_about_the_chain() {
                continue;
            }
            let is_good = accepts(&openssl, chain, &question);
            let wanted = matches!(case.outcome, Outcome::Opens(_));
            let is_lenient = LENIENT.iter().any(|(what, _)| *what == case.what);
            if is_good != (wanted || is_lenient) {
                wrong.push(format!("  {}: good is {is_good}, and we say {wanted}", case.what));
            }
        }
    }
    assert!(wrong.is_empty(), "OpenSSL judges otherwise:\n{}", wrong.join("\n"));
}

/// Whether the chain is good for one of the names.
fn accepts(openssl: &Path, chain: &[Vec<u8>], question: &Question) -> bool {
    let dir = TempDir::new("opinion");
    let write = |name: &str, label: &str, ders: &[Vec<u8>]| {
        let file = dir.path().join(name);
        let all: String = ders.iter().map(|der| text(label, der)).collect();
        fs::write(&file, all).expect("the folder can be written");
        file
    };
    let [trust, rest, peer] = [("trust", &question.trust[..]), ("rest", &chain[1..]), ("peer", &chain[..1])]
        .map(|(name, ders)| write(name, "CERTIFICATE", ders));
    let lists = write("lists", "X509 CRL", &question.lists);
    question.names.iter().any(|name| {
        let mut command = Command::new(openssl);
        command.args(["verify", "-purpose", "sslserver", "-auth_level", "2", "-partial_chain", "-no-CApath"]);
        command.arg("-CAfile").arg(&trust);
        if !question.lists.is_empty() {
            command.arg("-crl_check_all").arg("-CRLfile").arg(&lists);
        }
        if chain.len() > 1 {
            command.arg("-untrusted").arg(&rest);
        }
        let kind = if name.parse::<IpAddr>().is_ok() { "-verify_ip" } else { "-verify_hostname" };
        command.args([kind, name.trim_end_matches('.')]).arg(&peer);
        Program::run(&mut command).status.success()
    })
}
