//! The rules between keys. The parser applies them after reading, the writer before writing: one place, both sides.
//!
//! | file | rules |
//! | --- | --- |
//! | `mod` | `define`, `forget` |
//! | `start` | `accept` and `connect` |
//! | `tls` | the TLS keys and the descriptors that belong to them |
//! | `descriptors` | which `fds` go together, in which order |
//! | `answers` | what the daemon sends |

mod answers;
mod descriptors;
mod start;
mod tls;

use crate::error::Flaw;
use crate::message::{Define, Forget};
use crate::value::{Code, FdName};
pub(crate) use answers::{ended, established, failed, status_answer};
use descriptors::Fds;
pub(crate) use start::start;
use tls::parameters;

type Checked = Result<(), Flaw<'static>>;

pub(crate) fn define(define: &Define<'_>) -> Checked {
    let fds = Fds::look(define.fds)?;
    if fds.nets > 0 || fds.plain || fds.inbound || fds.outbound {
        return bad("fds", "certificate, key, ocsp, ca, crl and tickets in a profile");
    }
    if fds.tickets && define.resume.is_some() {
        return conflict("resume", "a tickets descriptor is the store, and needs no name");
    }
    parameters(&define.tls, define.role, &fds)
}

pub(crate) fn forget(forget: &Forget<'_>) -> Checked {
    if !forget.fds.iter().eq((!forget.fds.is_empty()).then_some(FdName::Tickets)) {
        return bad("fds", "tickets, once");
    }
    match (forget.store, forget.fds.is_empty()) {
        (None, true) => missing("store", "the name of one, or a tickets descriptor"),
        (Some(_), false) => conflict("store", "a tickets descriptor is the store, and needs no name"),
        _ => Ok(()),
    }
}

fn bad(about: &'static str, why: &'static str) -> Checked {
    Err(Flaw::about(Code::BadValue, about, why))
}

fn missing(about: &'static str, why: &'static str) -> Checked {
    Err(Flaw::about(Code::MissingKey, about, why))
}

fn conflict(about: &'static str, why: &'static str) -> Checked {
    Err(Flaw::about(Code::KeyConflict, about, why))
}
