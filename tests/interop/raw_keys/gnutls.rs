//! GnuTLS shows raw public keys and takes them, each kind and in both roles.

use std::path::PathBuf;

use tlsify_client::{Alert, CertificateType, Code, Error, Facts, How, Matched, Party};
use tlsifyd_tests::gnutls::{ONLY_RAW_KEYS, RawKey, cli, serv};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{Door, KeyKind, Open, TestDaemon, Typed, pki, reach, tool};

use super::{accept, connect, ours};

/// RFC 9266 section 2.
const BINDING: &str = "EXPORTER-Channel-Binding";

/// The tools: GnuTLS' client, its server, and openssl for public keys.
fn tools() -> Option<[PathBuf; 3]> {
    Some([tool("gnutls-cli")?, tool("gnutls-serv")?, tool("openssl")?])
}

/// What is said of a peer with this raw public key.
#[track_caller]
fn assert_told(facts: &Facts, peer: &Identity) {
    assert_eq!(facts.certificate_type, Some(CertificateType::RawPublicKey));
    assert_eq!(facts.protocol, "TLSv1.3");
    assert_eq!(facts.spki_sha256, Some(peer.spki_sha256));
    assert_eq!(facts.certificate_sha256, None, "there is no certificate");
    assert_eq!(facts.matched, [Matched::Pin(peer.spki_pin())]);
}

/// Both have the same secrets: what GnuTLS prints of them when it is asked for this export.
fn assert_binding(facts: &Facts, tool: &mut Typed) {
    let line = tool.program.line_with("Key material: ");
    let ours: String =
        facts.channel_binding.expect("it was asked for").0.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(line.trim().rsplit(' ').next(), Some(ours.as_str()), "{line}");
}

const EXPORT: [&str; 4] = ["--keymatexport", BINDING, "--keymatexportsize", "32"];

#[test]
fn a_server_is_known_by_its_key_and_knows_ours() {
    let Some([_, gnutls, openssl]) = tools() else { return };
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    for kind in KeyKind::ALL {
        let peer = pki().server(kind);
        let key = RawKey::of(&openssl, peer);
        for asks in [true, false] {
            let mut options = EXPORT.to_vec();
            options.extend(asks.then_some("--require-client-cert"));
            let (mut tool, port) = serv(&gnutls, ONLY_RAW_KEYS, Some(&key), &options);
            let request = connect(reach(port), peer).chain().channel_binding();
            let request = if asks { request.key(ours().key_fd()) } else { request };
            let mut open = match daemon.client().connect_tls(&request) {
                Ok(established) => Open::new(established),
                Err(error) => panic!("{kind:?} {asks}: {error}\n{}", tool.program.stderr()),
            };
            assert_told(&open.facts, peer);
            assert_eq!(open.chain, "", "there is no chain");
            open.say("hello\n");
            open.hear("hello\n");
            assert_binding(&open.facts, &mut tool);
            if asks {
                tool.program.line_with("Client Signature: EdDSA-Ed25519");
            }
            open.finish();
        }
    }
    daemon.settled_fds(&baseline);
}

#[test]
fn a_client_is_known_by_its_key_and_knows_ours() {
    let Some([gnutls, _, openssl]) = tools() else { return };
    let daemon = TestDaemon::start();
    for kind in KeyKind::ALL {
        let peer = pki().client(kind);
        let (door, key) = (Door::open(), RawKey::of(&openssl, peer));
        let options = [&EXPORT[..], &["--insecure"]].concat();
        let mut tool = cli(&gnutls, door.port(), ONLY_RAW_KEYS, Some(&key), &options);
        let request = accept(door.next(), peer).channel_binding().chain();
        let mut open = match daemon.client().accept(&request) {
            Ok(established) => Open::new(established),
            Err(error) => panic!("{kind:?}: {error}\n{}", tool.program.stderr()),
        };
        assert_told(&open.facts, peer);
        assert_eq!(open.chain, "", "there is no chain");
        assert_binding(&open.facts, &mut tool);
        tool.program.line_with("Certificate type: Raw Public Key");
        tool.type_in("hello\n");
        open.hear("hello\n");
        open.say("and back\n");
        tool.program.line_with("and back");
        tool.hang_up();
        assert_eq!(open.rest().1.how, How::CloseNotify, "{kind:?}");
    }
}

#[test]
fn another_key_is_refused_and_told_so_that_it_can_be_pinned() {
    let Some([client, server, openssl]) = tools() else { return };
    let daemon = TestDaemon::start();
    let (peer, other) = (pki().server(KeyKind::EcdsaP256), pki().server(KeyKind::Rsa2048));
    let key = RawKey::of(&openssl, other);
    let (_tool, port) = serv(&server, ONLY_RAW_KEYS, Some(&key), &[]);
    let by_client = daemon.client().connect_tls(&connect(reach(port), peer));
    let door = Door::open();
    let mut tool = cli(&client, door.port(), ONLY_RAW_KEYS, Some(&key), &["--insecure"]);
    let by_server = daemon.client().accept(&accept(door.next(), peer));
    for result in [by_client, by_server] {
        let Err(Error::Failed(failed)) = result else { panic!("{result:?}") };
        let said = Some(Alert { description: 46, from: Party::Us });
        assert_eq!((failed.code, failed.alert), (Code::PinMismatch, said), "{failed:?}");
        assert_eq!((failed.spki_sha256, failed.certificate_sha256), (Some(other.spki_sha256), None));
        assert!(failed.chain.is_none(), "there is no chain");
    }
    tool.program.line_with("Received alert [46]");
}
