//! From keys and descriptors to a profile: `define`, and requests that bring their own parameters.
//!
//! Files are read and keys are parsed on a thread beside the loop: a disk, a file system in user space
//! and an RSA key check all take their time.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use tlsify_protocol::{
    Allow, Blame, Code, Define, Defined as DefinedAnswer, FdName, Items, Role, TlsKeys, Trust as TrustKey,
};

use super::caller::{Caller, Defined};
use super::operator::{Operator, Profile};
use super::parts::{Parts, split};
use super::profile_files::Files;
use super::refusal::Refusal;
use super::shared::Shared;
use crate::policy::CallerCred;
use crate::tls::{
    AllowRule, CertificateType, ClientCertificate, ClientProfile, ClientSpec, CrlCheck, CrlStale, CrlUnknown,
    Identity, Params, ParamsSpec, Pin, Revocation, ServerProfile, ServerSpec, StapledOcsp, Trust, complaint,
};

impl Caller {
    /// `define`: parameters that repeat get a name.
    pub(super) async fn define(
        &mut self,
        define: &Define<'_>,
        fds: &mut Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
        let name = define.profile.as_str();
        // Replacing one takes no further place, and the old one goes on if the new one is refused.
        let slot = if self.profiles.contains_key(name) { None } else { Some(self.link.account.profile()?) };
        let mut parts = split(&define.fds, fds)?;
        let standing = match self.standing(define, &mut parts).await {
            Ok(standing) => standing,
            Err(refusal) => {
                fds.extend(parts.into_rest());
                return Err(refusal);
            }
        };
        let profile = self.build_and_tell(define, parts).await?;
        match (self.profiles.get_mut(name), slot) {
            (Some(defined), _) => (defined.profile, defined.standing) = (profile, standing),
            (None, Some(slot)) => {
                let defined = Defined { profile, standing, _slot: slot };
                drop(self.profiles.insert(name.to_owned(), defined))
            }
            (None, None) => {}
        }
        Ok(())
    }

    async fn build_and_tell(&self, define: &Define<'_>, parts: Parts) -> Result<Profile, Refusal> {
        let operator = self.operator();
        let (profile, warnings) = self.build_profile(define.role, &define.tls, &operator, parts).await?;
        let warnings: Vec<&str> = warnings.iter().map(String::as_str).collect();
        let answer = tlsify_protocol::Answer::Defined(DefinedAnswer {
            id: define.id,
            profile: define.profile,
            warnings: Items::from_slice(&warnings),
        });
        self.link.send(&answer, Vec::new());
        Ok(profile)
    }

    /// Makes a profile of what a caller says. That a client means somebody is seen to by the parser, for
    /// a request without a profile, and by [`Caller::start`] for each session.
    pub(super) async fn build_profile(
        &self,
        role: Role,
        keys: &TlsKeys<'_>,
        operator: &Arc<Operator>,
        parts: Parts,
    ) -> Result<(Profile, Vec<String>), Refusal> {
        let wanted = Wanted::new(role, keys, operator)?;
        if parts.is_empty() {
            return wanted.build(Vec::new(), &self.worker.shared, &self.link.cred);
        }
        let shared = Arc::clone(&self.worker.shared);
        let cred = self.link.cred.clone();
        let here = self.worker.is_alone() && parts.are_at_hand();
        let build = move || wanted.build(parts.into_named(), &shared, &cred);
        self.worker.wait_for("building a profile", here, build).await?
    }
}

/// What a caller's keys say, owned and checked as far as the text goes.
struct Wanted {
    role: Role,
    params: Params,
    trust: Option<WantedTrust>,
    pins: Vec<Pin>,
    allow: Vec<AllowRule>,
    certificate_type: CertificateType,
    client_certificate: ClientCertificate,
    unknown_name_first: bool,
    crl_check: CrlCheck,
    crl_unknown: CrlUnknown,
    crl_stale: CrlStale,
    stapled: StapledOcsp,
}

enum WantedTrust {
    Ready(Trust),
    Descriptor,
}

impl Wanted {
    fn new(role: Role, keys: &TlsKeys<'_>, operator: &Operator) -> Result<Self, Refusal> {
        Ok(Self {
            role,
            params: Params::build(&params_spec(keys, operator))?,
            trust: keys.trust.map(|trust| wanted_trust(trust, operator)).transpose()?,
            pins: keys.pins.iter().map(pin).collect(),
            allow: keys.allow.iter().map(allow).collect(),
            certificate_type: keys.certificate_type.unwrap_or(CertificateType::X509),
            client_certificate: keys.client_certificate.unwrap_or(ClientCertificate::None),
            unknown_name_first: keys.unknown_name == Some(tlsify_protocol::UnknownName::First),
            crl_check: keys.crl_check.unwrap_or(CrlCheck::Chain),
            crl_unknown: keys.crl_unknown.unwrap_or(CrlUnknown::Refuse),
            crl_stale: keys.crl_stale.unwrap_or(CrlStale::Refuse),
            stapled: keys.stapled_ocsp.unwrap_or(StapledOcsp::Optional),
        })
    }

