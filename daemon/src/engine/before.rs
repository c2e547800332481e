//! Before TLS starts: a session that waits for its peer's ClientHello, and perhaps for what its caller makes of it, or for
//! what a cache has of the session that it would resume. On the worker of its caller, as a task beside the requests, as
//! connecting is.
//!
//! ```text
//!  request ──▶ wait for the ClientHello ──▶ client-hello ──▶ choose ──▶ dispatch ──▶ adopt      own, profile
//!                │ (io/peek: nothing is read)                  │  └────▶ dispatch, refused       the peer gets an alert
//!                │ ask-timeout: ask-default                    └───────▶ failed, untouched       give-back
//!                └ stop: cancel, caller gone, drained ─────────────────▶ failed, untouched
//! ```
//!
//! While it waits the socket is as the caller gave it: no option set, no byte taken. What ends it without giving it back (the
//! peer is gone, a refusal) goes through the worker as a session that fails at once, so that the last words of
//! every failure are said, lingered over and counted in one place.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tlsify_protocol::{
    Address, AskDefault, Choice as Wanted, Choose, Code, Party, RefusalAlert, Role, Socket,
};
use tokio::sync::oneshot;
use tokio::time::{sleep_until, timeout_at};

use super::caller::{Caller, dispose};
use super::guard::guarded;
use super::handoff::{Ask, Handoff, Store, Waiting};
use super::link::{Link, Place};
use super::operator::{Label, Profile};
use super::refusal::Refusal;
use super::report;
use super::worker::Worker;
use crate::io::{Cache, Peek, closes_at_once, take_net};
use crate::tls::{Cached, ClientHello, Failure, Flaw, Look, Roots};

/// Sessions of a worker that wait.
#[derive(Default)]
pub(super) struct Waits {
    open: BTreeMap<u64, Awaiting>,
    serial: u64,
}

/// One of them, as the worker sees it.
pub(super) struct Awaiting {
    pub(super) link: Arc<Link>,
    pub(super) id: u64,
    pub(super) peer: Address,
    pub(super) since: Instant,
    /// The rule that it was let in under, and what it was asked for with.
    pub(super) rule: Option<Arc<str>>,
    pub(super) label: Option<Label>,
    /// Taken when it is told to stop.
    stop: Option<oneshot::Sender<Code>>,
    /// There while its caller is asked.
    choice: Option<oneshot::Sender<Choice>>,
}

/// What the caller chose, with everything that it takes.
enum Choice {
    Own,
    Profile(Chosen),
    Refuse(RefusalAlert),
    GiveBack,
}

/// A profile, and what belongs to it.
struct Chosen {
    profile: Profile,
    label: Option<Label>,
    system: Option<Roots>,
    cache: Option<Arc<Cache>>,
    store: Option<Store>,
}

/// What comes of the wait.
enum Next {
    /// The handshake, with what the request said.
    Begin,
    /// The handshake, with another profile.
    BeginWith(Chosen),
    /// The peer is told, if it speaks TLS, and its connection is closed.
    Refuse(Failure),
    /// The socket is the caller's.
    Leave(Failure),
}

impl Waits {
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Awaiting> {
        self.open.values()
    }

    fn enter(&mut self, awaiting: Awaiting) -> u64 {
        self.serial += 1;
        self.open.insert(self.serial, awaiting);
        self.serial
    }

    /// Ends one, with this code. Its task says so to the caller.
    pub(super) fn stop(&mut self, serial: u64, code: Code) {
        if let Some(stop) = self.open.get_mut(&serial).and_then(|awaiting| awaiting.stop.take()) {
            // Its task is at its end: what it found counts.
            let _ = stop.send(code);
        }
    }

    /// Ends all.
    pub(super) fn stop_all(&mut self, code: Code) {
        for stop in self.open.values_mut().filter_map(|awaiting| awaiting.stop.take()) {
            let _ = stop.send(code);
        }
    }

    /// Opens the question.
    fn ask(&mut self, serial: u64) -> oneshot::Receiver<Choice> {
        let (choice, chosen) = oneshot::channel();
        if let Some(awaiting) = self.open.get_mut(&serial) {
            awaiting.choice = Some(choice);
        }
        chosen
    }

    fn is_asked(&self, serial: u64) -> bool {
        self.open.get(&serial).is_some_and(Awaiting::is_asked)
    }

    /// Answers the question. Whether there was one, and nobody was faster.
    fn choose(&mut self, serial: u64, choice: Choice) -> bool {
        let asked = self.open.get_mut(&serial).and_then(|awaiting| awaiting.choice.take());
        asked.is_some_and(|asked| asked.send(choice).is_ok())
    }
}

impl Awaiting {
    /// Whether its caller has the word.
    pub(super) fn is_asked(&self) -> bool {
        self.choice.as_ref().is_some_and(|choice| !choice.is_closed())
    }
}

