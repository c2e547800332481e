//! The engine: cores, callers, sessions, counts, drain, reload.
//!
//! ```text
//!  listener ─▶ accept ─▶ Caller (one task each) ─▶ request ─▶ policy, profile ─▶ dispatch ─▶ Worker
//!                           ▲                          ├─▶ dial (if it is to be connected) ─▲  │ adopt
//!                           │                          └─▶ before (asks caller, cache) ──────┘  │
//!                           └── Link: hello, defined, refused, established, ended ◀───────┘ report
//! ```
//!
//! One thread per worker, each with a current-thread runtime (a private daemon has one of both for everything); nothing on the data path is shared. A
//! session lives on one worker from birth to its last byte, and outlives its caller's connection unless
//! it said otherwise.

mod accept;
mod aside;
mod before;
mod cached;
mod caller;
mod callers;
mod command;
mod dial;
mod dispatch;
mod footing;
mod guard;
mod handoff;
mod keys;
mod link;
mod manners;
mod operator;
mod overview;
mod parts;
mod profile;
mod queue;
mod refusal;
mod register;
mod report;
mod request;
mod shared;
mod stores;
mod ticket_file;
mod worker;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::io::between::Channel;
use crate::io::{Outside, Poller, Registry};
use crate::policy::Ledger;
use command::Command;
pub use keys::{KeyRefused, Keys, KeysHere};
pub use operator::{Operator, OperatorProfile, Profile, Raised, SystemPool};
pub use overview::{AskOthers, Asked, Counts, Overview, Wanted};
use register::Register;
pub use register::{MAX_NOTED, Noted};
use shared::{Seat, Shared, bundle_cache, list_cache};
use worker::Worker;

/// Threads beside the loop of one worker, for files of callers. Each connection waits for one at most,
/// so they are bounded by the connections; this many callers on hanging file systems leave others room.
pub const BLOCKING_THREADS: usize = 1024;

/// What the engine starts with.
pub struct Setup {
    /// The operator's decisions.
    pub operator: Operator,
    /// The host's CA pool.
    pub system: Arc<dyn SystemPool>,
    /// Who does what a worker cannot: files, names, connections.
    pub outside: Arc<Outside>,
    /// Who takes the keys that callers give.
    pub keys: Arc<dyn Keys>,
    /// Worker threads, at least 1.
    pub workers: usize,
    /// Listening AF_UNIX SOCK_SEQPACKET sockets, non-blocking. The engine borrows copies.
    pub listeners: Vec<OwnedFd>,
    /// The one caller of a private daemon; the engine ends when it has left and its sessions have ended.
    pub private: Option<OwnedFd>,
    /// Where the supervisor is told what it has to know should this process break; none where it is its own.
    pub register: Option<Survivor>,
    /// Where to ask what is served beside this engine, for `status`; none where this is all.
    pub others: Option<mpsc::UnboundedSender<AskOthers>>,
}

/// What outlives a worker's process.
pub struct Survivor {
    /// Its sessions, for as many workers as it has.
    pub registry: Registry,
    /// For [`Noted`].
    pub channel: Channel,
}

/// The running engine.
pub struct Engine {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
    threads: Vec<thread::JoinHandle<io::Result<()>>>,
}

impl Engine {
    /// Starts the workers, each on a thread of its own.
    ///
    /// # Errors
    /// The system's: no threads or no descriptors.
    pub fn start(setup: Setup) -> io::Result<Self> {
        let (mut engine, seats) = Self::prepare(setup);
        // Before the first thread: what cannot be had is this function's error, and not the end of a worker later on.
        let means = seats.iter().map(|_| Ok((runtime()?, Poller::new()?))).collect::<io::Result<Vec<_>>>()?;
        for (seat, (runtime, poller)) in seats.into_iter().zip(means) {
            let name = format!("worker-{}", seat.index);
            engine.threads.push(thread::Builder::new().name(name).spawn(move || seat.run(runtime, poller))?);
        }
        Ok(engine)
    }

    /// An engine with one worker, which runs where [`Here::serve`] is polled. A process that serves one session and
    /// ends has no use for a second thread: making it, and moving to its core, cost as much as the rest of the start.
    pub fn here(setup: Setup) -> (Self, Here) {
        let (engine, seats) = Self::prepare(Setup { workers: 1, ..setup });
        (engine, Here(seats))
    }

