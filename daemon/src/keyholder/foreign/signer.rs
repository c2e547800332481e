//! One signer: a call from the question to a signature that verifies, or the reason.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::NotSigned;
use super::backoff::{Admission, Backoff, Trouble};
use super::opener::{Opener, Shut};
use super::pool::Pool;
use crate::io::agent::wire::{
    About, Answer, Extension, How, Reason, Reply, Request, WireError, how, signature_to_tls, spki_of_blob,
};
use crate::io::agent::{Stream, StreamError};
use crate::tls::PublicKey;

/// One signer of the configuration, whether it is there or not.
#[derive(Debug)]
pub(super) struct Signer {
    name: String,
    about: Mutex<About>,
    opener: Arc<dyn Opener>,
    pool: Pool,
    backoff: Mutex<Backoff>,
}

/// What came of one call.
enum Outcome {
    /// An answer, and a good one.
    Signed(Vec<u8>),
    /// An answer: no. Why, for the log.
    Refused(Reason, String),
    /// No answer. Why, for the log.
    Trouble(Trouble, String),
}

/// What is asked, in all the forms that it is needed in.
struct Ask<'a> {
    blob: &'a [u8],
    public: PublicKey,
    scheme: u16,
    message: &'a [u8],
    how: How,
}

impl Signer {
    pub(super) fn new(name: String, about: About, opener: Arc<dyn Opener>) -> Self {
        let signer =
            Self { name, about: Mutex::new(about), opener, pool: Pool::default(), backoff: Mutex::default() };
        signer.pool.begin(about.epoch);
        signer
    }

    /// What the configuration says now. If that is news, what went wrong with it before is forgotten.
    pub(super) fn update(&self, about: About) {
        let before = std::mem::replace(&mut *lock(&self.about), about);
        if before.epoch != about.epoch {
            self.pool.begin(about.epoch);
            *lock(&self.backoff) = Backoff::default();
        }
    }

    pub(super) fn sign(&self, blob: &[u8], scheme: u16, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let about = *lock(&self.about);
        let unsupported =
            || self.not(Reason::Unsupported, format!("signature scheme {scheme:#06x} is not one of its key"));
        let how = how(scheme).filter(|how| about.token || *how != How::RsaPss).ok_or_else(unsupported)?;
        let public = spki_of_blob(blob).ok().and_then(|spki| PublicKey::from_spki_der(&spki).ok());
        let public = public.filter(|public| public.schemes().contains(&scheme)).ok_or_else(unsupported)?;
        let now = Instant::now();
        if let Admission::No(trouble, left) = lock(&self.backoff).poll(now) {
            return Err(self.paused(trouble, left));
        }
        let deadline = now + Duration::from_millis(about.deadline_ms.into());
        let outcome = self.call(&Ask { blob, public, scheme, message, how }, about.token, deadline);
        match outcome {
            Outcome::Signed(signature) => {
                self.answered();
                Ok(signature)
            }
            Outcome::Refused(reason, why) => {
                self.answered();
                Err(self.not(reason, why))
            }
            Outcome::Trouble(trouble, why) => Err(self.in_trouble(trouble, why)),
        }
    }

    fn call(&self, ask: &Ask<'_>, token: bool, deadline: Instant) -> Outcome {
        let Some((lent, mut there)) = self.pool.take(deadline) else {
            return Outcome::Trouble(Trouble::Slow, "all its connections are busy".to_owned());
        };
        loop {
            let again = there.is_some();
            let mut stream = match there.take().map_or_else(|| self.open(deadline), Ok) {
                Ok(stream) => stream,
                Err(outcome) => return outcome,
            };
            let (outcome, reuse) = match ask.put(&mut stream, token, deadline) {
                Ok(done) => done,
                // It was restarted since this connection was used last, or said more than it was asked: no trouble yet.
                Err(StreamError::Gone | StreamError::Wire(WireError::Trailing(_))) if again => continue,
                // What comes late on a connection would be taken for the next answer: it is closed.
                Err(StreamError::Late) => {
                    (Outcome::Trouble(Trouble::Slow, "it did not answer in time".to_owned()), false)
                }
                Err(StreamError::Gone) => {
                    (Outcome::Trouble(Trouble::Away, "it closed the connection".to_owned()), false)
                }
                Err(error) => (Outcome::Trouble(Trouble::Away, error.to_string()), false),
            };
            if reuse {
                lent.give_back(stream);
            }
            return outcome;
        }
    }

