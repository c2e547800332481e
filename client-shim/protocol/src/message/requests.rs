//! What a caller sends.

use core::time::Duration;

use crate::keys::Verb;
use crate::list::{Items, Words};
use crate::value::{
    Allow, Alpn, AlpnMismatch, AskDefault, Bind, Bytes, CertificateType, ClientCertificate, CrlCheck,
    CrlDoubt, Ech, ExportRequest, ExtendedMasterSecret, FdName, Level, OutboundEnd, Pin, ProfileName,
    RefusalAlert, Role, Scope, ServerName, StapledOcsp, StoreName, Target, Trust, UnknownName, Version,
};

/// What a caller sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A caller's profile: parameters that repeat.
    Define(Define<'a>),
    /// TLS server on a connected socket.
    Accept(Start<'a>),
    /// TLS client on a connected socket.
    Connect(Start<'a>),
    /// End one of this caller's sessions.
    Cancel {
        /// The session's id.
        id: u64,
    },
    /// An inventory.
    Status(StatusQuery),
    /// Empties a store.
    Forget(Forget<'a>),
    /// The answer to a question.
    Choose(Choose<'a>),
}

impl Request<'_> {
    /// The caller's id of this request; of `cancel` and `choose`, the session's.
    #[must_use]
    pub const fn id(&self) -> u64 {
        match self {
            Self::Define(define) => define.id,
            Self::Accept(start) | Self::Connect(start) => start.id,
            Self::Cancel { id } => *id,
            Self::Status(query) => query.id,
            Self::Forget(forget) => forget.id,
            Self::Choose(choose) => choose.id,
        }
    }

    /// What the first line calls it.
    #[must_use]
    pub const fn verb(&self) -> Verb {
        match self {
            Self::Define(_) => Verb::Define,
            Self::Accept(_) => Verb::Accept,
            Self::Connect(_) => Verb::Connect,
            Self::Cancel { .. } => Verb::Cancel,
            Self::Status(_) => Verb::Status,
            Self::Forget(_) => Verb::Forget,
            Self::Choose(_) => Verb::Choose,
        }
    }
}

/// `define`: a profile that lives as long as its caller's control connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Define<'a> {
    /// The caller's, unique among its unfinished requests.
    pub id: u64,
    /// What `accept` and `connect` call it by; a second `define` of the name replaces the first.
    pub profile: ProfileName<'a>,
    /// For `accept` or for `connect`.
    pub role: Role,
    /// certificate, key and ocsp per identity, or a key alone (a client has at most one); ca, crl, tickets. The sender may
    /// close its copies.
    pub fds: Words<'a, FdName>,
    /// The store of the profile's sessions that name none themselves; `None`: that of the `tickets` descriptor, if there
    /// is one, else nothing is remembered.
    pub resume: Option<StoreName<'a>>,
    /// The parameters.
    pub tls: TlsKeys<'a>,
}

/// `accept` and `connect`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start<'a> {
    /// The caller's, unique among its unfinished requests.
    pub id: u64,
    /// net, with `to` up to [`MAX_NETS`](crate::MAX_NETS) times; plain, or inbound and outbound, or neither; without
    /// a profile those of `define`; tickets.
    pub fds: Words<'a, FdName>,
    /// Where the TLS keys come from; `None`: they are in this request.
    pub profile: Option<ProfileName<'a>>,
    /// Reference identifiers, `connect` only, 16 at most: shaped like a DNS name or an IP address, not looked at
    /// closer. One of them has to match.
    pub names: Items<'a, &'a str>,
    /// The SNI, `connect` only; `None`: the first DNS name.
    pub server_name: Option<ServerName<'a>>,
    /// The server's ECHConfigList (RFC 9849 section 4), `connect` only: the ClientHello is encrypted to it, and sent in no
    /// other way. 8,192 bytes at most, looked at by the daemon alone.
    pub ech_config: Option<Bytes<'a>>,
    /// What is sent of Encrypted Client Hello without a configuration, `connect` only; `None`: nothing.
    pub ech: Option<Ech>,
    /// Where to connect the sockets first, `connect` only; `None`: there is one, and it is connected.
    pub to: Option<Target<'a>>,
    /// Whether the ClientHello may travel with the SYN (TCP Fast Open, RFC 7413); only with `to`.
    pub fast_open: bool,
    /// `connect`: the store of tickets to resume from and to keep new ones in; `accept`: the store of the keys of
    /// tickets. `None`: nothing is remembered.
    pub resume: Option<StoreName<'a>>,
    /// What the session's life is bound to.
    pub bind: Bind,
    /// When the peer is told that the program's stream has ended.
    pub outbound_end: OutboundEnd,
    /// The caller takes several answers in one packet from now on; see [`answers`](crate::text::answers).
    pub batch: bool,
    /// How long the handshake may take, in whole milliseconds.
    pub handshake_timeout: Option<Duration>,
    /// How long a session may be without data, in whole milliseconds; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether `established` brings the peer's chain as a descriptor.
    pub chain: bool,
    /// Exporter values to give back, 8 at most.
    pub exports: Items<'a, ExportRequest<'a>>,
    /// Whether to give back the channel binding of RFC 9266.
    pub channel_binding: bool,
    /// Bytes that the caller has read from `net` already: TLS begins with them. 16,384 at most.
    pub received: Option<Bytes<'a>>,
    /// The peer's certificate and key are learned and nothing is opened, `connect` only: the answer is `failed`, always.
    pub learn: bool,
    /// Whether the caller chooses what happens once the ClientHello is there, `accept` only: `ask=client-hello`.
    pub ask: bool,
    /// How long to wait for the ClientHello, and then as long for `choose`, in whole milliseconds; only with `ask`.
    pub ask_timeout: Option<Duration>,
    /// What happens without a choice; only with `ask`.
    pub ask_default: Option<AskDefault>,
    /// The parameters; nothing here when there is a profile.
    pub tls: TlsKeys<'a>,
}

impl Start<'_> {
    /// A request with nothing but its id: to be filled in by `..Start::new(id)`.
    #[must_use]
    pub fn new(id: u64) -> Self {
        Self {
            id,
            fds: Words::default(),
            profile: None,
            names: Items::default(),
            server_name: None,
            ech_config: None,
            ech: None,
            to: None,
            fast_open: false,
            resume: None,
            bind: Bind::default(),
            outbound_end: OutboundEnd::default(),
            batch: false,
            handshake_timeout: None,
            idle_timeout: None,
            chain: false,
            exports: Items::default(),
            channel_binding: false,
            received: None,
            learn: false,
            ask: false,
            ask_timeout: None,
            ask_default: None,
            tls: TlsKeys::default(),
        }
    }
}

