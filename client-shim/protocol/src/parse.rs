//! Bytes to messages: one pass over the lines, then the rules between keys.

mod asking;

use core::time::Duration;

use crate::error::{Flaw, ParseError};
use crate::keys::Verb;
use crate::limits::{MAX_PACKET, PROTOCOL_VERSION};
use crate::lines::{Line, Lines, find_id};
use crate::list::Items;
use crate::message::{
    Answer, Define, Defined, Ended, Established, Failed, Forget, Hello, Refused, Request, Start,
    StatusAnswer, StatusQuery, TlsKeys,
};
use crate::rules;
use crate::value::{
    Alert, AlertText, Ask, ChannelBinding, Code, Millis, Party, Role, TlsExporter, Value, decimal,
};

impl<'a> Request<'a> {
    /// Reads a caller's packet. What can be checked from the text alone has been checked when this is `Ok`.
    ///
    /// # Errors
    /// The packet is not of this protocol, or its keys do not make a request: the error is what `refused` says.
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError<'a>> {
        parse(packet, Verb::REQUESTS, |verb, lines| match verb {
            Verb::Define => define(lines).map(Request::Define),
            Verb::Accept => start(lines, Role::Server).map(Request::Accept),
            Verb::Connect => start(lines, Role::Client).map(Request::Connect),
            Verb::Cancel => cancel(lines),
            Verb::Forget => forget(lines).map(Request::Forget),
            Verb::Choose => asking::choose(lines).map(Request::Choose),
            _ => status_query(lines).map(Request::Status),
        })
    }
}

impl<'a> Answer<'a> {
    /// Reads a daemon's packet.
    ///
    /// # Errors
    /// The packet is not of this protocol: the caller should close its control connection.
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError<'a>> {
        parse(packet, Verb::ANSWERS, |verb, lines| match verb {
            Verb::Hello => hello(lines).map(Answer::Hello),
            Verb::Defined => defined(lines).map(Answer::Defined),
            Verb::Refused => refused(lines).map(Answer::Refused),
            Verb::Failed => failed(lines).map(Answer::Failed),
            Verb::Established => established(lines).map(Answer::Established),
            Verb::Ended => ended(lines).map(Answer::Ended),
            Verb::Forgotten => forgotten(lines),
            Verb::ClientHello => asking::client_hello(lines).map(Answer::ClientHello),
            _ => status_answer(lines).map(Answer::Status),
        })
    }
}

/// The frame of every packet; `body` reads the lines after the first.
fn parse<'a, T>(
    packet: &'a [u8],
    verbs: &[Verb],
    body: impl FnOnce(Verb, Lines<'a>) -> Result<T, Flaw<'a>>,
) -> Result<T, ParseError<'a>> {
    let mut read = None;
    first_line(packet, verbs)
        .and_then(|(verb, lines)| {
            read = Some(verb);
            body(verb, lines)
        })
        .map_err(|Flaw { code, about, why }| ParseError { id: find_id(packet), code, about, verb: read, why })
}

fn first_line<'a>(packet: &'a [u8], verbs: &[Verb]) -> Result<(Verb, Lines<'a>), Flaw<'a>> {
    if packet.len() > MAX_PACKET {
        return Err(Flaw::new(Code::PacketTooLong, "it has more than 65536 bytes"));
    }
    let malformed = |why| Flaw::new(Code::Malformed, why);
    let text = core::str::from_utf8(packet).map_err(|_| malformed("it is not UTF-8"))?;
    let mut lines = Lines::new(text);
    let first = lines.text().ok_or(malformed("it is empty"))??;
    let (version, verb) = first
        .strip_prefix("tlsify/")
        .and_then(|rest| rest.split_once(' '))
        .ok_or(malformed("the first line is not \"tlsify/VERSION VERB\""))?;
    let number = decimal(version).ok_or(malformed("the version is not a number"))?;
    if number != u64::from(PROTOCOL_VERSION) {
        return Err(Flaw::about(Code::Version, version, "version 1"));
    }
    let known = verbs.iter().copied().find(|known| known.as_str() == verb);
    Ok((known.ok_or(Flaw::about(Code::UnknownVerb, verb, "a verb of version 1"))?, lines))
}

fn define<'a>(lines: Lines<'a>) -> Result<Define<'a>, Flaw<'a>> {
    let (mut id, mut profile, mut role, mut fds) = (None, None, None, None);
    let mut resume = None;
    let mut tls = TlsKeys::default();
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "profile" => once(&mut profile, &line)?,
            "role" => once(&mut role, &line)?,
            "fds" => once(&mut fds, &line)?,
            "resume" => once(&mut resume, &line)?,
            _ => tls_key(&mut tls, &line)?,
        }
    }
    let define = Define {
        id: need(id, "id")?,
        profile: need(profile, "profile")?,
        role: need(role, "role")?,
        fds: fds.unwrap_or_default(),
        resume,
        tls,
    };
    rules::define(&define)?;
    Ok(define)
}

