//! One profile of the file in the words of the `tls` room.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tlsify_protocol::value::{Allow, Pin as PinText, Value};
use zeroize::Zeroizing;

use super::files;
use super::gather::Sources;
use super::keys::{self, KeySource, Wanted};
use crate::config::{self, IdentityKey, Role};
use crate::engine::Profile;
use crate::io::Cache;
use crate::tls::{
    AllowRule, AlpnMismatch, CertificateType, ClientCertificate, ClientProfile, ClientSpec, CrlCheck,
    CrlDoubt, Crls, Identity, Level, Params, ParamsSpec, Pin, ReferenceId, Revocation, Roots, ServerProfile,
    ServerSpec, StapledOcsp, Trust, Version, holds_key,
};

/// An identity, and the dates of its chain.
pub(super) struct LoadedIdentity {
    pub(super) identity: Identity,
    /// The place in the chain from 1, not before, not after; seconds since 1970.
    pub(super) dates: Vec<(usize, i64, i64)>,
    /// Files that have private keys, which nobody asked for.
    pub(super) stray: Vec<PathBuf>,
}

/// Reads the files of the identity whose key is wanted.
///
/// # Errors
/// A sentence with the file that cannot be used.
pub(super) fn identity(
    wanted: Wanted<'_>,
    sources: &dyn Sources,
    keys: &mut dyn KeySource,
) -> Result<LoadedIdentity, String> {
    let said = wanted.identity;
    let chain = said.certificate.as_deref().map(|path| match &said.key {
        // One file with both is read by whoever has the key.
        IdentityKey::File(key) if sources.same(path, key) => {
            sources.beside_key(path, &mut || keys.certificates(path)).map(|chain| (chain, false))
        }
        _ => sources.file(path, files::LARGEST_CHAIN).map(|chain| {
            let stray = holds_key(&chain);
            (chain, stray)
        }),
    });
    // A key that is not there is said first, as the one that an operator has to hurry for.
    let wanted = Wanted {
        chain: chain.as_ref().and_then(|chain| chain.as_ref().ok()).map(|(chain, _)| &**chain),
        ..wanted
    };
    let key = match (&chain, &said.key) {
        (Some(Err(why)), IdentityKey::Held(_) | IdentityKey::Signer(_)) => return Err(why.clone()),
        _ => keys.key(wanted)?,
    };
    let (Some(certificate), Some(chain)) = (&said.certificate, chain) else {
        let identity = Identity::raw(key).map_err(|error| format!("{}: {error}", keys::shown(&said.key)))?;
        return Ok(LoadedIdentity {
            identity: identity.with_names(said.names.clone()),
            dates: Vec::new(),
            stray: Vec::new(),
        });
    };
    let (chain, is_stray) = chain?;
    let ocsp = said.ocsp.as_deref().map(|path| sources.file(path, files::LARGEST_OCSP)).transpose()?;
    let holding =
        [(Some(certificate), is_stray), (said.ocsp.as_ref(), ocsp.as_deref().is_some_and(holds_key))];
    let stray =
        holding.into_iter().filter(|(_, holds)| *holds).filter_map(|(path, _)| path.cloned()).collect();
    let identity = Identity::new(&chain, key, ocsp.as_deref()).map_err(|error| {
        let place = match (error.about(), &said.ocsp) {
            ("certificate", _) | ("ocsp", None) => certificate.display().to_string(),
            ("ocsp", Some(ocsp)) => ocsp.display().to_string(),
            _ => keys::shown(&said.key),
        };
        format!("{place}: {error}")
    })?;
    let dates = identity
        .chain()
        .iter()
        .enumerate()
        .filter_map(|(index, certificate)| {
            let (_, parsed) = x509_parser::parse_x509_certificate(certificate.as_ref()).ok()?;
            let validity = parsed.validity();
            Some((index + 1, validity.not_before.timestamp(), validity.not_after.timestamp()))
        })
        .collect();
    let identity = if said.names.is_empty() { identity } else { identity.with_names(said.names.clone()) };
    Ok(LoadedIdentity { identity, dates, stray })
}

