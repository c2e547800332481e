//! Builders become packets: the text by `tlsify-protocol`, the descriptors in the order that its `fds=` names them.

use std::os::fd::{AsFd, BorrowedFd};

use tlsify_protocol as wire;
use wire::{
    Alpn, Bytes, Choose, Define, ExportRequest, FdName, Forget, Items, ProfileName, Request, Role,
    ServerName, Start,
};
use wire::{StatusQuery, StoreName, Target, TlsKeys, Words};

use crate::asked::Choice;
use crate::error::Error;
use crate::fdpass::{MAX_DESCRIPTORS, MAX_PACKET};
use crate::request::{self, Accept, AccessRule, Connect, Profile, Tls, Trust};

/// One packet, ready to be sent.
pub(crate) struct Packet<'a> {
    pub(crate) text: Vec<u8>,
    pub(crate) fds: Vec<BorrowedFd<'a>>,
}

pub(crate) fn define(id: u64, profile: &Profile) -> Result<Packet<'_>, Error> {
    let mut named = Named::default();
    named.tls(&profile.tls);
    if let Some(tickets) = &profile.tickets {
        named.push(FdName::Tickets, tickets.as_fd());
    }
    let name = profile_name(&profile.name)?;
    let resume = profile.resume.as_deref().map(store_name).transpose()?;
    with_keys(&profile.tls, |tls| {
        let fds = Words::from_slice(&named.names);
        write(&Request::Define(Define { id, profile: name, role: profile.role, fds, resume, tls }))
    })
    .and_then(|text| named.packet(text))
}

pub(crate) fn accept(id: u64, accept: &Accept) -> Result<Packet<'_>, Error> {
    let ask = accept.ask.as_ref();
    start(id, &accept.start, &accept.tls, |start| {
        write(&Request::Accept(Start {
            ask: ask.is_some(),
            ask_timeout: ask.and_then(|ask| ask.timeout),
            ask_default: ask.and_then(|ask| ask.default),
            ..start
        }))
    })
}

pub(crate) fn connect(id: u64, connect: &Connect) -> Result<Packet<'_>, Error> {
    connect_or_learn(id, connect, false)
}

/// The same request, and nothing is to be opened.
pub(crate) fn learn(id: u64, connect: &Connect) -> Result<Packet<'_>, Error> {
    connect_or_learn(id, connect, true)
}

fn connect_or_learn(id: u64, connect: &Connect, learn: bool) -> Result<Packet<'_>, Error> {
    let names: Vec<&str> = connect.names.iter().map(String::as_str).collect();
    let server_name = connect.server_name.as_ref().map(|name| match name {
        Some(name) => ServerName::Dns(name),
        None => ServerName::Omit,
    });
    let to = connect.to.as_deref().map(target).transpose()?;
    start(id, &connect.start, &connect.tls, |start| {
        write(&Request::Connect(Start {
            names: Items::from_slice(&names),
            server_name,
            ech_config: connect.ech_config.as_deref().map(Bytes::from_slice),
            ech: connect.ech_grease.then_some(wire::Ech::Grease),
            to,
            fast_open: connect.fast_open,
            learn,
            ..start
        }))
    })
}

pub(crate) fn cancel(id: u64) -> Result<Packet<'static>, Error> {
    Ok(Packet { text: write(&Request::Cancel { id })?, fds: Vec::new() })
}

pub(crate) fn choose(id: u64, choice: &Choice) -> Result<Packet<'static>, Error> {
    let choice = match choice {
        Choice::Own => wire::Choice::Own,
        Choice::Profile(name) => wire::Choice::Profile(profile_name(name)?),
        Choice::Refuse(alert) => wire::Choice::Refuse(*alert),
        Choice::GiveBack => wire::Choice::GiveBack,
    };
    Ok(Packet { text: write(&Request::Choose(Choose { id, choice }))?, fds: Vec::new() })
}

pub(crate) fn status(query: StatusQuery) -> Result<Packet<'static>, Error> {
    Ok(Packet { text: write(&Request::Status(query))?, fds: Vec::new() })
}

