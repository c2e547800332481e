//! A caller's connection: packets in, answers out. The third of the eight stops.
//!
//! One task per control connection, on the worker that has it. Requests of one caller are handled in
//! the order they came; other callers go on meanwhile, because whatever may wait (a file of the
//! caller's, the system's CA pool) waits on a thread beside the loop, and connecting is a task of its own.

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use tlsify_protocol::{
    Answer, Code, FdName, Forget, Hello, MAX_DESCRIPTORS, MAX_PACKET, PROTOCOL_VERSION, Refused, Request,
    Role, Scope, StatusAnswer, StatusQuery, Words,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use super::callers::Presence;
use super::command::Command;
use super::footing::Footing;
use super::link::{Link, MAX_BACKLOG, Place};
use super::operator::{Label, Operator, Profile};
use super::overview::{Counts, Wanted};
use super::refusal::Refusal;
use super::stores::Standing;
use super::worker::Worker;
use crate::io::{ControlSocket, Packet, PacketError, beside, sealed_memfd};
use crate::policy::{CallerCred, ProfileBytes, ProfileSlot, StoreUse};
use crate::sys::watch;

/// Packets taken before the other tasks of this core get their turn.
const BURST: usize = 16;

/// What is usable now beyond version 1 of the protocol: nothing yet. Words come with what they stand for.
const FEATURES: [&str; 0] = [];

/// A control connection that was let in.
pub(super) struct NewCaller {
    pub(super) link: Arc<Link>,
    pub(super) footing: Footing,
}

/// Its state between requests.
pub(super) struct Caller {
    pub(super) link: Arc<Link>,
    pub(super) worker: Rc<Worker>,
    pub(super) profiles: HashMap<String, Defined>,
    pub(super) footing: Footing,
    pub(super) presence: Presence,
}

/// How an exchange of packets came to its end.
#[derive(PartialEq)]
enum Exchange {
    /// Answers wait for room now, or do not any more.
    Turned,
    /// The caller is gone.
    Left,
}

/// A profile that the caller defined.
pub(super) struct Defined {
    pub(super) profile: Profile,
    /// What its sessions resume with that name nothing themselves.
    pub(super) standing: Option<Standing>,
    /// Whom it trusts, which a rule may come to forbid.
    pub(super) store: Option<StoreUse>,
    pub(super) label: Label,
    pub(super) bytes: ProfileBytes,
    pub(super) _slot: ProfileSlot,
}

/// Starts serving the caller on this thread.
pub(super) fn spawn(worker: Rc<Worker>, caller: NewCaller) {
    tokio::task::spawn_local(caller.on(worker).serve());
}

/// Serves the one caller of a private daemon: when it leaves, the daemon ends with its last session.
pub(super) fn spawn_only(worker: Rc<Worker>, caller: NewCaller) {
    let caller = caller.on(Rc::clone(&worker));
    tokio::task::spawn_local(async move {
        caller.serve().await;
        worker.shared.drain();
    });
}

impl NewCaller {
    fn on(self, worker: Rc<Worker>) -> Caller {
        let presence = worker.callers.enter(&self.link, self.footing.ruling.name());
        Caller { link: self.link, worker, profiles: HashMap::new(), footing: self.footing, presence }
    }

    /// Lets a connection in, if no rule denies it and its uid may have one more; otherwise it is told so and closed.
    pub(super) fn admit(
        socket: ControlSocket,
        cred: CallerCred,
        runs: Option<PathBuf>,
        worker: &Worker,
    ) -> Option<Self> {
        let footing = Footing::admit(&worker.shared, &cred, runs);
        let link = Link::new(socket, cred, worker.shared.register.clone());
        match footing {
            Ok(footing) => {
                let link = Arc::new(link);
                if let Some(register) = &worker.shared.register {
                    register.came(&link);
                }
                Some(Self { link, footing })
            }
            Err(refusal) => {
                if refusal.code == Code::NotPermitted {
                    worker.turned_away(&link.cred, &refusal.text);
                }
                refuse(&link, None, &refusal);
                None
            }
        }
    }
}

impl Caller {
    async fn serve(mut self) {
        self.hello();
        if let Err(error) = self.requests().await {
            tracing::warn!(uid = self.link.cred.uid, %error, "a control connection broke");
        }
        self.link.leave();
        for worker in involved(&self.link) {
            // A worker that ended has no sessions.
            let _ = self.worker.commands(worker).send(Command::CallerGone(Arc::clone(&self.link)));
        }
        // The connection counts until they are closed, as it does for what came with its requests.
        let standing = self.profiles.into_values().filter_map(|defined| defined.standing);
        dispose(standing.filter_map(Standing::into_fd).collect()).await;
    }

    fn hello(&self) {
        let limits = self.footing.ruling.limits(&self.operator().limits);
        let (floor, level) = self.footing.floor();
        let answer = Answer::Hello(Hello {
            versions: Words::from_slice(&[PROTOCOL_VERSION]),
            daemon: concat!("tlsifyd/", env!("CARGO_PKG_VERSION")),
            features: Words::from_slice(&FEATURES),
            max_packet: u32::try_from(MAX_PACKET).unwrap_or(u32::MAX),
            max_descriptors: u32::try_from(MAX_DESCRIPTORS).unwrap_or(u32::MAX),
            max_sessions: limits.sessions,
            max_handshakes: limits.handshakes,
            max_profiles: limits.profiles,
            floor,
            level,
        });
        self.link.send(&answer, Vec::new());
    }

    /// Until the caller leaves.
    async fn requests(&mut self) -> std::io::Result<()> {
        let link = Arc::clone(&self.link);
        let Some(socket) = link.socket() else { return Ok(()) };
        loop {
            let blocked = link.flush();
            // Room is watched only while it is waited for: a Unix socket tells of it whenever the caller reads, and
            // this core would wake for each answer that the caller takes.
            let interest = if blocked { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let watched = watch((*socket).as_fd(), interest)?;
            if self.exchange(&link, &socket, &watched, blocked).await? == Exchange::Left {
                return Ok(());
            }
        }
    }

    /// Takes packets, and sends answers while they are `blocked`; until that changes, or the caller leaves.
    async fn exchange(
        &mut self,
        link: &Link,
        socket: &ControlSocket,
        watched: &AsyncFd<BorrowedFd<'_>>,
        blocked: bool,
    ) -> std::io::Result<Exchange> {
        loop {
            if link.is_gone() {
                return Ok(Exchange::Left);
            }
            if link.flush() != blocked {
                return Ok(Exchange::Turned);
            }
            let full = link.backlog() >= MAX_BACKLOG;
            tokio::select! {
                biased;
                ready = watched.readable(), if !full => {
                    let mut ready = ready?;
                    for _ in 0..BURST {
                        match socket.receive(MAX_PACKET) {
                            Ok(packet) => self.handle(packet).await,
                            Err(PacketError::Again) => {
                                ready.clear_ready();
                                break;
                            }
                            Err(PacketError::Closed) => return Ok(Exchange::Left),
                            Err(PacketError::TooLong(fds)) => {
                                refuse(link, None, &Refusal::packet_too_long());
                                dispose(fds).await;
                            }
                            Err(PacketError::FdsTruncated(fds)) => {
                                refuse(link, None, &Refusal::descriptors_truncated());
                                dispose(fds).await;
                            }
                            Err(PacketError::Io(error)) => return Err(error),
                        }
                    }
                    tokio::task::yield_now().await;
                }
                ready = watched.writable(), if blocked => {
                    if link.flush() {
                        ready?.clear_ready();
                    }
                }
                () = link.wake.notified() => {}
            }
        }
    }

    /// One packet: a typed request and owned descriptors, or a refusal.
    async fn handle(&mut self, packet: Packet) {
        if self.footing.renew(&self.worker.shared, &self.link).await {
            self.presence.set_rule(self.footing.ruling.name());
        }
        let Packet { bytes, fds } = packet;
        let (id, refusal, fds) = match Request::parse(&bytes) {
            Err(error) => {
                let text = error.to_string();
                (error.id, Refusal::new(error.code, error.about, text), fds)
            }
            Ok(request) => {
                let mut fds = fds;
                let done = match request {
                    Request::Define(define) => self.define(&define, &mut fds).await,
                    Request::Accept(start) => self.start(&start, Role::Server, &mut fds).await,
                    Request::Connect(start) => self.start(&start, Role::Client, &mut fds).await,
                    Request::Cancel { id } => none(&fds).and_then(|()| self.cancel(id)),
                    Request::Choose(choose) => match none(&fds) {
                        Ok(()) => self.choose(&choose).await,
                        Err(refusal) => Err(refusal),
                    },
                    Request::Forget(forget) => self.forget(&forget, &mut fds).await,
                    Request::Status(query) => match none(&fds) {
                        Ok(()) => self.status(&query).await,
                        Err(refusal) => Err(refusal),
                    },
                };
                match done {
                    Ok(()) => return,
                    Err(refusal) => (Some(request.id()), self.footing.explain(refusal), fds),
                }
            }
        };
        refuse(&self.link, id, &refusal);
        dispose(fds).await;
    }

    fn cancel(&self, id: u64) -> Result<(), Refusal> {
        let Some(place) = self.link.place(id) else {
            let text = format!("no session with id {id} is open on this control connection");
            return Err(Refusal::new(Code::UnknownId, Some("id"), text));
        };
        // By its place where it has one: the id may be another session's by the time this is obeyed.
        let command = match place {
            // On this worker, as its caller is.
            Place::Dialing(_, serial) => {
                self.worker.dials.borrow_mut().stop(serial, Code::Cancelled);
                return Ok(());
            }
            Place::Waiting(_, serial) => {
                self.worker.waits.borrow_mut().stop(serial, Code::Cancelled);
                return Ok(());
            }
            Place::At(_, token) => Command::Cancel(token),
            Place::Coming(_) => Command::CancelComing(Arc::clone(&self.link), id),
        };
        let _ = self.worker.commands(place.worker()).send(command);
        Ok(())
    }

    async fn forget(&self, forget: &Forget<'_>, fds: &mut Vec<OwnedFd>) -> Result<(), Refusal> {
        let stores = self.empty(forget, fds).await?;
        self.link.send(&Answer::Forgotten { id: forget.id, stores }, Vec::new());
        Ok(())
    }

    async fn status(&self, query: &StatusQuery) -> Result<(), Refusal> {
        let operator = self.operator();
        let all = query.scope == Scope::All;
        if all && !operator.may_observe(&self.link.cred) {
            let text = format!("uid {} may see its own sessions only", self.link.cred.uid);
            return Err(Refusal::new(Code::NotPermitted, Some("scope"), text));
        }
        let whose = (!all).then_some(self.link.cred.uid);
        let wanted = Wanted { sessions: query.sessions, stores: query.stores, callers: query.callers };
        let shared = &self.worker.shared;
        let mut overview = shared.overview(wanted, whose).await;
        if all {
            for other in shared.overview_of_others(wanted).await {
                overview.add(&other);
            }
        }
        let (mut names, mut fds) = (Vec::new(), Vec::new());
        let mut give = |name: FdName, text: &str| -> Result<(), Refusal> {
            let what = name.as_str();
            let file = sealed_memfd(&format!("tlsify-{what}"), text.as_bytes())
                .map_err(|error| Refusal::internal(format!("making the list of {what}: {error}")))?;
            names.push(name);
            fds.push(file);
            Ok(())
        };
        if wanted.sessions {
            give(FdName::Sessions, &overview.sessions)?;
        }
        if wanted.stores {
            give(FdName::Stores, &overview.stores)?;
        }
        if wanted.callers {
            give(FdName::Callers, &overview.callers)?;
        }
        let Counts { callers, sessions, handshakes, profiles } = overview.counts;
        let fds_named = Words::from_slice(&names);
        let answer = Answer::Status(StatusAnswer {
            id: query.id,
            callers,
            sessions,
            handshakes,
            profiles,
            fds: fds_named,
        });
        self.link.send(&answer, fds);
        Ok(())
    }

    /// The operator's decisions that count for the request at hand.
    pub(super) fn operator(&self) -> Arc<Operator> {
        self.footing.operator()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.worker.is_draining()
    }
}

/// Tells the caller that nothing was begun.
pub(super) fn refuse(link: &Link, id: Option<u64>, refusal: &Refusal) {
    let text = super::report::clean(&refusal.text);
    let answer = Answer::Refused(Refused {
        id,
        code: refusal.code,
        blame: refusal.blame,
        about: refusal.about.as_deref(),
        text: &text,
    });
    link.send(&answer, Vec::new());
    tracing::debug!(
        uid = link.cred.uid,
        pid = link.cred.pid,
        session = id,
        code = refusal.code.as_str(),
        "refused: {text}"
    );
}

/// Closes descriptors that a caller sent and that nobody uses, beside the loop: a file system in user
/// space and a socket with SO_LINGER can let close wait. Only this caller's requests wait for it.
pub(super) async fn dispose(fds: Vec<OwnedFd>) {
    if fds.is_empty() {
        return;
    }
    // A thread of its own, not one of the pool: closing may wait for as long as the caller likes, and the
    // pool is for everybody's files. There is one per connection at most, because it is waited for.
    let (done, closed) = oneshot::channel::<()>();
    beside(move || {
        drop(fds);
        drop(done);
    });
    // The sender is dropped and never used: the error is the word that it is done.
    let _ = closed.await;
}

/// The workers that have sessions of this connection.
fn involved(link: &Link) -> Vec<usize> {
    let mut workers: Vec<usize> =
        link.places().into_iter().map(|(_, place): (u64, Place)| place.worker()).collect();
    workers.sort_unstable();
    workers.dedup();
    workers
}

fn none(fds: &[OwnedFd]) -> Result<(), Refusal> {
    if fds.is_empty() { Ok(()) } else { Err(Refusal::descriptor_mismatch(0, fds.len())) }
}
