//! Error codes: for machines, stable; each with the party that has to act.

use super::Value;
use super::keyword::keywords;
use crate::write::{Fault, Out};

keywords! {
    /// Who has to act for it to go better.
    Blame, "peer, caller, operator or daemon" {
        /// The far TLS endpoint, or the network between.
        Peer = "peer",
        /// The local program that handed over the socket.
        Caller = "caller",
        /// Who configured the daemon.
        Operator = "operator",
        /// The daemon itself: a bug, or its machine is out of something.
        Daemon = "daemon",
    }
}

/// Which answer a code can come with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// `refused`: nothing was begun, the descriptors were closed, the socket is untouched.
    Refused,
    /// `failed`, or `ended` with `how=error`.
    Failed,
    /// Each of them.
    Either,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $phase:ident, $blame:ident;)*) => {
        /// An error code. The sentence for a person is in `text`; programs decide by this.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
            /// A code of a newer daemon: go by its blame. It is read, and cannot be written.
            Other,
        }

        impl Code {
            /// Every code of this version, in the order of PROTOCOL.md; not [`Code::Other`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other => "other",
                }
            }

            /// The code of a word; `None` for a word that is not in [`Code::ALL`].
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text {
                    $($text => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Which answer it comes with.
            #[must_use]
            pub const fn phase(self) -> Phase {
                match self {
                    $(Self::$variant => Phase::$phase,)*
                    Self::Other => Phase::Either,
                }
            }

            /// Who has to act, unless the answer says otherwise (an operator's profile can make it the operator).
            #[must_use]
            pub const fn blame(self) -> Blame {
                match self {
                    $(Self::$variant => Blame::$blame,)*
                    Self::Other => Blame::Daemon,
                }
            }
        }
    };
}

