//! The worker: what it does from its first message to its last. The engine does the rest.
//!
//! ```text
//!  Start ─▶ log ─▶ (confined) ─▶ Operator ─▶ Engine ─▶ Ready ─┬─▶ Reload ─▶ Reloaded
//!                                                             ├─▶ Drain ─▶ Draining ─▶ … the last session ends ─┐
//!                                                             ├─▶ End ─▶ goodbyes ──────────────────────────────┤
//!                                                             └─▶ a private daemon's caller left ───────────────┴▶ Ended
//! ```

use std::future::Future;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;

use super::messages::{Decisions, FromWorker, Gift, Gifts, Start, ToWorker};
use crate::config::Config;
use crate::engine::{
    self, AskOthers, Asked, BLOCKING_THREADS, Counts, Engine, KeysHere, Operator, Overview, Setup, Survivor,
    Wanted,
};
use crate::io::agent::Keyholder;
use crate::io::between::{Asker, Channel, ChannelError};
use crate::io::{Asking, Outside, Registry, read_regular, sealed_memfd};
use crate::process::descriptors;
use crate::process::gather::{Disk, Gathered, GatheredError, Record};
use crate::process::keys::{FromRecord, InProcess};
use crate::process::logs::Logs;
use crate::process::operator::Loaded;
use crate::process::pool::{AskedPool, PoolSource, SystemPool};
use crate::process::sandbox;
use crate::process::start::StartError;

/// Sessions that were told to end get this long to say goodbye; what is left then ends with us.
pub(crate) const GOODBYE: Duration = Duration::from_secs(3);

/// Bytes of another worker's list at most: some ten thousand sessions.
const MAX_LIST: usize = 4 * 1024 * 1024;

/// Who writes the log of this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// It does itself: it is a process of its own.
    Own,
    /// The supervisor, in whose process it is.
    Supervisors,
}

/// Serves until the end, and tells the supervisor why that came. Without a supervisor there is nobody to serve for: when it
/// is gone, this returns.
pub(crate) fn serve(channel: OwnedFd, log: Log) {
    let Ok(channel) = Channel::new(channel) else { return };
    // It waits for as long as the supervisor takes to read what it has to.
    let Ok((ToWorker::Start(start), fds)) = channel.receive_by(None) else { return };
    let result = started(&channel, start, fds, log);
    if let Some(result) = result.transpose() {
        let _ = channel.send(&FromWorker::Ended(result.map_err(|error| error.to_string())), &[]);
    }
}

