//! PROTOCOL.md and the code say the same: its tables are read and compared, both ways.

use tlsify_protocol::keys::{Key, TLS_KEYS, Verb};
use tlsify_protocol::{Code, FdName, How, Phase};

const DOCUMENT: &str = include_str!("../../PROTOCOL.md");

/// The lines under a heading, up to the next one.
fn section(heading: &str) -> Vec<&'static str> {
    let mut lines = DOCUMENT.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "no heading {heading:?}");
    lines.take_while(|line| !line.starts_with("## ") && !line.starts_with("### ")).collect()
}

/// The rows of a section's first table, cell by cell, without the head.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    section(heading)
        .into_iter()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

fn unquoted(cell: &str) -> &str {
    cell.strip_prefix('`')
        .and_then(|cell| cell.strip_suffix('`'))
        .unwrap_or_else(|| panic!("{cell:?} is not in ``"))
}

fn given(key: &Key) -> &'static str {
    match (key.required, key.repeatable) {
        (true, _) => "required",
        (false, true) => "repeatable",
        (false, false) => "optional",
    }
}

fn assert_keys(heading: &str, keys: &[Key]) {
    let document: Vec<_> = table(heading).iter().map(|row| (unquoted(row[0]), row[2])).collect();
    let code: Vec<_> = keys.iter().map(|key| (key.name, given(key))).collect();
    assert_eq!(document, code, "{heading}");
}

#[test]
fn verbs_and_keys_agree() {
    let headings = [
        ("### `define`", Verb::Define),
        ("### `accept`, `connect`", Verb::Accept),
        ("### `accept`, `connect`", Verb::Connect),
        ("### `cancel`", Verb::Cancel),
        ("### `choose`", Verb::Choose),
        ("### `client-hello`", Verb::ClientHello),
        ("### `status`", Verb::Status),
        ("### `forget`", Verb::Forget),
        ("### `hello`", Verb::Hello),
        ("### `defined`", Verb::Defined),
        ("### `refused`", Verb::Refused),
        ("### `failed`", Verb::Failed),
        ("### `established`", Verb::Established),
        ("### `ended`", Verb::Ended),
        ("### `status` (answer)", Verb::StatusAnswer),
        ("### `forgotten`", Verb::Forgotten),
    ];
    for (heading, verb) in headings {
        assert_keys(heading, verb.keys());
    }
    assert_keys("### TLS keys", TLS_KEYS);
    let known: Vec<_> = headings.iter().map(|(heading, _)| *heading).collect();
    for heading in DOCUMENT.lines().filter(|line| line.starts_with("### `")) {
        assert!(known.contains(&heading), "the code has no {heading}");
    }
    let all: Vec<_> = Verb::REQUESTS.iter().chain(Verb::ANSWERS).collect();
    assert!(
        all.iter().all(|verb| headings.iter().any(|(_, known)| known == *verb))
            && all.len() == headings.len()
    );
}

/// The parser knows exactly the keys of the tables.
#[test]
fn the_parser_agrees_with_the_tables() {
    let names: Vec<&str> = Verb::REQUESTS
        .iter()
        .chain(Verb::ANSWERS)
        .flat_map(|verb| verb.all_keys())
        .map(|key| key.name)
        .collect();
    for verb in Verb::REQUESTS.iter().chain(Verb::ANSWERS) {
        for name in &names {
            // An empty value, which no key takes: a known key is a bad value, an unknown one is named.
            let packet = format!("tlsify/1 {}\n{name}=\n", verb.as_str());
            let code = if Verb::REQUESTS.contains(verb) {
                tlsify_protocol::Request::parse(packet.as_bytes()).unwrap_err().code
            } else {
                tlsify_protocol::Answer::parse(packet.as_bytes()).unwrap_err().code
            };
            let known = verb.all_keys().any(|key| key.name == *name);
            assert_eq!(code, if known { Code::BadValue } else { Code::UnknownKey }, "{verb:?} {name}");
        }
    }
}

#[test]
fn codes_agree() {
    let document: Vec<_> =
        table("## Codes").iter().map(|row| (unquoted(row[0]), row[1], unquoted(row[2]))).collect();
    let comes_with = |phase| match phase {
        Phase::Refused => "`refused`",
        Phase::Failed => "`failed`",
        Phase::Either => "`refused`, `failed`",
    };
    let code: Vec<_> = Code::ALL
        .iter()
        .map(|code| (code.as_str(), comes_with(code.phase()), code.blame().as_str()))
        .collect();
    assert_eq!(document, code);
    assert!(Code::ALL.iter().all(|code| Code::parse(code.as_str()) == Some(*code)));
}

#[test]
fn endings_agree() {
    let document: Vec<_> = table("## How a session ends").iter().map(|row| unquoted(row[0])).collect();
    assert_eq!(document, How::ALL.iter().map(|how| how.as_str()).collect::<Vec<_>>());
}