codes! {
    /// Not a packet of this protocol.
    Malformed = "malformed", Refused, Caller;
    /// A verb that this side does not know.
    UnknownVerb = "unknown-verb", Refused, Caller;
    /// A version that this side does not speak.
    Version = "version", Refused, Caller;
    /// A key that this verb does not have.
    UnknownKey = "unknown-key", Refused, Caller;
    /// A key that this verb needs.
    MissingKey = "missing-key", Refused, Caller;
    /// A value outside what the key takes.
    BadValue = "bad-value", Refused, Caller;
    /// Two keys that exclude each other, a key given twice, a key of the other role.
    KeyConflict = "key-conflict", Refused, Caller;
    /// A request with this id is not finished.
    IdInUse = "id-in-use", Refused, Caller;
    /// `cancel` of what is not there.
    UnknownId = "unknown-id", Refused, Caller;
    /// A packet above [`MAX_PACKET`](crate::MAX_PACKET).
    PacketTooLong = "packet-too-long", Refused, Caller;
    /// More descriptors than [`MAX_DESCRIPTORS`](crate::MAX_DESCRIPTORS).
    TooManyDescriptors = "too-many-descriptors", Refused, Caller;
    /// The kernel could not deliver all descriptors (MSG_CTRUNC).
    DescriptorsTruncated = "descriptors-truncated", Refused, Caller;
    /// `fds` names more or fewer descriptors than came.
    DescriptorMismatch = "descriptor-mismatch", Refused, Caller;
    /// A descriptor is not of a kind that its name takes.
    DescriptorKind = "descriptor-kind", Refused, Caller;
    /// A descriptor could not be read, or holds too much.
    DescriptorUnreadable = "descriptor-unreadable", Refused, Caller;
    /// Neither the caller nor the operator has a profile of this name.
    UnknownProfile = "unknown-profile", Refused, Caller;
    /// The operator's profile is not for this uid.
    ProfileNotAllowed = "profile-not-allowed", Refused, Operator;
    /// A server's profile for `connect`, or a client's for `accept`.
    ProfileRole = "profile-role", Refused, Caller;
    /// The caller's uid has as many sessions, handshakes or profiles as it may.
    Quota = "quota", Refused, Caller;
    /// The daemon is shutting down and takes no new sessions.
    Draining = "draining", Refused, Operator;
    /// The request asks for less than the host's floor.
    BelowFloor = "below-floor", Refused, Caller;
    /// The caller's certificate cannot be used.
    CertificateInvalid = "certificate-invalid", Refused, Caller;
    /// The caller's key cannot be used.
    KeyInvalid = "key-invalid", Refused, Caller;
    /// Key and certificate do not belong together.
    KeyMismatch = "key-mismatch", Refused, Caller;
    /// The OCSP response cannot be used.
    OcspInvalid = "ocsp-invalid", Refused, Caller;
    /// The store, bundle or system pool to trust is empty or unreadable.
    TrustUnusable = "trust-unusable", Either, Caller;
    /// None of the configurations in `ech-config` can be used here.
    EchUnusable = "ech-unusable", Refused, Caller;
    /// What was given as lists of revoked certificates holds none, or one that is not its issuer's.
    CrlInvalid = "crl-invalid", Either, Caller;
    /// The operator has no store of this name.
    UnknownStore = "unknown-store", Refused, Caller;
    /// A rule of the operator does not let this uid trust these.
    StoreNotAllowed = "store-not-allowed", Refused, Operator;
    /// Policy forbids this to the caller.
    NotPermitted = "not-permitted", Refused, Operator;
    /// A fault of the daemon or its machine.
    Internal = "internal", Either, Daemon;

    /// There is no such name, or it has no address of a family that a socket was given for.
    HostNotFound = "host-not-found", Failed, Caller;
    /// The name could not be looked up now.
    NameLookupFailed = "name-lookup-failed", Failed, Operator;
    /// Nobody listens there.
    ConnectionRefused = "connection-refused", Failed, Peer;
    /// There is no way to any of its addresses.
    Unreachable = "unreachable", Failed, Peer;
    /// None of its addresses answered in time.
    ConnectTimeout = "connect-timeout", Failed, Peer;
    /// No trusted authority issued the peer's certificate.
    UnknownIssuer = "unknown-issuer", Failed, Peer;
    /// The peer's certificate is past its end.
    CertificateExpired = "certificate-expired", Failed, Peer;
    /// The peer's certificate is before its beginning; or the clock here is wrong.
    CertificateNotYetValid = "certificate-not-yet-valid", Failed, Peer;
    /// The peer's certificate is for another use.
    CertificatePurpose = "certificate-purpose", Failed, Peer;
    /// The peer's certificate was revoked.
    CertificateRevoked = "certificate-revoked", Failed, Peer;
    /// No list says whether the peer's certificate was revoked.
    RevocationUnknown = "revocation-unknown", Failed, Caller;
    /// The list that would say it is past its next update.
    RevocationStale = "revocation-stale", Failed, Caller;
    /// The server stapled no OCSP response, and has to.
    StapleMissing = "staple-missing", Failed, Peer;
    /// The OCSP response that the server stapled says nothing of its certificate that could be believed, and it has to.
    StapleInvalid = "staple-invalid", Failed, Peer;
    /// The peer's certificate cannot be read, or its signature is wrong.
    BadCertificate = "bad-certificate", Failed, Peer;
    /// The peer's certificate has none of the names asked for.
    NameMismatch = "name-mismatch", Failed, Peer;
    /// The peer's certificate and key are none of the pinned ones.
    PinMismatch = "pin-mismatch", Failed, Peer;
    /// The client's certificate is good, and no `allow` rule lets it in.
    NotAllowed = "not-allowed", Failed, Peer;
    /// The client sent no certificate, and one is required.
    CertificateMissing = "certificate-missing", Failed, Peer;
    /// The peer ended the handshake with an alert.
    AlertReceived = "alert-received", Failed, Peer;
    /// No version in common.
    NoSharedVersion = "no-shared-version", Failed, Peer;
    /// No cipher suite, group or signature scheme in common.
    NoSharedParameters = "no-shared-parameters", Failed, Peer;
    /// No ALPN name in common.
    NoSharedAlpn = "no-shared-alpn", Failed, Peer;
    /// The client asked for a name that no identity has.
    UnknownServerName = "unknown-server-name", Failed, Peer;
    /// The peer does not speak TLS.
    NotTls = "not-tls", Failed, Peer;
    /// The server, which proved to be the public one, cannot decrypt the ClientHello.
    EchRejected = "ech-rejected", Failed, Peer;
    /// The peer broke a rule of TLS.
    ProtocolViolation = "protocol-violation", Failed, Peer;
    /// The peer closed during the handshake.
    ClosedByPeer = "closed-by-peer", Failed, Peer;
    /// The peer reset the connection during the handshake.
    ResetByPeer = "reset-by-peer", Failed, Peer;
    /// The handshake took longer than `handshake-timeout`.
    HandshakeTimeout = "handshake-timeout", Failed, Peer;
    /// `cancel` came during the handshake.
    Cancelled = "cancelled", Failed, Caller;
    /// The caller left during the handshake.
    CallerGone = "caller-gone", Failed, Caller;
    /// The caller was asked, and the socket is its own again, with every byte unread.
    GivenBack = "given-back", Failed, Caller;
    /// The caller was asked, and does not want this peer.
    RefusedByCaller = "refused-by-caller", Failed, Caller;
    /// The daemon shut down during the handshake.
    Drained = "drained", Failed, Operator;
    /// The kernel reported another error of the network socket.
    NetworkError = "network-error", Failed, Peer;
    /// `learn=yes`: the peer has shown its certificate and proved that it has the key, and nothing was opened.
    Learned = "learned", Failed, Caller;
    /// `learn=yes`: the peer has shown a certificate, and its proof that it has the key is not valid.
    KeyUnproven = "key-unproven", Failed, Peer;
    /// The session's key has encrypted as much as it safely can, and TLS 1.2 has no way to a new one.
    KeysExhausted = "keys-exhausted", Failed, Caller;
    /// Our private key is locked in the keyholder.
    KeyLocked = "key-locked", Either, Operator;
    /// The keyholder does not have our private key any more.
    KeyForgotten = "key-forgotten", Failed, Operator;
    /// Our private key is not lent for this role or version of TLS.
    KeyUseRefused = "key-use-refused", Failed, Operator;
    /// Somebody else's signer, which has our private key, cannot be reached.
    SignerUnreachable = "signer-unreachable", Failed, Operator;
    /// It did not answer in time.
    SignerTimeout = "signer-timeout", Failed, Operator;
    /// It did not sign, or not with our key.
    SignerRefused = "signer-refused", Failed, Operator;
    /// The process that holds the private keys does not answer.
    KeyholderUnavailable = "keyholder-unavailable", Either, Daemon;
}

