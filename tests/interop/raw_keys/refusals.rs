//! Ends that do not do raw public keys, and requests that cannot be meant.

use tlsify_client::{Accept, Alert, CertificateType, ClientCertificate, Code, Connect, Error, Party, Trust};
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::pki::{Identity, SERVER_NAME, memfd};
use tlsifyd_tests::{Door, KeyKind, Open, Options, RawCaller, TestDaemon, pki, reach, tcp_pair, tool};

use super::{accept, connect, ours};

#[track_caller]
fn not_shared<T: std::fmt::Debug>(result: Result<T, Error>) {
    let Err(Error::Failed(failed)) = result else { panic!("{result:?}") };
    let said = Some(Alert { description: 40, from: Party::Us });
    assert_eq!((failed.code, failed.alert), (Code::NoSharedParameters, said), "{failed:?}");
    assert!(failed.text.contains("raw public key"), "{failed:?}");
}

#[test]
fn a_server_that_does_not_know_raw_keys_is_told_apart_from_one_with_another_key() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let peer = pki().server(KeyKind::EcdsaP256);
    // The right key, in a certificate.
    let (mut tool, port) = s_server(&openssl, peer, &[]);
    not_shared(daemon.client().connect_tls(&connect(reach(port), peer)));
    tool.program.line_with("SSL alert number 40");
    // Our own raw public key is not taken.
    let (_tool, port) = s_server(&openssl, peer, &["-Verify", "1"]);
    let request = Connect::new(reach(port)).name(SERVER_NAME).trust(Trust::ca(pki().ca.fd()));
    not_shared(daemon.client().connect_tls(&request.key(ours().key_fd())));
}

#[test]
fn a_client_that_does_not_know_raw_keys_hears_an_alert() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let shows_one = |net| Accept::new(net).key(ours().key_fd());
    let wants_one = |net| accept(net, pki().client(KeyKind::EcdsaP256));
    let may_want_one = |net| wants_one(net).client_certificate(ClientCertificate::Optional);
    for request in [&shows_one as &dyn Fn(_) -> Accept, &wants_one, &may_want_one] {
        let door = Door::open();
        let mut tool = s_client(&openssl, door.port(), &[]);
        not_shared(daemon.client().accept(&request(door.next())));
        tool.program.line_with("SSL alert number 40");
    }
    // TLS 1.2 has no raw public keys here.
    let door = Door::open();
    let _tool = s_client(&openssl, door.port(), &["-tls1_2"]);
    let result = daemon.client().accept(&shows_one(door.next())).map(Open::new);
    assert_eq!(result.unwrap_err().code(), Some(Code::NoSharedVersion));
}

/// What the parser cannot know: a profile that was defined before.
#[test]
fn a_name_beside_a_profile_with_raw_keys_is_refused() {
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let hash = "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=";
    let define = format!(
        "tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=key\ntrust=pins\npin=spki-sha256:{hash}\n\
         certificate-type=raw-public-key\n"
    );
    assert_eq!(caller.ask(define, &[&ours().key_fd()]).verb(), "defined");
    let net = tcp_pair().0;
    let request = "tlsify/1 connect\nid=2\nfds=net\nprofile=p\nname=a.example\n";
    caller.ask(request, &[&net]).assert_refused("key-conflict", Some("name"));
    let request = "tlsify/1 connect\nid=2\nfds=net\nprofile=p\ncertificate-type=x509\n";
    caller.ask(request, &[&net]).assert_refused("key-conflict", Some("certificate-type"));
    // A key that is none.
    let bad = memfd("-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n");
    let request = "tlsify/1 accept\nid=2\nfds=net key\n";
    caller.ask(request, &[&net, &bad]).assert_refused("key-invalid", Some("key"));
}

#[test]
fn a_host_that_leaves_tls13_out_has_no_raw_keys() {
    let daemon = TestDaemon::start();
    let request = accept(tcp_pair().0, ours()).ciphers(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]);
    let Err(Error::Refused(refused)) = daemon.client().accept(&request) else { panic!("it was taken") };
    assert_eq!((refused.code, refused.about.as_deref()), (Code::KeyConflict, Some("max")), "{refused:?}");
}

/// The operator's words for the same, and the same refusals with the profile's line.
#[test]
fn the_operators_profiles_have_raw_keys_too() {
    let Some(_) = tool("openssl") else { return };
    let (peer, own) = (pki().client(KeyKind::EcdsaP256), ours());
    let pin = |identity: &Identity| format!("spki-sha256:{}", identity.spki_sha256);
    let profile = |name: &str, role: &str, theirs: &str, key: &std::path::Path, more: &str| {
        format!(
            "[[profile]]\nname = \"{name}\"\nrole = \"{role}\"\nusers = [\"*\"]\ntrust = \"pins\"\npins = [\"{theirs}\"]\n\
             certificate-type = \"raw-public-key\"\nkey-update-bytes = 1000000\nkey-update-interval = \"1h\"\n{more}\n\
             [[profile.identity]]\nkey = \"{}\"\n",
            key.display()
        )
    };
    let server = profile("in", "server", &pin(peer), &own.key_file, "client-certificate = \"required\"");
    let client = profile("out", "client", &pin(own), &peer.key_file, "");
    let daemon =
        TestDaemon::with(Options { config: Some(format!("{server}{client}")), ..Options::default() });
    let (near, far) = tcp_pair();
    let caller = daemon.client();
    let pending = caller.start_accept(&Accept::new(far).profile("in")).unwrap();
    let mut there = Open::new(daemon.client().connect_tls(&Connect::new(near).profile("out")).unwrap());
    let mut here = Open::new(pending.wait().unwrap());
    for open in [&there, &here] {
        assert_eq!(open.facts.certificate_type, Some(CertificateType::RawPublicKey));
    }
    there.say("hello\n");
    here.hear("hello\n");
}
