//! Tickets, for callers that name a store, theirs alone, and never instead of a check: those that the daemon gets as a
//! client, and those that it gives as a server (`served`, `returning`),
//! with what an operator's cache keeps of them (`cache`).

mod apart;
mod bounds;
mod cache;
mod counted;
mod defined;
mod identified;
mod kept;
mod openssl;
mod places;
mod processes;
mod returning;
mod served;
mod stores;

use std::os::fd::OwnedFd;

use rustls::SupportedProtocolVersion;
use tlsifyd_tests::peer::{ONLY_TLS12, ONLY_TLS13};
use tlsifyd_tests::pki::Identity;
use tlsifyd_tests::{KeyKind, RawAnswer, RawCaller, TicketServer, packets, pki};

/// Both versions, one at a time.
const EACH: [&[&SupportedProtocolVersion]; 2] = [ONLY_TLS12, ONLY_TLS13];

fn good() -> &'static Identity {
    pki().server(KeyKind::EcdsaP256)
}

/// The usual request with these lines more.
fn and(lines: &str) -> String {
    packets::usual() + lines
}

/// A whole session with these lines: it opens, the peer says something, both say goodbye. Gives `established`.
#[track_caller]
fn session(caller: &RawCaller, lines: &str, ca: Option<&OwnedFd>, server: &TicketServer) -> RawAnswer {
    let fds: Vec<(&str, &OwnedFd)> = ca.map(|ca| ("ca", ca)).into_iter().collect();
    let mut told = packets::connect(caller, 1, lines, &fds, &server.config);
    if let Err(error) = &told.handshake {
        panic!("{error}: {}", told.answer.text);
    }
    told.hear();
    told.end(caller)
}

/// The same with the good CA, for the word of it that matters here.
#[track_caller]
fn resumed(caller: &RawCaller, lines: &str, server: &TicketServer) -> bool {
    let established = session(caller, &and(lines), Some(&pki().ca.fd()), server);
    match established.get("resumed") {
        Some("yes") => true,
        Some("no") => false,
        _ => panic!("{}", established.text),
    }
}

/// A session that does not open: its code.
#[track_caller]
fn failed(caller: &RawCaller, lines: &str, ca: Option<&OwnedFd>, server: &TicketServer) -> String {
    let fds: Vec<(&str, &OwnedFd)> = ca.map(|ca| ("ca", ca)).into_iter().collect();
    let told = packets::connect(caller, 1, lines, &fds, &server.config);
    assert_eq!(told.answer.verb(), "failed", "{}", told.answer.text);
    told.answer.get("code").expect("there is one").to_owned()
}
