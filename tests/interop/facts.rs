//! What a session says about itself, against what OpenSSL says about the same one: parameters, application protocol,
//! the identity that a name gets, keying material byte for byte, the stapled OCSP response.

use std::fs;
use std::path::Path;
use std::process::Command;

use tlsify_client::{Accept, Alert, AlpnMismatch, Code, Connect, Error, Party, Profile, Trust, UnknownName};
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::{Door, KeyKind, Open, Program, TempDir, TestDaemon, Typed, pki, reach, tool};

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

fn me(identities: &[&Identity]) -> Profile {
    identities.iter().fold(Profile::server("me"), |profile, identity| {
        profile.certificate(identity.certificate_fd()).key(identity.key_fd())
    })
}

/// `openssl s_client` with these options meets a server of this profile.
fn serve(
    openssl: &Path,
    profile: &Profile,
    options: &[&str],
    ask: impl FnOnce(Accept) -> Accept,
) -> (Result<Open, Error>, Typed) {
    let (daemon, door) = (TestDaemon::start(), Door::open());
    let caller = daemon.client();
    caller.define(profile).unwrap();
    let tool = s_client(openssl, door.port(), options);
    let established = caller.accept(&ask(Accept::new(door.next()).profile("me")));
    (established.map(Open::new), tool)
}

/// The code and the alert that we sent, which OpenSSL heard too.
#[track_caller]
fn refused((result, mut tool): (Result<Open, Error>, Typed), alert: u8) -> Code {
    let Err(Error::Failed(failed)) = result else { panic!("{result:?}") };
    assert_eq!(failed.alert, Some(Alert { description: alert, from: Party::Us }), "{failed:?}");
    tool.program.line_with(&format!("SSL alert number {alert}"));
    failed.code
}

