//! What a caller sends.

use super::{duration, many, need, once, unknown};
use crate::error::Flaw;
use crate::lines::{Line, Lines};
use crate::message::{Define, Forget, Request, Start, StatusQuery, TlsKeys};
use crate::rules;
use crate::value::{Ask, Millis, Role, TlsExporter};

pub(super) fn define<'a>(lines: Lines<'a>) -> Result<Define<'a>, Flaw<'a>> {
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

pub(super) fn start<'a>(lines: Lines<'a>, role: Role) -> Result<Start<'a>, Flaw<'a>> {
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
        "key-update-bytes" => once(&mut tls.key_update_bytes, line),
        "key-update-interval" => {
            let mut interval = tls.key_update_interval.map(Millis);
            once(&mut interval, line)?;
            tls.key_update_interval = interval.map(duration);
            Ok(())
        }
        "crl-check" => once(&mut tls.crl_check, line),
        "crl-unknown" => once(&mut tls.crl_unknown, line),
        "crl-stale" => once(&mut tls.crl_stale, line),
        "stapled-ocsp" => once(&mut tls.stapled_ocsp, line),
        _ => unknown(line),
    }
}

pub(super) fn cancel<'a>(lines: Lines<'a>) -> Result<Request<'a>, Flaw<'a>> {
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

pub(super) fn status_query<'a>(lines: Lines<'a>) -> Result<StatusQuery, Flaw<'a>> {
    let (mut id, mut scope, mut sessions, mut stores, mut callers) = (None, None, None, None, None);
    for line in lines {
        let line = line?;
        match line.key {
            "id" => once(&mut id, &line)?,
            "scope" => once(&mut scope, &line)?,
            "sessions" => once(&mut sessions, &line)?,
            "stores" => once(&mut stores, &line)?,
            "callers" => once(&mut callers, &line)?,
            _ => unknown(&line)?,
        }
    }
    Ok(StatusQuery {
        id: need(id, "id")?,
        scope: scope.unwrap_or_default(),
        sessions: sessions.unwrap_or(false),
        stores: stores.unwrap_or(false),
        callers: callers.unwrap_or(false),
    })
}

pub(super) fn forget<'a>(lines: Lines<'a>) -> Result<Forget<'a>, Flaw<'a>> {
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
