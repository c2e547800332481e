//! The last word, and the first: what a caller is told of a session, and the log with it.
//!
//! Order matters here: `established` goes out after the program's side is in place, `ended` before it
//! is closed. What a session's turn leads to is queued: the worker sends it with what other sessions have to say, and
//! closes what has ended behind it. Nothing secret is logged: exporter values go to the caller alone.

mod first;
mod lines;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use tlsify_protocol::{
    Alert, Answer, Bytes, Code, Ended, Failed, FdName, How, Items, Sha256, Socket, Words, Would,
};

use super::handoff::{Live, Opening};
use crate::io::{Outcome, sealed_memfd};
use crate::session::Facts;
use crate::tls::{Failure, Learned};

pub(super) use first::{ask, established};
use lines::level;
pub(super) use lines::{dialing_line, inventory_line, waiting_line};

/// Sentences are cut here: a peer's certificate can name things at any length.
const MAX_TEXT: usize = 1000;

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

/// The chain as the peer sent it, PEM, end entity first.
fn chain_file(facts: &Facts) -> Result<OwnedFd, Failure> {
    sealed_memfd("tlsify-chain", crate::tls::to_pem(&facts.chain).as_bytes())
        .map_err(|error| Failure::internal(format!("making the descriptor of the peer's chain: {error}")))
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
