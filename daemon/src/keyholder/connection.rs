//! One connection: a request comes in as bytes, its answer goes out as bytes. No socket here.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_setaffinity};
use zeroize::Zeroizing;

use super::content::use_of;
use super::lock::Attempt;
use super::numbers::der_of;
use super::shared::{Shared, log_gone, pin_text};
use super::table::{DoorId, Gone, Key, New, Origin, Refusal};
use crate::io::agent::wire::{
    Answer, Curve, Extension, Failure, KeyKind, Listed, RSA_SHA2_256, RSA_SHA2_512, Reason, Reply, Request,
    SecretKey, Uses, blob_of_spki, kind_of_blob, signature_of_tls,
};
use crate::io::read_regular;
use crate::tls::{HolderKey, sha256};

/// Bytes of a key file at most: what the daemon takes of a caller's.
const MAX_KEY_FILE: usize = 1024 * 1024;

/// Bytes of a list at most: what fits into a message, with some room.
const MAX_LIST: usize = 250_000;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) enum Who {
    /// Our own supervisor: the configuration's keys.
    Supervisor,
    /// A worker of ours, which may be in somebody else's hands.
    Worker(Arc<str>, DoorId),
    /// A local user whom the configuration lets in.
    User { uid: u32, pid: i32 },
}

/// What one connection remembers.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    who: Who,
    refused: Refused,
}

/// Why a request was refused. The text is for logs and has no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The reason, as the protocol has it.
    pub(super) reason: Reason,
    /// The signer that it is about, or empty.
    pub(super) signer: String,
    /// A sentence.
    pub(super) text: String,
}

impl Refused {
    fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self { reason, signer: String::new(), text: text.into() }
    }

    fn unsupported(text: &'static str) -> Self {
        Self::new(Reason::Unsupported, text)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Locked => locked(),
            Refusal::Forgotten => Self::new(Reason::Forgotten, "there is no such key"),
            Refusal::Use => Self::new(Reason::UseRefused, "the key is not for this use"),
        }
    }
}

