//! Every message as bytes: read, written, and the same again. And a packet for each way to be refused.

use std::path::Path;

use tlsify_protocol::keys::{TLS_KEYS, Verb};
use tlsify_protocol::{Answer, Code, FdName, MAX_PACKET, Request, ServerName, Trust};

const SPKI: &str = "pin=spki-sha256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=\n";

/// The files of `fixtures/` that begin with `kind`.
fn fixtures(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut all: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .filter(|(name, _)| name.starts_with(kind))
        .collect();
    all.sort();
    all
}

#[test]
fn requests_come_back_byte_for_byte() {
    let mut verbs = Vec::new();
    for (name, bytes) in fixtures("request-") {
        let request = Request::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut buf = vec![0; MAX_PACKET];
        let len = request.write(&mut buf).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(String::from_utf8_lossy(&buf[..len]), String::from_utf8_lossy(&bytes), "{name}");
        verbs.push(request.verb());
    }
    assert!(Verb::REQUESTS.iter().all(|verb| verbs.contains(verb)), "a fixture for each: {verbs:?}");
}

#[test]
fn answers_come_back_byte_for_byte() {
    let mut verbs = Vec::new();
    for (name, bytes) in fixtures("answer-") {
        let answer = Answer::parse(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut buf = vec![0; MAX_PACKET];
        let len = answer.write(&mut buf).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(String::from_utf8_lossy(&buf[..len]), String::from_utf8_lossy(&bytes), "{name}");
        verbs.push(answer.verb());
    }
    assert!(Verb::ANSWERS.iter().all(|verb| verbs.contains(verb)), "a fixture for each: {verbs:?}");
}

#[test]
fn the_fixtures_use_every_key() {
    let all: Vec<_> = fixtures("").into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
    for verb in Verb::REQUESTS.iter().chain(Verb::ANSWERS) {
        let start = format!("tlsify/1 {}\n", verb.as_str());
        for key in verb.keys() {
            let line = format!("\n{}=", key.name);
            let used = all.iter().any(|text| text.starts_with(&start) && text.contains(&line));
            // Keys of a client are keys of `accept` too, to be refused by a better sentence.
            let clients =
                ["name", "server-name", "ech-config", "ech", "to", "fast-open", "learn"].contains(&key.name);
            assert!(
                used || (*verb == Verb::Accept && clients) || shared(*verb, key.name),
                "{verb:?} {}",
                key.name
            );
        }
    }
}

/// `accept` and `connect` share one table: a key of both is shown once.
fn shared(verb: Verb, key: &str) -> bool {
    verb == Verb::Connect && Verb::Accept.keys().iter().any(|other| other.name == key)
}

#[test]
fn order_marks_and_repetition_do_not_change_what_is_said() {
    let plain = b"tlsify/1 connect\nid=5\nfds=net\nname=a.example\nname=b.example\nmin=1.3\n";
    let other = b"tlsify/1 connect\nname=a.example\n?new-thing=x\n?min=1.3\n?name=b.example\nbind=descriptors\nfds=net\nchain=no\nid=5\n";
    let (plain, other) = (Request::parse(plain).unwrap(), Request::parse(other).unwrap());
    assert_eq!(plain, other);
    let Request::Connect(start) = other else { panic!("{other:?}") };
    assert_eq!(start.names.iter().collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!(start.fds.iter().collect::<Vec<_>>(), [FdName::Net]);
    assert_eq!((start.server_name, start.tls.trust), (None::<ServerName<'_>>, None::<Trust<'_>>));
}

#[test]
fn a_raw_public_key_is_known_by_its_pin_alone() {
    let ask = |lines: &str| {
        let packet =
            format!("tlsify/1 connect\nid=1\nfds=net key\ncertificate-type=raw-public-key\n{SPKI}{lines}");
        Request::parse(packet.as_bytes())
            .map(|_| ())
            .map_err(|error| (error.code, error.about.unwrap_or_default().to_owned()))
    };
    assert_eq!(ask("trust=pins\nmin=1.2\n"), Ok(()));
    assert_eq!(ask(""), Err((Code::MissingKey, "trust".into())));
    let certificate = SPKI.replace("spki", "certificate");
    for (lines, key) in [
        ("trust=system\n", "trust"),
        ("trust=pins\nname=a.example\n", "name"),
        ("trust=pins\nmax=1.2\n", "max"),
        (&format!("trust=pins\n{certificate}"), "pin"),
    ] {
        assert_eq!(ask(lines), Err((Code::KeyConflict, key.to_owned())), "{lines}");
    }
    let server = format!(
        "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=key key\ncertificate-type=raw-public-key\n{SPKI}trust=pins\nclient-certificate=required\n"
    );
    assert!(Request::parse(server.as_bytes()).is_ok());
    let error = Request::parse(format!("{server}allow=dns:a.example\n").leak().as_bytes()).unwrap_err();
    assert_eq!((error.code, error.about), (Code::KeyConflict, Some("allow")));
}

/// What is refused, by which code, about which key.
const REFUSED: &[(&str, Code, &str)] = &[
    ("", Code::Malformed, ""),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nask=hello\n", Code::BadValue, "ask"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nask=client-hello\n", Code::KeyConflict, "ask"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nask-timeout=5\n", Code::KeyConflict, "ask-timeout"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nask-default=own\n", Code::KeyConflict, "ask-default"),
    (
        "tlsify/1 accept\nid=1\nfds=net\nprofile=p\nask=client-hello\nask-timeout=0\n",
        Code::BadValue,
        "ask-timeout",
    ),
    ("tlsify/1 choose\nid=1\n", Code::MissingKey, "action"),
    ("tlsify/1 choose\nid=1\naction=profile\n", Code::MissingKey, "profile"),
    ("tlsify/1 choose\nid=1\naction=own\nprofile=p\n", Code::KeyConflict, "profile"),
    ("tlsify/1 choose\nid=1\naction=give-back\nalert=access_denied\n", Code::KeyConflict, "alert"),
    ("tlsify/1 choose\nid=1\naction=refuse\nalert=close_notify\n", Code::BadValue, "alert"),
    ("\n", Code::Malformed, ""),
    ("tlsify/1 status", Code::Malformed, ""),
    ("tlsify/1 status\n\n", Code::Malformed, ""),
    ("tlsify/1 status\nid=1\nx\n", Code::Malformed, ""),
    ("tlsify/1 status\nid=1\r\n", Code::Malformed, ""),
    ("tlsify/01 status\nid=1\n", Code::Malformed, ""),
    ("HTTP/1.1 200 OK\n", Code::Malformed, ""),
    ("tlsify/2 status\nid=1\n", Code::Version, "2"),
    ("tlsify/1 hello\nid=1\n", Code::UnknownVerb, "hello"),
    ("tlsify/1 Status\nid=1\n", Code::UnknownVerb, "Status"),
    ("tlsify/1 status \nid=1\n", Code::UnknownVerb, "status "),
    ("tlsify/1 status\nid=1\nsession=yes\n", Code::UnknownKey, "session"),
    ("tlsify/1 cancel\nid=1\nmin=1.2\n", Code::UnknownKey, "min"),
    ("tlsify/1 status\n", Code::MissingKey, "id"),
    ("tlsify/1 accept\nid=1\nprofile=p\n", Code::MissingKey, "fds"),
    ("tlsify/1 accept\nid=1\nfds=plain\nprofile=p\n", Code::MissingKey, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net\n", Code::MissingKey, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net\n", Code::MissingKey, "name"),
    ("tlsify/1 connect\nid=1\nfds=net\ntrust=system\nserver-name=a\n", Code::MissingKey, "name"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\ntrust=pins\n", Code::MissingKey, "pin"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\ntrust=descriptor\n", Code::MissingKey, "fds"),
    (
        "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key\nclient-certificate=required\n",
        Code::MissingKey,
        "trust",
    ),
    ("tlsify/1 status\nid=\n", Code::BadValue, "id"),
    ("tlsify/1 status\nid=01\n", Code::BadValue, "id"),
    ("tlsify/1 status\nid=18446744073709551616\n", Code::BadValue, "id"),
    ("tlsify/1 status\nid=1\nscope=mine\n", Code::BadValue, "scope"),
    ("tlsify/1 accept\nid=1\nfds=net  plain\nprofile=p\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net net\nprofile=p\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net chain\nprofile=p\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net key certificate\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net certificate\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net certificate key ca ocsp\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net ocsp\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net plain plain\nprofile=p\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net sessions\nprofile=p\n", Code::BadValue, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net stores\nname=a\n", Code::BadValue, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=net\n", Code::BadValue, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=plain\n", Code::BadValue, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=inbound\n", Code::BadValue, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=outbound\n", Code::BadValue, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=ca\n", Code::KeyConflict, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=server\n", Code::MissingKey, "fds"),
    (
        "tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=certificate key certificate key\n",
        Code::BadValue,
        "fds",
    ),
    ("tlsify/1 define\nid=1\nprofile=a b\nrole=client\n", Code::BadValue, "profile"),
    ("tlsify/1 accept\nid=1\nfds=net key ocsp\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net key certificate key\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net certificate key key\n", Code::BadValue, "fds"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=key key\n", Code::BadValue, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net key\nmax=1.2\n", Code::KeyConflict, "max"),
    ("tlsify/1 accept\nid=1\nfds=net key\nkey-update-bytes=65535\n", Code::BadValue, "key-update-bytes"),
    (
        "tlsify/1 accept\nid=1\nfds=net key\nkey-update-bytes=68719476737\n",
        Code::BadValue,
        "key-update-bytes",
    ),
    (
        "tlsify/1 accept\nid=1\nfds=net key\nkey-update-interval=59999\n",
        Code::BadValue,
        "key-update-interval",
    ),
    (
        "tlsify/1 accept\nid=1\nfds=net certificate key\nmax=1.2\nkey-update-bytes=65536\n",
        Code::KeyConflict,
        "key-update-bytes",
    ),
    (
        "tlsify/1 connect\nid=1\nfds=net\nname=a\nmax=1.2\nkey-update-interval=60000\n",
        Code::KeyConflict,
        "key-update-interval",
    ),
    (
        "tlsify/1 accept\nid=1\nfds=net key\ncertificate-type=raw-public-key\n",
        Code::KeyConflict,
        "certificate-type",
    ),
    ("tlsify/1 accept\nid=1\nfds=net key\ncertificate-type=pgp\n", Code::BadValue, "certificate-type"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nidle-timeout=0\n", Code::BadValue, "idle-timeout"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nexport=a:-:0\n", Code::BadValue, "export"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nexport=a:-:256\n", Code::BadValue, "export"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nexport=:-:1\n", Code::BadValue, "export"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nreceived=FgMB=\n", Code::BadValue, "received"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a b\n", Code::BadValue, "name"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=srv:imaps.mail.example\n", Code::BadValue, "name"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=uri:voice.example\n", Code::BadValue, "name"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=uri:sip://voice.example\n", Code::BadValue, "name"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nserver-name=192.0.2.7\n", Code::BadValue, "server-name"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nmin=1.1\n", Code::BadValue, "min"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nlevel=high\n", Code::BadValue, "level"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nech-config=AA\n", Code::BadValue, "ech-config"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nech=real\n", Code::BadValue, "ech"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nmax-fragment=511\n", Code::BadValue, "max-fragment"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nmax-fragment=16385\n", Code::BadValue, "max-fragment"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nalpn=h%32\n", Code::BadValue, "alpn"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\ntrust=none\n", Code::BadValue, "trust"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\npin=sha256:AA==\n", Code::BadValue, "pin"),
    ("tlsify/1 connect\nid=1\nfds=net net\nname=a\n", Code::BadValue, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=a\n", Code::BadValue, "to"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=a:0\n", Code::BadValue, "to"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=192.0.2.7:0\n", Code::BadValue, "to"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=a:65536\n", Code::BadValue, "to"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=2001:db8::7:443\n", Code::BadValue, "to"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=a b:443\n", Code::BadValue, "to"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nresume=../x\n", Code::BadValue, "resume"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\noutbound-end=later\n", Code::BadValue, "outbound-end"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nfast-open=yes\n", Code::KeyConflict, "fast-open"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nto=a:1\nreceived=AA==\n", Code::KeyConflict, "received"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nto=a:1\n", Code::KeyConflict, "to"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nresume=a/b\n", Code::BadValue, "resume"),
    ("tlsify/1 accept\nid=1\nfds=net tickets\nprofile=p\nresume=a\n", Code::KeyConflict, "resume"),
    ("tlsify/1 accept\nid=1\nfds=net tickets tickets\nprofile=p\n", Code::BadValue, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net tickets\nname=a\nresume=a\n", Code::KeyConflict, "resume"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=tickets\nresume=a\n", Code::KeyConflict, "resume"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nfds=tickets tickets\n", Code::BadValue, "fds"),
    ("tlsify/1 forget\nid=1\n", Code::MissingKey, "store"),
    ("tlsify/1 forget\nid=1\nstore=a\nfds=tickets\n", Code::KeyConflict, "store"),
    ("tlsify/1 forget\nid=1\nfds=ca\n", Code::BadValue, "fds"),
    ("tlsify/1 forget\nid=1\nfds=tickets tickets\n", Code::BadValue, "fds"),
    ("tlsify/1 status\nid=1\nid=1\n", Code::KeyConflict, "id"),
    ("tlsify/1 accept\nid=1\nfds=net plain inbound\nprofile=p\n", Code::KeyConflict, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net ca\nprofile=p\n", Code::KeyConflict, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net certificate key\nprofile=p\n", Code::KeyConflict, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nname=a\n", Code::KeyConflict, "name"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nserver-name=a\n", Code::KeyConflict, "server-name"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nech-config=AA==\n", Code::KeyConflict, "ech-config"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nech=grease\n", Code::KeyConflict, "ech"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nech-config=AA==\nech=grease\n", Code::KeyConflict, "ech"),
    (
        "tlsify/1 connect\nid=1\nfds=net\nname=a\nserver-name=none\nech-config=AA==\n",
        Code::KeyConflict,
        "ech-config",
    ),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nmax=1.2\nech-config=AA==\n", Code::KeyConflict, "ech-config"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nmax=1.2\nech=grease\n", Code::KeyConflict, "ech"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nlevel=modern\n", Code::KeyConflict, "level"),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\n?min=1.3\n", Code::KeyConflict, "min"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nmin=1.3\nmax=1.2\n", Code::KeyConflict, "min"),
    (
        "tlsify/1 connect\nid=1\nfds=net\nname=a\nclient-certificate=none\n",
        Code::KeyConflict,
        "client-certificate",
    ),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nallow=dns:a\n", Code::KeyConflict, "allow"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nunknown-name=first\n", Code::KeyConflict, "unknown-name"),
    // Not a name, which it does not take: whom to trust, and then a pin.
    ("tlsify/1 connect\nid=1\nfds=net\ncertificate-type=raw-public-key\n", Code::MissingKey, "trust"),
    (
        "tlsify/1 connect\nid=1\nfds=net\ncertificate-type=raw-public-key\ntrust=pins\n",
        Code::MissingKey,
        "pin",
    ),
    ("tlsify/1 connect\nid=1\nfds=net ca\nname=a\n", Code::KeyConflict, "fds"),
    ("tlsify/1 accept\nid=1\nfds=net certificate key\ntrust=system\n", Code::KeyConflict, "trust"),
    ("tlsify/1 accept\nid=1\nfds=net certificate key\nallow=dns:a\n", Code::KeyConflict, "allow"),
    (
        "tlsify/1 accept\nid=1\nfds=net certificate key\npin=spki-sha256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=\n",
        Code::KeyConflict,
        "pin",
    ),
    (
        "tlsify/1 accept\nid=1\nfds=net certificate key\nclient-certificate=none\ntrust=system\n",
        Code::KeyConflict,
        "trust",
    ),
    ("tlsify/1 accept\nid=1\nfds=net\nprofile=p\nlearn=yes\n", Code::KeyConflict, "learn"),
    ("tlsify/1 connect\nid=1\nfds=net plain\nname=a\nlearn=yes\n", Code::KeyConflict, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net inbound\nname=a\nlearn=yes\n", Code::KeyConflict, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net tickets\nname=a\nlearn=yes\n", Code::KeyConflict, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net outbound\nprofile=p\nlearn=yes\n", Code::KeyConflict, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nlearn=yes\nresume=a\n", Code::KeyConflict, "resume"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nlearn=yes\nexport=a:-:1\n", Code::KeyConflict, "export"),
    (
        "tlsify/1 connect\nid=1\nfds=net\nname=a\nlearn=yes\nchannel-binding=tls-exporter\n",
        Code::KeyConflict,
        "channel-binding",
    ),
    (
        "tlsify/1 connect\nid=1\nfds=net\nname=a\nlearn=yes\nech-config=AA==\n",
        Code::KeyConflict,
        "ech-config",
    ),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nlearn=yes\nech=grease\n", Code::KeyConflict, "ech"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\nlearn=maybe\n", Code::BadValue, "learn"),
    ("tlsify/1 connect\nid=1\nfds=net\nlearn=yes\n", Code::MissingKey, "name"),
    ("tlsify/1 define\nid=1\nprofile=p\nrole=client\nlearn=yes\n", Code::UnknownKey, "learn"),
    ("tlsify/1 accept\nid=1\nfds=net certificate key crl\n", Code::KeyConflict, "fds"),
    (
        "tlsify/1 accept\nid=1\nfds=net certificate key\nstapled-ocsp=required\n",
        Code::KeyConflict,
        "stapled-ocsp",
    ),
    ("tlsify/1 accept\nid=1\nfds=net crl\nprofile=p\n", Code::KeyConflict, "fds"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\ncrl-stale=allow\n", Code::KeyConflict, "crl-stale"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\ncrl-check=chain\n", Code::KeyConflict, "crl-check"),
    ("tlsify/1 connect\nid=1\nfds=net\nname=a\ncrl-unknown=refuse\n", Code::KeyConflict, "crl-unknown"),
    ("tlsify/1 connect\nid=1\nfds=net crl crl\nname=a\n", Code::BadValue, "fds"),
    (
        "tlsify/1 connect\nid=1\nfds=net\ntrust=pins\npin=spki-sha256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=\nstapled-ocsp=required\n",
        Code::KeyConflict,
        "stapled-ocsp",
    ),
    (
        "tlsify/1 connect\nid=1\nfds=net crl\ntrust=pins\npin=spki-sha256:ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs=\n",
        Code::KeyConflict,
        "fds",
    ),
];

#[test]
fn what_is_wrong_is_refused_by_name() {
    for &(packet, code, about) in REFUSED {
        let error = Request::parse(packet.as_bytes()).expect_err(packet);
        assert_eq!((error.code, error.about.unwrap_or_default()), (code, about), "{packet:?}: {error}");
        assert!(error.id.is_some() == packet.contains("\nid=1\n"), "{packet:?}: {:?}", error.id);
        assert!(!error.to_string().is_empty());
    }
    let long = [b"tlsify/1 status\nid=1\n".as_slice(), &vec![b'x'; MAX_PACKET]].concat();
    let error = Request::parse(&long).unwrap_err();
    assert_eq!((error.code, error.id), (Code::PacketTooLong, Some(1)));
    assert_eq!(Request::parse(b"tlsify/1 status\nid=1\n?x=\xff\n").unwrap_err().code, Code::Malformed);
}

#[test]
fn every_code_that_parsing_can_give_has_a_packet() {
    for code in [
        Code::Malformed,
        Code::Version,
        Code::UnknownVerb,
        Code::UnknownKey,
        Code::MissingKey,
        Code::BadValue,
        Code::KeyConflict,
    ] {
        assert!(REFUSED.iter().any(|(_, refused, _)| *refused == code), "{code}");
    }
}

/// Said beside a profile, it would look as if it counted.
#[test]
fn no_tls_key_goes_with_a_profile() {
    let all: Vec<_> =
        fixtures("request-").into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap()).collect();
    for key in TLS_KEYS {
        let begin = format!("{}=", key.name);
        let line = all.iter().flat_map(|text| text.lines()).find(|line| line.starts_with(&begin));
        let line = line.unwrap_or_else(|| panic!("no fixture has {begin}"));
        for start in ["accept\nid=1\nfds=net\n", "connect\nid=1\nfds=net\nname=a\n"] {
            let packet = format!("tlsify/1 {start}profile=p\n{line}\n");
            let error = Request::parse(packet.as_bytes()).expect_err(&packet);
            assert_eq!((error.code, error.about), (Code::KeyConflict, Some(key.name)), "{packet}");
        }
    }
}

#[test]
fn counts_are_limited() {
    let start = "tlsify/1 connect\nid=1\nfds=net\nname=a\n";
    for (line, fits, about) in [("name=a\n", 15, "name"), (SPKI, 32, "pin"), ("export=a:-:1\n", 8, "export")]
    {
        let packet = |count: usize| format!("{start}{}", line.repeat(count));
        assert!(Request::parse(packet(fits).as_bytes()).is_ok(), "{about}");
        let more = packet(fits + 1);
        let error = Request::parse(more.as_bytes()).unwrap_err();
        assert_eq!((error.code, error.about), (Code::BadValue, Some(about)));
    }
    let nets = |count: usize| {
        format!(
            "tlsify/1 connect\nid=1\nfds={}\nname=a\nto=[2001:db8::7]:443\n",
            vec!["net"; count].join(" ")
        )
    };
    assert!(Request::parse(nets(8).as_bytes()).is_ok());
    assert_eq!(Request::parse(nets(9).as_bytes()).unwrap_err().about, Some("fds"));
    let alpn = |count: usize| format!("{start}alpn={}\n", vec!["h2"; count].join(" "));
    assert!(Request::parse(alpn(32).as_bytes()).is_ok());
    assert_eq!(Request::parse(alpn(33).as_bytes()).unwrap_err().about, Some("alpn"));
    let allow = |count: usize| {
        let keys = "fds=net certificate key\ntrust=system\nclient-certificate=required\n";
        format!("tlsify/1 accept\nid=1\n{keys}{}", "allow=dns:a\n".repeat(count))
    };
    assert!(Request::parse(allow(64).as_bytes()).is_ok());
    assert_eq!(Request::parse(allow(65).as_bytes()).unwrap_err().about, Some("allow"));
    let ech = |groups: usize| format!("{start}ech-config={}AAA=\n", "AAAA".repeat(groups));
    assert!(Request::parse(ech(2730).as_bytes()).is_ok(), "8,192 bytes");
    assert_eq!(Request::parse(ech(2731).as_bytes()).unwrap_err().about, Some("ech-config"));
    let received = |groups: usize| format!("{start}received={}AA==\n", "AAAA".repeat(groups));
    assert!(Request::parse(received(5461).as_bytes()).is_ok(), "16,384 bytes");
    assert_eq!(Request::parse(received(5462).as_bytes()).unwrap_err().about, Some("received"));
}

#[test]
fn a_newer_daemon_is_not_mistaken_for_a_clean_end() {
    let ended = b"tlsify/1 ended\nid=1\nhow=something-new\nin=0\nout=0\n?why=because\n";
    let Ok(Answer::Ended(ended)) = Answer::parse(ended) else { panic!("not read") };
    assert_eq!(ended.how, tlsify_protocol::How::Other);
    assert!(Answer::Ended(ended).write(&mut [0; 256]).is_err());
    let refused = b"tlsify/1 refused\nid=1\ncode=something-new\nblame=operator\n";
    let Ok(Answer::Refused(refused)) = Answer::parse(refused) else { panic!("not read") };
    assert_eq!(refused.code, Code::Other);
}

const ESTABLISHED: &str = "established\nid=1\nprotocol=TLSv1.3\ncipher=TLS_AES_128_GCM_SHA256\nresumed=no\n";

#[test]
fn answers_that_contradict_themselves_are_refused() {
    assert!(Answer::parse(format!("tlsify/1 {ESTABLISHED}").as_bytes()).is_ok());
    for (packet, about) in [
        ("ended\nid=1\nhow=error\nin=0\nout=0\n", "code"),
        ("ended\nid=1\nhow=error\nin=0\nout=0\ncode=internal\n", "blame"),
        ("ended\nid=1\nhow=reset\nin=0\nout=0\ncode=internal\nblame=daemon\n", "code"),
        ("ended\nid=1\nhow=alert\nin=0\nout=0\n", "alert"),
        ("ended\nid=1\nhow=alert\nin=0\nout=0\nalert=40 handshake_failure\n", "alert-from"),
        ("ended\nid=1\nhow=alert\nin=0\nout=0\nalert-from=us\n", "alert"),
        ("failed\nid=1\ncode=internal\nblame=daemon\nsocket=used\nfds=plain\n", "fds"),
        ("failed\nid=1\ncode=internal\nblame=daemon\nsocket=used\nwould=established\n", "would"),
        ("failed\nid=1\ncode=internal\nblame=daemon\nsocket=used\nnote=x\n", "note"),
        ("failed\nid=1\ncode=learned\nblame=caller\nsocket=closed\nwould=established\n", "spki-sha256"),
        (
            &format!(
                "failed\nid=1\ncode=learned\nblame=caller\nsocket=closed\n{}",
                &SPKI.replace("pin=spki-sha256:", "spki-sha256=")
            ),
            "would",
        ),
        (&format!("{ESTABLISHED}fds=stores\n"), "fds"),
        (&format!("{ESTABLISHED}fds=plain plain\n"), "fds"),
        (&format!("{ESTABLISHED}{}", "export=a:-:AA==\n".repeat(9)), "export"),
        ("ended\nid=1\nhow=reset\nin=0\nout=0\nblame=daemon\n", "code"),
        ("failed\nid=1\ncode=internal\nblame=daemon\nsocket=used\nech-retry=AA==\n", "ech-retry"),
        ("status\nid=1\ncallers=0\nsessions=0\nhandshakes=0\nprofiles=0\nfds=sessions sessions\n", "fds"),
    ] {
        let packet = format!("tlsify/1 {packet}");
        assert_eq!(Answer::parse(packet.as_bytes()).expect_err(&packet).about, Some(about), "{packet}");
    }
}

#[test]
fn a_sentence_says_what_to_correct() {
    for (packet, text) in [
        (
            "tlsify/1 define\nid=1\nciphres=x\n",
            "unknown key \"ciphres\" in define, did you mean \"ciphers\"?",
        ),
        ("tlsify/1 status\nid=1\nwhatever=x\n", "unknown key \"whatever\" in status"),
        (
            "tlsify/1 status\nid=-1\n",
            "bad value of \"id\" in status: expected a decimal number below 2^64, without sign or leading zero",
        ),
        ("tlsify/7 status\nid=1\n", "protocol version \"7\" is unknown here, try tlsify/1"),
        ("tlsify/1 status\nid=1", "cannot read the packet: the last line has no end"),
    ] {
        assert_eq!(Request::parse(packet.as_bytes()).unwrap_err().to_string(), text);
    }
    let long = format!("tlsify/1 status\nid=1\n{}=x\n", "é".repeat(9000));
    assert_eq!(Request::parse(long.as_bytes()).unwrap_err().about.unwrap().len(), 64);
}
