//! The shape of the file: which keys there are and what kind of value each takes, and nothing else.
//!
//! A value is [`Spanned`] where `check` may have to say on which line it is wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::cache::CacheAddress;
use super::values::{
    AlpnMismatch, CertificateType, ClientCertificate, CrlCheck, CrlDoubt, ExtendedMasterSecret, Isolation,
    Level, LogFormat, LogLevel, Principal, Role, SandboxMode, SocketMode, Span, StapledOcsp, Trust,
    UnknownName, Version,
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct File {
    pub(super) socket: Option<Spanned<PathBuf>>,
    pub(super) socket_mode: Option<SocketMode>,
    pub(super) workers: Option<Spanned<usize>>,
    #[serde(default)]
    pub(super) log: Log,
    #[serde(default)]
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    #[serde(default)]
    pub(super) tls: Tls,
    #[serde(default)]
    pub(super) sandbox: Sandbox,
    #[serde(default)]
    pub(super) status: Status,
    #[serde(default)]
    pub(super) keys: Keys,
    #[serde(default)]
    pub(super) store: Vec<Store>,
    #[serde(default)]
    pub(super) signer: Vec<Signer>,
    #[serde(default)]
    pub(super) profile: Vec<Profile>,
    #[serde(default)]
    pub(super) rule: Vec<Rule>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Log {
    #[serde(default)]
    pub(super) level: LogLevel,
    #[serde(default)]
    pub(super) format: LogFormat,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) sessions: Option<Spanned<u32>>,
    pub(super) handshakes: Option<Spanned<u32>>,
    pub(super) profiles: Option<Spanned<u32>>,
    pub(super) connections: Option<Spanned<u32>>,
    pub(super) total_sessions: Option<Spanned<u32>>,
    pub(super) handshakes_per_second: Option<Spanned<u32>>,
    pub(super) handshake_burst: Option<Spanned<u32>>,
    pub(super) profile_bytes: Option<Spanned<u64>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) users: Vec<Principal>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<Principal>>,
    #[serde(default)]
    pub(super) executables: Vec<Spanned<PathBuf>>,
    pub(super) deny: Option<Spanned<bool>>,
    pub(super) profiles: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) define: Option<Spanned<bool>>,
    pub(super) stores: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) roles: Option<Spanned<Vec<Role>>>,
    pub(super) connect_to: Option<Spanned<bool>>,
    pub(super) minimum: Option<Spanned<Version>>,
    pub(super) level: Option<Spanned<Level>>,
    pub(super) sessions: Option<Spanned<u32>>,
    pub(super) handshakes: Option<Spanned<u32>>,
    pub(super) handshakes_per_second: Option<Spanned<u32>>,
    pub(super) handshake_burst: Option<Spanned<u32>>,
    pub(super) profiles_defined: Option<Spanned<u32>>,
    pub(super) profile_bytes: Option<Spanned<u64>>,
    pub(super) connections: Option<Spanned<u32>>,
}