/// `Ok(None)`: the supervisor is gone.
fn started(channel: &Channel, start: Start, fds: Vec<OwnedFd>, log: Log) -> Result<Option<()>, StartError> {
    let Some(mut gifts) = Gifts::new(start.gifts, fds) else { return Ok(None) };
    // 1. The log, so that what follows can be told.
    let logs = match log {
        Log::Own => Some(Logs::start(&start.log)?),
        Log::Supervisors => None,
    };
    // 2. As many descriptors as we may have; the quotas follow from them.
    descriptors::raise();
    // 3. From here on nothing but TLS, while there is one thread.
    if let Some(settings) = &start.sandbox {
        super::confined(sandbox::Part::Worker, settings)?;
    }
    // 4. What to serve. (The supervisor has told of the warnings.)
    let keys = match gifts.take(Gift::KeyholderDoor).map(Channel::new) {
        None => Keys::Here,
        Some(door) => {
            let door = door.map_err(StartError::system("opening the keyholder's door"))?;
            Keys::Away(Keyholder::new(door))
        }
    };
    let operator =
        keys.decided(gifts.take(Gift::Configuration), &start.decisions).map_err(StartError::Worker)?;
    let (outside, system): (_, Arc<dyn engine::SystemPool>) = match gifts.take(Gift::Outside).map(Asker::new)
    {
        None => (Arc::new(Outside::default()), Arc::new(SystemPool::new())),
        Some(asker) => {
            let asker = asker.map_err(StartError::system("opening the way to the supervisor"))?;
            let outside = Arc::new(Outside::Asking(Asking::new(asker)));
            let pool = AskedPool::new(Box::new(FromSupervisor(Arc::clone(&outside))));
            (outside, Arc::new(pool))
        }
    };
    // 5. The engine.
    let private = gifts.take(Gift::Caller);
    let here = private.is_some() && start.workers == 1;
    let (ask, asks) = mpsc::unbounded_channel();
    let setup = Setup {
        operator,
        system,
        outside,
        keys: match &keys {
            Keys::Here => Arc::new(KeysHere),
            Keys::Away(keyholder) => Arc::new(Arc::clone(keyholder)),
        },
        workers: start.workers,
        listeners: gifts.take_all(Gift::Listener),
        private,
        register: survivor(&mut gifts, start.workers)
            .map_err(StartError::system("sharing what outlives the worker"))?,
        others: start.others.then_some(ask),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Some are the engine's, where it has no thread of its own.
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(StartError::system("starting the worker's runtime"))?;
    let mut orders = Orders { channel, logs, keys, asks, asked: Asked::default(), taken: 0 };
    // 6. Until the end.
    let result = if here {
        let (engine, worker) = Engine::here(setup);
        LocalSet::new().block_on(&runtime, async {
            let worker = tokio::task::spawn_local(worker.serve());
            if orders.obey(engine).await?.is_none() {
                return Ok(None);
            }
            // Not yet: its peers did not take their goodbye, and end with us.
            if !worker.is_finished() {
                return Ok(Some(()));
            }
            let served = worker.await.unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            served.map(Some).map_err(StartError::system("serving"))
        })
    } else {
        let engine = Engine::start(setup).map_err(StartError::system("starting the worker's threads"))?;
        runtime.block_on(orders.obey(engine))
    };
    // A thread that waits on a caller's hanging file system must not keep the process.
    runtime.shutdown_background();
    result
}

/// The CA pool, asked of the supervisor.
struct FromSupervisor(Arc<Outside>);

impl PoolSource for FromSupervisor {
    fn newer_than(&self, have: Option<u64>) -> Result<Option<(u64, OwnedFd)>, String> {
        Ok(self.0.system_pool(have)?.map(|pool| (pool.generation, pool.ders)))
    }
}

/// What the supervisor knows of this process's callers and sessions, if it wants to.
fn survivor(gifts: &mut Gifts, workers: usize) -> std::io::Result<Option<Survivor>> {
    let (Some(memory), Some(channel)) = (gifts.take(Gift::Sessions), gifts.take(Gift::Connections)) else {
        return Ok(None);
    };
    Ok(Some(Survivor { registry: Registry::map(&memory, workers)?, channel: Channel::new(channel)? }))
}

/// Where private keys are.
enum Keys {
    /// In this process, which reads their files itself.
    Here,
    /// With the keyholder.
    Away(Arc<Keyholder>),
}

impl Keys {
    /// The operator's decisions, from the record of what the supervisor has read.
    fn decided(&self, record: Option<OwnedFd>, decisions: &Decisions) -> Result<Operator, String> {
        let only = decisions.profiles.as_ref();
        let loaded = match record {
            None => {
                let nothing = Config::defaults(&PathBuf::new());
                Loaded::from_config(nothing, &Disk::default(), &mut InProcess::to_serve())
            }
            Some(record) => {
                let record = Gathered::unseal(record).map_err(|error| error.to_string())?;
                let place = record.place().ok_or_else(|| GatheredError::Nonsense.to_string())?;
                match self {
                    Self::Here => {
                        Loaded::load_only(&place, only, &Record(&record), &mut InProcess::to_serve())
                    }
                    Self::Away(keyholder) => {
                        let mut keys = FromRecord::new(&record, keyholder);
                        Loaded::load_only(&place, only, &Record(&record), &mut keys)
                    }
                }
            }
        };
        loaded.map(|loaded| loaded.operator).map_err(|error| error.to_string())
    }
}

/// The supervisor, as the running worker knows it.
struct Orders<'a> {
    channel: &'a Channel,
    logs: Option<Logs>,
    keys: Keys,
    /// What observers here want to know of other workers.
    asks: mpsc::UnboundedReceiver<AskOthers>,
    asked: Asked,
    /// Callers that came from the supervisor.
    taken: u64,
}