    /// Reads the descriptors and builds. May block. Every descriptor is closed here.
    fn build(
        self,
        fds: Vec<(FdName, OwnedFd)>,
        shared: &Shared,
        cred: &CallerCred,
    ) -> Result<(Profile, Vec<String>), Refusal> {
        let files = Files::read(fds, shared, cred)?;
        let trust = match self.trust {
            None => None,
            Some(WantedTrust::Ready(trust)) => Some(trust),
            Some(WantedTrust::Descriptor) => match files.roots {
                Some(roots) => Some(Trust::Roots(roots)),
                None => {
                    let text = "trust=descriptor needs a \"ca\" descriptor".to_owned();
                    return Err(Refusal::new(Code::KeyConflict, Some("trust"), text));
                }
            },
        };
        let revocation = files.crls.map(|crls| Revocation {
            crls,
            check: self.crl_check,
            unknown: self.crl_unknown,
            stale: self.crl_stale,
        });
        let warnings = files.identities.iter().filter_map(warning).collect();
        let profile = match self.role {
            Role::Server => Profile::Server(Arc::new(ServerProfile::build(ServerSpec {
                identities: files.identities,
                unknown_name_first: self.unknown_name_first,
                params: self.params,
                certificate_type: self.certificate_type,
                client_certificate: self.client_certificate,
                trust,
                pins: self.pins,
                allow: self.allow,
                revocation,
            })?)),
            Role::Client => Profile::Client(Arc::new(ClientProfile::build(ClientSpec {
                identity: files.identities.into_iter().next(),
                params: self.params,
                certificate_type: self.certificate_type,
                trust: trust.unwrap_or(Trust::System),
                pins: self.pins,
                names: Vec::new(),
                revocation,
                stapled: self.stapled,
            })?)),
        };
        Ok((profile, warnings))
    }
}

fn params_spec(keys: &TlsKeys<'_>, operator: &Operator) -> ParamsSpec {
    let list = |words: tlsify_protocol::Words<'_, &str>| words.iter().map(str::to_owned).collect();
    ParamsSpec {
        floor: operator.floor,
        floor_level: operator.level,
        level: keys.level,
        min: keys.min,
        max: keys.max,
        ciphers: keys.ciphers.map(list),
        groups: keys.groups.map(list),
        signature_schemes: keys.signature_schemes.map(list),
        alpn: keys
            .alpn
            .map_or_else(Vec::new, |names| names.iter().map(|name| name.iter().collect()).collect()),
        alpn_mismatch: keys.alpn_mismatch,
        max_fragment: keys.max_fragment,
        require_ems: keys.extended_master_secret == Some(tlsify_protocol::ExtendedMasterSecret::Required),
        key_update_bytes: keys.key_update_bytes,
        key_update_interval: keys.key_update_interval,
    }
}

fn wanted_trust(trust: TrustKey<'_>, operator: &Operator) -> Result<WantedTrust, Refusal> {
    Ok(match trust {
        TrustKey::System => WantedTrust::Ready(Trust::System),
        TrustKey::Pins => WantedTrust::Ready(Trust::Pins),
        TrustKey::Descriptor => WantedTrust::Descriptor,
        TrustKey::Store(name) => match operator.stores.get(name) {
            Some(roots) => WantedTrust::Ready(Trust::Roots(roots.clone())),
            None => {
                let text = format!("the operator has no trust store \"{name}\"");
                return Err(Refusal::new(Code::UnknownStore, Some("trust"), text).blaming(Blame::Caller));
            }
        },
    })
}

fn pin(pin: tlsify_protocol::Pin) -> Pin {
    match pin {
        tlsify_protocol::Pin::Spki(hash) => Pin::Spki(hash.0),
        tlsify_protocol::Pin::Certificate(hash) => Pin::Certificate(hash.0),
    }
}

fn allow(rule: Allow<'_>) -> AllowRule {
    match rule {
        Allow::Pin(hash) => AllowRule::Pin(pin(hash)),
        Allow::Dns(name) => AllowRule::Dns(name.to_owned()),
        Allow::Uri(uri) => AllowRule::Uri(uri.to_owned()),
        Allow::Mail(address) => AllowRule::Mail(address.to_owned()),
    }
}

/// What a person should know of an identity that is usable all the same.
fn warning(identity: &Identity) -> Option<String> {
    if identity.is_raw() {
        return None;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let signed = u64::cast_signed;
    let (from, until) = (identity.not_before().as_secs(), identity.not_after().as_secs());
    complaint(1, signed(from), signed(until), signed(now.as_secs()))
}
