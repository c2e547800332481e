//! Sense: what the shape of the file cannot say. Names that exist and are unique, numbers in their range, keys that
//! do something where they stand.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::error::{ConfigError, Lines};
use super::file;
use super::values::{ClientCertificate, Principal, Role, Span, Trust, Version};
use super::{Config, Identity, Limits, Log, Profile, Store, StoreSource, Timeouts};

/// More threads than the largest machines have cores is a typing error.
const MOST_WORKERS: usize = 1024;

/// RFC 7301 section 3.1: a protocol name is 1 to 255 bytes.
const LONGEST_ALPN: usize = 255;

/// RFC 8449 allows less, but below 512 bytes the record headers cost more than they carry; above 2^14 there is no
/// record (RFC 9846 section 5.1).
const FRAGMENTS: std::ops::RangeInclusive<u32> = 512..=16384;

pub(super) fn check(file: file::File, lines: &Lines<'_>) -> Result<Config, ConfigError> {
    let floor = file.tls.minimum.unwrap_or(Version::Tls12);
    let stores = stores(file.store, lines)?;
    let profiles = profiles(file.profile, &stores, floor, lines)?;
    Ok(Config {
        path: lines.path.to_owned(),
        socket: file
            .socket
            .map(|socket| beside(socket, lines))
            .transpose()?,
        socket_mode: file.socket_mode.map(|mode| mode.0),
        workers: file
            .workers
            .map(|workers| worker_count(&workers, lines))
            .transpose()?,
        log: Log {
            level: file.log.level,
            format: file.log.format,
        },
        limits: limits(file.limits, lines)?,
        timeouts: timeouts(&file.timeouts),
        floor,
        operators: operators(file.status, lines)?,
        stores,
        profiles,
    })
}

fn worker_count(workers: &Spanned<usize>, lines: &Lines<'_>) -> Result<NonZeroUsize, ConfigError> {
    NonZeroUsize::new(*workers.get_ref())
        .filter(|count| count.get() <= MOST_WORKERS)
        .ok_or_else(|| {
            lines.at(
                &workers.span(),
                format!(
                    "workers is {}, expected 1 to {MOST_WORKERS}",
                    workers.get_ref()
                ),
            )
        })
}

fn limits(said: file::Limits, lines: &Lines<'_>) -> Result<Limits, ConfigError> {
    let some = |what: &str, value: Option<Spanned<u32>>| match value {
        Some(zero) if *zero.get_ref() == 0 => Err(lines.at(
            &zero.span(),
            format!("{what} is 0, which would refuse everybody"),
        )),
        other => Ok(other.map(Spanned::into_inner)),
    };
    Ok(Limits {
        sessions: some("sessions", said.sessions)?,
        handshakes: some("handshakes", said.handshakes)?,
        profiles: some("profiles", said.profiles)?,
        connections: some("connections", said.connections)?,
        total_sessions: some("total-sessions", said.total_sessions)?,
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

fn operators(said: file::Status, lines: &Lines<'_>) -> Result<Vec<Principal>, ConfigError> {
    said.operators
        .into_iter()
        .map(|who| match who.get_ref() {
            Principal::Everyone => Err(lines.at(
                &who.span(),
                "operators cannot be \"*\": they see every caller's peers",
            )),
            _ => Ok(who.into_inner()),
        })
        .collect()
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
                    return Err(lines.at(
                        &span,
                        format!("store \"{name}\" has neither \"file\" nor \"directory\""),
                    ));
                }
                (Some(_), Some(directory)) => {
                    let why = format!(
                        "store \"{name}\" has both \"file\" and \"directory\", one is enough"
                    );
                    return Err(lines.at(&directory.span(), why));
                }
            };
            Ok(Store {
                name,
                source,
                line: lines.line(&span),
            })
        })
        .collect()
}

fn profiles(
    said: Vec<file::Profile>,
    stores: &[Store],
    floor: Version,
    lines: &Lines<'_>,
) -> Result<Vec<Profile>, ConfigError> {
    let mut seen = HashMap::new();
    said.into_iter()
        .map(|mut profile| {
            let span = profile.name.span();
            let taken =
                std::mem::replace(&mut profile.name, Spanned::new(span.clone(), String::new()));
            let name = unique_name("profile", taken, &mut seen, lines)?;
            ProfileCheck {
                name,
                span,
                stores,
                floor,
                lines,
            }
            .check(profile)
        })
        .collect()
}

