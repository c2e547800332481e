//! A session whose socket has to be connected first: on the worker of its caller, as a task beside the requests.
//!
//! ```text
//!  request ──▶ dial ──▶ connect (io/dial) ──▶ dispatch ──▶ adopt        what was asked for is one thing to the caller:
//!                │ stop: cancel, caller gone, drained                    one id, one quota, one deadline, one answer
//!                └────────────────▶ failed
//! ```
//!
//! Requests are handled in order, and a look-up may take long: the caller's next request does not wait for it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tlsify_protocol::Code;
use tokio::sync::oneshot;

use super::guard::guarded;
use super::handoff::{Deferred, Handoff};
use super::link::{Link, Place};
use super::operator::Label;
use super::report;
use super::worker::Worker;
use crate::io::{DialState, Dialed};
use crate::tls::Failure;

/// What a worker connects now.
#[derive(Default)]
pub(super) struct Dials {
    open: BTreeMap<u64, Dialing>,
    serial: u64,
}

/// One of them, as the worker sees it.
pub(super) struct Dialing {
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    /// Where to, for people.
    pub(super) to: String,
    pub(super) since: Instant,
    /// The rule that it was let in under, and what it was asked for with.
    pub(super) rule: Option<Arc<str>>,
    pub(super) label: Option<Label>,
    /// Taken when it is told to stop.
    stop: Option<oneshot::Sender<Code>>,
}

impl Dials {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Dialing> {
        self.open.values()
    }

    fn enter(&mut self, dialing: Dialing) -> u64 {
        self.serial += 1;
        self.open.insert(self.serial, dialing);
        self.serial
    }

    /// Ends one, with this code. Its task says so to the caller.
    pub(super) fn stop(&mut self, serial: u64, code: Code) {
        if let Some(stop) = self.open.get_mut(&serial).and_then(|dialing| dialing.stop.take()) {
            // Its task is at its end: what it found counts.
            let _ = stop.send(code);
        }
    }

    /// Ends all.
    pub(super) fn stop_all(&mut self, code: Code) {
        for stop in self.open.values_mut().filter_map(|dialing| dialing.stop.take()) {
            let _ = stop.send(code);
        }
    }
}

impl Worker {
    /// Connects a session's socket, and then sends the session on its way. To be called on the caller's own worker.
    pub(super) fn dial(self: &Rc<Self>, deferred: Deferred) {
        let (stop, stopped) = oneshot::channel();
        let (link, id) = (Arc::clone(&deferred.opening.link), deferred.opening.id);
        let dialing = Dialing {
            link: Arc::clone(&link),
            id,
            to: deferred.dial.to.to_string(),
            since: deferred.since,
            rule: deferred.opening.session_slot.rule().cloned(),
            label: deferred.opening.label.clone(),
            stop: Some(stop),
        };
        let serial = self.dials.borrow_mut().enter(dialing);
        link.dials(id, self.index, serial);
        tokio::task::spawn_local(run(Rc::clone(self), deferred, serial, stopped));
    }
}

async fn run(worker: Rc<Worker>, deferred: Deferred, serial: u64, stopped: oneshot::Receiver<Code>) {
    let Deferred { opening, dial, since } = deferred;
    let state = DialState::default();
    let to = dial.to.to_string();
    let stopped = async {
        match stopped.await {
            Ok(code) => code,
            // Nobody stops it any more.
            Err(_) => std::future::pending().await,
        }
    };
    let work = worker.shared.outside.dial(dial, opening.link.cred.uid, &state, stopped);
    let dialed = match guarded("connecting a socket", work).await {
        Ok(Ok(dialed)) => dialed,
        Ok(Err(code)) => Err(Failure::new(code, report::abort_text(code).to_owned())),
        Err(panicked) => Err(panicked),
    };
    // The caller's last look at this one and at its next place are made on this thread, with nothing in between.
    worker.dials.borrow_mut().open.remove(&serial);
    match dialed {
        Ok(_) if opening.link.is_gone() => {
            let failure = Failure::new(Code::CallerGone, report::abort_text(Code::CallerGone).to_owned());
            report::failed_before_tls(opening, &failure, state.socket(), &to, since);
        }
        Ok(Dialed { net, deferred }) => {
            worker.dispatch(Handoff { opening, net, received: Vec::new(), since, deferred, refused: None });
        }
        Err(failure) => report::failed_before_tls(opening, &failure, state.socket(), &to, since),
    }
    // A worker that is to end may have waited for this one alone.
    worker.changed.notify_one();
}

impl Place {
    /// Whether it is one of this worker's dials: which.
    pub(super) fn dialing_on(self, worker: usize) -> Option<u64> {
        match self {
            Self::Dialing(_, serial) if self.worker() == worker => Some(serial),
            _ => None,
        }
    }
}
