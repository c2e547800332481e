//! A worker's side: asks the supervisor, and the dialer that the supervisor has started for it.

use std::ffi::OsString;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tlsify_protocol::{Code, MAX_CA_FILE};
use tokio::time::{Instant as LoopInstant, sleep, timeout, timeout_at};

use super::questions::{
    CacheAnswer, Contents, DialNews, DialQuestion, DialerAnswer, Executable, FolderTrouble, PoolAnswer,
    PoolNews, Question,
};
use super::{Pool, Suffixes, folder};
use crate::config::CachePlace;
use crate::io::between::{Asker, ChannelError, Pending};
use crate::io::dial::{Destination, Dial, Dialed, State, Unconnected};
use crate::io::handoff::{DescriptorError, read_regular};
use crate::tls::Failure;

/// How long past its deadline, or past a stop, the dialer is waited for: a message between two processes takes microseconds. One that
/// takes this long is stopped, or in somebody else's hands.
const GRACE: Duration = Duration::from_secs(2);

/// How often a question is tried again that finds no room: so many wait then that this is no time.
const NO_ROOM: Duration = Duration::from_millis(1);

/// Files of a folder, packed: as many bytes, and a length for each of the 1024.
const MAX_PACKED: usize = MAX_CA_FILE + 4 * 1024;

/// Asks others. One for all threads of a worker's process.
#[derive(Debug)]
pub struct Asking {
    supervisor: Asker,
    /// Of the last dialer, which may be gone.
    dialer: Mutex<Option<Arc<Asker>>>,
    /// Held while one is waited for, so that one task asks for all.
    opening: tokio::sync::Mutex<()>,
}

impl Asking {
    /// By this way to the supervisor, who answers with [`super::answer`].
    #[must_use]
    pub fn new(supervisor: Asker) -> Self {
        Self { supervisor, dialer: Mutex::default(), opening: tokio::sync::Mutex::default() }
    }

    /// As [`super::Outside::folder`].
    pub(super) fn folder(
        &self,
        folder: &OwnedFd,
        which: Suffixes,
        control: BorrowedFd<'_>,
    ) -> Result<Vec<Vec<u8>>, DescriptorError> {
        let lost = |error: ChannelError| DescriptorError::Unusable(io::Error::other(error));
        let asked = self.ask::<Contents>(&Question::Folder(which), &[folder.as_fd(), control]);
        let (contents, fds) = asked.map_err(lost)?.wait(None).map_err(lost)?;
        contents?;
        let packed = fds.first().ok_or_else(|| lost(ChannelError::Nonsense))?;
        let packed = read_regular(packed, MAX_PACKED)?;
        folder::unpack(&packed).ok_or_else(|| FolderTrouble::Other.into())
    }

    /// As [`super::Outside::system_pool`].
    pub(super) fn system_pool(&self, have: Option<u64>) -> Result<Option<Pool>, String> {
        let lost = |error: ChannelError| format!("asking for the system's CA certificates: {error}");
        let asked = self.ask::<PoolAnswer>(&Question::SystemPool { have }, &[]);
        let (answer, fds) = asked.map_err(lost)?.wait(None).map_err(lost)?;
        match (answer?, fds.into_iter().next()) {
            (PoolNews::Unchanged, _) => Ok(None),
            (PoolNews::New(generation), Some(ders)) => Ok(Some(Pool { generation, ders })),
            (PoolNews::New(_), None) => Err(lost(ChannelError::Nonsense)),
        }
    }

    /// As [`super::Outside::executable`].
    pub(super) fn executable(&self, process: BorrowedFd<'_>) -> io::Result<PathBuf> {
        let asked = self.ask::<Executable>(&Question::Executable, &[process]).map_err(io::Error::other)?;
        let path = asked.wait(None).map_err(io::Error::other)?.0.map_err(io::Error::from_raw_os_error)?;
        Ok(OsString::from_vec(path).into())
    }

