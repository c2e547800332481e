//! The last word, and the first: what a caller is told of a session, and the log with it.
//!
//! Order matters here: `established` goes out after the program's side is in place, `ended` before it
//! is closed. What a session's turn leads to is queued: the worker sends it with what other sessions have to say, and
//! closes what has ended behind it. Nothing secret is logged: exporter values go to the caller alone.

use std::borrow::Cow;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tlsify_protocol::{
    Alert, Alpn, Answer, Bytes, CertificateType, Code, Ended, Established, ExportValue, Failed, FdName, How,
    Items, Matched, Sha256, Socket, Words, Would,
};
use zeroize::Zeroizing;

use super::before::Awaiting;
use super::dial::Dialing;
use super::handoff::{Live, Opening};
use crate::io::{End, Outcome, Plain, Poller, sealed_memfd};
use crate::session::{Facts, Session};
use crate::tls::{AllowRule, ClientHello, Failure, Learned, Level, Match, Offer, Pin};

/// Sentences are cut here: a peer's certificate can name things at any length.
const MAX_TEXT: usize = 1000;

/// RFC 9266 §4.2: the label, no context, and the length of tls-exporter.
const CHANNEL_BINDING: (&[u8], usize) = (b"EXPORTER-Channel-Binding", 32);

/// The session is open: its program's side is made or taken, and the caller is told.
///
/// # Errors
/// Something of ours failed, or the agreement is not what the caller can use; nothing was told.
pub(super) fn established(live: &mut Live, poller: &Poller) -> Result<(), Failure> {
    let Some(mut opening) = live.opening.take() else {
        return Err(Failure::internal("established twice".to_owned()));
    };
    if opening.learn {
        // The session sees to it that this cannot be. No descriptor is made, whatever it thinks.
        live.opening = Some(opening);
        return Err(Failure::internal("a session opened that was to learn and nothing else".to_owned()));
    }
    match open(live, &mut opening, poller) {
        Ok(opened) => {
            // First, so that who hears it can begin the next one.
            drop(opening.handshake_slot.take());
            tell_established(live, &opening, opened);
            live.slot = Some(opening.session_slot);
            Ok(())
        }
        Err(failure) => {
            live.opening = Some(opening);
            Err(failure)
        }
    }
}

/// What `established` says beside the plain fields.
struct Opened {
    facts: Facts,
    fds: Vec<(FdName, OwnedFd)>,
    exports: Vec<Zeroizing<Vec<u8>>>,
    channel_binding: Option<Zeroizing<[u8; CHANNEL_BINDING.1]>>,
}

fn open(live: &mut Live, opening: &mut Opening, poller: &Poller) -> Result<Opened, Failure> {
    let facts = live.relay.session().take_facts();
    if let super::operator::Profile::Client(profile) = &opening.profile
        && profile.refuses_alpn_mismatch()
        && facts.alpn.is_none()
    {
        return Err(Failure::no_shared_alpn());
    }
    if let (true, Some(resumption)) = (facts.resumed, opening.resumption()) {
        resumption.note_accepted();
    }
    let session: &Session = live.relay.session();
    let mut exports = Vec::new();
    for wanted in &opening.exports {
        let mut value = Zeroizing::new(vec![0; usize::from(wanted.length)]);
        session.export(&mut value, wanted.label.as_bytes(), wanted.context.as_deref())?;
        exports.push(value);
    }
    let channel_binding = if opening.channel_binding {
        let mut value = Zeroizing::new([0; CHANNEL_BINDING.1]);
        session.export(&mut *value, CHANNEL_BINDING.0, None)?;
        Some(value)
    } else {
        None
    };
    let chain = if opening.chain && !facts.chain.is_empty() { Some(chain_file(&facts)?) } else { None };
    // The program's side comes last: nothing of it is touched if anything above fails.
    let plain = match opening.plain.take() {
        Some(given) => {
            let started = given.start();
            let plain = started
                .map_err(|error| Failure::internal(format!("starting the data descriptors: {error}")))?;
            open_plain(live, plain, poller)?;
            None
        }
        None => Some(make_pair(live, poller)?),
    };
    let fds = [plain.map(|fd| (FdName::Plain, fd)), chain.map(|fd| (FdName::Chain, fd))];
    let fds = fds.into_iter().flatten().collect();
    Ok(Opened { facts, fds, exports, channel_binding })
}