fn locked() -> Refused {
    Refused::new(Reason::Locked, "the keyholder is locked, ssh-add -X unlocks it")
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, who: Who) -> Self {
        let refused = Refused::new(Reason::None, "");
        Self { shared, who, refused }
    }

    /// The answer to one message, framed.
    pub(super) fn answer(&mut self, body: &[u8], fds: Vec<OwnedFd>) -> Zeroizing<Vec<u8>> {
        self.shared.expire();
        let framed = match Request::parse(body) {
            Ok(Request::Extension(extension)) => self.extension(extension, fds),
            Ok(request) => self.plain(request),
            Err(error) => self.failed(Answer::Failure, Refused::new(Reason::Unsupported, error.to_string())),
        };
        // Only a list or a foreign signature could be too long; then it is refused.
        framed.unwrap_or_else(|| Zeroizing::new(vec![0, 0, 0, 1, 5]))
    }

    fn failed(&mut self, answer: Answer<'_>, refused: Refused) -> Option<Zeroizing<Vec<u8>>> {
        tracing::debug!(who = %self.who, reason = ?refused.reason, "refused: {}", refused.text);
        self.refused = refused;
        answer.framed().ok()
    }

    fn plain(&mut self, request: Request<'_>) -> Option<Zeroizing<Vec<u8>>> {
        let done = match request {
            Request::Identities => return self.list(),
            Request::Sign { blob, data, flags } => match self.sign(blob, data, flags) {
                Ok(signature) => return Answer::Signature(&signature).framed().ok(),
                Err(refused) => Err(refused),
            },
            Request::Add { key, comment, life, confirm, other } => {
                self.add(&key, comment, life, confirm || other)
            }
            Request::Remove { blob } => self.remove(blob),
            Request::RemoveAll => self.remove_all(),
            Request::Lock(passphrase) => self.lock(passphrase),
            Request::Unlock(passphrase) => self.unlock(passphrase),
            Request::Extension(_) | Request::Other(_) => Err(Refused::unsupported("not known here")),
        };
        match done {
            Ok(()) => Answer::Success.framed().ok(),
            Err(refused) => self.failed(Answer::Failure, refused),
        }
    }

    fn extension(&mut self, extension: Extension<'_>, fds: Vec<OwnedFd>) -> Option<Zeroizing<Vec<u8>>> {
        let done = match extension {
            Extension::Query => return Answer::Extension(Reply::ours()).framed().ok(),
            Extension::LastFailure => {
                let Refused { reason, signer, text } = &self.refused;
                let failure = Failure { reason: *reason, signer, text };
                return Answer::Extension(Reply::LastFailure(failure)).framed().ok();
            }
            Extension::RsaPss { blob, scheme, message } => self.rsa_pss(blob, scheme, message),
            Extension::AddDescriptor { uses, life, purpose } => self.add_descriptor(uses, life, purpose, fds),
            Extension::AddForeign { signer, spki, uses, purpose } => {
                self.add_foreign(signer, spki, uses, purpose)
            }
            Extension::Forget { handle } => self.forget(handle),
            Extension::Core { core } => {
                self.follow(core);
                Ok(Answer::Success.framed().ok())
            }
            Extension::Other(_) => {
                let unknown = Refused::unsupported("an extension that is not known here");
                return self.failed(Answer::Failure, unknown);
            }
        };
        match done {
            Ok(framed) => framed,
            Err(refused) => self.failed(Answer::ExtensionFailure, refused),
        }
    }

    /// Serves a worker's thread where it runs: it waits for each answer, and waking a second core costs ten times a
    /// signature. Its thread is this one.
    fn follow(&self, core: u32) {
        if let Who::Worker(..) = self.who {
            let mut cores = CpuSet::new();
            if (core as usize) < CpuSet::MAX_CPU {
                cores.set(core as usize);
                // Where this is not allowed, it is served as before.
                let _ = sched_setaffinity(None, &cores);
            }
        }
    }

    fn door(&self) -> Option<DoorId> {
        match self.who {
            Who::Worker(_, door) => Some(door),
            _ => None,
        }
    }

    fn list(&self) -> Option<Zeroizing<Vec<u8>>> {
        let table = self.shared.table();
        let mut room = MAX_LIST;
        let listed = table.list(self.door(), Instant::now()).into_iter().take_while(|(blob, label)| {
            let size = blob.len() + label.len() + 8;
            room = room.saturating_sub(size);
            room > 0
        });
        let most = crate::io::agent::wire::MAX_IDENTITIES;
        let listed = listed.take(most).map(|(blob, label)| Listed { blob, comment: label.as_bytes() });
        Answer::Identities(listed.collect()).framed().ok()
    }

    fn sign(&self, blob: &[u8], data: &[u8], flags: u32) -> Result<Vec<u8>, Refused> {
        let nonsense = |_| Refused::new(Reason::Forgotten, "no kind of key that TLS signs with");
        let scheme = match kind_of_blob(blob).map_err(nonsense)? {
            KeyKind::Ecdsa(Curve::P256) => 0x0403,
            KeyKind::Ecdsa(Curve::P384) => 0x0503,
            KeyKind::Ecdsa(Curve::P521) => 0x0603,
            KeyKind::Ed25519 => 0x0807,
            KeyKind::Rsa if flags & RSA_SHA2_256 != 0 => 0x0401,
            KeyKind::Rsa if flags & RSA_SHA2_512 != 0 => 0x0601,
            KeyKind::Rsa => return Err(Refused::new(Reason::UseRefused, "RSA with SHA-1 is not signed")),
        };
        let signature = self.signature(blob, scheme, data)?;
        signature_of_tls(scheme, &signature)
            .map_err(|error| Refused::new(Reason::KeyInvalid, error.to_string()))
    }

    fn rsa_pss(
        &self,
        blob: &[u8],
        scheme: u16,
        message: &[u8],
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        if !matches!(scheme, 0x0804..=0x0806) {
            return Err(Refused::unsupported("this extension is for rsa_pss_rsae_sha256, sha384 and sha512"));
        }
        let signature = self.signature(blob, scheme, message)?;
        Ok(Answer::Extension(Reply::RsaPss(&signature)).framed().ok())
    }

    /// A signature as TLS has it, if the content is TLS's and the key may.
    fn signature(&self, blob: &[u8], scheme: u16, message: &[u8]) -> Result<Vec<u8>, Refused> {
        let wanted = use_of(message);
        // A key that is not there, or a lock, is said before what would not be signed with it either.
        let picked = self.shared.table().pick(blob, wanted.unwrap_or(Uses::ALL), self.door(), Instant::now());
        let Some(wanted) = wanted else {
            if let Err(refusal @ (Refusal::Locked | Refusal::Forgotten)) = picked {
                return Err(refusal.into());
            }
            tracing::warn!(who = %self.who, key = %blob_text(blob), bytes = message.len(),
                "refused to sign what is no part of a TLS handshake");
            return Err(Refused::new(
                Reason::UseRefused,
                "what is to be signed is no part of a TLS handshake",
            ));
        };
        let (key, pin) = picked.inspect_err(|refusal| {
            if *refusal == Refusal::Use {
                tracing::warn!(who = %self.who, key = %blob_text(blob), wanted = ?wanted,
                    "refused to sign: the key is not for this use");
            }
        })?;
        tracing::trace!(who = %self.who, key = %pin_text(&pin), scheme, "signing");
        match key {
            Key::Here(key) => key
                .sign(scheme, message)
                .ok_or_else(|| Refused::new(Reason::UseRefused, "the key does not sign with this scheme")),
            Key::Foreign(signer) => self.shared.sign_foreign(&signer, blob, scheme, message),
        }
    }

    /// ssh-add KEY.
    fn add(
        &self,
        key: &SecretKey<'_>,
        comment: &[u8],
        life: Option<u32>,
        constrained: bool,
    ) -> Result<(), Refused> {
        self.only_users("keys are added with ssh-add by the operator")?;
        self.not_locked()?;
        if constrained {
            let text =
                "nobody is here to confirm uses, and no constraint but a lifetime (ssh-add -t) is kept";
            return Err(Refused::unsupported(text));
        }
        let no_use = || {
            let text = "a key that is not RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or Ed25519";
            Refused::new(Reason::KeyInvalid, text)
        };
        let der = der_of(key).ok_or_else(no_use)?;
        let key = HolderKey::from_der(&der)
            .map_err(|_| Refused::new(Reason::KeyInvalid, "the numbers of the key do not belong together"))?;
        drop(der);
        // Whatever it was called: what it is, is what it computes.
        let blob = blob_of_spki(key.spki_der()).map_err(|_| no_use())?;
        let label = printable(&String::from_utf8_lossy(comment));
        let pin = key.spki_sha256();
        let new = New { origin: Origin::Added, blob, pin, uses: Uses::ALL, label, life, key: Key::Here(key) };
        self.put(new).map(drop)
    }

    fn add_descriptor(
        &self,
        uses: Uses,
        life: Option<u32>,
        purpose: &str,
        mut fds: Vec<OwnedFd>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        let origin = self.brings()?;
        let (Some(fd), true) = (fds.pop(), fds.is_empty()) else {
            return Err(Refused::new(Reason::Unreadable, "exactly one descriptor has to come along"));
        };
        let text = read_regular(&fd, MAX_KEY_FILE).map_err(|error| {
            Refused::new(Reason::Unreadable, format!("the descriptor of the key {error}"))
        })?;
        drop(fd);
        let key = HolderKey::from_pem(&text)
            .map_err(|error| Refused::new(Reason::KeyInvalid, error.to_string()))?;
        drop(text);
        let spki = key.spki_der().to_vec();
        let blob = blob_of_spki(&spki)
            .map_err(|error| Refused::new(Reason::KeyInvalid, format!("the private key is {error}")))?;
        let pin = key.spki_sha256();
        let (label, listed) = (printable(purpose), blob.clone());
        let handle = self.put(New { origin, blob, pin, uses, label, life, key: Key::Here(key) })?;
        Ok(Answer::Extension(Reply::Added { handle, blob: &listed, spki: &spki }).framed().ok())
    }

    fn add_foreign(
        &self,
        signer: &str,
        spki: &[u8],
        uses: Uses,
        purpose: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        let origin = self.brings()?;
        if origin != Origin::File {
            // Which signers there are, and for whom, is the configuration's.
            return Err(Refused::unsupported("a signer's keys come from the configuration"));
        }
        let blob = blob_of_spki(spki).map_err(|error| Refused::new(Reason::KeyInvalid, error.to_string()))?;
        self.shared.expect_foreign(signer, &blob)?;
        let (label, listed) = (printable(purpose), blob.clone());
        let key = Key::Foreign(signer.into());
        let new = New { origin, blob, pin: sha256(spki), uses, label, life: None, key };
        let handle = self.put(new)?;
        Ok(Answer::Extension(Reply::Foreign { handle, blob: &listed }).framed().ok())
    }

    /// Whose keys these are. The supervisor's are taken while locked, too: a reload is not refused for a lock, and nothing
    /// is signed with them.
    fn brings(&self) -> Result<Origin, Refused> {
        match self.who {
            Who::Supervisor => Ok(Origin::File),
            Who::Worker(_, door) => self.not_locked().map(|()| Origin::Caller(door)),
            Who::User { .. } => Err(Refused::unsupported("keys are added here with ssh-add")),
        }
    }

    fn put(&self, new: New) -> Result<u64, Refused> {
        let (pin, label, life, origin) = (pin_text(&new.pin), new.label.clone(), new.life, new.origin);
        let handle = self
            .shared
            .add(new)
            .ok_or_else(|| Refused::new(Reason::Full, "there are as many keys as the keyholder holds"))?;
        if matches!(origin, Origin::Caller(_) | Origin::File) {
            tracing::debug!(who = %self.who, key = %pin, label, life_s = life, "key added");
        } else {
            tracing::info!(who = %self.who, key = %pin, label, life_s = life, "key added");
        }
        Ok(handle)
    }

    fn forget(&self, handle: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Refused> {
        let may = |origin| match self.who {
            Who::Supervisor => origin == Origin::File,
            Who::Worker(_, door) => origin == Origin::Caller(door),
            Who::User { .. } => false,
        };
        let gone = self.shared.table().forget(handle, may);
        let gone = gone.ok_or_else(|| Refused::new(Reason::Forgotten, "there is no such key"))?;
        log_gone(&self.who, "key forgotten", &[gone]);
        Ok(Answer::Success.framed().ok())
    }

    /// ssh-add -d.
    fn remove(&self, blob: &[u8]) -> Result<(), Refused> {
        self.not_locked()?;
        let gone = match self.who {
            Who::Worker(_, door) => {
                self.shared.table().forget_blob(blob, |origin| origin == Origin::Caller(door))
            }
            _ => self.shared.table().forget_blob(blob, operators),
        };
        if gone.is_empty() {
            return Err(Refused::new(Reason::Forgotten, "there is no such key"));
        }
        self.said_gone(&gone);
        Ok(())
    }

    /// ssh-add -D.
    fn remove_all(&self) -> Result<(), Refused> {
        self.only_users("all keys are removed with ssh-add by the operator")?;
        self.not_locked()?;
        let gone = self.shared.table().forget_all(operators);
        self.said_gone(&gone);
        Ok(())
    }

    fn said_gone(&self, gone: &[Gone]) {
        log_gone(&self.who, "key forgotten", gone);
        if gone.iter().any(|gone| gone.origin == Origin::File) {
            tracing::warn!("keys from files of the configuration come back when it is reloaded");
        }
    }

    /// ssh-add -x.
    fn lock(&self, passphrase: &[u8]) -> Result<(), Refused> {
        self.only_users("the operator locks with ssh-add")?;
        let mut lock = self.shared.lock();
        if !lock.lock(passphrase) {
            return Err(locked());
        }
        self.shared.locking(&lock);
        tracing::warn!(who = %self.who, "locked: no handshake is signed until it is unlocked");
        Ok(())
    }

    /// ssh-add -X. Attempts wait for each other, also through the delay that a wrong one costs.
    fn unlock(&self, passphrase: &[u8]) -> Result<(), Refused> {
        self.only_users("the operator unlocks with ssh-add")?;
        let mut lock = self.shared.lock();
        match lock.unlock(passphrase) {
            Attempt::Unlocked => {
                self.shared.locking(&lock);
                tracing::info!(who = %self.who, "unlocked");
                Ok(())
            }
            Attempt::NotLocked => Err(Refused::unsupported("it is not locked")),
            Attempt::Wrong(wait) => {
                tracing::warn!(who = %self.who, "wrong passphrase");
                thread::sleep(wait);
                Err(Refused::new(Reason::Locked, "that is not the passphrase"))
            }
        }
    }

    fn only_users(&self, otherwise: &'static str) -> Result<(), Refused> {
        match self.who {
            Who::User { .. } => Ok(()),
            _ => Err(Refused::unsupported(otherwise)),
        }
    }

    fn not_locked(&self) -> Result<(), Refused> {
        if self.shared.table().is_locked() { Err(locked()) } else { Ok(()) }
    }
}

fn operators(origin: Origin) -> bool {
    matches!(origin, Origin::File | Origin::Added)
}

/// For a log and a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '?' } else { char }).take(256).collect()
}

fn blob_text(blob: &[u8]) -> String {
    match crate::io::agent::wire::spki_of_blob(blob) {
        Ok(spki) => pin_text(&sha256(&spki)),
        Err(_) => "unknown".to_owned(),
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Supervisor => f.write_str("configuration"),
            Self::Worker(name, _) => f.write_str(name),
            Self::User { uid, pid } => write!(f, "uid {uid} pid {pid}"),
        }
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
