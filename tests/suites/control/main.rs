//! The control connection against callers that say what no caller should: each is told what was wrong, keeps its
//! connection, leaves no descriptor in the daemon, and disturbs nobody else.

mod floods;
mod ids;
mod messages;

use tlsifyd_tests::RawCaller;

/// A question that is always answered, to see that the connection still serves.
#[track_caller]
fn serves(caller: &RawCaller) {
    let answer = caller.ask("tlsify/1 status\nid=900\n", &[]);
    assert_eq!((answer.verb(), answer.get("id")), ("status", Some("900")), "{}", answer.text);
}
