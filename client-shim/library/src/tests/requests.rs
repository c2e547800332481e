//! What the builders write.

use std::fs::File;
use std::time::Duration;

use rustix::net::AddressFamily;

use tlsify_protocol::keys::Verb;

use super::{pair, socket, within};
use crate::{
    Accept, AccessRule, AlpnMismatch, AskDefault, Bind, CertificateType, Choice, ClientCertificate, Connect,
    CrlCheck, CrlDoubt, Error, ExtendedMasterSecret, Level, Pin, Profile, Role, Sha256, StapledOcsp, Trust,
    UnknownName, Version, pem_fd,
};
use crate::{encode, fdpass};

/// A key that nobody can say here is a key that programs in Rust do not have.
#[test]
fn every_key_of_the_protocol_has_a_method() {
    let pem = || pem_fd("pem").unwrap();
    let hour = Duration::from_secs(3600);
    let server = Profile::server("p")
        .certificate(pem())
        .key(pem())
        .min_version(Version::Tls13)
        .max_version(Version::Tls13)
        .level(Level::Modern)
        .ciphers(["TLS_AES_128_GCM_SHA256"])
        .groups(["x25519", "secp256r1"])
        .signature_schemes(["ed25519"])
        .alpn(["h2"])
        .alpn_mismatch(AlpnMismatch::Ignore)
        .max_fragment(1024)
        .extended_master_secret(ExtendedMasterSecret::Required)
        .trust(Trust::Store("staff".into()))
        .pin(Pin::Spki(Sha256([7; 32])))
        .client_certificate(ClientCertificate::Optional)
        .allow(AccessRule::Mail("ann@shop.example".into()))
        .unknown_name(UnknownName::First)
        .certificate_type(CertificateType::X509)
        .key_update_bytes(1 << 20)
        .key_update_interval(hour)
        .crl(pem())
        .crl_check(CrlCheck::EndEntity)
        .crl_unknown(CrlDoubt::Allow)
        .crl_stale(CrlDoubt::Refuse);
    let accept = Accept::new(socket()).profile("p").ask_within(hour, AskDefault::Own, |_| Choice::Own);
    let client = Connect::to_with("shop.example:443", [socket()])
        .name("srv:_imaps.shop.example")
        .server_name("shop.example")
        .ech_config([1])
        .fast_open()
        .resume("web")
        .bind(Bind::Control)
        .hold()
        .handshake_timeout(hour)
        .idle_timeout(hour)
        .chain()
        .export("EXPERIMENT", None, 32)
        .channel_binding()
        .stapled_ocsp(StapledOcsp::Required);
    let begun = Connect::new(socket()).profile("p").received([22]).ech_grease();
    let looks = Connect::new(socket()).name("shop.example");
    let packets = [
        encode::define(1, &server),
        encode::accept(2, &accept),
        encode::connect(3, &client),
        encode::connect(4, &begun),
        encode::learn(5, &looks),
        encode::forget(6, "web", Some(Role::Client)),
    ];
    let said: String = packets.map(|packet| String::from_utf8(packet.unwrap().text).unwrap()).concat();
    for key in
        [Verb::Define, Verb::Accept, Verb::Connect, Verb::Forget].iter().flat_map(|verb| verb.all_keys())
    {
        let begin = format!("{}=", key.name);
        // `batch` is no program's: this library takes answers one by one.
        assert!(said.lines().any(|line| line.starts_with(&begin)) != (key.name == "batch"), "{begin}");
    }
    for line in [
        "fds=certificate key crl",
        "level=modern",
        "groups=x25519 secp256r1",
        "trust=store:staff",
        "allow=mail:ann@shop.example",
        "key-update-bytes=1048576",
        "key-update-interval=3600000",
        "crl-check=end-entity",
        "crl-unknown=allow",
        "crl-stale=refuse",
        "stapled-ocsp=required",
        "name=srv:_imaps.shop.example",
        "ech-config=AQ==",
        "ech=grease",
        "export=EXPERIMENT:-:32",
        "ask-default=own",
    ] {
        assert!(said.lines().any(|said| said == line), "{line} is not in:\n{said}");
    }
}

