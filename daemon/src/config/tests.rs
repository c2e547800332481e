//! The file as operators write and miswrite it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

const PATH: &str = "/etc/tlsifyd/tlsifyd.toml";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new(PATH))
}

fn wrong(text: &str) -> String {
    match parse(text) {
        Ok(config) => panic!("taken, and should not be: {config:?}"),
        Err(error) => error.to_string(),
    }
}

/// A profile with the keys that matter to a test; line 1 is `[[profile]]`, the keys start on line 5.
fn server(keys: &str) -> String {
    format!(
        "[[profile]]\nname = \"shop\"\nrole = \"server\"\nusers = [33]\n{keys}\n\
         [[profile.identity]]\ncertificate = \"c.pem\"\nkey = \"k.pem\"\n"
    )
}

fn client(keys: &str) -> String {
    format!("[[profile]]\nname = \"db\"\nrole = \"client\"\nusers = [\"*\"]\n{keys}\n")
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("").unwrap(), Config::defaults(Path::new(PATH)));
}

#[test]
fn the_shipped_example_is_a_configuration() {
    let text = include_str!("../../../packaging/tlsifyd.toml");
    assert_eq!(
        parse(text).unwrap(),
        Config::defaults(Path::new(PATH)),
        "what is not commented out is the default"
    );
    // Every commented-out key is one that there is: without the marks it parses too.
    let all: String =
        text.lines().map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line))).collect();
    let config = parse(&all).unwrap();
    assert!(config.profiles.len() >= 2 && !config.stores.is_empty());
}

/// The example is the manual of the file: whoever adds a key says there what it does.
#[test]
fn the_shipped_example_has_every_key_that_there_is() {
    let text = include_str!("../../../packaging/tlsifyd.toml");
    let is_shown = |key: &str| {
        text.lines().any(|line| {
            let line = line.strip_prefix("#: ").unwrap_or(line);
            let inside = line.trim_matches(['[', ']']).rsplit('.').next();
            line.starts_with(&format!("{key} =")) || (line.starts_with('[') && inside == Some(key))
        })
    };
    let parts = [
        "",
        "[log]",
        "[limits]",
        "[timeouts]",
        "[tls]",
        "[sandbox]",
        "[status]",
        "[keys]",
        "[[store]]",
        "[[profile]]",
    ];
    let parts = parts.into_iter().chain(["[[signer]]", "[[rule]]"]);
    let parts = parts.chain(["[profile.resumption]", "[[profile.identity]]"]);
    let mut seen = 0;
    for part in parts {
        let inside = part.starts_with("[profile.") || part.starts_with("[[profile.");
        let before = if inside { "[[profile]]\n" } else { "" };
        // What serde expects in place of a key that nobody has.
        let error = toml::from_str::<file::File>(&format!("{before}{part}\nnobodys = 1\n")).unwrap_err();
        let (_, expected) = error.message().split_once("expected ").expect("it lists what it knows");
        for key in expected.split('`').skip(1).step_by(2) {
            assert!(is_shown(key), "packaging/tlsifyd.toml does not explain {part} {key}");
            seen += 1;
        }
    }
    assert!(seen > 40, "{seen}");
}