    /// Asks the supervisor, from a thread that may wait until there is room.
    fn ask<A>(&self, question: &Question, fds: &[BorrowedFd<'_>]) -> Result<Pending<A>, ChannelError> {
        loop {
            match self.supervisor.ask(question, fds) {
                Err(ChannelError::Late) => std::thread::sleep(NO_ROOM),
                asked => return asked,
            }
        }
    }

    /// As [`super::Outside::dial`].
    pub(super) async fn dial<S>(
        &self,
        dial: Dial,
        uid: u32,
        state: &State,
        stop: impl Future<Output = S>,
    ) -> Result<Result<Dialed, Failure>, S> {
        tokio::pin!(stop);
        let asked = tokio::select! {
            biased;
            stopped = &mut stop => return Err(stopped),
            asked = self.begin(&dial, uid) => asked,
        };
        let pending = match asked {
            Ok(pending) => pending,
            Err(failure) => return Ok(Err(failure)),
        };
        if dial.begins_at_once() {
            state.begun();
        }
        let limit = LoopInstant::from_std(dial.deadline + GRACE);
        let named = !matches!(dial.to, Destination::Address(_));
        let last = tokio::select! {
            biased;
            stopped = &mut stop => {
                pending.stop();
                // Until the sockets are the caller's again.
                if timeout(GRACE, last_word(&pending, state)).await.is_err() {
                    // It has them still, and may do anything with them.
                    state.begun();
                }
                return Err(stopped);
            }
            last = timeout_at(limit, last_word(&pending, state)) => last,
        };
        Ok(match last {
            Ok(Ok(DialNews::Connected { socket, to })) => won(dial.sockets, socket, to),
            Ok(Ok(DialNews::Failed(told))) => Err(told.failure()),
            // Nobody has asked it to stop.
            Ok(Ok(DialNews::Begun | DialNews::Stopped)) => Err(lost(&ChannelError::Nonsense, named, state)),
            Ok(Err(error)) => {
                // It dies, and its desk may be the last of it to go: what is asked there now would be lost.
                *self.dialer.lock().unwrap_or_else(PoisonError::into_inner) = None;
                Err(lost(&error, named, state))
            }
            Err(_) => {
                let failure = lost(&ChannelError::Late, named, state);
                state.begun();
                Err(failure)
            }
        })
    }

    async fn begin(&self, dial: &Dial, uid: u32) -> Result<Pending<DialNews>, Failure> {
        let question = DialQuestion::Connect {
            to: dial.to.clone(),
            fast_open: dial.sockets.fast_open(),
            within: dial.deadline.saturating_duration_since(Instant::now()),
            uid,
        };
        self.ask_dialer(&question, &dial.sockets.borrowed(), dial.deadline).await.map_err(|why| {
            let named = !matches!(dial.to, Destination::Address(_));
            let code = if named { Code::NameLookupFailed } else { Code::Internal };
            ours(code, format!("cannot connect to {}: {why}", dial.to))
        })
    }

    /// As [`super::Outside::connect_cache`].
    pub(super) async fn connect_cache(&self, place: &CachePlace, uid: u32) -> Result<OwnedFd, String> {
        // Whoever asks gives up sooner.
        let deadline = Instant::now() + GRACE;
        let (pending, lost): (Pending<CacheAnswer>, fn(&ChannelError) -> String) = match place {
            // Who may reach a path of this host is between the operator and the user that the daemon was started as, which the
            // dialer is not.
            CachePlace::Path(path) => {
                let lost = |error: &ChannelError| format!("the supervisor cannot be asked: {error}");
                let asked = put(&self.supervisor, &Question::Cache(path.clone()), &[], deadline).await;
                (asked.map_err(|error| lost(&error))?, lost)
            }
            place => {
                let question = DialQuestion::Cache { place: place.clone(), uid };
                (self.ask_dialer(&question, &[], deadline).await?, away)
            }
        };
        let (answer, fds) = pending.answered().await.map_err(|error| lost(&error))?;
        answer.map_err(|text| super::questions::short(&text))?;
        fds.into_iter().next().ok_or_else(|| lost(&ChannelError::Nonsense))
    }

    /// Asks the dialer: the one that is known, or when that is gone another.
    async fn ask_dialer<A>(
        &self,
        question: &impl Serialize,
        fds: &[BorrowedFd<'_>],
        deadline: Instant,
    ) -> Result<Pending<A>, String> {
        let mut another = true;
        loop {
            let dialer = self.dialer(deadline).await?;
            match put(&dialer, question, fds, deadline).await {
                Ok(pending) => return Ok(pending),
                Err(ChannelError::Gone) if another => {
                    another = false;
                    self.forget(&dialer);
                }
                Err(error) => return Err(away(&error)),
            }
        }
    }

    async fn dialer(&self, deadline: Instant) -> Result<Arc<Asker>, String> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let _turn = self.opening.lock().await;
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let open = async {
            let (answer, fds) =
                self.supervisor.ask::<DialerAnswer>(&Question::Dialer, &[])?.answered().await?;
            Ok::<_, ChannelError>(match answer {
                Ok(()) => Ok(Asker::new(fds.into_iter().next().ok_or(ChannelError::Nonsense)?)?),
                Err(text) => Err(text),
            })
        };
        let opened = timeout_at(LoopInstant::from_std(deadline), open).await;
        let dialer = Arc::new(opened.unwrap_or(Err(ChannelError::Late)).map_err(|error| away(&error))??);
        *self.dialer.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&dialer));
        Ok(dialer)
    }

    fn known(&self) -> Option<Arc<Asker>> {
        self.dialer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets one that is gone, if nobody has another already.
    fn forget(&self, gone: &Arc<Asker>) {
        let mut known = self.dialer.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, gone)) {
            *known = None;
        }
    }
}