#[test]
fn versions_suites_groups_and_schemes_are_told_by_their_registered_names() {
    let Some(openssl) = tool("openssl") else { return };
    let meetings: [(&[&str], [&str; 4]); 4] = [
        (
            &["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-groups", "P-384"],
            ["TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256", "secp384r1", "ecdsa_secp256r1_sha256"],
        ),
        (
            &["-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "X25519"],
            ["TLSv1.3", "TLS_AES_128_GCM_SHA256", "x25519", "ecdsa_secp256r1_sha256"],
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384", "-groups", "P-256", "-sigalgs"],
            ["TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "secp256r1", "ecdsa_secp256r1_sha256"],
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305", "-groups", "X25519:P-256", "-sigalgs"],
            ["TLSv1.2", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "x25519", "ecdsa_secp256r1_sha256"],
        ),
    ];
    for (options, told) in meetings {
        let options =
            [options, if options.ends_with(&["-sigalgs"]) { &["ecdsa_secp256r1_sha256"] } else { &[] }];
        let (open, mut tool) = serve(&openssl, &me(&[good()]), &options.concat(), |accept| accept);
        let facts = open.unwrap_or_else(|error| panic!("{error}: {}", tool.program.stderr())).facts;
        let [group, signature] = [facts.group, facts.signature].map(Option::unwrap_or_default);
        assert_eq!([&facts.protocol, &facts.cipher, &group, &signature], told.each_ref());
        assert!(!facts.resumed && facts.spki_sha256.is_none() && facts.matched.is_empty());
        tool.program.line_with("Peer signing digest: SHA256");
    }
}

#[test]
fn addresses_are_those_of_the_network_socket() {
    let Some(openssl) = tool("openssl") else { return };
    let (tool, port) = s_server(&openssl, good(), &[]);
    let socket = reach(port);
    let ends = (socket.local_addr().unwrap().to_string(), socket.peer_addr().unwrap().to_string());
    let connect = Connect::new(socket).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).chain();
    let open = Open::new(TestDaemon::start().client().connect_tls(&connect).unwrap());
    let told = [open.facts.local, open.facts.peer].map(|end| end.map(|end| end.to_string()));
    assert_eq!(told, [Some(ends.0), Some(ends.1)]);
    assert_eq!(open.chain.lines().next(), Some("-----BEGIN CERTIFICATE-----"));
    drop(tool);
}

#[test]
fn a_shared_application_protocol_is_told_to_both() {
    let Some(openssl) = tool("openssl") else { return };
    let profile = || me(&[good()]).alpn(["h2", "http/1.1"]);
    let (open, mut tool) = serve(&openssl, &profile(), &["-alpn", "http/1.1,h2"], |accept| accept);
    assert_eq!(open.unwrap().facts.alpn.as_deref(), Some(b"h2".as_slice()), "our order counts");
    tool.program.line_with("ALPN protocol: h2");
    let (open, mut tool) = serve(&openssl, &profile(), &[], |accept| accept);
    assert_eq!(open.unwrap().facts.alpn, None, "who offers none does not mind");
    tool.program.line_with("No ALPN negotiated");
}

#[test]
fn a_server_without_a_shared_application_protocol_does_what_its_profile_says() {
    let Some(openssl) = tool("openssl") else { return };
    let profile = || me(&[good()]).alpn(["h2"]);
    for version in ["-tls1_2", "-tls1_3"] {
        let options = [version, "-alpn", "smtp"];
        assert_eq!(refused(serve(&openssl, &profile(), &options, |accept| accept), 120), Code::NoSharedAlpn);
        let ignore = profile().alpn_mismatch(AlpnMismatch::Ignore);
        let (open, mut tool) = serve(&openssl, &ignore, &options, |accept| accept);
        assert_eq!(open.unwrap().facts.alpn, None);
        tool.program.line_with("No ALPN negotiated");
        let (open, _tool) = serve(&openssl, &ignore, &[version, "-alpn", "smtp,h2"], |accept| accept);
        assert_eq!(open.unwrap().facts.alpn.as_deref(), Some(b"h2".as_slice()), "ignoring is not forgetting");
    }
}

#[test]
fn a_client_whose_server_speaks_no_alpn_does_what_it_was_told() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let connect = |port| {
        Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd())).alpn(["h2", "http/1.1"])
    };
    let (_tool, port) = s_server(&openssl, good(), &["-alpn", "http/1.1"]);
    let open = Open::new(daemon.client().connect_tls(&connect(port)).unwrap());
    assert_eq!(open.facts.alpn.as_deref(), Some(b"http/1.1".as_slice()));

    let (_tool, port) = s_server(&openssl, good(), &[]);
    let open = Open::new(daemon.client().connect_tls(&connect(port)).unwrap());
    assert_eq!(open.facts.alpn, None);

    let (mut tool, port) = s_server(&openssl, good(), &[]);
    let refuse = connect(port).alpn_mismatch(AlpnMismatch::Refuse);
    let Err(Error::Failed(failed)) = daemon.client().connect_tls(&refuse) else { panic!("it went on") };
    // RFC 7301 section 3.2 has an alert for servers only: the server sees an end without a goodbye.
    assert_eq!((failed.code, failed.alert), (Code::NoSharedAlpn, None), "{failed:?}");
    tool.program.line_with("unexpected eof");
}

#[test]
fn a_name_gets_its_identity_exact_before_wildcard() {
    let Some(openssl) = tool("openssl") else { return };
    let names = ["front.example", "*.shop.example", "a.shop.example"];
    let identities = names.map(|name| pki().server_for(name));
    let profile = || me(&identities.each_ref());
    for (asked, got) in [
        ("a.shop.example", "a.shop.example"),
        ("A.Shop.Example", "a.shop.example"),
        ("b.shop.example", "*.shop.example"),
        ("front.example", "front.example"),
    ] {
        let (open, mut tool) = serve(&openssl, &profile(), &["-servername", asked], |accept| accept);
        assert_eq!(open.unwrap().facts.server_name, Some(asked.to_lowercase()));
        tool.program.line_with(&format!("subject=CN = {got}"));
    }
    let (open, mut tool) = serve(&openssl, &profile(), &["-noservername"], |accept| accept);
    assert_eq!(open.unwrap().facts.server_name, None);
    tool.program.line_with("subject=CN = front.example");
}