pub(crate) fn forget(id: u64, store: &str, role: Option<Role>) -> Result<Packet<'static>, Error> {
    let store = Some(store_name(store)?);
    let forget = Forget { id, store, fds: Words::default(), role };
    Ok(Packet { text: write(&Request::Forget(forget))?, fds: Vec::new() })
}

pub(crate) fn forget_file(id: u64, store: BorrowedFd<'_>, role: Option<Role>) -> Result<Packet<'_>, Error> {
    let forget = Forget { id, store: None, fds: Words::from_slice(&[FdName::Tickets]), role };
    Ok(Packet { text: write(&Request::Forget(forget))?, fds: vec![store] })
}

/// What `accept` and `connect` share, given to `finish` to be written.
fn start<'a>(
    id: u64,
    start: &'a request::Start,
    tls: &'a Tls,
    finish: impl FnOnce(Start<'_>) -> Result<Vec<u8>, Error>,
) -> Result<Packet<'a>, Error> {
    let mut named = Named::default();
    for net in &start.nets {
        named.push(FdName::Net, net.as_fd());
    }
    for (name, fd) in &start.plain {
        named.push(*name, fd.as_fd());
    }
    named.tls(tls);
    if let Some(tickets) = &start.tickets {
        named.push(FdName::Tickets, tickets.as_fd());
    }
    let exports: Vec<ExportRequest<'_>> = start
        .exports
        .iter()
        .map(|(label, context, length)| ExportRequest {
            label,
            context: context.as_deref().map(Bytes::from_slice),
            length: *length,
        })
        .collect();
    let profile = start.profile.as_deref().map(profile_name).transpose()?;
    let resume = start.resume.as_deref().map(store_name).transpose()?;
    with_keys(tls, |tls| {
        finish(Start {
            fds: Words::from_slice(&named.names),
            profile,
            resume,
            bind: start.bind,
            handshake_timeout: start.handshake_timeout,
            idle_timeout: start.idle_timeout,
            chain: start.chain,
            exports: Items::from_slice(&exports),
            channel_binding: start.channel_binding,
            outbound_end: start.outbound_end,
            received: start.received.as_deref().map(Bytes::from_slice),
            tls,
            ..Start::new(id)
        })
    })
    .and_then(|text| named.packet(text))
}

/// The TLS keys as the writer wants them: lists of borrowed words, which live as long as `use_keys` runs.
fn with_keys(
    tls: &Tls,
    use_keys: impl FnOnce(TlsKeys<'_>) -> Result<Vec<u8>, Error>,
) -> Result<Vec<u8>, Error> {
    let ciphers = borrowed(&tls.ciphers);
    let groups = borrowed(&tls.groups);
    let signature_schemes = borrowed(&tls.signature_schemes);
    let alpn =
        tls.alpn.as_ref().map(|names| names.iter().map(|name| alpn(name)).collect::<Result<Vec<_>, _>>());
    let alpn = alpn.transpose()?;
    let allow: Vec<wire::Allow<'_>> = tls.allow.iter().map(allow).collect();
    use_keys(TlsKeys {
        min: tls.min,
        max: tls.max,
        level: tls.level,
        ciphers: ciphers.as_deref().map(Words::from_slice),
        groups: groups.as_deref().map(Words::from_slice),
        signature_schemes: signature_schemes.as_deref().map(Words::from_slice),
        alpn: alpn.as_deref().map(Words::from_slice),
        alpn_mismatch: tls.alpn_mismatch,
        max_fragment: tls.max_fragment,
        extended_master_secret: tls.extended_master_secret,
        trust: tls.trust.as_ref().map(trust),
        pins: Items::from_slice(&tls.pins),
        client_certificate: tls.client_certificate,
        allow: Items::from_slice(&allow),
        unknown_name: tls.unknown_name,
        certificate_type: tls.certificate_type,
        key_update_bytes: tls.key_update_bytes,
        key_update_interval: tls.key_update_interval,
        crl_check: tls.crl_check,
        crl_unknown: tls.crl_unknown,
        crl_stale: tls.crl_stale,
        stapled_ocsp: tls.stapled_ocsp,
    })
}

fn borrowed(list: &Option<Vec<String>>) -> Option<Vec<&str>> {
    list.as_ref().map(|list| list.iter().map(String::as_str).collect())
}

fn alpn(name: &[u8]) -> Result<Alpn<'_>, Error> {
    Alpn::from_bytes(name).ok_or_else(|| Error::Unwritable("an alpn name has 1 to 255 bytes".into()))
}

