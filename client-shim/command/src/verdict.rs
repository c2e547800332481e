//! What the daemon's answers mean for a person and for the exit status.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tlsify_protocol::text::TextPacket;
use tlsify_protocol::{Code, How};

use crate::options::Options;
use crate::packet::Lost;
use crate::say::{self, Why};
use crate::session::die_of_broken_pipe;
use crate::status::{self, Stop};
use crate::sys;

// Codes as the words that they are: whole types would bring every other code along.

/// What was passed on as it was given: the same mistake as one that is seen here.
const MISUSE: [&str; 5] = [
    Code::Malformed.as_str(),
    Code::UnknownKey.as_str(),
    Code::MissingKey.as_str(),
    Code::BadValue.as_str(),
    Code::KeyConflict.as_str(),
];
/// What a person can put right by pinning the peer's key, if it is the right one.
const PINNABLE: [&str; 6] = [
    Code::UnknownIssuer.as_str(),
    Code::NameMismatch.as_str(),
    Code::BadCertificate.as_str(),
    Code::CertificateExpired.as_str(),
    Code::CertificateNotYetValid.as_str(),
    Code::CertificatePurpose.as_str(),
];
const LATE: [&str; 2] = [Code::HandshakeTimeout.as_str(), Code::ConnectTimeout.as_str()];
/// What connecting ourselves would have ended with.
const UNCONNECTED: [&str; 4] = [
    Code::HostNotFound.as_str(),
    Code::NameLookupFailed.as_str(),
    Code::ConnectionRefused.as_str(),
    Code::Unreachable.as_str(),
];
/// What is the daemon's own.
const DAEMONS: [&str; 2] = [Code::Internal.as_str(), Code::Drained.as_str()];

/// What `pin` asks for.
pub(crate) const LEARNED: &str = Code::Learned.as_str();

const CLOSE_NOTIFY: &str = How::CloseNotify.as_str();
const TRUNCATED: &str = How::Truncated.as_str();
const RESET: &str = How::Reset.as_str();
const TIMEOUT: &str = How::Timeout.as_str();
const CALLER: &str = How::Caller.as_str();
const DRAINED: &str = How::Drained.as_str();

/// Nothing was begun.
pub(crate) fn refused(refused: &TextPacket<'_>) -> Stop {
    let code = refused.get("code").unwrap_or_default();
    let about = refused.get("about").unwrap_or_default();
    match refused.get("text") {
        Some(text) => say::line(format_args!("refused ({code}): {text}")),
        None => say::line(format_args!("refused ({code}) {about}")),
    }
    match (code, about) {
        ("missing-key", "name") => {
            say::hint(format_args!("say whom to expect with --name, or which key with --pin"))
        }
        ("missing-key", "fds") => {
            say::hint(format_args!("say who we are with --cert and --key, or with an operator's --profile"));
        }
        _ => {}
    }
    Stop(if MISUSE.contains(&code) { status::USAGE } else { status::REFUSED })
}

/// There is no session.
pub(crate) fn failed(failed: &TextPacket<'_>) -> Stop {
    let code = failed.get("code").unwrap_or_default();
    match failed.get("text") {
        Some(text) => say::line(format_args!("{text}")),
        None => say::line(format_args!("no session: {code}")),
    }
    if let Some(hash) = failed.get("spki-sha256") {
        if code == Code::PinMismatch.as_str() {
            say::hint(format_args!("its key is now sha256:{hash}; find out why before pinning that"));
        } else if PINNABLE.contains(&code) {
            say::hint(format_args!(
                "if you know by another way that its key is the right one: --trust pins --pin sha256:{hash}"
            ));
        }
    }
    if let Some(list) = failed.get("ech-retry") {
        say::hint(format_args!("its configuration has changed, try again with --ech-config {list}"));
    }
    let told = [(&LATE[..], status::TIMEOUT), (&UNCONNECTED, status::SYSTEM), (&DAEMONS, status::REFUSED)];
    let known = told.into_iter().find(|(codes, _)| codes.contains(&code));
    Stop(known.map_or(status::TLS, |(_, status)| status))
}

/// The peer's key, as `--pin` takes it; and for a person, what the daemon says about it.
pub(crate) fn learned(learned: &TextPacket<'_>) -> Stop {
    let Some(hash) = learned.get("spki-sha256") else { return nonsense() };
    learned.all("note").for_each(|note| say::line(format_args!("{note}")));
    Stop(crate::print(&["spki-sha256:", hash, "\n"]))
}

