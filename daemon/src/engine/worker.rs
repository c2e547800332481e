//! One worker: a thread with its runtime, and every session that was born on it.
//!
//! ```text
//!  accept/connect ─▶ adopt ─▶ turn ─▶ turn … ─▶ Established ─▶ open ─▶ turn … ─▶ Over ─▶ report ─▶ Gone
//!                               ▲                                                  (linger turns)
//!                    poller, deadlines, commands
//! ```
//!
//! A session stays here until it is gone; nothing of it is shared. Turns are taken from a [`Queue`], so
//! a session that has much to do waits behind the others after each turn.

use std::cell::RefCell;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::epoll;
use slab::Slab;
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::sync::mpsc::error::SendError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::before::Waits;
use super::cached::Caches;
use super::callers::{Callers, Turned};
use super::command::Command;
use super::dial::Dials;
use super::dispatch::{self, Load};
use super::handoff::{Handoff, Live, Opening};
use super::link::Link;
use super::manners::Manners;
use super::queue::{Pass, Queue};
use super::refusal::Refusal;
use super::report;
use super::shared::Shared;
use crate::io::{Deadlines, Ends, Outcome, Poller, Registry, Relay, Scratch, Start, Token, Turn};
use crate::policy::CallerCred;
use crate::sys::watch;
use crate::tls::Failure;

/// A worker, as its own tasks see it.
pub(super) struct Worker {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    poller: Poller,
    pub(super) sessions: RefCell<Sessions>,
    pub(super) dials: RefCell<Dials>,
    pub(super) waits: RefCell<Waits>,
    pub(super) caches: Caches,
    pub(super) callers: Callers,
    turned_away: RefCell<Turned>,
    /// Wakes the loop: another task of this thread has changed what it waits for.
    pub(super) changed: Notify,
}

/// The sessions and what their turns need.
pub(super) struct Sessions {
    pub(super) live: Slab<Box<Live>>,
    life: u32,
    queue: Queue,
    pub(super) scratch: Scratch,
    deadlines: Deadlines,
    events: Vec<epoll::Event>,
    /// Callers for whom something is queued.
    told: Vec<Arc<Link>>,
    manners: Manners,
    /// Sessions that are over, with the program's side still open until its caller is told.
    closing: Vec<Token>,
    pub(super) draining: bool,
}

impl Worker {
    pub(super) fn new(index: usize, shared: Arc<Shared>, poller: Poller) -> Self {
        Self {
            index,
            shared,
            poller,
            sessions: RefCell::new(Sessions {
                live: Slab::new(),
                life: 0,
                queue: Queue::default(),
                scratch: Scratch::new(),
                deadlines: Deadlines::default(),
                events: Vec::new(),
                told: Vec::new(),
                manners: Manners::default(),
                closing: Vec::new(),
                draining: false,
            }),
            dials: RefCell::default(),
            waits: RefCell::default(),
            caches: Caches::default(),
            callers: Callers::default(),
            turned_away: RefCell::default(),
            changed: Notify::new(),
        }
    }

    /// Where this worker writes what it has to do.
    pub(super) fn load(&self) -> &Load {
        &self.shared.workers[self.index].load
    }

    /// Where its sessions are entered for the supervisor to read, should this process break.
    fn registry(&self) -> Option<&Registry> {
        self.shared.register.as_ref().map(|register| &register.registry)
    }

    /// Commands to the other workers, and to this one.
    pub(super) fn commands(&self, worker: usize) -> &UnboundedSender<Command> {
        &self.shared.workers[worker].commands
    }

    /// Logs that a rule lets a caller not in.
    pub(super) fn turned_away(&self, cred: &CallerCred, why: &str) {
        self.turned_away.borrow_mut().log(cred, why, Instant::now());
    }

    /// Whether nobody would be held up by work on this thread but the one caller, which asked for it.
    pub(super) fn is_alone(&self) -> bool {
        self.shared.private && self.sessions.borrow().live.is_empty()
    }