fn profile_name(name: &str) -> Result<ProfileName<'_>, Error> {
    let wrong =
        || Error::Unwritable(format!("a profile's name has 1 to 64 of A-Z a-z 0-9 . _ -, not {name:?}"));
    ProfileName::new(name).ok_or_else(wrong)
}

fn store_name(name: &str) -> Result<StoreName<'_>, Error> {
    let wrong =
        || Error::Unwritable(format!("a store's name has 1 to 64 of A-Z a-z 0-9 . _ -, not {name:?}"));
    StoreName::new(name).ok_or_else(wrong)
}

fn target(text: &str) -> Result<Target<'_>, Error> {
    if let Ok(address) = text.parse() {
        return Ok(Target::Address(address));
    }
    let named = text.rsplit_once(':').and_then(|(name, port)| Some(Target::Name(name, port.parse().ok()?)));
    named.ok_or_else(|| {
        Error::Unwritable(format!("where to connect is HOST:PORT or [ADDRESS]:PORT, not {text:?}"))
    })
}

fn trust(trust: &Trust) -> wire::Trust<'_> {
    match trust {
        Trust::System => wire::Trust::System,
        Trust::Descriptor(_) => wire::Trust::Descriptor,
        Trust::Store(name) => wire::Trust::Store(name),
        Trust::Pins => wire::Trust::Pins,
    }
}

fn allow(rule: &AccessRule) -> wire::Allow<'_> {
    match rule {
        AccessRule::Pin(pin) => wire::Allow::Pin(*pin),
        AccessRule::Dns(name) => wire::Allow::Dns(name),
        AccessRule::Uri(uri) => wire::Allow::Uri(uri),
        AccessRule::Mail(address) => wire::Allow::Mail(address),
    }
}

fn write(request: &Request<'_>) -> Result<Vec<u8>, Error> {
    // Nearly every request is short, and clearing 64 KiB for each would be most of its cost.
    const USUAL: usize = 1024;
    let mut text = vec![0; USUAL];
    let written = match request.write(&mut text) {
        Ok(written) => Ok(written),
        Err(_) => {
            text.resize(MAX_PACKET, 0);
            request.write(&mut text)
        }
    };
    text.truncate(written.map_err(|error| Error::Unwritable(error.to_string()))?);
    Ok(text)
}

/// Descriptors and their names, in step.
#[derive(Default)]
struct Named<'a> {
    names: Vec<FdName>,
    fds: Vec<BorrowedFd<'a>>,
}

impl<'a> Named<'a> {
    fn push(&mut self, name: FdName, fd: BorrowedFd<'a>) {
        self.names.push(name);
        self.fds.push(fd);
    }

    /// Those of the TLS keys, in the protocol's order: identities, then `ca`.
    fn tls(&mut self, tls: &'a Tls) {
        for (name, fd) in &tls.identities {
            self.push(*name, fd.as_fd());
        }
        if let Some(Trust::Descriptor(ca)) = &tls.trust {
            self.push(FdName::Ca, ca.as_fd());
        }
        if let Some(crl) = &tls.crl {
            self.push(FdName::Crl, crl.as_fd());
        }
    }

    fn packet(self, text: Vec<u8>) -> Result<Packet<'a>, Error> {
        if self.fds.len() > MAX_DESCRIPTORS {
            let count = self.fds.len();
            return Err(Error::Unwritable(format!(
                "{count} descriptors, and a packet carries {MAX_DESCRIPTORS}"
            )));
        }
        Ok(Packet { text, fds: self.fds })
    }
}