/// Asks, as soon as there is room for the question.
async fn put<A>(
    whom: &Asker,
    question: &impl Serialize,
    fds: &[BorrowedFd<'_>],
    deadline: Instant,
) -> Result<Pending<A>, ChannelError> {
    loop {
        match whom.ask(question, fds) {
            Err(ChannelError::Late) if Instant::now() < deadline => sleep(NO_ROOM).await,
            asked => return asked,
        }
    }
}

/// What the dialer says at last; `state` follows what it says before.
async fn last_word(pending: &Pending<DialNews>, state: &State) -> Result<DialNews, ChannelError> {
    loop {
        match pending.heard().await?.0 {
            DialNews::Begun => state.begun(),
            last => return Ok(last),
        }
    }
}

/// The socket that has won, which we still have: the dialer had a copy.
fn won(mut sockets: Unconnected, socket: u8, to: std::net::SocketAddr) -> Result<Dialed, Failure> {
    let socket = usize::from(socket);
    if socket >= sockets.count() {
        return Err(ours(Code::Internal, away(&ChannelError::Nonsense)));
    }
    let lost = || Failure::internal("the socket that was connected is still in use".to_owned());
    Dialed::of(sockets.take(socket).ok_or_else(lost)?, to)
}

/// The dialer has no last word. What is not begun when it dies has come to nothing in the look-up.
fn lost(error: &ChannelError, named: bool, state: &State) -> Failure {
    let looking = named && state.socket() == tlsify_protocol::Socket::Untouched;
    let (code, doing) = if looking {
        (Code::NameLookupFailed, "looking the name up")
    } else {
        (Code::Internal, "connecting the socket")
    };
    ours(code, format!("{doing}: {}", away(error)))
}

fn away(error: &ChannelError) -> String {
    match error {
        ChannelError::Gone => "the dialer ended meanwhile, try again".to_owned(),
        error => format!("the dialer cannot be asked: {error}"),
    }
}

/// A failure of our own.
fn ours(code: Code, text: String) -> Failure {
    Failure { code, blame: tlsify_protocol::Blame::Daemon, text, alert: None }
}