    /// Does `work`, which may wait for a file: on a thread beside the loop; or `here`, where [`Worker::is_alone`] says so
    /// and its files are at hand. `doing` says what for, if it panics.
    pub(super) async fn wait_for<T: Send + 'static>(
        &self,
        doing: &str,
        here: bool,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let done = if here {
            catch_unwind(AssertUnwindSafe(work)).map_err(|_| "it panicked".to_owned())
        } else {
            tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
        };
        done.map_err(|error| Refusal::internal(format!("{doing}: {error}")))
    }

    /// Runs until it is told to drain and the last session is gone.
    pub(super) async fn run(self: Rc<Self>, mut commands: UnboundedReceiver<Command>) -> std::io::Result<()> {
        let events = watch(self.poller.as_fd(), Interest::READABLE)?;
        self.sessions.borrow_mut().manners = Manners::begin(Instant::now());
        let sleep = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(sleep);
        let mut asleep = false;
        loop {
            self.turns();
            self.expire();
            let busy = self.tell();
            if self.is_done() {
                // From now on nothing more is handed over to this worker. What was, a moment ago, is still its to do.
                commands.close();
                while let Ok(command) = commands.try_recv() {
                    self.obey(command);
                }
                if self.is_done() {
                    return Ok(());
                }
            }
            if busy {
                self.poll();
                while let Ok(command) = commands.try_recv() {
                    self.obey(command);
                }
                self.let_programs_run();
                tokio::task::yield_now().await;
                continue;
            }
            // Only ever brought forward: deadlines come and go with every session, most of them unused, and
            // setting the clock costs more than finding nothing to do once it rings.
            if let Some(at) = self.sessions.borrow().deadlines.next()
                && (!asleep || at < sleep.deadline().into_std())
            {
                sleep.as_mut().reset(at.into());
                asleep = true;
            }
            tokio::select! {
                ready = events.readable() => {
                    let more = self.poll();
                    if !more {
                        ready?.clear_ready();
                    }
                }
                Some(command) = commands.recv() => self.obey(command),
                () = self.changed.notified() => {}
                () = &mut sleep, if asleep => asleep = false,
            }
        }
    }

    /// A session to the core that is to have it: the end of the fourth stop.
    pub(super) fn dispatch(self: &Rc<Self>, handoff: Handoff) {
        let workers = &self.shared.workers;
        // While draining it stays: another core may have ended with its last session.
        let chosen = if self.is_draining() {
            self.index
        } else {
            dispatch::choose(workers.iter().map(|seat| &seat.load), self.index)
        };
        if chosen == self.index {
            return self.adopt_here(handoff);
        }
        handoff.opening.link.enter(handoff.opening.id, chosen);
        // That worker has just ended: the session stays here.
        if let Err(SendError(Command::Adopt(handoff))) =
            self.commands(chosen).send(Command::Adopt(Box::new(handoff)))
        {
            self.adopt_here(*handoff);
        }
    }

    fn adopt_here(self: &Rc<Self>, handoff: Handoff) {
        handoff.opening.link.enter(handoff.opening.id, self.index);
        self.adopt(handoff);
    }

    pub(super) fn is_draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    /// A session is handed to this worker: the fifth of the eight stops.
    pub(super) fn adopt(self: &Rc<Self>, handoff: Handoff) {
        let Handoff { opening, net, received, since, deferred, refused } = handoff;
        let sessions = &mut *self.sessions.borrow_mut();
        let session = match opening.session() {
            Ok(session) => session.with_key_limits(opening.key_limits(), since),
            Err(failure) => return report::failed_at_start(opening, &failure),
        };
        let (timeouts, outbound_end) = (opening.timeouts, opening.outbound_end);
        let waits_for_signer = opening.waits_for().is_some();
        let start = Start { session, net: net.fd, timeouts, outbound_end, deferred, waits_for_signer };
        let first = refused.map_or(First::Received(&received), First::Refused);
        self.insert(sessions, Relay::new(start, since), opening, net.ends, first);
    }

    fn insert(
        &self,
        sessions: &mut Sessions,
        mut relay: Relay,
        opening: Box<Opening>,
        ends: Ends,
        first: First<'_>,
    ) {
        sessions.life = sessions.life.wrapping_add(1) & crate::io::LIFE_MASK;
        let entry = sessions.live.vacant_entry();
        let token = Token { slot: u32::try_from(entry.key()).unwrap_or(u32::MAX), life: sessions.life };
        if let Err(error) = relay.watch(&self.poller, token) {
            let failure = Failure::internal(format!("polling the network socket: {error}"));
            return report::failed_at_start(opening, &failure);
        }
        opening.link.arrived(opening.id, self.index, token);
        if let Some(registry) = self.registry() {
            registry.enter(self.index, token, opening.link.number, opening.id);
        }
        let live = entry.insert(Box::new(Live::new(relay, opening, ends)));
        let load = self.load();
        load.sessions.fetch_add(1, Ordering::Relaxed);
        load.handshakes.fetch_add(1, Ordering::Relaxed);
        let turn = guarded(live, |live| match first {
            First::Received(received) => live.relay.begin(received, &mut sessions.scratch),
            First::Refused(failure) => live.relay.refuse(*failure, &mut sessions.scratch),
        });
        self.after(sessions, token, turn);
        // It has a turn to come, and its deadline may be the next one.
        self.changed.notify_one();
    }

    /// Takes what the poller has. Returns whether there may be more.
    fn poll(&self) -> bool {
        let sessions = &mut *self.sessions.borrow_mut();
        let Sessions { live, queue, events, .. } = sessions;
        let polled = self.poller.poll(events, |token, which, seen| {
            // A life that is over: the event was on its way when the slot was given to somebody else.
            if let Some(live) = find(live, token) {
                live.relay.ready(which, seen);
                enqueue(queue, live);
            }
        });
        polled.unwrap_or_else(|error| {
            tracing::error!(%error, "polling the sessions of a worker failed");
            false
        })
    }

    /// Gives the sessions that wait their turns, as far as one pass goes.
    fn turns(&self) {
        let sessions = &mut *self.sessions.borrow_mut();
        let mut pass = Pass::new();
        while let Some(token) = sessions.queue.next(&mut pass) {
            if let Some(live) = find(&mut sessions.live, token) {
                live.queued = false;
                self.turn(sessions, token);
            }
        }
        self.load().busy.store(sessions.queue.busy(), Ordering::Relaxed);
    }

    /// While there is more to do: programs that share this core get their turn before it is done.
    fn let_programs_run(&self) {
        if self.sessions.borrow_mut().manners.ask(Instant::now()) {
            std::thread::yield_now();
        }
    }

    /// Tells callers what the turns led to, all at once, and closes what has ended behind that. Returns whether sessions
    /// wait for a turn.
    fn tell(&self) -> bool {
        let Sessions { live, queue, told, closing, .. } = &mut *self.sessions.borrow_mut();
        for link in told.drain(..) {
            link.deliver();
        }
        for token in closing.drain(..) {
            if let Some(registry) = self.registry() {
                registry.leave(self.index, token);
            }
            if let Some(live) = find(live, token) {
                live.relay.close_plain(&self.poller);
                enqueue(queue, live);
            }
        }
        !queue.is_empty()
    }

    fn turn(&self, sessions: &mut Sessions, token: Token) {
        let Some(live) = find(&mut sessions.live, token) else { return };
        let now = Instant::now();
        let before = live.relay.bytes().0;
        let turn = guarded(live, |live| live.relay.turn(&mut sessions.scratch, &self.poller, now));
        let bytes = live.relay.bytes();
        if bytes.0 != before {
            sessions.manners.has_fed();
        }
        if let Some(registry) = self.registry() {
            registry.moved(self.index, token, bytes);
        }
        self.after(sessions, token, turn);
    }

    /// What a turn leads to.
    pub(super) fn after(&self, sessions: &mut Sessions, token: Token, turn: Turn) {
        let Some(live) = find(&mut sessions.live, token) else { return };
        match turn {
            Turn::Wait => {}
            Turn::Again => enqueue(&mut sessions.queue, live),
            Turn::Aside(step) => {
                if let Some(turn) = self.step_aside(sessions, token, step) {
                    return self.after(sessions, token, turn);
                }
            }
            Turn::Established => {
                let leaves = live.opening.as_ref().and_then(|opening| opening.leaves());
                match report::established(live, &self.poller) {
                    Ok(()) => {
                        leaves.into_iter().for_each(|leaves| self.leave_in_cache(leaves));
                        self.load().handshakes.fetch_sub(1, Ordering::Relaxed);
                        if let Some(registry) = self.registry() {
                            registry.opened(self.index, token);
                        }
                        owe(&mut sessions.told, &live.link);
                        enqueue(&mut sessions.queue, live);
                    }
                    Err(failure) => {
                        let outcome = Outcome::Failed(failure);
                        let turn = live.relay.abort(outcome, &mut sessions.scratch, Instant::now());
                        return self.after(sessions, token, turn);
                    }
                }
            }
            Turn::Over(outcome) => {
                if live.opening.is_some() {
                    self.load().handshakes.fetch_sub(1, Ordering::Relaxed);
                }
                report::over(live, outcome);
                owe(&mut sessions.told, &live.link);
                sessions.closing.push(token);
            }
            Turn::Gone => return self.remove(sessions, token),
        }
        let Some(live) = find(&mut sessions.live, token) else { return };
        let (old, new) = live.relay.deadline_change();
        sessions.deadlines.replace(token, old, new);
    }

    fn remove(&self, sessions: &mut Sessions, token: Token) {
        let mut live = sessions.live.remove(token.slot as usize);
        sessions.deadlines.replace(token, live.relay.deadline(), None);
        live.relay.close_plain(&self.poller);
        live.relay.close_net(&self.poller);
        self.load().sessions.fetch_sub(1, Ordering::Relaxed);
    }

    fn expire(&self) {
        let sessions = &mut *self.sessions.borrow_mut();
        let now = Instant::now();
        while let Some(token) = sessions.deadlines.expired(now) {
            let Some(live) = find(&mut sessions.live, token) else { continue };
            live.relay.deadline_taken();
            let turn = live.relay.expire(now);
            self.after(sessions, token, turn);
        }
    }

    /// Whether this worker has nothing left to do and is to end.
    fn is_done(&self) -> bool {
        let sessions = self.sessions.borrow();
        sessions.draining
            && sessions.live.is_empty()
            && self.dials.borrow().is_empty()
            && self.waits.borrow().is_empty()
    }
}