#[test]
fn every_key_arrives_where_it_belongs() {
    let config = parse(
        r#"
socket = "/run/tlsifyd/tlsifyd.sock"
socket-mode = "0660"
workers = 2
[log]
level = "debug"
format = "journal"
[limits]
sessions = 10
handshakes = 9
profiles = 8
connections = 7
total-sessions = 100
[timeouts]
handshake = "500ms"
linger = "1s"
drain = "2m"
idle = "1h"
[tls]
minimum = "1.3"
[sandbox]
mode = "required"
worker-user = "tls-worker"
keyholder-user = 991
[status]
operators = ["root", 990]
[keys]
socket = "none"
socket-mode = "0660"
users = [33]
[[store]]
name = "partners"
file = "partners.pem"
[[store]]
name = "all"
directory = "/etc/cas"
[[profile]]
name = "shop"
role = "server"
users = ["www-data", 33]
groups = ["web"]
minimum = "1.3"
maximum = "1.3"
ciphers = ["TLS_AES_128_GCM_SHA256"]
key-exchange-groups = ["X25519MLKEM768"]
signature-schemes = ["ed25519"]
alpn = ["h2", "http/1.1"]
alpn-mismatch = "ignore"
max-fragment = 4096
extended-master-secret = "required"
trust = "store:partners"
pins = ["spki-sha256:x"]
client-certificate = "required"
allow = ["dns:a.example"]
unknown-name = "first"
crl = ["partners.crl", "/lists"]
crl-check = "end-entity"
crl-unknown = "allow"
crl-stale = "allow"
[[profile.identity]]
certificate = "shop.pem"
key = "/keys/shop.key"
ocsp = "shop.ocsp"
names = ["shop.example", "*.shop.example"]
"#,
    )
    .unwrap();
    assert_eq!(config.socket_mode, Some(0o660));
    assert_eq!(config.workers.unwrap().get(), 2);
    assert_eq!(config.log, Log { level: LogLevel::Debug, format: LogFormat::Journal });
    assert_eq!(config.limits.total_sessions, Some(100));
    assert_eq!(config.timeouts.handshake, Duration::from_millis(500));
    assert_eq!(config.timeouts.idle, Some(Duration::from_secs(3600)));
    assert_eq!(config.floor, Version::Tls13);
    assert_eq!(config.sandbox.mode, SandboxMode::Required);
    assert_eq!(config.sandbox.worker_user, Some(Principal::Name("tls-worker".into())));
    assert_eq!((config.sandbox.keyholder_user, config.sandbox.dialer_user), (Some(Principal::Id(991)), None));
    assert_eq!(config.operators, [Principal::Name("root".into()), Principal::Id(990)]);
    let keys = Keys { socket: KeysSocket::None, socket_mode: Some(0o660), users: vec![Principal::Id(33)] };
    assert_eq!(config.keys, keys);
    assert_eq!(config.stores[0].source, StoreSource::File("/etc/tlsifyd/partners.pem".into()));
    assert_eq!(config.stores[1].source, StoreSource::Directory("/etc/cas".into()));
    let shop = &config.profiles[0];
    assert_eq!((shop.line, shop.role), (38, Role::Server));
    assert_eq!(shop.users, [Principal::Name("www-data".into()), Principal::Id(33)]);
    assert_eq!(shop.trust, Some(Trust::Store("partners".into())));
    assert_eq!(shop.max_fragment, Some(4096));
    assert_eq!(shop.client_certificate, ClientCertificate::Required);
    assert_eq!(shop.alpn, ["h2", "http/1.1"]);
    let identity = &shop.identities[0];
    assert_eq!(identity.certificate, Some(PathBuf::from("/etc/tlsifyd/shop.pem")));
    assert_eq!(identity.key, IdentityKey::File(PathBuf::from("/keys/shop.key")));
    assert_eq!(identity.names, ["shop.example", "*.shop.example"]);
    assert_eq!(identity.line, 61);
    assert_eq!(shop.crl, [PathBuf::from("/etc/tlsifyd/partners.crl"), "/lists".into()]);
    let revocation = (shop.crl_check, shop.crl_unknown, shop.crl_stale);
    assert_eq!(revocation, (CrlCheck::EndEntity, CrlDoubt::Allow, CrlDoubt::Allow));
}

