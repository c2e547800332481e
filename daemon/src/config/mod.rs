//! What the operator wrote: `tlsifyd.toml` as types.
//!
//! ```text
//!  text ──toml, serde──▶ file::File ──check──▶ Config        (or a ConfigError with the line)
//!            shape, unknown keys        sense: names, ranges, what fits together
//! ```
//!
//! Pure: text goes in, types come out. No file named in the text is opened, no user is looked up and no
//! certificate is parsed here; the `process` room does that and hands what it found to the engine. Whoever holds a
//! [`Config`] need not check again what is promised in its fields.
//!
//! A key that is not known is an error and never a warning: a misspelt security option must not pass silently.

mod cache;
mod check;
mod error;
mod file;
mod names;
mod profile;
mod rule;
mod signer;
#[cfg(test)]
mod tests;
mod values;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cache::{CACHE_DEADLINE, CacheAddress, CacheKind, CachePlace, Resumption};
pub use error::ConfigError;
pub use rule::Rule;
pub use signer::{IdentityKey, SIGNER_DEADLINE, Signer, SignerPlace, Token, TokenName};
pub use values::{
    AlpnMismatch, CertificateType, ClientCertificate, CrlCheck, CrlDoubt, ExtendedMasterSecret, Isolation,
    Level, LogFormat, LogLevel, Principal, Role, SandboxMode, StapledOcsp, Trust, UnknownName, Version,
    parse_duration,
};

/// Everything that `tlsifyd.toml` says, checked as far as text alone can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file this came from; errors found later name it together with a profile's line.
    pub path: PathBuf,
    /// Where to listen; `None` leaves it to the usual places.
    pub socket: Option<PathBuf>,
    /// Permission bits of the socket: read and write bits only.
    pub socket_mode: Option<u32>,
    /// Worker threads; `None` is one for each core the process may use.
    pub workers: Option<NonZeroUsize>,
    /// What is logged, and how it looks.
    pub log: Log,
    /// What one local user, and all together, may take.
    pub limits: Limits,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// The host's floor: no session, whatever its profile says, uses a lower version.
    pub floor: Version,
    /// The host's least security level, above or at `floor`.
    pub level: Option<Level>,
    /// How the daemon's parts are confined, and who they are.
    pub sandbox: Sandbox,
    /// Who may see every caller's sessions with `status`, beside root.
    pub operators: Vec<Principal>,
    /// Who may use the keyholder's own socket, and where it is.
    pub keys: Keys,
    /// Named trust stores, names unique.
    pub stores: Vec<Store>,
    /// Who signs beside the keyholder, names unique.
    pub signers: Vec<Signer>,
    /// The operator's profiles, names unique.
    pub profiles: Vec<Profile>,
    /// Who may what, in the order in which they are asked; names unique.
    pub rules: Vec<Rule>,
}

/// `[log]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least important event that is written; `info` unless said otherwise.
    pub level: LogLevel,
    /// How an event is written.
    pub format: LogFormat,
}

/// `[sandbox]`: what the daemon's processes give away at their start. There is no way to turn it off: `--single-process` is
/// for debugging.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether a kernel that lacks a feature will do.
    pub mode: SandboxMode,
    /// Whether each caller's uid has a worker of its own.
    pub isolation: Isolation,
    /// Who the worker is, when the daemon is started as root; `None`: the package's user, or a number.
    pub worker_user: Option<Principal>,
    /// Who the keyholder is; as above.
    pub keyholder_user: Option<Principal>,
    /// Who the dialer is; as above.
    pub dialer_user: Option<Principal>,
    /// Who the tokens' processes are; as above.
    pub token_user: Option<Principal>,
}

/// `[limits]`: per local user, but for the last. `None` leaves the number to the daemon, which knows the
/// descriptors it may open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Sessions that one user may hold at once.
    pub sessions: Option<u32>,
    /// Handshakes that one user may have in flight at once.
    pub handshakes: Option<u32>,
    /// Profiles that one user may have defined at once, over all control connections.
    pub profiles: Option<u32>,
    /// Control connections that one user may hold at once.
    pub connections: Option<u32>,
    /// Sessions of all users together.
    pub total_sessions: Option<u32>,
    /// Handshakes that one user may begin in a second; `None` does not count them.
    pub handshakes_per_second: Option<u32>,
    /// Handshakes that one user may begin at once after a rest; never without the pace.
    pub handshake_burst: Option<u32>,
    /// Bytes of certificates, lists and bundles that the profiles of one user may hold.
    pub profile_bytes: Option<u64>,
}

/// `[timeouts]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request to the end of the handshake, unless the request says otherwise.
    pub handshake: Duration,
    /// How long a closing socket may take to bring its last bytes to the peer.
    pub linger: Duration,
    /// How long sessions may run on after SIGTERM.
    pub drain: Duration,
    /// How long a session may rest without a byte; `None` is for ever.
    pub idle: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            // Four round trips on a bad mobile link with one lost packet fit; a peer that trickles does not.
            handshake: Duration::from_secs(10),
            // One retransmission of a lost segment (RFC 6298: at least one second) and a little.
            linger: Duration::from_secs(2),
            // Below the 90 s after which service managers kill.
            drain: Duration::from_secs(30),
            idle: None,
        }
    }
}

/// `[keys]`: the socket on which the keyholder speaks the ssh-agent protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Where it is.
    pub socket: KeysSocket,
    /// Permission bits of the socket: read and write bits only. `None` is 0600.
    pub socket_mode: Option<u32>,
    /// Who may use it, beside root and the daemon's own user.
    pub users: Vec<Principal>,
}

