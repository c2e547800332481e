//! Which store a session resumes in: what the request says, else what its profile says.
//!
//! ```text
//!  request: resume=NAME ─────────┐                         ┌─▶ Tickets (connect)  by uid and name, in memory
//!           fds=tickets ─────────┤                         │
//!  define:  resume=NAME, or      ├─▶ name, or file: … or ──┤
//!           fds=tickets ▶ Standing   directory: …          └─▶ TicketKeys (accept) the same; of a file, its keys are
//!                                                              looked at now and then (Kept)
//! ```

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tlsify_protocol::{Define, FdName, Forget, ProfileName, Role, Start};

use super::caller::Caller;
use super::handoff::Store;
use super::parts::{Parts, split};
use super::refusal::Refusal;
use super::shared::Shared;
use super::ticket_file;
use crate::io::{beside, is_at_hand};

/// Seconds between two looks at the file of a profile's keys. Longer, and tickets under a key that another daemon has put
/// there would be full handshakes for as long; a look is one system call of some microseconds.
const LOOK: u64 = 60;

/// The store of a profile's sessions that name none themselves.
pub(super) enum Standing {
    /// It is found by this name, in memory.
    Name(Box<str>),
    /// It is a file with a server's keys.
    File(Arc<Kept>),
}

/// A file with a server's keys that its caller has left with a profile.
pub(super) struct Kept {
    /// Until it is dropped.
    fd: Option<OwnedFd>,
    name: Box<str>,
    /// When it was looked at last, in seconds since 1970.
    looked: AtomicU64,
    /// When the log was told last that it is of no use, likewise.
    said: AtomicU64,
}

impl Caller {
    /// What the session resumes with, if it does.
    pub(super) async fn store(
        &self,
        request: &Start<'_>,
        role: Role,
        fd: Option<OwnedFd>,
    ) -> Result<Option<Store>, Refusal> {
        let (shared, uid) = (Arc::clone(&self.worker.shared), self.link.cred.uid);
        if let Some(fd) = fd {
            let here = self.worker.is_alone() && is_at_hand(&fd);
            let open = move || match role {
                Role::Server => ticket_file::keys(&shared.ticket_keys, uid, &fd).map(Store::Keys),
                Role::Client => {
                    let place = ticket_file::place(&fd, uid)?;
                    Ok(Store::Tickets(shared.tickets.store(uid, &place.to_string())))
                }
            };
            return self.worker.wait_for(LOOKING, here, open).await?.map(Some);
        }
        if let Some(name) = request.resume {
            return Ok(Some(named(&shared, uid, role, name.as_str())));
        }
        match request.profile {
            Some(profile) => self.store_of(profile, role).await,
            None => Ok(None),
        }
    }

    /// What sessions of a profile resume with, if its definition says so.
    pub(super) async fn store_of(
        &self,
        profile: ProfileName<'_>,
        role: Role,
    ) -> Result<Option<Store>, Refusal> {
        let (shared, uid) = (&self.worker.shared, self.link.cred.uid);
        let defined = self.profiles.get(profile.as_str());
        match defined.and_then(|defined| defined.standing.as_ref()) {
            None => Ok(None),
            Some(Standing::Name(name)) => Ok(Some(named(shared, uid, role, name))),
            Some(Standing::File(kept)) => self.kept(kept).await,
        }
    }

    /// The keys of a profile's file. A file that has become unusable since the profile was defined costs no session: those
    /// go on with the keys that are known, and without tickets when there are none.
    async fn kept(&self, kept: &Arc<Kept>) -> Result<Option<Store>, Refusal> {
        let uid = self.link.cred.uid;
        let store = self.worker.shared.ticket_keys.store(uid, &kept.name);
        if is_due(&kept.looked, ticket_file::now()) || !store.is_loaded() {
            let here = self.worker.is_alone() && kept.fd.as_ref().is_some_and(is_at_hand);
            let (again, said_of, kept) = (store.clone(), kept, Arc::clone(kept));
            let look = move || kept.fd.as_ref().map_or(Ok(()), |fd| ticket_file::load(&again, uid, fd));
            // Said no more often than it is looked at, not for each session: the file is the caller's to break.
            if let Err(refusal) = self.worker.wait_for(LOOKING, here, look).await?
                && is_due(&said_of.said, ticket_file::now())
            {
                tracing::warn!(uid, "a profile's file of ticket keys is of no use now: {}", refusal.text);
            }
        }
        Ok(store.is_loaded().then_some(Store::Keys(store)))
    }

