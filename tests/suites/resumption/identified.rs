//! Clients that show certificates and come back: known as at the first time, and looked at each time.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustls::ClientConfig;
use tlsify_client::{Accept, AccessRule, Client, ClientCertificate, Code, Facts, How, Pin, Trust};
use tlsifyd_tests::daemon::server_profile;
use tlsifyd_tests::openssl::{s_client, s_server};
use tlsifyd_tests::pki::{Identity, SERVER_NAME};
use tlsifyd_tests::wait::{LIMIT, until};
use tlsifyd_tests::{Door, KeyKind, Open, Peer, RawCaller, TempDir, TestDaemon, pki, reach, tcp_pair, tool};

use super::served::{session, showing, with_good};
use super::{EACH, good};

fn known() -> &'static Identity {
    pki().client(KeyKind::EcdsaP256)
}

/// Asks for a certificate of the good CA, and lets the known client in.
fn asking(request: Accept) -> Accept {
    let request = with_good(request).resume("web").client_certificate(ClientCertificate::Required);
    request.trust(Trust::ca(pki().ca.fd())).allow(AccessRule::Pin(known().spki_pin()))
}

/// Why a session with this request does not open.
#[track_caller]
fn refused(client: &Client, visitor: &Arc<ClientConfig>, ask: impl FnOnce(Accept) -> Accept) -> Option<Code> {
    let (near, far) = tcp_pair();
    let pending = client.start_accept(&ask(Accept::new(far))).unwrap();
    let mut peer = Peer::client(near, Arc::clone(visitor), SERVER_NAME);
    // In TLS 1.3 the client is done before it is judged.
    let _ = peer.handshake();
    pending.wait().err().and_then(|error| error.code())
}

type Who = (Option<tlsify_client::Sha256>, Option<tlsify_client::Sha256>, usize);

fn who(facts: &Facts) -> Who {
    (facts.spki_sha256, facts.certificate_sha256, facts.matched.len())
}

#[test]
fn a_client_that_comes_again_is_known_as_at_the_first_time() {
    let daemon = TestDaemon::start();
    let baseline = daemon.baseline();
    let client = daemon.client();
    for versions in EACH {
        let visitor = showing(versions, Some(known()));
        for exports in [false, true] {
            let ask = |request| {
                let request = asking(request).chain();
                if exports { request.channel_binding() } else { request }
            };
            client.forget("web", None).unwrap();
            let first = session(&client, &visitor, ask);
            let expected = (Some(known().spki_sha256), Some(known().certificate_sha256), 1);
            assert_eq!((first.resumed, who(&first)), (false, expected));
            for _ in 0..3 {
                let facts = session(&client, &visitor, ask);
                assert_eq!((facts.resumed, who(&facts), &facts.matched), (true, expected, &first.matched));
            }
        }
    }
    drop(client);
    daemon.settled_fds(&baseline);
}

#[test]
fn other_rules_are_a_full_handshake_and_who_is_let_in_no_more_stays_out() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    for versions in EACH {
        let more: [(&str, &dyn Fn(Accept) -> Accept); 3] = [
            ("rule", &|request| asking(request).allow(AccessRule::Dns("another.example".into()))),
            ("pin", &|request| asking(request).pin(known().spki_pin())),
            ("mode", &|request| asking(request).client_certificate(ClientCertificate::Optional)),
        ];
        for (what, other) in more {
            let visitor = showing(versions, Some(known()));
            session(&client, &visitor, asking);
            assert!(!session(&client, &visitor, other).resumed, "{what}");
            assert!(session(&client, &visitor, other).resumed, "{what}: its own");
        }
        let less: [(Code, &dyn Fn(Accept) -> Accept); 3] = [
            (Code::UnknownIssuer, &|request| asking(request).trust(Trust::ca(pki().other_ca.fd()))),
            (Code::PinMismatch, &|request| asking(request).pin(good().spki_pin())),
            (Code::NotAllowed, &|request| {
                let request = with_good(request).resume("web").trust(Trust::ca(pki().ca.fd()));
                let nobody = AccessRule::Dns("another.example".into());
                request.client_certificate(ClientCertificate::Required).allow(nobody)
            }),
        ];
        for (code, other) in less {
            let visitor = showing(versions, Some(known()));
            session(&client, &visitor, asking);
            assert_eq!(refused(&client, &visitor, other), Some(code));
        }
    }
}

