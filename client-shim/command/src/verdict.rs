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
    Stop(match Code::parse(code) {
        // What was passed on as it was given: the same mistake as one that is seen here.
        Some(Code::Malformed | Code::UnknownKey | Code::MissingKey | Code::BadValue | Code::KeyConflict) => {
            status::USAGE
        }
        _ => status::REFUSED,
    })
}

/// There is no session.
pub(crate) fn failed(failed: &TextPacket<'_>) -> Stop {
    let code = failed.get("code").unwrap_or_default();
    match failed.get("text") {
        Some(text) => say::line(format_args!("{text}")),
        None => say::line(format_args!("no session: {code}")),
    }
    let code = Code::parse(code);
    if let Some(hash) = failed.get("spki-sha256") {
        match code {
            Some(Code::PinMismatch) => {
                say::hint(format_args!("its key is now sha256:{hash}; find out why before pinning that"));
            }
            Some(
                Code::UnknownIssuer
                | Code::NameMismatch
                | Code::BadCertificate
                | Code::CertificateExpired
                | Code::CertificateNotYetValid
                | Code::CertificatePurpose,
            ) => say::hint(format_args!(
                "if you know by another way that its key is the right one: --trust pins --pin sha256:{hash}"
            )),
            _ => {}
        }
    }
    Stop(match code {
        Some(Code::HandshakeTimeout | Code::ConnectTimeout) => status::TIMEOUT,
        Some(Code::HostNotFound | Code::NameLookupFailed | Code::ConnectionRefused | Code::Unreachable) => {
            status::SYSTEM
        }
        Some(Code::Internal | Code::Drained) => status::REFUSED,
        _ => status::TLS,
    })
}

/// The session is over.
pub(crate) fn ended(ended: &TextPacket<'_>, options: &Options) -> Result<u8, Stop> {
    let how = ended.get("how").unwrap_or_default();
    match (How::parse(how), ended.get("text")) {
        (Some(How::CloseNotify), _) => return Ok(status::CLEAN),
        (Some(How::Truncated), _) if options.allow_truncation => return Ok(status::CLEAN),
        (Some(How::Truncated), _) => {
            say::line(format_args!(
                "the peer closed the connection without saying that this was all: its data may be cut short"
            ));
            say::hint(format_args!(
                "--allow-truncation is for peers that always do this, with data that shows its own end"
            ));
        }
        (Some(How::Reset), _) => {
            say::line(format_args!("the peer reset the connection: its data may be cut short"))
        }
        (Some(How::Timeout), _) => {
            say::line(format_args!("no data in either direction for as long as --idle-timeout"));
            return Err(Stop(status::TIMEOUT));
        }
        (Some(How::Caller), _) => return Err(output_failed()),
        (Some(How::Drained), _) => {
            say::line(format_args!("tlsifyd was shut down before the session had ended"))
        }
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
