//! `keys.sock`: who may come in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SocketFlags, accept_with, sockopt};

use super::connection::Who;

/// When the system has no descriptors left: until some are free.
const PAUSE: Duration = Duration::from_millis(100);

/// Lets in, for ever, who is root, our own user or one of `users`. Others are closed at once: their answer is the end of
/// the connection.
pub(super) fn accept(socket: &OwnedFd, users: &RwLock<Vec<u32>>, mut come_in: impl FnMut(OwnedFd, Who)) {
    loop {
        match next(socket) {
            Ok((connection, who)) if may(&who, &users.read().unwrap_or_else(PoisonError::into_inner)) => {
                come_in(connection, who)
            }
            Ok((_, who)) => tracing::warn!(%who, "may not use keys.sock"),
            Err(error) => {
                tracing::warn!(%error, "cannot accept at keys.sock");
                thread::sleep(PAUSE);
            }
        }
    }
}

fn next(socket: &OwnedFd) -> io::Result<(OwnedFd, Who)> {
    loop {
        // The flag belongs to the listening socket and may be set; the connection's own is not.
        match accept_with(socket, SocketFlags::CLOEXEC) {
            Err(Errno::AGAIN) => {
                retry_on_intr(|| poll(&mut [PollFd::new(socket, PollFlags::IN)], None))?;
            }
            Err(Errno::INTR | Errno::CONNABORTED) => {}
            Err(errno) => return Err(errno.into()),
            Ok(connection) => {
                let who = peer(&connection)?;
                return Ok((connection, who));
            }
        }
    }
}

fn peer(connection: impl AsFd) -> io::Result<Who> {
    let cred = sockopt::socket_peercred(connection)?;
    Ok(Who::User { uid: cred.uid.as_raw(), pid: cred.pid.as_raw_nonzero().get() })
}

fn may(who: &Who, users: &[u32]) -> bool {
    let Who::User { uid, .. } = who else { return false };
    *uid == 0 || *uid == rustix::process::geteuid().as_raw() || users.contains(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_we_and_who_is_named_may_and_nobody_else() {
        let us = rustix::process::geteuid().as_raw();
        let may = |uid: u32, users: &[u32]| may(&Who::User { uid, pid: 1 }, users);
        assert!(may(0, &[]) && may(us, &[]));
        let other = us + 12_345;
        assert!(!may(other, &[]) && !may(other, &[other + 1]) && may(other, &[7, other]));
    }
}