/// Makes a profile of its identities, its lists of revoked certificates and the rest of what the file says.
///
/// # Errors
/// A sentence: a name of an algorithm that is not known, a pin that is none, a combination that makes no sense.
pub(super) fn profile(
    said: &config::Profile,
    (floor, level): (config::Version, Option<config::Level>),
    identities: Vec<Identity>,
    crls: Option<Crls>,
    stores: &HashMap<String, Roots>,
) -> Result<Profile, String> {
    let revocation = crls.map(|crls| revocation(said, crls));
    let params = Params::build(&params(said, floor, level)).map_err(|error| error.to_string())?;
    let trust = said.trust.as_ref().map(|trust| trust_source(trust, stores)).transpose()?;
    let pins = said.pins.iter().map(|text| pin(text)).collect::<Result<Vec<_>, _>>()?;
    let certificate_type = match said.certificate_type {
        config::CertificateType::X509 => CertificateType::X509,
        config::CertificateType::RawPublicKey => CertificateType::RawPublicKey,
    };
    match said.role {
        Role::Server => {
            let allow = said.allow.iter().map(|text| allow_rule(text)).collect::<Result<_, _>>()?;
            let spec = ServerSpec {
                identities,
                unknown_name_first: said.unknown_name == config::UnknownName::First,
                params,
                certificate_type,
                client_certificate: match said.client_certificate {
                    config::ClientCertificate::None => ClientCertificate::None,
                    config::ClientCertificate::Optional => ClientCertificate::Optional,
                    config::ClientCertificate::Required => ClientCertificate::Required,
                },
                trust,
                pins,
                allow,
                revocation,
            };
            let profile = ServerProfile::build(spec).map_err(|error| error.to_string())?;
            Ok(Profile::Server(Arc::new(profile)))
        }
        Role::Client => {
            let names =
                said.names.iter().map(|name| ReferenceId::parse(name).map_err(|error| error.to_string()));
            let spec = ClientSpec {
                identity: identities.into_iter().next(),
                params,
                certificate_type,
                trust: trust.unwrap_or(Trust::System),
                pins,
                names: names.collect::<Result<_, _>>()?,
                revocation,
                stapled_ocsp: match said.stapled_ocsp {
                    config::StapledOcsp::Optional => StapledOcsp::Optional,
                    config::StapledOcsp::Required => StapledOcsp::Required,
                },
            };
            let profile = ClientProfile::build(spec).map_err(|error| error.to_string())?;
            Ok(Profile::Client(Arc::new(profile)))
        }
    }
}

/// The caches of all profiles: those that say the same share one, and with it a connection of each worker.
#[derive(Default)]
pub(super) struct Caches<'a>(Vec<(&'a config::Resumption, Arc<Cache>)>);

impl<'a> Caches<'a> {
    /// The cache of a profile. Nobody is asked whether it is there: a daemon starts without it, too.
    ///
    /// # Errors
    /// A sentence: the password cannot be read, or others can read it.
    pub(super) fn get(
        &mut self,
        said: &'a config::Resumption,
        sources: &dyn Sources,
    ) -> Result<Arc<Cache>, String> {
        let same =
            |other: &config::Resumption| *other == config::Resumption { line: other.line, ..said.clone() };
        if let Some((_, cache)) = self.0.iter().find(|(other, _)| same(other)) {
            return Ok(Arc::clone(cache));
        }
        let password = said.password_file.as_deref().map(|path| sources.password(path)).transpose()?;
        let password = password.map(|password| Zeroizing::new(password.to_vec()));
        let cache = Arc::new(Cache::new(said.cache.clone(), said.user.clone(), password, said.deadline));
        self.0.push((said, Arc::clone(&cache)));
        Ok(cache)
    }
}

/// What is asked of the lists of revoked certificates.
fn revocation(said: &config::Profile, crls: Crls) -> Revocation {
    let doubt = |doubt| match doubt {
        config::CrlDoubt::Refuse => CrlDoubt::Refuse,
        config::CrlDoubt::Allow => CrlDoubt::Allow,
    };
    Revocation {
        crls,
        check: match said.crl_check {
            config::CrlCheck::Chain => CrlCheck::Chain,
            config::CrlCheck::EndEntity => CrlCheck::EndEntity,
        },
        unknown: doubt(said.crl_unknown),
        stale: doubt(said.crl_stale),
    }
}

/// A version in the `tls` room's words.
pub(super) fn version(said: config::Version) -> Version {
    match said {
        config::Version::Tls12 => Version::Tls12,
        config::Version::Tls13 => Version::Tls13,
    }
}

/// A level in the `tls` room's words.
pub(super) fn level(said: config::Level) -> Level {
    match said {
        config::Level::Intermediate => Level::Intermediate,
        config::Level::Modern => Level::Modern,
        config::Level::PostQuantumRequired => Level::PostQuantumRequired,
    }
}

