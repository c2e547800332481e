//! A part comes to be, and how its end shows.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::Signal;
use rustix::net::sockopt::{socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};
use tokio::io::Interest;
use tokio::sync::oneshot;

use super::Part;
use crate::io::between::Channel;
use crate::sys::{self, Forked};

/// What a part is to have of our environment. The rest is nobody's business but ours: what strangers can reach is not to
/// know the secrets of whoever started us.
const ENVIRONMENT: &[&str] = &[
    // How it tells of a bug, and how its log looks.
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "NO_COLOR",
    "TZ",
    // How this program is loaded and has its memory: what was needed to start us is needed again.
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    // Where the host's CA pool is.
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    // How names are looked up: resolver(5).
    "LOCALDOMAIN",
    "RES_OPTIONS",
    // What tests of a debug build have the parts try, and what their kernel is to lack.
    #[cfg(debug_assertions)]
    "TLSIFYD_TEST_ESCAPE",
    #[cfg(debug_assertions)]
    "TLSIFYD_TEST_KERNEL",
];

/// This program, also after a newer one was put in its place: all parts of a daemon are of one version.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// A part that was started.
#[derive(Debug)]
pub(crate) struct Running {
    /// Our end.
    pub(crate) channel: Arc<Channel>,
    pub(crate) life: Life,
}

/// A process, or the thread that stands for one. Dropped before its end, a process is killed: nothing of it is left.
#[derive(Debug)]
pub(crate) enum Life {
    /// A child of ours, and whether it was waited for.
    Process { pid: i32, pidfd: OwnedFd, over: bool },
    /// Ends when the thread does.
    Thread { ended: oneshot::Receiver<()> },
}

/// Starts a part in a process of its own, with a fresh image of this program. To be called on the thread that lives as long
/// as the daemon: the part ends with it.
///
/// # Errors
/// The system's: no /proc, no processes, memory or descriptors left.
pub(crate) fn spawn(part: Part) -> io::Result<Running> {
    spawn_as(part.title(), &BTreeMap::new())
}

/// The same for the token of the signer with this name, whose module also finds this in its environment.
///
/// # Errors
/// As [`spawn`].
pub(crate) fn spawn_token(name: &str, environment: &BTreeMap<String, String>) -> io::Result<Running> {
    spawn_as(&format!("{} {name}", Part::Token.title()), environment)
}

/// The same for the worker of this uid's callers.
///
/// # Errors
/// As [`spawn`].
pub(crate) fn spawn_worker_of(uid: u32) -> io::Result<Running> {
    spawn_as(&format!("{} {uid}", Part::Worker.title()), &BTreeMap::new())
}

