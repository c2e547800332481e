//! The supervisor's side: what a worker asks is looked at as a stranger's question, and answered on a thread that may wait.
//!
//! What a worker gains that was taken over: it has the descriptors that callers gave it, and can have read what those lead to.
//! A folder is opened beneath the descriptor that it sends, and only what the caller could read counts whose control
//! connection it sends along: who that is, the kernel says (SO_PEERCRED), and not the worker. So it can put the folder of one
//! caller and the connection of another together, and learn what is in files with these endings that the second one may read
//! there; where the second one is root, any such file in a folder that somebody has opened for it. Private keys are
//! cut out of what is read, whoever asks. A pair of sockets of its own says its own uid, which owns nothing.
//! A path of a program it learns for each pidfd that it has, a connection to the dialer is what it is for, and of the host's
//! Unix sockets it can have connected the caches that the operator named, and no others.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::net::SocketType;
use rustix::net::sockopt::{socket_domain, socket_type};

use super::questions::{
    CacheAnswer, Contents, DialerAnswer, Executable, FolderTrouble, PoolAnswer, PoolNews, Question,
};
use super::turns::{Job, Turns, Whose};
use super::{Pool, Suffixes, folder, itself};
use crate::io::between::{Asked, ChannelError, Desk, Reply};
use crate::io::sealed_memfd;
use crate::policy::CallerCred;

/// What an answering process has that this folder does not know of.
pub trait Host: Send + Sync + 'static {
    /// The system's CA pool, if it is not of this generation any more. May wait for files.
    ///
    /// # Errors
    /// A sentence for callers: there is none.
    fn system_pool(&self, have: Option<u64>) -> Result<Option<Pool>, String>;

    /// A way to the dialer for one worker: the end for its [`crate::io::between::Asker`]. Starts one if there is none.
    ///
    /// # Errors
    /// The system's: there is none to be had.
    fn dialer(&self) -> io::Result<OwnedFd>;

    /// A connection to the cache at this path: a stream socket that does not block. The path is the worker's word, and is to be
    /// one that the operator named before anything is done with it.
    ///
    /// # Errors
    /// A sentence for the log.
    fn cache(&self, path: &Path) -> Result<OwnedFd, String>;
}

