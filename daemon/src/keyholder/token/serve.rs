//! One connection of the keyholder: requests in, answers out, one after the other.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::desk::{Desk, Seat, Wanted};
use super::module::Token;
use super::policy::Trouble;
use crate::io::agent::Stream;
use crate::io::agent::wire::{Answer, Extension, Failure, Listed, Reason, Reply, Request, WireError};

/// Connections at once. The keyholder has half as many; the rest are those that it gave up, whose threads hang in the
/// module still.
const MOST: usize = 16;
/// From the first byte of a request to its last, and for an answer to be taken. The keyholder does both at once.
const PACE: Duration = Duration::from_secs(5);

/// The threads by their numbers, and since when each is with the module. A clone is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Threads(Arc<Mutex<HashMap<u64, Option<Instant>>>>);

/// One thread's place among them.
struct Place {
    threads: Threads,
    number: u64,
}

impl Threads {
    /// Serves a connection on a thread of its own. With too many it is closed: for the keyholder, the signer is away.
    pub(super) fn serve<T: Token + 'static>(&self, desk: Arc<Desk<T>>, connection: OwnedFd)
    where
        T::Session: 'static,
    {
        let mut all = self.lock();
        if all.len() >= MOST {
            tracing::warn!("the module is busy with {MOST} calls, no more are taken");
            return;
        }
        let number = all.keys().max().map_or(0, |last| last + 1);
        all.insert(number, None);
        drop(all);
        let place = Place { threads: self.clone(), number };
        let begun = std::thread::Builder::new().name(format!("token-{number}"));
        let begun = begun.spawn(move || converse(&desk, &place, Stream::new(connection)));
        if let Err(error) = begun {
            tracing::warn!(%error, "cannot start a thread for the module");
        }
    }

    /// Whether the module has kept a thread for longer than this.
    pub(super) fn stuck(&self, longest: Duration, now: Instant) -> bool {
        self.lock().values().flatten().any(|since| now.saturating_duration_since(*since) > longest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Option<Instant>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn with_the_module<R>(&self, call: impl FnOnce() -> R) -> R {
        self.threads.lock().insert(self.number, Some(Instant::now()));
        let result = call();
        self.threads.lock().insert(self.number, None);
        result
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.threads.lock().remove(&self.number);
    }
}

fn converse<T: Token>(desk: &Desk<T>, place: &Place, mut stream: Stream) {
    let mut seat = Seat::default();
    let mut last: Option<Trouble> = None;
    // Whatever ends the connection ends it for the keyholder as well, which makes another.
    while let Ok((request, _)) = stream.receive(None, PACE) {
        let answer = place.with_the_module(|| answer(desk, &mut seat, &mut last, &request));
        let Ok(answer) = answer else { break };
        if stream.send(&answer, &[], Some(Instant::now() + PACE)).is_err() {
            break;
        }
    }
    place.with_the_module(|| desk.leave(seat));
}

fn answer<T: Token>(
    desk: &Desk<T>,
    seat: &mut Seat<T::Session>,
    last: &mut Option<Trouble>,
    request: &[u8],
) -> Result<zeroize::Zeroizing<Vec<u8>>, WireError> {
    let refused = |trouble: Trouble, last: &mut Option<Trouble>| {
        *last = Some(trouble);
        Answer::Failure.framed()
    };
    match Request::parse(request)? {
        Request::Identities => match desk.keys(seat) {
            Ok(keys) => {
                let listed = keys.iter().map(|key| Listed { blob: &key.blob, comment: &key.label });
                Answer::Identities(listed.collect()).framed()
            }
            Err(trouble) => refused(trouble, last),
        },
        Request::Sign { blob, data, flags } => match desk.sign(seat, blob, Wanted::Ssh(flags), data) {
            Ok(signature) => Answer::Signature(&signature).framed(),
            Err(trouble) => refused(trouble, last),
        },
        Request::Extension(Extension::RsaPss { blob, scheme, message }) => {
            match desk.sign(seat, blob, Wanted::Pss(scheme), message) {
                Ok(signature) => Answer::Extension(Reply::RsaPss(&signature)).framed(),
                Err(trouble) => refused(trouble, last),
            }
        }
        Request::Extension(Extension::LastFailure) => {
            let (reason, text) = match &last {
                None => (Reason::None, String::new()),
                Some(Trouble::Device(why)) => (Reason::SignerAway, why.clone()),
                Some(Trouble::Pin(why)) => (Reason::PinRefused, why.clone()),
                Some(Trouble::Refused(why)) => (Reason::SignerRefused, why.clone()),
            };
            Answer::Extension(Reply::LastFailure(Failure { reason, signer: "", text: &text })).framed()
        }
        _ => refused(Trouble::Refused("that is not done here".to_owned()), last),
    }
}
