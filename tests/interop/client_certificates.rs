//! Who may come in: client certificates that are asked for, and rules about them. A refusal reaches the client as an
//! alert that says why.

use std::process::Command;

use tlsify_client::{
    Accept, AccessRule, Alert, ClientCertificate, Code, Error, How, Matched, Party, Pin, Profile, Sha256,
    Trust,
};
use tlsifyd_tests::openssl::s_client;
use tlsifyd_tests::pki::{CLIENT_DNS, CLIENT_MAIL, CLIENT_URI, Identity, SERVER_NAME};
use tlsifyd_tests::{Door, KeyKind, Open, TestDaemon, Typed, pki, tool};

const VERSIONS: [&str; 2] = ["-tls1_2", "-tls1_3"];

fn client() -> &'static Identity {
    pki().client(KeyKind::EcdsaP256)
}

/// A server that treats clients so, with the good CA.
fn asks(choice: ClientCertificate) -> Profile {
    trusting_nobody().client_certificate(choice).trust(Trust::ca(pki().ca.fd()))
}

fn trusting_nobody() -> Profile {
    let server = pki().server(KeyKind::EcdsaP256);
    Profile::server("door").certificate(server.certificate_fd()).key(server.key_fd())
}

/// One client at the door.
struct Visit {
    result: Result<Open, Error>,
    tool: Typed,
    /// The session lives in it.
    _daemon: TestDaemon,
}

/// `openssl s_client` comes with this identity, or with none. `None`: there is no openssl.
fn come(profile: &Profile, version: &str, identity: Option<&Identity>) -> Option<Visit> {
    let openssl = tool("openssl")?;
    let (daemon, door) = (TestDaemon::start(), Door::open());
    let caller = daemon.client();
    caller.define(profile).unwrap();
    let path = |path: &std::path::Path| path.to_str().expect("our paths are text").to_owned();
    let files = identity.map(|who| [path(&who.certificate_file), path(&who.key_file)]);
    let mut options = vec![version];
    if let Some([certificate, key]) = &files {
        options.extend(["-cert", certificate, "-key", key]);
    }
    let tool = s_client(&openssl, door.port(), &options);
    let established = caller.accept(&Accept::new(door.next()).profile("door"));
    Some(Visit { result: established.map(Open::new), tool, _daemon: daemon })
}

/// It is let in, with data both ways; what matched.
#[track_caller]
fn enters(profile: &Profile, identity: Option<&Identity>) -> Vec<Matched> {
    let mut matched = Vec::new();
    for version in VERSIONS {
        let Some(Visit { result, mut tool, _daemon }) = come(profile, version, identity) else { continue };
        let mut open = result.unwrap_or_else(|error| panic!("{version}: {error}: {}", tool.program.stderr()));
        assert_eq!(open.facts.spki_sha256, identity.map(|identity| identity.spki_sha256));
        matched.clone_from(&open.facts.matched);
        tool.type_in("hello\n");
        open.hear("hello\n");
        tool.hang_up();
        assert_eq!(open.rest().1.how, How::CloseNotify);
    }
    matched
}

/// It is kept out with this code, by an alert that OpenSSL hears.
#[track_caller]
fn kept_out(profile: &Profile, identity: Option<&Identity>, code: Code, alert: u8) {
    for version in VERSIONS {
        let Some(Visit { result, mut tool, _daemon }) = come(profile, version, identity) else { continue };
        let Err(Error::Failed(failed)) = result else { panic!("{version}: {result:?}") };
        let said = Some(Alert { description: alert, from: Party::Us });
        assert_eq!((failed.code, failed.alert), (code, said), "{version}: {failed:?}");
        assert_eq!(failed.spki_sha256, identity.map(|identity| identity.spki_sha256));
        tool.program.line_with(&format!("SSL alert number {alert}"));
    }
}

#[test]
fn nobody_is_asked_unless_the_profile_says_so() {
    for version in VERSIONS {
        let Some(visit) = come(&trusting_nobody(), version, Some(client())) else { return };
        assert_eq!(visit.result.unwrap().facts.spki_sha256, None, "a certificate came unasked");
    }
}

#[test]
fn optional_takes_none_and_good_ones_but_no_bad_ones() {
    let profile = asks(ClientCertificate::Optional);
    enters(&profile, None);
    for kind in KeyKind::ALL {
        enters(&profile, Some(pki().client(kind)));
    }
    kept_out(&profile, Some(&pki().wrong_ca_client), Code::UnknownIssuer, 48);
}

