//! From keys and descriptors to a profile: `define`, and requests that bring their own parameters.
//!
//! Files are read and keys are parsed on a thread beside the loop: a disk, a file system in user space
//! and an RSA key check all take their time.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tlsify_protocol::{
    Allow, Blame, Code, Define, Defined as DefinedAnswer, FdName, Items, MAX_CA_FILE, MAX_IDENTITY_FILE,
    Role, TlsKeys, Trust as TrustKey,
};

use super::caller::{Caller, Defined, dispose};
use super::link::Link;
use super::operator::{Operator, Profile};
use super::parts::{Parts, split};
use super::refusal::Refusal;
use super::shared::Shared;
use super::stores::Standing;
use crate::io::{Suffixes, read_public, same_file};
use crate::policy::{ProfileBytes, StoreUse};
use crate::tls::{
    AllowRule, CertificateType, ClientCertificate, ClientProfile, ClientSpec, CrlCheck, CrlDoubt, Crls,
    Identity, Level, Params, ParamsSpec, Pin, Revocation, Roots, ServerProfile, ServerSpec, StapledOcsp,
    Trust, Uses, Version, complaint, holds_key,
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
        let (ruling, cred) = (&self.footing.ruling, &self.link.cred);
        ruling.role(cred, define.role)?;
        ruling.define(cred)?;
        let slot =
            if self.profiles.contains_key(name) { None } else { Some(self.footing.account.profile()?) };
        let mut parts = split(&define.fds, fds)?;
        let made = self.make(define, &mut parts).await;
        fds.extend(parts.into_rest());
        let (profile, standing, bytes) = made?;
        let store = store_of(define.role, &define.tls);
        match (self.profiles.get_mut(name), slot) {
            (Some(defined), _) => {
                (defined.profile, defined.store) = (profile, store);
                let before = std::mem::replace(&mut defined.standing, standing);
                dispose(before.and_then(Standing::into_fd).into_iter().collect()).await;
            }
            (None, Some(slot)) => {
                if let Some(bytes) = bytes {
                    let label = Arc::new(name.to_owned());
                    let defined = Defined { profile, standing, store, label, bytes, _slot: slot };
                    self.profiles.insert(name.to_owned(), defined);
                }
            }
            (None, None) => {}
        }
        let bytes = self.profiles.values().map(|defined| defined.bytes.count()).sum();
        self.presence.set_profiles(self.profiles.len(), bytes);
        Ok(())
    }

    /// The profile and the store of a definition. On a refusal the descriptors that are left stay in `parts`.
    async fn make(
        &self,
        define: &Define<'_>,
        parts: &mut Parts,
    ) -> Result<(Profile, Option<Standing>, Option<ProfileBytes>), Refusal> {
        let standing = self.standing(define, parts).await?;
        match self.build_and_tell(define, parts).await {
            Ok((profile, bytes)) => Ok((profile, standing, bytes)),
            Err(refusal) => {
                dispose(standing.and_then(Standing::into_fd).into_iter().collect()).await;
                Err(refusal)
            }
        }
    }

    /// With room for what the profile holds, if it is a new one; of one that is replaced, the room is changed.
    async fn build_and_tell(
        &self,
        define: &Define<'_>,
        parts: &mut Parts,
    ) -> Result<(Profile, Option<ProfileBytes>), Refusal> {
        let operator = self.operator();
        let (profile, warnings) = self.build_profile(define.role, &define.tls, &operator, parts).await?;
        // Last, and before it is told: nothing refuses it any more.
        // The operator's stores are there anyhow.
        let own_trust = !matches!(store_of(define.role, &define.tls), Some(StoreUse::Named(_)));
        let weight = profile.weight(own_trust);
        let bytes = match self.profiles.get(define.profile.as_str()) {
            Some(defined) => defined.bytes.change(weight).map(|()| None)?,
            None => Some(self.footing.account.profile_bytes(weight)?),
        };
        let warnings: Vec<&str> = warnings.iter().map(String::as_str).collect();
        let answer = tlsify_protocol::Answer::Defined(DefinedAnswer {
            id: define.id,
            profile: define.profile,
            warnings: Items::from_slice(&warnings),
        });
        self.link.send(&answer, Vec::new());
        Ok((profile, bytes))
    }

    /// Makes a profile of what a caller says. That a client means somebody is seen to by the parser, for
    /// a request without a profile, and by [`Caller::start`] for each session. What it is made of is taken from `parts`.
    pub(super) async fn build_profile(
        &self,
        role: Role,
        keys: &TlsKeys<'_>,
        operator: &Arc<Operator>,
        parts: &mut Parts,
    ) -> Result<(Profile, Vec<String>), Refusal> {
        if let Some(store) = store_of(role, keys) {
            self.footing.ruling.store(&self.link.cred, &store)?;
        }
        let wanted = Wanted::new(role, keys, operator, self.footing.floor())?;
        let parts = parts.take_files();
        let asked = Asked { shared: Arc::clone(&self.worker.shared), link: Arc::clone(&self.link) };
        if parts.is_empty() {
            return wanted.build(Vec::new(), &asked);
        }
        let here = self.worker.is_alone() && parts.are_at_hand();
        let build = move || wanted.build(parts.into_named(), &asked);
        self.worker.wait_for("building a profile", here, build).await?
    }
}