    /// The store of a profile that is being defined.
    pub(super) async fn standing(
        &self,
        define: &Define<'_>,
        parts: &mut Parts,
    ) -> Result<Option<Standing>, Refusal> {
        let Some(fd) = parts.take(FdName::Tickets) else {
            return Ok(define.resume.map(|name| Standing::Name(name.as_str().into())));
        };
        let (shared, uid, role) = (Arc::clone(&self.worker.shared), self.link.cred.uid, define.role);
        let here = self.worker.is_alone() && is_at_hand(&fd);
        let open = move || {
            let place = ticket_file::place(&fd, uid)?;
            let name = place.to_string().into();
            if role == Role::Client || place.is_directory {
                return Ok(Standing::Name(name));
            }
            ticket_file::keys(&shared.ticket_keys, uid, &fd)?;
            let (looked, said) = (AtomicU64::new(ticket_file::now()), AtomicU64::new(0));
            Ok(Standing::File(Arc::new(Kept { fd: Some(fd), name, looked, said })))
        };
        self.worker.wait_for(LOOKING, here, open).await?.map(Some)
    }

    /// How many stores were emptied: only what is there is looked at, and nothing is made to be empty.
    pub(super) async fn empty(&self, forget: &Forget<'_>, fds: &mut Vec<OwnedFd>) -> Result<u64, Refusal> {
        let (shared, uid, role) = (Arc::clone(&self.worker.shared), self.link.cred.uid, forget.role);
        let mut parts = split(&forget.fds, fds)?;
        if let Some(fd) = parts.take(FdName::Tickets) {
            let here = self.worker.is_alone() && is_at_hand(&fd);
            let work = move || ticket_file::forget(&shared, uid, role, &fd);
            return self.worker.wait_for(LOOKING, here, work).await?;
        }
        let Some(name) = forget.store else { return Ok(0) };
        let keys = role != Some(Role::Client) && shared.ticket_keys.forget(uid, name.as_str());
        let tickets = role != Some(Role::Server) && shared.tickets.forget(uid, name.as_str());
        Ok(u64::from(keys) + u64::from(tickets))
    }
}

/// What goes wrong when it goes wrong.
const LOOKING: &str = "looking at a store of tickets";

fn named(shared: &Shared, uid: u32, role: Role, name: &str) -> Store {
    match role {
        Role::Server => Store::Keys(shared.ticket_keys.store(uid, name)),
        Role::Client => Store::Tickets(shared.tickets.store(uid, name)),
    }
}

impl Standing {
    /// What has to be closed once nothing stands here any more: closing a file can wait for its file system.
    pub(super) fn into_fd(self) -> Option<OwnedFd> {
        match self {
            Self::Name(_) => None,
            Self::File(kept) => Arc::into_inner(kept).and_then(|mut kept| kept.fd.take()),
        }
    }
}

/// Whether it is time for what was done `last`, and this is who does it.
fn is_due(last: &AtomicU64, now: u64) -> bool {
    let before = last.load(Ordering::Relaxed);
    // A clock that was set back does not stop it.
    if (before..before.saturating_add(LOOK)).contains(&now) {
        return false;
    }
    last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
}

impl Drop for Kept {
    /// A fallback: whoever lets it go waits for the close ([`Standing::into_fd`]), so that a caller whose file system
    /// lets it wait gets no thread for each of its profiles.
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take() {
            beside(move || drop(fd));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_looked_at_once_a_minute_by_one_request_also_when_the_clock_goes_back() {
        let looked = AtomicU64::new(1_000);
        let is_due = |now| is_due(&looked, now);
        assert!(!is_due(1_000) && !is_due(1_000 + LOOK - 1));
        assert!(is_due(1_000 + LOOK) && !is_due(1_000 + LOOK));
        assert!(is_due(500) && !is_due(501));
    }
}
