//! How much one local user, and all together, may take.

use std::fmt;
use std::sync::Arc;

use super::rate::Rate;
use crate::config;

/// Descriptors that are not sessions': the log, the listening socket, an epoll and its waker per worker, control
/// connections, files while they are read, and a full packet of descriptors (64) on each of a few workers.
const RESERVE: u64 = 512;

/// Network side and program side.
const DESCRIPTORS_PER_SESSION: u64 = 2;

/// A busy web server's; with 4 KiB each at rest it is 32 MiB of ours.
const SESSIONS: u32 = 8192;

/// A handshake costs about 100 µs of a core, so 1024 are a tenth of a second of waiting for everybody else on it.
const HANDSHAKES: u32 = 1024;

/// Each holds parsed keys and certificates, and one name each is what SNI is for: 64 are many.
const PROFILES: u32 = 64;

/// One per process of a prefork server, with room; each holds a descriptor and a bounded queue.
const CONNECTIONS: u32 = 256;

/// About what the parsed certificates, lists and bundles of profiles take: [`PROFILES`] of them with a bundle like the
/// system's each, and as much again. Bundles are shared between those who use the same, and count for each.
const PROFILE_BYTES: u64 = 64 * 1024 * 1024;

/// What one uid may hold at once, and all of them together. All counts are at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions of one uid.
    pub sessions: u32,
    /// Handshakes in flight of one uid.
    pub handshakes: u32,
    /// Profiles of one uid, over all its control connections.
    pub profiles: u32,
    /// Control connections of one uid.
    pub connections: u32,
    /// Sessions of all uids together.
    pub total_sessions: u32,
    /// How often one uid may begin a handshake; `None`: as often as it can.
    pub handshake_rate: Option<Rate>,
    /// Bytes of certificates, lists and bundles that the profiles of one uid hold.
    pub profile_bytes: u64,
}

impl Limits {
    /// Fills in what the operator left open, for a process that may open `descriptors` (its RLIMIT_NOFILE).
    pub fn new(said: &config::Limits, descriptors: u64) -> Self {
        let room = descriptors.saturating_sub(RESERVE) / DESCRIPTORS_PER_SESSION;
        let total_sessions = said.total_sessions.unwrap_or(u32::try_from(room).unwrap_or(u32::MAX)).max(1);
        // A quarter is left for others, unless the operator says otherwise.
        let share = (total_sessions - total_sessions / 4).max(1);
        Limits {
            sessions: said.sessions.unwrap_or(SESSIONS.min(share)),
            handshakes: said.handshakes.unwrap_or(HANDSHAKES),
            profiles: said.profiles.unwrap_or(PROFILES),
            connections: said.connections.unwrap_or(CONNECTIONS),
            total_sessions,
            handshake_rate: rate(said),
            profile_bytes: said.profile_bytes.unwrap_or(PROFILE_BYTES),
        }
    }

    /// The same with what a rule says for itself.
    #[must_use]
    pub fn with(&self, said: &config::Limits) -> Self {
        let handshake_rate = match self.handshake_rate {
            Some(host) if said.handshakes_per_second.is_none() => {
                Some(Rate { burst: said.handshake_burst.unwrap_or(host.burst), ..host })
            }
            _ => rate(said),
        };
        Limits {
            sessions: said.sessions.unwrap_or(self.sessions),
            handshakes: said.handshakes.unwrap_or(self.handshakes),
            profiles: said.profiles.unwrap_or(self.profiles),
            connections: said.connections.unwrap_or(self.connections),
            total_sessions: self.total_sessions,
            handshake_rate,
            profile_bytes: said.profile_bytes.unwrap_or(self.profile_bytes),
        }
    }

    /// The most that one uid may have of `quota`; for [`Quota::TotalSessions`], that all may have.
    pub fn of(&self, quota: Quota) -> u64 {
        u64::from(match quota {
            Quota::Sessions => self.sessions,
            Quota::Handshakes => self.handshakes,
            Quota::Profiles => self.profiles,
            Quota::Connections => self.connections,
            Quota::TotalSessions => self.total_sessions,
            Quota::HandshakeRate => self.handshake_rate.map_or(u32::MAX, |rate| rate.per_second),
            Quota::ProfileBytes => return self.profile_bytes,
        })
    }
}

/// The pace that is said, if there is one; a second's worth may come at once unless it says otherwise.
fn rate(said: &config::Limits) -> Option<Rate> {
    let per_second = said.handshakes_per_second?;
    Some(Rate { per_second, burst: said.handshake_burst.unwrap_or(per_second) })
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// Sessions of one uid.
    Sessions,
    /// Handshakes in flight of one uid.
    Handshakes,
    /// Profiles of one uid.
    Profiles,
    /// Control connections of one uid.
    Connections,
    /// Sessions of all uids together.
    TotalSessions,
    /// Handshakes that one uid begins in a second.
    HandshakeRate,
    /// Bytes that the profiles of one uid hold.
    ProfileBytes,
}

