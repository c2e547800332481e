//! The daemon's answers as values that own what they hold, for as long as the caller likes. `reading` makes them from
//! packets.

mod reading;

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use tlsify_protocol::{
    Address, Alert, Blame, CertificateType, Code, EchDone, How, Level, Pin, Sha256, Version, Would,
};

use crate::request::AccessRule;
pub(crate) use reading::{Answer, First};

/// What the daemon said about itself when the control connection opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hello {
    /// Versions of the protocol that it speaks; this library speaks 1.
    pub versions: Vec<u32>,
    /// Name and version of the daemon.
    pub daemon: String,
    /// What is usable now, by the names of PROTOCOL.md.
    pub features: Vec<String>,
    /// The longest packet in bytes.
    pub max_packet: u32,
    /// The most descriptors in one packet.
    pub max_descriptors: u32,
    /// The most sessions that this user may have at once.
    pub max_sessions: u32,
    /// The most handshakes that this user may have in flight.
    pub max_handshakes: u32,
    /// The most profiles that this user may have defined at once.
    pub max_profiles: u32,
    /// The lowest TLS version that the host allows.
    pub floor: Version,
    /// The lowest security level that the host allows, if it has one.
    pub level: Option<Level>,
}

/// A profile that the daemon took.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Defined {
    /// Its name, as it is used in requests.
    pub profile: String,
    /// What the daemon noticed and did not refuse, one sentence each: a certificate that expires soon, for example.
    pub warnings: Vec<String>,
}

/// What is known about an open session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Facts {
    /// `TLSv1.3` or `TLSv1.2`.
    pub protocol: String,
    /// The cipher suite's IANA name.
    pub cipher: String,
    /// The key-exchange group's IANA name; none when the ticket of a resumed session needed none.
    pub group: Option<String>,
    /// The IANA name of the scheme of the server's signature over the handshake, when it made one.
    pub signature: Option<String>,
    /// The highest security level that all of these meet.
    pub level: Option<Level>,
    /// The application protocol that both sides chose (RFC 7301), as bytes.
    pub alpn: Option<Vec<u8>>,
    /// The server name that was asked for (RFC 6066 section 3).
    pub server_name: Option<String>,
    /// What came of Encrypted Client Hello (RFC 9849), if some of it was sent.
    pub ech: Option<EchDone>,
    /// Opened from a ticket, without a full handshake.
    pub resumed: bool,
    /// The far end of the network socket, which a Unix socket with plaintext cannot tell.
    pub peer: Option<Address>,
    /// The near end of the network socket.
    pub local: Option<Address>,
    /// What of the request the peer's certificate satisfied.
    pub matched: Vec<Matched>,
    /// SHA-256 of the peer's SubjectPublicKeyInfo, when it showed a certificate or a raw public key.
    pub spki_sha256: Option<Sha256>,
    /// SHA-256 of the peer's end-entity certificate.
    pub certificate_sha256: Option<Sha256>,
    /// The exporter values that were asked for (RFC 9846 section 7.5), in the order of the request.
    pub exports: Vec<Export>,
    /// The `tls-exporter` channel binding (RFC 9266), when it was asked for.
    pub channel_binding: Option<Sha256>,
    /// What the peer showed, where it is no certificate but a raw public key (RFC 7250).
    pub certificate_type: Option<CertificateType>,
}

/// One thing that the peer's certificate satisfied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matched {
    /// A reference identifier of the request (RFC 9525).
    Name(String),
    /// A pin.
    Pin(Pin),
    /// An access rule for client certificates.
    Allow(AccessRule),
}

/// One exporter value: key material, so it is not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Export {
    /// The label.
    pub label: String,
    /// The context; no context and an empty one are different things in TLS 1.2 (RFC 5705 section 4).
    pub context: Option<Vec<u8>>,
    /// The value, as long as was asked for.
    pub value: Vec<u8>,
}

/// What a look at a server came to: [`Client::learn`](crate::Client::learn).
#[derive(Debug)]
#[non_exhaustive]
pub struct Learned {
    /// SHA-256 of the peer's SubjectPublicKeyInfo: what [`Learned::pin`] pins. The peer has proved that it has the key.
    pub spki_sha256: Sha256,
    /// SHA-256 of the peer's end-entity certificate.
    pub certificate_sha256: Option<Sha256>,
    /// The chain that the peer showed, PEM in a sealed memfd that belongs to whoever holds this value.
    pub chain: Option<OwnedFd>,
    /// What the same request would have come to as a session, as far as the peer's certificate decides it.
    pub would: Would,
    /// Sentences for a person: whom the certificate names, who issued it, its dates, what became of the checks.
    pub notes: Vec<String>,
}

impl Learned {
    /// The pin of the peer's key: outlives a renewal of the certificate with the same key.
    #[must_use]
    pub fn pin(&self) -> Pin {
        Pin::Spki(self.spki_sha256)
    }

    /// The chain as text, PEM, end-entity certificate first.
    ///
    /// # Errors
    /// The system's, when it cannot be read.
    pub fn chain_pem(&self) -> io::Result<String> {
        text_of(self.chain.as_ref())
    }
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The kind of end. Only [`How::CloseNotify`] says that everything the peer sent has arrived.
    pub how: How,
    /// Bytes of plaintext that went to the program.
    pub bytes_in: u64,
    /// Bytes of plaintext that went to the peer.
    pub bytes_out: u64,
    /// The alert that ended it (RFC 9846 section 6).
    pub alert: Option<Alert>,
    /// With [`How::Error`]: stable name of the reason.
    pub code: Option<Code>,
    /// With [`How::Error`]: who must act.
    pub blame: Option<Blame>,
    /// A sentence for a person.
    pub text: Option<String>,
}

/// An inventory.
#[derive(Debug)]
#[non_exhaustive]
pub struct Status {
    /// Control connections.
    pub callers: u64,
    /// Open sessions.
    pub sessions: u64,
    /// Handshakes in flight.
    pub handshakes: u64,
    /// Profiles that callers defined.
    pub profiles: u64,
    /// One line of text for each session, when it was asked for: a sealed memfd that belongs to the holder.
    pub list: Option<OwnedFd>,
    pub(crate) stores: Option<OwnedFd>,
    pub(crate) callers_list: Option<OwnedFd>,
}

impl Status {
    /// The lines about sessions as text; empty when they were not asked for.
    ///
    /// # Errors
    /// The system's, when the list cannot be read.
    pub fn list_text(&self) -> io::Result<String> {
        text_of(self.list.as_ref())
    }

    /// The lines about callers as text, one for each process under each rule; empty when they were not asked for.
    ///
    /// # Errors
    /// The system's, when the list cannot be read.
    pub fn callers_text(&self) -> io::Result<String> {
        text_of(self.callers_list.as_ref())
    }

    /// The lines about stores as text; empty when they were not asked for.
    ///
    /// # Errors
    /// The system's, when the list cannot be read.
    pub fn stores_text(&self) -> io::Result<String> {
        text_of(self.stores.as_ref())
    }
}

fn text_of(list: Option<&OwnedFd>) -> io::Result<String> {
    let mut text = String::new();
    if let Some(list) = list {
        use std::os::unix::fs::FileExt;
        let file = File::from(list.try_clone()?);
        let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0)];
        // The description's offset belongs to everybody who holds it, so it is not moved.
        file.read_exact_at(&mut bytes, 0)?;
        bytes.as_slice().read_to_string(&mut text)?;
    }
    Ok(text)
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("label", &self.label)
            .field("length", &self.value.len())
            .finish_non_exhaustive()
    }
}