/// The TLS keys, as said: nothing here is a default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsKeys<'a> {
    /// The least version; never below the host's floor.
    pub min: Option<Version>,
    /// The greatest version.
    pub max: Option<Version>,
    /// The security level by its name: the other keys may narrow it and not widen it.
    pub level: Option<Level>,
    /// Cipher suites by IANA name, in order of preference.
    pub ciphers: Option<Words<'a, &'a str>>,
    /// Key-exchange groups by IANA name, in order of preference.
    pub groups: Option<Words<'a, &'a str>>,
    /// Signature schemes by IANA name, in order of preference.
    pub signature_schemes: Option<Words<'a, &'a str>>,
    /// ALPN names in order of preference, 32 at most.
    pub alpn: Option<Words<'a, Alpn<'a>>>,
    /// When ALPN has nothing in common.
    pub alpn_mismatch: Option<AlpnMismatch>,
    /// Bytes of plaintext per record sent at most: 512 to 16,384.
    pub max_fragment: Option<u16>,
    /// RFC 7627 in TLS 1.2.
    pub extended_master_secret: Option<ExtendedMasterSecret>,
    /// Where trust comes from.
    pub trust: Option<Trust<'a>>,
    /// One of them is the peer's end-entity certificate, beside the chain or (`trust=pins`) instead of it. 32 at most.
    pub pins: Items<'a, Pin>,
    /// Whether a client has to show a certificate: server only.
    pub client_certificate: Option<ClientCertificate>,
    /// Which clients are let in: server only, 64 at most; none: each whose certificate is good.
    pub allow: Items<'a, Allow<'a>>,
    /// What an unknown server_name gets: server only.
    pub unknown_name: Option<UnknownName>,
    /// What the peer shows as its identity.
    pub certificate_type: Option<CertificateType>,
    /// Bytes of plaintext that are sent under one key before it is replaced, TLS 1.3: 65,536 to 2^36.
    pub key_update_bytes: Option<u64>,
    /// The age at which a key is replaced before it is used again, TLS 1.3, in whole milliseconds: a minute at least.
    pub key_update_interval: Option<Duration>,
    /// Which certificates the `crl` descriptor is about.
    pub crl_check: Option<CrlCheck>,
    /// What a certificate gets that no list covers.
    pub crl_unknown: Option<CrlDoubt>,
    /// What a certificate gets whose list is past its next update.
    pub crl_stale: Option<CrlDoubt>,
    /// Whether the server has to staple: client only.
    pub stapled_ocsp: Option<StapledOcsp>,
}

/// `status` of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusQuery {
    /// The caller's, unique among its unfinished requests.
    pub id: u64,
    /// Whose sessions.
    pub scope: Scope,
    /// Whether the answer brings a list of them as a descriptor.
    pub sessions: bool,
    /// Whether the answer brings a list of stores as a descriptor.
    pub stores: bool,
    /// Whether the answer brings a list of callers as a descriptor.
    pub callers: bool,
}

/// `forget`: the caller's uid has nothing in a store any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forget<'a> {
    /// The caller's, unique among its unfinished requests.
    pub id: u64,
    /// Its name; `None`: it is the `tickets` descriptor.
    pub store: Option<StoreName<'a>>,
    /// `tickets`, for a store without a name. The sender may close its copy.
    pub fds: Words<'a, FdName>,
    /// Only the tickets of `connect`, or only the keys of `accept`; `None`: both.
    pub role: Option<Role>,
}

/// `choose`: what is to be done with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choose<'a> {
    /// The session's, from its `client-hello`.
    pub id: u64,
    /// What is chosen.
    pub choice: Choice<'a>,
}

/// What a caller chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// The handshake, with the profile or the keys of the `accept`.
    Own,
    /// The handshake, with this profile: one of the caller's own, else the operator's.
    Profile(ProfileName<'a>),
    /// No handshake: the peer gets this alert, and the connection is closed.
    Refuse(RefusalAlert),
    /// No handshake: the socket stays the caller's, with every byte unread.
    GiveBack,
}