fn start<'a>(lines: Lines<'a>, role: Role) -> Result<Start<'a>, Flaw<'a>> {
    let (mut id, mut fds, mut bind, mut chain, mut channel_binding) = (None, None, None, None, None);
    let (mut handshake_timeout, mut idle_timeout) = (None, None);
    let (mut fast_open, mut outbound_end, mut batch) = (None, None, None);
    let mut learn = None;
    let (mut ask, mut ask_timeout) = (None, None);
    let mut start = Start::new(0);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "fds" => once(&mut fds, &line)?,
            "profile" => once(&mut start.profile, &line)?,
            "name" => many(&mut start.names, &line)?,
            "server-name" => once(&mut start.server_name, &line)?,
            "ech-config" => once(&mut start.ech_config, &line)?,
            "ech" => once(&mut start.ech, &line)?,
            "to" => once(&mut start.to, &line)?,
            "fast-open" => once(&mut fast_open, &line)?,
            "resume" => once(&mut start.resume, &line)?,
            "bind" => once(&mut bind, &line)?,
            "outbound-end" => once(&mut outbound_end, &line)?,
            "batch" => once(&mut batch, &line)?,
            "handshake-timeout" => once(&mut handshake_timeout, &line)?,
            "idle-timeout" => once(&mut idle_timeout, &line)?,
            "chain" => once(&mut chain, &line)?,
            "export" => many(&mut start.exports, &line)?,
            "channel-binding" => once(&mut channel_binding, &line)?,
            "received" => once(&mut start.received, &line)?,
            "learn" => once(&mut learn, &line)?,
            "ask" => once(&mut ask, &line)?,
            "ask-timeout" => once(&mut ask_timeout, &line)?,
            "ask-default" => once(&mut start.ask_default, &line)?,
            _ => tls_key(&mut start.tls, &line)?,
        }
    }
    let start = Start {
        id: need(id, "id")?,
        fds: need(fds, "fds")?,
        fast_open: fast_open.unwrap_or(false),
        bind: bind.unwrap_or_default(),
        outbound_end: outbound_end.unwrap_or_default(),
        batch: batch.unwrap_or(false),
        handshake_timeout: handshake_timeout.map(duration),
        idle_timeout: idle_timeout.map(duration),
        chain: chain.unwrap_or(false),
        learn: learn.unwrap_or(false),
        channel_binding: channel_binding.map(|TlsExporter| true).unwrap_or(false),
        ask: ask.map(|Ask::ClientHello| true).unwrap_or(false),
        ask_timeout: ask_timeout.map(duration),
        ..start
    };
    rules::start(&start, role)?;
    Ok(start)
}

