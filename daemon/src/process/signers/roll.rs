//! Which signers there are, and what is running for them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::connect;
use super::token::{Running, start};
use crate::config::{Signer, SignerPlace};
use crate::io::agent::wire::{About, Opened};
use crate::process::logs::LogChoice;
use crate::process::sandbox::Settings;

/// The signers by name.
pub(super) struct Roll {
    entries: HashMap<String, Entry>,
    /// The number that the next change gets.
    epoch: u64,
    log: LogChoice,
    /// What processes of tokens give away; `None`: as a daemon without a configuration.
    sandbox: Option<Settings>,
}

struct Entry {
    signer: Signer,
    epoch: u64,
    /// For a token: its process, and what is remembered of those before.
    token: Option<Rc<RefCell<Running>>>,
}

impl Roll {
    pub(super) fn new(signers: Vec<Signer>, log: LogChoice, sandbox: Option<Settings>) -> Self {
        let mut roll = Self { entries: HashMap::new(), epoch: 0, log, sandbox };
        roll.replace(signers);
        roll
    }

    /// What the configuration says from now on. What is said as before stays as it is, but for refused PINs: whoever reloads
    /// may have put that right.
    pub(super) fn replace(&mut self, signers: Vec<Signer>) {
        let mut before = std::mem::take(&mut self.entries);
        for signer in signers {
            let name = signer.name.clone();
            let kept = match before.remove(&name) {
                Some(entry) if entry.is_still(&signer) => Some(entry),
                Some(changed) => {
                    changed.end();
                    None
                }
                None => None,
            };
            let entry = kept.unwrap_or_else(|| {
                self.epoch += 1;
                Entry { signer, epoch: self.epoch, token: None }
            });
            self.entries.insert(name, entry);
        }
        before.values().for_each(Entry::end);
    }

    pub(super) fn about(&self, name: &str) -> Option<About> {
        let entry = self.entries.get(name)?;
        Some(About {
            deadline_ms: u32::try_from(entry.signer.deadline.as_millis()).unwrap_or(u32::MAX),
            token: matches!(entry.signer.place, SignerPlace::Token(_)),
            epoch: entry.epoch,
        })
    }

    /// A connection, tried once.
    pub(super) fn open(roll: &Rc<RefCell<Self>>, name: &str) -> (Opened, Option<OwnedFd>) {
        let mut roll = roll.borrow_mut();
        let (log, sandbox) = (roll.log.clone(), roll.sandbox.clone());
        let Some(entry) = roll.entries.get_mut(name) else {
            return (Opened::Away("the configuration has it no more".to_owned()), None);
        };
        let token = match &entry.signer.place {
            SignerPlace::Agent(path) => return connect::once(path),
            SignerPlace::Token(token) => token.clone(),
        };
        let running = entry.token.get_or_insert_with(|| Running::new(name, token, log, sandbox));
        match start(running) {
            Ok(fd) => (Opened::Here, Some(fd)),
            Err(why) => (Opened::Away(why), None),
        }
    }
}

impl Entry {
    /// Whether it can stay as it is. The line in the file is nobody's concern.
    fn is_still(&self, said: &Signer) -> bool {
        let same = Signer { line: said.line, ..self.signer.clone() } == *said;
        same && !self.token.as_ref().is_some_and(|token| token.borrow().pin_refused())
    }

    fn end(&self) {
        if let Some(token) = &self.token {
            token.borrow_mut().end();
        }
    }
}