fn spawn_as(title: &str, environment: &BTreeMap<String, String>) -> io::Result<Running> {
    let (channel, theirs) = Channel::pair()?;
    let mut command = Command::new(THIS_PROGRAM);
    command.arg0(title).env_clear().envs(environment);
    command.envs(ENVIRONMENT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    // The channel comes as standard input: that needs no number of its own, which something else could have by then.
    command.stdin(theirs).stdout(Stdio::null()).stderr(Stdio::inherit());
    let child = sys::spawn_part(&mut command)?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    Ok(Running { channel: Arc::new(channel), life: Life::of(pid)? })
}

/// Our end of the channel, in a process that [`spawn`] made. It is the first descriptor after the standard ones.
pub(super) fn own_end(part: Part) -> io::Result<OwnedFd> {
    let stdin = io::stdin();
    let fits =
        socket_domain(&stdin) == Ok(AddressFamily::UNIX) && socket_type(&stdin) == Ok(SocketType::SEQPACKET);
    if !fits {
        return Err(io::Error::other("this name is for a part of a daemon, which starts it itself"));
    }
    let channel = stdin.as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    name(part);
    Ok(channel)
}

/// Starts a part by a fork, in the image as it is: for a process with one thread that owns no descriptor but `ours`, which
/// stays with the supervisor. In the part everything else is closed, standard input and output lead nowhere, and what is in
/// our memory and environment is in its own too: the caller of a private daemon has started both.
///
/// # Errors
/// The system's, and that there are threads.
pub(crate) fn fork(part: Part, ours: OwnedFd) -> io::Result<Fork> {
    // No channel yet: when the part drops its copy of our end, that must not shut down the connection for both.
    let (channel, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    match sys::fork_part(theirs, vec![channel, ours])? {
        Forked::Parent(pid, mut fds) => {
            let (ours, channel) = (fds.pop(), fds.pop());
            let (Some(ours), Some(channel)) = (ours, channel) else {
                return Err(io::Error::other("descriptors were lost"));
            };
            Ok(Fork::Supervisor(
                Running { channel: Arc::new(Channel::new(channel)?), life: Life::of(pid)? },
                ours,
            ))
        }
        Forked::Child(theirs) => {
            name(part);
            let null = File::open("/dev/null")?;
            rustix::stdio::dup2_stdin(&null)?;
            rustix::stdio::dup2_stdout(&null)?;
            Ok(Fork::Part(theirs))
        }
    }
}

/// Which process this is after [`fork`].
#[derive(Debug)]
pub(crate) enum Fork {
    /// The one that was there before, the part, and the supervisor's descriptor.
    Supervisor(Running, OwnedFd),
    /// The part, and its end of the channel.
    Part(OwnedFd),
}

/// Runs a part on a thread of this process.
///
/// # Errors
/// The system's.
pub(crate) fn thread(part: Part, body: impl FnOnce(OwnedFd) + Send + 'static) -> io::Result<Running> {
    let (channel, theirs) = Channel::pair()?;
    let (alive, ended) = oneshot::channel();
    let threads = std::thread::Builder::new().name(part.comm().to_owned());
    // Whoever waits learns of the end by the channel alone, also of a panic.
    let _detached = threads.spawn(move || {
        let _alive: oneshot::Sender<()> = alive;
        body(theirs);
    })?;
    Ok(Running { channel: Arc::new(channel), life: Life::Thread { ended } })
}

fn name(part: Part) {
    if let Ok(name) = std::ffi::CString::new(part.comm()) {
        // It is for people who look.
        let _ = nix::sys::prctl::set_name(&name);
    }
}

impl Life {
    fn of(pid: i32) -> io::Result<Self> {
        let child = Pid::from_raw(pid).ok_or_else(|| io::Error::other("a process without a number"))?;
        // Nobody has waited for it, so the number is still its own.
        Ok(Self::Process { pid, pidfd: pidfd_open(child, PidfdFlags::empty())?, over: false })
    }

    /// Its process id; ours for a thread.
    pub(crate) fn pid(&self) -> i32 {
        match self {
            Self::Process { pid, .. } => *pid,
            Self::Thread { .. } => rustix::process::getpid().as_raw_pid(),
        }
    }

    /// Waits for the end. Dropping the future loses nothing.
    pub(crate) async fn ended(&mut self) -> Cause {
        match self {
            Self::Process { pidfd, over, .. } => {
                if let Ok(watched) = sys::watch(pidfd.as_fd(), Interest::READABLE) {
                    let _ = watched.readable().await;
                }
                *over = true;
                cause(waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))
            }
            Self::Thread { ended } => {
                let _ = ended.await;
                Cause::Status(0)
            }
        }
    }

    /// Another way to kill it, for whoever does not have this one.
    ///
    /// # Errors
    /// The system's: out of descriptors.
    pub(crate) fn killer(&self) -> io::Result<Killer> {
        match self {
            Self::Process { pidfd, .. } => Ok(Killer(Some(pidfd.try_clone()?))),
            Self::Thread { .. } => Ok(Killer(None)),
        }
    }

    /// Kills it; nothing is left to be waited for but [`Life::ended`]. A thread cannot be killed.
    pub(crate) fn kill(&self) {
        if let Self::Process { pidfd, .. } = self {
            // It has ended already.
            let _ = pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Self::Process { pidfd, over: false, .. } = self {
            // Both fail for one that was waited for already, and nobody takes long to be killed.
            let _ = pidfd_send_signal(&*pidfd, rustix::process::Signal::KILL);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        }
    }
}

/// Kills a process, if it is one, and if it still runs.
#[derive(Debug)]
pub(crate) struct Killer(Option<OwnedFd>);

impl Killer {
    pub(crate) fn kill(&self) {
        if let Some(pidfd) = &self.0 {
            // It has ended already.
            let _ = pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
        }
    }
}

/// Why a part is no more, as in "the worker …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A signal killed it.
    Signal(i32),
    /// It ended by itself.
    Status(i32),
    /// Its messages were none; we ended it.
    Nonsense,
    /// It closed its channel, and lived on; we ended it.
    Mute,
    /// It did not end when it was told to, or could not be told; we ended it.
    Deaf,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(libc::SIGSYS) => f.write_str("was killed by its sandbox (SIGSYS)"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "was killed by {signal}"),
                Err(_) => write!(f, "was killed by signal {number}"),
            },
            Self::Status(status) => write!(f, "ended with status {status}"),
            Self::Nonsense => f.write_str("said what makes no sense and was killed"),
            Self::Mute => f.write_str("closed its channel and was killed"),
            Self::Deaf => f.write_str("did not listen and was killed"),
        }
    }
}

fn cause(waited: rustix::io::Result<Option<rustix::process::WaitIdStatus>>) -> Cause {
    match waited {
        Ok(Some(status)) => match (status.terminating_signal(), status.exit_status()) {
            (Some(signal), _) => Cause::Signal(signal),
            (None, status) => Cause::Status(status.unwrap_or(-1)),
        },
        // Somebody waited for it in our place: whoever started us left SIGCHLD ignored.
        Ok(None) | Err(_) => Cause::Status(-1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::zombie_processes, reason = "it is waited for by its descriptor")]
    fn life(script: &str) -> Life {
        let child = Command::new("/bin/sh").args(["-c", script]).spawn().expect("a shell");
        Life::of(child.id().try_into().expect("small")).expect("a child")
    }

    #[tokio::test]
    async fn each_end_has_its_words() {
        let cases = [
            ("exit 7", "ended with status 7"),
            ("kill -SEGV $$", "was killed by SIGSEGV"),
            ("kill -SYS $$", "was killed by its sandbox (SIGSYS)"),
        ];
        for (script, words) in cases {
            assert_eq!(life(script).ended().await.to_string(), words, "{script}");
        }
        let mut sleeping = life("exec sleep 1000");
        sleeping.kill();
        assert_eq!(sleeping.ended().await, Cause::Signal(libc::SIGKILL));
    }

    #[test]
    fn a_part_that_nobody_keeps_leaves_no_process() {
        let life = life("exec sleep 1000");
        let pid = life.pid();
        drop(life);
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "not even a dead one");
    }

    #[tokio::test]
    async fn a_thread_that_panics_has_ended() {
        let Running { channel, mut life } = thread(Part::Worker, |_| panic!("as a test")).expect("a thread");
        life.ended().await;
        assert!(channel.receive_by::<u8>(None).is_err());
    }
}
