//! Versions, suites, groups, schemes and ALPN: parsed once into a type that cannot be wrong.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::version::{TLS12, TLS13};
use rustls::{SignatureScheme, SupportedCipherSuite, SupportedProtocolVersion};
use tlsify_protocol::{AlpnMismatch, Level, Version};

use super::key_limits::KeyLimits;
use super::level::{self, Demanded};
use super::names::{self, Kind};
use super::params_spec::{ParamsError, ParamsSpec};
use super::tickets::Fingerprint;

/// Parameters that are consistent and that the cryptography provider can do.
#[derive(Clone, Debug)]
pub struct Params {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    /// `None`: whatever the provider can do.
    pub(super) schemes: Option<Arc<[SignatureScheme]>>,
    pub(super) alpn: Vec<Vec<u8>>,
    pub(super) alpn_mismatch: Option<AlpnMismatch>,
    pub(super) max_fragment: Option<u16>,
    pub(super) require_ems: bool,
    pub(super) key_limits: KeyLimits,
    /// What it was made of: made again when the host's floor is another.
    pub(super) spec: Arc<ParamsSpec>,
}

impl Params {
    /// Checks a specification and prepares it.
    ///
    /// Versions for which a list leaves nothing to negotiate are dropped, never added: `ciphers` with suites
    /// of TLS 1.3 alone means TLS 1.3 alone.
    ///
    /// # Errors
    /// [`ParamsError`] with the key that is wrong.
    pub fn build(spec: &ParamsSpec) -> Result<Self, ParamsError> {
        let level = Demanded::of(spec)?;
        let possible = version_range(spec, level)?;
        let default = provider();
        let suites = match (&spec.ciphers, level) {
            (None, None) => default.cipher_suites.clone(),
            (None, Some(level)) => level::suites(level.level),
            (Some(list), _) => resolve("ciphers", Kind::CipherSuite, list, names::cipher_suite)?,
        };
        let groups = match (&spec.groups, level) {
            (None, None) => default.kx_groups.clone(),
            (None, Some(level)) => level::groups(level.level),
            (Some(list), _) => resolve("groups", Kind::Group, list, names::group)?,
        };
        let schemes = match &spec.signature_schemes {
            None => None,
            Some(list) => {
                Some(resolve("signature-schemes", Kind::SignatureScheme, list, names::signature_scheme)?)
            }
        };
        if let Some(level) = level {
            level.check_lists(&suites, &groups, schemes.as_deref())?;
        }
        let versions = usable_versions(&possible, &suites, &groups, schemes.as_deref())?;
        check_alpn(&spec.alpn)?;
        if let Some(size) = spec.max_fragment.filter(|size| !(512..=16_384).contains(size)) {
            return Err(ParamsError::MaxFragment(size));
        }
        let unrestricted = spec.ciphers.is_none() && spec.groups.is_none() && level.is_none();
        let provider = if unrestricted {
            default
        } else {
            let cipher_suites =
                suites.into_iter().filter(|suite| versions.contains(&suite.version())).collect();
            Arc::new(CryptoProvider { cipher_suites, kx_groups: groups, ..(*default).clone() })
        };
        Ok(Self {
            provider,
            versions,
            schemes: schemes.map(Into::into),
            alpn: spec.alpn.clone(),
            alpn_mismatch: spec.alpn_mismatch,
            max_fragment: spec.max_fragment,
            require_ems: spec.require_ems,
            key_limits: KeyLimits::new(spec.key_update_bytes, spec.key_update_interval, spec.max_fragment),
            spec: Arc::new(spec.clone()),
        })
    }

    /// The same under another floor of the host's; `None`: these are as they would be then.
    ///
    /// # Errors
    /// [`ParamsError`] when what was asked for explicitly is below it.
    pub fn under(&self, floor: Version, floor_level: Option<Level>) -> Result<Option<Self>, ParamsError> {
        if (self.spec.floor, self.spec.floor_level) == (floor, floor_level) {
            return Ok(None);
        }
        Self::build(&ParamsSpec { floor, floor_level, ..(*self.spec).clone() }).map(Some)
    }

    /// Everything that decides what may be agreed on.
    pub(super) fn add_to(&self, print: &mut Fingerprint) {
        let provider = &self.provider;
        print.list(self.versions.iter().map(|version| u16::from(version.version).to_be_bytes()));
        print.list(provider.cipher_suites.iter().map(|suite| u16::from(suite.suite()).to_be_bytes()));
        print.list(provider.kx_groups.iter().map(|group| u16::from(group.name()).to_be_bytes()));
        print.list(self.verify_schemes().into_iter().map(|scheme| u16::from(scheme).to_be_bytes()));
        print.list(&self.alpn);
        print.field(&[u8::from(self.require_ems)]);
    }