fn tls_key<'a>(tls: &mut TlsKeys<'a>, line: &Line<'a>) -> Result<(), Flaw<'a>> {
    match line.key {
        "min" => once(&mut tls.min, line),
        "max" => once(&mut tls.max, line),
        "level" => once(&mut tls.level, line),
        "ciphers" => once(&mut tls.ciphers, line),
        "groups" => once(&mut tls.groups, line),
        "signature-schemes" => once(&mut tls.signature_schemes, line),
        "alpn" => once(&mut tls.alpn, line),
        "alpn-mismatch" => once(&mut tls.alpn_mismatch, line),
        "max-fragment" => once(&mut tls.max_fragment, line),
        "extended-master-secret" => once(&mut tls.extended_master_secret, line),
        "trust" => once(&mut tls.trust, line),
        "pin" => many(&mut tls.pins, line),
        "client-certificate" => once(&mut tls.client_certificate, line),
        "allow" => many(&mut tls.allow, line),
        "unknown-name" => once(&mut tls.unknown_name, line),
        "certificate-type" => once(&mut tls.certificate_type, line),
        "crl-check" => once(&mut tls.crl_check, line),
        "crl-unknown" => once(&mut tls.crl_unknown, line),
        "crl-stale" => once(&mut tls.crl_stale, line),
        "stapled-ocsp" => once(&mut tls.stapled_ocsp, line),
        "key-update-bytes" => once(&mut tls.key_update_bytes, line),
        "key-update-interval" => {
            let mut interval = tls.key_update_interval.map(Millis);
            once(&mut interval, line)?;
            tls.key_update_interval = interval.map(duration);
            Ok(())
        }
        _ => unknown(line),
    }
}

fn cancel<'a>(lines: Lines<'a>) -> Result<Request<'a>, Flaw<'a>> {
    let mut id = None;
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(Request::Cancel { id: need(id, "id")? })
}

fn status_query<'a>(lines: Lines<'a>) -> Result<StatusQuery, Flaw<'a>> {
    let (mut id, mut scope, mut sessions, mut stores) = (None, None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "scope" => once(&mut scope, &line)?,
            "sessions" => once(&mut sessions, &line)?,
            "stores" => once(&mut stores, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(StatusQuery {
        id: need(id, "id")?,
        scope: scope.unwrap_or_default(),
        sessions: sessions.unwrap_or(false),
        stores: stores.unwrap_or(false),
    })
}

fn forget<'a>(lines: Lines<'a>) -> Result<Forget<'a>, Flaw<'a>> {
    let (mut id, mut store, mut fds, mut role) = (None, None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "store" => once(&mut store, &line)?,
            "fds" => once(&mut fds, &line)?,
            "role" => once(&mut role, &line)?,
            _ => unknown(&line)?,
        }
    }
    let forget = Forget { id: need(id, "id")?, store, fds: fds.unwrap_or_default(), role };
    rules::forget(&forget)?;
    Ok(forget)
}