#[test]
fn a_key_alone_is_an_identity() {
    let text = client(
        "certificate-type = \"raw-public-key\"\nkey-update-bytes = 65536\nkey-update-interval = \"1h\"",
    ) + "[[profile.identity]]\nkey = \"a.key\"\n";
    let profile = &Config::parse(&text, Path::new(PATH)).unwrap().profiles[0];
    assert_eq!(profile.certificate_type, CertificateType::RawPublicKey);
    assert_eq!(profile.key_update_bytes, Some(65_536));
    assert_eq!(profile.key_update_interval, Some(Duration::from_secs(3600)));
    let identity = &profile.identities[0];
    assert_eq!((&identity.certificate, identity.line), (&None, 9));
    assert_eq!(identity.key, IdentityKey::File(PathBuf::from("/etc/tlsifyd/a.key")));
}

#[test]
fn a_misspelt_key_is_named_with_its_line_and_what_was_meant() {
    let text =
        server("").replace("certificate = \"c.pem\"", "certificate = \"c.pem\"\ncertificat = \"c.pem\"");
    assert_eq!(wrong(&text), format!("{PATH}:8: unknown key \"certificat\", did you mean \"certificate\"?"));
    assert_eq!(
        wrong("\nsoket = \"x\""),
        format!("{PATH}:2: unknown key \"soket\", did you mean \"socket\"?")
    );
    assert_eq!(wrong("[tls]\ncolour = 1"), format!("{PATH}:2: unknown key \"colour\""));
}

#[test]
fn a_misspelt_value_is_named_with_what_was_meant() {
    assert_eq!(
        wrong(&server("alpn-mismatch = \"refused\"")),
        format!("{PATH}:5: unknown value \"refused\", did you mean \"refuse\"?")
    );
    assert_eq!(
        wrong("[tls]\nminimum = \"ssl3\""),
        format!("{PATH}:2: unknown value \"ssl3\", expected \"1.2\" or \"1.3\"")
    );
}

