//! What people see of each thing: names for numbers, lengths of time and sizes as one says them.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::unistd::{Uid, User};

use super::table::Importance;
use super::words::Line;
use super::{or_dash, parsed};

/// A column.
pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) importance: Importance,
    /// What it shows of a line; the number is now, in seconds since 1970.
    pub(super) shown: fn(&Line, u64) -> String,
}

const fn column(title: &'static str, importance: Importance, shown: fn(&Line, u64) -> String) -> Column {
    Column { title, importance, shown }
}

/// Of `sessions`.
pub(super) const SESSIONS: &[Column] = &[
    column("USER", 0, user),
    column("PROCESS", 2, process),
    column("ROLE", 5, |line, _| or_dash(line.get("role"))),
    column("STATE", 1, |line, _| or_dash(line.get("state"))),
    column("PEER", 0, |line, _| or_dash(line.get("peer"))),
    column("NAME", 2, |line, _| or_dash(line.get("server-name"))),
    column("PROFILE", 5, |line, _| or_dash(line.get("profile"))),
    column("AGE", 1, age),
    column("IN", 3, |line, _| bytes(line, "in")),
    column("OUT", 3, |line, _| bytes(line, "out")),
    column("TLS", 4, |line, _| or_dash(line.get("protocol").map(|word| word.trim_start_matches("TLSv")))),
    column("GROUP", 6, |line, _| or_dash(line.get("group"))),
    column("CIPHER", 9, |line, _| or_dash(line.get("cipher").map(|word| word.trim_start_matches("TLS_")))),
    column("ALPN", 8, |line, _| or_dash(line.get("alpn"))),
    column("CERT", 6, |line, now| until(line, "certificate-until", now)),
    column("PEER-CERT", 6, |line, now| until(line, "peer-until", now)),
    column("RULE", 7, |line, _| or_dash(line.get("rule"))),
    column("LEVEL", 9, |line, _| or_dash(line.get("level"))),
    column("ID", 10, |line, _| or_dash(line.get("id"))),
];

/// Of `callers`.
pub(super) const CALLERS: &[Column] = &[
    column("USER", 0, user),
    column("PROCESS", 0, process),
    column("RULE", 3, |line, _| or_dash(line.get("rule"))),
    column("CONNECTIONS", 4, |line, _| or_dash(line.get("connections"))),
    column("SESSIONS", 1, |line, _| or_dash(line.get("sessions"))),
    column("HANDSHAKES", 4, |line, _| or_dash(line.get("handshakes"))),
    column("PROFILES", 5, |line, _| or_dash(line.get("profiles"))),
    column("HOLDING", 5, |line, _| bytes(line, "profile-bytes")),
    column("AGE", 2, age),
];

/// Of `stores`.
pub(super) const STORES: &[Column] = &[
    column("USER", 0, user),
    column("STORE", 0, |line, _| or_dash(line.get("store"))),
    column("ROLE", 0, |line, _| or_dash(line.get("role"))),
    column("TICKETS", 1, |line, _| or_dash(line.get("tickets"))),
    column("BYTES", 3, |line, _| bytes(line, "bytes")),
    column("KEYS", 2, |line, _| or_dash(line.get("keys"))),
    column("ISSUED", 2, |line, _| or_dash(line.get("issued"))),
    column("OFFERED", 1, |line, _| or_dash(line.get("offered"))),
    column("ACCEPTED", 1, |line, _| or_dash(line.get("accepted"))),
];

/// In seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The name of a uid, where it has one.
pub(super) fn user_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// What a process calls itself, where we may know. It may be another one by now.
pub(super) fn process_name(pid: i32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name: String = name.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    Some(name).filter(|name| !name.is_empty())
}

fn user(line: &Line, _: u64) -> String {
    or_dash(parsed(line.get("uid")).map(|uid| user_name(uid).unwrap_or_else(|| uid.to_string())))
}

fn process(line: &Line, _: u64) -> String {
    or_dash(parsed::<i32>(line.get("pid")).map(|pid| match process_name(pid) {
        Some(name) => format!("{name} ({pid})"),
        None => format!("({pid})"),
    }))
}

fn age(line: &Line, _: u64) -> String {
    or_dash(parsed::<u64>(line.get("age")).map(|ms| span(ms / 1000)))
}

fn until(line: &Line, key: &str, now: u64) -> String {
    or_dash(parsed::<u64>(line.get(key)).map(
        |end| {
            if end > now { span(end - now) } else { "expired".to_owned() }
        },
    ))
}

fn bytes(line: &Line, key: &str) -> String {
    or_dash(parsed(line.get(key)).map(size))
}

/// `12s`, `3m20s`, `2h05m`, `4d03h`, `82d`: two units at most, and days alone from ten on.
fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds}s"),
        () if hours == 0 => format!("{minutes}m{:02}s", seconds % 60),
        () if days == 0 => format!("{hours}h{:02}m", minutes % 60),
        () if days < 10 => format!("{days}d{:02}h", hours % 24),
        () => format!("{days}d"),
    }
}

/// `512`, `1.5K`, `23M`: powers of 1024, two digits or more.
fn size(bytes: u64) -> String {
    let mut unit = 0;
    let mut tenths = u128::from(bytes) * 10;
    while tenths >= 10_240 && unit < 6 {
        tenths /= 1024;
        unit += 1;
    }
    let unit = ["", "K", "M", "G", "T", "P", "E"][unit];
    if unit.is_empty() || tenths >= 100 {
        format!("{}{unit}", tenths / 10)
    } else {
        format!("{}.{}{unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_as_one_says_them() {
        let said =
            [(0, "0s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (7500, "2h05m"), (360_000, "4d04h")];
        for (seconds, text) in said {
            assert_eq!(span(seconds), text);
        }
        assert_eq!(span(864_000), "10d");
    }

    #[test]
    fn sizes_are_short_and_never_wrong_by_a_unit() {
        let said = [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1536, "1.5K"),
            (10 * 1024, "10K"),
            (1024 * 1024 - 1, "1023K"),
            (1024 * 1024, "1.0M"),
            (u64::MAX, "15E"),
        ];
        for (bytes, text) in said {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn a_user_without_a_name_is_a_number_and_a_process_that_is_gone_too() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
        assert_eq!(user_name(4_000_000_000), None);
        assert_eq!(process_name(0), None);
        assert!(process_name(std::process::id().cast_signed()).is_some());
    }
}
