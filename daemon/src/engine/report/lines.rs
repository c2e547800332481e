//! Lines of `status`: one for each session, whatever it waits for.

use super::super::before::Awaiting;
use super::super::dial::Dialing;
use super::super::handoff::Live;
use crate::tls::Level;

/// A line of `status`, if the session is `uid`'s or anybody's is asked for.
pub(in crate::engine) fn inventory_line(live: &Live, uid: Option<u32>) -> Option<String> {
    if uid.is_some_and(|uid| uid != live.link.cred.uid) || live.relay.is_lingering() {
        return None;
    }
    let (bytes_in, bytes_out) = live.relay.bytes();
    let (protocol, cipher) = live.relay.agreed();
    Some(format!(
        "uid={} pid={} id={} role={} state={} peer={} protocol={} cipher={} level={} server-name={} in={bytes_in} out={bytes_out} age={} key-updates={}\n",
        live.link.cred.uid,
        live.link.cred.pid,
        live.id,
        live.brief.role.as_str(),
        if live.opening.is_some() { "handshaking" } else { "established" },
        live.brief.peer,
        protocol,
        cipher,
        level(live),
        live.brief.server_name.as_deref().unwrap_or("-"),
        live.relay.started().elapsed().as_millis(),
        live.relay.key_updates(),
    ))
}

/// A line of `status` for a session whose socket is being connected.
pub(in crate::engine) fn dialing_line(dialing: &Dialing, uid: Option<u32>) -> Option<String> {
    let cred = &dialing.link.cred;
    if uid.is_some_and(|uid| uid != cred.uid) {
        return None;
    }
    Some(format!(
        "uid={} pid={} id={} role=client state=connecting peer={} protocol=- cipher=- level=- server-name=- in=0 out=0 age={}\n",
        cred.uid,
        cred.pid,
        dialing.id,
        dialing.to,
        dialing.since.elapsed().as_millis(),
    ))
}

/// A line of `status` for a session that waits for its ClientHello, or for what its caller makes of it.
pub(in crate::engine) fn waiting_line(awaiting: &Awaiting, uid: Option<u32>) -> Option<String> {
    let cred = &awaiting.link.cred;
    if uid.is_some_and(|uid| uid != cred.uid) {
        return None;
    }
    Some(format!(
        "uid={} pid={} id={} role=server state={} peer={} protocol=- cipher=- level=- server-name=- in=0 out=0 age={}\n",
        cred.uid,
        cred.pid,
        awaiting.id,
        if awaiting.is_asked() { "asking" } else { "waiting" },
        awaiting.peer,
        awaiting.since.elapsed().as_millis(),
    ))
}

pub(super) fn level(live: &Live) -> &'static str {
    live.brief.level.map_or("-", Level::as_str)
}