/// Each is text that must not pass, and what its error must say.
#[test]
fn what_makes_no_sense_is_refused_with_its_line() {
    let twice = format!("{}{}", client(""), client(""));
    let two_identities = client("")
        + "[[profile.identity]]\ncertificate = \"a\"\nkey = \"b\"\n[[profile.identity]]\ncertificate = \"c\"\nkey = \"d\"\n";
    let cases: &[(&str, &str)] = &[
        (&twice, ":7: profile \"db\" is there already, on line 2"),
        (&two_identities, ":10: profile \"db\": a client has at most one identity"),
        (
            "[[profile]]\nname = \"a\"\nrole = \"server\"\nusers = [1]",
            ":2: profile \"a\": a server needs at least one [[profile.identity]]",
        ),
        (
            "[[profile]]\nname = \"a\"\nrole = \"client\"",
            ":2: profile \"a\": neither \"users\" nor \"groups\" says who may use it",
        ),
        ("[[profile]]\nname = \"a b\"\nrole = \"client\"\nusers = [1]", ":2: \"a b\" is no profile name"),
        ("[[profile]]\nrole = \"client\"", "missing key \"name\""),
        ("[[store]]\nname = \"x\"", ":2: store \"x\" has neither"),
        ("[[store]]\nname = \"x\"\nfile = \"a\"\ndirectory = \"b\"", ":4: store \"x\" has both"),
        ("[timeouts]\n\nhandshake = \"10\"", ":3: \"10\" is no length of time: the unit is missing"),
        ("[timeouts]\nhandshake = 10", ":2: invalid type: integer \"10\", expected a string"),
        ("[limits]\nsessions = 0", ":2: sessions is 0"),
        ("[limits]\nsessions = -1", ":2: "),
        ("workers = 0", ":1: workers is 0, expected 1 to 1024"),
        ("socket-mode = \"0777\"", ":1: \"0777\" is no mode for a socket"),
        ("socket-mode = \"0066\"", ":1: \"0066\" is no mode for a socket"),
        ("socket = \"\"", ":1: a path is empty"),
        ("[sandbox]\nworker-user = \"*\"", ":2: worker-user cannot be \"*\": a process is one user"),
        ("[sandbox]\nmode = \"off\"", ":2: "),
        ("[sandbox]\nworker-users = \"x\"", ":2: unknown key \"worker-users\""),
        ("[status]\noperators = [\"*\"]", ":2: operators cannot be \"*\""),
        ("[keys]\nusers = [\"*\"]", ":2: users of the keys' socket cannot be \"*\""),
        ("[keys]\nsocket = \"\"", ":2: a path is empty"),
        ("[keys]\nsocket-mode = \"0700\"", "is no mode for a socket"),
        ("[status]\noperators = [\"990\"]", ":2: \"990\" is a number in quotes"),
        ("[status]\noperators = [-1]", ":2: -1 is no uid or gid"),
        ("[status]\noperators = [4294967295]", ":2: 4294967295 is no uid or gid"),
        ("a = ", ":1: "),
        ("[tls]\nminimum=\"1.2\"\nminimum=\"1.2\"", ":3: duplicate key"),
        (&client("trust = \"store:nowhere\""), ":5: profile \"db\": there is no [[store]] named \"nowhere\""),
        (&client("trust = \"everyone\""), ":5: trust \"everyone\" is not known"),
        (&client("crl-stale = \"allow\""), ":5: profile \"db\": \"crl-stale\" does nothing without \"crl\""),
        (&client("trust = \"pins\""), ":5: profile \"db\": trust = \"pins\" needs \"pins\""),
        (&client("pins = []"), ":5: profile \"db\": \"pins\" is empty"),
        (
            &client("client-certificate = \"none\""),
            ":5: profile \"db\": \"client-certificate\" is a server's key",
        ),
        (&client("allow = [\"dns:a\"]"), ":5: profile \"db\": \"allow\" is a server's key"),
        (&client("unknown-name = \"first\""), ":5: profile \"db\": \"unknown-name\" is a server's key"),
        (
            &client("names = [\"*.example.org\"]"),
            ":5: profile \"db\": \"*.example.org\" is no name: a wildcard cannot",
        ),
        (&client("names = [\"a..b\"]"), ":5: profile \"db\": \"a..b\" is no name: a label has 0 bytes"),
        (&client("names = [\"1.2.3\"]"), "ends like an IP address"),
        (&client("names = [\"bücher.example\"]"), "write the A-label form"),
        (&client("groups = [\"*\"]"), ":5: profile \"db\": groups cannot be \"*\""),
        (
            &server("names = [\"a.example\"]"),
            ":5: profile \"shop\": \"names\" is a client's key; a server's names belong",
        ),
        (
            &server("trust = \"system\""),
            ":5: profile \"shop\": \"trust\" does nothing without client-certificate",
        ),
        (
            &server("allow = [\"dns:a\"]"),
            ":5: profile \"shop\": \"allow\" does nothing without client-certificate",
        ),
        (
            &server("client-certificate = \"required\""),
            ":5: profile \"shop\": \"client-certificate\" needs \"trust\"",
        ),
        (&server("alpn = [\"h2\", \"h2\"]"), ":5: profile \"shop\": alpn has \"h2\" twice"),
        (&server("alpn = [\"\"]"), ":5: profile \"shop\": an alpn name has 0 bytes"),
        (&server("max-fragment = 511"), ":5: profile \"shop\": max-fragment is 511, expected 512 to 16384"),
        (
            &server("key-update-bytes = 65535"),
            ":5: profile \"shop\": key-update-bytes is 65535, expected 65536 to 68719476736",
        ),
        (&server("key-update-bytes = 68719476737"), ":5: profile \"shop\": key-update-bytes is 68719476737"),
        (
            &server("key-update-interval = \"59s\""),
            ":5: profile \"shop\": key-update-interval is less than a minute",
        ),
        (
            &server("certificate-type = \"raw-public-key\""),
            ":5: profile \"shop\": \"certificate-type\" does nothing without client-certificate",
        ),
        (
            &server("").replace("certificate = \"c.pem\"", "ocsp = \"o.der\""),
            ":7: profile \"shop\": \"ocsp\" is about a certificate, and there is none",
        ),
        (&server("max-fragment = 65537"), ":5: profile \"shop\": max-fragment is 65537"),
        (&server("minimum = \"1.3\"\nmaximum = \"1.2\""), ":6: profile \"shop\": maximum is below minimum"),
    ];
    for (text, expected) in cases {
        let error = wrong(text);
        assert!(
            error.starts_with(PATH) && error.contains(expected),
            "{text}\n  said {error}\n  not  {expected}"
        );
        assert!(!error.contains('\n') && !error.ends_with('.'), "one line without a full stop: {error}");
    }
}

