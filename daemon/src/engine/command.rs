//! What is said to a worker from outside its thread, and what it does then.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tlsify_protocol::{Bind, Code, How};
use tokio::sync::oneshot;

use super::accept::Arrived;
use super::caller::NewCaller;
use super::callers::Census;
use super::handoff::Handoff;
use super::link::Link;
use super::report;
use super::worker::{Worker, find};
use crate::io::{Done, Outcome, Token};
use crate::tls::Failure;

/// What is said to a worker from outside its thread.
pub(super) enum Command {
    /// A session for it.
    Adopt(Box<Handoff>),
    /// A caller's control connection for it.
    Caller(NewCaller),
    /// A control connection that somebody else has accepted.
    Arrived(Arrived),
    /// A session of this worker's comes back from a thread beside the loop.
    Back(Token, Box<Done>),
    /// End the session at this place, if it is still the same one.
    Cancel(Token),
    /// End this session of the caller's, which was on its way here when that was said.
    CancelComing(Arc<Link>, u64),
    /// The control connection is gone.
    CallerGone(Arc<Link>),
    /// A line for each session, of one uid or of all.
    Inventory { uid: Option<u32>, reply: oneshot::Sender<Vec<String>> },
    /// Who asks for something here, of one uid or of all.
    Census { uid: Option<u32>, reply: oneshot::Sender<Census> },
    /// Take nothing new, and end when the last session is gone.
    Drain,
    /// End every session now, politely where possible.
    EndAll,
}

impl Worker {
    pub(super) fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Adopt(handoff) => self.adopt(*handoff),
            Command::Caller(caller) => super::caller::spawn(Rc::clone(self), caller),
            Command::Arrived(arrived) => arrived.welcome(Rc::clone(self)),
            Command::Back(token, done) => self.back(token, *done),
            Command::Cancel(token) => self.abort(token, How::Cancelled, Code::Cancelled),
            Command::CancelComing(link, id) => self.cancel_arrived(&link, id),
            Command::CallerGone(link) => self.caller_gone(&link),
            Command::Inventory { uid, reply } => {
                let sessions = self.sessions.borrow();
                let dials = self.dials.borrow();
                let lines = sessions.live.iter().filter_map(|(_, live)| report::inventory_line(live, uid));
                let waits = self.waits.borrow();
                let waiting = waits.iter().filter_map(|awaiting| report::waiting_line(awaiting, uid));
                let dialing = dials.iter().filter_map(|dialing| report::dialing_line(dialing, uid));
                // Nobody waits any more: the caller left.
                let _ = reply.send(lines.chain(dialing).chain(waiting).collect());
            }
            Command::Census { uid, reply } => drop(reply.send(self.census(uid))),
            Command::Drain => self.sessions.borrow_mut().draining = true,
            Command::EndAll => self.end_all(),
        }
    }

    fn census(&self, uid: Option<u32>) -> Census {
        let mut census = Census::new(uid);
        self.callers.count(&mut census);
        for (_, live) in self.sessions.borrow().live.iter().filter(|(_, live)| !live.relay.is_lingering()) {
            census.session(&live.link, live.rule(), live.relay.started(), live.opening.is_some());
        }
        for dialing in self.dials.borrow().iter() {
            census.session(&dialing.link, dialing.rule.as_ref(), dialing.since, true);
        }
        for awaiting in self.waits.borrow().iter() {
            census.session(&awaiting.link, awaiting.rule.as_ref(), awaiting.since, true);
        }
        census
    }

    fn cancel_arrived(&self, link: &Link, id: u64) {
        if let Some(token) = link.place(id).and_then(|place| place.on(self.index)) {
            self.abort(token, How::Cancelled, Code::Cancelled);
        }
    }

    /// A control connection is gone: its handshakes go with it, and the sessions that said so.
    fn caller_gone(&self, link: &Arc<Link>) {
        for (_, place) in link.places() {
            if let Some(serial) = place.dialing_on(self.index) {
                self.dials.borrow_mut().stop(serial, Code::CallerGone);
            }
            if let Some(serial) = place.waiting_on(self.index) {
                self.waits.borrow_mut().stop(serial, Code::CallerGone);
            }
            let Some(token) = place.on(self.index) else { continue };
            let bound = find(&mut self.sessions.borrow_mut().live, token)
                .is_some_and(|live| live.opening.is_some() || live.bind == Bind::Control);
            if bound {
                self.abort(token, How::Cancelled, Code::CallerGone);
            }
        }
    }

    fn end_all(&self) {
        self.dials.borrow_mut().stop_all(Code::Drained);
        self.waits.borrow_mut().stop_all(Code::Drained);
        let tokens: Vec<Token> = self.sessions.borrow().live.iter().map(|(_, live)| live.token()).collect();
        for token in tokens {
            self.abort(token, How::Drained, Code::Drained);
        }
    }

    fn abort(&self, token: Token, how: How, code: Code) {
        let sessions = &mut *self.sessions.borrow_mut();
        let Some(live) = find(&mut sessions.live, token) else { return };
        if live.relay.is_lingering() {
            return;
        }
        let outcome = if live.opening.is_some() {
            Outcome::Failed(Failure::new(code, report::abort_text(code).to_owned()))
        } else {
            Outcome::Ended(how, None)
        };
        let turn = live.relay.abort(outcome, &mut sessions.scratch, Instant::now());
        self.after(sessions, token, turn);
    }
}