/// Who asks, and whom: any thread may carry it.
struct Asked {
    shared: Arc<Shared>,
    link: Arc<Link>,
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
    crl_unknown: CrlDoubt,
    crl_stale: CrlDoubt,
    stapled_ocsp: StapledOcsp,
}

enum WantedTrust {
    Ready(Trust),
    Descriptor,
}

impl Wanted {
    fn new(
        role: Role,
        keys: &TlsKeys<'_>,
        operator: &Operator,
        floor: (Version, Option<Level>),
    ) -> Result<Self, Refusal> {
        Ok(Self {
            role,
            params: Params::build(&params_spec(keys, floor))?,
            trust: keys.trust.map(|trust| wanted_trust(trust, operator)).transpose()?,
            pins: keys.pins.iter().map(pin).collect(),
            allow: keys.allow.iter().map(allow).collect(),
            certificate_type: keys.certificate_type.unwrap_or(CertificateType::X509),
            client_certificate: keys.client_certificate.unwrap_or(ClientCertificate::None),
            unknown_name_first: keys.unknown_name == Some(tlsify_protocol::UnknownName::First),
            crl_check: keys.crl_check.unwrap_or_default(),
            crl_unknown: keys.crl_unknown.unwrap_or_default(),
            crl_stale: keys.crl_stale.unwrap_or_default(),
            stapled_ocsp: keys.stapled_ocsp.unwrap_or_default(),
        })
    }

    /// Reads the descriptors and builds. May block. Every descriptor is closed here.
    fn build(self, fds: Vec<(FdName, OwnedFd)>, asked: &Asked) -> Result<(Profile, Vec<String>), Refusal> {
        let uses = match self.role {
            Role::Server => Uses::SERVER,
            Role::Client => Uses::CLIENT,
        };
        let files = Files::read(fds, uses, asked)?;
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
        let warnings = files.identities.iter().filter_map(warning).chain(files.warnings).collect();
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
                stapled_ocsp: self.stapled_ocsp,
            })?)),
        };
        Ok((profile, warnings))
    }
}

/// What the descriptors of a request contain.
#[derive(Default)]
struct Files {
    identities: Vec<Identity>,
    roots: Option<Roots>,
    crls: Option<Crls>,
    warnings: Vec<String>,
}

impl Files {
    fn read(fds: Vec<(FdName, OwnedFd)>, uses: Uses, asked: &Asked) -> Result<Self, Refusal> {
        let take = |key| Ok::<_, Refusal>(asked.shared.keys.take(key, uses, &asked.link.cred)?);
        let mut files = Self::default();
        let mut fds = fds.into_iter().peekable();
        // The order was checked with the text: certificate, key, perhaps ocsp; or a key alone; and ca anywhere between.
        while let Some((name, fd)) = fds.next() {
            match name {
                FdName::Certificate => {
                    let Some((FdName::Key, key)) = fds.next() else {
                        let text = "a \"certificate\" descriptor must be followed by its \"key\"".to_owned();
                        return Err(Refusal::new(Code::BadValue, Some("fds"), text));
                    };
                    // One file with both is read where the key is to be, and not here.
                    let chain = if same_file(&fd, &key) {
                        asked.shared.keys.certificates(&fd)?
                    } else {
                        let chain = identity_file("certificate", &fd)?;
                        if holds_key(&chain) {
                            files.warnings.push(STRAY_KEY.to_owned());
                        }
                        chain
                    };
                    let ocsp = match fds.next_if(|(name, _)| *name == FdName::Ocsp) {
                        Some((_, ocsp)) => Some(identity_file("ocsp", &ocsp)?),
                        None => None,
                    };
                    files.identities.push(Identity::with(&chain, || take(key), ocsp.as_deref())?);
                }
                FdName::Key => {
                    files.identities.push(Identity::raw(take(fd)?)?);
                }
                FdName::Ca => files.roots = Some(bundle(&fd, asked)?),
                FdName::Crl => files.crls = Some(lists(&fd, asked)?),
                other => {
                    let text = format!("a \"{}\" descriptor has no use here", other.as_str());
                    return Err(Refusal::new(Code::BadValue, Some("fds"), text));
                }
            }
        }
        Ok(files)
    }
}

