//! The answer for machines: one object, every word of every line, names with `_` where the lines have `-`.

use serde_json::{Map, Value, json};
use tlsify_client::Scope;

use super::words::{Line, Lines};
use super::{Answer, parsed, people};

/// What is a number wherever it stands; whatever a newer daemon adds is text.
const NUMBERS: [&str; 24] = [
    "uid",
    "pid",
    "id",
    "in",
    "out",
    "age",
    "key-updates",
    "certificate-until",
    "peer-until",
    "connections",
    "sessions",
    "handshakes",
    "profiles",
    "profile-bytes",
    "tickets",
    "bytes",
    "offered",
    "accepted",
    "keys",
    "issued",
    "unknown-key",
    "other-profile",
    "too-old",
    "stores",
];

/// The object. What was not asked for is not in it.
pub(super) fn object(answer: &Answer) -> Value {
    let status = &answer.status;
    let mut object = json!({
        "daemon": answer.daemon,
        "scope": if answer.scope == Scope::All { "all" } else { "own" },
        "counts": {
            "connections": status.callers,
            "sessions": status.sessions,
            "handshakes": status.handshakes,
            "profiles": status.profiles,
        },
    });
    for (name, lines) in
        [("sessions", &answer.sessions), ("callers", &answer.callers), ("stores", &answer.stores)]
    {
        if let Some(lines) = lines {
            object[name] = list(lines);
        }
    }
    object
}

fn list(lines: &Lines) -> Value {
    lines.sorted().into_iter().map(one).collect()
}

/// One thing, with the names of its user and process, where there are any.
fn one(line: &Line) -> Value {
    let mut object: Map<String, Value> =
        line.all().map(|(key, value)| (key.replace('-', "_"), word(key, value))).collect();
    if let Some(uid) = parsed(line.get("uid")) {
        object.insert("user".to_owned(), people::user_name(uid).into());
    }
    if let Some(pid) = parsed(line.get("pid")) {
        object.insert("process".to_owned(), people::process_name(pid).into());
    }
    object.into()
}

fn word(key: &str, value: Option<&str>) -> Value {
    match parsed::<u64>(value).filter(|_| NUMBERS.contains(&key)) {
        Some(number) => number.into(),
        None => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_numbers_dashes_are_null_and_the_rest_is_text() {
        let lines = Lines::read("uid=4000000000 id=7 peer=- server-name=5 alpn=h2 profile-bytes=9 later=1\n");
        let expected = json!([{
            "uid": 4_000_000_000_u64, "user": null, "id": 7, "peer": null, "server_name": "5", "alpn": "h2",
            "profile_bytes": 9, "later": "1",
        }]);
        assert_eq!(list(&lines), expected);
    }
}