/// A limit is reached: the protocol's `quota`. The caller can wait, the operator can raise it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// Which one.
    pub what: Quota,
    /// Whose: `None` when it is everybody's.
    pub uid: Option<u32>,
    /// How many there may be.
    pub limit: u64,
    /// The rule that says so; `None`: `[limits]`.
    pub rule: Option<Arc<str>>,
}

impl fmt::Display for QuotaExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = match self.what {
            Quota::Sessions | Quota::TotalSessions => "sessions",
            Quota::Handshakes => "handshakes in flight",
            Quota::Profiles => "profiles",
            Quota::Connections => "control connections",
            Quota::HandshakeRate => "handshakes",
            Quota::ProfileBytes => "bytes",
        };
        let limit = self.limit;
        match (self.what, self.uid) {
            (Quota::HandshakeRate, Some(uid)) => {
                write!(f, "uid {uid} has begun {limit} handshakes in a second, as many as a user may begin")?;
            }
            (Quota::ProfileBytes, Some(uid)) => {
                write!(
                    f,
                    "the profiles of uid {uid} would hold more than {limit} bytes, as many as a user's may"
                )?;
            }
            (_, Some(uid)) => write!(f, "uid {uid} has {limit} {noun}, as many as a user may have at once")?,
            (_, None) => write!(f, "there are {limit} {noun}, as many as this daemon may have at once")?,
        }
        match &self.rule {
            Some(rule) => write!(f, " (rule \"{rule}\")"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for QuotaExceeded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_fits_the_descriptors_and_leaves_room_for_others() {
        let limits = Limits::new(&config::Limits::default(), 524_288);
        assert_eq!(limits.total_sessions, 261_888);
        assert_eq!(limits.sessions, SESSIONS);
        let small = Limits::new(&config::Limits::default(), 1024);
        assert_eq!((small.total_sessions, small.sessions), (256, 192));
    }

    #[test]
    fn hardly_any_descriptors_still_make_one_session() {
        for descriptors in [0, 3, 512, 514] {
            let limits = Limits::new(&config::Limits::default(), descriptors);
            assert_eq!((limits.total_sessions, limits.sessions), (1, 1), "{descriptors} descriptors");
        }
        assert_eq!(Limits::new(&config::Limits::default(), u64::MAX).total_sessions, u32::MAX);
    }

    #[test]
    fn what_the_operator_says_is_kept() {
        let said = config::Limits { sessions: Some(5), total_sessions: Some(4), ..config::Limits::default() };
        let limits = Limits::new(&said, 1024);
        assert_eq!((limits.sessions, limits.total_sessions), (5, 4));
    }

    #[test]
    fn the_sentence_says_whose_limit_it_is() {
        let mine = QuotaExceeded { what: Quota::Handshakes, uid: Some(1000), limit: 2, rule: None };
        assert_eq!(
            mine.to_string(),
            "uid 1000 has 2 handshakes in flight, as many as a user may have at once"
        );
        let all = QuotaExceeded { what: Quota::TotalSessions, uid: None, limit: 9, rule: None };
        assert_eq!(all.to_string(), "there are 9 sessions, as many as this daemon may have at once");
    }

    #[test]
    fn a_rules_numbers_stand_instead_of_the_hosts_and_its_name_behind_the_sentence() {
        let said = config::Limits { handshakes_per_second: Some(9), ..config::Limits::default() };
        let host = Limits::new(&said, 1024);
        assert_eq!(host.handshake_rate, Some(Rate { per_second: 9, burst: 9 }));
        let said =
            config::Limits { sessions: Some(2), handshake_burst: Some(30), ..config::Limits::default() };
        let rule = host.with(&said);
        assert_eq!((rule.sessions, rule.handshakes), (2, host.handshakes));
        assert_eq!(rule.handshake_rate, Some(Rate { per_second: 9, burst: 30 }));
        let quota = |what| QuotaExceeded { what, uid: Some(5), limit: 7, rule: Some("web".into()) };
        assert_eq!(
            quota(Quota::HandshakeRate).to_string(),
            "uid 5 has begun 7 handshakes in a second, as many as a user may begin (rule \"web\")"
        );
        assert_eq!(
            quota(Quota::ProfileBytes).to_string(),
            "the profiles of uid 5 would hold more than 7 bytes, as many as a user's may (rule \"web\")"
        );
    }
}
