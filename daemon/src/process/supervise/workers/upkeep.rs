//! What is done for users' workers when it is time: reloads, keyholders, and the end of each and of all.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::Turn;
use super::by_uid::{ByUid, pins_of};
use super::user::{Heard, Leaving};
use crate::process::keys::Door;
use crate::process::parts::{self, FromWorker, ToWorker, WINDOW};
use crate::process::supervise::begin::name_of;
use crate::process::supervise::ending::LAST_STEPS;
use crate::process::supervise::manager::Manager;
use crate::process::supervise::reload::Told;
use crate::process::supervise::{Daemon, Signals};

/// How long a worker may take to load a configuration. One that takes longer gets no more callers.
const RELOADS: Duration = Duration::from_secs(10);

/// A reload that not everybody has answered yet.
pub(super) struct Reloading {
    number: u64,
    outstanding: BTreeSet<u64>,
    until: Instant,
}

impl Reloading {
    pub(super) fn answered(&mut self, reload: Option<u64>, worker: u64) {
        if reload == Some(self.number) {
            self.outstanding.remove(&worker);
        }
    }

    pub(super) fn gone(&mut self, worker: u64) {
        self.outstanding.remove(&worker);
    }
}

/// When something is to be done that nobody tells.
pub(super) fn next(workers: &ByUid) -> Option<Instant> {
    let users = workers.users.values().filter_map(|user| user.next());
    let leaving = workers.lives.values().filter_map(|live| live.leaving).map(|leaving| match leaving {
        Leaving::Drains(until) | Leaving::Ends(until) => until,
    });
    let reloads = workers.reloading.iter().map(|reloading| reloading.until);
    users.chain(leaving).chain(reloads).chain(workers.overviews.next()).min()
}

impl ByUid {
    /// Whatever it is time for.
    pub(super) fn upkeep(&mut self, daemon: &mut Daemon) {
        let now = Instant::now();
        let mut waiting = Vec::new();
        for (uid, user) in &mut self.users {
            if let Some(worker) = &mut user.worker
                && worker.rest.is_to_be_asked(now)
                && let Some(live) = self.lives.get(&worker.number)
            {
                live.tell(&ToWorker::AreYouIdle, &[]);
            }
            if !user.waiting.is_empty() {
                waiting.push(*uid);
            }
        }
        for uid in waiting {
            self.serve(uid, daemon);
        }
        // What is known of a user who left and crashes no more is of no use.
        self.users.retain(|_, user| {
            let crashed = user.crashed.is_some_and(|crashed| now.duration_since(crashed) < WINDOW);
            user.worker.is_some() || !user.waiting.is_empty() || crashed || user.is_refused(now)
        });
        self.press(now);
        let late = self.reloading.iter().filter(|reloading| reloading.until <= now);
        let late: Vec<u64> = late.flat_map(|reloading| reloading.outstanding.iter().copied()).collect();
        for number in late {
            let Some(uid) = self.lives.get(&number).map(|live| live.uid) else { continue };
            tracing::error!(uid, "a worker has not taken the configuration in time, another one will");
            self.reloading.iter_mut().for_each(|reloading| reloading.gone(number));
            if self
                .users
                .get(&uid)
                .and_then(|user| user.worker.as_ref())
                .is_some_and(|one| one.number == number)
            {
                self.retire(uid, daemon.timeouts.drain);
            }
        }
        self.overviews.finish(&self.lives, now);
    }

    /// Ends those who were to end and have not.
    fn press(&mut self, now: Instant) {
        for live in self.lives.values_mut() {
            match live.leaving {
                Some(Leaving::Drains(until)) if until <= now => {
                    live.tell(&ToWorker::End, &[]);
                    live.leaving = Some(Leaving::Ends(now + parts::worker::GOODBYE + LAST_STEPS));
                }
                Some(Leaving::Ends(until)) if until <= now => {
                    live.kill();
                    // Its end is told; once is enough.
                    live.leaving = Some(Leaving::Ends(now + WINDOW));
                }
                _ => {}
            }
        }
    }

    /// Everybody who was told has answered, or is not asked any more: that is said once.
    pub(super) fn reloaded(&mut self) -> Turn {
        let before = self.reloading.len();
        self.reloading.retain(|reloading| !reloading.outstanding.is_empty());
        if before == 0 || !self.reloading.is_empty() {
            return Turn::Nothing;
        }
        tracing::info!(workers = self.lives.len(), "configuration reloaded");
        Turn::Ready
    }

