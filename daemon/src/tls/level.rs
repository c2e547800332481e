//! Security levels: a name for versions, suites and groups, and which of them an agreement meets.
//!
//! ```text
//!  intermediate            TLS 1.2 and 1.3, ECDHE, AEAD               what Mozilla calls intermediate
//!   └─ modern              TLS 1.3                                    hybrid groups first
//!       └─ post-quantum-required    TLS 1.3, hybrid groups alone      who records today decrypts nothing tomorrow
//! ```
//!
//! Each takes a part of what the one before it takes, so an agreement that meets one meets those before it. A level is about
//! the handshake and the records. Certificates are judged the same at every level: no SHA-1 and no MD5, RSA from 2,048 bits
//! (webpki has nothing below). `post-quantum-required` is about the key exchange alone: what is recorded now cannot be read
//! when there are machines for it. A signature has to hold only at the time of the handshake, and nobody issues
//! certificates with post-quantum ones yet.

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS};
use rustls::{CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme, SupportedCipherSuite};
use tlsify_protocol::{Level, Version};

use super::names::{cipher_suite_name, group_name, scheme_in_tls13, signature_scheme, signature_scheme_name};
use super::params_spec::{ParamsError, ParamsSpec};

/// Of TLS 1.3, in Mozilla's order.
const SUITES_13: &[CipherSuite] = &[
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS13_AES_256_GCM_SHA384,
    CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
];