/// Answers a worker's questions until it is gone. This thread waits for nothing else: what takes long is done on others, as many
/// as `Turns` lets run, whose answers nobody waits for that did not ask.
///
/// # Errors
/// What the worker says is no question, or there is nothing to answer with. It is then not to be believed, or not to be helped.
pub fn answer(desk: &Desk, host: &Arc<dyn Host>) -> Result<(), ChannelError> {
    static DESKS: AtomicU64 = AtomicU64::new(0);
    let turns = Turns::of_process();
    let own = Whose::Desk(DESKS.fetch_add(1, Ordering::Relaxed));
    loop {
        match desk.wait::<Question>() {
            Ok(asked) => take(asked, own, host, &turns),
            Err(ChannelError::Gone) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// One question: to a thread, or answered here when it takes no time.
fn take(asked: Asked<Question>, own: Whose, host: &Arc<dyn Host>, turns: &Arc<Turns>) {
    let Asked { question, fds, reply } = asked;
    let mut fds = fds.into_iter();
    match question {
        Question::Folder(which) => match (fds.next(), fds.next()) {
            (Some(directory), Some(control)) => read_folder(directory, which, control, reply, turns),
            _ => refuse_folder(reply, FolderTrouble::System(Errno::BADF.raw_os_error())),
        },
        Question::SystemPool { have } => {
            let host = Arc::clone(host);
            let job = move |reply: Reply| say_pool(reply, host.system_pool(have));
            // One at a time looks anyway, and the host's own files are nobody's to keep from answering.
            turns.run(Job::new(own, reply, job), busy_elsewhere);
        }
        Question::Executable => {
            let path = fds.next().ok_or(Errno::BADF.into()).and_then(|fd| itself::executable(fd.as_fd()));
            let told: Executable = path
                .map(|path| path.as_os_str().as_bytes().to_vec())
                .map_err(|error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error()));
            // Given up: nobody's fault, here and below.
            let _ = reply.answer(&told, &[]);
        }
        Question::Dialer => {
            let host = Arc::clone(host);
            turns.run(Job::new(own, reply, move |reply| say_dialer(reply, host.dialer())), busy_elsewhere);
        }
        Question::Cache(path) => {
            let host = Arc::clone(host);
            // Finding a path can take as long as its file system likes.
            turns.run(Job::new(own, reply, move |reply| say_cache(reply, host.cache(&path))), busy_elsewhere);
        }
    }
}

fn read_folder(directory: OwnedFd, which: Suffixes, control: OwnedFd, reply: Reply, turns: &Arc<Turns>) {
    let cred = match credentials(&control) {
        Ok(cred) => cred,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(Errno::INVAL.raw_os_error());
            return refuse_folder(reply, FolderTrouble::System(errno));
        }
    };
    // Not held while a folder hangs: its caller would seem to be there still.
    drop(control);
    let uid = cred.uid;
    let job = move |reply| say_folder(reply, folder::read(&directory, which, &cred));
    turns.run(Job::new(Whose::User(uid), reply, job), |reply| refuse_folder(reply, FolderTrouble::Busy));
}

/// Who is at the other end of what should be a control connection, in the kernel's words.
fn credentials(control: &OwnedFd) -> io::Result<CallerCred> {
    let is_control = socket_domain(control)? == rustix::net::AddressFamily::UNIX
        && socket_type(control)? == SocketType::SEQPACKET;
    if is_control { crate::io::credentials(control) } else { Err(Errno::INVAL.into()) }
}

fn say_folder(reply: Reply, read: Result<Vec<Vec<u8>>, crate::io::DescriptorError>) {
    let packed = read.map_err(FolderTrouble::from).and_then(|files| {
        sealed_memfd("folder", &folder::pack(&files))
            .map_err(|error| error.raw_os_error().map_or(FolderTrouble::Other, FolderTrouble::System))
    });
    let _ = match packed {
        Ok(packed) => reply.answer(&Contents::Ok(()), &[packed.as_fd()]),
        Err(trouble) => reply.answer(&Contents::Err(trouble), &[]),
    };
}

fn refuse_folder(reply: Reply, trouble: FolderTrouble) {
    let _ = reply.answer(&Contents::Err(trouble), &[]);
}

fn say_pool(reply: Reply, pool: Result<Option<Pool>, String>) {
    let _ = match pool {
        Ok(Some(Pool { generation, ders })) => {
            reply.answer(&PoolAnswer::Ok(PoolNews::New(generation)), &[ders.as_fd()])
        }
        Ok(None) => reply.answer(&PoolAnswer::Ok(PoolNews::Unchanged), &[]),
        Err(text) => reply.answer(&PoolAnswer::Err(text), &[]),
    };
}

fn say_dialer(reply: Reply, dialer: io::Result<OwnedFd>) {
    let _ = match dialer {
        Ok(way) => reply.answer(&DialerAnswer::Ok(()), &[way.as_fd()]),
        Err(error) => reply.answer(&DialerAnswer::Err(format!("the dialer cannot be started: {error}")), &[]),
    };
}

fn say_cache(reply: Reply, connected: Result<OwnedFd, String>) {
    let _ = match connected {
        Ok(socket) => reply.answer(&CacheAnswer::Ok(()), &[socket.as_fd()]),
        Err(text) => reply.answer(&CacheAnswer::Err(text), &[]),
    };
}

/// A worker that asks for these so often has no need of an answer: its end of the question hears that there is none.
fn busy_elsewhere(reply: Reply) {
    drop(reply);
}

/// Answers on a thread of its own, of this name. How it ended is the supervisor's to hear from the worker's own end.
///
/// # Errors
/// The system's: no thread.
pub fn answer_beside(desk: Desk, host: Arc<dyn Host>) -> io::Result<()> {
    let work = move || {
        if let Err(error) = answer(&desk, &host) {
            tracing::error!("a worker asks for what cannot be: {error}; it gets no more answers");
        }
    };
    thread::Builder::new().name("outside".to_owned()).spawn(work).map(drop)
}

#[cfg(test)]
#[path = "answering_tests.rs"]
mod tests;
