//! A configuration on its way into use, and its keys on their way to the keyholder.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::Daemon;
use crate::config::Isolation;
use crate::process::configuration::{Gathering, New};
use crate::process::parts::{Decisions, FromWorker, Kept, ToWorker};
use crate::process::start::{StartError, has_keys, log_choice};

/// A configuration that the worker was told, and has not answered yet.
pub(super) struct Told {
    pub(super) decisions: Decisions,
    pub(super) new: New,
}

impl Told {
    /// Tells it, and says whether that was possible.
    pub(super) fn tell(&self, worker: &Kept<FromWorker>) -> bool {
        worker.tell_with(&ToWorker::Reload(self.decisions.clone()), &[self.new.record.as_fd()])
    }
}

impl Daemon {
    /// Starts the first keyholder.
    pub(super) fn start_keyholder(&mut self) -> Result<(), StartError> {
        self.holder.as_mut().map_or(Ok(()), |holder| holder.start(&self.log, &mut self.keyring))
    }

    /// SIGHUP: loads everything, or says why not.
    pub(super) fn load(&mut self) -> Option<Told> {
        let Some(place) = &self.place else {
            tracing::info!("there is no configuration file to reload");
            return None;
        };
        let gathering = Gathering::begin(place);
        let config = gathering.config();
        // Of a private daemon: nobody has needed it before.
        let asleep = self.holder.as_ref().is_some_and(|holder| !holder.is_awake());
        if asleep
            && config.as_ref().is_ok_and(has_keys)
            && let Err(error) = self.start_keyholder()
        {
            tracing::error!("configuration not reloaded, the old one stays: {error}");
            return None;
        }
        if let (Some(holder), Ok(config)) = (&mut self.holder, &config)
            && let Err(error) = holder.try_signers(&config.signers, &self.log)
        {
            tracing::error!("configuration not reloaded, the old one stays: {error}");
            return None;
        }
        match config.and_then(|config| gathering.all(config, &mut self.keyring)) {
            Ok(new) => {
                for warning in &new.warnings {
                    tracing::warn!("{warning}");
                }
                if new.config.sandbox.isolation != self.isolation && self.isolation_is_free() {
                    tracing::warn!("isolation stays as it was at the start: changing it needs a restart");
                }
                let directives = log_choice(&self.options, &new.config).directives;
                Some(Told { decisions: Decisions { directives, profiles: None }, new })
            }
            Err(error) => {
                self.reject_signers();
                tracing::error!("configuration not reloaded, the old one stays: {error}");
                None
            }
        }
    }

    /// Whether there is a choice: a private daemon has one caller, and one process has one worker.
    fn isolation_is_free(&self) -> bool {
        self.options.private.is_none() && !self.options.single_process
    }

    pub(super) fn reject_signers(&self) {
        if let Some(holder) = &self.holder {
            holder.reject_signers();
        }
    }

    /// Tells one user's worker of the configuration in use, with the profiles that are for it.
    pub(super) fn reload_for(&self, profiles: BTreeSet<String>) -> ToWorker {
        ToWorker::Reload(Decisions { directives: self.log.directives.clone(), profiles: Some(profiles) })
    }

    /// Another number for each reload.
    pub(super) fn next_reload(&mut self) -> u64 {
        self.reloads += 1;
        self.reloads
    }

    /// There is no worker that could take it now.
    pub(super) fn take_for_the_next(&mut self, told: Told) {
        tracing::info!("configuration reloaded, for the next worker");
        self.take(told, Duration::ZERO);
    }

    /// The worker has answered.
    pub(super) fn reloaded(&mut self, told: Told, answer: Result<usize, String>) {
        match answer {
            Ok(profiles) => {
                self.take(told, Duration::ZERO);
                tracing::info!(profiles, "configuration reloaded");
            }
            Err(error) => {
                self.keyring.reject(told.new.keys);
                self.reject_signers();
                tracing::error!("configuration not reloaded, the old one stays: {error}");
            }
        }
    }

    /// This configuration is the one in use, and by then by all workers.
    pub(super) fn take(&mut self, told: Told, by: Duration) {
        let Told { decisions, new } = told;
        let handshakes = self.timeouts.handshake + by;
        let before = std::mem::replace(&mut self.permits, new.permits);
        if self.isolation == Isolation::Uid {
            self.fading.push((Instant::now() + handshakes, before));
        }
        self.observers = new.observers;
        if let Err(error) = self.logs.set_directives(&decisions.directives) {
            tracing::warn!(%error, "the log stays as it is");
        }
        self.log.directives = decisions.directives;
        self.dialing.only(&new.config);
        self.record = Some(new.record);
        self.keyring.accept(new.keys, handshakes);
        self.timeouts = new.config.timeouts;
        if let Some(holder) = &mut self.holder {
            holder.accept_signers(new.config.signers);
            holder.settings(&self.log.directives, new.key_users);
        }
    }
}