/// The daemon's own plaintext pair; the caller's end is returned.
fn make_pair(live: &mut Live, poller: &Poller) -> Result<OwnedFd, Failure> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| Failure::internal(format!("making the plaintext socket pair: {error}")))?;
    crate::sys::refuse_descriptors(&ours);
    open_plain(live, Plain::Socket(End::pair(ours)), poller)?;
    Ok(theirs)
}

fn open_plain(live: &mut Live, plain: Plain, poller: &Poller) -> Result<(), Failure> {
    live.relay
        .open(plain, poller)
        .map_err(|error| Failure::internal(format!("polling the program's side: {error}")))
}

/// The chain as the peer sent it, PEM, end entity first.
fn chain_file(facts: &Facts) -> Result<OwnedFd, Failure> {
    sealed_memfd("tlsify-chain", crate::tls::to_pem(&facts.chain).as_bytes())
        .map_err(|error| Failure::internal(format!("making the descriptor of the peer's chain: {error}")))
}

fn tell_established(live: &mut Live, opening: &Opening, opened: Opened) {
    let Opened { facts, fds, exports, channel_binding } = opened;
    let (names, fds): (Vec<FdName>, Vec<OwnedFd>) = fds.into_iter().unzip();
    let server_name = opening.sent_name().or(facts.server_name);
    let matched: Vec<Matched<'_>> = facts.matched.iter().map(matched).collect();
    let exports: Vec<ExportValue<'_>> = opening
        .exports
        .iter()
        .zip(&exports)
        .map(|(wanted, value)| ExportValue {
            label: &wanted.label,
            context: wanted.context.as_deref().map(Bytes::from_slice),
            value: Bytes::from_slice(value),
        })
        .collect();
    let answer = Answer::Established(Established {
        id: live.id,
        fds: Words::from_slice(&names),
        protocol: facts.protocol,
        cipher: facts.cipher,
        group: facts.group,
        signature: facts.signature,
        level: facts.level,
        alpn: facts.alpn.as_deref().and_then(Alpn::from_bytes),
        server_name: server_name.as_deref(),
        ech: opening.ech_done(),
        resumed: facts.resumed,
        peer: Some(live.brief.peer),
        local: opening.local,
        matched: Items::from_slice(&matched),
        spki_sha256: facts.spki_sha256.map(Sha256),
        certificate_sha256: facts.certificate_sha256.map(Sha256),
        exports: Items::from_slice(&exports),
        channel_binding: channel_binding.map(|value| Sha256(*value)),
        certificate_type: facts.raw_key.then_some(CertificateType::RawPublicKey),
    });
    live.link.queue(&answer, fds);
    live.brief.server_name = server_name.map(String::into_boxed_str);
    live.brief.level = facts.level;
}

/// The session is over: the eighth of the eight stops.
pub(super) fn over(live: &mut Live, outcome: Outcome) {
    match outcome {
        Outcome::Failed(failure) => {
            let facts = live.relay.session().take_facts();
            // First, so that who hears it can begin the next one.
            drop(live.opening.as_mut().and_then(|opening| opening.handshake_slot.take()));
            tell_failed(live, &failure, &facts);
            // The socket lingers, and counts until it is closed.
            live.slot = live.opening.take().map(|opening| opening.session_slot);
        }
        Outcome::Ended(how, failure) => tell_ended(live, how, failure.as_ref()),
    }
}

/// The session could not even begin.
pub(super) fn failed_at_start(opening: Box<Opening>, failure: &Failure) {
    let (link, id) = (Arc::clone(&opening.link), opening.id);
    drop(opening);
    link.send_last(
        id,
        &Answer::Failed(Failed {
            id,
            code: failure.code,
            blame: failure.blame,
            socket: Socket::Untouched,
            alert: None,
            spki_sha256: None,
            certificate_sha256: None,
            ech_retry: None,
            fds: Words::default(),
            text: &clean(&failure.text),
            would: None,
            notes: Items::default(),
        }),
        Vec::new(),
    );
}