    /// The lowest and the highest version that can be negotiated.
    pub fn versions(&self) -> (Version, Version) {
        let has = |version| self.versions.contains(&version);
        let lowest = if has(&TLS12) { Version::Tls12 } else { Version::Tls13 };
        let highest = if has(&TLS13) { Version::Tls13 } else { Version::Tls12 };
        (lowest, highest)
    }

    /// The same for raw public keys, which rustls does in TLS 1.3 only. False when nothing is left.
    pub(super) fn keep_tls13_only(&mut self) -> bool {
        self.versions.retain(|version| *version == &TLS13);
        // So that it stays so under another floor.
        Arc::make_mut(&mut self.spec).min = Some(Version::Tls13);
        !self.versions.is_empty()
    }

    /// Application protocols, best first.
    pub fn alpn(&self) -> &[Vec<u8>] {
        &self.alpn
    }

    /// When a session's sending key is replaced.
    pub fn key_limits(&self) -> KeyLimits {
        self.key_limits
    }

    /// What we accept from the peer's handshake signature, best first.
    pub(super) fn verify_schemes(&self) -> Vec<SignatureScheme> {
        match &self.schemes {
            Some(schemes) => schemes.to_vec(),
            None => self.provider.signature_verification_algorithms.supported_schemes(),
        }
    }

    /// rustls counts the record header as part of the fragment (5 bytes).
    pub(super) fn rustls_fragment(&self) -> Option<usize> {
        self.max_fragment.map(|size| usize::from(size) + 5)
    }
}

/// The provider with its default order: post-quantum hybrid first.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(aws_lc_rs::default_provider())).clone()
}

fn version_range(
    spec: &ParamsSpec,
    level: Option<Demanded>,
) -> Result<Vec<&'static SupportedProtocolVersion>, ParamsError> {
    let floor = spec.floor;
    for (key, asked) in [("min", spec.min), ("max", spec.max)] {
        if let Some(asked) = asked.filter(|asked| *asked < floor) {
            return Err(ParamsError::BelowFloor { key, asked, floor });
        }
    }
    let least = level.map_or(floor, |level| level::least_version(level.level).max(floor));
    for (key, asked) in [("min", spec.min), ("max", spec.max)] {
        if let (Some(asked), Some(level)) = (asked.filter(|asked| *asked < least), level) {
            return Err(level.refuse(key, format_args!("TLS {asked}")));
        }
    }
    let (min, max) = (spec.min.unwrap_or(least), spec.max.unwrap_or(Version::Tls13));
    if min > max {
        return Err(ParamsError::NoVersion { min, max });
    }
    Ok(match (min, max) {
        (Version::Tls12, Version::Tls12) => vec![&TLS12],
        (Version::Tls12, Version::Tls13) => vec![&TLS13, &TLS12],
        (Version::Tls13, _) => vec![&TLS13],
    })
}

fn resolve<T>(
    key: &'static str,
    kind: Kind,
    list: &[String],
    by_name: fn(&str) -> Option<T>,
) -> Result<Vec<T>, ParamsError> {
    if list.is_empty() {
        return Err(ParamsError::EmptyList { key });
    }
    // A group offered twice is a protocol violation to some peers; lists are short.
    let twice =
        (1..list.len()).find(|&at| list[..at].iter().any(|name| name.eq_ignore_ascii_case(&list[at])));
    if let Some(at) = twice {
        return Err(ParamsError::Twice { key, name: list[at].clone() });
    }
    list.iter()
        .map(|name| {
            by_name(name).ok_or_else(|| ParamsError::UnknownName {
                key,
                name: name.clone(),
                known: names::all_names(kind),
            })
        })
        .collect()
}

