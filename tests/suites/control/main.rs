//! The control connection against callers that say what no caller should: each is told what was wrong, keeps its
//! connection, leaves no descriptor in the daemon, and disturbs nobody else.

mod batches;
mod floods;
mod ids;
mod messages;

use tlsifyd_tests::{KeyKind, RawCaller, TestDaemon, pki};

/// A caller with the server's profile `p`.
fn caller(daemon: &TestDaemon) -> RawCaller {
    let caller = RawCaller::connect(daemon.socket());
    let server = pki().server(KeyKind::EcdsaP256);
    let define = "tlsify/1 define\nid=1\nprofile=p\nrole=server\nfds=certificate key\n";
    let answer = caller.ask(define, &[&server.certificate_fd(), &server.key_fd()]);
    assert_eq!(answer.verb(), "defined", "{}", answer.text);
    caller
}