#[test]
fn an_unknown_name_is_refused_or_gets_the_first_identity() {
    let Some(openssl) = tool("openssl") else { return };
    for asked in ["other.example", "a.b.shop.example", "shop.example"] {
        for version in ["-tls1_2", "-tls1_3"] {
            let profile = me(&[&pki().server_for("*.shop.example")]);
            let options = [version, "-servername", asked];
            let code = refused(serve(&openssl, &profile, &options, |accept| accept), 112);
            assert_eq!(code, Code::UnknownServerName);
            let first = profile.unknown_name(UnknownName::First);
            let (open, mut tool) = serve(&openssl, &first, &options, |accept| accept);
            assert_eq!(open.unwrap().facts.server_name.as_deref(), Some(asked));
            tool.program.line_with("subject=CN = *.shop.example");
        }
    }
}

#[test]
fn keying_material_is_the_same_on_both_sides() {
    let Some(openssl) = tool("openssl") else { return };
    const LABEL: &str = "EXPORTER-Channel-Binding";
    for version in ["-tls1_2", "-tls1_3"] {
        let options = [version, "-keymatexport", LABEL, "-keymatexportlen", "32"];
        let (open, mut tool) = serve(&openssl, &me(&[good()]), &options, |accept| {
            accept
                .export(LABEL, None, 32)
                .export("EXPERIMENTAL tlsifyd", Some(b"context"), 48)
                .channel_binding()
        });
        let facts = open.unwrap_or_else(|error| panic!("{error}: {}", tool.program.stderr())).facts;
        let line = tool.program.line_with("Keying material: ");
        let theirs = line.trim().trim_start_matches("Keying material: ");
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
        assert_eq!(hex(&facts.exports[0].value), theirs, "{version}");
        assert_eq!((facts.exports[1].value.len(), facts.exports.len()), (48, 2));
        // RFC 9266 section 4: no context. In TLS 1.2 that is another value than with an empty one.
        assert_eq!(
            facts.channel_binding.map(|binding| hex(&binding.0)).as_deref(),
            Some(theirs),
            "{version}"
        );
    }
}

/// A response of the good CA that says "good" of this certificate.
fn ocsp_response(openssl: &Path, dir: &TempDir, identity: &Identity) -> Vec<u8> {
    let path = |name: &str| dir.path().join(name);
    let mut command = Command::new(openssl);
    let serial =
        Program::run(command.args(["x509", "-noout", "-serial", "-in"]).arg(&identity.certificate_file)).ok();
    let serial = serial.trim().trim_start_matches("serial=");
    fs::write(path("index"), format!("V\t400101000000Z\t\t{serial}\tunknown\t/CN=server\n")).unwrap();
    fs::write(path("ca.key"), pki().ca.key_pem()).unwrap();
    let mut command = Command::new(openssl);
    command.args(["ocsp", "-ndays", "1", "-index"]).arg(path("index"));
    for option in ["-CA", "-rsigner", "-issuer"] {
        command.arg(option).arg(&pki().ca.file);
    }
    command.arg("-rkey").arg(path("ca.key")).arg("-cert").arg(&identity.certificate_file);
    Program::run(command.arg("-respout").arg(path("response"))).ok();
    fs::read(path("response")).unwrap()
}

#[test]
fn a_stapled_response_reaches_the_client_that_asks() {
    let Some(openssl) = tool("openssl") else { return };
    let dir = TempDir::new("ocsp");
    let response = ocsp_response(&openssl, &dir, good());
    for version in ["-tls1_2", "-tls1_3"] {
        let profile = me(&[good()]).ocsp(tlsify_client::pem_fd(&response).unwrap());
        let (open, mut tool) = serve(&openssl, &profile, &[version, "-status"], |accept| accept);
        open.unwrap();
        tool.program.line_with("Cert Status: good");
    }
    let (open, mut tool) = serve(&openssl, &me(&[good()]), &["-status"], |accept| accept);
    open.unwrap();
    tool.program.line_with("OCSP response: no response sent");
}