#[test]
fn a_ticket_of_an_open_door_is_no_key_to_a_closed_one() {
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let optional = |request| {
        let request = with_good(request).resume("web").trust(Trust::ca(pki().ca.fd()));
        request.client_certificate(ClientCertificate::Optional)
    };
    for versions in EACH {
        let visitor = showing(versions, None);
        let open = |request| with_good(request).resume("web");
        assert_eq!(
            (session(&client, &visitor, open).resumed, session(&client, &visitor, open).resumed),
            (false, true)
        );
        assert_eq!(refused(&client, &visitor, asking), Some(Code::CertificateMissing));
        // Who showed nothing comes back as nobody.
        for resumed in [false, true, true] {
            let facts = session(&client, &visitor, optional);
            assert_eq!((facts.resumed, who(&facts)), (resumed, (None, None, 0)));
        }
        assert_eq!(refused(&client, &visitor, asking), Some(Code::CertificateMissing));
    }
}

/// A session of OpenSSL, whose ticket goes to `out`; how it was for us.
#[track_caller]
fn openssl_session(client: &Client, openssl: &Path, options: &[&str], out: &Path) -> Facts {
    let door = Door::open();
    let _ = fs::remove_file(out);
    let [certificate, key] =
        [&known().certificate_file, &known().key_file].map(|file| file.to_str().unwrap());
    let mut all = vec!["-servername", SERVER_NAME, "-sess_out", out.to_str().unwrap()];
    all.extend(["-cert", certificate, "-key", key]);
    all.extend(options);
    let mut tool = s_client(openssl, door.port(), &all);
    let mut open = Open::new(client.accept(&asking(Accept::new(door.next()))).unwrap());
    open.say("word\n");
    tool.program.line_with("word");
    let written = || fs::read_to_string(out).is_ok_and(|text| text.contains("-----END SSL SESSION"));
    // A session of TLS 1.2 that was resumed is not written: OpenSSL goes on with what it has.
    let again = options.contains(&"-tls1_2") && options.contains(&"-sess_in");
    until(LIMIT, || (again || written()).then_some(())).expect("the client gets its ticket");
    tool.hang_up();
    let facts = open.facts.clone();
    let (_, ended) = open.rest();
    assert_eq!(ended.how, How::CloseNotify, "{ended:?}");
    let (said, word) = (tool.program.stdout(), if facts.resumed { "Reused, " } else { "New, " });
    assert!(said.lines().any(|line| line.starts_with(word)), "{said}");
    facts
}

#[test]
fn openssl_with_a_certificate_resumes_in_both_versions_with_a_ticket_from_a_file() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let client = daemon.client();
    let dir = TempDir::new("sessions");
    for version in ["-tls1_2", "-tls1_3"] {
        let [one, two] = ["one", "two"].map(|name| dir.path().join(name));
        let first = openssl_session(&client, &openssl, &[version], &one);
        assert_eq!((first.resumed, first.spki_sha256), (false, Some(known().spki_sha256)));
        for _ in 0..2 {
            let with = [version, "-sess_in", one.to_str().unwrap()];
            let facts = openssl_session(&client, &openssl, &with, &two);
            assert_eq!((facts.resumed, who(&facts)), (true, who(&first)), "{version}");
            if version == "-tls1_3" {
                fs::rename(&two, &one).unwrap();
            }
        }
    }
}

