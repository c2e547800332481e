//! From packets to answers: parsed once, the descriptors taken by name, and none left over.

use std::os::fd::OwnedFd;

use tlsify_protocol as wire;
use wire::{Code, FdName, Words};

use super::{Defined, Ended, Export, Facts, Hello, Learned, Matched, Status};
use crate::asked::ClientHello;
use crate::error::{Failed, Refused};
use crate::fdpass::Packet;
use crate::request::AccessRule;

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
    let names = [FdName::Sessions, FdName::Stores, FdName::Callers];
    let Some([list, stores, callers_list]) = fds.take(&status.fds, names)? else {
        return Ok(First::DescriptorsTruncated);
    };
    Ok(First::Status(Status {
        callers: status.callers,
        sessions: status.sessions,
        handshakes: status.handshakes,
        profiles: status.profiles,
        list,
        stores,
        callers_list,
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
