//! The sense of one `[[profile]]`: keys that fit its role and each other.

use std::ops::Range;
use std::time::Duration;

use tlsify_protocol::{MAX_KEY_UPDATE_BYTES, MIN_KEY_UPDATE_BYTES, MIN_KEY_UPDATE_MS};
use toml::Spanned;

use super::cache::{CACHE_DEADLINE, CacheKind, LONGEST_DEADLINE, Resumption};
use super::check::beside;
use super::error::{ConfigError, Lines};
use super::file;
use super::names::{Wildcards, check_name};
use super::signer::{Signer, identity_key};
use super::values::{CertificateType, ClientCertificate, Level, Principal, Role, Span, Trust, Version};
use super::{Identity, Profile, Store};

/// RFC 7301 section 3.1: a protocol name is 1 to 255 bytes.
const LONGEST_ALPN: usize = 255;

/// RFC 8449 allows less, but below 512 bytes the record headers cost more than they carry; above 2^14 there is no
/// record (RFC 9846 section 5.1).
const FRAGMENTS: std::ops::RangeInclusive<u32> = 512..=16384;

/// One profile on its way from the file; knows what to say it is when something is wrong.
pub(super) struct ProfileCheck<'a> {
    pub(super) name: String,
    pub(super) span: Range<usize>,
    pub(super) stores: &'a [Store],
    pub(super) signers: &'a [Signer],
    pub(super) floor: Version,
    pub(super) floor_level: Option<Level>,
    pub(super) lines: &'a Lines<'a>,
}

