//! What the daemon sends.

use super::{many, need, once, unknown};
use crate::error::Flaw;
use crate::lines::Lines;
use crate::list::Items;
use crate::message::{Answer, Defined, Ended, Established, Failed, Hello, Refused, StatusAnswer};
use crate::rules;
use crate::value::{Alert, AlertText, ChannelBinding, Code, Party};

pub(super) fn forgotten<'a>(lines: Lines<'a>) -> Result<Answer<'a>, Flaw<'a>> {
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

pub(super) fn hello<'a>(lines: Lines<'a>) -> Result<Hello<'a>, Flaw<'a>> {
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

pub(super) fn defined<'a>(lines: Lines<'a>) -> Result<Defined<'a>, Flaw<'a>> {
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

pub(super) fn refused<'a>(lines: Lines<'a>) -> Result<Refused<'a>, Flaw<'a>> {
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

pub(super) fn failed<'a>(lines: Lines<'a>) -> Result<Failed<'a>, Flaw<'a>> {
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

pub(super) fn established<'a>(lines: Lines<'a>) -> Result<Established<'a>, Flaw<'a>> {
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

pub(super) fn ended<'a>(lines: Lines<'a>) -> Result<Ended<'a>, Flaw<'a>> {
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

pub(super) fn status_answer<'a>(lines: Lines<'a>) -> Result<StatusAnswer<'a>, Flaw<'a>> {
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

fn alert_of(alert: Option<AlertText>, from: Option<Party>) -> Result<Option<Alert>, Flaw<'static>> {
    match (alert, from) {
        (None, None) => Ok(None),
        (Some(AlertText(description)), Some(from)) => Ok(Some(Alert { description, from })),
        (Some(_), None) => Err(Flaw::about(Code::MissingKey, "alert-from", "there is an alert")),
        (None, Some(_)) => Err(Flaw::about(Code::MissingKey, "alert", "there is an alert-from")),
    }
}