fn forgotten<'a>(lines: Lines<'a>) -> Result<Answer<'a>, Flaw<'a>> {
    let (mut id, mut stores) = (None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "stores" => once(&mut stores, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(Answer::Forgotten { id: need(id, "id")?, stores: need(stores, "stores")? })
}

fn hello<'a>(lines: Lines<'a>) -> Result<Hello<'a>, Flaw<'a>> {
    let (mut versions, mut daemon, mut features, mut floor) = (None, None, None, None);
    let mut level = None;
    let (mut max_packet, mut max_descriptors) = (None, None);
    let (mut max_sessions, mut max_handshakes, mut max_profiles) = (None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "versions" => once(&mut versions, &line)?,
            "daemon" => once(&mut daemon, &line)?,
            "features" => once(&mut features, &line)?,
            "max-packet" => once(&mut max_packet, &line)?,
            "max-descriptors" => once(&mut max_descriptors, &line)?,
            "max-sessions" => once(&mut max_sessions, &line)?,
            "max-handshakes" => once(&mut max_handshakes, &line)?,
            "max-profiles" => once(&mut max_profiles, &line)?,
            "floor" => once(&mut floor, &line)?,
            "level" => once(&mut level, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(Hello {
        versions: need(versions, "versions")?,
        daemon: need(daemon, "daemon")?,
        features: features.unwrap_or_default(),
        max_packet: need(max_packet, "max-packet")?,
        max_descriptors: need(max_descriptors, "max-descriptors")?,
        max_sessions: need(max_sessions, "max-sessions")?,
        max_handshakes: need(max_handshakes, "max-handshakes")?,
        max_profiles: need(max_profiles, "max-profiles")?,
        floor: need(floor, "floor")?,
        level,
    })
}

fn defined<'a>(lines: Lines<'a>) -> Result<Defined<'a>, Flaw<'a>> {
    let (mut id, mut profile, mut warnings) = (None, None, Items::default());
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "profile" => once(&mut profile, &line)?,
            "warning" => many(&mut warnings, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(Defined { id: need(id, "id")?, profile: need(profile, "profile")?, warnings })
}

fn refused<'a>(lines: Lines<'a>) -> Result<Refused<'a>, Flaw<'a>> {
    let (mut id, mut code, mut blame, mut about, mut text) = (None, None, None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "code" => once(&mut code, &line)?,
            "blame" => once(&mut blame, &line)?,
            "about" => once(&mut about, &line)?,
            "text" => once(&mut text, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(Refused {
        id,
        code: need(code, "code")?,
        blame: need(blame, "blame")?,
        about,
        text: text.unwrap_or_default(),
    })
}

fn failed<'a>(lines: Lines<'a>) -> Result<Failed<'a>, Flaw<'a>> {
    let (mut id, mut code, mut blame, mut socket, mut text) = (None, None, None, None, None);
    let (mut alert, mut alert_from) = (None, None);
    let (mut spki_sha256, mut certificate_sha256, mut fds) = (None, None, None);
    let (mut would, mut notes) = (None, Items::default());
    let mut ech_retry = None;
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "code" => once(&mut code, &line)?,
            "blame" => once(&mut blame, &line)?,
            "socket" => once(&mut socket, &line)?,
            "alert" => once(&mut alert, &line)?,
            "alert-from" => once(&mut alert_from, &line)?,
            "spki-sha256" => once(&mut spki_sha256, &line)?,
            "certificate-sha256" => once(&mut certificate_sha256, &line)?,
            "ech-retry" => once(&mut ech_retry, &line)?,
            "fds" => once(&mut fds, &line)?,
            "text" => once(&mut text, &line)?,
            "would" => once(&mut would, &line)?,
            "note" => many(&mut notes, &line)?,
            _ => unknown(&line)?,
        }
    }
    let failed = Failed {
        id: need(id, "id")?,
        code: need(code, "code")?,
        blame: need(blame, "blame")?,
        socket: need(socket, "socket")?,
        alert: alert_of(alert, alert_from)?,
        spki_sha256,
        certificate_sha256,
        ech_retry,
        fds: fds.unwrap_or_default(),
        text: text.unwrap_or_default(),
        would,
        notes,
    };
    rules::failed(&failed)?;
    Ok(failed)
}

fn established<'a>(lines: Lines<'a>) -> Result<Established<'a>, Flaw<'a>> {
    let (mut id, mut fds, mut protocol, mut cipher, mut group) = (None, None, None, None, None);
    let (mut signature, mut alpn, mut server_name, mut resumed) = (None, None, None, None);
    let (mut peer, mut local, mut matched) = (None, None, Items::default());
    let (mut spki_sha256, mut certificate_sha256) = (None, None);
    let (mut exports, mut channel_binding) = (Items::default(), None);
    let mut certificate_type = None;
    let (mut level, mut ech) = (None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "fds" => once(&mut fds, &line)?,
            "protocol" => once(&mut protocol, &line)?,
            "cipher" => once(&mut cipher, &line)?,
            "group" => once(&mut group, &line)?,
            "signature" => once(&mut signature, &line)?,
            "level" => once(&mut level, &line)?,
            "alpn" => once(&mut alpn, &line)?,
            "server-name" => once(&mut server_name, &line)?,
            "ech" => once(&mut ech, &line)?,
            "resumed" => once(&mut resumed, &line)?,
            "peer" => once(&mut peer, &line)?,
            "local" => once(&mut local, &line)?,
            "matched" => many(&mut matched, &line)?,
            "spki-sha256" => once(&mut spki_sha256, &line)?,
            "certificate-sha256" => once(&mut certificate_sha256, &line)?,
            "export" => many(&mut exports, &line)?,
            "channel-binding" => once(&mut channel_binding, &line)?,
            "certificate-type" => once(&mut certificate_type, &line)?,
            _ => unknown(&line)?,
        }
    }
    let established = Established {
        id: need(id, "id")?,
        fds: fds.unwrap_or_default(),
        protocol: need(protocol, "protocol")?,
        cipher: need(cipher, "cipher")?,
        group,
        signature,
        level,
        alpn,
        server_name,
        ech,
        resumed: need(resumed, "resumed")?,
        peer,
        local,
        matched,
        spki_sha256,
        certificate_sha256,
        exports,
        channel_binding: channel_binding.map(|ChannelBinding(hash)| hash),
        certificate_type,
    };
    rules::established(&established)?;
    Ok(established)
}