impl Rule {
    /// What it says of what `[limits]` says for everybody. Nothing of the total: that is everybody's.
    pub(super) fn quotas(&self) -> Limits {
        Limits {
            sessions: self.sessions.clone(),
            handshakes: self.handshakes.clone(),
            profiles: self.profiles_defined.clone(),
            connections: self.connections.clone(),
            total_sessions: None,
            handshakes_per_second: self.handshakes_per_second.clone(),
            handshake_burst: self.handshake_burst.clone(),
            profile_bytes: self.profile_bytes.clone(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Timeouts {
    pub(super) handshake: Option<Span>,
    pub(super) linger: Option<Span>,
    pub(super) drain: Option<Span>,
    pub(super) idle: Option<Span>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) minimum: Option<Spanned<Version>>,
    pub(super) level: Option<Level>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Sandbox {
    #[serde(default)]
    pub(super) mode: SandboxMode,
    #[serde(default)]
    pub(super) isolation: Isolation,
    pub(super) worker_user: Option<Spanned<Principal>>,
    pub(super) keyholder_user: Option<Spanned<Principal>>,
    pub(super) dialer_user: Option<Spanned<Principal>>,
    pub(super) token_user: Option<Spanned<Principal>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) operators: Vec<Spanned<Principal>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Keys {
    pub(super) socket: Option<Spanned<PathBuf>>,
    pub(super) socket_mode: Option<SocketMode>,
    #[serde(default)]
    pub(super) users: Vec<Spanned<Principal>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Store {
    pub(super) name: Spanned<String>,
    pub(super) file: Option<Spanned<PathBuf>>,
    pub(super) directory: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Signer {
    pub(super) name: Spanned<String>,
    pub(super) agent: Option<Spanned<PathBuf>>,
    pub(super) pkcs11: Option<Spanned<PathBuf>>,
    pub(super) token: Option<Spanned<String>>,
    pub(super) slot: Option<Spanned<u64>>,
    pub(super) pin_file: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) paths: Vec<Spanned<PathBuf>>,
    pub(super) network: Option<Spanned<bool>>,
    pub(super) environment: Option<Spanned<BTreeMap<String, String>>>,
    pub(super) deadline: Option<Spanned<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Profile {
    pub(super) name: Spanned<String>,
    pub(super) role: Role,
    #[serde(default)]
    pub(super) users: Vec<Principal>,
    #[serde(default)]
    pub(super) groups: Vec<Spanned<Principal>>,
    pub(super) minimum: Option<Spanned<Version>>,
    pub(super) maximum: Option<Spanned<Version>>,
    pub(super) level: Option<Spanned<Level>>,
    pub(super) ciphers: Option<Spanned<Vec<String>>>,
    pub(super) key_exchange_groups: Option<Spanned<Vec<String>>>,
    pub(super) signature_schemes: Option<Spanned<Vec<String>>>,
    pub(super) alpn: Option<Spanned<Vec<String>>>,
    pub(super) alpn_mismatch: Option<Spanned<AlpnMismatch>>,
    pub(super) max_fragment: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) extended_master_secret: ExtendedMasterSecret,
    pub(super) trust: Option<Spanned<Trust>>,
    pub(super) pins: Option<Spanned<Vec<String>>>,
    pub(super) client_certificate: Option<Spanned<ClientCertificate>>,
    pub(super) allow: Option<Spanned<Vec<String>>>,
    pub(super) unknown_name: Option<Spanned<UnknownName>>,
    pub(super) certificate_type: Option<Spanned<CertificateType>>,
    pub(super) key_update_bytes: Option<Spanned<u64>>,
    pub(super) key_update_interval: Option<Spanned<Span>>,
    #[serde(default)]
    pub(super) crl: Vec<Spanned<PathBuf>>,
    pub(super) crl_check: Option<Spanned<CrlCheck>>,
    pub(super) crl_unknown: Option<Spanned<CrlDoubt>>,
    pub(super) crl_stale: Option<Spanned<CrlDoubt>>,
    pub(super) stapled_ocsp: Option<Spanned<StapledOcsp>>,
    #[serde(default)]
    pub(super) names: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) identity: Vec<Identity>,
    pub(super) resumption: Option<Resumption>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Resumption {
    pub(super) cache: Spanned<CacheAddress>,
    pub(super) deadline: Option<Spanned<Span>>,
    pub(super) user: Option<Spanned<String>>,
    pub(super) password_file: Option<Spanned<PathBuf>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) certificate: Option<Spanned<PathBuf>>,
    pub(super) key: Option<Spanned<PathBuf>>,
    pub(super) signer: Option<Spanned<String>>,
    pub(super) ocsp: Option<Spanned<PathBuf>>,
    #[serde(default)]
    pub(super) names: Vec<Spanned<String>>,
}
