//! Sense: what the shape of the file cannot say. Names that exist and are unique, numbers in their range, keys that
//! do something where they stand.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::error::{ConfigError, Lines};
use super::file;
use super::profile::ProfileCheck;
use super::rule::RuleCheck;
use super::signer::{Signer, signers};
use super::values::{Level, Principal, Span, Version};
use super::{Config, Keys, KeysSocket, Limits, Log, Profile, Sandbox, Store, StoreSource, Timeouts};

/// More threads than the largest machines have cores is a typing error.
const MOST_WORKERS: usize = 1024;

pub(super) fn check(file: file::File, lines: &Lines<'_>) -> Result<Config, ConfigError> {
    let (floor, level) = floor(&file.tls, lines)?;
    let stores = stores(file.store, lines)?;
    let signers = signers(file.signer, lines)?;
    let profiles = profiles(file.profile, (&stores, &signers), (floor, level), lines)?;
    let limits = limits(&file.limits, None, lines)?;
    let host =
        RuleCheck { stores: &stores, profiles: &profiles, floor: (floor, level), host: &limits, lines };
    let rules = host.all(file.rule)?;
    Ok(Config {
        path: lines.path.to_owned(),
        socket: file.socket.map(|socket| beside(socket, lines)).transpose()?,
        socket_mode: file.socket_mode.map(|mode| mode.0),
        workers: file.workers.map(|workers| worker_count(&workers, lines)).transpose()?,
        log: Log { level: file.log.level, format: file.log.format },
        limits,
        timeouts: timeouts(&file.timeouts),
        floor,
        level,
        sandbox: sandbox(file.sandbox, lines)?,
        operators: operators(file.status, lines)?,
        keys: keys(file.keys, lines)?,
        stores,
        signers,
        profiles,
        rules,
    })
}

/// The least version, and the least level if there is one: no version that the level does not have.
fn floor(said: &file::Tls, lines: &Lines<'_>) -> Result<(Version, Option<Level>), ConfigError> {
    let least = said.level.map_or(Version::Tls12, Level::least_version);
    if let (Some(minimum), Some(level)) = (&said.minimum, said.level)
        && *minimum.get_ref() < least
    {
        let why =
            format!("minimum {} is below level \"{level}\", which begins with {least}", minimum.get_ref());
        return Err(lines.at(&minimum.span(), why));
    }
    Ok((said.minimum.as_ref().map_or(least, |minimum| *minimum.get_ref()), said.level))
}

fn worker_count(workers: &Spanned<usize>, lines: &Lines<'_>) -> Result<NonZeroUsize, ConfigError> {
    NonZeroUsize::new(*workers.get_ref()).filter(|count| count.get() <= MOST_WORKERS).ok_or_else(|| {
        lines.at(&workers.span(), format!("workers is {}, expected 1 to {MOST_WORKERS}", workers.get_ref()))
    })
}

/// The quotas of `[limits]`, or those of a rule beside the `host`'s.
pub(super) fn limits(
    said: &file::Limits,
    host: Option<&Limits>,
    lines: &Lines<'_>,
) -> Result<Limits, ConfigError> {
    fn some<N: Copy + Default + PartialEq>(
        lines: &Lines<'_>,
        what: &str,
        value: &Option<Spanned<N>>,
    ) -> Result<Option<N>, ConfigError> {
        match value {
            Some(zero) if *zero.get_ref() == N::default() => {
                Err(lines.at(&zero.span(), format!("{what} is 0, which would refuse everybody")))
            }
            other => Ok(other.as_ref().map(|value| *value.get_ref())),
        }
    }
    let paced =
        said.handshakes_per_second.is_some() || host.is_some_and(|host| host.handshakes_per_second.is_some());
    if let (Some(burst), false) = (&said.handshake_burst, paced) {
        return Err(
            lines.at(&burst.span(), "\"handshake-burst\" does nothing without \"handshakes-per-second\"")
        );
    }
    let profiles = if host.is_some() { "profiles-defined" } else { "profiles" };
    Ok(Limits {
        sessions: some(lines, "sessions", &said.sessions)?,
        handshakes: some(lines, "handshakes", &said.handshakes)?,
        profiles: some(lines, profiles, &said.profiles)?,
        connections: some(lines, "connections", &said.connections)?,
        total_sessions: some(lines, "total-sessions", &said.total_sessions)?,
        handshakes_per_second: some(lines, "handshakes-per-second", &said.handshakes_per_second)?,
        handshake_burst: some(lines, "handshake-burst", &said.handshake_burst)?,
        profile_bytes: some(lines, "profile-bytes", &said.profile_bytes)?,
    })
}

fn timeouts(said: &file::Timeouts) -> Timeouts {
    let default = Timeouts::default();
    let duration = |span: &Option<Span>| span.map(|span| span.0);
    Timeouts {
        handshake: duration(&said.handshake).unwrap_or(default.handshake),
        linger: duration(&said.linger).unwrap_or(default.linger),
        drain: duration(&said.drain).unwrap_or(default.drain),
        idle: duration(&said.idle),
    }
}

