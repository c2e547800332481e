//! A session that is with another thread while its relay waits.

use super::rig::*;
use crate::io::relay::Step;
use crate::io::{Outcome, Turn};
use crate::tls::{Code, Failure};

impl Rig {
    /// The other thread does its part, if there is any. Whether there was.
    fn step(&mut self) -> bool {
        let Some(step) = self.aside.take() else { return false };
        let turn = self.relay.back(Step::take(*step), &mut self.scratch, self.now);
        self.after(turn);
        true
    }

    /// Until the session is with the other thread, with bytes that need an answer.
    fn until_aside(&mut self) {
        while self.aside.is_none() {
            assert!(self.peer_moves(), "the peer has nothing to say");
            self.work();
        }
    }
}

#[test]
fn a_session_opens_whose_steps_are_done_elsewhere() {
    for role in [Role::Client, Role::Server] {
        let mut rig = Rig::elsewhere(role);
        let mut steps = 0;
        loop {
            rig.flow();
            if !rig.step() {
                break;
            }
            steps += 1;
        }
        assert!(steps >= 2, "{role:?}: {steps}");
        let mut rig = rig.opened();
        rig.peer_writes(b"hello");
        rig.flow();
        assert!(rig.aside.is_none(), "an open session stays");
        assert_eq!(rig.relay.bytes(), (5, 0), "{role:?}");
    }
}

#[test]
fn what_comes_meanwhile_waits_and_costs_no_turns() {
    let mut rig = Rig::elsewhere(Role::Server);
    rig.until_aside();
    let turns = rig.turns;
    rig.peer_sends_raw(b"more of it");
    rig.work();
    assert!(rig.turns <= turns + 2, "{} turns", rig.turns - turns);
    assert!(rig.outcome.is_none() && rig.relay.is_handshaking());
}

/// How it ended is told at once, and what the other thread brings is dropped.
fn ends_with(code: Code, mut rig: Rig) {
    match rig.outcome.as_ref() {
        Some(Outcome::Failed(failure)) => assert_eq!(failure.code, code, "{failure}"),
        other => panic!("{other:?}, and not {code:?}"),
    }
    let step = rig.aside.take().expect("it is still there");
    let turn = rig.relay.back(Step::take(*step), &mut rig.scratch, rig.now);
    assert!(matches!(turn, Turn::Wait), "{turn:?}");
    assert!(!rig.relay.is_handshaking());
}

#[test]
fn a_slow_signer_does_not_keep_the_deadline() {
    let mut rig = Rig::elsewhere(Role::Server);
    rig.until_aside();
    rig.now += HANDSHAKE;
    let turn = rig.relay.expire(rig.now);
    rig.after(turn);
    ends_with(Code::HandshakeTimeout, rig);
}

#[test]
fn a_peer_that_leaves_meanwhile_ends_it_at_once() {
    for closes in [false, true] {
        let mut rig = Rig::elsewhere(Role::Server);
        rig.until_aside();
        if closes {
            rig.wire = None;
        } else {
            rig.peer_shuts();
        }
        rig.work();
        ends_with(Code::ClosedByPeer, rig);
    }
}

#[test]
fn a_cancel_ends_it_at_once() {
    let mut rig = Rig::elsewhere(Role::Client);
    rig.step();
    rig.flow();
    rig.until_aside();
    let cancelled = Outcome::Failed(Failure::new(Code::Cancelled, "enough".into()));
    let turn = rig.relay.abort(cancelled, &mut rig.scratch, rig.now);
    rig.after(turn);
    ends_with(Code::Cancelled, rig);
}

#[test]
fn one_too_many_is_told_so_and_so_is_its_peer() {
    let mut rig = Rig::elsewhere(Role::Server);
    rig.until_aside();
    let turn = rig.relay.stay("token", &mut rig.scratch);
    rig.after(turn);
    rig.peer_moves();
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::InternalError);
    assert_eq!(rig.peer.failure, Some(alert));
    ends_with(Code::SignerTimeout, rig);
}

#[test]
fn the_report_of_one_that_ended_meanwhile_knows_what_was_seen() {
    let mut rig = Rig::elsewhere(Role::Client);
    rig.step();
    rig.until_aside();
    // It has seen the server's certificate, and has not come back.
    let done = Step::take(*rig.aside.take().expect("a step"));
    assert!(rig.relay.session().take_facts().spki_sha256.is_some());
    drop(done);
}