/// The session is over.
pub(crate) fn ended(ended: &TextPacket<'_>, options: &Options) -> Result<u8, Stop> {
    let how = ended.get("how").unwrap_or_default();
    match (how, ended.get("text")) {
        (CLOSE_NOTIFY, _) => return Ok(status::CLEAN),
        (TRUNCATED, _) if options.allow_truncation => return Ok(status::CLEAN),
        (TRUNCATED, _) => {
            say::line(format_args!(
                "the peer closed the connection without saying that this was all: its data may be cut short"
            ));
            say::hint(format_args!(
                "--allow-truncation is for peers that always do this, with data that shows its own end"
            ));
        }
        (RESET, _) => say::line(format_args!("the peer reset the connection: its data may be cut short")),
        (TIMEOUT, _) => {
            say::line(format_args!("no data in either direction for as long as --idle-timeout"));
            return Err(Stop(status::TIMEOUT));
        }
        (CALLER, _) => return Err(output_failed()),
        (DRAINED, _) => say::line(format_args!("tlsifyd was shut down before the session had ended")),
        (_, Some(text)) => say::line(format_args!("the session broke off: {text}")),
        (_, None) => say::line(format_args!("the session broke off ({how})")),
    }
    Err(Stop(status::TLS))
}

/// The daemon could not write our output. A reader that is gone ends a filter by a signal, and without a word.
fn output_failed() -> Stop {
    if let Some(output) = sys::inherited(1) {
        let mut fds = [PollFd::new(&output, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut fds, Some(&now)).is_ok()
            && let [output] = fds
            // A pipe says the one, a socket the other.
            && output.revents().intersects(PollFlags::ERR | PollFlags::HUP)
        {
            die_of_broken_pipe();
        }
    }
    say::line(format_args!("standard output took no more before the peer had ended: the rest is lost"));
    Stop(status::SYSTEM)
}

/// The daemon did not answer the request.
pub(crate) fn lost(lost: Lost) -> Stop {
    Stop(match lost {
        Lost::Gone => {
            say::line(format_args!("tlsifyd went away before it answered"));
            status::REFUSED
        }
        Lost::Silent => {
            say::line(format_args!("tlsifyd does not answer"));
            status::TIMEOUT
        }
        Lost::Truncated => {
            say::line(format_args!("no room for the descriptors of tlsifyd's answer: too many open files"));
            status::SYSTEM
        }
        Lost::System(error) => {
            say::line(format_args!("cannot talk to tlsifyd: {}", Why(error)));
            status::SYSTEM
        }
    })
}

/// The daemon did not tell how an open session ended.
pub(crate) fn broken(gone: Lost) -> Stop {
    if gone == Lost::Gone {
        say::line(format_args!("tlsifyd went away before the session had ended: data may be cut short"));
        return Stop(status::TLS);
    }
    lost(gone)
}

/// An answer that cannot be one to what we asked.
pub(crate) fn nonsense() -> Stop {
    say::line(format_args!("tlsifyd answered something else than was asked"));
    Stop(status::REFUSED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tlsify_protocol::Role;

    fn packet(text: &str) -> TextPacket<'_> {
        say::set_quiet(true);
        TextPacket::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn no_end_but_the_one_with_both_goodbyes_is_clean() {
        let mut options = Options::new(Role::Client);
        let mut status = |how: &str, allow: bool| {
            options.allow_truncation = allow;
            let text = format!("tlsify/1 ended\nid=1\nhow={how}\n");
            ended(&packet(&text), &options).unwrap_or_else(|Stop(status)| status)
        };
        assert_eq!(
            (status("close-notify", false), status("truncated", true)),
            (status::CLEAN, status::CLEAN)
        );
        for how in ["truncated", "reset", "alert", "cancelled", "drained", "error", "a-word-of-next-year"] {
            assert_eq!(status(how, false), status::TLS, "{how}");
            // What is allowed is a missing goodbye, and nothing else.
            assert_eq!(status(how, true), if how == "truncated" { 0 } else { status::TLS }, "{how}");
        }
        assert_eq!(status("timeout", true), status::TIMEOUT);
        assert_eq!(ended(&packet("tlsify/1 ended\nid=1\n"), &options), Err(Stop(status::TLS)));
    }

    #[test]
    fn what_was_passed_on_wrongly_is_usage_and_a_no_is_a_refusal() {
        for (code, status) in [
            ("malformed", status::USAGE),
            ("bad-value", status::USAGE),
            ("key-conflict", status::USAGE),
            ("missing-key", status::USAGE),
            ("unknown-key", status::USAGE),
            ("quota", status::REFUSED),
            ("draining", status::REFUSED),
            ("unknown-profile", status::REFUSED),
            ("key-mismatch", status::REFUSED),
            ("a-code-of-next-year", status::REFUSED),
        ] {
            let text = format!("tlsify/1 refused\ncode={code}\nblame=caller\n");
            assert_eq!(refused(&packet(&text)), Stop(status), "{code}");
        }
    }

    #[test]
    fn why_there_is_no_session_decides_the_status() {
        for (code, status) in [
            ("unknown-issuer", status::TLS),
            ("closed-by-peer", status::TLS),
            ("a-code-of-next-year", status::TLS),
            ("handshake-timeout", status::TIMEOUT),
            ("connect-timeout", status::TIMEOUT),
            ("host-not-found", status::SYSTEM),
            ("connection-refused", status::SYSTEM),
            ("unreachable", status::SYSTEM),
            ("internal", status::REFUSED),
        ] {
            let text = format!("tlsify/1 failed\nid=1\ncode={code}\n");
            assert_eq!(failed(&packet(&text)), Stop(status), "{code}");
        }
    }
}
