//! Single values: the words an option takes, lengths of time, users, trust.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A local user or group, as the file names it; the loader looks names up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Principal {
    /// `"*"`: every local user. Not for groups, and not for operators.
    Everyone,
    /// A name from the user or group database.
    Name(String),
    /// A uid or gid.
    Id(u32),
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Everyone => f.write_str("*"),
            Principal::Name(name) => write!(f, "\"{name}\""),
            Principal::Id(id) => write!(f, "{id}"),
        }
    }
}

impl<'de> Deserialize<'de> for Principal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrId;

        impl Visitor<'_> for NameOrId {
            type Value = Principal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Principal, E> {
                match text {
                    "" => Err(E::custom("a user or group name is empty")),
                    "*" => Ok(Principal::Everyone),
                    // A number in quotes would be looked up as a name and might even be found.
                    digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                        Err(E::custom(format!("\"{digits}\" is a number in quotes, write {digits}")))
                    }
                    name => Ok(Principal::Name(name.to_owned())),
                }
            }

            fn visit_i64<E: de::Error>(self, id: i64) -> Result<Principal, E> {
                match u32::try_from(id) {
                    // The kernel's word for "nobody in particular" (and chown's for "leave it"); never a caller.
                    Ok(u32::MAX) | Err(_) => Err(E::custom(format!("{id} is no uid or gid"))),
                    Ok(id) => Ok(Principal::Id(id)),
                }
            }
        }

        deserializer.deserialize_any(NameOrId)
    }
}

/// TLS versions that there are here; nothing older is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
pub enum Version {
    /// TLS 1.2 (RFC 5246)
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 9846)
    #[serde(rename = "1.3")]
    Tls13,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::Tls12 => "1.2",
            Version::Tls13 => "1.3",
        })
    }
}

/// Security levels, the lowest first; the `tls` room knows what they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// TLS 1.2 and 1.3.
    Intermediate,
    /// TLS 1.3.
    Modern,
    /// TLS 1.3 with hybrid post-quantum key exchange.
    PostQuantumRequired,
}

impl Level {
    /// The least version of it.
    pub fn least_version(self) -> Version {
        if self == Level::Intermediate { Version::Tls12 } else { Version::Tls13 }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Intermediate => "intermediate",
            Level::Modern => "modern",
            Level::PostQuantumRequired => "post-quantum-required",
        })
    }
}

/// Whether the daemon goes on where the kernel cannot confine its parts as it should.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// It does, and says in the log what is missing.
    #[default]
    BestEffort,
    /// It does not start.
    Required,
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// One for all callers.
    #[default]
    None,
    /// One for each uid that calls.
    Uid,
}

/// Which end of TLS a profile is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// For `accept`.
    Server,
    /// For `connect`.
    Client,
}

/// What happens when no application protocol is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlpnMismatch {
    /// The handshake fails with no_application_protocol (RFC 7301 section 3.2).
    Refuse,
    /// The session goes on without one.
    Ignore,
}

/// Whether TLS 1.2 needs the extended master secret (RFC 7627).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExtendedMasterSecret {
    /// A TLS 1.2 peer without it is refused.
    Required,
    /// Used where the peer knows it.
    #[default]
    Optional,
}

/// Whether a server asks its peers for certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificate {
    /// Not asked for.
    #[default]
    None,
    /// Asked for; one that is shown is checked.
    Optional,
    /// No session without one.
    Required,
}

/// What the peer has to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertificateType {
    /// A certificate.
    #[default]
    X509,
    /// A public key and nothing else (RFC 7250).
    RawPublicKey,
}

/// What a server gives a peer that asks for a name it does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownName {
    /// The alert unrecognized_name (RFC 6066 section 3).
    #[default]
    Refuse,
    /// The first identity.
    First,
}

/// Which certificates of a peer's chain have to be in no list of revoked ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrlCheck {
    /// All below the trusted authority.
    #[default]
    Chain,
    /// The peer's own.
    EndEntity,
}

/// What a certificate gets about which the lists of revoked ones say nothing, or nothing of today.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrlDoubt {
    /// It is refused.
    #[default]
    Refuse,
    /// It passes.
    Allow,
}

/// Whether a server has to staple an OCSP response whatever its certificate says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StapledOcsp {
    /// One that comes is judged.
    #[default]
    Optional,
    /// No session without a good one.
    Required,
}

/// Where trust comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The system's CA certificates.
    System,
    /// A `[[store]]` by its name.
    Store(String),
    /// The pins alone: no chain is needed.
    Pins,
}

impl<'de> Deserialize<'de> for Trust {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "system" => Ok(Trust::System),
            "pins" => Ok(Trust::Pins),
            other => match other.strip_prefix("store:") {
                Some(name) if !name.is_empty() => Ok(Trust::Store(name.to_owned())),
                _ => Err(de::Error::custom(format!(
                    "trust \"{other}\" is not known, expected \"system\", \"store:NAME\" or \"pins\""
                ))),
            },
        }
    }
}

/// The least important event that is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// What somebody must act on.
    Error,
    /// What somebody may have to act on.
    Warn,
    /// Start, reload, end.
    #[default]
    Info,
    /// One line for each session.
    Debug,
    /// Each step of each session.
    Trace,
}

impl LogLevel {
    /// The word in the configuration and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people on a terminal, for the journal where it listens, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object on each line.
    Json,
    /// A priority prefix as sd-daemon(3) has it, and no time: the journal has its own.
    Journal,
}

/// A length of time in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Span).map_err(de::Error::custom)
    }
}

/// The longest time that can be said: a day. A timer beyond it is a mistake in the unit.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a length of time: a whole number and its unit, as in `500ms`, `10s`, `2m` or `1h`.
///
/// # Errors
/// A sentence when there is no unit, no number, zero, or more than a day.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| {
        format!("\"{text}\" is no length of time: {why}, write it as \"500ms\", \"10s\" or \"2m\"")
    };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "" => return Err(wrong("the unit is missing")),
        _ => return Err(wrong("the unit is not ms, s, m or h")),
    };
    if number.is_empty() {
        return Err(wrong("the number is missing"));
    }
    let duration = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(milliseconds))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| wrong("it is more than a day"))?;
    if duration.is_zero() {
        return Err(wrong("it is zero"));
    }
    Ok(duration)
}

/// Permission bits of a socket, written as octal text: `"0660"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SocketMode(pub(super) u32);

impl<'de> Deserialize<'de> for SocketMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mode = (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| u32::from_str_radix(&text, 8).ok())
            .flatten()
            // Only read and write mean something on a socket, and its owner needs both.
            .filter(|mode| mode & !0o666 == 0 && mode & 0o600 == 0o600);
        mode.map(SocketMode).ok_or_else(|| {
            de::Error::custom(format!(
                "\"{text}\" is no mode for a socket, write read and write bits in octal, as \"0600\", \"0660\" or \"0666\""
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_say_their_unit() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("24h"), Ok(LONGEST));
        for wrong in
            ["", "10", "s", "0s", "1.5s", "-1s", "10 s", "25h", "99999999999999999999h", "10sec", "1d"]
        {
            assert!(parse_duration(wrong).is_err(), "{wrong} was taken");
        }
    }

    #[test]
    fn versions_compare_by_age() {
        assert!(Version::Tls12 < Version::Tls13);
    }
}