#[test]
fn descriptors_agree() {
    let document: Vec<_> = table("## Descriptors").iter().map(|row| unquoted(row[0])).collect();
    assert_eq!(document, FdName::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>());
}

/// The values in a key's row are the words that its type takes.
#[test]
fn choices_agree() {
    use tlsify_protocol::{
        Action, AlpnMismatch, Ask, AskDefault, Bind, Blame, CertificateType, ClientCertificate, CrlCheck,
        CrlDoubt, Ech, EchDone, ExtendedMasterSecret, Level, OutboundEnd, Party, RefusalAlert, Role, Scope,
        Socket, StapledOcsp, UnknownName, Version,
    };
    macro_rules! choice {
        ($heading:literal, $key:literal, $type:ty) => {
            let row = table($heading).into_iter().find(|row| unquoted(row[0]) == $key).expect($key);
            let document: Vec<_> = row[1].split(", ").map(unquoted).collect();
            assert_eq!(document, <$type>::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>(), $key);
        };
    }
    choice!("### `accept`, `connect`", "ask", Ask);
    choice!("### `accept`, `connect`", "ask-default", AskDefault);
    choice!("### `choose`", "action", Action);
    choice!("### `choose`", "alert", RefusalAlert);
    choice!("### `define`", "role", Role);
    choice!("### `accept`, `connect`", "bind", Bind);
    choice!("### `accept`, `connect`", "outbound-end", OutboundEnd);
    choice!("### TLS keys", "min", Version);
    choice!("### TLS keys", "max", Version);
    choice!("### TLS keys", "level", Level);
    choice!("### `accept`, `connect`", "ech", Ech);
    choice!("### `established`", "level", Level);
    choice!("### `established`", "ech", EchDone);
    choice!("### `hello`", "level", Level);
    choice!("### TLS keys", "alpn-mismatch", AlpnMismatch);
    choice!("### TLS keys", "extended-master-secret", ExtendedMasterSecret);
    choice!("### TLS keys", "client-certificate", ClientCertificate);
    choice!("### TLS keys", "unknown-name", UnknownName);
    choice!("### TLS keys", "certificate-type", CertificateType);
    choice!("### TLS keys", "crl-check", CrlCheck);
    choice!("### TLS keys", "crl-unknown", CrlDoubt);
    choice!("### TLS keys", "crl-stale", CrlDoubt);
    choice!("### TLS keys", "stapled-ocsp", StapledOcsp);
    choice!("### `established`", "certificate-type", CertificateType);
    choice!("### `forget`", "role", Role);
    choice!("### `status`", "scope", Scope);
    choice!("### `hello`", "floor", Version);
    choice!("### `refused`", "blame", Blame);
    choice!("### `failed`", "blame", Blame);
    choice!("### `failed`", "socket", Socket);
    choice!("### `failed`", "alert-from", Party);
    choice!("### `ended`", "blame", Blame);
    choice!("### `ended`", "alert-from", Party);
}

#[test]
fn limits_agree() {
    let text: String = section("## Limits").join("\n").replace(',', "");
    for limit in [
        tlsify_protocol::MAX_PACKET,
        tlsify_protocol::MAX_DESCRIPTORS,
        tlsify_protocol::MAX_WORDS,
        tlsify_protocol::MAX_NAMES,
        tlsify_protocol::MAX_NETS,
        tlsify_protocol::MAX_PINS,
        tlsify_protocol::MAX_ALLOWS,
        tlsify_protocol::MAX_ALLOW_TEXT,
        tlsify_protocol::MAX_ALPN,
        tlsify_protocol::MAX_ALPN_NAME,
        tlsify_protocol::MAX_EXPORTS,
        tlsify_protocol::MAX_EXPORT_LABEL,
        tlsify_protocol::MAX_EXPORT_CONTEXT,
        tlsify_protocol::MAX_ECH_CONFIG,
        tlsify_protocol::MAX_RECEIVED,
        tlsify_protocol::MIN_FRAGMENT.into(),
        tlsify_protocol::MAX_FRAGMENT.into(),
        tlsify_protocol::MAX_TIMEOUT_MS.try_into().unwrap(),
        tlsify_protocol::MIN_KEY_UPDATE_BYTES.try_into().unwrap(),
        tlsify_protocol::MAX_KEY_UPDATE_BYTES.try_into().unwrap(),
        tlsify_protocol::MIN_KEY_UPDATE_MS.try_into().unwrap(),
    ] {
        let limit = limit.to_string();
        assert!(text.split(|c: char| !c.is_ascii_digit()).any(|number| number == limit), "{limit}");
    }
}

/// The callers in the document are as short as it says.
#[test]
fn the_two_callers_have_at_most_thirty_lines() {
    for fence in ["```c", "```python"] {
        let lines =
            DOCUMENT.lines().skip_while(|line| *line != fence).skip(1).take_while(|line| *line != "```");
        let count = lines.count();
        assert!((1..=30).contains(&count), "{fence}: {count} lines");
    }
}
