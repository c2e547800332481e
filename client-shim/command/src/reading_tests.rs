//! The command line as people write it, without a process.

use super::*;
use crate::options::MAX_IDENTITIES;

/// The options, and the request as far as they say it.
fn session(words: &[&'static CStr]) -> Result<(Options, String), Wrong> {
    let buffer = Box::leak(Box::new([0; MAX_PACKET]));
    match parse(Strings::of(&[&[c"tlsify"], words].concat()), buffer)? {
        Command::Session(options, request) => {
            Ok((options, String::from_utf8(request.written().to_vec()).unwrap()))
        }
        _ => panic!("{words:?} is a session"),
    }
}

fn wrong(words: &[&'static CStr]) -> Wrong {
    session(words).err().unwrap_or_else(|| panic!("{words:?} is wrong"))
}

#[test]
fn what_the_daemon_judges_is_passed_on_as_it_is_and_in_its_order() {
    let (_, request) = session(&[
        c"connect",
        c"--pin=sha256:AAAA",
        c"--fd=5",
        c"--name",
        c"a.example",
        c"--min=1.3",
        c"--pin=certificate-sha256:BBBB",
        c"--name=b.example",
        c"ignored.example",
    ])
    .unwrap();
    assert_eq!(
        request,
        "tlsify/1 connect\npin=spki-sha256:AAAA\nname=a.example\nmin=1.3\npin=certificate-sha256:BBBB\n\
         name=b.example\n"
    );
    let (_, request) = session(&[c"accept", c"--fd=5", c"--allow=sha256:AAAA", c"--allow=dns:*.x"]).unwrap();
    assert_eq!(request, "tlsify/1 accept\nallow=spki-sha256:AAAA\nallow=dns:*.x\n");
}

#[test]
fn the_host_is_whom_to_expect_unless_something_else_says_it() {
    let expected = |words: &[&'static CStr]| {
        let (options, request) = session(words).unwrap();
        let name = request.lines().find_map(|line| line.strip_prefix("name=")).map(str::to_owned);
        (options.net, name)
    };
    for (target, name) in [
        (c"db.example:5432", "db.example"),
        (c"192.0.2.1:443", "192.0.2.1"),
        (c"[2001:db8::1]:443", "2001:db8::1"),
        // A scope says where to go, not who is there.
        (c"[fe80::1%eth0]:443", "fe80::1"),
    ] {
        assert_eq!(expected(&[c"connect", target]), (Net::To(target.to_bytes()), Some(name.to_owned())));
    }
    let given = Net::Given(5);
    assert_eq!(expected(&[c"connect", c"--fd=5", c"x.example"]), (given, Some("x.example".to_owned())));
    assert_eq!(expected(&[c"connect", c"--fd=5", c"--profile=db", c"x.example"]), (given, None));
    assert_eq!(expected(&[c"connect", c"x.example:1", c"--name=y"]).1, Some("y".to_owned()));
    // A raw public key has no name: the host is only where it is.
    assert_eq!(expected(&[c"connect", c"x.example:1", c"--certificate-type=raw-public-key"]).1, None);
    let certified = expected(&[c"connect", c"x.example:1", c"--certificate-type=x509"]);
    assert_eq!(certified.1, Some("x.example".to_owned()));
    for target in [c"db.example", c"", c"[::1]"] {
        let wrong = wrong(&[c"connect", target]);
        assert!(matches!(wrong, Wrong::Target(_) | Wrong::Value { option: "name", .. }), "{wrong:?}");
    }
}

#[test]
fn certificates_and_keys_pair_up_in_either_order() {
    let (options, _) = session(&[
        c"accept",
        c"--fd=5",
        c"--cert=a.crt",
        c"--key=a.key",
        c"--key=b.key",
        c"--ocsp=b.der",
        c"--cert=b.crt",
    ])
    .unwrap();
    let identity = |certificate, key, ocsp| Identity { certificate: Some(certificate), key: Some(key), ocsp };
    assert_eq!(
        options.identities.as_slice(),
        [identity(c"a.crt", c"a.key", None), identity(c"b.crt", c"b.key", Some(c"b.der"))]
    );
    let mut many = vec![c"accept", c"--fd=5"];
    many.extend([c"--cert=x", c"--key=y"].repeat(MAX_IDENTITIES));
    assert_eq!(session(&many).unwrap().0.identities.as_slice().len(), MAX_IDENTITIES);
    many.push(c"--cert=z");
    assert_eq!(wrong(&many), Wrong::TooMany("cert"));
}

#[test]
fn seconds_are_read_to_the_millisecond_and_never_as_none() {
    for (text, expected) in [
        ("10", Some(10_000)),
        ("2.5", Some(2500)),
        ("0.25", Some(250)),
        ("0.001", Some(1)),
        ("4294967.295", Some(u32::MAX)),
        ("4294967.296", None),
        ("4294968", None),
        ("0", None),
        ("0.000", None),
        ("", None),
        (".5", None),
        ("1.", None),
        ("1.2345", None),
        ("-1", None),
        ("1e3", None),
        ("1.5.5", None),
    ] {
        assert_eq!(millis(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn application_protocols_come_one_by_one_or_with_commas_and_never_without_a_name() {
    let (options, _) = session(&[c"connect", c"--fd=5", c"--alpn=h2,http/1.1", c"--alpn=x"]).unwrap();
    assert_eq!(options.alpn.as_slice(), [&b"h2"[..], b"http/1.1", b"x"]);
    for value in [c"--alpn=", c"--alpn=,h2", c"--alpn=h2,,x", c"--alpn=h2,"] {
        assert!(matches!(wrong(&[c"connect", c"--fd=5", value]), Wrong::Value { option: "alpn", .. }));
    }
}

#[test]
fn no_value_adds_a_line_and_none_is_longer_than_a_packet() {
    for value in [c"--name=a\ntrust=pins", c"--profile=\r", c"--pin=sha256:\n", c"--min="] {
        let wrong = wrong(&[c"connect", c"--fd=5", value]);
        assert!(matches!(wrong, Wrong::Value { .. }), "{value:?}: {wrong:?}");
    }
    let long: &'static CStr = Box::leak(std::ffi::CString::new("x".repeat(MAX_PACKET)).unwrap().into());
    assert_eq!(wrong(&[c"connect", c"--fd=5", c"--name", long]), Wrong::TooLong);
}

#[test]
fn what_follows_two_dashes_is_no_option() {
    let (options, request) =
        session(&[c"connect", c"--fd=5", c"--name=a", c"--", c"cat", c"--quiet", c"--", c"-"]).unwrap();
    let program: Vec<&CStr> = options.program.unwrap().collect();
    assert_eq!(program, [c"cat", c"--quiet", c"--", c"-"]);
    assert!(!options.quiet && !options.is_filter());
    assert_eq!(request, "tlsify/1 connect\nname=a\n");
}

#[test]
fn every_option_that_is_named_is_known() {
    for name in NAMES.iter().filter(|name| !matches!(**name, "help" | "version")) {
        let option: &'static CStr = Box::leak(std::ffi::CString::new(format!("--{name}")).unwrap().into());
        let said = session(&[c"connect", c"--fd=5", option, c"1"]).err();
        assert!(!matches!(said, Some(Wrong::Unknown { .. })), "{name}");
    }
    assert!(matches!(wrong(&[c"connect", c"--fd=5", c"--insecure"]), Wrong::Unknown { nearest: None, .. }));
}
