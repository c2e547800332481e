//! The supervisor's side of foreign signers: it has the paths and the PINs, and makes connections when the keyholder asks.
//!
//! ```text
//!  keyholder ── AboutSigner, OpenSigner ──▶ a desk ─┬─ agent: connect(2), once, without waiting ──▶ its descriptor
//!                                                   └─ pkcs11: one end of a pair; the other goes to
//!                                                       `tlsifyd: token NAME`, which is started when first asked for
//!  `tlsifyd: token NAME` ── WantsPin ──▶ Pin: is there a try left? ──▶ the file's first line, or no PIN
//! ```
//!
//! All of it is on one thread of its own, which is there when the configuration has signers, with tasks for what takes time: a signer in trouble keeps nobody else, and the
//! processes that it starts live as long as the daemon does. A reload that says something else of a signer, or whose PIN
//! was refused, ends its process and gives it another number, so that the keyholder drops its old connections.

mod connect;
mod look;
mod pin;
mod roll;
#[cfg(test)]
mod tests;
mod token;

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;

use crate::config::Signer;
use crate::io::agent::wire::{Asks, Opened};
use crate::io::between::{Asked, Desk};
use crate::process::logs::LogChoice;
use crate::process::sandbox::Settings;

pub(crate) use look::{Looked, look};
use roll::Roll;

/// The way to the thread. When it is dropped the thread ends, and with it the tokens' processes.
#[derive(Debug)]
pub(crate) struct Signers(UnboundedSender<Order>);

enum Order {
    /// What the configuration says from now on.
    Replace(Vec<Signer>),
    /// Somebody else asks.
    Desk(OwnedFd),
}

impl Signers {
    /// Starts the thread. Token processes log as `log` says, and are who `sandbox` says.
    ///
    /// # Errors
    /// The system's: no thread can be started.
    pub(crate) fn start(signers: Vec<Signer>, log: LogChoice, sandbox: Option<Settings>) -> io::Result<Self> {
        let (orders, receiver) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            let roll = Rc::new(RefCell::new(Roll::new(signers, log, sandbox)));
            LocalSet::new().block_on(&runtime, serve(roll, receiver));
        };
        std::thread::Builder::new().name("signers".to_owned()).spawn(run)?;
        Ok(Self(orders))
    }

    /// What the configuration says from now on.
    pub(crate) fn replace(&self, signers: Vec<Signer>) {
        // The thread lives as long as we do.
        let _ = self.0.send(Order::Replace(signers));
    }

    /// A keyholder asks here.
    pub(crate) fn admit(&self, desk: OwnedFd) {
        let _ = self.0.send(Order::Desk(desk));
    }
}

/// The way from a keyholder to [`Signers::admit`]: the keyholder's end, which becomes an
/// [`Asker`](crate::io::between::Asker) there, and the desk.
///
/// # Errors
/// The system's: out of descriptors.
pub(crate) fn way() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

async fn serve(roll: Rc<RefCell<Roll>>, mut orders: UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Replace(signers) => roll.borrow_mut().replace(signers),
            Order::Desk(desk) => {
                let roll = Rc::clone(&roll);
                match Desk::new(desk) {
                    Ok(desk) => drop(tokio::task::spawn_local(answer(roll, desk))),
                    Err(error) => tracing::error!(%error, "the keyholder cannot ask for signers"),
                }
            }
        }
    }
}

/// Until the keyholder that asks is gone.
async fn answer(roll: Rc<RefCell<Roll>>, desk: Desk) {
    loop {
        let Asked { question, reply, .. } = match desk.next::<Asks>().await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::debug!(%error, "the keyholder asks for signers no more");
                return;
            }
        };
        // Who has given up needs no answer.
        let _ = match question {
            Asks::AboutSigner(name) => reply.answer(&roll.borrow().about(&name), &[]),
            Asks::OpenSigner(name) => match Roll::open(&roll, &name) {
                (opened, Some(fd)) => reply.answer(&opened, &[fd.as_fd()]),
                (opened @ (Opened::Busy | Opened::Away(_)), None) => reply.answer(&opened, &[]),
                (Opened::Here, None) => Ok(()),
            },
        };
    }
}