#[test]
fn no_profile_goes_below_the_floor() {
    let floor = "[tls]\nminimum = \"1.3\"\n";
    assert!(
        wrong(&format!("{floor}{}", client("minimum = \"1.2\"")))
            .contains(":7: profile \"db\": minimum 1.2 is below")
    );
    assert!(
        wrong(&format!("{floor}{}", client("maximum = \"1.2\"")))
            .contains(":7: profile \"db\": maximum 1.2 is below")
    );
}

#[test]
fn client_names_take_dns_and_ip() {
    let config = parse(&client("names = [\"db.example\", \"192.0.2.1\", \"2001:db8::1\"]")).unwrap();
    assert_eq!(config.profiles[0].names.len(), 3);
}

#[test]
fn a_cache_has_its_defaults_and_its_file_is_beside_the_configuration() {
    let text = server("[profile.resumption]\ncache = \"memcached://127.0.0.1:11211\"");
    let said = parse(&text).unwrap().profiles.remove(0).resumption.unwrap();
    assert_eq!((said.cache.to_string().as_str(), said.line), ("memcached://127.0.0.1:11211", 6));
    assert_eq!((said.deadline, said.user, said.password_file), (CACHE_DEADLINE, None, None));
    let text = server(
        "[profile.resumption]\ncache = \"redis://cache.example/1\"\ndeadline = \"20ms\"\nuser = \"tls\"\n\
         password-file = \"redis.password\"",
    );
    let said = parse(&text).unwrap().profiles.remove(0).resumption.unwrap();
    assert_eq!(said.deadline, Duration::from_millis(20));
    assert_eq!(said.user.as_deref(), Some("tls"));
    assert_eq!(said.password_file.as_deref(), Some(Path::new("/etc/tlsifyd/redis.password")));
}

#[test]
fn a_cache_that_would_do_nothing_or_cannot_be_is_refused_with_its_line() {
    let resumption = |keys: &str| format!("[profile.resumption]\n{keys}");
    let memcached = "cache = \"memcached://127.0.0.1\"\n";
    for (text, why) in [
        (server(&resumption("deadline = \"1s\"")), "missing key \"cache\""),
        (server(&resumption("cache = \"http://x\"")), "this is no cache, expected"),
        (server(&resumption(&format!("{memcached}deadline = \"6s\""))), "deadline is more than 5s"),
        (server(&resumption(&format!("{memcached}password-file = \"x\""))), "memcached asks nobody"),
        (server(&resumption("cache = \"redis://x\"\nuser = \"me\"")), "\"user\" needs \"password-file\""),
        (server(&resumption(&format!("{memcached}dead-line = \"1s\""))), "did you mean \"deadline\"?"),
        (client(&resumption(memcached)), "\"resumption\" is a server's key"),
        (
            server(&format!(
                "client-certificate = \"optional\"\ntrust = \"system\"\n{}",
                resumption(memcached)
            )),
            "is not asked beside \"client-certificate\": such clients resume by tickets",
        ),
    ] {
        let said = wrong(&text);
        assert!(said.contains(why) && said.starts_with(PATH), "{said}");
    }
}