/// The other way round: our certificate, OpenSSL's tickets, a directory to find them by.
#[test]
fn as_a_client_with_a_certificate_we_resume_with_openssl_in_a_directory() {
    let Some(openssl) = tool("openssl") else { return };
    let daemon = TestDaemon::start();
    let caller = RawCaller::connect(daemon.socket());
    let ca = pki().ca.file.to_str().unwrap();
    for version in ["-tls1_2", "-tls1_3"] {
        let dir = TempDir::new("place");
        let options = [version, "-naccept", "2", "-Verify", "1", "-CAfile", ca];
        let (mut server, port) = s_server(&openssl, good(), &options);
        for resumed in ["no", "yes"] {
            let request = format!(
                "tlsify/1 connect\nid=1\nfds=net certificate key ca tickets\nname={SERVER_NAME}\ntrust=descriptor\n"
            );
            let (certificate, key) = (known().certificate_fd(), known().key_fd());
            let place = fs::File::open(dir.path()).unwrap();
            let mut established =
                caller.ask(request, &[&reach(port), &certificate, &key, &pki().ca.fd(), &place]);
            assert_eq!(established.verb(), "established", "{}", established.text);
            assert_eq!(established.get("resumed"), Some(resumed), "{version}: {}", established.text);
            let mut plain = std::os::unix::net::UnixStream::from(established.fds.remove(0));
            // Behind the tickets of TLS 1.3.
            server.type_in("word\n");
            let mut word = [0; 5];
            std::io::Read::read_exact(&mut plain, &mut word).unwrap();
            assert_eq!(&word, b"word\n");
            drop(plain);
            assert_eq!(caller.answer().verb(), "ended");
        }
    }
}

#[test]
fn a_reload_with_another_ca_or_rule_is_not_got_round_by_a_ticket() {
    for versions in EACH {
        let dir = TempDir::new("authorities");
        let file = dir.path().join("ca.pem");
        fs::write(&file, &pki().ca.pem).unwrap();
        let config = |allow: &Pin| {
            let profile =
                server_profile("theirs", "users = [\"*\"]", &good().certificate_file, &good().key_file);
            let rules = format!(
                "client-certificate = \"required\"\ntrust = \"store:ours\"\nallow = [\"{}\"]\n[[profile.identity]]",
                match allow {
                    Pin::Spki(hash) => format!("spki-sha256:{hash}"),
                    Pin::Certificate(hash) => format!("certificate-sha256:{hash}"),
                }
            );
            let store = format!("[[store]]\nname = \"ours\"\nfile = \"{}\"\n", file.display());
            store + &profile.replacen("[[profile.identity]]", &rules, 1)
        };
        let daemon = TestDaemon::with_config(config(&known().spki_pin()));
        let client = daemon.client();
        let visitor = showing(versions, Some(known()));
        let ask = |request: Accept| request.profile("theirs").resume("web");
        let reload = || {
            let before = daemon.log().len();
            daemon.signal(Signal::SIGHUP);
            until(LIMIT, || daemon.log()[before..].contains("configuration reloaded").then_some(()))
                .expect("it reloads");
        };
        assert_eq!(
            (session(&client, &visitor, ask).resumed, session(&client, &visitor, ask).resumed),
            (false, true)
        );
        reload();
        assert!(session(&client, &visitor, ask).resumed, "nothing has changed");
        // The same client by another rule.
        daemon.write_config(&config(&known().certificate_pin()));
        reload();
        assert_eq!(
            (session(&client, &visitor, ask).resumed, session(&client, &visitor, ask).resumed),
            (false, true)
        );
        daemon.write_config(&config(&good().spki_pin()));
        reload();
        assert_eq!(refused(&client, &visitor, ask), Some(Code::NotAllowed));
        daemon.write_config(&config(&known().spki_pin()));
        fs::write(&file, &pki().other_ca.pem).unwrap();
        reload();
        assert_eq!(refused(&client, &visitor, ask), Some(Code::UnknownIssuer));
    }
}