    /// SIGHUP. What was loaded is in use from now on: a worker loads what we have loaded, by the same code, and one that
    /// does not is replaced.
    pub(super) fn reload(&mut self, loaded: Option<Told>, daemon: &mut Daemon) -> Turn {
        let Some(told) = loaded else {
            return if self.reloading.is_empty() { Turn::Ready } else { Turn::Nothing };
        };
        daemon.take(told, RELOADS);
        self.forget_records();
        let serving = self.users.values().filter_map(|user| user.worker.as_ref().map(|worker| worker.number));
        let (outstanding, now): (BTreeSet<u64>, _) = (serving.collect(), Instant::now());
        let number = daemon.next_reload();
        let uids: Vec<u32> = self.users.keys().copied().collect();
        // Put down first: whoever cannot be told is not waited for.
        self.reloading.push(Reloading { number, outstanding, until: now + RELOADS });
        for uid in uids {
            let told = self.users.get(&uid).and_then(|user| user.worker.as_ref()).map(|worker| worker.number);
            self.tell_configuration(uid, Some(number), daemon);
            let still = self.users.get(&uid).and_then(|user| user.worker.as_ref()).is_some();
            if let (Some(told), false) = (told, still) {
                self.reloading.iter_mut().for_each(|reloading| reloading.gone(told));
            }
        }
        self.reloaded()
    }

    pub(super) fn keys_are_back(&mut self, door: Door, daemon: &mut Daemon) {
        let Some(holder) = &mut daemon.holder else { return };
        holder.back_for_users(door, &mut daemon.keyring);
        for (number, live) in &self.lives {
            let pins = self.users.get(&live.uid).map_or_else(Vec::new, |user| pins_of(user, daemon));
            match daemon
                .holder
                .as_ref()
                .map(|holder| holder.door_for(&name_of(live.uid), *number, &pins, &daemon.keyring))
            {
                Some(Ok(door)) => live.tell(&ToWorker::Keyholder, &[door.as_fd()]),
                None => {}
                Some(Err(error)) => {
                    tracing::error!(uid = live.uid, "a worker has no way to the keyholder: {error}");
                }
            }
        }
    }

    pub(super) fn permit_all(&self, daemon: &Daemon) {
        self.lives.keys().for_each(|number| self.permit(*number, daemon));
    }

    pub(super) async fn end(mut self, mut daemon: Daemon, manager: Manager, mut signals: Signals) {
        manager.tell(NotifyState::Stopping);
        let limit = daemon.timeouts.drain;
        let Self { arrivals, users, lives, heard, .. } = &mut self;
        std::mem::replace(arrivals, super::arrivals::Arrivals::none()).close().await;
        daemon.listeners.clear();
        if let Some(holder) = &mut daemon.holder {
            holder.leave();
        }
        for user in users.values_mut() {
            user.turn_all_away();
        }
        for live in lives.values_mut() {
            live.leave(limit);
        }
        let mut sessions = 0;
        let mut until = Instant::now() + limit;
        let mut stopped = false;
        while !lives.is_empty() {
            let due = tokio::select! {
                Some((number, heard)) = heard.recv() => {
                    match heard {
                        Heard::Died(_) => drop(lives.remove(&number)),
                        Heard::Said(FromWorker::Draining { sessions: more }, _) => sessions += more,
                        Heard::Said(..) => {}
                    }
                    if sessions > 0 && !stopped {
                        let limit_s = limit.as_secs();
                        tracing::info!(sessions, limit_s, "ending when the open sessions have ended");
                        sessions = 0;
                    }
                    false
                }
                () = tokio::time::sleep_until(until.into()) => true,
                () = signals.end(), if !stopped => true,
                _ = daemon.dialing.happened(&daemon.log) => false,
            };
            if !due {
                continue;
            }
            if stopped {
                lives.values().for_each(super::user::Live::kill);
                until += WINDOW;
            } else {
                for live in lives.values() {
                    live.tell(&ToWorker::End, &[]);
                }
                (stopped, until) = (true, Instant::now() + parts::worker::GOODBYE + LAST_STEPS);
            }
        }
    }
}