impl ProfileCheck<'_> {
    pub(super) fn check(self, said: file::Profile) -> Result<Profile, ConfigError> {
        self.keys_fit_the_role(&said)?;
        self.somebody_may_use_it(&said)?;
        self.versions(&said)?;
        self.trust(&said)?;
        self.revocation(&said)?;
        Ok(Profile {
            role: said.role,
            line: self.lines.line(&self.span),
            groups: said.groups.into_iter().map(Spanned::into_inner).collect(),
            minimum: said.minimum.map(Spanned::into_inner),
            maximum: said.maximum.map(Spanned::into_inner),
            level: said.level.map(Spanned::into_inner),
            ciphers: self.not_empty("ciphers", said.ciphers)?,
            key_exchange_groups: self.not_empty("key-exchange-groups", said.key_exchange_groups)?,
            signature_schemes: self.not_empty("signature-schemes", said.signature_schemes)?,
            alpn: self.alpn(said.alpn)?,
            alpn_mismatch: said.alpn_mismatch.map(Spanned::into_inner),
            max_fragment: self.max_fragment(said.max_fragment)?,
            extended_master_secret: said.extended_master_secret,
            trust: said.trust.map(Spanned::into_inner),
            pins: self.not_empty("pins", said.pins)?.unwrap_or_default(),
            client_certificate: said.client_certificate.map(Spanned::into_inner).unwrap_or_default(),
            allow: self.not_empty("allow", said.allow)?.unwrap_or_default(),
            unknown_name: said.unknown_name.map(Spanned::into_inner).unwrap_or_default(),
            certificate_type: said.certificate_type.map(Spanned::into_inner).unwrap_or_default(),
            key_update_bytes: self.key_update_bytes(said.key_update_bytes)?,
            key_update_interval: self.key_update_interval(said.key_update_interval)?,
            crl: said.crl.into_iter().map(|path| beside(path, self.lines)).collect::<Result<_, _>>()?,
            crl_check: said.crl_check.map(Spanned::into_inner).unwrap_or_default(),
            crl_unknown: said.crl_unknown.map(Spanned::into_inner).unwrap_or_default(),
            crl_stale: said.crl_stale.map(Spanned::into_inner).unwrap_or_default(),
            stapled_ocsp: said.stapled_ocsp.map(Spanned::into_inner).unwrap_or_default(),
            names: self.names(said.names, Wildcards::Refused)?,
            identities: said
                .identity
                .into_iter()
                .map(|identity| self.identity(identity))
                .collect::<Result<_, _>>()?,
            resumption: said.resumption.map(|resumption| self.resumption(resumption)).transpose()?,
            users: said.users,
            name: self.name,
        })
    }

    fn keys_fit_the_role(&self, said: &file::Profile) -> Result<(), ConfigError> {
        let misplaced: [(&str, Role, Option<Range<usize>>); 7] = [
            ("resumption", Role::Server, said.resumption.as_ref().map(|said| said.cache.span())),
            ("stapled-ocsp", Role::Client, said.stapled_ocsp.as_ref().map(Spanned::span)),
            ("client-certificate", Role::Server, said.client_certificate.as_ref().map(Spanned::span)),
            ("allow", Role::Server, said.allow.as_ref().map(Spanned::span)),
            ("unknown-name", Role::Server, said.unknown_name.as_ref().map(Spanned::span)),
            ("names", Role::Client, said.names.first().map(Spanned::span)),
            (
                "names",
                Role::Server,
                said.identity.iter().find_map(|identity| identity.names.first()).map(Spanned::span),
            ),
        ];
        for (key, role, span) in misplaced {
            if let Some(span) = span.filter(|_| role != said.role) {
                let only = if role == Role::Server { "a server's" } else { "a client's" };
                let why = match (key, role) {
                    ("names", Role::Client) => "; a server's names belong to its [[profile.identity]]",
                    ("names", Role::Server) => "; a client's identity has no names",
                    _ => "",
                };
                return Err(self.at(&span, format!("\"{key}\" is {only} key{why}")));
            }
        }
        if let (Some(resumption), Some(asks)) = (&said.resumption, &said.client_certificate)
            && *asks.get_ref() != ClientCertificate::None
        {
            let why = "\"cache\" is not asked beside \"client-certificate\": such clients resume by tickets, leave it out";
            return Err(self.at(&resumption.cache.span(), why));
        }
        match (said.role, said.identity.as_slice()) {
            (Role::Server, []) => Err(self.here("a server needs at least one [[profile.identity]]")),
            (Role::Client, [_, second, ..]) => {
                Err(self.at(&self.place(second), "a client has at most one identity"))
            }
            _ => Ok(()),
        }
    }

    fn somebody_may_use_it(&self, said: &file::Profile) -> Result<(), ConfigError> {
        if let Some(everyone) = said.groups.iter().find(|group| *group.get_ref() == Principal::Everyone) {
            return Err(self.at(&everyone.span(), "groups cannot be \"*\", write users = [\"*\"]"));
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
                let why = format!("{key} {} is below the host's floor {}", version.get_ref(), self.floor);
                return Err(self.at(&version.span(), why));
            }
        }
        if let (Some(level), Some(floor)) = (&said.level, self.floor_level)
            && *level.get_ref() < floor
        {
            let why = format!("level \"{}\" is below the host's, which is \"{floor}\"", level.get_ref());
            return Err(self.at(&level.span(), why));
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
                    return Err(self.at(&trust.span(), format!("there is no [[store]] named \"{store}\"")));
                }
                Trust::Pins if said.pins.as_ref().is_none_or(|pins| pins.get_ref().is_empty()) => {
                    return Err(self.at(&trust.span(), "trust = \"pins\" needs \"pins\""));
                }
                _ => {}
            }
        }
        if said.role == Role::Client {
            return Ok(());
        }
        let asks = said.client_certificate.as_ref().filter(|asks| *asks.get_ref() != ClientCertificate::None);
        match (asks, &said.trust) {
            (Some(asks), None) => Err(self.at(&asks.span(), "\"client-certificate\" needs \"trust\"")),
            (Some(_), Some(_)) => Ok(()),
            // What would do nothing was meant to do something.
            (None, _) => [
                (
                    "certificate-type",
                    said.certificate_type
                        .as_ref()
                        .filter(|kind| *kind.get_ref() == CertificateType::RawPublicKey)
                        .map(Spanned::span),
                ),
                ("trust", said.trust.as_ref().map(Spanned::span)),
                ("pins", said.pins.as_ref().map(Spanned::span)),
                ("allow", said.allow.as_ref().map(Spanned::span)),
            ]
            .into_iter()
            .find_map(|(key, span)| span.map(|span| (key, span)))
            .map_or(Ok(()), |(key, span)| {
                let why = format!(
                    "\"{key}\" does nothing without client-certificate = \"optional\" or \"required\""
                );
                Err(self.at(&span, why))
            }),
        }
    }

    /// Lists are about a chain: without one they would look like a check and be none.
    fn revocation(&self, said: &file::Profile) -> Result<(), ConfigError> {
        let Some(first) = said.crl.first() else {
            return [
                ("crl-check", said.crl_check.as_ref().map(Spanned::span)),
                ("crl-unknown", said.crl_unknown.as_ref().map(Spanned::span)),
                ("crl-stale", said.crl_stale.as_ref().map(Spanned::span)),
            ]
            .into_iter()
            .find_map(|(key, span)| span.map(|span| (key, span)))
            .map_or(Ok(()), |(key, span)| {
                Err(self.at(&span, format!("\"{key}\" does nothing without \"crl\"")))
            });
        };
        let asks =
            said.client_certificate.as_ref().is_some_and(|asks| *asks.get_ref() != ClientCertificate::None);
        if said.role == Role::Server && !asks {
            let why = "\"crl\" does nothing without client-certificate = \"optional\" or \"required\"";
            return Err(self.at(&first.span(), why));
        }
        if said.trust.as_ref().is_some_and(|trust| *trust.get_ref() == Trust::Pins) {
            return Err(self.at(&first.span(), "\"crl\" does nothing with trust = \"pins\""));
        }
        Ok(())
    }

    fn alpn(&self, said: Option<Spanned<Vec<String>>>) -> Result<Vec<String>, ConfigError> {
        let Some(alpn) = said else {
            return Ok(Vec::new());
        };
        for (at, name) in alpn.get_ref().iter().enumerate() {
            if name.is_empty() || name.len() > LONGEST_ALPN {
                let why = format!("an alpn name has {} bytes, expected 1 to {LONGEST_ALPN}", name.len());
                return Err(self.at(&alpn.span(), why));
            }
            if alpn.get_ref()[..at].contains(name) {
                return Err(self.at(&alpn.span(), format!("alpn has \"{name}\" twice")));
            }
        }
        self.not_empty("alpn", Some(alpn)).map(Option::unwrap_or_default)
    }

    fn max_fragment(&self, said: Option<Spanned<u32>>) -> Result<Option<u16>, ConfigError> {
        let Some(said) = said else { return Ok(None) };
        match u16::try_from(*said.get_ref()) {
            Ok(bytes) if FRAGMENTS.contains(&u32::from(bytes)) => Ok(Some(bytes)),
            _ => {
                let (least, most) = (FRAGMENTS.start(), FRAGMENTS.end());
                Err(self.at(
                    &said.span(),
                    format!("max-fragment is {}, expected {least} to {most}", said.get_ref()),
                ))
            }
        }
    }

    fn key_update_bytes(&self, said: Option<Spanned<u64>>) -> Result<Option<u64>, ConfigError> {
        let Some(said) = said else { return Ok(None) };
        let bytes = *said.get_ref();
        if (MIN_KEY_UPDATE_BYTES..=MAX_KEY_UPDATE_BYTES).contains(&bytes) {
            return Ok(Some(bytes));
        }
        let why =
            format!("key-update-bytes is {bytes}, expected {MIN_KEY_UPDATE_BYTES} to {MAX_KEY_UPDATE_BYTES}");
        Err(self.at(&said.span(), why))
    }

    fn key_update_interval(&self, said: Option<Spanned<Span>>) -> Result<Option<Duration>, ConfigError> {
        let Some(said) = said else { return Ok(None) };
        let Span(age) = *said.get_ref();
        if age.as_millis() >= u128::from(MIN_KEY_UPDATE_MS) {
            return Ok(Some(age));
        }
        Err(self.at(&said.span(), "key-update-interval is less than a minute"))
    }

    /// An empty list would mean "none at all" to one reader and "the default" to another.
    fn not_empty(
        &self,
        key: &str,
        said: Option<Spanned<Vec<String>>>,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        match said {
            Some(list) if list.get_ref().is_empty() => {
                Err(self.at(&list.span(), format!("\"{key}\" is empty, leave it out for the default")))
            }
            other => Ok(other.map(Spanned::into_inner)),
        }
    }

    fn names(&self, said: Vec<Spanned<String>>, wildcards: Wildcards) -> Result<Vec<String>, ConfigError> {
        said.into_iter()
            .map(|name| match check_name(name.get_ref(), wildcards) {
                Ok(()) => Ok(name.into_inner()),
                Err(why) => Err(self.at(&name.span(), format!("\"{}\" is no name: {why}", name.get_ref()))),
            })
            .collect()
    }

    fn identity(&self, said: file::Identity) -> Result<Identity, ConfigError> {
        let line = self.lines.line(&self.place(&said));
        let key = identity_key(&said, self.signers, self.lines)
            .map_err(|(span, why)| self.at(&span.unwrap_or_else(|| self.span.clone()), why))?;
        if let (None, Some(ocsp)) = (&said.certificate, &said.ocsp) {
            return Err(self.at(&ocsp.span(), "\"ocsp\" is about a certificate, and there is none"));
        }
        Ok(Identity {
            certificate: said.certificate.map(|path| beside(path, self.lines)).transpose()?,
            key,
            ocsp: said.ocsp.map(|ocsp| beside(ocsp, self.lines)).transpose()?,
            names: self.names(said.names, Wildcards::Allowed)?,
            line,
        })
    }

    /// Where an identity is said: its certificate, or its key.
    fn place(&self, said: &file::Identity) -> Range<usize> {
        let first = said.certificate.as_ref().or(said.key.as_ref());
        first.map_or_else(|| self.span.clone(), Spanned::span)
    }

    fn resumption(&self, said: file::Resumption) -> Result<Resumption, ConfigError> {
        let line = self.lines.line(&said.cache.span());
        let cache = said.cache.into_inner();
        let theirs = [
            ("user", said.user.as_ref().map(Spanned::span)),
            ("password-file", said.password_file.as_ref().map(Spanned::span)),
        ];
        if let (CacheKind::Memcached, Some((key, span))) =
            (cache.kind, theirs.into_iter().find_map(|(key, span)| span.map(|span| (key, span))))
        {
            return Err(self.at(&span, format!("\"{key}\" is for redis://, memcached asks nobody who it is")));
        }
        if let (Some(user), None) = (&said.user, &said.password_file) {
            return Err(self.at(&user.span(), "\"user\" needs \"password-file\""));
        }
        let deadline = match said.deadline {
            None => CACHE_DEADLINE,
            Some(deadline) if deadline.get_ref().0 <= LONGEST_DEADLINE => deadline.get_ref().0,
            Some(deadline) => {
                let why = "deadline is more than 5s: a full handshake is faster than such a cache";
                return Err(self.at(&deadline.span(), why));
            }
        };
        let password_file = said.password_file.map(|path| beside(path, self.lines)).transpose()?;
        Ok(Resumption { cache, deadline, user: said.user.map(Spanned::into_inner), password_file, line })
    }

    fn here(&self, why: &str) -> ConfigError {
        self.at(&self.span, why)
    }

    fn at(&self, span: &Range<usize>, why: impl AsRef<str>) -> ConfigError {
        self.lines.at(span, format!("profile \"{}\": {}", self.name, why.as_ref()))
    }
}