impl Worker {
    /// Waits for a session's ClientHello, and then sends the session on its way. To be called on the caller's own worker.
    pub(super) fn wait_for_hello(self: &Rc<Self>, waiting: Waiting) {
        let (stop, stopped) = oneshot::channel();
        let (link, id) = (Arc::clone(&waiting.opening.link), waiting.opening.id);
        let awaiting = Awaiting {
            link: Arc::clone(&link),
            id,
            peer: waiting.ends.peer,
            since: waiting.since,
            rule: waiting.opening.session_slot.rule().cloned(),
            label: waiting.opening.label.clone(),
            stop: Some(stop),
            choice: None,
        };
        let serial = self.waits.borrow_mut().enter(awaiting);
        link.waits(id, self.index, serial);
        tokio::task::spawn_local(run(Rc::clone(self), waiting, serial, stopped));
    }
}

impl Caller {
    /// `choose`: the answer to a question. When it cannot be taken, the question stays open.
    pub(super) async fn choose(&mut self, choose: &Choose<'_>) -> Result<(), Refusal> {
        let unknown = || {
            let text =
                format!("no session with id {} of this control connection waits for a choice", choose.id);
            Refusal::new(Code::UnknownId, Some("id"), text)
        };
        let place = self.link.place(choose.id).and_then(|place| place.waiting_on(self.worker.index));
        let serial =
            place.filter(|serial| self.worker.waits.borrow().is_asked(*serial)).ok_or_else(unknown)?;
        let choice = match choose.choice {
            Wanted::Own => Choice::Own,
            Wanted::Refuse(alert) => Choice::Refuse(alert),
            Wanted::GiveBack => Choice::GiveBack,
            Wanted::Profile(name) => {
                // Once: a reload in between would give the profile of before another's cache.
                let operator = self.operator();
                let profile = self.named_profile(name, Role::Server, false, &operator)?;
                let system = self.system_roots(&profile).await?;
                let cache = self.cache_of(name, &operator);
                let store = self.store_of(name, Role::Server).await?;
                let label = self.label_of(name, &operator);
                Choice::Profile(Chosen { profile, label, system, cache, store })
            }
        };
        if self.worker.waits.borrow_mut().choose(serial, choice) { Ok(()) } else { Err(unknown()) }
    }
}

async fn run(worker: Rc<Worker>, waiting: Waiting, serial: u64, stopped: oneshot::Receiver<Code>) {
    let (next, cached) = tokio::select! {
        biased;
        Ok(code) = stopped => (Next::Leave(Failure::new(code, report::abort_text(code).to_owned())), None),
        next = guarded("waiting for a ClientHello", look(&worker, &waiting, serial)) => {
            next.unwrap_or_else(|failure| (Next::Leave(failure), None))
        }
    };
    let next = if waiting.opening.link.is_gone() {
        Next::Leave(Failure::new(Code::CallerGone, report::abort_text(Code::CallerGone).to_owned()))
    } else {
        next
    };
    let Waiting { mut opening, net, ends, received, since, wants } = waiting;
    opening.cached = cached;
    let refused = match next {
        Next::Leave(failure) => {
            let_go(net).await;
            report::failed_before_tls(opening, &failure, Socket::Untouched, &ends.peer.to_string(), since);
            worker.waits.borrow_mut().open.remove(&serial);
            worker.changed.notify_one();
            return;
        }
        Next::Begin => None,
        Next::BeginWith(chosen) => {
            (opening.profile, opening.system, opening.cache) = (chosen.profile, chosen.system, chosen.cache);
            opening.label = chosen.label;
            if !wants.ask.is_some_and(|ask| ask.has_store) {
                opening.resume = chosen.store;
            }
            None
        }
        Next::Refuse(failure) => Some(Box::new(failure)),
    };
    // The caller's last look at this one and at its next place are made on this thread, with nothing in between.
    worker.waits.borrow_mut().open.remove(&serial);
    let net = take_net(net, ends);
    worker.dispatch(Handoff { opening, net, received, since, deferred: false, refused });
    // A worker that is to end may have waited for this one alone.
    worker.changed.notify_one();
}

/// Waits for the ClientHello and for what is made of it; and when a handshake begins whose profile has a cache, for that.
async fn look(worker: &Worker, waiting: &Waiting, serial: u64) -> (Next, Option<Arc<Cached>>) {
    let (next, hello) = decide(worker, waiting, serial).await;
    let opening = &waiting.opening;
    let (profile, cache) = match &next {
        Next::Begin => (&opening.profile, &opening.cache),
        Next::BeginWith(chosen) => (&chosen.profile, &chosen.cache),
        Next::Refuse(_) | Next::Leave(_) => return (next, None),
    };
    let (Some(cache), Some(hello)) = (cache, hello) else { return (next, None) };
    // Whatever it does, there is time for the handshake.
    let left = (waiting.since + opening.timeouts.handshake).saturating_duration_since(Instant::now());
    let cached = worker.look_into_cache(cache, profile, opening.resume.as_ref(), &hello, left / 2).await;
    (next, cached)
}