/// Where the keyholder's socket is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeysSocket {
    /// In the usual place.
    #[default]
    Usual,
    /// There is none.
    None,
    /// At this path.
    At(PathBuf),
}

/// `[[store]]`: trust anchors under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// As `trust = "store:NAME"` and the protocol's `trust=store:NAME` call it.
    pub name: String,
    /// Where the certificates are.
    pub source: StoreSource,
    /// The line of the store's name, from 1.
    pub line: usize,
}

/// Where a store's certificates are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreSource {
    /// One file with any number of PEM certificates.
    File(PathBuf),
    /// A folder of plain `.pem` and `.crt` files; no hashing step.
    Directory(PathBuf),
}

/// `[[profile]]`: parameters that repeat, usable by those it names.
///
/// Names of algorithms, pins and rules are text here; the `tls` room gives them their meaning, and the loader its
/// errors a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// 1 to 64 of `[A-Za-z0-9._-]`.
    pub name: String,
    /// Server or client.
    pub role: Role,
    /// The line of the profile's name, from 1.
    pub line: usize,
    /// Users who may use it.
    pub users: Vec<Principal>,
    /// Groups whose members may use it.
    pub groups: Vec<Principal>,
    /// Lowest version, never below the floor.
    pub minimum: Option<Version>,
    /// Highest version, never below `minimum`.
    pub maximum: Option<Version>,
    /// The security level, never below the host's.
    pub level: Option<Level>,
    /// IANA names of cipher suites, in order of preference.
    pub ciphers: Option<Vec<String>>,
    /// IANA names of key exchange groups, in order of preference.
    pub key_exchange_groups: Option<Vec<String>>,
    /// IANA names of signature schemes, in order of preference.
    pub signature_schemes: Option<Vec<String>>,
    /// Application protocols in order of preference, each of 1 to 255 bytes.
    pub alpn: Vec<String>,
    /// What happens when no application protocol is shared; `None` is the role's default.
    pub alpn_mismatch: Option<AlpnMismatch>,
    /// Most plaintext bytes per record sent: 512 to 16384.
    pub max_fragment: Option<u16>,
    /// Whether TLS 1.2 needs the extended master secret (RFC 7627).
    pub extended_master_secret: ExtendedMasterSecret,
    /// Where trust comes from; always there when `client_certificate` asks for one.
    pub trust: Option<Trust>,
    /// One of them must be the peer's certificate or key. Not empty when `trust` is [`Trust::Pins`].
    pub pins: Vec<String>,
    /// Server: whether the peer shows a certificate.
    pub client_certificate: ClientCertificate,
    /// Server: which client certificates may enter; empty is every trusted one.
    pub allow: Vec<String>,
    /// Server: what a peer gets that asks for a name no identity has.
    pub unknown_name: UnknownName,
    /// What the peer has to show.
    pub certificate_type: CertificateType,
    /// Bytes of plaintext that are sent under one key before it is replaced: 65,536 to 2^36.
    pub key_update_bytes: Option<u64>,
    /// Age of a key at most when it is used: a minute or more.
    pub key_update_interval: Option<Duration>,
    /// Lists of revoked certificates, to ask about the peer's chain: PEM or DER files, or folders of them.
    pub crl: Vec<PathBuf>,
    /// Which certificates have to be in no list.
    pub crl_check: CrlCheck,
    /// What a certificate gets that no list covers.
    pub crl_unknown: CrlDoubt,
    /// What a certificate gets whose list is past its next update.
    pub crl_stale: CrlDoubt,
    /// Client: whether the server has to staple.
    pub stapled_ocsp: StapledOcsp,
    /// Client: reference identifiers (RFC 9525); empty leaves them to the request.
    pub names: Vec<String>,
    /// Server: at least one. Client: at most one.
    pub identities: Vec<Identity>,
    /// Server without client certificates: where its sessions are kept, if they are.
    pub resumption: Option<Resumption>,
}

/// `[[profile.identity]]`: a chain, its key, and what belongs to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// PEM chain, the end-entity certificate first; `None`: the key alone is shown, a raw public key (RFC 7250).
    pub certificate: Option<PathBuf>,
    /// Where its private key is.
    pub key: IdentityKey,
    /// DER OCSP response to staple.
    pub ocsp: Option<PathBuf>,
    /// Names this identity serves; empty takes them from the certificate.
    pub names: Vec<String>,
    /// The line of the identity's certificate, or key, from 1.
    pub line: usize,
}

impl Config {
    /// Reads the text of the file at `path`.
    ///
    /// `path` is used in errors, and relative paths in the text are relative to the folder it is in; it is not
    /// opened.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line where there is one. The blame is the operator's.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let lines = error::Lines::new(text, path);
        let file = toml::from_str::<file::File>(text).map_err(|error| lines.toml(&error))?;
        check::check(file, &lines)
    }

    /// What an empty file says: the defaults, no stores and no profiles.
    pub fn defaults(path: &Path) -> Config {
        Config {
            path: path.to_owned(),
            socket: None,
            socket_mode: None,
            workers: None,
            log: Log::default(),
            limits: Limits::default(),
            timeouts: Timeouts::default(),
            floor: Version::Tls12,
            level: None,
            sandbox: Sandbox::default(),
            operators: Vec::new(),
            keys: Keys::default(),
            stores: Vec::new(),
            signers: Vec::new(),
            profiles: Vec::new(),
            rules: Vec::new(),
        }
    }
}
