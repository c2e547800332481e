//! Letting callers in.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::Interest;

use super::caller::{self, NewCaller};
use super::command::Command;
use super::dispatch;
use super::footing;
use super::shared::Shared;
use super::worker::Worker;
use crate::io::{ControlSocket, credentials};
use crate::sys;

/// Callers taken before the other tasks of this core get their turn.
const BURST: usize = 16;
/// Out of descriptors: trying again sooner finds the same.
const PAUSE: Duration = Duration::from_millis(100);

/// Where callers come from.
pub(super) struct Doors {
    pub(super) listeners: Vec<OwnedFd>,
    pub(super) private: Option<OwnedFd>,
}

impl Doors {
    /// Starts letting callers in, on this worker's thread.
    pub(super) fn open(self, worker: &Rc<Worker>) -> io::Result<()> {
        for listener in self.listeners {
            tokio::task::spawn_local(listen(Rc::clone(worker), listener));
        }
        if let Some(fd) = self.private {
            let socket = ControlSocket::new(fd)?;
            let cred = credentials(&socket)?;
            match NewCaller::admit(socket, cred, None, worker) {
                Some(only) => caller::spawn_only(Rc::clone(worker), only),
                None => return Err(io::Error::other("the one caller of a private daemon was not let in")),
            }
        }
        Ok(())
    }
}

/// A control connection that somebody else has accepted; counted until it is let in or not.
pub(super) struct Arrived {
    control: OwnedFd,
    counted: Counted,
}

struct Counted(Arc<Shared>);

impl Arrived {
    pub(super) fn new(shared: &Arc<Shared>, control: OwnedFd) -> Self {
        shared.arriving.fetch_add(1, Ordering::AcqRel);
        Self { control, counted: Counted(Arc::clone(shared)) }
    }

    /// Lets it in on this worker's thread.
    pub(super) fn welcome(self, worker: Rc<Worker>) {
        let Self { control, counted } = self;
        let socket = match ControlSocket::new(control) {
            Ok(socket) => socket,
            Err(error) => return tracing::warn!(%error, "a caller could not be let in"),
        };
        if *worker.shared.draining.borrow() {
            return;
        }
        tokio::task::spawn_local(async move {
            welcome(&worker, socket).await;
            drop(counted);
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.arriving.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn listen(worker: Rc<Worker>, listener: OwnedFd) {
    let mut draining = worker.shared.draining.subscribe();
    let events = match sys::watch(listener.as_fd(), Interest::READABLE) {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(%error, "the listening socket cannot be polled; nobody will be let in there");
            return;
        }
    };
    loop {
        let ready = tokio::select! {
            ready = events.readable() => ready,
            _ = draining.wait_for(|draining| *draining) => return,
        };
        let Ok(mut ready) = ready else { return };
        for _ in 0..BURST {
            match ControlSocket::accept(&listener) {
                Ok(socket) => welcome(&worker, socket).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready.clear_ready();
                    break;
                }
                // The caller left before its turn, or a signal came.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, "a caller could not be let in; trying again");
                    tokio::time::sleep(PAUSE).await;
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn welcome(worker: &Rc<Worker>, socket: ControlSocket) {
    let cred = match credentials(&socket) {
        Ok(cred) => cred,
        Err(error) => {
            tracing::warn!(%error, "a caller's credentials could not be read; it was turned away");
            return;
        }
    };
    let operator = worker.shared.operator.load_full();
    let runs = footing::what_it_runs(&worker.shared, &operator, &socket, &cred).await;
    let Some(new) = NewCaller::admit(socket, cred, runs, worker) else { return };
    let chosen = dispatch::choose(worker.shared.workers.iter().map(|seat| &seat.load), worker.index);
    if chosen == worker.index {
        caller::spawn(Rc::clone(worker), new);
    } else {
        let _ = worker.commands(chosen).send(Command::Caller(new));
    }
}
