//! The keyholder as the process sees it that asks it for signatures.
//!
//! ```text
//!  thread of a worker ──its own line──▶ ┐                     our keys: asked where the loop is, one call to ask and one
//!  thread beside the loop ──a line──▶   ├─▶ keyholder         to hear; somebody else's: beside it
//!  the door: a new line for who has none┘
//! ```
//!
//! What a signature costs more than in the process: two system calls here and two there, and two switches between the
//! processes: 4 us of an idle core, 10 to 20 us with what the caches lose by it. Of a full handshake through the daemon, all
//! on one core, that was 1 to 4 % of the CPU time with TLS 1.3, 2 to 8 % with TLS 1.2 (ECDSA P-256).
//!
//! A line is a connection that speaks the agent protocol. When it breaks, another is made through the door, once: the
//! keyholder closes none without a reason. A keyholder that was started again has another door ([`Keyholder::replace_door`]).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::sched_getcpu;
use zeroize::Zeroizing;

use super::keys::{Foreign, Own, Signer};
use super::wire::{Answer, Extension, Failure, Knock, Reason, Reply, Request, WireError, blob_of_spki};
use super::{Stream, StreamError};
use crate::io::between::Channel;
use crate::tls::{IdentityError, PrivateKey, PublicKey, Uses};

/// How long our own keyholder may take. It signs in microseconds; on a host that is out of memory or stopped, longer than
/// this would keep every session of the core waiting for one.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long it may take to read a caller's file, which may be on a slow file system. A thread beside the loop waits.
const READING: Duration = Duration::from_secs(30);
/// Lines for threads beside the loop that are kept when nobody uses them: definitions come one after the other, and a line
/// of its own costs the others a tenth of a millisecond.
const IDLE: usize = 1;

/// Who signs for the profiles of this process. Any thread may ask.
pub struct Keyholder {
    door: Mutex<Door>,
    /// Of the door, to be read without the lock.
    generation: AtomicU64,
    signers: Mutex<HashMap<Box<str>, Arc<Signer>>>,
    idle: Mutex<Vec<Line>>,
    forgets: Mutex<Forgets>,
}

struct Door {
    channel: Arc<Channel>,
    generation: u64,
}

/// A connection to the keyholder behind one door.
pub(super) struct Line {
    generation: u64,
    stream: Stream,
    /// The core that the keyholder was told this line's thread runs on.
    core: Option<usize>,
}

/// Keys that nobody uses any more, and of which the keyholder does not know that yet.
#[derive(Default)]
struct Forgets {
    waiting: Vec<(u64, u64)>,
    is_told: bool,
}

/// Why an answer is not the one that was wanted.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The keyholder is not there, or makes no sense.
    Away,
    /// No answer in time.
    Late,
    /// It does not do it.
    Refused { reason: Reason, signer: String, text: String },
}

/// Why the keyholder did not take a key.
#[derive(Debug)]
pub enum NotTaken {
    /// It does not answer.
    Away,
    /// It is locked.
    Locked,
    /// The file cannot be read; a sentence for the caller.
    Unreadable(String),
    /// It is no key, or none that is supported; a sentence for the caller.
    Invalid(String),
    /// There are too many keys.
    Full,
}

/// No two doors of this process have the same.
static GENERATION: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static LINE: RefCell<Option<Line>> = const { RefCell::new(None) };
    /// Whether this thread has a line of its own. Threads beside the loop come and go.
    static HAS_LINE: Cell<bool> = const { Cell::new(false) };
}

impl Line {
    /// Has this thread, which waits for its answers, be served on the core where it runs. Threads seldom move.
    /// An error is the end of the line.
    fn tell_core(&mut self, deadline: Instant) -> Result<(), StreamError> {
        // The C library's: rustix's looks for the kernel's page with a call that the sandbox does not allow.
        let Ok(here) = sched_getcpu() else { return Ok(()) };
        if self.core == Some(here) {
            return Ok(());
        }
        self.core = Some(here);
        let core = u32::try_from(here).unwrap_or(u32::MAX);
        let framed = Request::Extension(Extension::Core { core }).framed()?;
        // Whether it can be done is the keyholder's to know.
        self.stream.ask(&framed, &[], deadline).map(drop)
    }
}