#[test]
fn options_are_written_as_the_protocol_has_them() {
    let (client, fake) = pair();
    let hash = Sha256([7; 32]);
    let pem = || pem_fd("pem").unwrap();
    let profile = Profile::server("shop")
        .certificate(pem())
        .key(pem())
        .ocsp(pem())
        .alpn(["h2", "a%b"])
        .min_version(Version::Tls13)
        .trust(Trust::ca(pem()))
        .client_certificate(ClientCertificate::Required)
        .allow(AccessRule::Dns("client.example".into()))
        .allow(AccessRule::Pin(Pin::Spki(hash)));
    let daemon = within(move || {
        let (text, fds) = fake.hear();
        fake.say("tlsify/1 defined\nid=1\nprofile=shop\nwarning=it expires tomorrow\n", &[]);
        (text, fds.len(), fake)
    });
    let defined = client.define(&profile).unwrap();
    assert_eq!(defined.warnings, ["it expires tomorrow"]);
    let (text, fds, fake) = daemon.join();
    assert_eq!(fds, 4);
    for line in [
        "tlsify/1 define",
        "profile=shop",
        "role=server",
        "fds=certificate key ocsp ca",
        "alpn=h2 a%25b",
        "min=1.3",
        "trust=descriptor",
        "client-certificate=required",
        "allow=dns:client.example",
        &format!("allow=spki-sha256:{hash}"),
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }

    let _pending = client.start_accept(&Accept::new(socket()).profile("shop").resume("web")).unwrap();
    let (text, _) = fake.hear();
    assert!(text.starts_with("tlsify/1 accept\n") && text.contains("\nresume=web\n"), "{text}");

    let keys = File::open("/dev/null").unwrap();
    let _pending = client.start_accept(&Accept::new(socket()).profile("shop").resume_file(keys)).unwrap();
    let (text, fds) = fake.hear();
    assert!(text.contains("\nfds=net tickets\n") && fds.len() == 2, "{text}");

    let store = File::open("/").unwrap();
    let connect = Connect::new(socket()).name("example.org").resume_file(store.try_clone().unwrap());
    let _pending = client.start_connect_tls(&connect).unwrap();
    let (text, fds) = fake.hear();
    assert!(text.contains("\nfds=net tickets\n") && fds.len() == 2, "{text}");

    let connect = Connect::new(socket())
        .name("example.org")
        .name("192.0.2.1")
        .no_server_name()
        .inbound(File::open("/dev/null").unwrap())
        .outbound(File::open("/dev/null").unwrap())
        .handshake_timeout(Duration::from_secs(2))
        .idle_timeout(Duration::from_millis(1500))
        .chain()
        .export("EXPERIMENT", Some(b"x"), 32)
        .channel_binding()
        .received([22, 3, 1]);
    let _pending = client.start_connect_tls(&connect).unwrap();
    let (text, fds) = fake.hear();
    assert_eq!(fds.len(), 3);
    for line in [
        "tlsify/1 connect",
        "fds=net inbound outbound",
        "name=example.org",
        "name=192.0.2.1",
        "server-name=none",
        "handshake-timeout=2000",
        "idle-timeout=1500",
        "chain=yes",
        "export=EXPERIMENT:eA==:32",
        "channel-binding=tls-exporter",
        "received=FgMB",
    ] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn what_is_to_be_connected_is_written_with_its_sockets() {
    let (client, fake) = pair();
    let here = Connect::to("example.org:443").unwrap().name("example.org").fast_open().resume("web").hold();
    let _pending = client.start_connect_tls(&here).unwrap();
    let (text, fds) = fake.hear();
    let families: Vec<_> =
        fds.iter().map(|fd| rustix::net::sockopt::socket_domain(fd).unwrap().as_raw()).collect();
    assert!(families.contains(&AddressFamily::INET.as_raw()), "{families:?}");
    let named = format!("fds={}", vec!["net"; fds.len()].join(" "));
    for line in ["to=example.org:443", "fast-open=yes", "resume=web", "outbound-end=hold", &named] {
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
    let with = Connect::to_with("[::1]:4433", [socket(), socket()]).name("localhost");
    let _pending = client.start_connect_tls(&with).unwrap();
    let (text, fds) = fake.hear();
    assert!(text.contains("\nto=[::1]:4433\n") && text.contains("\nfds=net net\n"), "{text}");
    assert_eq!((fds.len(), with.into_nets().len()), (2, 2));
    assert!(
        !text.contains("fast-open") && !text.contains("resume") && !text.contains("outbound-end"),
        "{text}"
    );
}

#[test]
fn a_value_that_cannot_be_written_is_not_sent() {
    let (client, fake) = pair();
    for wrong in [
        client.start_accept(&Accept::new(socket()).profile("two\nlines")).err(),
        client.start_connect_tls(&Connect::new(socket()).name("a\nprofile=other")).err(),
        client.start_accept(&Accept::new(socket()).profile("shop").received(vec![0; 70_000])).err(),
        client.define(&Profile::server("shop").alpn([""])).err(),
        client.start_connect_tls(&Connect::to_with("example.org", [socket()]).name("a")).err(),
        client.start_connect_tls(&Connect::to_with("example.org:0", [socket()]).name("a")).err(),
        client.start_connect_tls(&Connect::new(socket()).name("a").resume("a/b")).err(),
        client.start_accept(&Accept::new(socket()).profile("shop").resume("a/b")).err(),
    ] {
        assert!(matches!(wrong, Some(Error::Unwritable(_))), "{wrong:?}");
    }
    let mut many = Profile::server("shop");
    for _ in 0..33 {
        many = many.certificate(pem_fd("pem").unwrap()).key(pem_fd("pem").unwrap());
    }
    assert!(matches!(client.define(&many), Err(Error::Unwritable(_))));
    assert!(!fdpass::wait(&fake.0, true, false, Some(Duration::ZERO)).unwrap(), "something was sent");
}