impl core::fmt::Display for Code {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value<'_> for Code {
    const EXPECTED: &'static str = "a code";

    fn read(text: &str) -> Option<Self> {
        is_word(text).then(|| Self::parse(text).unwrap_or(Self::Other))
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self {
            Self::Other => Err(Fault::Bad("a code of this version")),
            code => out.push(code.as_str().as_bytes()),
        }
    }
}

/// How a session ended that was established. Only [`How::CloseNotify`] is a clean end of the peer's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    /// The peer said that it has sent everything (RFC 9846 section 6.1), and so did we.
    CloseNotify,
    /// The peer's FIN came without close_notify: data may be missing.
    Truncated,
    /// The network connection was reset.
    Reset,
    /// A fatal alert, received or sent: `alert` says which.
    Alert,
    /// No data for as long as `idle-timeout`.
    Timeout,
    /// `cancel`.
    Cancelled,
    /// The program closed its side, or the control connection to which the session was bound.
    Caller,
    /// The daemon shut down.
    Drained,
    /// Something else: `code` and `blame` say what.
    Error,
    /// A word of a newer daemon: not a clean end. It is read, and cannot be written.
    Other,
}

impl How {
    /// Every value of this version, in the order of PROTOCOL.md; not [`How::Other`].
    pub const ALL: &'static [Self] = &[
        Self::CloseNotify,
        Self::Truncated,
        Self::Reset,
        Self::Alert,
        Self::Timeout,
        Self::Cancelled,
        Self::Caller,
        Self::Drained,
        Self::Error,
    ];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CloseNotify => "close-notify",
            Self::Truncated => "truncated",
            Self::Reset => "reset",
            Self::Alert => "alert",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Caller => "caller",
            Self::Drained => "drained",
            Self::Error => "error",
            Self::Other => "other",
        }
    }

    /// The value of a word; `None` for a word that is not in [`How::ALL`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|how| how.as_str() == text)
    }
}

impl core::fmt::Display for How {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Value<'_> for How {
    const EXPECTED: &'static str = "how a session ended";

    fn read(text: &str) -> Option<Self> {
        is_word(text).then(|| Self::parse(text).unwrap_or(Self::Other))
    }

    fn write(&self, out: &mut Out<'_>) -> Result<(), Fault> {
        match self {
            Self::Other => Err(Fault::Bad("a way to end of this version")),
            how => out.push(how.as_str().as_bytes()),
        }
    }
}

/// The shape of codes: lower-case letters, digits and `-`.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
