//! The daemon's answers as values that own what they hold: parsed here once, kept as long as the caller likes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use tlsify_protocol as wire;
use wire::{
    Address, Alert, Blame, CertificateType, Code, EchDone, FdName, How, Level, Pin, Sha256, Version, Words,
    Would,
};

use crate::asked::ClientHello;
use crate::error::{Failed, Refused};
use crate::fdpass::Packet;
use crate::request::AccessRule;

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
    /// The most profiles that this control connection may define.
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
    /// The scheme of the server's signature (RFC 8446 section 4.2.3), where it is known.
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
    /// SHA-256 of the peer's SubjectPublicKeyInfo, when the peer has a certificate.
    pub spki_sha256: Option<Sha256>,
    /// SHA-256 of the peer's end-entity certificate.
    pub certificate_sha256: Option<Sha256>,
    /// The exporter values that were asked for (RFC 8446 section 7.5), in the order of the request.
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
    /// The alert that ended it (RFC 8446 section 6).
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
    stores: Option<OwnedFd>,
}

impl Status {
    /// The lines about sessions as text; empty when they were not asked for.
    ///
    /// # Errors
    /// The system's, when the list cannot be read.
    pub fn list_text(&self) -> io::Result<String> {
        text_of(self.list.as_ref())
    }

    pub(crate) fn stores_text(&self) -> io::Result<String> {
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

/// What the exchange sorts: the first answer to a request, a session's end, or something without an id.
pub(crate) enum Answer {
    Hello(Hello),
    First { id: u64, first: First },
    Ended { id: u64, ended: Ended },
    Refused { id: Option<u64>, refused: Refused },
}

/// The first answer to a request.
pub(crate) enum First {
    Defined(Defined),
    /// How many stores were emptied.
    Forgotten(u64),
    Refused(Refused),
    Failed(Box<Failed>),
    Learned(Box<Learned>),
    Established {
        facts: Box<Facts>,
        plain: Option<OwnedFd>,
        chain: Option<OwnedFd>,
    },
    Status(Status),
    /// A question: another answer follows.
    Asked(Box<ClientHello>),
    /// The answer came without its descriptors.
    DescriptorsTruncated,
}

impl Answer {
    /// The packet as an answer, or what about it cannot be understood.
    pub(crate) fn read(packet: Packet<'_>) -> Result<Self, String> {
        let Packet { text, fds, fds_truncated } = packet;
        let answer = wire::Answer::parse(text).map_err(|error| error.to_string())?;
        let mut fds = Descriptors { arrived: fds, truncated: fds_truncated };
        let answer = match answer {
            wire::Answer::Hello(hello) => Self::Hello(Hello::from(hello)),
            wire::Answer::Refused(refused) => Self::Refused {
                id: refused.id,
                refused: Refused {
                    code: refused.code,
                    blame: refused.blame,
                    about: refused.about.map(str::to_owned),
                    text: refused.text.to_owned(),
                },
            },
            wire::Answer::Defined(defined) => {
                let first = First::Defined(Defined {
                    profile: defined.profile.as_str().to_owned(),
                    warnings: defined.warnings.iter().map(str::to_owned).collect(),
                });
                Self::First { id: defined.id, first }
            }
            wire::Answer::Failed(failed) => {
                Self::First { id: failed.id, first: failed_first(&failed, &mut fds)? }
            }
            wire::Answer::Established(established) => {
                Self::First { id: established.id, first: established_first(&established, &mut fds)? }
            }
            wire::Answer::Ended(ended) => Self::Ended { id: ended.id, ended: Ended::from(ended) },
            wire::Answer::Forgotten { id, stores } => Self::First { id, first: First::Forgotten(stores) },
            wire::Answer::ClientHello(hello) => {
                Self::First { id: hello.id, first: First::Asked(Box::new(hello.into())) }
            }
            wire::Answer::Status(status) => {
                Self::First { id: status.id, first: status_first(&status, &mut fds)? }
            }
        };
        if !fds.arrived.is_empty() {
            return Err("an answer with more descriptors than it names".into());
        }
        Ok(answer)
    }
}

/// The descriptors of one answer, taken by name.
struct Descriptors {
    arrived: Vec<OwnedFd>,
    truncated: bool,
}

impl Descriptors {
    /// The named descriptors in the order of `wanted`; `None` when the kernel dropped some.
    fn take<const N: usize>(
        &mut self,
        names: &Words<'_, FdName>,
        wanted: [FdName; N],
    ) -> Result<Option<[Option<OwnedFd>; N]>, String> {
        if self.truncated {
            self.arrived.clear();
            return Ok(None);
        }
        let mut taken = [const { None }; N];
        let mut arrived = std::mem::take(&mut self.arrived).into_iter();
        for name in names.iter() {
            let place = wanted.iter().position(|wanted| *wanted == name);
            let place = place.ok_or_else(|| format!("a descriptor {name} in an answer that has none"))?;
            let fd = arrived.next().ok_or_else(|| format!("the descriptor {name} is named and not there"))?;
            taken[place] = Some(fd);
        }
        self.arrived = arrived.collect();
        Ok(Some(taken))
    }
}

fn established_first(established: &wire::Established<'_>, fds: &mut Descriptors) -> Result<First, String> {
    let Some([plain, chain]) = fds.take(&established.fds, [FdName::Plain, FdName::Chain])? else {
        return Ok(First::DescriptorsTruncated);
    };
    let facts = Facts {
        protocol: established.protocol.to_owned(),
        cipher: established.cipher.to_owned(),
        group: established.group.map(str::to_owned),
        signature: established.signature.map(str::to_owned),
        level: established.level,
        alpn: established.alpn.map(|alpn| alpn.iter().collect()),
        server_name: established.server_name.map(str::to_owned),
        ech: established.ech,
        resumed: established.resumed,
        peer: established.peer,
        local: established.local,
        matched: established.matched.iter().map(Matched::from).collect(),
        spki_sha256: established.spki_sha256,
        certificate_sha256: established.certificate_sha256,
        exports: established.exports.iter().map(Export::from).collect(),
        channel_binding: established.channel_binding,
        certificate_type: established.certificate_type,
    };
    Ok(First::Established { facts: Box::new(facts), plain, chain })
}

fn failed_first(failed: &wire::Failed<'_>, fds: &mut Descriptors) -> Result<First, String> {
    // A failure says enough without the chain, so its loss is not a second failure.
    let [chain] = fds.take(&failed.fds, [FdName::Chain])?.unwrap_or_default();
    if let (Code::Learned, Some(spki_sha256), Some(would)) = (failed.code, failed.spki_sha256, failed.would) {
        return Ok(First::Learned(Box::new(Learned {
            spki_sha256,
            certificate_sha256: failed.certificate_sha256,
            chain,
            would,
            notes: failed.notes.iter().map(str::to_owned).collect(),
        })));
    }
    Ok(First::Failed(Box::new(Failed {
        code: failed.code,
        blame: failed.blame,
        socket: failed.socket,
        alert: failed.alert,
        spki_sha256: failed.spki_sha256,
        certificate_sha256: failed.certificate_sha256,
        ech_retry: failed.ech_retry.map(|list| list.iter().collect()),
        chain,
        text: failed.text.to_owned(),
    })))
}

fn status_first(status: &wire::StatusAnswer<'_>, fds: &mut Descriptors) -> Result<First, String> {
    let Some([list, stores]) = fds.take(&status.fds, [FdName::Sessions, FdName::Stores])? else {
        return Ok(First::DescriptorsTruncated);
    };
    Ok(First::Status(Status {
        callers: status.callers,
        sessions: status.sessions,
        handshakes: status.handshakes,
        profiles: status.profiles,
        list,
        stores,
    }))
}

impl From<wire::Hello<'_>> for Hello {
    fn from(hello: wire::Hello<'_>) -> Self {
        Self {
            versions: hello.versions.iter().collect(),
            daemon: hello.daemon.to_owned(),
            features: hello.features.iter().map(str::to_owned).collect(),
            max_packet: hello.max_packet,
            max_descriptors: hello.max_descriptors,
            max_sessions: hello.max_sessions,
            max_handshakes: hello.max_handshakes,
            max_profiles: hello.max_profiles,
            floor: hello.floor,
            level: hello.level,
        }
    }
}

impl From<wire::Ended<'_>> for Ended {
    fn from(ended: wire::Ended<'_>) -> Self {
        Self {
            how: ended.how,
            bytes_in: ended.bytes_in,
            bytes_out: ended.bytes_out,
            alert: ended.alert,
            code: ended.code,
            blame: ended.blame,
            text: ended.text.map(str::to_owned),
        }
    }
}

impl From<wire::Matched<'_>> for Matched {
    fn from(matched: wire::Matched<'_>) -> Self {
        match matched {
            wire::Matched::Name(name) => Self::Name(name.to_owned()),
            wire::Matched::Pin(pin) => Self::Pin(pin),
            wire::Matched::Allow(rule) => Self::Allow(match rule {
                wire::Allow::Pin(pin) => AccessRule::Pin(pin),
                wire::Allow::Dns(name) => AccessRule::Dns(name.to_owned()),
                wire::Allow::Uri(uri) => AccessRule::Uri(uri.to_owned()),
                wire::Allow::Mail(address) => AccessRule::Mail(address.to_owned()),
            }),
        }
    }
}

impl From<wire::ExportValue<'_>> for Export {
    fn from(export: wire::ExportValue<'_>) -> Self {
        let context = export.context.map(|context| context.iter().collect());
        Self { label: export.label.to_owned(), context, value: export.value.iter().collect() }
    }
}