fn ended<'a>(lines: Lines<'a>) -> Result<Ended<'a>, Flaw<'a>> {
    let (mut id, mut how, mut bytes_in, mut bytes_out) = (None, None, None, None);
    let (mut alert, mut alert_from, mut code, mut blame, mut text) = (None, None, None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "how" => once(&mut how, &line)?,
            "in" => once(&mut bytes_in, &line)?,
            "out" => once(&mut bytes_out, &line)?,
            "alert" => once(&mut alert, &line)?,
            "alert-from" => once(&mut alert_from, &line)?,
            "code" => once(&mut code, &line)?,
            "blame" => once(&mut blame, &line)?,
            "text" => once(&mut text, &line)?,
            _ => unknown(&line)?,
        }
    }
    let ended = Ended {
        id: need(id, "id")?,
        how: need(how, "how")?,
        bytes_in: need(bytes_in, "in")?,
        bytes_out: need(bytes_out, "out")?,
        alert: alert_of(alert, alert_from)?,
        code,
        blame,
        text,
    };
    rules::ended(&ended)?;
    Ok(ended)
}

fn status_answer<'a>(lines: Lines<'a>) -> Result<StatusAnswer<'a>, Flaw<'a>> {
    let (mut id, mut callers, mut sessions, mut handshakes, mut profiles) = (None, None, None, None, None);
    let mut fds = None;
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "callers" => once(&mut callers, &line)?,
            "sessions" => once(&mut sessions, &line)?,
            "handshakes" => once(&mut handshakes, &line)?,
            "profiles" => once(&mut profiles, &line)?,
            "fds" => once(&mut fds, &line)?,
            _ => unknown(&line)?,
        }
    }
    let status = StatusAnswer {
        id: need(id, "id")?,
        callers: need(callers, "callers")?,
        sessions: need(sessions, "sessions")?,
        handshakes: need(handshakes, "handshakes")?,
        profiles: need(profiles, "profiles")?,
        fds: fds.unwrap_or_default(),
    };
    rules::status_answer(&status)?;
    Ok(status)
}

/// A key that may be given once.
fn once<'a, T: Value<'a>>(slot: &mut Option<T>, line: &Line<'a>) -> Result<(), Flaw<'a>> {
    if slot.is_some() {
        return Err(Flaw::about(Code::KeyConflict, line.key, "it is given twice"));
    }
    *slot = Some(value(line)?);
    Ok(())
}

/// A key that may be repeated.
fn many<'a, T: Value<'a>>(items: &mut Items<'a, T>, line: &Line<'a>) -> Result<(), Flaw<'a>> {
    value::<T>(line)?;
    items.push(line);
    Ok(())
}

fn value<'a, T: Value<'a>>(line: &Line<'a>) -> Result<T, Flaw<'a>> {
    T::read(line.value).ok_or_else(|| Flaw::about(Code::BadValue, line.key, T::EXPECTED))
}

/// A key that this verb does not have passes only with its mark.
fn unknown<'a>(line: &Line<'a>) -> Result<(), Flaw<'a>> {
    if line.ignorable { Ok(()) } else { Err(Flaw::about(Code::UnknownKey, line.key, "no such key")) }
}

fn need<T>(value: Option<T>, key: &'static str) -> Result<T, Flaw<'static>> {
    value.ok_or_else(|| Flaw::about(Code::MissingKey, key, "the key is required"))
}

fn alert_of(alert: Option<AlertText>, from: Option<Party>) -> Result<Option<Alert>, Flaw<'static>> {
    match (alert, from) {
        (None, None) => Ok(None),
        (Some(AlertText(description)), Some(from)) => Ok(Some(Alert { description, from })),
        (Some(_), None) => Err(Flaw::about(Code::MissingKey, "alert-from", "there is an alert")),
        (None, Some(_)) => Err(Flaw::about(Code::MissingKey, "alert", "there is an alert-from")),
    }
}

fn duration(Millis(duration): Millis) -> Duration {
    duration
}