/// Waits for the ClientHello, and for whoever wants to see it.
async fn decide(worker: &Worker, waiting: &Waiting, serial: u64) -> (Next, Option<Box<ClientHello>>) {
    let limit = waiting.since + waiting.opening.timeouts.handshake;
    let mut peek = Peek::new(&waiting.net, &waiting.received);
    let until = waiting.wants.ask.as_ref().map_or(limit, |ask| limit.min(waiting.since + ask.timeout));
    let look = match timeout_at(until.into(), peek.first()).await {
        Ok(Ok(look)) => look,
        Ok(Err(gone)) => return (Next::Refuse(gone.failure()), None),
        Err(_) => {
            let ask = waiting.wants.ask.as_ref().filter(|_| until < limit);
            return (nothing_came(ask, until - waiting.since), None);
        }
    };
    let mut hello = match look {
        Look::Whole(hello) => Some(hello),
        // Not left to the handshake: what two parsers do not read alike would get past the question.
        Look::Malformed(flaw) if waiting.wants.ask.is_some() => return (Next::Refuse(malformed(flaw)), None),
        Look::Malformed(_) | Look::NotTls | Look::More(_) => None,
    };
    let next = match &waiting.wants.ask {
        Some(ask) => question(worker, waiting, serial, ask, &mut peek, hello.as_deref_mut()).await,
        // What is wrong with it, if anything is, the handshake says.
        None => Next::Begin,
    };
    (next, hello)
}

/// Asks, and waits for the answer.
async fn question(
    worker: &Worker,
    waiting: &Waiting,
    serial: u64,
    ask: &Ask,
    peek: &mut Peek<'_>,
    mut hello: Option<&mut ClientHello>,
) -> Next {
    let chosen = worker.waits.borrow_mut().ask(serial);
    report::ask(&waiting.opening, hello.as_deref());
    if let Some(hello) = &mut hello {
        // Nobody asks for them again, and names of one byte take thirty times that: 2 MiB of each peer that means harm.
        hello.alpn = Vec::new();
    }
    let now = Instant::now();
    let limit = waiting.since + waiting.opening.timeouts.handshake;
    let until = limit.min(now + ask.timeout);
    let is_tls = hello.is_some();
    tokio::select! {
        biased;
        Ok(choice) = chosen => match choice {
            Choice::Own => Next::Begin,
            Choice::Profile(chosen) => Next::BeginWith(chosen),
            Choice::Refuse(alert) => Next::Refuse(refused("the caller refused this peer".to_owned(), is_tls, alert)),
            Choice::GiveBack => Next::Leave(given_back("the caller took the connection back before TLS began".to_owned())),
        },
        gone = peek.gone() => Next::Refuse(gone.failure()),
        () = sleep_until(until.into()) => {
            let why = format!("nothing was chosen within {} ms", (until - now).as_millis());
            match ask.default {
                AskDefault::Own => Next::Begin,
                AskDefault::Refuse => Next::Refuse(refused(why, is_tls, RefusalAlert::default())),
                AskDefault::GiveBack => Next::Leave(given_back(why)),
            }
        }
    }
}

/// The time for the ClientHello is up: for the question, or without `ask` for the handshake.
fn nothing_came(ask: Option<&Ask>, waited: Duration) -> Next {
    let why = format!("no whole ClientHello came within {} ms", waited.as_millis());
    match ask.map(|ask| ask.default) {
        Some(AskDefault::Own) => Next::Begin,
        Some(AskDefault::GiveBack) => Next::Leave(given_back(why)),
        // No alert: who has sent nothing may be no TLS client.
        Some(AskDefault::Refuse) | None => Next::Refuse(Failure::new(Code::HandshakeTimeout, why)),
    }
}

fn malformed(flaw: Flaw) -> Failure {
    let text = format!("the peer's ClientHello is not one: {flaw}");
    Failure { alert: Some((flaw.alert, Party::Us)), ..Failure::new(Code::ProtocolViolation, text) }
}

/// To a peer that does not speak TLS no alert is said.
fn refused(text: String, is_tls: bool, alert: RefusalAlert) -> Failure {
    let alert = is_tls.then_some((alert.code(), Party::Us));
    Failure { alert, ..Failure::new(Code::RefusedByCaller, text) }
}

fn given_back(text: String) -> Failure {
    Failure::new(Code::GivenBack, text)
}

/// Closes our copy before the caller is told that its own is the only one.
async fn let_go(net: OwnedFd) {
    // An option of the caller's, which is left as it is, can let the last close wait.
    if !closes_at_once(&net) {
        dispose(vec![net]).await;
    }
}

impl Place {
    /// Whether it is one of this worker's that wait: which.
    pub(super) fn waiting_on(self, worker: usize) -> Option<u64> {
        match self {
            Self::Waiting(_, serial) if self.worker() == worker => Some(serial),
            _ => None,
        }
    }
}