/// Of the possible versions, those that have a suite, a group and a scheme left.
fn usable_versions(
    possible: &[&'static SupportedProtocolVersion],
    suites: &[SupportedCipherSuite],
    groups: &[&'static dyn SupportedKxGroup],
    schemes: Option<&[SignatureScheme]>,
) -> Result<Vec<&'static SupportedProtocolVersion>, ParamsError> {
    let mut versions = possible.to_vec();
    let mut narrow = |key, with, keep: &dyn Fn(&SupportedProtocolVersion) -> bool| {
        let before = versions.clone();
        versions.retain(|version| keep(version));
        if versions.is_empty() {
            let versions = before.iter().map(|v| names::protocol_version_name(v.version)).collect::<Vec<_>>();
            return Err(ParamsError::NothingLeft { key, versions: versions.join(" or "), with });
        }
        Ok(())
    };
    narrow("ciphers", "", &|version| suites.iter().any(|suite| suite.version() == version))?;
    narrow("groups", "", &|version| groups.iter().any(|group| group.usable_for_version(version.version)))?;
    let Some(schemes) = schemes else {
        return Ok(versions);
    };
    narrow("signature-schemes", "", &|version| {
        let fits = if *version == TLS13 { names::scheme_in_tls13 } else { names::scheme_in_tls12 };
        schemes.iter().any(|scheme| fits(*scheme))
    })?;
    // A suite of TLS 1.2 says itself which signatures it goes with.
    narrow("signature-schemes", " and these cipher suites", &|version| {
        *version == TLS13
            || suites.iter().any(|suite| match suite {
                SupportedCipherSuite::Tls12(suite) => {
                    schemes.iter().any(|scheme| suite.sign.contains(scheme))
                }
                SupportedCipherSuite::Tls13(_) => false,
            })
    })?;
    Ok(versions)
}

// RFC 7301 section 3.1: a name has 1 to 255 bytes, the whole list 2 bytes of length.
fn check_alpn(protocols: &[Vec<u8>]) -> Result<(), ParamsError> {
    if protocols.iter().any(|protocol| protocol.is_empty() || protocol.len() > 255) {
        return Err(ParamsError::Alpn("an application protocol's name has 1 to 255 bytes"));
    }
    if protocols.iter().map(|protocol| protocol.len() + 1).sum::<usize>() > 65_535 {
        return Err(ParamsError::Alpn(
            "the application protocols' names together are longer than TLS can say",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tlsify_protocol::Code;

    use super::*;

    fn list(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|name| (*name).to_owned()).collect())
    }

    fn error(spec: ParamsSpec) -> ParamsError {
        Params::build(&spec).unwrap_err()
    }

    #[test]
    fn defaults_prefer_post_quantum() {
        let params = Params::build(&ParamsSpec::default()).unwrap();
        assert_eq!(params.versions(), (Version::Tls12, Version::Tls13));
        assert_eq!(names::group_name(params.provider.kx_groups[0].name()), "X25519MLKEM768");
    }

    #[test]
    fn nobody_goes_below_the_floor() {
        let floor = Version::Tls13;
        for spec in [
            ParamsSpec { floor, min: Some(Version::Tls12), ..ParamsSpec::default() },
            ParamsSpec { floor, max: Some(Version::Tls12), ..ParamsSpec::default() },
        ] {
            assert_eq!(error(spec).code(), Code::BelowFloor);
        }
        let params = Params::build(&ParamsSpec { floor, ..ParamsSpec::default() }).unwrap();
        assert_eq!(params.versions(), (Version::Tls13, Version::Tls13));
    }

    #[test]
    fn a_misspelt_name_is_named() {
        let spec =
            ParamsSpec { ciphers: list(&["TLS_AES_128_GCM_SHA256", "TLS_AES_512"]), ..ParamsSpec::default() };
        let error = error(spec);
        assert_eq!((error.code(), error.about()), (Code::BadValue, "ciphers"));
        assert!(
            error.to_string().starts_with("unknown name \"TLS_AES_512\", known are TLS_AES_256_GCM"),
            "{error}"
        );
    }

    #[test]
    fn lists_that_leave_nothing_are_errors() {
        let max = Some(Version::Tls12);
        for (spec, about) in [
            (
                ParamsSpec { max, ciphers: list(&["TLS_AES_128_GCM_SHA256"]), ..ParamsSpec::default() },
                "ciphers",
            ),
            (ParamsSpec { max, groups: list(&["X25519MLKEM768"]), ..ParamsSpec::default() }, "groups"),
            (
                ParamsSpec {
                    min: Some(Version::Tls13),
                    signature_schemes: list(&["rsa_pkcs1_sha256"]),
                    ..ParamsSpec::default()
                },
                "signature-schemes",
            ),
            (
                ParamsSpec {
                    ciphers: list(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]),
                    signature_schemes: list(&["ed25519"]),
                    ..ParamsSpec::default()
                },
                "signature-schemes",
            ),
        ] {
            let error = error(spec);
            assert_eq!((error.code(), error.about()), (Code::KeyConflict, about), "{error}");
        }
        let spec = ParamsSpec { groups: Some(Vec::new()), ..ParamsSpec::default() };
        assert_eq!(error(spec), ParamsError::EmptyList { key: "groups" });
        let spec = ParamsSpec { groups: list(&["x25519", "X25519"]), ..ParamsSpec::default() };
        assert_eq!((error(spec.clone()).code(), error(spec).about()), (Code::BadValue, "groups"));
        let spec = ParamsSpec { min: Some(Version::Tls13), max, ..ParamsSpec::default() };
        assert_eq!(error(spec).code(), Code::KeyConflict);
    }

    #[test]
    fn suites_of_one_version_mean_that_version() {
        let spec = ParamsSpec { ciphers: list(&["TLS_AES_128_GCM_SHA256"]), ..ParamsSpec::default() };
        assert_eq!(Params::build(&spec).unwrap().versions(), (Version::Tls13, Version::Tls13));
    }

    #[test]
    fn a_level_is_what_is_offered_and_may_only_be_narrowed() {
        let of = |spec: ParamsSpec| {
            let params = Params::build(&spec).unwrap();
            let groups = params.provider.kx_groups.iter().map(|group| names::group_name(group.name()));
            (params.versions().0, params.provider.cipher_suites.len(), groups.collect::<Vec<_>>())
        };
        let at = |level| ParamsSpec { level: Some(level), ..ParamsSpec::default() };
        let classical = ["x25519", "secp256r1", "secp384r1"];
        let all = [&["X25519MLKEM768"][..], &classical].concat();
        assert_eq!(of(at(Level::Intermediate)), (Version::Tls12, 9, all.clone()));
        assert_eq!(of(at(Level::Modern)), (Version::Tls13, 3, all));
        let hybrid = vec!["X25519MLKEM768", "SecP256r1MLKEM768"];
        assert_eq!(of(at(Level::PostQuantumRequired)), (Version::Tls13, 3, hybrid));
        let narrowed = ParamsSpec { groups: list(&["x25519"]), ..at(Level::Modern) };
        assert_eq!(of(narrowed), (Version::Tls13, 3, vec!["x25519"]));
        let capped = ParamsSpec { max: Some(Version::Tls12), ..at(Level::Intermediate) };
        assert_eq!(of(capped).1, 6, "suites of TLS 1.2 alone");
    }

    #[test]
    fn what_is_outside_a_level_is_refused_by_the_key_that_asks() {
        let old = list(&["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]);
        let pkcs1 = list(&["ed25519", "rsa_pkcs1_sha256"]);
        let (modern, pq) = (Level::Modern, Level::PostQuantumRequired);
        let none = ParamsSpec::default;
        for (level, spec, about) in [
            (modern, ParamsSpec { min: Some(Version::Tls12), ..none() }, "min"),
            (modern, ParamsSpec { max: Some(Version::Tls12), ..none() }, "max"),
            (modern, ParamsSpec { ciphers: old, ..none() }, "ciphers"),
            (modern, ParamsSpec { groups: list(&["x25519", "MLKEM1024"]), ..none() }, "groups"),
            (modern, ParamsSpec { signature_schemes: pkcs1, ..none() }, "signature-schemes"),
            (pq, ParamsSpec { groups: list(&["X25519MLKEM768", "x25519"]), ..none() }, "groups"),
        ] {
            let own = error(ParamsSpec { level: Some(level), ..spec.clone() });
            assert_eq!((own.code(), own.about()), (Code::KeyConflict, about), "{own}");
            let host = error(ParamsSpec { floor_level: Some(level), ..spec });
            assert_eq!((host.code(), host.about()), (Code::BelowFloor, about), "{host}");
            assert!(host.to_string().ends_with(&format!("not of level {level}, which this host demands")));
        }
        let (level, floor_level) = (Some(Level::Intermediate), Some(modern));
        let lower = error(ParamsSpec { level, floor_level, ..none() });
        assert_eq!((lower.code(), lower.about()), (Code::BelowFloor, "level"));
    }

    #[test]
    fn another_floor_makes_other_parameters_of_the_same_words() {
        let params = Params::build(&ParamsSpec::default()).unwrap();
        assert!(params.under(Version::Tls12, None).unwrap().is_none(), "nothing has changed");
        let higher = params.under(Version::Tls12, Some(Level::Modern)).unwrap().unwrap();
        assert_eq!(higher.versions().0, Version::Tls13);
        let back = higher.under(Version::Tls12, None).unwrap().unwrap();
        assert_eq!(back.versions().0, Version::Tls12);
        let said = ParamsSpec { min: Some(Version::Tls12), ..ParamsSpec::default() };
        let error = Params::build(&said).unwrap().under(Version::Tls13, None).unwrap_err();
        assert_eq!((error.code(), error.about()), (Code::BelowFloor, "min"));
    }

    #[test]
    fn sizes_are_within_what_the_wire_allows() {
        for size in [0, 511, 16_385] {
            let spec = ParamsSpec { max_fragment: Some(size), ..ParamsSpec::default() };
            assert_eq!(error(spec), ParamsError::MaxFragment(size));
        }
        for alpn in [vec![Vec::new()], vec![vec![b'a'; 256]], vec![vec![b'a'; 255]; 300]] {
            assert_eq!(error(ParamsSpec { alpn, ..ParamsSpec::default() }).about(), "alpn");
        }
    }
}
