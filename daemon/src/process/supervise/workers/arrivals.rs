//! Callers at the listening sockets. Who they are is the kernel's word; nothing that they say is read here.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::net::{SocketFlags, accept_with};
use tokio::io::Interest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::io::{ControlSocket, credentials};
use crate::policy::CallerCred;
use crate::process::socket::Listener;
use crate::sys;

/// Callers taken before anything else gets its turn, and those who may wait for theirs. The rest waits where it connected.
const BURST: usize = 16;
/// Out of descriptors: trying again sooner finds the same.
const PAUSE: Duration = Duration::from_millis(100);

/// A caller, and who it is.
#[derive(Debug)]
pub(in super::super) struct Arrival {
    pub(super) control: OwnedFd,
    pub(super) cred: CallerCred,
}

/// The listening sockets, watched.
#[derive(Debug)]
pub(super) struct Arrivals {
    arrived: mpsc::Receiver<Arrival>,
    watching: Vec<JoinHandle<()>>,
}

impl Arrivals {
    /// Lets callers in from now on.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub(super) fn watch(listeners: &[Listener]) -> io::Result<Self> {
        let (to, arrived) = mpsc::channel(BURST);
        let copies = listeners.iter().map(|listener| listener.as_fd().try_clone_to_owned());
        let copies = copies.collect::<io::Result<Vec<_>>>()?;
        let watching =
            copies.into_iter().map(|listener| tokio::spawn(accept(listener, to.clone()))).collect();
        Ok(Self { arrived, watching })
    }

    /// Nobody comes.
    pub(super) fn none() -> Self {
        Self { arrived: mpsc::channel(1).1, watching: Vec::new() }
    }

    /// The next caller. Dropping the future loses nobody.
    pub(super) async fn next(&mut self) -> Arrival {
        match self.arrived.recv().await {
            Some(arrival) => arrival,
            None => std::future::pending().await,
        }
    }

    /// Lets nobody in any more. Who had come in and not had its turn is closed.
    pub(super) async fn close(mut self) {
        for watching in self.watching.drain(..) {
            watching.abort();
            // Its socket is closed when it has ended.
            let _ = watching.await;
        }
        self.arrived.close();
        while let Some(Arrival { control, .. }) = self.arrived.recv().await {
            turn_away(control);
        }
    }
}

/// Closes a caller's connection. What it has sent is emptied beside the loop: closing what is in it may wait.
pub(super) fn turn_away(control: OwnedFd) {
    drop(ControlSocket::new(control));
}

async fn accept(listener: OwnedFd, to: mpsc::Sender<Arrival>) {
    let events = match sys::watch(listener.as_fd(), Interest::READABLE) {
        Ok(events) => events,
        Err(error) => {
            tracing::error!(%error, "the listening socket cannot be polled; nobody will be let in there");
            return;
        }
    };
    loop {
        let Ok(mut ready) = events.readable().await else { return };
        for _ in 0..BURST {
            match accept_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(control) => match credentials(&control) {
                    Ok(cred) => {
                        let gone = |error: mpsc::error::SendError<Arrival>| turn_away(error.0.control);
                        if to.send(Arrival { control, cred }).await.map_err(gone).is_err() {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a caller's credentials could not be read; it was turned away");
                        turn_away(control);
                    }
                },
                Err(rustix::io::Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                // The caller left before its turn, or a signal came.
                Err(rustix::io::Errno::CONNABORTED | rustix::io::Errno::INTR) => {}
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