    fn open(&self, deadline: Instant) -> Result<Stream, Outcome> {
        match self.opener.open(&self.name, deadline) {
            Ok(fd) => Ok(Stream::new(fd)),
            Err(Shut::Away(why)) => Err(Outcome::Trouble(Trouble::Away, why)),
            Err(Shut::Slow) => {
                Err(Outcome::Trouble(Trouble::Slow, "it accepted no connection in time".to_owned()))
            }
        }
    }

    fn answered(&self) {
        if lock(&self.backoff).handle_answer() {
            tracing::info!(signer = self.name, "the signer answers again");
        }
    }

    fn in_trouble(&self, trouble: Trouble, why: String) -> NotSigned {
        if let Some(wait) = lock(&self.backoff).handle_trouble(trouble, Instant::now()) {
            let wait = wait.as_secs();
            tracing::warn!(signer = self.name, why, "the signer fails, and is not asked for {wait} s");
        }
        self.not(reason(trouble), why)
    }

    fn paused(&self, trouble: Trouble, left: Duration) -> NotSigned {
        let what = match trouble {
            Trouble::Away => "it could not be reached",
            Trouble::Slow => "it did not answer in time",
        };
        self.not(reason(trouble), format!("{what}, and is tried again in {:.1} s", left.as_secs_f32()))
    }

    fn not(&self, reason: Reason, why: String) -> NotSigned {
        NotSigned { reason, text: format!("signer \"{}\": {why}", self.name) }
    }
}

impl Ask<'_> {
    /// Asks on this connection. With the outcome comes whether the connection can be used again.
    fn put(
        &self,
        stream: &mut Stream,
        token: bool,
        deadline: Instant,
    ) -> Result<(Outcome, bool), StreamError> {
        let Self { blob, message, scheme, .. } = *self;
        let request = match self.how {
            How::Request { flags } => Request::Sign { blob, data: message, flags },
            How::RsaPss => Request::Extension(Extension::RsaPss { blob, scheme, message }),
        };
        let answer = stream.ask(&request.framed()?, &[], deadline)?;
        let signature = match (Answer::parse(&answer)?, self.how) {
            (Answer::Signature(signature), How::Request { .. }) => signature_to_tls(scheme, blob, signature),
            (Answer::Extension(Reply::RsaPss(signature)), How::RsaPss) => Ok(signature.to_vec()),
            (Answer::Failure | Answer::ExtensionFailure, _) if token => {
                return why(stream, deadline).map(|refused| (refused, true));
            }
            (Answer::Failure | Answer::ExtensionFailure, _) => {
                let refused = "it refused to sign".to_owned();
                return Ok((Outcome::Refused(Reason::SignerRefused, refused), true));
            }
            _ => {
                let nonsense = "it answered something else than was asked".to_owned();
                return Ok((Outcome::Trouble(Trouble::Away, nonsense), false));
            }
        };
        // The connection of who answers wrongly may be out of step: it is not used again.
        Ok(match signature {
            Ok(signature) if self.public.verifies(scheme, message, &signature) => {
                (Outcome::Signed(signature), true)
            }
            Ok(_) => {
                let wrong = "its signature is not one by this key of what was to be signed".to_owned();
                (Outcome::Refused(Reason::SignerRefused, wrong), false)
            }
            Err(error) => (Outcome::Refused(Reason::SignerRefused, format!("its signature: {error}")), false),
        })
    }
}

/// Our own processes with tokens say why they refuse. One whose token is away is as good as away itself, but for the
/// waiting: it decides itself when it tries again.
fn why(stream: &mut Stream, deadline: Instant) -> Result<Outcome, StreamError> {
    let request = Request::Extension(Extension::LastFailure).framed()?;
    let answer = stream.ask(&request, &[], deadline)?;
    Ok(match Answer::parse(&answer)? {
        Answer::Extension(Reply::LastFailure(failure)) => {
            let reason = match failure.reason {
                reason @ (Reason::SignerAway | Reason::PinRefused) => reason,
                _ => Reason::SignerRefused,
            };
            Outcome::Refused(reason, failure.text.to_owned())
        }
        _ => Outcome::Refused(Reason::SignerRefused, "it refused to sign".to_owned()),
    })
}

fn reason(trouble: Trouble) -> Reason {
    match trouble {
        Trouble::Away => Reason::SignerAway,
        Trouble::Slow => Reason::SignerSlow,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