/// One profile on its way from the file; knows what to say it is when something is wrong.
struct ProfileCheck<'a> {
    name: String,
    span: Range<usize>,
    stores: &'a [Store],
    floor: Version,
    lines: &'a Lines<'a>,
}

impl ProfileCheck<'_> {
    fn check(self, said: file::Profile) -> Result<Profile, ConfigError> {
        self.keys_fit_the_role(&said)?;
        self.somebody_may_use_it(&said)?;
        self.versions(&said)?;
        self.trust(&said)?;
        Ok(Profile {
            role: said.role,
            line: self.lines.line(&self.span),
            groups: said.groups.into_iter().map(Spanned::into_inner).collect(),
            minimum: said.minimum.map(Spanned::into_inner),
            maximum: said.maximum.map(Spanned::into_inner),
            ciphers: self.not_empty("ciphers", said.ciphers)?,
            key_exchange_groups: self.not_empty("key-exchange-groups", said.key_exchange_groups)?,
            signature_schemes: self.not_empty("signature-schemes", said.signature_schemes)?,
            alpn: self.alpn(said.alpn)?,
            alpn_mismatch: said.alpn_mismatch.map(Spanned::into_inner),
            max_fragment: self.max_fragment(said.max_fragment)?,
            extended_master_secret: said.extended_master_secret,
            trust: said.trust.map(Spanned::into_inner),
            pins: self.not_empty("pins", said.pins)?.unwrap_or_default(),
            client_certificate: said
                .client_certificate
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            allow: self.not_empty("allow", said.allow)?.unwrap_or_default(),
            unknown_name: said
                .unknown_name
                .map(Spanned::into_inner)
                .unwrap_or_default(),
            names: self.names(said.names, Wildcards::Refused)?,
            identities: said
                .identity
                .into_iter()
                .map(|identity| self.identity(identity))
                .collect::<Result<_, _>>()?,
            users: said.users,
            name: self.name,
        })
    }

    fn keys_fit_the_role(&self, said: &file::Profile) -> Result<(), ConfigError> {
        let misplaced: [(&str, Role, Option<Range<usize>>); 5] = [
            (
                "client-certificate",
                Role::Server,
                said.client_certificate.as_ref().map(Spanned::span),
            ),
            (
                "allow",
                Role::Server,
                said.allow.as_ref().map(Spanned::span),
            ),
            (
                "unknown-name",
                Role::Server,
                said.unknown_name.as_ref().map(Spanned::span),
            ),
            ("names", Role::Client, said.names.first().map(Spanned::span)),
            (
                "names",
                Role::Server,
                said.identity
                    .iter()
                    .find_map(|identity| identity.names.first())
                    .map(Spanned::span),
            ),
        ];
        for (key, role, span) in misplaced {
            if let Some(span) = span.filter(|_| role != said.role) {
                let only = if role == Role::Server {
                    "a server's"
                } else {
                    "a client's"
                };
                let why = match (key, role) {
                    ("names", Role::Client) => {
                        "; a server's names belong to its [[profile.identity]]"
                    }
                    ("names", Role::Server) => "; a client's identity has no names",
                    _ => "",
                };
                return Err(self.at(&span, format!("\"{key}\" is {only} key{why}")));
            }
        }
        match (said.role, said.identity.as_slice()) {
            (Role::Server, []) => {
                Err(self.here("a server needs at least one [[profile.identity]]"))
            }
            (Role::Client, [_, second, ..]) => Err(self.at(
                &second.certificate.span(),
                "a client has at most one identity",
            )),
            _ => Ok(()),
        }
    }

    fn somebody_may_use_it(&self, said: &file::Profile) -> Result<(), ConfigError> {
        if let Some(everyone) = said
            .groups
            .iter()
            .find(|group| *group.get_ref() == Principal::Everyone)
        {
            return Err(self.at(
                &everyone.span(),
                "groups cannot be \"*\", write users = [\"*\"]",
            ));
        }
        if said.users.is_empty() && said.groups.is_empty() {
            return Err(self.here("neither \"users\" nor \"groups\" says who may use it"));
        }
        Ok(())
    }

    fn versions(&self, said: &file::Profile) -> Result<(), ConfigError> {
        for (key, version) in [("minimum", &said.minimum), ("maximum", &said.maximum)] {
            if let Some(version) = version
                && *version.get_ref() < self.floor
            {
                let why = format!(
                    "{key} {} is below the host's floor {}",
                    version.get_ref(),
                    self.floor
                );
                return Err(self.at(&version.span(), why));
            }
        }
        if let (Some(minimum), Some(maximum)) = (&said.minimum, &said.maximum)
            && minimum.get_ref() > maximum.get_ref()
        {
            return Err(self.at(&maximum.span(), "maximum is below minimum"));
        }
        Ok(())
    }

    fn trust(&self, said: &file::Profile) -> Result<(), ConfigError> {
        if let Some(trust) = &said.trust {
            match trust.get_ref() {
                Trust::Store(store) if !self.stores.iter().any(|known| known.name == *store) => {
                    return Err(self.at(
                        &trust.span(),
                        format!("there is no [[store]] named \"{store}\""),
                    ));
                }
                Trust::Pins
                    if said
                        .pins
                        .as_ref()
                        .is_none_or(|pins| pins.get_ref().is_empty()) =>
                {
                    return Err(self.at(&trust.span(), "trust = \"pins\" needs \"pins\""));
                }
                _ => {}
            }
        }
        if said.role == Role::Client {
            return Ok(());
        }
        let asks = said
            .client_certificate
            .as_ref()
            .filter(|asks| *asks.get_ref() != ClientCertificate::None);
        match (asks, &said.trust) {
            (Some(asks), None) => Err(self.at(&asks.span(), "\"client-certificate\" needs \"trust\"")),
            (Some(_), Some(_)) => Ok(()),
            // What would do nothing was meant to do something.
            (None, _) => [
                ("trust", said.trust.as_ref().map(Spanned::span)),
                ("pins", said.pins.as_ref().map(Spanned::span)),
                ("allow", said.allow.as_ref().map(Spanned::span)),
            ]
            .into_iter()
            .find_map(|(key, span)| span.map(|span| (key, span)))
            .map_or(Ok(()), |(key, span)| {
                let why = format!("\"{key}\" does nothing without client-certificate = \"optional\" or \"required\"");
                Err(self.at(&span, why))
            }),
        }
    }

    fn alpn(&self, said: Option<Spanned<Vec<String>>>) -> Result<Vec<String>, ConfigError> {
        let Some(alpn) = said else {
            return Ok(Vec::new());
        };
        for (at, name) in alpn.get_ref().iter().enumerate() {
            if name.is_empty() || name.len() > LONGEST_ALPN {
                let why = format!(
                    "an alpn name has {} bytes, expected 1 to {LONGEST_ALPN}",
                    name.len()
                );
                return Err(self.at(&alpn.span(), why));
            }
            if alpn.get_ref()[..at].contains(name) {
                return Err(self.at(&alpn.span(), format!("alpn has \"{name}\" twice")));
            }
        }
        self.not_empty("alpn", Some(alpn))
            .map(Option::unwrap_or_default)
    }

    fn max_fragment(&self, said: Option<Spanned<u32>>) -> Result<Option<u16>, ConfigError> {
        let Some(said) = said else { return Ok(None) };
        match u16::try_from(*said.get_ref()) {
            Ok(bytes) if FRAGMENTS.contains(&u32::from(bytes)) => Ok(Some(bytes)),
            _ => {
                let (least, most) = (FRAGMENTS.start(), FRAGMENTS.end());
                Err(self.at(
                    &said.span(),
                    format!(
                        "max-fragment is {}, expected {least} to {most}",
                        said.get_ref()
                    ),
                ))
            }
        }
    }

    /// An empty list would mean "none at all" to one reader and "the default" to another.
    fn not_empty(
        &self,
        key: &str,
        said: Option<Spanned<Vec<String>>>,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        match said {
            Some(list) if list.get_ref().is_empty() => Err(self.at(
                &list.span(),
                format!("\"{key}\" is empty, leave it out for the default"),
            )),
            other => Ok(other.map(Spanned::into_inner)),
        }
    }

    fn names(
        &self,
        said: Vec<Spanned<String>>,
        wildcards: Wildcards,
    ) -> Result<Vec<String>, ConfigError> {
        said.into_iter()
            .map(|name| match check_name(name.get_ref(), wildcards) {
                Ok(()) => Ok(name.into_inner()),
                Err(why) => Err(self.at(
                    &name.span(),
                    format!("\"{}\" is no name: {why}", name.get_ref()),
                )),
            })
            .collect()
    }

    fn identity(&self, said: file::Identity) -> Result<Identity, ConfigError> {
        let line = self.lines.line(&said.certificate.span());
        Ok(Identity {
            certificate: beside(said.certificate, self.lines)?,
            key: beside(said.key, self.lines)?,
            ocsp: said.ocsp.map(|ocsp| beside(ocsp, self.lines)).transpose()?,
            names: self.names(said.names, Wildcards::Allowed)?,
            line,
        })
    }

    fn here(&self, why: &str) -> ConfigError {
        self.at(&self.span, why)
    }

    fn at(&self, span: &Range<usize>, why: impl AsRef<str>) -> ConfigError {
        self.lines
            .at(span, format!("profile \"{}\": {}", self.name, why.as_ref()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wildcards {
    Allowed,
    Refused,
}

/// A DNS name in A-label form (RFC 5890) or an IP address; `*` as the whole first label where wildcards may stand
/// (RFC 9525 section 6.3).
fn check_name(name: &str, wildcards: Wildcards) -> Result<(), String> {
    if name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let plain = match name.strip_prefix("*.") {
        Some(_) if wildcards == Wildcards::Refused => {
            return Err("a wildcard cannot be asked for".to_owned());
        }
        Some(rest) if !rest.contains('.') => {
            return Err("a wildcard needs two labels behind it".to_owned());
        }
        Some(rest) => rest,
        None => name,
    };
    if plain.is_empty() || name.len() > 253 {
        return Err(format!("it has {} bytes, expected 1 to 253", name.len()));
    }
    for label in plain.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(format!(
                "a label has {} bytes, expected 1 to 63",
                label.len()
            ));
        }
        if !label.is_ascii() {
            return Err("it is not ASCII, write the A-label form (xn--…)".to_owned());
        }
        if let Some(odd) = label
            .chars()
            .find(|char| !char.is_ascii_alphanumeric() && !matches!(char, '-' | '_'))
        {
            return Err(format!("{odd:?} cannot be in a DNS name"));
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label begins or ends with \"-\"".to_owned());
        }
    }
    // RFC 1123 section 2.1: a name whose last label is all digits would be read as an IPv4 address.
    if plain
        .rsplit('.')
        .next()
        .is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return Err("it ends like an IP address and is none".to_owned());
    }
    Ok(())
}

/// 1 to 64 of `[A-Za-z0-9._-]`, so that it can stand in the protocol as it is, and not said before.
fn unique_name(
    what: &str,
    name: Spanned<String>,
    seen: &mut HashMap<String, usize>,
    lines: &Lines<'_>,
) -> Result<String, ConfigError> {
    let span = name.span();
    let name = name.into_inner();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
        return Err(lines.at(
            &span,
            format!("\"{name}\" is no {what} name, expected 1 to 64 of A-Z a-z 0-9 . _ -"),
        ));
    }
    if let Some(first) = seen.insert(name.clone(), lines.line(&span)) {
        return Err(lines.at(
            &span,
            format!("{what} \"{name}\" is there already, on line {first}"),
        ));
    }
    Ok(name)
}

/// Relative paths are relative to the folder that the file is in, so that a folder can be moved as a whole.
fn beside(said: Spanned<PathBuf>, lines: &Lines<'_>) -> Result<PathBuf, ConfigError> {
    let span = said.span();
    let path = said.into_inner();
    if path.as_os_str().is_empty() {
        return Err(lines.at(&span, "a path is empty"));
    }
    Ok(lines.path.parent().unwrap_or(Path::new("")).join(path))
}
