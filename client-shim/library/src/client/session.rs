//! A session from the request on: under way, open, ended.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::answer::{Ended, Facts, First};
use crate::asked::{ClientHello, Handler};
use crate::encode;
use crate::error::Error;
use crate::exchange::Exchange;

/// A request under way: what is needed to have many at once from one thread. Dropped before its answer came, it is
/// forgotten: a session that opens all the same is closed.
#[must_use]
pub struct Pending {
    pub(super) request: Request,
    /// Decides about the peer, if the request asks.
    pub(super) ask: Option<Handler>,
    /// It has decided.
    pub(super) chosen: bool,
}

/// An open session.
#[derive(Debug)]
#[non_exhaustive]
pub struct Established {
    /// What is known about it.
    pub facts: Facts,
    /// The plaintext, when the daemon made the socketpair: a connected stream socket, which a
    /// `std::os::unix::net::UnixStream` can be made from.
    pub plain: Option<OwnedFd>,
    /// The peer's certificate chain, when it was asked for: PEM in a sealed memfd.
    pub chain: Option<OwnedFd>,
    /// How the session ends, and a way to end it.
    pub session: Session,
}

/// The control side of an open session. Dropping it does not end the session: its data goes on, and only the news
/// of how it ended is given up.
#[must_use = "dropping it gives up the news of how the session ended"]
pub struct Session {
    request: Request,
}

impl Pending {
    /// Waits until the session is open.
    ///
    /// # Errors
    /// [`Error::Refused`] or [`Error::Failed`] with the reason, and the connection's own.
    pub fn wait(mut self) -> Result<Established, Error> {
        loop {
            if let Some(established) = self.take(None)? {
                return Ok(established);
            }
        }
    }

    /// Waits at most this long: `None` when the session is not open yet. Once it gave something else, it has nothing
    /// more to give.
    ///
    /// # Errors
    /// As [`Pending::wait`].
    pub fn wait_within(&mut self, limit: Duration) -> Result<Option<Established>, Error> {
        self.take(Some(limit))
    }

    /// Asks the daemon to give up. The answer is then most likely [`Error::Failed`] with the code `cancelled`, and
    /// an open session when it crossed with that.
    ///
    /// # Errors
    /// The connection's own.
    pub fn cancel(&self) -> Result<(), Error> {
        self.request.cancel()
    }

    fn choose(&self, hello: &ClientHello) -> Result<(), Error> {
        let ask =
            self.ask.as_ref().ok_or_else(|| Error::Protocol("a question that nobody asked for".into()))?;
        let packet = encode::choose(self.request.id, &ask(hello))?;
        self.request.exchange.send(&packet.text, &packet.fds)
    }

    fn take(&mut self, limit: Option<Duration>) -> Result<Option<Established>, Error> {
        let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut first = self.request.first(limit)?;
        while let Some(First::Asked(hello)) = first {
            if let Err(error) = self.choose(&hello) {
                // The question has no answer now, and nobody waits for what is made of it.
                self.cancel()?;
                return Err(error);
            }
            self.chosen = true;
            first = self
                .request
                .first(deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())))?;
        }
        match first {
            None => Ok(None),
            // The session was begun, so it is the choice that was refused; nobody waits for what is made of it now.
            Some(First::Refused(refused)) if self.chosen => {
                self.cancel()?;
                Err(refused.into())
            }
            Some(First::Established { facts, plain, chain }) => {
                let request = self.request.take();
                Ok(Some(Established { facts: *facts, plain, chain, session: Session { request } }))
            }
            other => Err(no_answer_to(other)),
        }
    }
}

impl Session {
    /// Waits until the session has ended and tells how. May be asked again, and by several threads.
    ///
    /// # Errors
    /// [`Error::Gone`] when the control connection closed before: the session may live on, and its end is not known.
    pub fn ended(&self) -> Result<Ended, Error> {
        loop {
            if let Some(ended) = self.request.exchange.ended(self.request.id, None)? {
                return Ok(ended);
            }
        }
    }

    /// Waits at most this long: `None` when the session has not ended yet.
    ///
    /// # Errors
    /// As [`Session::ended`].
    pub fn ended_within(&self, limit: Duration) -> Result<Option<Ended>, Error> {
        self.request.exchange.ended(self.request.id, Some(limit))
    }

    /// Breaks the session off: the peer gets no close_notify, and [`Session::ended`] tells `cancelled`. A clean end is
    /// the program's own: shut the plaintext down for writing, and read it to its end.
    ///
    /// # Errors
    /// The connection's own. A session that has just ended by itself is no error.
    pub fn cancel(&self) -> Result<(), Error> {
        self.request.cancel()
    }
}

/// One id of ours, given back when nobody can ask for it any more.
pub(super) struct Request {
    /// 0 when another value has taken it over: ids start at 1.
    pub(super) id: u64,
    pub(super) exchange: Arc<Exchange>,
}

impl Request {
    pub(super) fn first(&self, limit: Option<Duration>) -> Result<Option<First>, Error> {
        self.exchange.first(self.id, limit)
    }

    fn cancel(&self) -> Result<(), Error> {
        let packet = encode::cancel(self.id)?;
        self.exchange.send(&packet.text, &packet.fds)
    }

    fn take(&mut self) -> Self {
        Self { id: std::mem::take(&mut self.id), exchange: Arc::clone(&self.exchange) }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.exchange.forget(self.id);
    }
}

/// An answer that does not open, define or list anything.
pub(super) fn no_answer_to(answer: Option<First>) -> Error {
    match answer {
        Some(First::Refused(refused)) => refused.into(),
        Some(First::Failed(failed)) => Error::Failed(failed),
        Some(First::DescriptorsTruncated) => Error::DescriptorsTruncated,
        _ => Error::Protocol("an answer to another kind of request".into()),
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("id", &self.request.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("id", &self.request.id).finish_non_exhaustive()
    }
}