/// Each part is somebody of its own; the loader looks the names up.
fn sandbox(said: file::Sandbox, lines: &Lines<'_>) -> Result<Sandbox, ConfigError> {
    let user = |key: &str, who: Option<Spanned<Principal>>| match who {
        Some(who) if *who.get_ref() == Principal::Everyone => {
            Err(lines.at(&who.span(), format!("{key} cannot be \"*\": a process is one user")))
        }
        who => Ok(who.map(Spanned::into_inner)),
    };
    Ok(Sandbox {
        mode: said.mode,
        isolation: said.isolation,
        worker_user: user("worker-user", said.worker_user)?,
        keyholder_user: user("keyholder-user", said.keyholder_user)?,
        dialer_user: user("dialer-user", said.dialer_user)?,
        token_user: user("token-user", said.token_user)?,
    })
}

fn operators(said: file::Status, lines: &Lines<'_>) -> Result<Vec<Principal>, ConfigError> {
    said.operators
        .into_iter()
        .map(|who| match who.get_ref() {
            Principal::Everyone => {
                Err(lines.at(&who.span(), "operators cannot be \"*\": they see every caller's peers"))
            }
            _ => Ok(who.into_inner()),
        })
        .collect()
}

fn keys(said: file::Keys, lines: &Lines<'_>) -> Result<Keys, ConfigError> {
    let socket = match said.socket {
        None => KeysSocket::Usual,
        Some(none) if none.get_ref() == Path::new("none") => KeysSocket::None,
        Some(path) => KeysSocket::At(beside(path, lines)?),
    };
    let nobody = |who: Spanned<Principal>| match who.get_ref() {
        Principal::Everyone => {
            let why =
                "users of the keys' socket cannot be \"*\": they add, remove and lock the operator's keys";
            Err(lines.at(&who.span(), why))
        }
        _ => Ok(who.into_inner()),
    };
    let users = said.users.into_iter().map(nobody).collect::<Result<_, _>>()?;
    Ok(Keys { socket, socket_mode: said.socket_mode.map(|mode| mode.0), users })
}

fn stores(said: Vec<file::Store>, lines: &Lines<'_>) -> Result<Vec<Store>, ConfigError> {
    let mut seen = HashMap::new();
    said.into_iter()
        .map(|store| {
            let span = store.name.span();
            let name = unique_name("store", store.name, &mut seen, lines)?;
            let source = match (store.file, store.directory) {
                (Some(file), None) => StoreSource::File(beside(file, lines)?),
                (None, Some(directory)) => StoreSource::Directory(beside(directory, lines)?),
                (None, None) => {
                    return Err(
                        lines.at(&span, format!("store \"{name}\" has neither \"file\" nor \"directory\""))
                    );
                }
                (Some(_), Some(directory)) => {
                    let why = format!("store \"{name}\" has both \"file\" and \"directory\", one is enough");
                    return Err(lines.at(&directory.span(), why));
                }
            };
            Ok(Store { name, source, line: lines.line(&span) })
        })
        .collect()
}

fn profiles(
    said: Vec<file::Profile>,
    (stores, signers): (&[Store], &[Signer]),
    (floor, floor_level): (Version, Option<Level>),
    lines: &Lines<'_>,
) -> Result<Vec<Profile>, ConfigError> {
    let mut seen = HashMap::new();
    said.into_iter()
        .map(|mut profile| {
            let span = profile.name.span();
            let taken = std::mem::replace(&mut profile.name, Spanned::new(span.clone(), String::new()));
            let name = unique_name("profile", taken, &mut seen, lines)?;
            ProfileCheck { name, span, stores, signers, floor, floor_level, lines }.check(profile)
        })
        .collect()
}

/// 1 to 64 of `[A-Za-z0-9._-]`, so that it can stand in the protocol as it is, and not said before.
pub(super) fn unique_name(
    what: &str,
    name: Spanned<String>,
    seen: &mut HashMap<String, usize>,
    lines: &Lines<'_>,
) -> Result<String, ConfigError> {
    let span = name.span();
    let name = name.into_inner();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(
            lines.at(&span, format!("\"{name}\" is no {what} name, expected 1 to 64 of A-Z a-z 0-9 . _ -"))
        );
    }
    if let Some(first) = seen.insert(name.clone(), lines.line(&span)) {
        return Err(lines.at(&span, format!("{what} \"{name}\" is there already, on line {first}")));
    }
    Ok(name)
}

/// Relative paths are relative to the folder that the file is in, so that a folder can be moved as a whole.
pub(super) fn beside(said: Spanned<PathBuf>, lines: &Lines<'_>) -> Result<PathBuf, ConfigError> {
    let span = said.span();
    let path = said.into_inner();
    if path.as_os_str().is_empty() {
        return Err(lines.at(&span, "a path is empty"));
    }
    Ok(lines.path.parent().unwrap_or(Path::new("")).join(path))
}
