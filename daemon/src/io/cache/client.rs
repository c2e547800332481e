//! A worker's side of a cache: takes requests at any time, and keeps one connection for them while there are some.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::{Instant as LoopInstant, sleep, sleep_until, timeout_at};

use super::connection::{Connection, Lost, PATIENCE};
use super::jobs::{CachePut, Found, Jobs};
use super::named::Cache;
use crate::io::Outside;
use crate::tls::CacheEvent;

/// How long a connection is kept that nobody uses.
const AT_REST: Duration = Duration::from_secs(60);
/// From a failure to the first probe. It grows from one to the next, up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// One worker's side of one cache. Cheap to clone; clones are the same. It lives on its worker's thread.
#[derive(Clone)]
pub struct CacheClient(Rc<Inner>);

struct Inner {
    cache: Arc<Cache>,
    outside: Arc<Outside>,
    /// Whose look-ups of names these are: the daemon's own.
    uid: u32,
    state: RefCell<State>,
    /// Something is to be sent.
    wake: Notify,
}

struct State {
    link: Link,
    jobs: Jobs,
    /// Whether the task is there that keeps the connection.
    kept: bool,
    /// Whether anybody has asked since the last try.
    wanted: bool,
}

/// How it stands with the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// None, and none was tried, or the last one was closed at rest.
    New,
    /// The first one, since then.
    Connecting(Instant),
    /// There is one.
    Up,
    /// The last one failed. Nobody waits for the next.
    Away,
}

impl CacheClient {
    /// Connects to nothing yet.
    #[must_use]
    pub fn new(cache: Arc<Cache>, outside: Arc<Outside>) -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let state = State { link: Link::New, jobs: Jobs::default(), kept: false, wanted: false };
        Self(Rc::new(Inner { cache, outside, uid, state: RefCell::new(state), wake: Notify::new() }))
    }

    /// Which cache.
    #[must_use]
    pub fn cache(&self) -> &Arc<Cache> {
        &self.0.cache
    }

    /// Whether it has no connection, and makes none now.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        !self.0.state.borrow().kept
    }

    /// Asks for the value that has one of these names; `once`: and deletes it. To be polled in a
    /// [`tokio::task::LocalSet`]. Waits for the cache's deadline at most, and no longer than `limit`.
    pub async fn look_up(&self, names: Vec<String>, once: bool, limit: Duration) -> Found {
        let inner = &*self.0;
        let now = Instant::now();
        let deadline = now + inner.cache.deadline.min(limit);
        let asked = {
            let state = &mut *inner.state.borrow_mut();
            state.wanted = true;
            if state.answers(now, inner.cache.deadline) {
                state.jobs.look_up(inner.cache.dialect(), names, once, now)
            } else {
                None
            }
        };
        self.keep();
        let Some(asked) = asked else { return Found::Skipped };
        match timeout_at(LoopInstant::from_std(deadline), asked).await {
            Ok(Ok(found)) => found,
            Ok(Err(_)) => Found::Broken,
            Err(_) => Found::Late,
        }
    }

    /// Puts an entry away, sooner or later or not at all; its figures tell. To be called in a
    /// [`tokio::task::LocalSet`].
    pub fn put(&self, put: CachePut) {
        let inner = &*self.0;
        let now = Instant::now();
        {
            let state = &mut *inner.state.borrow_mut();
            state.wanted = true;
            if state.link == Link::Away {
                put.figures.count(CacheEvent::Dropped);
            } else {
                state.jobs.put(inner.cache.dialect(), put, now);
            }
        }
        self.keep();
    }

    /// Sees to it that somebody does what is wanted.
    fn keep(&self) {
        if std::mem::replace(&mut self.0.state.borrow_mut().kept, true) {
            self.0.wake.notify_one();
        } else {
            tokio::task::spawn_local(keep(self.clone()));
        }
    }
}

impl State {
    /// Whether a look-up has any prospect of an answer in time: something that waits longer than that already says no.
    fn answers(&self, now: Instant, deadline: Duration) -> bool {
        let in_time = |since: Instant| now < since + deadline;
        match self.link {
            Link::New => true,
            Link::Connecting(since) => in_time(since),
            Link::Up => self.jobs.oldest().is_none_or(in_time),
            Link::Away => false,
        }
    }
}

/// Keeps the connection as long as it is used, or somebody waits for it to come back.
async fn keep(client: CacheClient) {
    let inner = &*client.0;
    let mut pause = FIRST_PAUSE;
    loop {
        inner.begin();
        let lost = match Connection::open(&inner.cache, &inner.outside, inner.uid).await {
            Ok(connection) => {
                inner.cache.is_back();
                inner.state.borrow_mut().link = Link::Up;
                pause = FIRST_PAUSE;
                inner.serve(connection).await
            }
            Err(lost) => Some(lost),
        };
        let Some(lost) = lost else { break };
        inner.give_up(&lost);
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        if !inner.state.borrow().wanted {
            break;
        }
    }
    inner.state.borrow_mut().kept = false;
}

impl Inner {
    fn begin(&self) {
        let state = &mut *self.state.borrow_mut();
        state.wanted = false;
        if state.link == Link::New {
            state.link = Link::Connecting(Instant::now());
        }
    }

    /// Until it is lost; `None` when it was closed at rest, by us or by the cache, and nothing is missing.
    async fn serve(&self, mut connection: Connection) -> Option<Lost> {
        loop {
            let (oldest, to_send) = {
                let jobs = &mut self.state.borrow_mut().jobs;
                match connection.turn(self.cache.dialect(), jobs) {
                    Err(Lost::Closed) if jobs.oldest().is_none() => break,
                    Err(lost) => return Some(lost),
                    Ok(()) => (jobs.oldest(), !jobs.out().is_empty()),
                }
            };
            let patience = PATIENCE.max(self.cache.deadline);
            let until = oldest.map_or_else(|| Instant::now() + AT_REST, |since| since + patience);
            tokio::select! {
                ready = connection.ready(to_send) => if let Err(error) = ready {
                    return Some(error.into());
                },
                () = self.wake.notified() => {}
                () = sleep_until(LoopInstant::from_std(until)) => match oldest {
                    // Somebody may have asked for something in the moment in which the time was up.
                    None if self.state.borrow().jobs.oldest().is_none() => break,
                    None => {}
                    Some(_) => return Some(Lost::Silent),
                },
            }
        }
        self.state.borrow_mut().link = Link::New;
        None
    }

    fn give_up(&self, lost: &Lost) {
        let state = &mut *self.state.borrow_mut();
        state.link = Link::Away;
        state.jobs.give_up();
        self.cache.is_away(&lost.reason(), Instant::now());
    }
}

impl std::fmt::Debug for CacheClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheClient").field("cache", &self.0.cache).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