fn params(said: &config::Profile, floor: config::Version, floor_level: Option<config::Level>) -> ParamsSpec {
    ParamsSpec {
        floor: version(floor),
        floor_level: floor_level.map(level),
        level: said.level.map(level),
        min: said.minimum.map(version),
        max: said.maximum.map(version),
        ciphers: said.ciphers.clone(),
        groups: said.key_exchange_groups.clone(),
        signature_schemes: said.signature_schemes.clone(),
        alpn: said.alpn.iter().map(|name| name.as_bytes().to_vec()).collect(),
        alpn_mismatch: said.alpn_mismatch.map(|mismatch| match mismatch {
            config::AlpnMismatch::Refuse => AlpnMismatch::Refuse,
            config::AlpnMismatch::Ignore => AlpnMismatch::Ignore,
        }),
        max_fragment: said.max_fragment,
        require_ems: said.extended_master_secret == config::ExtendedMasterSecret::Required,
        key_update_bytes: said.key_update_bytes,
        key_update_interval: said.key_update_interval,
    }
}

fn trust_source(said: &config::Trust, stores: &HashMap<String, Roots>) -> Result<Trust, String> {
    match said {
        config::Trust::System => Ok(Trust::System),
        config::Trust::Pins => Ok(Trust::Pins),
        config::Trust::Store(name) => match stores.get(name) {
            Some(roots) => Ok(Trust::Roots(roots.clone())),
            None => Err(format!("there is no [[store]] named \"{name}\"")),
        },
    }
}

/// Pins and rules are written as in the protocol, so that what `failed` returned can be pasted.
fn pin(text: &str) -> Result<Pin, String> {
    PinText::read(text)
        .map(from_protocol)
        .ok_or_else(|| format!("\"{text}\" is no pin, expected {}", PinText::EXPECTED))
}

fn allow_rule(text: &str) -> Result<AllowRule, String> {
    match Allow::read(text) {
        Some(Allow::Pin(pin)) => Ok(AllowRule::Pin(from_protocol(pin))),
        Some(Allow::Dns(name)) => Ok(AllowRule::Dns(name.to_owned())),
        Some(Allow::Uri(uri)) => Ok(AllowRule::Uri(uri.to_owned())),
        Some(Allow::Mail(address)) => Ok(AllowRule::Mail(address.to_owned())),
        None => Err(format!("\"{text}\" is no rule, expected {}", Allow::EXPECTED)),
    }
}

fn from_protocol(pin: PinText) -> Pin {
    match pin {
        PinText::Spki(hash) => Pin::Spki(hash.0),
        PinText::Certificate(hash) => Pin::Certificate(hash.0),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_name_in_the_shipped_example_is_known() {
        let text = include_str!("../../../packaging/tlsifyd.toml");
        let all: String =
            text.lines().map(|line| format!("{}\n", line.strip_prefix("#: ").unwrap_or(line))).collect();
        let config = config::Config::parse(&all, Path::new("tlsifyd.toml")).unwrap();
        for profile in &config.profiles {
            Params::build(&params(profile, config.floor, config.level)).unwrap();
            for text in &profile.pins {
                pin(text).unwrap();
            }
            for text in &profile.allow {
                allow_rule(text).unwrap();
            }
        }
    }

    #[test]
    fn pins_and_rules_are_written_as_in_the_protocol() {
        let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert!(matches!(pin(&format!("spki-sha256:{hash}")), Ok(Pin::Spki(bytes)) if bytes[0] == 0xe3));
        assert!(matches!(pin(&format!("certificate-sha256:{hash}")), Ok(Pin::Certificate(_))));
        assert!(matches!(allow_rule(&format!("spki-sha256:{hash}")), Ok(AllowRule::Pin(Pin::Spki(_)))));
        assert!(matches!(allow_rule("dns:a.example"), Ok(AllowRule::Dns(name)) if name == "a.example"));
        assert!(matches!(allow_rule("uri:spiffe://a/b"), Ok(AllowRule::Uri(_))));
        assert!(matches!(allow_rule("mail:a@b.example"), Ok(AllowRule::Mail(_))));
        for wrong in ["", hash, "sha256:x", "spki-sha256:", "spki-sha256:AAAA"] {
            assert!(pin(wrong).is_err() && allow_rule(wrong).is_err(), "{wrong}");
        }
    }
}