    fn prepare(setup: Setup) -> (Self, Vec<Start>) {
        let count = setup.workers.max(1);
        let (seats, inboxes): (Vec<Seat>, Vec<_>) = (0..count)
            .map(|_| {
                let (commands, inbox) = mpsc::unbounded_channel();
                (Seat { commands, load: dispatch::Load::default() }, inbox)
            })
            .unzip();
        let shared = Arc::new(Shared {
            ledger: Ledger::new(setup.operator.limits, &setup.operator.rules, Instant::now()),
            operator: ArcSwap::from_pointee(setup.operator),
            system: setup.system,
            keys: setup.keys,
            bundles: setup.private.is_none().then(bundle_cache),
            lists: setup.private.is_none().then(list_cache),
            outside: setup.outside,
            tickets: LazyLock::new(crate::tls::Tickets::new),
            ticket_keys: LazyLock::new(crate::tls::TicketKeys::new),
            asides: aside::Asides::default(),
            register: setup.register.map(|it| Arc::new(Register::new(it.registry, it.channel))),
            others: setup.others,
            arriving: AtomicUsize::new(0),
            draining: watch::Sender::new(false),
            workers: seats,
            private: setup.private.is_some(),
        });
        let (alive, ended) = mpsc::channel(1);
        let mut doors = Some(accept::Doors { listeners: setup.listeners, private: setup.private });
        let starts = inboxes.into_iter().enumerate().map(|(index, inbox)| Start {
            index,
            shared: Arc::clone(&shared),
            inbox,
            // The first worker lets callers in, and hands them on when it has more to do than others.
            doors: doors.take(),
            alive: alive.clone(),
        });
        let starts = starts.collect();
        (Self { shared, ended, threads: Vec::new() }, starts)
    }

    /// Replaces the operator's decisions. Open sessions keep what they were opened with.
    pub fn reload(&self, operator: Operator) {
        self.shared.ledger.set_limits(operator.limits, &operator.rules);
        self.shared.operator.store(Arc::new(operator));
    }

    /// Lets in a caller that somebody else has accepted. After [`Engine::drain`] it is closed.
    pub fn admit(&self, control: OwnedFd) {
        // The first worker lets callers in, wherever they come from.
        if let Some(first) = self.shared.workers.first() {
            let _ = first.commands.send(Command::Arrived(accept::Arrived::new(&self.shared, control)));
        }
    }

    /// Whether nobody is connected or arriving, and no session is open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        // In this order: who arrives is counted there until it is counted as connected.
        self.shared.arriving.load(Ordering::Acquire) == 0 && {
            let usage = self.shared.ledger.usage();
            usage.connections + usage.sessions == 0
        }
    }

    /// What there is of all callers.
    pub async fn overview(&self, wanted: Wanted) -> Overview {
        self.shared.overview(wanted, None).await
    }

    /// Takes no new callers and sessions; the engine ends when the last session has.
    pub fn drain(&self) {
        self.shared.drain();
    }

    /// Ends every session now: close_notify where the stream is whole.
    pub fn end_sessions(&self) {
        self.shared.tell_all(|| Command::EndAll);
    }

    /// How long sessions may go on after [`Engine::drain`].
    #[must_use]
    pub fn drain_time(&self) -> std::time::Duration {
        self.shared.operator.load().drain
    }

    /// Sessions that are open now, handshakes included.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.shared.ledger.usage().sessions
    }

    /// Waits until every worker has ended.
    pub async fn ended(&mut self) {
        while self.ended.recv().await.is_some() {}
    }

    /// Collects the workers, after [`Engine::ended`].
    ///
    /// # Errors
    /// What ended a worker before its time.
    pub fn join(self) -> io::Result<()> {
        for thread in self.threads {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker thread panicked")))?;
        }
        Ok(())
    }
}

/// The runtime of one worker.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()
}

/// What a worker's thread starts with.
struct Start {
    index: usize,
    shared: Arc<Shared>,
    inbox: mpsc::UnboundedReceiver<Command>,
    doors: Option<accept::Doors>,
    /// Dropped when the thread ends.
    alive: mpsc::Sender<()>,
}

impl Start {
    fn run(self, runtime: tokio::runtime::Runtime, poller: Poller) -> io::Result<()> {
        // Held until the runtime is gone.
        let _alive = self.alive.clone();
        // Of the callers of private daemons few have a key, and the first that comes starts the keyholder.
        if !self.shared.private {
            self.shared.keys.settle_here();
        }
        let tasks = LocalSet::new();
        let result = tasks.block_on(&runtime, self.serve(poller)).map(drop);
        // A thread that waits on a caller's hanging file system must not keep the process.
        drop(tasks);
        runtime.shutdown_background();
        result
    }

    /// Until the last session has ended. The worker is returned to be taken down, or left to the end of the process.
    async fn serve(self, poller: Poller) -> io::Result<Rc<Worker>> {
        let worker = Rc::new(Worker::new(self.index, self.shared, poller));
        if let Some(doors) = self.doors {
            register::spawn(&worker);
            doors.open(&worker)?;
        }
        Rc::clone(&worker).run(self.inbox).await?;
        Ok(worker)
    }
}

/// The one worker of [`Engine::here`].
pub struct Here(Vec<Start>);

impl Here {
    /// Serves until the engine is drained and the last session has ended. To be polled in a [`LocalSet`], and the last
    /// that the process does: its memory is left for the system to take at once.
    ///
    /// # Errors
    /// What ended the worker before its time.
    pub async fn serve(self) -> io::Result<()> {
        for seat in self.0 {
            std::mem::forget(seat.serve(Poller::new()?).await?);
        }
        Ok(())
    }
}
