//! `[profile.resumption]`: where the sessions of a profile are kept beside the daemon.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

use super::names::{Wildcards, check_name};

/// How long a handshake waits for the cache, unless said otherwise. A cache in the same network answers within a
/// millisecond; a full handshake takes one more round trip to the peer, 20 to 100 ms.
pub const CACHE_DEADLINE: Duration = Duration::from_millis(50);
/// The longest that can be said: what is waited for would have to be worth more than a handshake.
pub(super) const LONGEST_DEADLINE: Duration = Duration::from_secs(5);

/// What the file says of a profile's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumption {
    /// Where it is.
    pub cache: CacheAddress,
    /// How long a handshake waits for it.
    pub deadline: Duration,
    /// Redis: as whom, with the password; `None` is its default user.
    pub user: Option<String>,
    /// Redis: the file with the password; its first line counts.
    pub password_file: Option<PathBuf>,
    /// The line of `cache`, from 1.
    pub line: usize,
}

/// Where a cache is, and what is spoken there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CacheAddress {
    /// What is spoken.
    pub kind: CacheKind,
    /// Where.
    pub place: CachePlace,
    /// Redis: the number of the database; 0 for memcached.
    pub database: u32,
}

/// What a cache speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheKind {
    /// The text protocol of memcached.
    Memcached,
    /// RESP2.
    Redis,
}

/// Where a cache listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum CachePlace {
    /// At this address.
    Address(SocketAddr),
    /// At an address of this name, which is looked up for each connection.
    Name(String, u16),
    /// At this Unix socket.
    Path(PathBuf),
}

impl CacheAddress {
    /// Reads `memcached://HOST[:PORT]`, `redis://HOST[:PORT][/DATABASE]`, `memcached+unix:///PATH` or
    /// `redis+unix:///PATH[?db=DATABASE]`.
    ///
    /// # Errors
    /// A sentence that does not repeat the text: people put passwords there.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "expected \"memcached://HOST:PORT\", \"redis://HOST:PORT/DATABASE\", \
            \"memcached+unix:///PATH\" or \"redis+unix:///PATH?db=DATABASE\"";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("this is no cache, {EXPECTED}"))?;
        let (kind, unix) = match scheme {
            "memcached" => (CacheKind::Memcached, false),
            "memcached+unix" => (CacheKind::Memcached, true),
            "redis" => (CacheKind::Redis, false),
            "redis+unix" => (CacheKind::Redis, true),
            "rediss" => {
                return Err(
                    "TLS is not spoken to a cache: what it keeps is sealed, write \"redis://\"".to_owned()
                );
            }
            _ => return Err(format!("this is no cache, {EXPECTED}")),
        };
        let (place, database) = match (unix, kind) {
            (true, CacheKind::Redis) => {
                rest.split_once("?db=").map_or((rest, None), |(path, db)| (path, Some(db)))
            }
            (false, CacheKind::Redis) => {
                rest.split_once('/').map_or((rest, None), |(host, db)| (host, Some(db)))
            }
            (false, CacheKind::Memcached) if rest.contains('/') => {
                return Err("memcached has no databases: nothing stands behind its port".to_owned());
            }
            _ => (rest, None),
        };
        let database = match database {
            None | Some("") => 0,
            Some(number) => number
                .parse()
                .ok()
                .filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or("the database of a Redis is a number")?,
        };
        let place = if unix {
            Some(PathBuf::from(place))
                .filter(|path| path.is_absolute())
                .map(CachePlace::Path)
                .ok_or(EXPECTED)?
        } else if place.contains('@') {
            return Err(
                "no password in an address: write \"password-file\", and \"user\" if it has one".to_owned()
            );
        } else {
            host_and_port(place, kind.port())?
        };
        Ok(Self { kind, place, database })
    }
}

impl CacheKind {
    /// Where it usually listens.
    fn port(self) -> u16 {
        match self {
            Self::Memcached => 11211,
            Self::Redis => 6379,
        }
    }
}

fn host_and_port(text: &str, usual: u16) -> Result<CachePlace, String> {
    let (host, port) = match text.rsplit_once(':') {
        // A colon inside brackets belongs to the address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = match port {
        None => usual,
        Some(digits) => digits
            .parse()
            .ok()
            .filter(|port| *port != 0 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .ok_or("the port of a cache is 1 to 65535")?,
    };
    if let Some(inside) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address: Ipv6Addr = inside.parse().map_err(|_| "what is in brackets is no IPv6 address")?;
        return Ok(CachePlace::Address((address, port).into()));
    }
    match host.parse() {
        Ok(address @ IpAddr::V4(_)) => Ok(CachePlace::Address((address, port).into())),
        Ok(IpAddr::V6(_)) => Err("an IPv6 address is written in brackets".to_owned()),
        Err(_) => {
            check_name(host, Wildcards::Refused)
                .map_err(|why| format!("the host of a cache is no name: {why}"))?;
            Ok(CachePlace::Name(host.to_owned(), port))
        }
    }
}

/// As it was written, but for what could be left out.
impl fmt::Display for CacheAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            CacheKind::Memcached => "memcached",
            CacheKind::Redis => "redis",
        };
        let database = self.database;
        match (&self.place, database) {
            (CachePlace::Path(path), 0) => write!(f, "{kind}+unix://{}", path.display()),
            (CachePlace::Path(path), _) => write!(f, "{kind}+unix://{}?db={database}", path.display()),
            (CachePlace::Address(address), 0) => write!(f, "{kind}://{address}"),
            (CachePlace::Address(address), _) => write!(f, "{kind}://{address}/{database}"),
            (CachePlace::Name(name, port), 0) => write!(f, "{kind}://{name}:{port}"),
            (CachePlace::Name(name, port), _) => write!(f, "{kind}://{name}:{port}/{database}"),
        }
    }
}

impl<'de> Deserialize<'de> for CacheAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written_the_same() {
        for (text, written) in [
            ("memcached://127.0.0.1:11311", "memcached://127.0.0.1:11311"),
            ("memcached://cache.example", "memcached://cache.example:11211"),
            ("redis://localhost", "redis://localhost:6379"),
            ("redis://[::1]", "redis://[::1]:6379"),
            ("redis://[::1]:7000/3", "redis://[::1]:7000/3"),
            ("redis://192.0.2.1/", "redis://192.0.2.1:6379"),
            ("memcached+unix:///run/memcached.sock", "memcached+unix:///run/memcached.sock"),
            ("redis+unix:///run/redis.sock?db=2", "redis+unix:///run/redis.sock?db=2"),
        ] {
            let address = CacheAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), written);
            assert_eq!(CacheAddress::parse(written).unwrap(), address);
        }
    }

    #[test]
    fn what_is_no_cache_is_refused_and_a_password_is_never_repeated() {
        for wrong in [
            "",
            "127.0.0.1:11211",
            "http://127.0.0.1",
            "memcached://",
            "memcached://host/1",
            "memcached://host:0",
            "memcached://host:65536",
            "memcached://host:+1",
            "memcached://::1",
            "redis://[::1",
            "redis://host/x",
            "redis://host/-1",
            "redis://a b",
            "redis+unix://run/x",
            "rediss://host",
            "redis://:s3cret@host",
        ] {
            let why = CacheAddress::parse(wrong).expect_err(wrong);
            assert!(!why.contains("s3cret"), "{why}");
        }
        assert!(CacheAddress::parse("redis://:s3cret@host").unwrap_err().contains("password-file"));
    }
}
