//! A step of the handshake on another thread, because somebody else's signer decides how long it takes.
//!
//! ```text
//!  relay ── Turn::Aside(Step) ──▶ worker ──▶ a thread beside the loop: Step::take ──▶ Done ──▶ Relay::back
//!    │  the session is out: nothing is read, and its stand-in knows what the report needs
//!    └─ its deadline, a cancel, the peer's leaving end it as ever: then what comes back is dropped
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::super::scratch::Scratch;
use super::{Arm, Relay, Turn};
use crate::session::{Fill, Session};
use crate::tls::{Failure, Unsigned};

/// A session that left its relay, with what it is to process.
pub struct Step {
    session: Session,
    incoming: Vec<u8>,
}

/// What came of it.
pub struct Done {
    /// Not there if it panicked.
    session: Option<Session>,
    plain: Fill,
    out: Fill,
    result: Result<(), Failure>,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Step").finish_non_exhaustive()
    }
}

impl Step {
    /// Does it. May wait for the signer.
    #[must_use]
    pub fn take(self) -> Done {
        let Self { mut session, mut incoming } = self;
        let (mut plain, mut out) = (Fill::default(), Fill::default());
        // Unwind safety: after a panic nothing of the session is used.
        let result =
            catch_unwind(AssertUnwindSafe(|| session.handle_net(&mut incoming, &mut plain, &mut out)));
        match result {
            Ok(result) => Done { session: Some(session), plain, out, result },
            Err(_) => {
                tracing::error!("a session panicked beside the loop; this is a bug in tlsifyd");
                let text = "a bug in the daemon ended this session; please report it".to_owned();
                let (plain, out) = (Fill::default(), Fill::default());
                Done { session: None, plain, out, result: Err(Failure::internal(text)) }
            }
        }
    }
}

impl Relay {
    /// Whether `scratch.net_in` is for another thread: then its turn ends with [`Turn::Aside`].
    pub(super) fn step_aside(&mut self, scratch: &Scratch) -> bool {
        if !self.waits_for_signer || !self.is_handshaking() {
            return false;
        }
        let stand_in = self.session.stand_in();
        let session = std::mem::replace(&mut self.session, stand_in);
        self.step = Some(Box::new(Step { session, incoming: scratch.net_in.filled().to_vec() }));
        self.is_aside = true;
        true
    }

    /// The session comes back. Nothing happens if the relay has ended it meanwhile.
    pub fn back(&mut self, done: Done, scratch: &mut Scratch, now: Instant) -> Turn {
        if !self.is_aside || self.linger.is_some() {
            return Turn::Wait;
        }
        self.is_aside = false;
        self.now = now;
        if let Some(session) = done.session {
            self.session = session;
        }
        scratch.plain.clear();
        scratch.plain.extend(done.plain.filled());
        scratch.net_out.clear();
        scratch.net_out.extend(done.out.filled());
        let concluded = self.conclude(done.result, scratch);
        self.begun(concluded)
    }

    /// The session cannot leave: there are too many beside the loop already, waiting for this signer or another.
    pub fn stay(&mut self, signer: &str, scratch: &mut Scratch) -> Turn {
        self.is_aside = false;
        let busy = Unsigned::SignerBusy(signer.to_owned());
        self.refuse(Failure::from(busy), scratch)
    }

    /// The peer has nothing to say while its handshake waits for us, but that it leaves. What it said before, if anything,
    /// is an alert at best, and nobody is there to read it.
    pub(super) fn peer_left(&mut self, scratch: &mut Scratch) -> Arm {
        if !self.is_aside || !self.net_ready.ended {
            return Ok(());
        }
        match recv(&self.net, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(error) => Err(self.net_failed(error)),
            Ok(_) => Err(self.peer_ended(scratch)),
        }
    }
}