impl Keyholder {
    /// Asks through this door.
    #[must_use]
    pub fn new(door: Channel) -> Arc<Self> {
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self {
            door: Mutex::new(Door { channel: Arc::new(door), generation }),
            generation: generation.into(),
            signers: Mutex::default(),
            idle: Mutex::default(),
            forgets: Mutex::default(),
        })
    }

    /// This thread will ask for many signatures: it has a line of its own from now on, where the keyholder is there. Without
    /// this, a thread takes one that nobody uses, or makes one, for each.
    pub fn settle_here(&self) {
        HAS_LINE.set(true);
        let deadline = Instant::now() + PATIENCE;
        // What goes wrong now goes wrong again with the first signature, and is told there.
        LINE.set(self.connect(true, deadline).ok());
        let mut idle = held(&self.idle);
        if idle.is_empty() {
            idle.extend(self.connect(false, deadline).ok());
        }
    }

    /// The keyholder was started again, and this is its door. What callers gave to the one before is gone with it: whose
    /// profile had such a key hears [`Unsigned::GivenForgotten`](crate::tls::Unsigned::GivenForgotten).
    pub fn replace_door(&self, door: Channel) {
        let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
        *held(&self.door) = Door { channel: Arc::new(door), generation };
        self.generation.store(generation, Ordering::Release);
        held(&self.idle).clear();
    }

    /// A key of the operator's that the keyholder has, or will have, under its public half.
    ///
    /// # Errors
    /// [`IdentityError::UnusableKey`]: of a kind that agents do not know.
    pub fn own(self: &Arc<Self>, public: PublicKey) -> Result<PrivateKey, IdentityError> {
        let blob = blob(&public)?;
        let signatory = Arc::new(Own { keyholder: Arc::clone(self), blob, given: None });
        Ok(PrivateKey::Away { public, signatory })
    }

    /// A key that somebody else's signer has: `signer` is its name in the configuration, `deadline` how long it may take.
    ///
    /// # Errors
    /// As [`Keyholder::own`].
    pub fn foreign(
        self: &Arc<Self>,
        public: PublicKey,
        signer: &str,
        deadline: Duration,
    ) -> Result<PrivateKey, IdentityError> {
        let blob = blob(&public)?;
        let mut signers = held(&self.signers);
        let known = signers.entry(signer.into()).or_insert_with(|| Signer::new(signer));
        known.set_deadline(deadline);
        let signatory = Arc::new(Foreign { keyholder: Arc::clone(self), blob, signer: Arc::clone(known) });
        Ok(PrivateKey::Away { public, signatory })
    }

    /// Hands a caller's key over by its file, which this process does not read. The keyholder forgets it when the last clone
    /// of what is returned goes, or the door closes. `purpose` says whose it is, for people. May wait for the file's disk.
    ///
    /// # Errors
    /// [`NotTaken`].
    pub fn add_descriptor(
        self: &Arc<Self>,
        fd: BorrowedFd<'_>,
        uses: Uses,
        purpose: &str,
    ) -> Result<PrivateKey, NotTaken> {
        let request = Request::Extension(Extension::AddDescriptor { uses, life: None, purpose });
        let generation = self.generation();
        let deadline = Instant::now() + READING;
        let (handle, blob, spki) = self
            .on_a_line(&request, &[fd], deadline, |answer| match answer {
                Answer::Extension(Reply::Added { handle, blob, spki }) => {
                    Some((handle, blob.to_vec(), spki.to_vec()))
                }
                _ => None,
            })
            .map_err(NotTaken::from)?;
        let given = Some((generation, handle));
        let signatory = Arc::new(Own { keyholder: Arc::clone(self), blob, given });
        let public = PublicKey::from_spki_der(&spki).map_err(|error| NotTaken::Invalid(error.to_string()))?;
        Ok(PrivateKey::Away { public, signatory })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks for a signature with a key of the keyholder's own: on this thread's line, if it has one.
    pub(super) fn on_own_line<T>(
        &self,
        request: &Request<'_>,
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, Trouble> {
        let deadline = Instant::now() + PATIENCE;
        if !HAS_LINE.get() {
            return self.on_a_line(request, &[], deadline, read);
        }
        LINE.with_borrow_mut(|line| {
            line.take_if(|line| line.tell_core(deadline).is_err());
            self.ask(line, true, request, &[], deadline, read)
        })
    }

    /// Asks on a line that nobody uses.
    pub(super) fn on_a_line<T>(
        &self,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, Trouble> {
        let mut line = held(&self.idle).pop();
        let result = self.ask(&mut line, false, request, fds, deadline, read);
        if let Some(line) = line {
            let mut idle = held(&self.idle);
            if idle.len() < IDLE {
                idle.push(line);
            }
        }
        result
    }

    /// The answer to a request. A line that is of no more use is dropped.
    fn ask<T>(
        &self,
        line: &mut Option<Line>,
        timed: bool,
        request: &Request<'_>,
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, Trouble> {
        let framed = request.framed().map_err(|_| Trouble::Away)?;
        let body = self.exchange(line, timed, &framed, fds, deadline)?;
        let answer = Answer::parse(&body);
        if matches!(answer, Ok(Answer::Failure | Answer::ExtensionFailure)) {
            return Err(self.why(line, deadline));
        }
        answer.ok().and_then(read).ok_or_else(|| {
            *line = None;
            Trouble::Away
        })
    }

    fn exchange(
        &self,
        line: &mut Option<Line>,
        timed: bool,
        framed: &[u8],
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<Zeroizing<Vec<u8>>, Trouble> {
        let generation = self.generation();
        let mut used = line.take().filter(|line| line.generation == generation);
        loop {
            let was_used = used.is_some();
            let mut asked = match used.take() {
                Some(used) => used,
                None => self.connect(timed, deadline)?,
            };
            match asked.stream.ask(framed, fds, deadline) {
                Ok(body) => {
                    *line = Some(asked);
                    return Ok(body);
                }
                // It was closed meanwhile: the keyholder has heard nothing of this request.
                Err(StreamError::Gone | StreamError::Io(_)) if was_used => {}
                Err(StreamError::Late) => return Err(Trouble::Late),
                Err(error) => {
                    tracing::debug!(%error, "asking the keyholder failed");
                    return Err(Trouble::Away);
                }
            }
        }
    }

    fn connect(&self, timed: bool, deadline: Instant) -> Result<Line, Trouble> {
        let (channel, generation) = {
            let door = held(&self.door);
            (Arc::clone(&door.channel), door.generation)
        };
        let made = Stream::pair().and_then(|(mut stream, theirs)| {
            if timed {
                stream.time(PATIENCE)?;
            }
            Ok((stream, theirs))
        });
        let (stream, theirs) = made.map_err(|error| {
            tracing::error!(%error, "no connection to the keyholder could be made");
            Trouble::Away
        })?;
        channel.send_by(&Knock::Connect, &[theirs.as_fd()], deadline).map_err(|error| {
            tracing::debug!(%error, "the keyholder's door is closed");
            Trouble::Away
        })?;
        Ok(Line { generation, stream, core: None })
    }

    /// Why the last request of this line was refused.
    fn why(&self, line: &mut Option<Line>, deadline: Instant) -> Trouble {
        let Some(asked) = line else { return Trouble::Away };
        let request = Request::Extension(Extension::LastFailure).framed();
        let body =
            request.map_err(StreamError::from).and_then(|framed| asked.stream.ask(&framed, &[], deadline));
        let why = body.as_deref().map(|body| match Answer::parse(body) {
            Ok(Answer::Extension(Reply::LastFailure(Failure { reason, signer, text }))) => {
                Some(Trouble::Refused { reason, signer: signer.to_owned(), text: text.to_owned() })
            }
            _ => None,
        });
        match why {
            Ok(Some(why)) => why,
            _ => {
                *line = None;
                Trouble::Away
            }
        }
    }

    /// Tells the keyholder that nobody uses this key any more; some time soon, on a thread of its own: who lets a profile
    /// go does not wait.
    pub(super) fn forget(self: &Arc<Self>, generation: u64, handle: u64) {
        let mut forgets = held(&self.forgets);
        forgets.waiting.push((generation, handle));
        if !forgets.is_told {
            let keyholder = Arc::clone(self);
            let told =
                thread::Builder::new().name("forget".to_owned()).spawn(move || keyholder.tell_forgets());
            // Without a thread to be had now, the next one's is for this one too.
            forgets.is_told = told.is_ok();
        }
    }

    fn tell_forgets(&self) {
        loop {
            let waiting = {
                let mut forgets = held(&self.forgets);
                let waiting = std::mem::take(&mut forgets.waiting);
                forgets.is_told = !waiting.is_empty();
                waiting
            };
            if waiting.is_empty() {
                return;
            }
            for (generation, handle) in waiting {
                if generation != self.generation() {
                    continue;
                }
                let request = Request::Extension(Extension::Forget { handle });
                let told = self.on_a_line(&request, &[], Instant::now() + PATIENCE, |answer| {
                    matches!(answer, Answer::Success).then_some(())
                });
                if let Err(error) = told {
                    // It holds it until this door closes.
                    tracing::warn!(?error, "the keyholder could not be told to forget a key");
                }
            }
        }
    }
}

impl From<Trouble> for NotTaken {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Away => Self::Away,
            Trouble::Late => Self::Unreadable("it could not be read in time".to_owned()),
            Trouble::Refused { reason, text, .. } => match reason {
                Reason::Locked => Self::Locked,
                Reason::Unreadable => Self::Unreadable(text),
                Reason::KeyInvalid => Self::Invalid(text),
                Reason::Full => Self::Full,
                _ => Self::Away,
            },
        }
    }
}

impl From<WireError> for Trouble {
    fn from(_: WireError) -> Self {
        Self::Away
    }
}

impl fmt::Debug for Keyholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyholder").field("generation", &self.generation).finish_non_exhaustive()
    }
}

fn blob(public: &PublicKey) -> Result<Vec<u8>, IdentityError> {
    blob_of_spki(&public.spki_der).map_err(|_| IdentityError::UnusableKey)
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole values are put in and taken out: a panic leaves none half way.
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "keyholder_tests.rs"]
mod tests;
