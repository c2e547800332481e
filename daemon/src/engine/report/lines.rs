//! Lines of `status`: one for each session, whatever it waits for.

use std::fmt::{self, Display};
use std::sync::Arc;
use std::time::Instant;

use tlsify_protocol::{Alpn, Role};

use super::super::before::Awaiting;
use super::super::dial::Dialing;
use super::super::handoff::Live;
use super::super::link::Link;
use super::super::operator::Label;
use crate::tls::Level;

/// What there is of every session.
struct Line<'a> {
    link: &'a Link,
    rule: Option<&'a Arc<str>>,
    id: u64,
    role: Role,
    state: &'static str,
    peer: &'a dyn Display,
    label: Option<&'a Label>,
    since: Instant,
}

impl Line<'_> {
    /// The line, if the session is `uid`'s or anybody's is asked for. The rest is what only some have.
    fn write(&self, uid: Option<u32>, rest: fmt::Arguments<'_>) -> Option<String> {
        let cred = &self.link.cred;
        if uid.is_some_and(|uid| uid != cred.uid) {
            return None;
        }
        Some(format!(
            "uid={} pid={} id={} role={} state={} peer={} {rest} age={} rule={} profile={}\n",
            cred.uid,
            cred.pid,
            self.id,
            self.role.as_str(),
            self.state,
            self.peer,
            self.since.elapsed().as_millis(),
            self.rule.map_or("-", |name| name),
            self.label.map_or("-", |name| name),
        ))
    }
}

/// A line of `status`, if the session is `uid`'s or anybody's is asked for.
pub(in crate::engine) fn inventory_line(live: &Live, uid: Option<u32>) -> Option<String> {
    if live.relay.is_lingering() {
        return None;
    }
    let (bytes_in, bytes_out) = live.relay.bytes();
    let (protocol, cipher) = live.relay.agreed();
    let (group, alpn) = live.relay.chosen();
    let line = Line {
        link: &live.link,
        rule: live.rule(),
        id: live.id,
        role: live.brief.role,
        state: match () {
            () if live.opening.is_some() => "handshaking",
            () if live.relay.is_half_closed() => "closing",
            () => "established",
        },
        peer: &live.brief.peer,
        label: live.brief.label.as_ref(),
        since: live.relay.started(),
    };
    let rest = format_args!(
        "protocol={protocol} cipher={cipher} group={} alpn={} level={} server-name={} in={bytes_in} out={bytes_out} \
         key-updates={} certificate-until={} peer-until={}",
        group.unwrap_or("-"),
        Or(alpn.and_then(Alpn::from_bytes)),
        level(live),
        live.brief.server_name.as_deref().unwrap_or("-"),
        live.relay.key_updates(),
        Or(live.brief.certificate_until.as_seconds()),
        Or(live.peer_until.as_seconds()),
    );
    line.write(uid, rest)
}

/// A line of `status` for a session whose socket is being connected.
pub(in crate::engine) fn dialing_line(dialing: &Dialing, uid: Option<u32>) -> Option<String> {
    let line = Line {
        link: &dialing.link,
        rule: dialing.rule.as_ref(),
        id: dialing.id,
        role: Role::Client,
        state: "connecting",
        peer: &dialing.to,
        label: dialing.label.as_ref(),
        since: dialing.since,
    };
    line.write(uid, format_args!("{NOTHING}"))
}

/// A line of `status` for a session that waits for its ClientHello, or for what its caller makes of it.
pub(in crate::engine) fn waiting_line(awaiting: &Awaiting, uid: Option<u32>) -> Option<String> {
    let line = Line {
        link: &awaiting.link,
        rule: awaiting.rule.as_ref(),
        id: awaiting.id,
        role: Role::Server,
        state: if awaiting.is_asked() { "asking" } else { "waiting" },
        peer: &awaiting.peer,
        label: awaiting.label.as_ref(),
        since: awaiting.since,
    };
    line.write(uid, format_args!("{NOTHING}"))
}

/// Of a session that has not begun.
const NOTHING: &str = "protocol=- cipher=- group=- alpn=- level=- server-name=- in=0 out=0 key-updates=0 \
                       certificate-until=- peer-until=-";

/// What there is, or that there is nothing.
struct Or<T>(Option<T>);

impl<T: Display> Display for Or<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("-"),
        }
    }
}

pub(super) fn level(live: &Live) -> &'static str {
    live.brief.level.map_or("-", Level::as_str)
}