#[test]
fn required_means_required() {
    let profile = asks(ClientCertificate::Required);
    for kind in KeyKind::ALL {
        enters(&profile, Some(pki().client(kind)));
    }
    kept_out(&profile, None, Code::CertificateMissing, 116);
    kept_out(&profile, Some(&pki().wrong_ca_client), Code::UnknownIssuer, 48);
}

#[test]
fn a_servers_certificate_makes_no_client() {
    let server = pki().server(KeyKind::EcdsaP256);
    kept_out(&asks(ClientCertificate::Required), Some(server), Code::CertificatePurpose, 43);
}

#[test]
fn each_kind_of_rule_lets_its_client_in_and_nobody_else() {
    let [spki, other_spki] = [client(), pki().client(KeyKind::Ed25519)].map(|who| who.spki_sha256);
    let rules = [
        (AccessRule::Dns(CLIENT_DNS.into()), AccessRule::Dns("elsewhere.example".into())),
        (AccessRule::Dns("*.example".into()), AccessRule::Dns("*.client.example".into())),
        (AccessRule::Uri(CLIENT_URI.into()), AccessRule::Uri(format!("{CLIENT_URI}/more"))),
        (AccessRule::Mail(CLIENT_MAIL.into()), AccessRule::Mail("somebody@example.org".into())),
        (AccessRule::Pin(Pin::Spki(spki)), AccessRule::Pin(Pin::Spki(other_spki))),
        (
            AccessRule::Pin(Pin::Certificate(client().certificate_sha256)),
            AccessRule::Pin(Pin::Certificate(Sha256([0; 32]))),
        ),
    ];
    for (fits, does_not) in rules {
        let profile = asks(ClientCertificate::Required).allow(does_not.clone()).allow(fits.clone());
        let matched = enters(&profile, Some(client()));
        if tool("openssl").is_some() {
            assert_eq!(matched, [Matched::Allow(fits)]);
        }
        let profile = asks(ClientCertificate::Required).allow(does_not);
        kept_out(&profile, Some(client()), Code::NotAllowed, 49);
    }
}

#[test]
fn a_rule_does_not_replace_the_chain() {
    let impostor = &pki().wrong_ca_client;
    let profile = asks(ClientCertificate::Required).allow(AccessRule::Dns(CLIENT_DNS.into()));
    kept_out(&profile, Some(impostor), Code::UnknownIssuer, 48);
    let pinned = asks(ClientCertificate::Required).pin(impostor.spki_pin());
    kept_out(&pinned, Some(impostor), Code::UnknownIssuer, 48);
}

#[test]
fn pins_can_stand_alone_for_clients_too() {
    let known = &pki().wrong_ca_client;
    let profile = || trusting_nobody().client_certificate(ClientCertificate::Required).trust(Trust::Pins);
    enters(&profile().pin(known.spki_pin()), Some(known));
    kept_out(&profile().pin(known.spki_pin()), Some(client()), Code::PinMismatch, 46);
    kept_out(&profile().pin(known.spki_pin()), None, Code::CertificateMissing, 116);
}

#[test]
fn curl_shows_its_certificate() {
    let Some(curl) = tool("curl") else { return };
    let (daemon, door) = (TestDaemon::start(), Door::open());
    let caller = daemon.client();
    let rule = AccessRule::Uri(CLIENT_URI.into());
    caller.define(&asks(ClientCertificate::Required).allow(rule.clone())).unwrap();
    let fetch = |identity: Option<&Identity>| {
        let port = door.port();
        let mut command = Command::new(&curl);
        command.args(["-sS", "--resolve", &format!("{SERVER_NAME}:{port}:127.0.0.1"), "--cacert"]);
        command.arg(&pki().ca.file).arg(format!("https://{SERVER_NAME}:{port}/"));
        if let Some(identity) = identity {
            command.arg("--cert").arg(&identity.certificate_file).arg("--key").arg(&identity.key_file);
        }
        Typed::start(&mut command)
    };
    let tool = fetch(Some(client()));
    let mut open = Open::new(caller.accept(&Accept::new(door.next()).profile("door")).unwrap());
    assert_eq!(open.facts.matched, [Matched::Allow(rule)]);
    open.hear("\r\n\r\n");
    open.say("HTTP/1.0 200 OK\r\n\r\nwelcome");
    open.finish();
    assert_eq!(open.rest().1.how, How::CloseNotify);
    assert_eq!(tool.program.wait().ok(), "welcome");

    let tool = fetch(None);
    let error = caller.accept(&Accept::new(door.next()).profile("door")).unwrap_err();
    assert_eq!(error.code(), Some(Code::CertificateMissing));
    let output = tool.program.wait();
    assert!(!output.status.success() && output.stderr.contains("certificate required"), "{}", output.stderr);
}