/// What is said of a key where nobody asked for one.
const STRAY_KEY: &str = "the file \"certificate\" has a private key in it, too, which is not used";

fn identity_file(name: &str, fd: &OwnedFd) -> Result<Vec<u8>, Refusal> {
    read_public(fd, MAX_IDENTITY_FILE)
        .map(|(bytes, _)| bytes)
        .map_err(|error| Refusal::descriptor(name, &error))
}

/// A caller's CA bundle: a file, or a directory of plain PEM files. Parsed once per content,
/// however many sessions of whichever callers use it: the content says everything about it.
fn bundle(fd: &OwnedFd, asked: &Asked) -> Result<Roots, Refusal> {
    let pem = files_of(fd, "ca", Suffixes::Certificates, asked)?.join(&b'\n');
    let parse = || Roots::from_pem(&pem);
    let roots = match &asked.shared.bundles {
        Some(cache) => cache.try_get_with(crate::tls::sha256(&pem), parse),
        None => parse().map_err(Arc::new),
    };
    roots.map_err(|error| Refusal::roots(&error))
}

/// A caller's lists of revoked certificates, likewise.
fn lists(fd: &OwnedFd, asked: &Asked) -> Result<Crls, Refusal> {
    let files = files_of(fd, "crl", Suffixes::Lists, asked)?;
    let parse = || Crls::read(files.iter().map(Vec::as_slice));
    let lists = match &asked.shared.lists {
        // One hash of the files' hashes: where one ends and the next begins counts.
        Some(cache) => {
            let hashes: Vec<[u8; 32]> = files.iter().map(|file| crate::tls::sha256(file)).collect();
            cache.try_get_with(crate::tls::sha256(hashes.as_flattened()), parse)
        }
        None => parse().map_err(Arc::new),
    };
    lists.map_err(|error| Refusal::new(error.code(), Some("crl"), error.to_string()))
}

/// A file, or those of a folder that count and which the caller could have opened itself.
fn files_of(fd: &OwnedFd, name: &str, which: Suffixes, asked: &Asked) -> Result<Vec<Vec<u8>>, Refusal> {
    let unusable = |error| Refusal::descriptor(name, &error);
    let stat = rustix::fs::fstat(fd).map_err(|error| unusable(error.into()))?;
    if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
        return read_public(fd, MAX_CA_FILE).map(|(bytes, _)| vec![bytes]).map_err(unusable);
    }
    let socket = asked.link.socket();
    let control = socket.as_ref().map(|socket| socket.as_fd());
    asked.shared.outside.folder(fd, which, &asked.link.cred, control).map_err(unusable)
}

fn params_spec(keys: &TlsKeys<'_>, (floor, floor_level): (Version, Option<Level>)) -> ParamsSpec {
    let list = |words: tlsify_protocol::Words<'_, &str>| words.iter().map(str::to_owned).collect();
    ParamsSpec {
        floor,
        floor_level,
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

/// Whom a caller's own parameters trust; `None`: a server that asks for no certificate trusts nobody.
fn store_of(role: Role, keys: &TlsKeys<'_>) -> Option<StoreUse> {
    match keys.trust {
        Some(TrustKey::System) => Some(StoreUse::System),
        Some(TrustKey::Pins) => Some(StoreUse::Pins),
        Some(TrustKey::Descriptor) => Some(StoreUse::Descriptor),
        Some(TrustKey::Store(name)) => Some(StoreUse::Named(name.into())),
        None => (role == Role::Client).then_some(StoreUse::System),
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