/// It came to nothing before TLS began: the socket could not be connected, was given back, or nobody waits any more.
pub(super) fn failed_before_tls(
    opening: Box<Opening>,
    failure: &Failure,
    socket: Socket,
    to: &str,
    since: Instant,
) {
    let (link, id, role) = (Arc::clone(&opening.link), opening.id, opening.role());
    // First, so that who hears it can begin the next one.
    drop(opening);
    let text = clean(&failure.text);
    let answer = Answer::Failed(Failed {
        id,
        code: failure.code,
        blame: failure.blame,
        socket,
        alert: None,
        spki_sha256: None,
        certificate_sha256: None,
        ech_retry: None,
        fds: Words::default(),
        text: &text,
        would: None,
        notes: Items::default(),
    });
    link.send_last(id, &answer, Vec::new());
    tracing::debug!(
        uid = link.cred.uid,
        pid = link.cred.pid,
        session = id,
        role = role.as_str(),
        peer = to,
        code = failure.code.as_str(),
        blame = failure.blame.as_str(),
        ms = since.elapsed().as_millis(),
        "session failed: {text}"
    );
}

fn tell_failed(live: &Live, failure: &Failure, facts: &Facts) {
    let text = clean(&failure.text);
    let learned = learned(live, failure, facts);
    let notes: Vec<String> =
        learned.iter().flat_map(|learned| &learned.notes).map(|note| clean(note)).collect();
    let notes: Vec<&str> = notes.iter().map(String::as_str).collect();
    let would = |learned: &Learned| {
        learned.complaint.as_ref().map_or(Would::Established, |failure| Would::Failed(failure.code))
    };
    let chain = if facts.chain.is_empty() { None } else { chain_file(facts).ok() };
    let answer = Answer::Failed(Failed {
        id: live.id,
        code: failure.code,
        blame: failure.blame,
        socket: Socket::Closed,
        alert: alert(failure),
        spki_sha256: facts.spki_sha256.map(Sha256),
        certificate_sha256: facts.certificate_sha256.map(Sha256),
        ech_retry: facts
            .ech_retry
            .as_deref()
            .filter(|_| failure.code == Code::EchRejected)
            .map(Bytes::from_slice),
        fds: if chain.is_some() { Words::from_slice(&[FdName::Chain]) } else { Words::default() },
        text: &text,
        would: learned.as_ref().map(would),
        notes: Items::from_slice(&notes),
    });
    live.link.queue_last(live.id, &answer, chain.into_iter().collect());
    tracing::debug!(
        uid = live.link.cred.uid,
        pid = live.link.cred.pid,
        session = live.id,
        role = live.brief.role.as_str(),
        peer = %live.brief.peer,
        code = failure.code.as_str(),
        blame = failure.blame.as_str(),
        ms = live.relay.started().elapsed().as_millis(),
        "session failed: {text}"
    );
}

/// What was learned, with what the certificate alone does not decide.
fn learned(live: &Live, failure: &Failure, facts: &Facts) -> Option<Learned> {
    let mut learned = facts.learned.clone().filter(|_| failure.code == Code::Learned)?;
    if let Some(opening) = &live.opening
        && let super::operator::Profile::Client(profile) = &opening.profile
        && profile.refuses_alpn_mismatch()
        && facts.alpn.is_none()
        && learned.complaint.is_none()
    {
        let failure = Failure::no_shared_alpn();
        learned.notes.push(format!("a session would not open all the same: {failure}"));
        learned.complaint = Some(failure);
    }
    Some(learned)
}

fn tell_ended(live: &Live, how: How, failure: Option<&Failure>) {
    let (bytes_in, bytes_out) = live.relay.bytes();
    let text = failure.map(|failure| clean(&failure.text));
    let error = failure.filter(|_| how == How::Error);
    let answer = Answer::Ended(Ended {
        id: live.id,
        how,
        bytes_in,
        bytes_out,
        alert: failure.and_then(alert),
        code: error.map(|failure| failure.code),
        blame: error.map(|failure| failure.blame),
        text: text.as_deref(),
    });
    live.link.queue_last(live.id, &answer, Vec::new());
    let (protocol, cipher) = live.relay.agreed();
    tracing::debug!(
        uid = live.link.cred.uid,
        pid = live.link.cred.pid,
        session = live.id,
        role = live.brief.role.as_str(),
        peer = %live.brief.peer,
        protocol,
        cipher,
        level = level(live),
        server_name = live.brief.server_name.as_deref().unwrap_or("-"),
        how = how.as_str(),
        bytes_in,
        bytes_out,
        ms = live.relay.started().elapsed().as_millis(),
        "session ended{}{}",
        if text.is_some() { ": " } else { "" },
        text.as_deref().unwrap_or("")
    );
}