/// Of TLS 1.2, in Mozilla's order; its suites with finite-field Diffie-Hellman are not there.
const SUITES_12: &[CipherSuite] = &[
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

/// ML-KEM together with an elliptic curve: secret as long as one of them holds.
const HYBRID: &[NamedGroup] = &[NamedGroup::X25519MLKEM768, NamedGroup::secp256r1MLKEM768];

/// Elliptic curves alone.
const CLASSICAL: &[NamedGroup] = &[NamedGroup::X25519, NamedGroup::secp256r1, NamedGroup::secp384r1];

/// The level that counts, and who demands it.
#[derive(Clone, Copy)]
pub(super) struct Demanded {
    pub(super) level: Level,
    host: bool,
}

impl Demanded {
    /// What is said, or what the host demands of who says nothing.
    pub(super) fn of(spec: &ParamsSpec) -> Result<Option<Self>, ParamsError> {
        Ok(match (spec.level, spec.floor_level) {
            (Some(asked), Some(floor)) if asked < floor => {
                return Err(ParamsError::BelowFloorLevel { asked, floor });
            }
            // What is said is the request's own business as long as it is above.
            (Some(level), floor) => Some(Self { level, host: floor == Some(level) }),
            (None, Some(level)) => Some(Self { level, host: true }),
            (None, None) => None,
        })
    }

    pub(super) fn refuse(self, key: &'static str, what: impl ToString) -> ParamsError {
        ParamsError::OutsideLevel { key, what: what.to_string(), level: self.level, host: self.host }
    }

    /// Whether all that is offered is of the level.
    pub(super) fn check_lists(
        self,
        suites: &[SupportedCipherSuite],
        groups: &[&'static dyn SupportedKxGroup],
        schemes: Option<&[SignatureScheme]>,
    ) -> Result<(), ParamsError> {
        let level = self.level;
        if let Some(suite) = suites.iter().find(|suite| !takes_suite(level, suite.suite())) {
            return Err(self.refuse("ciphers", cipher_suite_name(suite.suite())));
        }
        if let Some(group) = groups.iter().find(|group| !takes_group(level, group.name())) {
            return Err(self.refuse("groups", group_name(group.name())));
        }
        let mut schemes = schemes.unwrap_or_default().iter();
        match schemes.find(|scheme| !takes_scheme(level, **scheme)) {
            Some(scheme) => Err(self.refuse("signature-schemes", signature_scheme_name(*scheme))),
            None => Ok(()),
        }
    }
}

/// The least version of a level.
pub fn least_version(level: Level) -> Version {
    match level {
        Level::Intermediate => Version::Tls12,
        Level::Modern | Level::PostQuantumRequired => Version::Tls13,
    }
}

/// The suites of a level, best first.
pub(super) fn suites(level: Level) -> Vec<SupportedCipherSuite> {
    let all = ALL_CIPHER_SUITES;
    let names = SUITES_13.iter().chain(SUITES_12).filter(|suite| takes_suite(level, **suite));
    names.filter_map(|name| all.iter().copied().find(|suite| suite.suite() == *name)).collect()
}

/// The groups that a level offers unless others are named, best first. One hybrid group is enough where classical ones
/// stand behind it: a peer that has none of these has the other one hardly ever.
pub(super) fn groups(level: Level) -> Vec<&'static dyn SupportedKxGroup> {
    let all = HYBRID.iter().chain(CLASSICAL).filter(|group| takes_group(level, **group));
    let usual =
        all.filter(|group| level == Level::PostQuantumRequired || **group != NamedGroup::secp256r1MLKEM768);
    usual.filter_map(|name| ALL_KX_GROUPS.iter().copied().find(|group| group.name() == *name)).collect()
}

pub(super) fn takes_suite(level: Level, suite: CipherSuite) -> bool {
    SUITES_13.contains(&suite) || (level == Level::Intermediate && SUITES_12.contains(&suite))
}

pub(super) fn takes_group(level: Level, group: NamedGroup) -> bool {
    HYBRID.contains(&group) || (level < Level::PostQuantumRequired && CLASSICAL.contains(&group))
}

/// Whether handshakes may be signed with it. PKCS#1 is for TLS 1.2; the levels above still offer it, because peers take
/// what is offered for what signs certificates, too, and TLS 1.3 itself keeps it out of the handshake.
pub(super) fn takes_scheme(level: Level, scheme: SignatureScheme) -> bool {
    level == Level::Intermediate || scheme_in_tls13(scheme)
}

/// The highest level that an agreement meets, the scheme by its name; `None`: it meets none. What was not agreed on (the
/// group of a session of TLS 1.2 that was resumed, the scheme of one that nobody signed) stands against nothing.
pub fn reached(
    version: ProtocolVersion,
    suite: CipherSuite,
    group: Option<NamedGroup>,
    scheme: Option<&str>,
) -> Option<Level> {
    let version = match version {
        ProtocolVersion::TLSv1_2 => Version::Tls12,
        ProtocolVersion::TLSv1_3 => Version::Tls13,
        _ => return None,
    };
    Level::ALL.iter().copied().rev().find(|&level| {
        version >= least_version(level)
            && takes_suite(level, suite)
            && group.is_none_or(|group| takes_group(level, group))
            && scheme.is_none_or(|scheme| signature_scheme(scheme).is_some_and(|scheme| takes_scheme(level, scheme)))
            // Every session of TLS 1.3 here has a key exchange of its own.
            && (version == Version::Tls12 || group.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_takes_a_part_of_the_one_before() {
        for pair in Level::ALL.windows(2) {
            let [lower, higher] = pair else { unreachable!() };
            assert!(least_version(*lower) <= least_version(*higher));
            let suites = suites(*higher);
            assert!(!suites.is_empty() && suites.iter().all(|suite| takes_suite(*lower, suite.suite())));
            let groups = groups(*higher);
            assert!(!groups.is_empty() && groups.iter().all(|group| takes_group(*lower, group.name())));
        }
    }

    #[test]
    fn hybrid_groups_come_first() {
        let names = |level| groups(level).iter().map(|group| group.name()).collect::<Vec<_>>();
        use NamedGroup::{X25519, X25519MLKEM768, secp256r1, secp256r1MLKEM768, secp384r1};
        assert_eq!(names(Level::Modern), [X25519MLKEM768, X25519, secp256r1, secp384r1]);
        assert_eq!(names(Level::Intermediate), names(Level::Modern));
        assert_eq!(names(Level::PostQuantumRequired), [X25519MLKEM768, secp256r1MLKEM768]);
    }

    #[test]
    fn what_was_agreed_on_tells_the_level() {
        use NamedGroup::{MLKEM1024, X25519, X25519MLKEM768};
        let new = (ProtocolVersion::TLSv1_3, CipherSuite::TLS13_AES_256_GCM_SHA384);
        let old = (ProtocolVersion::TLSv1_2, CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256);
        let weak = (ProtocolVersion::TLSv1_2, CipherSuite::TLS_RSA_WITH_AES_128_CBC_SHA);
        for ((version, suite), group, scheme, level) in [
            (new, Some(X25519MLKEM768), Some("ed25519"), Some(Level::PostQuantumRequired)),
            (new, Some(X25519MLKEM768), None, Some(Level::PostQuantumRequired)),
            (new, Some(X25519), Some("rsa_pss_rsae_sha256"), Some(Level::Modern)),
            (new, Some(MLKEM1024), None, None),
            (new, None, None, None),
            (old, Some(X25519), Some("rsa_pkcs1_sha256"), Some(Level::Intermediate)),
            (old, None, None, Some(Level::Intermediate)),
            (weak, Some(X25519), None, None),
        ] {
            assert_eq!(reached(version, suite, group, scheme), level, "{suite:?} {group:?} {scheme:?}");
        }
    }
}