impl Orders<'_> {
    /// Does what the supervisor says until the engine has ended; `None` when the supervisor is gone.
    async fn obey(&mut self, mut engine: Engine) -> Result<Option<()>, StartError> {
        self.tell(&FromWorker::Ready);
        loop {
            let order = tokio::select! {
                () = engine.ended() => break,
                Some(ask) = self.asks.recv() => {
                    let number = self.asked.begin(ask.wanted, ask.reply);
                    self.tell(&FromWorker::Ask { number, wanted: ask.wanted });
                    continue;
                }
                order = self.channel.next() => order,
            };
            match order {
                Ok((ToWorker::Caller, fds)) => {
                    self.taken += 1;
                    // Before anything that it has said is read: what is read, nobody else can read.
                    self.tell(&FromWorker::Taken(self.taken));
                    fds.into_iter().for_each(|control| engine.admit(control));
                }
                Ok((ToWorker::AreYouIdle, _)) => {
                    self.tell(&FromWorker::Idle { taken: self.taken, idle: engine.is_idle() });
                }
                Ok((ToWorker::Tell { number, wanted }, _)) => self.overview(&engine, number, wanted).await,
                Ok((ToWorker::Told { number, uid, counts }, lists)) => {
                    if let Some(wanted) = self.asked.wanted(number) {
                        self.asked.more(number, told(wanted, uid, counts, &lists));
                    }
                }
                Ok((ToWorker::ToldAll { number }, _)) => self.asked.end(number),
                Ok((ToWorker::Reload(decisions), fds)) => self.reload(&engine, &decisions, fds),
                Ok((ToWorker::Keyholder, fds)) => self.keyholder(fds),
                Ok((ToWorker::Drain, _)) => {
                    engine.drain();
                    self.tell(&FromWorker::Draining { sessions: engine.sessions() });
                }
                Ok((ToWorker::End, _)) => {
                    engine.end_sessions();
                    if !in_time(engine.ended()).await {
                        tracing::warn!(sessions = engine.sessions(), "some peers did not take their goodbye");
                        return Ok(Some(()));
                    }
                    break;
                }
                // It says that once, and it is ours: nothing else makes sense.
                Ok((ToWorker::Start(_), _)) | Err(_) => return Ok(None),
            }
        }
        engine.join().map(Some).map_err(StartError::system("serving"))
    }

    fn reload(&self, engine: &Engine, decisions: &Decisions, fds: Vec<OwnedFd>) {
        // Without one, everything would be as if there were no configuration.
        let record = fds.into_iter().next().ok_or_else(|| GatheredError::Nonsense.to_string());
        let answer = record.and_then(|record| self.keys.decided(Some(record), decisions)).map(|operator| {
            let profiles = operator.profiles.len();
            engine.reload(operator);
            if let Some(logs) = &self.logs {
                // The supervisor has the same directives, and says what is wrong with them.
                let _ = logs.set_directives(&decisions.directives);
            }
            profiles
        });
        self.tell(&FromWorker::Reloaded(answer));
    }

    /// What there is here, for somebody who may see it.
    async fn overview(&self, engine: &Engine, number: u64, wanted: Wanted) {
        let mut overview = engine.overview(wanted).await;
        let counts = overview.counts;
        let wanted = [wanted.sessions, wanted.stores, wanted.callers];
        let lists = overview.take_lists().into_iter().zip(wanted).filter(|(_, wanted)| *wanted);
        let lists: Result<Vec<OwnedFd>, _> =
            lists.map(|(list, _)| sealed_memfd("tlsifyd-overview", list.as_bytes())).collect();
        match lists {
            Ok(lists) => {
                let lists: Vec<BorrowedFd<'_>> = lists.iter().map(AsFd::as_fd).collect();
                self.tell_with(&FromWorker::Overview { number, counts }, &lists);
            }
            Err(error) => tracing::warn!(%error, "what is served here could not be told"),
        }
    }

    fn keyholder(&self, fds: Vec<OwnedFd>) {
        let (Keys::Away(keyholder), Some(door)) = (&self.keys, fds.into_iter().next()) else { return };
        match Channel::new(door) {
            Ok(door) => keyholder.replace_door(door),
            Err(error) => tracing::error!(%error, "the keyholder's new door cannot be used"),
        }
    }

    fn tell(&self, message: &FromWorker) {
        self.tell_with(message, &[]);
    }

    fn tell_with(&self, message: &FromWorker, fds: &[BorrowedFd<'_>]) {
        if let Err(error @ (ChannelError::Late | ChannelError::Io(_))) = self.channel.send(message, fds) {
            tracing::error!(%error, "the supervisor could not be told");
        }
    }
}

/// What another worker has told of its user, which is believed of this user alone. A worker whose lists are too long, or
/// none, has none.
fn told(wanted: Wanted, uid: u32, counts: Counts, lists: &[OwnedFd]) -> Overview {
    let mut overview = Overview { counts, ..Overview::default() };
    let Wanted { sessions, stores, callers } = wanted;
    let places = [
        (sessions, &mut overview.sessions),
        (stores, &mut overview.stores),
        (callers, &mut overview.callers),
    ];
    let places = places.into_iter().filter(|(wanted, _)| *wanted);
    for ((_, place), list) in places.zip(lists) {
        if let Ok(list) = read_regular(list, MAX_LIST) {
            *place = Overview::lines_of(uid, &list);
        }
    }
    overview
}

async fn in_time(ended: impl Future<Output = ()>) -> bool {
    tokio::time::timeout(GOODBYE, ended).await.is_ok()
}