/// A line of `status`, if the session is `uid`'s or anybody's is asked for.
pub(super) fn inventory_line(live: &Live, uid: Option<u32>) -> Option<String> {
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
pub(super) fn dialing_line(dialing: &Dialing, uid: Option<u32>) -> Option<String> {
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
pub(super) fn waiting_line(awaiting: &Awaiting, uid: Option<u32>) -> Option<String> {
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

/// Asks the caller what to do with a peer; `None`: it does not speak TLS.
pub(super) fn ask(opening: &Opening, hello: Option<&ClientHello>) {
    let offer = hello.map(Offer::new);
    let words = |list: fn(&Offer) -> &Vec<Cow<'static, str>>| -> Vec<&str> {
        offer.iter().flat_map(list).map(AsRef::as_ref).collect()
    };
    let versions = words(|offer| &offer.versions);
    let ciphers = words(|offer| &offer.cipher_suites);
    let groups = words(|offer| &offer.groups);
    let key_shares = words(|offer| &offer.key_shares);
    let schemes = words(|offer| &offer.signature_schemes);
    let alpn: Vec<Alpn<'_>> =
        offer.iter().flat_map(|offer| &offer.alpn).filter_map(|name| Alpn::from_bytes(name)).collect();
    let answer = Answer::ClientHello(tlsify_protocol::ClientHello {
        id: opening.id,
        tls: hello.is_some(),
        server_name: hello.and_then(|hello| hello.server_name.as_deref()),
        alpn: Words::from_slice(&alpn),
        versions: Words::from_slice(&versions),
        ciphers: Words::from_slice(&ciphers),
        groups: Words::from_slice(&groups),
        key_shares: Words::from_slice(&key_shares),
        signature_schemes: Words::from_slice(&schemes),
        ja4: offer.as_ref().map(|offer| offer.ja4.as_str()),
        ech: hello.map(|hello| hello.ech),
    });
    opening.link.send(&answer, Vec::new());
}

fn level(live: &Live) -> &'static str {
    live.brief.level.map_or("-", Level::as_str)
}

/// Why a handshake was given up that nobody found fault with.
pub(super) fn abort_text(code: Code) -> &'static str {
    match code {
        Code::CallerGone => "the control connection was closed before the handshake was done",
        Code::Drained => "the daemon is ending, and the handshake was not done in time",
        _ => "the caller cancelled the session before the handshake was done",
    }
}

fn alert(failure: &Failure) -> Option<Alert> {
    failure.alert.map(|(description, from)| Alert { description, from })
}

fn matched(found: &Match) -> Matched<'_> {
    match found {
        Match::Name(name) => Matched::Name(name),
        Match::Pin(pin) => Matched::Pin(protocol_pin(pin)),
        Match::Allow(rule) => Matched::Allow(match rule {
            AllowRule::Pin(pin) => tlsify_protocol::Allow::Pin(protocol_pin(pin)),
            AllowRule::Dns(name) => tlsify_protocol::Allow::Dns(name),
            AllowRule::Uri(uri) => tlsify_protocol::Allow::Uri(uri),
            AllowRule::Mail(address) => tlsify_protocol::Allow::Mail(address),
        }),
    }
}

fn protocol_pin(pin: &Pin) -> tlsify_protocol::Pin {
    match pin {
        Pin::Spki(hash) => tlsify_protocol::Pin::Spki(Sha256(*hash)),
        Pin::Certificate(hash) => tlsify_protocol::Pin::Certificate(Sha256(*hash)),
    }
}

/// A sentence that fits an answer and a log line, whatever a peer put into its certificate.
pub(super) fn clean(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_cannot_add_lines_to_an_answer() {
        assert_eq!(clean("a\nhow=close-notify\r"), "a?how=close-notify?");
        assert_eq!(clean(&"é".repeat(5000)).chars().count(), MAX_TEXT);
    }
}
