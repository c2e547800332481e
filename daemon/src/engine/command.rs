//! What is said to a worker from outside its thread.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::caller::NewCaller;
use super::handoff::Handoff;
use super::link::Link;
use crate::io::Token;

/// What is said to a worker from outside its thread.
pub(super) enum Command {
    /// A session for it.
    Adopt(Box<Handoff>),
    /// A caller's control connection for it.
    Caller(NewCaller),
    /// End the session at this place, if it is still the same one.
    Cancel(Token),
    /// End this session of the caller's, which was on its way here when that was said.
    CancelComing(Arc<Link>, u64),
    /// The control connection is gone.
    CallerGone(Arc<Link>),
    /// A line for each session, of one uid or of all.
    Inventory { uid: Option<u32>, reply: oneshot::Sender<Vec<String>> },
    /// Take nothing new, and end when the last session is gone.
    Drain,
    /// End every session now, politely where possible.
    EndAll,
}