/// What a session begins with.
enum First<'a> {
    /// What the caller had read from its socket already.
    Received(&'a [u8]),
    /// Its end.
    Refused(Box<Failure>),
}

/// The session that has this token; none when its life is over, whoever has the slot now.
pub(super) fn find(live: &mut Slab<Box<Live>>, token: Token) -> Option<&mut Box<Live>> {
    live.get_mut(token.slot as usize).filter(|live| live.token() == token)
}

/// Notes that something is queued for this caller.
fn owe(told: &mut Vec<Arc<Link>>, link: &Arc<Link>) {
    // Most often the same one as before; being flushed twice does no harm.
    if told.last().is_none_or(|last| !Arc::ptr_eq(last, link)) {
        told.push(Arc::clone(link));
    }
}

fn enqueue(queue: &mut Queue, live: &mut Live) {
    if !live.queued {
        live.queued = true;
        queue.push(live.token(), live.relay.is_handshaking());
    }
}

/// One session's bug ends that session: the others on this core go on.
fn guarded(live: &mut Live, turn: impl FnOnce(&mut Live) -> Turn) -> Turn {
    // Unwind safety: after a panic the session is only reported and closed.
    catch_unwind(AssertUnwindSafe(|| turn(live))).unwrap_or_else(|_| {
        tracing::error!(session = live.id, "a session panicked; this is a bug in tlsifyd");
        if live.relay.is_lingering() {
            return Turn::Gone;
        }
        let failure =
            Failure::internal("a bug in the daemon ended this session; please report it".to_owned());
        live.relay.broken_by_us(failure)
    })
}
